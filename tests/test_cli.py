"""The command line as its user meets it."""

import subprocess
import sys

import numpy as np
import pytest

from fnn_jax import NetworkConfig, Twin, cli, demo
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


def test_errors_are_one_message_without_traceback(tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    cases = {
        ("convert", str(tmp_path / "none"), str(tmp_path / "out")): "none does not exist. Give the folder",
        ("convert", str(folder), str(tmp_path / "out")): "is not in the published layout",
        ("demo", "--directory", str(folder), "-o", str(tmp_path / "d")): "holds no weights",
    }
    for arguments, message in cases.items():
        assert cli.main(list(arguments)) == 1
        error = capsys.readouterr().err
        assert message in error and error.startswith(f"fnn-jax {arguments[0]}: ") and "Traceback" not in error


def test_convert_published_files(tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    folder = demo._write_random_scan(tmp_path / "demo")
    published = folder.parent / "published"
    capsys.readouterr()
    assert cli.main(["convert", str(published), str(tmp_path / "store")]) == 0
    assert f"0-0: {demo.NUM_UNITS} units" in capsys.readouterr().out
    assert cli.main(["convert", str(published), str(tmp_path / "store")]) == 1
    assert "exists already and is kept as it is" in capsys.readouterr().err
    assert cli.main(["convert", str(published), str(tmp_path / "store"), "--scans", "0-0", "--overwrite"]) == 0
    assert Twin.load(tmp_path / "store").num_units == demo.NUM_UNITS


def test_the_module_runs_as_a_script():
    command = [sys.executable, "-m", "fnn_jax.cli", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("fnn_jax 0")


def test_demo(tmp_path, capsys):
    """The README's first command, from published files (where torch is) to the figure."""
    assert cli.main(["demo", "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert shown.count(RANDOM) == 3  # when it is written, when it is loaded, and with the results
    assert "Next: the real weights" in shown
    results = np.load(tmp_path / "out" / "responses.npz")
    assert str(results["label"]) == RANDOM
    for name in ("black_gray_white", "photograph"):
        assert results[name].shape == (90, demo.NUM_UNITS)
        assert np.isfinite(results[name]).all() and results[name].std(0).min() > 0.01
    assert (tmp_path / "out" / "responses.png").stat().st_size > 50_000


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
