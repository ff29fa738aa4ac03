"""The command line as its user meets it."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fnn_jax import NetworkConfig, Twin, cli, demo, open_screen
from fnn_jax.cli.options import select_units
from fnn_jax.demo import RANDOM, random_network


def test_help_teaches(capsys):
    for arguments in (["--help"], ["convert", "--help"], ["demo", "--help"]):
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 0
    shown = capsys.readouterr().out
    for text in (
        "fnn-jax demo",
        "fnn-jax download",
        "--directory DIR",
        "--scan 8-5",
        "RANDOM weights",
    ):
        assert text in shown


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["convert"], ["convert", "a"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2 and "usage: fnn-jax" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-3", "2.5", "many", "99999999999"])
def test_counts_are_refused_in_the_name_of_the_option(value, capsys):
    with pytest.raises(SystemExit):
        cli.main(["export", "twin", "-o", "out.onnx", "--frames", value])
    assert re.search(f"argument --frames: it is '?{value}'?; expected a positive integer", capsys.readouterr().err)


def test_errors_are_one_message_without_traceback(tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    cases = {
        ("convert", str(tmp_path / "none"), "-o", str(tmp_path / "out")): "none does not exist. Give the folder",
        ("convert", str(folder), "-o", str(tmp_path / "out")): "is not in the published layout",
        ("demo", "--directory", str(folder), "-o", str(tmp_path / "d")): "holds no weights",
    }
    for arguments, message in cases.items():
        assert cli.main(list(arguments)) == 1
        error = capsys.readouterr().err
        assert message in error and error.startswith(f"fnn-jax {arguments[0]}: ") and "Traceback" not in error


@pytest.mark.slow
def test_convert_published_files(tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    folder = demo._write_random_scan(tmp_path / "demo")
    published = folder.parent / "published"
    capsys.readouterr()
    assert cli.main(["convert", str(published), "-o", str(tmp_path / "store")]) == 0
    assert f"0-0: {demo.NUM_UNITS} units" in capsys.readouterr().out
    assert cli.main(["convert", str(published), "-o", str(tmp_path / "store")]) == 1
    assert "exists already and is kept as it is" in capsys.readouterr().err
    assert cli.main(["convert", str(published), "-o", str(tmp_path / "store"), "--scan", "0-0", "--overwrite"]) == 0
    assert Twin.load(tmp_path / "store").num_units == demo.NUM_UNITS


def test_the_module_runs_as_a_script():
    command = [sys.executable, "-m", "fnn_jax.cli", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("fnn_jax 0")


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    """The README's first command, from published files (where torch is) to the figure."""
    assert cli.main(["demo", "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert shown.count(RANDOM) == 3  # when it is written, when it is loaded, and with the results
    assert f"fnn-jax predict VIDEO --directory {tmp_path / 'out' / 'random_weights'}" in shown
    results = np.load(tmp_path / "out" / "responses.npz")
    assert str(results["label"]) == RANDOM
    for name in ("black_gray_white", "photograph"):
        assert results[name].shape == (90, demo.NUM_UNITS)
        assert np.isfinite(results[name]).all() and results[name].std(0).min() > 0.01
    assert (tmp_path / "out" / "responses.png").stat().st_size > 50_000


@pytest.mark.slow
def test_demo_without_torch_and_with_other_weights(tmp_path, monkeypatch, capsys):
    """Without torch the scan is saved as the converter would; given weights need no random ones. Videos of 4 frames."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(demo, "black_gray_white", lambda: np.zeros((4, 144, 256), np.uint8))
    monkeypatch.setattr(demo, "panned_photograph", lambda: np.ones((4, 144, 256), np.uint8))
    assert cli.main(["demo", "-o", str(tmp_path / "one")]) == 0
    assert (tmp_path / "one" / "random_weights" / "scans" / "0-0").is_dir()
    assert cli.main(["demo", "-o", str(tmp_path / "one")]) == 0  # a second run replaces the first
    Twin(random_network(NetworkConfig.microns(demo.NUM_UNITS))).save(tmp_path / "mine")
    capsys.readouterr()
    assert cli.main(["demo", "--directory", str(tmp_path / "mine"), "-o", str(tmp_path / "two")]) == 0
    shown = capsys.readouterr().out
    assert RANDOM not in shown and "Next:" not in shown
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["responses.npz", "responses.png"]


@pytest.fixture
def reader(twin, tmp_path, monkeypatch):
    """A folder with a small twin and two videos, one of them of another size."""
    random = np.random.default_rng(0)
    twin.save(tmp_path / "weights")
    np.save(tmp_path / "a.npy", random.integers(0, 256, (9, 18, 32), dtype=np.uint8))
    np.save(tmp_path / "b.npy", random.integers(0, 256, (5, 36, 70), dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_predict(reader, twin, capsys):
    weights = ("--directory", "weights")
    assert cli.main(["predict", "a.npy", "b.npy", "-o", "out.npz", *weights]) == 0
    shown = capsys.readouterr().out
    assert "b.npy: 5 frames of 36 x 70" in shown and "cropped" in shown
    assert "[frames, units]: a [9, 7], b [5, 7]" in shown
    result = np.load("out.npz")
    expected = twin.predict(np.load("a.npy"))
    np.testing.assert_array_equal(result["a"], expected)
    assert result["units/readout_id"].tolist() == list(range(7))

    np.save("file.npy", np.load("a.npy"))  # the name of an argument of numpy.savez
    assert cli.main(["predict", "file.npy", "-o", "file.npz", *weights]) == 0
    np.testing.assert_array_equal(np.load("file.npz")["file"], expected)

    np.save("eye.npy", np.float32([0.3, -0.2]))
    options = ["--units", "5", "2", "--perspectives", "eye.npy", "--periphery", "extend"]
    assert cli.main(["predict", "a.npy", "-o", "one.npy", *weights, *options]) == 0
    eye = np.broadcast_to(np.float32([0.3, -0.2]), (9, 2))
    some = twin.predict(np.load("a.npy"), eye, periphery="extend")[:, [5, 2]]
    np.testing.assert_allclose(np.load("one.npy"), some, rtol=1e-5)

    assert cli.main(["predict", "a.npy", "-o", "out.zarr", *weights]) == 0
    np.testing.assert_allclose(open_screen("out.zarr").responses[0], expected, rtol=1e-6)
    capsys.readouterr()
    Path("bytes.npy").write_bytes(bytes(range(256)))
    np.save("objects.npy", np.array([{}, None], object), allow_pickle=True)
    for arguments, message in (
        (["a.npy", "-o", "out.npz"], "exists already and is kept"),
        (["a.npy", "-o", "out.mat"], "expected a name that ends in .npy, .npz, .zarr"),
        (["a.npy", "b.npy", "-o", "two.npy"], "holds one array, for 2 videos. Use .npz"),
        (["c.mp4", "-o", "c.npy"], "c.mp4 does not exist"),
        (["a.npy", "-o", "c.npy", "--units", "9"], "units holds 1 that this twin does not have"),
        (["a.npy", "-o", "c.npy", "--perspectives", "no.npy"], "--perspectives is no.npy, which cannot be read"),
        (["a.npy", "-o", "c.npy", "--perspectives", "bytes.npy"], "--perspectives is bytes.npy, which is no .npy of"),
        (["a.npy", "-o", "c.npy", "--modulations", "objects.npy"], "--modulations is objects.npy, which is no .npy of"),
        (["a.npy", "-o", "c.npy", "--modulations", "out.npz"], "--modulations is out.npz, which holds several arrays"),
    ):
        assert cli.main(["predict", *arguments, *weights]) == 1
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error
    assert not (reader / "two.npy").exists() and not (reader / "c.npy").exists()
    assert cli.main(["predict", "a.npy", "-o", "out.npz", "--overwrite", *weights]) == 0


def test_units_of_a_table(twin, tmp_path):
    """They are its ids, which are not its rows, of the scan that is asked for."""
    path = tmp_path / "units.csv"
    path.write_text("scan,readout_id\n8-5,0\ntwin,5\ntwin,2\n")
    chosen = argparse.Namespace(units=[str(path)], weights=None)
    (some,) = select_units([twin], chosen, None)
    assert some.units.index.tolist() == [5, 2]
    (one,) = select_units([twin], argparse.Namespace(units=[str(path), 2], weights=None), None)
    assert one.units.index.tolist() == [2]
    path.write_text("scan,readout_id\n8-5,0\n")
    with pytest.raises(ValueError, match="with units of 8-5; expected some of twin"):
        select_units([twin], chosen, None)
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(ValueError, match="which is no table in CSV, or is damaged"):
        select_units([twin], chosen, None)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="which cannot be read: No such file"):
        select_units([twin], chosen, None)


def test_screen(reader, twin, capsys):
    (reader / "videos").mkdir()
    for name in ("a.npy", "b.npy"):
        (reader / name).rename(reader / "videos" / name)
    options = ["--directory", "weights", "--scan", "all", "--reduce", "mean", "--intervals", "1:5", "-o", "out.zarr"]
    for _ in range(2):
        assert cli.main(["screen", "videos", *options]) == 0
        shown = capsys.readouterr().out
        assert "the first: a.npy: 9 frames of 18 x 32" in shown and "(stimulus 2, unit 7) in out.zarr" in shown
    expected = twin.predict(np.load("videos/a.npy"))[1:5].mean(0)
    np.testing.assert_allclose(open_screen("out.zarr").responses[0], expected, rtol=1e-6)
    for arguments, message in (
        (["videos", *options, "--fit", "pad"], 'fit: there "crop", here "pad"'),
        (["videos", *options[:-1], "out"], "expected a name that ends in .zarr"),
        (["videos", *options[:7], "5-1", "-o", "x.zarr"], "expected START:STOP in frames, such as 15:45"),
        (["videos", *options[:7], "0:9", "-o", "x.zarr", "--errors", "raise"], "b.npy: the interval 0 to 9 ends after"),
        (["weights", *options], "weights"),
    ):
        assert cli.main(["screen", *arguments]) == 1, arguments
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error, error


def test_screen_of_features(reader, twin, capsys):
    options = ["--directory", "weights", "--reduce", "mean", "--features", "core", "recurrent.*_gate"]
    assert cli.main(["screen", "a.npy", *options, "-o", "both.zarr"]) == 0
    shown = capsys.readouterr().out
    assert (
        "mean responses per frame (stimulus 1, unit 7) in both.zarr" in shown and "core (stimulus 1, stream 2" in shown
    )
    assert cli.main(["screen", "a.npy", *options, "--only-features", "-o", "inside.zarr"]) == 0
    inside = open_screen("inside.zarr")
    expected = twin.features(np.load("a.npy"), ["core"])["core"].mean(0)
    np.testing.assert_allclose(inside.core[0], expected, rtol=1e-4, atol=1e-5)
    assert (
        "responses" not in inside
        and inside["recurrent.input_gate"].shape == open_screen("both.zarr")["recurrent.input_gate"].shape
    )
    for wrong, message in (
        (["--features", "recurrent.hiden"], "features has unknown names ['recurrent.hiden']"),
        (["--only-features"], "--only-features is given without --features"),
    ):
        assert cli.main(["screen", "a.npy", "--directory", "weights", *wrong, "-o", "x.zarr"]) == 1
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error, error
