"""From an empty disk to twins and tables, with the bucket served from this machine."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import bucket
import jax
import numpy as np
import pandas as pd
import pytest
import unwritable
from disturbed import damage, small
from processes import READY, Process

from fnn_jax import CheckpointError, Twin, cli, microns
from fnn_jax.common.directories import cache_directory
from fnn_jax.convert import convert, convert_scans
from fnn_jax.demo import random_network
from fnn_jax.microns import downloads, release
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.weights.store import Store
from fnn_jax.weights.units import KEY

VIDEO = np.random.default_rng(0).integers(0, 256, (9, 18, 32), np.uint8)
ZIP = bucket.REAL.weights["default"].path
TABLES = [bucket.REAL.properties[group]["units.csv"].path for group in ("performance", "tuning", "anatomy")]


@pytest.fixture(scope="module")
def full(bucket_folder, tmp_path_factory):
    """A folder with everything that is published, downloaded once for this module."""
    folder = tmp_path_factory.mktemp("full") / "cache"
    with bucket.Server.serving(bucket_folder) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "MICRONS", bucket.as_release(bucket_folder, server.base_url))
        microns.download(directory=folder, properties=list(bucket.REAL.properties), progress=False)
        microns.download(weights="ori-trained", scans=["8-5", "4-7"], directory=folder, progress=False)
    return folder


@pytest.fixture
def here(full, server, monkeypatch):
    """Everything is here; the server's log shows what is asked for all the same."""
    monkeypatch.setenv("FNN_JAX_CACHE", str(full))
    return server


def requests(server):
    return [name for name, _, _ in server.log]


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
    assert requests(server) == [ZIP]
    microns.scan(8, 5)
    other, _ = microns.scan(9, 6)  # out of the same zip
    assert other.num_units == 32 and requests(server) == [ZIP]
    scans = microns.scans()
    assert scans.index[scans.local].tolist() == ["8-5", "9-6"]
    assert scans.num_units.to_dict() == bucket.NUM_UNITS and set(scans.weights) == {"default"}


def test_the_twin_is_the_published_one(here, bucket_folder, tmp_path):
    """What came through zip and download predicts what the .pt files predict."""
    convert(bucket_folder / "default", tmp_path / "by_hand", scans=["8-5"])
    expected = Twin.load(tmp_path / "by_hand").predict(VIDEO)
    np.testing.assert_array_equal(microns.scan(8, 5)[0].predict(VIDEO), expected)
    assert not here.log
    (bucket_folder / ZIP).stat()
    convert(bucket_folder / ZIP, tmp_path / "from_zip", scans=["8-5"])
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
    before = len(jax.live_arrays())
    del twins, cores, twin
    assert len(jax.live_arrays()) < before - 14 * 20  # and lets go of it


def test_the_zip_goes_when_all_of_it_is_converted(full):
    assert not (full / ZIP).exists()
    assert (full / bucket.REAL.weights["ori-trained"].path).exists()  # of these, two scans are
    assert Store(full / "weights" / "default").scans() == list(bucket.NUM_UNITS)


def test_download_again_causes_no_traffic(here, capsys):
    assert cli.main(["download", "--properties", "performance", "readout"]) == 0
    shown = capsys.readouterr()
    assert not here.log and "9-6" in shown.out and f"in {cache_directory()}" in shown.out and shown.err == ""


def test_the_command_line(server, tmp_path, capsys):
    command = ["download", "--directory", str(tmp_path / "d"), "--scans", "8_5", "4-7", "--properties"]
    assert cli.main(command) == 0
    assert Store(tmp_path / "d" / "weights" / "default").scans() == ["4-7", "8-5"]
    assert cli.main(["download", "--directory", str(tmp_path / "d"), "--weights", "none"]) == 0
    assert requests(server) == [ZIP, *TABLES]
    twin = microns.load(tmp_path / "d", "8-5")
    assert twin.num_units == 29
    with pytest.raises(ValueError, match=r"scan is not given, and .* holds 2 scans: 4-7, 8-5"):
        microns.load(tmp_path / "d")


# --- what can be missing


def test_offline(server, own_cache, monkeypatch, capsys):
    monkeypatch.setenv("FNN_JAX_OFFLINE", "1")
    with pytest.raises(DownloadError, match=f"{own_cache / ZIP} is not there, and nothing may be downloaded. It comes"):
        microns.scan(8, 5)
    monkeypatch.setenv("FNN_JAX_OFFLINE", "0")
    assert cli.main(["download", "--offline"]) == 1
    assert "nothing may be downloaded" in capsys.readouterr().err
    with pytest.raises(DownloadError):
        microns.units(offline=True)
    assert not server.log


def test_without_torch_nothing_is_downloaded(server, own_cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"needs PyTorch .*pip install 'fnn_jax\[convert\]'"):
        microns.scan(8, 5)
    assert not server.log and not own_cache.exists()


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


def test_a_named_folder_is_not_filled_by_mistake(server, tmp_path):
    with pytest.raises(CheckpointError, match="weihgts does not exist.* fnn-jax download --directory .*weihgts"):
        microns.scan(8, 5, directory=tmp_path / "weihgts")
    assert not server.log


def test_something_else_than_the_zip(server, own_cache):
    server.faults[ZIP] = [("instead", b"<html>Please log in</html>")]
    with pytest.raises(DownloadError, match="It is no zip of weights; it begins with b'<html>Please"):
        microns.scan(8, 5)
    assert not list(own_cache.rglob("*.zip"))
    microns.scan(8, 5)


def test_something_else_than_the_tables(server):
    performance, wrong = TABLES[0], b"session,scan_idx,unit_id,cc_abs,cc_max,cc_norm\n8,5,1,0,0,0\n"
    for data, message in ((b"a,b\n1,2\n", "lacks the columns"), (wrong, "has 1 units, expected 338")):
        server.faults[performance] = [("instead", data)]
        with pytest.raises(DownloadError, match=message):
            microns.units(properties=["performance"])
    assert len(microns.units(properties=["performance"])) == 338


# --- two kinds of weights


def test_the_two_weights_are_never_mixed_up(here, full, bucket_folder, tmp_path):
    (default, _), (trained, ids) = microns.scan(8, 5), microns.scan(8, 5, weights="ori-trained")
    assert repr(trained) == "Twin(8-5: 29 units, 2 streams, ori-trained weights)" and trained.weights == "ori-trained"
    assert set(ids.weights) == {"ori-trained"} and set(default.units.weights) == {"default"}
    assert np.abs(default.predict(VIDEO) - trained.predict(VIDEO)).max() > 0.01
    assert not here.log

    store = full / "weights" / "ori-trained"
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
        convert(bucket_folder / ZIP, tmp_path / "wrong", weights="ori-trained")
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


# --- tables


def test_one_table_of_all_units(here, bucket_folder):
    table = microns.units()
    assert len(table) == sum(bucket.NUM_UNITS.values()) and table.index.names == KEY and table.index.is_unique
    assert table.index.is_monotonic_increasing and not here.log
    files = {group: pd.read_csv(bucket_folder / f["units.csv"].path) for group, f in bucket.REAL.properties.items()}
    for group, columns in {"performance": ["cc_abs", "cc_max"], "tuning": ["gOSI", "pref_dir"]}.items():
        own = files[group].set_index(KEY).loc[table.index]  # the rows of this file are shuffled
        for column in columns:
            np.testing.assert_array_equal(table[column], own[column])
    ids = pd.read_csv(bucket_folder / "default" / "units.csv").set_index(KEY).readout_id
    np.testing.assert_array_equal(table.readout_id, ids.loc[table.index])
    assert set(table.animal_id) == {17797} and set(table.weights) == {"default"}
    assert set(table.attrs["meaning"]) == set(table.columns)
    assert table.attrs["weights"]["tuning"] == "ori-trained" and table.attrs["weights"]["performance"] == "default"
    assert set(microns.units(weights="ori-trained").weights) == {"ori-trained"}


def test_quality_and_filters(here):
    table = microns.units()
    reliable = table[(table.cc_max > 0.4) & (table.cc_abs > 0.2)]
    assert table.cc_max.isna().any() and 0 < len(reliable) < len(table)
    pd.testing.assert_frame_equal(microns.units(quality="reliable"), reliable)
    both = reliable[reliable.gOSI > 0.25]
    pd.testing.assert_frame_equal(microns.units(quality=["reliable", "oriented"]), both)
    areas = microns.units("8-5", brain_area=["V1", "LM"], field=3)
    expected = table.loc[8, 5][lambda t: t.brain_area.isin(["V1", "LM"]) & (t.field == 3)]
    assert areas.index.get_level_values("unit_id").tolist() == expected.index.tolist()
    assert len(microns.units(["8-5", "4_7"])) == 49
    for area in table.brain_area.unique():  # an area in which no unit is left is no mistake
        assert len(microns.units(quality=["reliable", "oriented"], brain_area=area)) == sum(both.brain_area == area)
    for options, message in (
        ({"quality": "good"}, "quality is 'good'; expected names out of"),
        ({"brain_area": "V2"}, r"brain_area is \['V2'\]; the units have \['AL', 'LM', 'RL', 'V1'\]"),
        ({"field": 99}, r"field is \[99\]; the units have"),
        ({"quality": "reliable", "properties": "tuning"}, "cc_max .*the table lacks it"),
        ({"brain_area": "V1", "properties": ["tuning"]}, "brain_area is given, but the table lacks it"),
        ({"y": "north"}, "y is 'north'; expected 'down'"),
        ({"scans": []}, r"scans has \[\]; the published ones are"),
    ):
        with pytest.raises(ValueError, match=message):
            microns.units(**options)


def test_both_directions_of_y(here, bucket_folder):
    published = np.load(bucket_folder / bucket.REAL.properties["readout"]["readout_locations.npy"].path)
    down, up = microns.units(), microns.units(y="up")
    np.testing.assert_array_equal(down[["readout_x", "readout_y_down"]], published)
    np.testing.assert_array_equal(up[["readout_x", "readout_y_up"]], published * [1, -1])
    assert "TOP" in down.attrs["meaning"]["readout_y_down"] and "BOTTOM" in up.attrs["meaning"]["readout_y_up"]


def test_tables_without_weights(server, own_cache):
    table = microns.units(quality="oriented")
    assert requests(server) == TABLES  # the small ones, of themselves
    assert "readout_id" not in table and {"cc_abs", "gOSI", "field"} <= set(table)
    microns.units(properties=["anatomy"], offline=True)
    assert requests(server) == TABLES


def test_properties_of_other_units_are_refused(server, own_cache):
    microns.units()
    path = own_cache / TABLES[1]
    pd.read_csv(path).assign(unit_id=lambda t: t.unit_id + 1).to_csv(path, index=False)
    (own_cache / downloads.CHECKSUMS).unlink()
    with pytest.raises(CheckpointError, match="The property tuning is of other units: 676 of 676 are in one table"):
        microns.units()


def test_join(here):
    twin, ids = microns.scan(4, 7)
    joined = microns.join(ids)
    assert joined.index.equals(ids.index) and list(joined.columns[:5]) == list(ids.columns)
    np.testing.assert_array_equal(joined.cc_abs, microns.units("4-7").cc_abs)
    shuffled = ids.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(microns.join(shuffled).gOSI, joined.gOSI.loc[shuffled.index])
    assert microns.join(ids.set_index(KEY)).index.names == KEY
    with pytest.raises(ValueError, match=r"units is of animal \[27203\], expected \[17797\]"):
        microns.join(ids.assign(animal_id=27203))  # the training example
    with pytest.raises(ValueError, match=r"does not say which animal .*units.assign\(animal_id=17797\)"):
        microns.join(ids.drop(columns="animal_id"))
    with pytest.raises(ValueError, match=r"holds 20 that are not published, such as session, scan_idx, unit_id \[4"):
        microns.join(ids.assign(unit_id=ids.unit_id + 1))
    with pytest.raises(ValueError, match=r"units lacks the columns \['unit_id'\]"):
        microns.join(ids.drop(columns="unit_id"))
    trained = microns.scan(4, 7, weights="ori-trained")[1].reset_index(drop=True)
    assert microns.join(trained, properties=["tuning", "tuning"]).readout_id.tolist() == list(range(20))
    with pytest.raises(ValueError, match=r"units of the weights \['default', 'ori-trained'\]; expected one kind"):
        microns.join(pd.concat([ids, trained]))
    with pytest.raises(TypeError, match="scans is 85; expected names such as"):
        microns.units(85)
    with pytest.raises(ValueError, match=r"of animal \[27203\]"):
        twin.select(microns.units("4-7").assign(animal_id=27203))


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


# --- selections of units


@pytest.fixture(scope="module")
def selected():
    units = pd.DataFrame({"session": 8, "scan_idx": 5, "unit_id": [11, 22, 33, 44, 55], "animal_id": 17797})
    twin = Twin(random_network(small(5)), units.rename_axis("readout_id"), name="8-5")
    return twin, twin.predict(VIDEO)


def by_key(twin, rows):
    return twin.units.iloc[rows].set_index(KEY)


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        ({"units": [3, 0]}, [3, 0]),
        ({"units": np.int32(2)}, [2]),
        ({"units": pd.Index([1, 4])}, [1, 4]),
        ({"unit_ids": [55, 11]}, [4, 0]),
        ({"units": np.array([True, False, False, True, False])}, [0, 3]),
        ({"units": lambda t: t.units.unit_id > 30}, [2, 3, 4]),
        ({"units": lambda t: (t.units.unit_id > 40).convert_dtypes()}, [3, 4]),
        ({"units": lambda t: by_key(t, [4, 3, 2, 1, 0]).eval("unit_id > 40").convert_dtypes()}, [4, 3]),
        ({"units": lambda t: t.units.query("unit_id == 22")}, [1]),
        ({"units": lambda t: t.units.iloc[[4, 2]]}, [4, 2]),
        ({"units": lambda t: by_key(t, [1, 3])}, [1, 3]),
        ({"units": lambda t: by_key(t, [1, 3]).index}, [1, 3]),
        ({"units": lambda t: by_key(t, slice(None)).eval("unit_id > 40")}, [3, 4]),
        ({"units": lambda t: pd.concat([by_key(t, [2]), by_key(t, [1, 2]).rename({8: 9}, level=0)])}, [2]),
        ({"units": lambda t: pd.DataFrame({"readout_id": [3]})}, [3]),
    ],
)
def test_select(selected, choice, rows):
    twin, everything = selected
    choice = {name: value(twin) if callable(value) else value for name, value in choice.items()}
    some = twin.select(**choice)
    assert some.num_units == len(rows) and some.units.index.tolist() == rows
    assert some.units.unit_id.tolist() == twin.units.unit_id.iloc[rows].tolist()
    for name in ("mean", "spread"):
        ours, theirs = (np.asarray(getattr(t.network.readout.position, name)[...]) for t in (some, twin))
        np.testing.assert_array_equal(ours, theirs[rows])
    if len(rows) == 2:  # one compilation for all of these
        np.testing.assert_allclose(some.predict(VIDEO), everything[:, rows], rtol=1e-6)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, "Give either units"),
        ({"units": [1], "unit_ids": [11]}, "Give either units"),
        ({"units": []}, "selects no unit"),
        ({"units": np.zeros(5, bool)}, "selects no unit"),
        ({"units": [0, 7]}, r"units holds 1 that this twin does not have: \[7\]; it has 5, from 0 to 4"),
        ({"unit_ids": [1]}, r"unit_ids holds 1 that this twin does not have: \[1\]; it has 5, from 11 to 55"),
        ({"units": [2, 2]}, r"units names units more than once: \[2\]"),
        ({"units": [-1]}, r"does not have: \[-1\]"),
        ({"units": [0.5]}, "units holds float64"),
        ({"units": ["a"]}, "expected integers"),
        ({"units": np.ones(4, bool)}, r"units is a mask of shape \(4,\); expected \(5,\)"),
        ({"units": pd.Series([True] * 5, index=range(1, 6))}, "whose index is not that of the twin's table"),
        ({"units": pd.DataFrame({"a": [1]})}, r"units is a table with \['a'\]; expected the columns"),
        (
            {"units": pd.DataFrame({"session": [9], "scan_idx": [5], "unit_id": [11]})},
            r"no unit of the scan 8-5; it holds those of \['9-5'\]",
        ),
        (
            {"units": pd.DataFrame({"session": [8], "scan_idx": [5], "unit_id": [11], "animal_id": [27203]})},
            r"of animal \[27203\], expected \[17797\]",
        ),
    ],
)
def test_selections_that_are_none(selected, choice, message):
    with pytest.raises((TypeError, ValueError), match=message):
        selected[0].select(**choice)


def test_units_of_a_twin_that_does_not_say_of_which_animal(selected):
    """The example mouse has a scan of the same numbers: a table of the published units chooses none of its units."""
    twin, _ = selected
    published = twin.units.set_index(KEY)
    other = Twin(twin.network, twin.units.drop(columns="animal_id"), name="8-5")
    nameless = Twin(twin.network)
    with pytest.raises(ValueError, match="does not say which animal it is of"):
        other.select(published)
    with pytest.raises(ValueError, match="does not say which animal it is of"):
        other.select(published.unit_id > 0 if "unit_id" in published else published.animal_id > 0)
    with pytest.raises(ValueError, match="does not say which scan it is of. Give readout ids"):
        nameless.select(published.assign(readout_id=range(5)))
    assert other.select(other.units.iloc[[1]]).num_units == 1


def test_tables_are_kept_from_changes(selected):
    twin, _ = selected
    table = twin.units.copy()
    copy = Twin(twin.network, table)
    table.loc[0, "unit_id"] = 99
    assert copy.units.unit_id.tolist() == [11, 22, 33, 44, 55]
    some = twin.select([1])
    some.provenance["note"] = "mine"
    assert "note" not in twin.provenance
    for wrong in (table.iloc[:3], pd.concat([table.iloc[:4], table.iloc[:1]])):
        with pytest.raises(ValueError, match="units lists . units for a readout of 5"):
            Twin(twin.network, wrong)
    twice = Twin(twin.network, twin.units.assign(unit_id=7))
    with pytest.raises(ValueError, match="has some of these numbers more than once"):
        twice.select(unit_ids=[7])


def test_a_selection_is_a_twin(selected, tmp_path):
    twin, _ = selected
    some = twin.select([4, 1])
    some.save(tmp_path / "some")
    again = Twin.load(tmp_path / "some")
    pd.testing.assert_frame_equal(again.units, some.units)
    assert again.select([1]).units.unit_id.tolist() == [22] and again.name == "8-5"
    assert all(
        a is b for a, b in zip(jax.tree.leaves(some.network.core), jax.tree.leaves(twin.network.core), strict=True)
    )
    assert Twin(random_network(small(3))).select([2]).num_units == 1
    with pytest.raises(ValueError, match="has no column unit_id"):
        Twin(random_network(small(3))).select(unit_ids=[2])


# --- what can go wrong on the disk


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine .* was never awaited")
def test_damage_is_named_and_repaired(full, server, tmp_path, capsys):
    folder = shutil.copytree(full, tmp_path / "copy")
    good = Twin.load(folder / "weights" / "default", "8-5")
    damage(folder / "weights" / "default" / "scans" / "8-5")
    with pytest.raises(CheckpointError, match=f"(?s)is damaged.*fnn-jax download .* --directory {folder}"):
        microns.scan(8, 5, directory=folder)
    table = folder / "weights" / "default" / "scans" / "4-7" / "units.csv"
    table.write_text(table.read_text()[:-3])
    assert cli.main(["download", "--directory", str(folder), "--properties"]) == 0
    said = capsys.readouterr().err
    assert said.count("is damaged, and is replaced") == 2 and "converting 4-7, 8-5" in said
    assert microns.scan(8, 5, directory=folder)[0].network.core is not good.network.core
    damage(folder / "weights" / "default" / "core")
    before = {p: p.stat().st_mtime for p in (folder / "weights" / "default" / "scans").iterdir()}
    microns.download(directory=folder, properties=())
    assert {p: p.stat().st_mtime for p in before} == before  # only the core was replaced
    del good
    assert microns.scan(8, 5, directory=folder)[0].num_units == 29


@pytest.mark.slow
def test_nothing_is_removed_before_it_can_be_replaced(full, server, tmp_path):
    folder = shutil.copytree(full, tmp_path / "copy")
    damage(folder / "weights" / "default" / "scans" / "8-5")
    (folder / "weights" / "default" / "units.csv").unlink()
    with pytest.raises(DownloadError, match="nothing may be downloaded"):
        microns.download(directory=folder, offline=True, progress=False)
    assert (folder / "weights" / "default" / "scans" / "8-5").is_dir()
    with pytest.raises(CheckpointError, match="units.csv is missing. Run fnn-jax download --weights default"):
        microns.units(directory=folder)
    microns.download(directory=folder, progress=False)
    assert contents(folder) == contents(full) and len(microns.units(directory=folder)) == 338
    assert not (folder / ZIP).exists()
    shutil.copy(server.folder / ZIP, folder / ZIP)  # left by a process that was killed, say
    microns.download(directory=folder, progress=False)
    assert not (folder / ZIP).exists()


def test_a_changed_table_of_readout_ids(full, server, tmp_path):
    folder = shutil.copytree(full, tmp_path / "copy")
    path = folder / "weights" / "default" / "units.csv"
    table = pd.read_csv(path)
    table.assign(readout_id=table.readout_id.to_numpy()[::-1]).to_csv(path, index=False)
    with pytest.raises(CheckpointError, match="units.csv was changed or is damaged. Run fnn-jax download"):
        microns.units(directory=folder)
    microns.download(directory=folder, progress=False)
    pd.testing.assert_frame_equal(pd.read_csv(path), table)


def test_folders_that_are_something_else(here, full, bucket_folder, tmp_path, monkeypatch):
    store = full / "weights" / "default"
    for call in (
        lambda: microns.units(directory=store),
        lambda: microns.scans(directory=store),
        lambda: microns.download(directory=store),
    ):
        with pytest.raises(ValueError, match="is a folder of converted weights; expected a folder for downloads"):
            call()
    for call in (
        lambda: microns.units(directory=tmp_path / "tpyo"),
        lambda: microns.scans(directory=tmp_path / "tpyo"),
    ):
        with pytest.raises(CheckpointError, match="tpyo is no folder of downloads. Fill it: fnn-jax download --dir"):
            call()
    assert not (tmp_path / "tpyo").exists()
    shutil.copytree(store, tmp_path / "work" / "weights")  # as the documentation has it
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(CheckpointError, match="holds no weights"):
        microns.scan(8, 5, directory=".")
    assert microns.scan(8, 5, directory="weights")[0].num_units == 29
    assert sorted(p.name for p in (tmp_path / "work" / "weights").iterdir()) == sorted(p.name for p in store.iterdir())
    files = shutil.copytree(bucket_folder / "default", tmp_path / "files")
    (files / "foundation_model").mkdir()
    assert "unnamed" in repr(microns.scan(8, 5, directory=files)[0])
    assert not here.log


def test_threads_share_one_core(here):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        twins = list(pool.map(lambda name: microns.load(scan=name), ["8-5", "4-7", "9-6", "6-4"]))
    first = jax.tree.leaves(twins[0].network.core)
    assert all(a is b for t in twins for a, b in zip(jax.tree.leaves(t.network.core), first, strict=True))


@pytest.mark.slow
def test_a_read_only_folder_is_read(full, server, bucket_folder):
    code = unwritable.AS_NOBODY + (
        "import sys; sys.path.insert(0, sys.argv[1]); import bucket; bucket.use(sys.argv[2], sys.argv[3])\n"
        "from fnn_jax import microns\n"
        "print(microns.scan(8, 5, directory=sys.argv[4])[0], len(microns.units(directory=sys.argv[4])))\n"
        "microns.scan(9, 3, weights='ori-trained', directory=sys.argv[4])"
    )
    with unwritable.folder(full) as folder, unwritable.folder(bucket_folder) as source:
        command = [sys.executable, "-c", code, Path(__file__).parent, source, server.base_url, folder]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert "Twin(8-5: 29 units, 2 streams, default weights) 338" in done.stdout, done.stderr
    assert "cannot be written (Permission denied). Name another folder" in done.stderr.splitlines()[-1]


DOWNLOAD = (
    """
import resource
sys.path.insert(0, sys.argv[1])
import bucket, torch
from orbax.checkpoint import v1
from fnn_jax import cli
bucket.use(sys.argv[2], sys.argv[3])
if sys.argv[4] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
"""
    + READY
    + """
sys.exit(cli.main(["download", "--properties", "performance"]))
"""
)


def start(bucket_folder, server, limit=0):
    return Process(DOWNLOAD, Path(__file__).parent, bucket_folder, server.base_url, limit)


def contents(folder):
    """What a folder of downloads holds: hashes of all arrays, and of the tables."""
    store = Store(folder / "weights" / "default")
    return {scan: (store.metadata(scan)["sha256"], store.load(scan).units.to_csv()) for scan in store.scans()}


@pytest.mark.slow
def test_a_conversion_on_a_disk_that_is_full(bucket_folder, server, own_cache):
    """A limit on the size of files stands for it: the zip fits, what is made of it does not."""
    microns.download(scans=["8-5"], properties=(), progress=False)
    shutil.rmtree(own_cache / "weights")
    before = sorted(p.name for p in own_cache.rglob("*") if p.is_file())
    process = start(bucket_folder, server, limit=4000)
    process.go()
    error = process.end()
    assert process.returncode != 0
    assert not [p for p in (own_cache / "weights").rglob("*") if "incomplete" in p.name], error
    assert not (own_cache / "weights" / "default" / "scans" / "8-5").exists()
    assert set(before) <= {p.name for p in own_cache.rglob("*") if p.is_file()}
    assert microns.scan(8, 5, offline=True)[0].num_units == 29  # with room, it goes on from the zip


@pytest.mark.slow
def test_killed_at_many_moments(bucket_folder, server, own_cache, full):
    """While the zip comes and while it is converted: what is there loads, and the next run completes it."""
    server.faults[ZIP] = [("slow", 0.05)] * 3
    partial = own_cache / downloads.INCOMING / Path(ZIP).parent / f".{Path(ZIP).name}.partial"
    scans = own_cache / "weights" / "default" / "scans"
    moments = [
        lambda: partial.exists() and partial.stat().st_size > 20_000,
        lambda: any(own_cache.glob("weights/default/.core.*")),
        lambda: scans.exists() and any(p.name.startswith(".") for p in scans.iterdir()),
        lambda: scans.exists() and len([p for p in scans.iterdir() if not p.name.startswith(".")]) >= 4,
        lambda: not (own_cache / ZIP).exists() and scans.exists() and len(list(scans.iterdir())) >= 13,
    ]
    killed = 0
    for moment in moments:
        process = start(bucket_folder, server)
        process.go()
        while process.poll() is None and not moment():
            time.sleep(0.0005)
        killed += process.poll() is None
        process.kill()
        done = microns.scans()
        for scan in done.index[done.local]:
            Store(scans.parent).load(scan)  # whatever has its name is whole
    assert killed >= 4
    process = start(bucket_folder, server)
    process.go()
    error = process.end()
    assert process.returncode == 0, error
    assert contents(own_cache) == contents(full)
    left = [p for p in own_cache.rglob("*") if p.name.startswith((".", "tmp")) and p.name != ".lock"]
    assert left == []


@pytest.mark.slow
def test_processes_that_ask_at_once(bucket_folder, server, own_cache, full):
    processes = [start(bucket_folder, server) for _ in range(2)]
    for process in processes:
        process.go()
    errors = [process.end() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert sorted(requests(server)) == sorted([ZIP, TABLES[0]])  # one of them did the work
    assert contents(own_cache) == contents(full)


# --- the table of addresses


def test_the_table_is_that_of_the_release():
    real = bucket.REAL
    assert sum(real.num_units.values()) == 104_171 and len(real.num_units) == 13 and real.animal_id == 17797
    assert real.weights["default"].checksum == "md5:58fcac4b31ad2902c81e339432cec787"
    for file in [*real.weights.values(), *(f for g in real.properties.values() for f in g.values())]:
        assert not file.path.startswith("/") and file.name
    assert real.base_url.startswith("https://") and real.base_url.endswith("/")
    assert set(real.property_weights.values()) <= set(real.weights)


def test_where_things_go(monkeypatch, tmp_path):
    assert cache_directory() == Path(os.environ["FNN_JAX_CACHE"])
    assert cache_directory(tmp_path / "x") == tmp_path / "x"
    monkeypatch.delenv("FNN_JAX_CACHE")
    assert cache_directory().name == "fnn_jax" and cache_directory().is_absolute()


def test_a_damaged_member_of_a_zip(bucket_folder, server, tmp_path):
    path = shutil.copy(bucket_folder / ZIP, tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("params_8_5.pt")
    data = bytearray(Path(path).read_bytes())
    data[info.header_offset + 500] ^= 8
    Path(path).write_bytes(data)
    with pytest.raises(CheckpointError, match="params_8_5.pt is damaged .*Get the archive again"):
        convert(path, tmp_path / "store")
    assert not (tmp_path / "store").exists()
