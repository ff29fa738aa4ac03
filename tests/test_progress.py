"""One meaning of ``progress`` everywhere: True, False, or None, which is where somebody looks."""

import inspect
import io

import numpy as np
import pytest

import fnn_jax
from fnn_jax import convert, evaluation, microns, physiology, synthesis, training
from fnn_jax.common.progress import SHORT_FRAMES, progress_bar

SENTENCE = "progress: show a progress bar; None: in terminals and notebooks."
FUNCTIONS = (
    fnn_jax.Screen,
    fnn_jax.Twin.predict,
    convert.convert,
    evaluation.evaluate,
    microns.download,
    physiology.gradient_receptive_fields,
    physiology.record_features,
    synthesis.synthesize,
    training.train,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("progress", "terminal", "frames", "is_shown"),
    [
        (True, False, 3, True),
        (False, True, SHORT_FRAMES, False),
        (None, True, SHORT_FRAMES, True),
        (None, True, SHORT_FRAMES - 1, False),
        (None, False, SHORT_FRAMES, False),
    ],
)
def test_who_sees_a_bar(monkeypatch, progress, terminal, frames, is_shown):
    shown = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    with progress_bar(progress, "predict", "frame", frames, least=SHORT_FRAMES) as bar:
        bar.update(frames)
    assert bool(shown.getvalue()) == is_shown
    if is_shown:
        assert "predict: 100%" in shown.getvalue() and "frame/s" in shown.getvalue()


def test_over_items(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert list(progress_bar(None, "convert", "scan", over="ab")) == ["a", "b"]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_function_says_the_same(function):
    assert SENTENCE in " ".join(inspect.getdoc(function).split())
    assert inspect.signature(function).parameters["progress"].default is None


@pytest.mark.parametrize(
    "call",
    [
        lambda twin, path: twin.predict(np.zeros((2, 18, 32), np.uint8), progress=1),
        lambda twin, path: twin.features(np.zeros((2, 18, 32), np.uint8), "core", progress=1),
        lambda twin, path: fnn_jax.Screen(twin, progress=1),
        lambda twin, path: convert.convert(path / "nothing", path / "store", progress=1),
        lambda twin, path: microns.download(directory=path, offline=True, progress=1),
        lambda twin, path: physiology.gradient_receptive_fields(twin, [0], progress=1),
        lambda twin, path: physiology.record_features(twin, np.zeros((2, 18, 32), np.uint8), "core", progress=1),
        lambda twin, path: synthesis.synthesize(twin, [0], num_frames=4, burn_in=0, progress=1),
        lambda twin, path: training.train(path / "nothing", path / "out", twin, progress=1),
    ],
)
def test_anything_else_is_refused_before_the_work(twin, tmp_path, call):
    with pytest.raises(TypeError, match="progress is 1; expected True or False"):
        call(twin, tmp_path)
