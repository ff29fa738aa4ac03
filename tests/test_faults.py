"""Faults: what went wrong once, and a few of each kind of fault in everything that is written."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from faulty import FAULTS

from fnn_jax.weights import checkpoint

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LOAD = """
import sys, time
from fnn_jax import CheckpointError
from fnn_jax.weights import checkpoint
try:
    checkpoint.load(sys.argv[1])
except CheckpointError as error:
    print(error)
time.sleep(0.5)  # threads that go on after the refusal have time to say something
"""


@pytest.mark.parametrize(
    "name", ["state/manifest.ocdbt", "state/d/*", "state/**/d/*", "_CHECKPOINT_METADATA"]
)  # Orbax may leave files below state/ocdbt.process_0 that nothing refers to: damage there alone is harmless
def test_a_refused_checkpoint_is_all_that_is_said(twin, tmp_path, name):
    """Tracebacks of event loops that were closed at the first error came after the refusal."""
    twin.save(tmp_path / "twin")
    core = tmp_path / "twin" / "core"
    for path in core.glob(name):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = subprocess.run([sys.executable, "-c", LOAD, str(core)], capture_output=True, text=True)
    assert f"The checkpoint {core} is damaged and was not loaded" in done.stdout
    assert done.stderr == "" and done.returncode == 0


def test_a_full_disk_is_said_of_the_folder_that_was_asked_for(twin, tmp_path, monkeypatch):
    """A hidden one inside, for the core alone, was named before."""

    def full(path, arrays, record):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(OSError, match=r"mine cannot be written: the disk is full, or your quota. Make room") as error:
        twin.save(tmp_path / "mine")
    assert "incomplete" not in str(error.value) and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_few_faults_of_each_kind():
    """In a process of its own, which may fork others: see ``benchmarks/faults.py``."""
    done = subprocess.run([sys.executable, str(BENCHMARKS / "faults.py"), "--quick"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert len(FAULTS) == 4 and "| all | " in done.stdout
