"""A command that is interrupted says how to go on; one that goes on says from where."""

import os
import signal

import numpy as np
import pytest

from fnn_jax import cli
from fnn_jax.screen import screen as screen_module
from fnn_jax.screen.store import ScreenStore


@pytest.fixture
def here(twin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    twin.save("my weights")
    random = np.random.default_rng(0)
    np.save("stimuli.npy", random.integers(0, 256, (6, 4, 18, 32), dtype=np.uint8))
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


ARGUMENTS = ["screen", "stimuli.npy", "--directory", "my weights", "--batch-size", "2", "-o", "screen.zarr"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_and_resumed(here, monkeypatch, capsys, number, code):
    monkeypatch.setattr(screen_module, "LEAST_BLOCK", 2)
    write, written = ScreenStore.write, []

    def write_one(store, block, rows):
        write(store, block, rows)
        if written:
            os.kill(os.getpid(), number)
        written.append(block)

    with monkeypatch.context() as patch:
        patch.setattr(ScreenStore, "write", write_one)
        assert cli.main(ARGUMENTS) == code
    error = capsys.readouterr().err
    assert "fnn-jax screen: interrupted. What is done is kept; the same command goes on there:" in error
    assert "\n  fnn-jax screen stimuli.npy --directory 'my weights' --batch-size 2 -o screen.zarr" in error
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert cli.main(ARGUMENTS) == 0
    assert "screen: resumed; 4 of 6 stimuli were done before" in capsys.readouterr().err


def test_what_keeps_nothing_begins_anew(here, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("fnn_jax.Twin.predict", interrupted)
    arguments = ["predict", "stimuli.npy", "--directory", "my weights", "-o", "responses.npz"]
    np.save("stimuli.npy", np.zeros((4, 18, 32), np.uint8))
    assert cli.main(arguments) == 130
    error = capsys.readouterr().err
    assert "fnn-jax predict: interrupted. To begin anew, the same command:\n  fnn-jax predict stimuli.npy" in error
