"""``fnn-jax verify``, ``info`` and ``export``: what is on disk is checked, listed, and goes back to PyTorch."""

import dataclasses
import json
import shutil
import sys

import bucket
import numpy as np
import pandas as pd
import pytest
from disturbed import damage, small

from fnn_jax import CheckpointError, Twin, cli, microns
from fnn_jax.convert import convert, export, read_state_dict
from fnn_jax.demo import random_network
from fnn_jax.microns import release
from fnn_jax.microns.verification import info, verify
from fnn_jax.weights.store import Store

SCANS = {name: bucket.NUM_UNITS[name] for name in ("8-5", "4-7", "9-6")}


@pytest.fixture(scope="module")
def made(bucket_folder, tmp_path_factory):
    """A release of three scans only, its bucket, and everything of it downloaded."""
    outer = tmp_path_factory.mktemp("verify")
    folder = shutil.copytree(bucket_folder, outer / "bucket")
    few = bucket.cut(folder, SCANS)
    with bucket.Server.serving(folder) as server, pytest.MonkeyPatch.context() as patch:
        few = dataclasses.replace(few, base_url=server.base_url)
        patch.setattr(release, "MICRONS", few)
        microns.download(directory=outer / "cache", properties=list(few.properties), progress=False)
        microns.download(weights="ori-trained", scans=["8-5"], directory=outer / "cache", progress=False)
    return few, outer / "cache"


@pytest.fixture
def cache(made, tmp_path, monkeypatch):
    monkeypatch.setattr(release, "MICRONS", made[0])
    # It builds the published architecture alone, which these networks have not.
    monkeypatch.setattr(sys.modules["fnn_jax.convert.export"], "released_package_is_there", lambda: False)
    return shutil.copytree(made[1], tmp_path / "copy")


def test_all_is_well(cache, capsys):
    assert cli.main(["verify", str(cache)]) == 0
    shown = capsys.readouterr().out
    assert f"all is well in {cache}" in shown and "FAILED" not in shown
    table, problems = verify(cache, released=False)
    assert problems == []
    rows = table.set_index(["weights", "part"])
    assert rows.loc[("default", "8-5"), ["hashes", "core", "shapes", "units"]].tolist() == ["ok", "ok", "ok", "29"]
    assert rows.loc[("default", "4-7"), "readout"].startswith("monitor, y down: ")
    assert float(rows.loc[("default", "4-7"), "readout"].split()[-1]) < 1e-5
    assert rows.loc[("ori-trained", "8-5"), "readout"] == "-"  # the published arrays are of the default weights
    assert rows.loc[("", "one core"), "core"] == "ok" and rows.loc[("", "readout/units.csv"), "units"] == "81"
    assert set(verify(cache, weights="ori-trained", released=False)[0].weights) == {"ori-trained", ""}
    with pytest.raises(CheckpointError, match="holds the weights 'default', not 'ori-trained'"):
        verify(cache / "weights" / "default", weights="ori-trained")


def test_a_store_of_its_own(cache, tmp_path, capsys):
    assert cli.main(["verify", str(cache / "weights" / "default")]) == 0
    Twin(random_network(small(3)), name="mine", label="random weights").save(tmp_path / "mine")
    assert cli.main(["verify", str(tmp_path / "mine")]) == 0 and cli.main(["info", str(tmp_path / "mine")]) == 0
    assert "random weights" in capsys.readouterr().out


def edit(path, change):
    array = np.load(path)
    change(array)
    np.save(path, array)


def forget_checksum(cache, path):
    record = json.loads((cache / "checksums.json").read_text())
    del record[path.relative_to(cache).as_posix()]
    (cache / "checksums.json").write_text(json.dumps(record))


READOUT = "digital_twin_properties/v2/readout"


def swap_core(cache):
    """The core of another network, whole in itself."""
    shutil.rmtree(cache / "weights/default/core")
    network = random_network(small(3), seed=5)
    Twin(network).save(cache.parent / "other")
    shutil.copytree(cache.parent / "other" / "core", cache / "weights/default/core")


def swap_tags(cache):
    shutil.rmtree(cache / "weights/default/scans/8-5")
    shutil.copytree(cache / "weights/ori-trained/scans/8-5", cache / "weights/default/scans/8-5")


def change_weights(cache):
    path = cache / READOUT / "readout_weights.npy"
    edit(path, lambda a: a.__setitem__((3, 7), a[3, 7] * 1.01))
    forget_checksum(cache, path)


def change_locations(cache):
    path = cache / READOUT / "readout_locations.npy"
    edit(path, lambda a: a.__setitem__((3, 0), a[3, 0] + 0.05))
    forget_checksum(cache, path)


def reverse(path):
    table = pd.read_csv(path)
    table.assign(readout_id=table.readout_id.to_numpy()[::-1]).to_csv(path, index=False)


def carry_in_a_page(cache):
    path = cache / "digital_twin_properties/v2/ori_dir_tuning/units.csv"
    path.write_text("<html>Please log in</html>")
    forget_checksum(cache, path)


def turn_locations(cache):
    """The release with its y axis upwards: not an error, but it is said."""
    path = cache / READOUT / "readout_locations.npy"
    edit(path, lambda a: a.__imul__([1, -1]))
    forget_checksum(cache, path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cache: damage(cache / "weights/default/scans/8-5"), "FAILED: default 8-5, hashes: "),
        (swap_core, "FAILED: default 8-5, core: it was saved with another core"),
        (swap_core, "FAILED: one core, core: the cores differ"),
        (swap_tags, "FAILED: default 8-5, core: it is of the weights 'ori-trained'"),
        (change_weights, "FAILED: default 4-7, readout: The published readout weights differ from those of the model"),
        (change_locations, "FAILED: default 4-7, readout: The published locations agree with none of the model's"),
        (lambda cache: edit(cache / READOUT / "readout_weights.npy", lambda a: a.fill(0)), "npy is damaged"),
        (lambda cache: (cache / "weights/default/scans/9-6/units.csv").unlink(), "FAILED: default 9-6, hashes: "),
        (lambda cache: shutil.rmtree(cache / "weights/default/core"), "FAILED: default core, hashes: "),
        (lambda cache: reverse(cache / "weights/default/units.csv"), "FAILED: default units.csv, hashes: "),
        (carry_in_a_page, "FAILED: tuning/units.csv, hashes: "),
        (turn_locations, None),
    ],
)
def test_damage_is_found(cache, capsys, change, message):
    change(cache)
    code = cli.main(["verify", str(cache)])
    shown = capsys.readouterr().out
    if message is None:
        assert code == 0 and "monitor, y up: " in shown
    else:
        assert code == 1 and message in shown and "To replace damaged downloads: fnn-jax download" in shown
        assert "all is well" not in shown


def test_units_that_are_not_the_published_ones(cache, made, monkeypatch):
    """A store that says it is the published scan 4-7, but is of another size."""
    monkeypatch.setattr(release, "MICRONS", dataclasses.replace(made[0], num_units=SCANS | {"4-7": 8509}))
    _, problems = verify(cache, released=False)
    assert any("4-7, units: 20 units of animal 17797, not 8509" in problem for problem in problems)


def test_folders_without_weights(tmp_path, capsys):
    for verb in ("verify", "info"):
        assert cli.main([verb, str(tmp_path)]) == 1
        assert "holds no converted weights" in capsys.readouterr().err
        assert cli.main([verb]) == 1  # an empty cache
    with pytest.raises(ValueError, match="weights is 'x'"):
        (tmp_path / "weights" / "default").mkdir(parents=True)
        verify(tmp_path, weights="x")


def test_info_finds_what_lies_below(twin, tmp_path):
    twin.save(tmp_path / "demo" / "random_weights" / "converted")
    table = info(tmp_path / "demo")
    assert set(table["weights"]) == {"random_weights/converted"} and len(table) == 2
    assert set(info(tmp_path / "demo" / "random_weights")["weights"]) == {"converted"}


def test_info(cache, capsys):
    assert cli.main(["info", str(cache)]) == 0
    shown = capsys.readouterr().out
    assert "default weights: from foundational_model_weights_and_metadata_v1.zip" in shown and f"MB in {cache}" in shown
    table = info(cache).set_index(["weights", "part"])
    assert table.loc[("default", "8-5"), "num_units"] == 29
    assert table.loc[("default", "8-5"), "source"] == "params_8_5.pt"
    assert len(table.loc[("default", "8-5"), "checksum"]) == len(table.loc[("", "readout/units.csv"), "checksum"]) == 12
    assert ("", "ori-trained zip") in table.index and ("", "default zip") not in table.index
    assert table.loc[("", "readout/readout_weights.npy"), "MB"] == pytest.approx(81 * 12 * 4 / 1e6, abs=0.06)


# --- back to PyTorch


def test_there_and_back_is_bit_exact(cache, bucket_folder, tmp_path, capsys):
    out = tmp_path / "out.pt"
    assert cli.main(["export", str(cache), "-o", str(out), "--scan", "8-5"]) == 0
    assert "wrote Twin(8-5: 29 units" in capsys.readouterr().out
    files = bucket_folder / "default"
    published = read_state_dict(files / "params_core.pt") | read_state_dict(files / "params_8_5.pt")
    back = read_state_dict(out)
    assert set(back) == set(published)  # the two constant buffers included
    for key, value in published.items():
        np.testing.assert_array_equal(back[key], value, strict=True)

    again = convert(out, tmp_path / "again", config=bucket.CONFIG)
    theirs, ours = Store(cache / "weights/default").metadata("8-5"), again.metadata("twin")
    assert (theirs["parameters_sha256"], theirs["core_sha256"]) == (ours["parameters_sha256"], ours["core_sha256"])

    assert cli.main(["export", str(cache), "-o", str(out), "--scan", "8-5"]) == 1
    assert "exists already and is kept as it is" in capsys.readouterr().err
    assert (
        cli.main(["export", str(cache), "-o", str(out), "--scan", "8-5", "--weights", "ori-trained", "--overwrite"])
        == 0
    )
    assert not np.array_equal(read_state_dict(out)["readout.feature.weights.0"], back["readout.feature.weights.0"])


def test_a_folder_in_the_published_layout(cache, tmp_path):
    twin = microns.load(cache, "4-7")
    export(twin, tmp_path / "folder")
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {
        "params_core.pt",
        "params_4_7.pt",
        "scans.csv",
        "units.csv",
    }
    again = convert(tmp_path / "folder", tmp_path / "store", weights="default")
    assert (
        again.metadata("4-7")["parameters_sha256"]
        == Store(cache / "weights/default").metadata("4-7")["parameters_sha256"]
    )
    pd.testing.assert_frame_equal(Twin.load(tmp_path / "store").units, twin.units)


def test_a_folder_of_others_is_never_replaced(cache, tmp_path):
    twin = microns.load(cache, "4-7")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "precious.txt").write_text("mine")
    for folder in (tmp_path / "results", cache / "weights" / "default", cache):
        with pytest.raises(FileExistsError, match="holds other things than published files"):
            export(twin, folder, overwrite=True)
    assert (tmp_path / "results" / "precious.txt").exists() and microns.load(cache, "4-7")
    export(twin, tmp_path / "out")
    export(microns.load(cache, "8-5"), tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "params_8_5.pt").exists() and not (tmp_path / "out" / "params_4_7.pt").exists()
    export(twin, tmp_path / "out.PTH")
    assert (tmp_path / "out.PTH").is_file()


def test_exports_that_are_refused(cache, tmp_path):
    twin = microns.load(cache, "4-7")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(FileExistsError, match="is a folder"):
        export(twin, tmp_path / "folder.pt")
    two = Twin(twin.network, twin.units.assign(scan_idx=[7] * 10 + [8] * 10))
    with pytest.raises(ValueError, match="the units must be of one scan"):
        export(two, tmp_path / "some")
    with pytest.raises(ValueError, match="the twin is a selection of units"):
        export(twin.select([3, 2]), tmp_path / "some")
    with pytest.raises(ValueError, match=r"table of units lacks \['session', 'scan_idx', 'unit_id'\]"):
        export(Twin(random_network(small(2))), tmp_path / "some")
    export(twin.select([3, 2]), tmp_path / "some.pt")
    mu = read_state_dict(tmp_path / "some.pt")["readout.position.mu"]
    np.testing.assert_array_equal(mu, np.asarray(twin.network.readout.position.mean[...])[[3, 2]])
    with pytest.raises(CheckpointError, match="does not exist"):
        microns.load(tmp_path / "none")
