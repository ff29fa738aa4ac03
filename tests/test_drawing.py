"""Drawings beside pictures that were looked at, from simulated data; ``python tests/test_drawing.py`` draws them anew."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.testing.compare import compare_images

from fnn_jax import figures
from fnn_jax.stimuli import Display
from fnn_jax.synthesis import Synthesis, influence
from fnn_jax.synthesis.figures import draw_target
from fnn_jax.synthesis.influence import _gradient

PICTURES = Path(__file__).parent / "pictures"
TOLERANCE = 12  # of 255, root mean square: other versions of matplotlib set text a little differently
DPI = 60


def polar(ax, random):
    directions = np.arange(0, 360, 22.5)
    tuned = lambda angle: 2 + np.cos(np.deg2rad(angle - 40))  # noqa: E731
    figures.draw_polar_tuning(ax, directions, tuned(directions) + 0.1 * random.normal(size=16), tuned)


def curve(ax, random):
    figures.draw_tuning_curve(ax, [1, 2, 4, 8], random.uniform(size=4), "temporal frequency (Hz)")


def field(ax, random):
    display = Display.of().in_blocks(8)
    noise = random.normal(size=(display.height, display.width))
    figures.draw_receptive_field(ax, 5 * np.exp(-(display.distance((20, 10)) ** 2) / 200) + noise, display, "response")


def centers(ax, random):
    figures.draw_monitor(ax, Display.of())
    figures.draw_field_centers(ax, random.normal(10, 15, 5000), random.normal(5, 10, 5000))
    figures.draw_field_centers(ax, random.normal(-30, 3, 50), random.normal(-20, 3, 50))


def traces(ax, random):
    responses = random.uniform(size=(60, 9)).cumsum(0)
    figures.draw_traces(ax, responses[:, :3], ["unit 1", "unit 2", "unit 3"], mean=responses.mean(1))


def population(ax, random):
    phases = random.uniform(0, 6, 80)
    figures.draw_population(ax, 1 + np.sin(np.arange(90)[:, None] / 10 + phases), onsets=[1, 2])


def relation(ax, random):
    x = random.uniform(size=5000)
    figures.draw_relation(ax, x, x * random.uniform(0.3, 1, 5000), equal=True)


def few(ax, random):
    figures.draw_relation(ax, random.uniform(size=60), random.uniform(size=60))


def cortex(ax, random):
    x, y = random.uniform(0, 1000, 2000), random.uniform(0, 800, 2000)
    figures.draw_cortex(ax, x, y, x + y + random.normal(size=2000), "preferred direction (deg)")


def frames(ax, random):
    influence = np.exp(-(Display.of().distance((20, 0)) ** 2) / 400)
    figures.draw_frames(ax, random.integers(0, 256, (60, 144, 256)), num_frames=3, influence=influence)


def objectives(ax, random):
    losses = np.sort(random.uniform(1, 2, (2, 6)))[:, ::-1]
    table = {"epoch": range(6), "training_objective": losses[0], "validation_objective": losses[1]}
    figures.draw_objectives(ax, pd.DataFrame(table))


DRAWINGS = {
    draw.__name__: draw
    for draw in (polar, curve, field, centers, traces, population, relation, few, cortex, frames, objectives)
}


def draw_picture(name, path, seed=0):
    with figures.journal_style():
        figure = figures.new_figure(figures.SINGLE, 60)
        ax = figure.subplots(subplot_kw={"projection": "polar"} if name == "polar" else {})
        DRAWINGS[name](ax, np.random.default_rng(seed))
        figure.savefig(path, dpi=DPI)
    return figure


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawings_are_as_they_were(name, tmp_path):
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True}):  # a user's own
        figure = draw_picture(name, tmp_path / "now.png")
        assert matplotlib.rcParams["font.size"] == 20 and matplotlib.rcParams["axes.grid"]
    assert compare_images(str(PICTURES / f"{name}.png"), str(tmp_path / "now.png"), TOLERANCE) is None
    sizes = [text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
    assert min(sizes) >= 7


def test_other_data_make_another_picture(tmp_path):
    for name in ("population", "frames", "curve"):
        draw_picture(name, tmp_path / "other.png", seed=1)
        # Frames of noise in a corner are a small part of the picture.
        within = 1 if name == "frames" else 2 * TOLERANCE / 3
        assert compare_images(str(PICTURES / f"{name}.png"), str(tmp_path / "other.png"), within) is not None, name


def test_ticks_of_epochs_are_whole(tmp_path):
    figure = draw_picture("objectives", tmp_path / "now.png")
    ticks = figure.axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, ticks.round())


def test_text_stays_text(tmp_path):
    with figures.journal_style():
        figure = figures.new_figure(figures.SINGLE, 60)
        axes = figure.subplots(1, 2)
        curve(axes[0], np.random.default_rng(0))
        figures.panel_letters(axes)
    np.testing.assert_allclose(figure.get_size_inches() * 25.4, (89, 60))
    figures.save_figure(figure, tmp_path / "figure.svg")
    assert ">temporal frequency (Hz)</text>" in (tmp_path / "figure.svg").read_text()
    assert [ax.texts[0].get_text() for ax in axes] == ["a", "b"]


def test_each_returns_its_axes(twin):
    ax = figures.new_figure(figures.SINGLE, 60).subplots()
    display = Display.of(twin)
    assert figures.draw_monitor(ax, display) is ax and figures.draw_retina(ax, twin) is ax
    monitor, retina = ax.lines
    right, left = (display.ray(retina.get_xydata()[number]) for number in (90, 210))  # middles of both sides
    angle = np.rad2deg(np.arccos(right @ left))
    assert angle == pytest.approx(2 * twin.config.perspective.max_angle_deg, abs=1)
    assert np.ptp(monitor.get_xdata()) == pytest.approx(display.extent[0], rel=0.1)
    moved = figures.new_figure(figures.SINGLE, 60).subplots()
    figures.draw_retina(moved, twin, (2.0, 1.0))
    assert moved.get_xlabel() == "x (deg)"


@pytest.mark.slow
def test_influence(twin, tmp_path):
    """Of a unit and of a group; drawn into the frames of a synthesis."""
    size = (twin.config.stimulus_height, twin.config.stimulus_width)
    frames = np.random.default_rng(0).integers(0, 256, (2, 1, 4, *size), np.uint8)
    responses, steps, last = np.ones((2, 1, 3, 1, 1)), np.ones((2, 5)), np.zeros(2)
    record = {"units": [2, 5], "burn_in": 1}
    stopped = np.array(["steps", "steps"])
    found = Synthesis(frames, frames, responses, responses, steps, steps, last, last, stopped, record=record)
    programs = _gradient._cache_size()
    one, other = (influence(twin, found, index) for index in range(2))
    assert _gradient._cache_size() == programs + 1, "a program for each unit"
    assert not np.allclose(one, other)
    record["units"] = [2, [0, 1]]
    group = influence(twin, found, 1)
    assert one.shape == size and one.max() == group.max() == 1 and 0 <= one.min() < 0.5 and not np.allclose(one, group)
    figure = draw_target(found, 0, influence=one)
    assert len(figure.axes[0].collections) == 4 and figure.get_size_inches()[0] * 25.4 == pytest.approx(183)
    record["units"] = [["core"]]  # features by name
    with pytest.raises(ValueError, match="target 0 has no units"):
        influence(twin, found, 0)


@pytest.mark.parametrize(
    ("draw", "arguments", "message"),
    [
        (figures.draw_frames, (np.zeros((3, 4)),), "frames has the shape [3, 4]; expected [frames, height, width]"),
        (figures.draw_traces, (np.zeros((9, 7)),), "responses has 7 units; expected at most 6"),
        (figures.draw_traces, (np.zeros((9, 2)), ["a"]), "names has 1 entries; expected one for each of 2 units"),
        (figures.draw_population, (np.zeros((0, 2)),), "expected [frames, units], at least one each"),
        (figures.draw_relation, ([1, 2], [1]), "x has 2 values and y 1"),
        (figures.draw_cortex, ([1], [1], [1, 2], "OSI"), "x, y and values have 1, 1 and 2 units"),
        (figures.draw_tuning_curve, ([1, 2], [1], "x"), "responses has the shape [1]; expected [2], as values"),
        (figures.draw_polar_tuning, ([0], [1]), "ax is rectilinear; expected polar axes"),
        (figures.draw_receptive_field, (np.zeros((2, 2)), Display.of(), "r"), "expected [144, 256], the display's"),
        (figures.draw_monitor, (3,), "display is 3"),
        (figures.draw_field_centers, ([1], [1, 2]), "x has 1 values and y 2"),
    ],
)
def test_wrong_arrays(draw, arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        draw(figures.new_figure(figures.SINGLE, 60).subplots(), *arguments)
    assert message in str(error.value)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for each in DRAWINGS:
        draw_picture(each, PICTURES / f"{each}.png")
