"""Protocols of one's own in figures: as they say, or by what they measured."""

import functools
import pickle

import numpy as np
import pandas as pd
import pytest

from fnn_jax.physiology import Column, Measured, Panel, Protocol, Result, figures
from fnn_jax.stimuli import Display, gratings


def measured(protocol, responses):
    table = pd.DataFrame({"preference": responses[0] - responses[1], "r2": responses[0], "fit": "good"})
    return Measured(table, {"curve": responses}, pd.Index(["right", "up"], name="motion"))


def over_numbers(protocol, responses):
    return Measured(pd.DataFrame({"x": responses[0]}), {"curve": responses}, pd.Index([0, 90], name="angle"))


def without_values(protocol, responses):
    return Measured(pd.DataFrame({"is_large": responses[0] > responses[1]}), {"curve": responses})


def without_curve(protocol, responses):
    return Measured(pd.DataFrame({"mean": responses.mean(0)}), {})


def draw_bars(ax, result, row):
    ax.bar(result.values, result.arrays["curve"][:, row])
    ax.set(xlabel="way of motion")


def draw_directions(ax, result, row):
    ax.plot(np.deg2rad([0, 90]), result.arrays["curve"][:, row])


OWN = {
    "panels": [Panel("bars", draw_bars), Panel("directions", draw_directions, "polar")],
    "summary": [Column("preference", "right less up, in {unit}"), "r2", "not_measured"],
}


@pytest.fixture(scope="module")
def make(twin):
    display = Display.of(twin)
    options = {"spatial_frequencies": [0.02], "off_s": 0.5, "on_s": 0.3}
    movies = [functools.partial(gratings, display, directions=[angle], **options) for angle in (0, 90)]
    return functools.partial(Protocol, "own", display, movies)


@pytest.mark.parametrize(
    ("measure", "label"),
    [(measured, "motion"), (over_numbers, "angle"), (without_values, "condition"), (without_curve, "interval")],
)
def test_without_panels(twin, make, tmp_path, measure, label):
    """A curve over names, over numbers, over nothing; and no curve, of which the responses are drawn."""
    result = make(measure).run(twin, batch_size=2, progress=False)
    figure = figures.unit_report(result, 2, tmp_path / "unit.png")
    assert figure.axes[0].get_xlabel() == label
    figures.scan_summary(result, tmp_path / "scan.png")
    assert (tmp_path / "unit.png").stat().st_size > 5000 and (tmp_path / "scan.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="the protocol 'own'; expected direction, or another with a panel of the kind"):
        figures.polar_tuning(result)


def test_every_frame_without_curve(twin, make):
    """Only its numbers can be shown."""

    def measure(protocol, movies):
        return Measured(pd.DataFrame({"largest": np.max([responses.max(0) for _, responses in movies], axis=0)}), {})

    result = make(measure, every_frame=True).run(twin, batch_size=2, progress=False)
    assert "largest" in figures.unit_report(result, 2).axes[0].texts[0].get_text()


def test_panels_of_its_own(twin, make, tmp_path):
    result = make(measured, **OWN).run(twin, batch_size=2, progress=False)
    figure = figures.unit_report(result, 2)
    bars, directions, text = figure.axes
    assert (bars.get_xlabel(), bars.get_title(), directions.name) == ("way of motion", "bars", "polar")
    np.testing.assert_allclose([bar.get_height() for bar in bars.patches], result.arrays["curve"][:, 2])
    assert "right less up, in deg" in text.texts[0].get_text()
    labels = [ax.get_xlabel() for ax in figures.scan_summary(result).axes]
    assert labels == ["right less up, in deg", "r² of the fit"]
    assert len(figures.polar_tuning(result).axes) == twin.num_units


def test_a_result_is_saved_and_loaded(make, tmp_path):
    """Rows of its table are not the ids of its units: what is asked for by row says the id."""
    protocol = make(measured, **OWN)
    responses = np.float32([[1, 2], [4, 3]])
    table = pd.DataFrame({"scan": "8-5", "readout_id": [5, 2]})
    found = measured(protocol, responses)
    table = pd.concat([table, found.table], axis=1)
    result = Result(protocol, table, protocol.conditions, responses, found.arrays, found.values, None)
    assert repr(result) == "Result(own: 2 units of 8-5, curve)"
    result.save(tmp_path)
    loaded = Result.load(tmp_path, protocol)
    pd.testing.assert_frame_equal(loaded.table, table)
    pd.testing.assert_index_equal(loaded.values, result.values)
    np.testing.assert_array_equal(loaded.arrays["curve"], responses)
    assert loaded.responses is None and loaded.dataset is None
    page = figures.unit_report(loaded, row=1)
    assert page.get_suptitle() == "8-5 readout 2"
    np.testing.assert_array_equal([bar.get_height() for bar in page.axes[0].patches], [2, 3])
    assert figures.scan_summary(loaded).axes
    display = (tmp_path / "display.json").read_text()
    (tmp_path / "display.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a result of another display"):
        Result.load(tmp_path, protocol)
    (tmp_path / "display.json").write_text(display)
    with pytest.raises(ValueError, match="holds a result of other conditions than those of Protocol"):
        Result.load(tmp_path, Protocol("own", protocol.display, protocol._make[:1], measured))
    (tmp_path / "arrays.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="holds a result that is damaged"):
        Result.load(tmp_path, protocol)
    (tmp_path / "units.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no result: units\.parquet is not there"):
        Result.load(tmp_path, protocol)


def test_panels_are_no_part_of_a_screen(twin, make, tmp_path):
    """Responses on disk are the same protocol's, however it is drawn; and it goes to other processes."""
    first = make(measured).run(twin, tmp_path / "screen.zarr", batch_size=2, progress=False)
    protocol = pickle.loads(pickle.dumps(make(measured, **OWN)))
    again = protocol.run(twin, tmp_path / "screen.zarr", batch_size=2, progress=False)
    pd.testing.assert_frame_equal(again.table, first.table)
    assert again.dataset.identical(first.dataset)
    assert len(figures.unit_report(again, 0).axes) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"panels": draw_bars}, "expected panels, in a list"),
        ({"panels": [draw_bars]}, "expected Panel(title, draw)"),
        ({"panels": [Panel("bars", "curve")]}, "expected Panel(title, draw)"),
        ({"panels": [Panel("bars", draw_bars, "map")]}, "kind is 'map'; expected one of 'curve', 'polar', 'field'"),
        ({"summary": "r2"}, "expected names of columns, in a list"),
        ({"summary": [3]}, "summary has 3"),
        ({"summary": [Column("r2", scale="log")]}, "scale is 'log'; expected one of 'linear', 'discrete', 'circular'"),
    ],
)
def test_wrong_panels(make, arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make(measured, **arguments)
    assert message in str(error.value)
