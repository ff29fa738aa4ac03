"""One meaning of ``progress`` everywhere: True, False, or None, which is where somebody looks."""

import inspect
import io
import re
import time

import numpy as np
import pytest

import fnn_jax
from fnn_jax import analysis, convert, evaluation, microns, physiology, synthesis, training
from fnn_jax.common import progress
from fnn_jax.common.progress import SHORT_FRAMES, progress_bar

SENTENCE = "progress: show a progress bar; None: in terminals and notebooks."
FUNCTIONS = (
    fnn_jax.Screen,
    fnn_jax.Twin.predict,
    analysis.decode_area,
    analysis.relate,
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
    ("asked", "terminal", "frames", "is_shown"),
    [
        (True, False, 3, True),
        (False, True, SHORT_FRAMES, False),
        (None, True, SHORT_FRAMES, True),
        (None, True, SHORT_FRAMES - 1, False),
        (None, False, SHORT_FRAMES, False),
    ],
)
def test_who_sees_a_bar(monkeypatch, asked, terminal, frames, is_shown):
    shown = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    with progress_bar(asked, "predict", "frame", frames, least=SHORT_FRAMES) as bar:
        bar.update(frames)
    assert bool(shown.getvalue()) == is_shown
    if is_shown:
        assert "predict: 100%" in shown.getvalue() and "frame/s" in shown.getvalue()


def test_over_items(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert list(progress_bar(None, "convert", "scan", over="ab")) == ["a", "b"]


def test_a_log_gets_whole_lines_and_compilation_has_a_name(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    monkeypatch.setattr(progress, "FIRST_S", 0.2)
    monkeypatch.setattr(progress, "EVERY_S", 0.2)
    with progress_bar(None, "screen", "stimulus", 40, done=10, compiles=True) as bar:
        _wait_for(log, "compiling")
        for _ in range(2):
            bar.update(10)
            time.sleep(0.05)
        bar.set_postfix(loss="0.5", refresh=False)
        _wait_for(log, "remaining")
    lines = log.getvalue()
    assert "screen: 10 of 40 stimuli, 00:00 elapsed; compiling, which takes seconds to minutes, once\n" in lines
    assert re.search(r"screen: 30 of 40 stimuli, 00:0\d elapsed, about 00:0\d remaining, loss=0.5\n", lines)
    assert "\r" not in lines
    time.sleep(0.5)
    assert log.getvalue() == lines  # it is over


def test_a_log_gets_lines_of_items_and_of_bytes(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    monkeypatch.setattr(progress, "FIRST_S", 0.05)
    for _ in progress_bar(None, "look at data", "trial", over=range(2)):
        _wait_for(log, "look at data: 0 of 2 trials")
    with progress_bar(None, "weights.pt", "byte", 2_000_000, scaled=True) as bar:
        bar.update(500_000)
        _wait_for(log, "weights.pt: 500k of 2.00M bytes")


def test_a_bar_names_compilation_until_something_is_done(monkeypatch):
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    with progress_bar(None, "screen", "stimulus", 2, compiles=True) as bar:
        assert "compiling" in shown.getvalue()
        bar.update()
        assert not bar.postfix


def _wait_for(log, text, seconds=10):
    until = time.monotonic() + seconds
    while text not in log.getvalue():
        assert time.monotonic() < until, log.getvalue()
        time.sleep(0.02)


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
        lambda twin, path: analysis.decode_area(np.eye(40), np.tile(["V1", "LM"], 20), progress=1),
        lambda twin, path: analysis.relate(*[analysis.orientation_similarity(np.arange(12.0))] * 2, progress=1),
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
