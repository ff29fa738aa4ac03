"""A screen on disk that is damaged afterwards: refused with the reason, or mended; never served as data."""

import errno
import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray
from faulty import FAULTS, inflict
from zarr import Array

from fnn_jax import Screen, ScreenError, Twin, open_screen
from fnn_jax.screen import checksums, locks, predictor

COUNT, FRAMES = 6, 9


@pytest.fixture(scope="module")
def videos():
    return {
        f"clip {i}": np.random.default_rng(i).integers(0, 256, (FRAMES + i % 2, 18, 32), np.uint8) for i in range(COUNT)
    }


@pytest.fixture(scope="module")
def screen(twin):
    table = pd.DataFrame({"area": ["V1", "LM"] * 3 + ["V1"], "depth": np.arange(7.0)}, twin.units.index)
    return Screen(Twin(twin.network, table), batch_size=2, progress=False)


@pytest.fixture(scope="module")
def whole(screen, videos, tmp_path_factory):
    path = tmp_path_factory.mktemp("screen") / "whole.zarr"
    screen(videos, path)
    return path


def same(dataset, other):
    np.testing.assert_array_equal(dataset.responses.values, other.responses.values)
    for name in ("stimulus", "frames", "done", "error", "readout_id", "scan", "area", "depth"):
        np.testing.assert_array_equal(dataset[name].values, other[name].values, err_msg=name)
    assert dataset.attrs["settings"] == other.attrs["settings"]


def files(path):
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "fault", ["flip", *(pytest.param(name, marks=pytest.mark.slow) for name in FAULTS if name != "flip")]
)
def test_each_file_damaged(fault, whole, screen, videos, tmp_path):
    """Opened: refused by path, or the same. Called again: mended, and the same."""
    expected, random = open_screen(whole), np.random.default_rng(0)
    for name in files(whole):
        out = tmp_path / "out.zarr"
        shutil.copytree(whole, out)
        inflict(fault, out / name, random)
        try:
            opened = open_screen(out)
        except ScreenError as error:
            assert str(out) in str(error), (name, error)
            damaged = True
        else:
            damaged = False
            if (opened.done == 1).all():
                same(opened, expected)
            else:  # the marks are gone; nothing is served that is not marked
                assert name.startswith("done/") and (opened.done == 0).any()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = screen(videos, out)
        same(again, expected)
        same(open_screen(out), expected)
        assert damaged or name.startswith("done/") or fault == "flip", name
        shutil.rmtree(out)


def test_what_is_whole_is_not_computed_again(whole, screen, videos, tmp_path, monkeypatch):
    out = tmp_path / "out.zarr"
    shutil.copytree(whole, out)
    chunk = sorted((out / "responses" / "c").rglob("*"))[-1]
    chunk.unlink()
    with pytest.raises(
        ScreenError, match=r"out.zarr is damaged: in block 0, stimulus 1 differs .* Call the same screen"
    ):
        open_screen(out)
    # The last frame of longer stimuli is in a chunk of its own.
    assert np.isnan(open_screen(out, verify=False).responses.values[1::2, -1]).all()
    dispatched = []
    dispatch = predictor.Predictor._dispatch
    monkeypatch.setattr(
        predictor.Predictor, "_dispatch", lambda self, batch: dispatched.extend(batch) or dispatch(self, batch)
    )
    with pytest.warns(UserWarning, match="the results of 3 stimuli are computed again"):
        screen(videos, out)
    assert sorted(loaded.index for loaded in dispatched) == [1, 3, 5]


def test_a_damaged_digest_is_not_the_users_fault(whole, screen, videos, tmp_path):
    out = tmp_path / "out.zarr"
    shutil.copytree(whole, out)
    import zarr

    group = zarr.open_group(out, mode="r+")
    digest = group["digest"][:]
    digest[3, 0] ^= 1
    group["digest"][:] = digest
    with pytest.warns(UserWarning, match="the results of 1 stimuli are computed again .stimulus 3 differs"):
        same(screen(videos, out), open_screen(whole))


def test_columns_of_the_table_of_units(whole, screen, videos, twin, tmp_path):
    """Those that came later are told; other values are another table."""
    out = tmp_path / "out.zarr"
    shutil.copytree(whole, out)
    table = screen.twins[0].units
    more = Screen(Twin(twin.network, table.assign(layer=2)), batch_size=2, progress=False)
    with pytest.warns(UserWarning, match="has columns that .* was begun without: layer"):
        same(more(videos, out), open_screen(whole))
    for changed in (table.assign(depth=1.0), table.drop(columns="area")):
        with pytest.raises(ScreenError, match="units whose table has other values, or columns that are missing"):
            Screen(Twin(twin.network, changed), batch_size=2, progress=False)(videos, out)


def test_another_screen_is_not_mended_into_this_one(whole, twin, videos, screen, tmp_path):
    """Without its metadata it cannot be told by its settings; by its results it can."""
    out = tmp_path / "out.zarr"
    shutil.copytree(whole, out)
    (out / "zarr.json").unlink()
    other = Screen(screen.twins[0], batch_size=2, periphery="extend", progress=False)
    with pytest.raises(ScreenError, match="out.zarr is damaged: the file zarr.json is missing"):
        other(videos, out)
    with pytest.warns(UserWarning, match="Its metadata were mended"):
        same(screen(videos, out), open_screen(whole))


def test_results_of_earlier_versions_are_told(whole, screen, videos, tmp_path):
    out = tmp_path / "out.zarr"
    shutil.copytree(whole, out)
    metadata = json.loads((out / "zarr.json").read_text())
    del metadata["attributes"]["attributes_sha256"]
    metadata["attributes"]["format"] = 1
    (out / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(ScreenError, match="a screen of the format 1, expected 2; it is kept"):
        open_screen(out)


def test_errors_that_pass_destroy_nothing(whole, screen, videos, tmp_path, monkeypatch):
    """A file that cannot be read for a moment is not damaged; nor is a screen whose arrays are growing."""
    out = tmp_path / "out.zarr"
    shutil.copytree(whole, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    read = Array.__getitem__

    def fail(array, place):
        if array.path == "responses":
            raise OSError(errno.EMFILE, "Too many open files")
        return read(array, place)

    with monkeypatch.context() as patch, pytest.raises(ScreenError, match="responses cannot be read now: OSError"):
        patch.setattr(Array, "__getitem__", fail)
        screen(videos, out)
    check, failures = checksums.check_metadata, iter([ScreenError("its arrays are of [20, 24] stimuli")])

    def grows_first(path):
        if (failure := next(failures, None)) is not None:
            raise failure
        return check(path)

    with monkeypatch.context() as patch:
        patch.setattr(checksums, "check_metadata", grows_first)
        same(screen(videos, out), open_screen(whole))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_consolidated_metadata_are_those_of_the_arrays(whole, screen, videos, tmp_path, monkeypatch):
    """Or they are written anew."""
    out = tmp_path / "out.zarr"
    shutil.copytree(whole, out)
    metadata = json.loads((out / "zarr.json").read_text())
    metadata["consolidated_metadata"]["metadata"]["responses"]["shape"][0] += 1
    (out / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(ScreenError, match="the metadata in zarr.json are not those of the arrays"):
        open_screen(out)
    with pytest.warns(UserWarning, match="Its metadata were mended"):
        same(screen(videos, out), open_screen(whole))
    assert (out / "zarr.json").read_bytes() == (whole / "zarr.json").read_bytes()
    # Killed while they are written: nothing strange is left in the group, and the next call clears what is beside it.
    del metadata["consolidated_metadata"]
    (out / "zarr.json").write_text(json.dumps(metadata))

    def killed(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        with pytest.raises(KeyboardInterrupt):
            screen(videos, out)
    assert {file.name for file in out.iterdir()} == {file.name for file in whole.iterdir()}
    (left,) = locks.folder(out).glob(".zarr.json.incomplete-*")
    left.rename(left.with_name(left.name.replace(f"-{os.getpid()}-", "-999999999-")))
    held = locks.claim(out, "7")  # another process is at work
    same(screen(videos, out), open_screen(whole))
    assert [file.name for file in locks.folder(out).iterdir()] == ["7.lock"]
    locks.release(held)
    locks.clear(out)
    assert not locks.folder(out).exists()
    # Of a generator more may come, and longer ones: the arrays grow.
    for count in (1, 2, COUNT):
        screen((videos[name] for name in list(videos)[:count]), tmp_path / "generated.zarr")
        assert xarray.open_zarr(tmp_path / "generated.zarr").responses.shape[0] == count
        assert len(open_screen(tmp_path / "generated.zarr").stimulus) == count
