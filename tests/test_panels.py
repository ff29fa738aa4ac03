"""Protocols of one's own in figures: as they say, or by what they measured."""

import functools
import pickle

import numpy as np
import pandas as pd
import pytest
import xarray

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


def test_a_result_is_saved_and_loaded(twin, make, tmp_path):
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
    for message, name, display, movies in (
        ("of another display", "own", Display.flat(twin), protocol._make),
        ("of other conditions than those of Protocol", "own", protocol.display, protocol._make[:1]),
        ("of the protocol 'own'; expected one of Protocol", "other", protocol.display, protocol._make),
    ):
        with pytest.raises(ValueError, match=f"holds a result {message}"):
            Result.load(tmp_path, Protocol(name, display, movies, measured))


def test_no_damaged_or_mixed_result_is_loaded(make, tmp_path, monkeypatch):
    protocol, folder = make(measured), tmp_path / "kept"

    def result(first):
        responses = np.float32([[first, 2], [4, 3]])
        found = measured(protocol, responses)
        table = pd.concat([pd.DataFrame({"scan": "8-5", "readout_id": [5, 2]}), found.table], axis=1)
        return Result(protocol, table, protocol.conditions, responses, found.arrays, found.values, None)

    paths = result(1).save(folder)
    assert [path.name for path in paths[-2:]] == ["arrays.npz", "result.json"]
    for path in paths[1:]:
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(ValueError, match="damaged.*Measure it again; the screen.zarr in it"):
                Result.load(folder, protocol)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=f"holds no whole result: {path.name}.* is not there"):
            Result.load(folder, protocol)
        path.write_bytes(whole)

    def loaded():
        return Result.load(folder, protocol).arrays["curve"][0, 0]

    result(5).save(tmp_path / "other")
    (folder / "arrays.npz").write_bytes((tmp_path / "other" / "arrays.npz").read_bytes())
    with pytest.raises(ValueError, match=r"mixed of two: arrays\.npz differs"):
        loaded()
    result(1).save(folder)

    def broken(*args, **kwargs):
        raise OSError("broken")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="broken"):  # before all files are complete
        patch.setattr(np, "savez_compressed", broken)
        result(5).save(folder)
    assert loaded() == 1
    with monkeypatch.context() as patch, pytest.raises(OSError, match="broken"):  # when they take their places
        patch.setattr("fnn_jax.common.files.os.replace", broken)
        result(5).save(folder)
    with pytest.raises(FileNotFoundError, match=r"result\.json, written last, is not there"):
        loaded()
    result(5).save(folder)
    assert loaded() == 5


def test_a_screen_of_another_protocol_or_of_other_units_is_not_measured(make):
    protocol = make(measured)
    units = pd.DataFrame({"scan": "8-5", "readout_id": [5, 2]})
    coordinates = {"stimulus": ["own 0", "own 1"], "done": ("stimulus", [1, 1]), "frames": ("stimulus", [24, 24])}
    coordinates |= {"scan": ("unit", ["8-5", "8-5"]), "readout_id": ("unit", [5, 2])}
    responses = (("stimulus", "interval", "unit"), np.float32([[[1, 2]], [[4, 3]]]))
    screen = xarray.Dataset({"responses": responses}, coordinates)
    assert protocol.measure(screen, units).table["preference"].tolist() == [-3, -1]
    assert len(protocol.measure(screen, units.drop(columns="readout_id")).table) == 2
    for other, table, message in (
        (screen.assign_coords(stimulus=["size 0", "size 1"]), units, "another protocol than .*stimulus is .*size 0"),
        (screen.assign_coords(frames=("stimulus", [30, 30])), units, r"frames is \[.*expected \[24, 24\]"),
        (xarray.concat([screen, screen], "interval", data_vars="minimal"), units, "interval is"),
        (screen.rename(interval="time"), units, "responses over time; expected them over interval"),
        (screen, units.iloc[::-1], "units has the readout_id 2 in row 0, and the screen 5"),
        (screen, units.assign(scan="4-7"), "units has the scan 4-7 in row 0"),
        (screen, units[:1], "units has 1 rows, and the screen 2 units"),
    ):
        with pytest.raises(ValueError, match=message):
            protocol.measure(other, table)


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
