"""The compilers of GPUs and TPUs take a small network, and devices ask one another for nothing but a gradient's sum."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLUGINS = Path(sys.prefix) / "plugins"  # where make test-slow puts them


def rows(folder, platform, *options):
    """What ``benchmarks/accelerators.py`` counts, in a process that finds the plugins."""
    script = ROOT / "benchmarks" / "accelerators.py"
    command = [sys.executable, script, "--tiny", "--units=5", "--precisions=float32", f"--output={folder}"]
    done = subprocess.run(
        [*command, "--platforms", platform, *options],
        env=os.environ | {"PYTHONPATH": str(PLUGINS), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    if "Left out" in done.stdout:
        pytest.skip(done.stdout.strip())
    return json.loads((folder / "accelerators-tiny.json").read_text())["rows"]


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["h100", "v5e"])
def test_a_prediction_compiles_and_devices_ask_for_nothing(tmp_path, platform):
    if platform == "h100" and shutil.which("ptxas") is None:
        pytest.skip("ptxas, of the CUDA toolkit, is not here")
    counts = ["1", "4"] if platform == "h100" else ["4"]  # a TPU's compiler takes longest
    found = rows(tmp_path, platform, "--only", "predict, 8", "--devices", *counts)
    assert len(found) == len(counts)
    for name, row in found.items():
        assert "error" not in row, (name, row)
        assert row["collectives"] == {}, name
        assert row["temporaries_gb"] < 0.1 and row["megabytes_a_frame"] > 0
    if platform == "h100":
        one, four = found.values()
        assert 2 < one["kernels_a_frame"] < 8 and four["kernels_a_frame"] < 32  # 4.3 and 17.2


@pytest.mark.slow
def test_a_training_step_adds_up_gradients_and_asks_for_nothing_else(tmp_path):
    if shutil.which("ptxas") is None:
        pytest.skip("ptxas, of the CUDA toolkit, is not here")
    found = rows(tmp_path, "h100", "--only", "training, released", "--devices", "4")
    ((name, row),) = found.items()
    assert "error" not in row, row
    assert set(row["collectives"]) <= {"all-reduce"}, name
