"""From an empty disk to twins of the published scans, with the bucket served from this machine."""

import gc
import shutil
import sys
import weakref
from pathlib import Path

import bucket
import jax
import numpy as np
import pandas as pd
import pytest

from fnn_jax import CheckpointError, Twin, cli, microns
from fnn_jax.convert import convert, convert_scans
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.weights.store import Store

VIDEO = np.random.default_rng(0).integers(0, 256, (9, 18, 32), np.uint8)


# --- the first time


def test_nothing_is_there(server, own_cache, capsys):
    """One line of Python, an empty disk, one download; and none the second time."""
    assert not microns.scans().local.any() and not own_cache.exists()
    twin, ids = microns.scan(8, 5)
    assert repr(twin) == "Twin(8-5: 29 units, 2 streams, default weights)"
    assert ids.equals(twin.units) and ids is not twin.units and ids.index.tolist() == list(range(29))
    assert list(ids.columns) == ["session", "scan_idx", "unit_id", "animal_id", "weights"]
    assert ids.unit_id.tolist() == list(range(1, 59, 2)) and set(ids.animal_id) == {17797}
    said = capsys.readouterr().err
    assert "fnn_jax: downloading" in said and "fnn_jax: converting 8-5 into" in said
    assert server.requested == [bucket.ZIP]
    microns.scan(8, 5)
    other, _ = microns.scan(9, 6)  # out of the same zip
    assert other.num_units == 32 and server.requested == [bucket.ZIP]
    scans = microns.scans()
    assert scans.index[scans.local].tolist() == ["8-5", "9-6"]
    assert scans.num_units.to_dict() == bucket.NUM_UNITS and set(scans.weights) == {"default"}


def test_the_twin_is_the_published_one(here, bucket_folder, tmp_path):
    """What came through zip and download predicts what the .pt files predict."""
    convert(bucket_folder / "default", tmp_path / "by_hand", scans=["8-5"])
    expected = Twin.load(tmp_path / "by_hand").predict(VIDEO)
    np.testing.assert_array_equal(microns.scan(8, 5)[0].predict(VIDEO), expected)
    assert not here.log
    (bucket_folder / bucket.ZIP).stat()
    convert(bucket_folder / bucket.ZIP, tmp_path / "from_zip", scans=["8-5"])
    assert Twin.load(tmp_path / "from_zip").weights == "default"  # known from the checksum of the zip
    assert Twin.load(tmp_path / "by_hand").weights is None


def test_all_scans_hold_one_core(here):
    twins = [microns.scan(*map(int, name.split("-")))[0] for name in bucket.NUM_UNITS]
    twins.append(microns.scan(8, 5, weights="ori-trained")[0])
    cores = [jax.tree.leaves(twin.network.core) for twin in twins]
    assert len(twins) == 14 and all(a is b for core in cores for a, b in zip(core, cores[0], strict=True))
    for twin in twins[:2]:
        twin.predict(VIDEO[:1])
    assert twins[0]._folded[-1] is twins[1]._folded[-1]  # the normalised weights, too
    held = [weakref.ref(array) for twin in twins for array in jax.tree.leaves(twin.network)]
    del twins, cores, twin
    gc.collect()
    assert len(held) > 14 * 20 and not any(array() is not None for array in held)  # and lets go of it


def test_threads_share_one_core(here):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        twins = list(pool.map(lambda name: microns.load(scan=name), ["8-5", "4-7", "9-6", "6-4"]))
    first = jax.tree.leaves(twins[0].network.core)
    assert all(a is b for t in twins for a, b in zip(jax.tree.leaves(t.network.core), first, strict=True))


def test_the_command_line(server, tmp_path, capsys):
    command = ["download", "--directory", str(tmp_path / "d"), "--scan", "8_5", "4-7", "--properties"]
    assert cli.main(command) == 0
    assert Store(tmp_path / "d" / "weights" / "default").scans() == ["4-7", "8-5"]
    assert cli.main(["download", "--directory", str(tmp_path / "d"), "--weights", "none"]) == 0
    assert server.requested == [bucket.ZIP, *bucket.TABLES]
    twin = microns.load(tmp_path / "d", "8-5")
    assert twin.num_units == 29
    with pytest.raises(ValueError, match=r"scan is not given, and .* holds 2 scans: 4-7, 8-5"):
        microns.load(tmp_path / "d")


# --- what can be missing


def test_offline(server, own_cache, monkeypatch, capsys):
    monkeypatch.setenv("FNN_JAX_OFFLINE", "1")
    with pytest.raises(
        DownloadError, match=f"{own_cache / bucket.ZIP} is not there, and nothing may be downloaded. It comes"
    ):
        microns.scan(8, 5)
    monkeypatch.setenv("FNN_JAX_OFFLINE", "0")
    assert cli.main(["download", "--offline"]) == 1
    assert "nothing may be downloaded" in capsys.readouterr().err
    with pytest.raises(DownloadError):
        microns.units(offline=True)
    assert not server.log


def test_from_an_empty_disk_to_a_twin_without_torch(server, own_cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    twin, ids = microns.scan(8, 5)
    assert server.log and own_cache.exists() and twin.num_units == len(ids) == 29


def test_converted_weights_need_neither_torch_nor_network(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setenv("FNN_JAX_OFFLINE", "1")
    assert microns.scan(8, 5)[0].num_units == 29


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: microns.scan(1, 1), r"scans is \['1-1'\]; the published ones are \['4-7'"),
        (lambda: microns.scan(8, 5, weights="oriented"), "weights is 'oriented'; expected one of .'default', 'ori-tr"),
        (lambda: microns.download(scans=["8-5", "8-6"]), r"scans is \['8-6'\]"),
        (lambda: microns.download(scans=[]), r"scans is \[\]; the published ones"),
        (lambda: microns.download(properties=["tunning"]), "properties has 'tunning'; expected names out of"),
        (lambda: microns.units(["1-1"]), r"scans has \['1-1'\]"),
        (lambda: microns.units(weights="x"), "weights is 'x'"),
    ],
)
def test_names_that_do_not_exist(server, own_cache, call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert not server.log and not own_cache.exists()


def test_something_else_than_the_zip(server, own_cache):
    server.faults[bucket.ZIP] = [("instead", b"<html>Please log in</html>")]
    with pytest.raises(DownloadError, match="It is no zip of weights; it begins with b'<html>Please"):
        microns.scan(8, 5)
    assert not list(own_cache.rglob("*.zip"))
    microns.scan(8, 5)


# --- two kinds of weights


def test_the_two_weights_are_never_mixed_up(here, full_cache, bucket_folder, tmp_path):
    (default, _), (trained, ids) = microns.scan(8, 5), microns.scan(8, 5, weights="ori-trained")
    assert repr(trained) == "Twin(8-5: 29 units, 2 streams, ori-trained weights)" and trained.weights == "ori-trained"
    assert set(ids.weights) == {"ori-trained"} and set(default.units.weights) == {"default"}
    assert np.abs(default.predict(VIDEO) - trained.predict(VIDEO)).max() > 0.01
    assert not here.log

    store = full_cache / "weights" / "ori-trained"
    with pytest.raises(ValueError, match="weights is 'default', but .* holds the weights 'ori-trained'"):
        microns.scan(8, 5, directory=store, weights="default")
    for weights in (None, "ori-trained"):
        assert microns.scan(8, 5, directory=store, weights=weights)[0].weights == "ori-trained"
    convert(bucket_folder / "ori-trained", tmp_path / "untold", scans=["8-5"])
    for weights in ("default", "ori-trained"):
        with pytest.raises(ValueError, match="but .* holds weights, and does not say which"):
            microns.scan(8, 5, directory=tmp_path / "untold", weights=weights)
        with pytest.raises(ValueError, match="but .* holds published files, and does not say which"):
            microns.scan(8, 5, directory=bucket_folder / "ori-trained", weights=weights)
    assert "changed or unnamed weights" in repr(microns.scan(8, 5, directory=tmp_path / "untold")[0])
    with pytest.raises(ValueError, match="weights is 'ori-trained', but .* is the zip of 'default'"):
        convert(bucket_folder / bucket.ZIP, tmp_path / "wrong", weights="ori-trained")
    ori_zip = bucket_folder / bucket.REAL.weights["ori-trained"].path
    with pytest.raises(ValueError, match="weights is 'default', but .* is the zip of 'ori-trained'"):
        convert(ori_zip, tmp_path / "wrong", weights="default")
    shutil.copy(ori_zip, tmp_path / "renamed.zip")
    with pytest.raises(ValueError, match="weights is 'default', but .*renamed.zip is another file, by its checksum"):
        convert(tmp_path / "renamed.zip", tmp_path / "wrong", weights="default")
    convert(ori_zip, tmp_path / "by_name", scans=["8-5"])
    assert Twin.load(tmp_path / "by_name").weights == "ori-trained"  # of this zip only the name is known
    copy = shutil.copytree(store, tmp_path / "copy")
    with pytest.raises(CheckpointError, match="holds the weights 'ori-trained', the scan 9-3 is of 'default'"):
        convert_scans(bucket_folder / "default", copy, ["9-3"], weights="default")

    trained.save(tmp_path / "saved")  # the tag goes along
    again = Twin.load(tmp_path / "saved")
    assert again.weights == "ori-trained" and again.provenance == trained.provenance
    assert again.provenance["archive"]["file"] == Path(bucket.REAL.weights["ori-trained"].path).name
    again.network.readout.feature.bias[...] += 1  # no longer what was published
    assert again.weights is None and "changed or unnamed weights" in repr(again)
    again.save(tmp_path / "changed")
    changed = Twin.load(tmp_path / "changed")
    assert changed.weights is None and changed.provenance["changed"] and "changed" in repr(changed)


def test_a_twin_of_another_mouse_is_not_called_published(bucket_folder, server, tmp_path):
    """The training example has a scan 4-7, too, with another number of units."""
    folder = shutil.copytree(bucket_folder / "default", tmp_path / "files")
    for path, target in (("params_9_6.pt", "params_4_7.pt"), ("params_8_5.pt", "params_8_5.pt")):
        shutil.copy(bucket_folder / "default" / path, folder / target)
    scans, units = pd.read_csv(folder / "scans.csv"), pd.read_csv(folder / "units.csv")
    own = units[(units.session == 9) & (units.scan_idx == 6)].assign(session=4, scan_idx=7)
    pd.concat([units[units.session != 4], own]).to_csv(folder / "units.csv", index=False)
    scans.assign(units=scans.units.where(scans.session != 4, 32)).to_csv(folder / "scans.csv", index=False)
    with pytest.raises(CheckpointError, match="its scan 4-7 has 32 units, the published one 20"):
        convert(folder, tmp_path / "a", weights="default")
    convert(folder, tmp_path / "b", scans=["4-7", "8-5"])
    other, ours = Twin.load(tmp_path / "b", "4-7"), Twin.load(tmp_path / "b", "8-5")
    assert "animal_id" not in other.units and set(ours.units.animal_id) == {17797}


# --- readout


def test_readout_of_the_model_is_the_published_one(here, bucket_folder):
    """Weights bit for bit; locations against a computation in plain NumPy, unit by unit."""
    files = bucket.REAL.properties["readout"]
    weights, locations = (
        np.load(bucket_folder / files[f"readout_{name}.npy"].path) for name in ("weights", "locations")
    )
    keys = pd.read_csv(bucket_folder / files["units.csv"].path)
    for session, scan_idx in ((8, 5), (4, 7)):
        twin, _ = microns.scan(session, scan_idx)
        rows = np.flatnonzero((keys.session == session) & (keys.scan_idx == scan_idx))
        np.testing.assert_array_equal(twin.readout_weights(), weights[rows], strict=True)
        down, up = twin.readout_locations(), twin.readout_locations(y="up")
        np.testing.assert_allclose(down[["monitor_x", "monitor_y_down"]], locations[rows], atol=2e-6)
        np.testing.assert_array_equal(up.monitor_y_up, -down.monitor_y_down)
        mean = np.asarray(twin.network.readout.position.mean[...])
        np.testing.assert_allclose(down[["core_x", "core_y_down"]], np.tanh(mean), rtol=1e-6)
    with pytest.raises(ValueError, match="y is 'left'"):
        twin.readout_locations(y="left")
    assert "changed" not in twin.record()  # looking changes nothing


def test_readout_locations_are_where_the_model_looks(twin):
    """On a stimulus whose luminance is a ramp, the retinal image at a pixel tells the place that it shows."""
    perspective = twin.network.perspective
    height, width = perspective.stimulus_size
    retina_height, retina_width = perspective.retina.shape[:2]
    x = (2 * np.arange(retina_width) + 1) / retina_width - 1
    y = (2 * np.arange(retina_height) + 1) / retina_height - 1
    points = np.stack(np.meshgrid(x, y), -1)
    eye = jax.numpy.zeros((1, 2), "float32")
    where = np.asarray(perspective.monitor_position(points.reshape(-1, 2), eye[0])).reshape(points.shape)
    inside = (np.abs(where) < [1 - 2 / width, 1 - 2 / height]).all(-1)
    assert inside.sum() > 20
    for axis, size in ((0, width), (1, height)):
        ramp = (np.arange(size) + 0.5) / size
        luminance = np.broadcast_to(ramp[None, :] if axis == 0 else ramp[:, None], (height, width))
        stimulus = perspective.luminance.inverse(jax.numpy.asarray(luminance.astype(np.float32)))
        retinal = perspective.response.inverse(perspective(stimulus[None, ..., None], eye))
        np.testing.assert_allclose(2 * retinal[0, ..., 0][inside] - 1, where[..., axis][inside], atol=2e-5)
