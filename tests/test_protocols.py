"""Protocols on a small twin: from the stimulus to the table, the figures and the command line."""

import html
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fnn_jax import Screen, cli, physiology, stimuli
from fnn_jax.model import geometry
from fnn_jax.physiology import figures, protocols, write_report
from fnn_jax.stimuli import Display

# Pixels of the small twin are 7 degrees wide.
SHORT = {
    "direction": {"directions": 8, "movies": 2, "duration_s": 12},
    "frequency": {
        "directions": [0, 90],
        "spatial_frequencies": [0.01, 0.02, 0.03, 0.05],
        "temporal_frequencies": [2, 4],
        "on_s": 0.3,
    },
    "size": {"directions": [0, 90], "diameters": [20, 40, 90], "on_s": 0.3},
    "contrast": {"directions": [0, 90], "contrasts": [0, 0.2, 0.5, 1], "on_s": 0.3},
    "surround": {"directions": [0, 90], "diameter": 40, "on_s": 0.3},
    "dots": {"positions": [(x, y) for x in (-30, 0, 30) for y in (-15, 15)], "sigma": 12, "repeats": 2},
    "noise": {"check": 21, "movies": 2, "duration_s": 4, "lags": 4},
}


@pytest.fixture(scope="module")
def display(twin):
    return Display.of(twin)


@pytest.fixture(scope="module")
def results(twin, display):
    made = {}
    for name, make in protocols.PROTOCOLS.items():
        made[name] = make(display, **SHORT[name]).run(twin, batch_size=2, progress=False)
    return made


def test_responses_are_those_of_predict(twin, results):
    for name in ("direction", "surround", "dots"):
        result = results[name]
        assert len(result.responses) == len(result.conditions)
        for number in (0, len(result.protocol) - 1):
            movie = result.protocol.movie(number)
            expected = physiology.interval_responses(twin.predict(movie.frames), movie.intervals)
            chosen = (result.conditions["movie"] == number).to_numpy()
            np.testing.assert_allclose(result.responses[chosen], expected, rtol=1e-5, atol=1e-6)


def test_tables_are_those_of_the_measures(twin, display, results):
    for result in results.values():
        assert len(result.table) == twin.num_units and (result.table["scan"] == "twin").all()
        assert result.table["readout_id"].tolist() == list(range(7))
    direction = results["direction"]
    values, curve = physiology.tuning_curve(direction.responses, direction.conditions)
    assert values.tolist() == [45.0 * i for i in range(8)]
    np.testing.assert_array_equal(direction.arrays["curve"], curve)
    table = physiology.direction_selectivity(values, curve)
    pd.testing.assert_frame_equal(direction.table[table.columns.tolist()], table)
    assert direction.table["p_direction"].between(0, 1).all()

    frequency = results["frequency"]
    assert frequency.arrays["curve"].shape == (4, 2, 7)
    row = frequency.conditions.eval("direction == 90 and spatial_frequency == 0.02 and temporal_frequency == 4")
    for unit, preferred in enumerate(frequency.table["pref_direction"]):
        if preferred == 90:
            assert frequency.arrays["curve"][1, 1, unit] == frequency.responses[row, unit][0]
    assert frequency.table["pref_sf"].isin([0.01, 0.02, 0.03, 0.05]).all() and "tf_preferred" not in frequency.table
    assert results["size"].table["preferred_size"].isin([20, 40, 90]).all()
    assert results["contrast"].arrays["curve"].shape == (4, 7)
    surround = results["surround"]
    kinds = surround.conditions.eval("surround == 'alone' and direction == 0")
    unit = (
        int(np.flatnonzero(surround.table["pref_direction"] == 0)[0])
        if (surround.table["pref_direction"] == 0).any()
        else None
    )
    if unit is not None:
        assert surround.table["r_alone"][unit] == surround.responses[kinds, unit][0]
    assert results["dots"].arrays["on"].shape == (7, 18, 32) and results["noise"].arrays["field"].shape == (7, 4, 6, 11)
    expected = [(m.frames, twin.predict(m.frames)) for m in map(results["noise"].protocol.movie, range(2))]
    field = physiology.noise_receptive_fields(expected, lags=4, block=3)
    np.testing.assert_allclose(results["noise"].arrays["field"], field, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("size", {"center": (5, 0), "spatial_frequency": 0.03, "temporal_frequency": 3, "on_s": 0.4}),
        ("contrast", {"spatial_frequency": 0.03, "temporal_frequency": 3}),
        (
            "surround",
            {"center": (5, 0), "diameter": 30, "gap": 2, "spatial_frequency": 0.03, "temporal_frequency": 3, "on_s": 1},
        ),
        ("dots", {"sigma": 10, "on_s": 0.4, "seed": 1, "repeats": 3}),
        ("noise", {"check": 14, "rate_hz": 15, "seed": 1, "duration_s": 3}),
        ("direction", {"directions": 4, "duration_s": 10, "seed": 1}),
    ],
)
def test_conditions_say_all_that_is_shown(display, name, others):
    """By them a result that is loaded is compared with the protocol that it should be of."""
    shown = protocols.PROTOCOLS[name](display, **SHORT[name]).conditions.to_csv()
    for changed, value in others.items():
        other = protocols.PROTOCOLS[name](display, **SHORT[name] | {changed: value})
        assert other.conditions.to_csv() != shown, changed


def test_contrast_zero_is_gray(display):
    movie = protocols.contrast_tuning(display, **SHORT["contrast"]).movie(0)
    assert (movie.frames == 128).all() and movie.intervals["contrast"][0] == 0


def test_several_scans_and_disk(twin, display, tmp_path, results):
    """Stopped after its first movie and run again, a protocol goes on; several twins stand in a row."""
    some = twin.select([5, 2])
    some.name = "other"
    protocol = protocols.size_tuning(display, **SHORT["size"])
    both = protocol.run([twin, some], tmp_path / "size.zarr", batch_size=2, progress=False)
    assert both.table["scan"].tolist() == ["twin"] * 7 + ["other"] * 2
    np.testing.assert_allclose(both.arrays["curve"][:, 7:], both.arrays["curve"][:, [5, 2]], rtol=1e-5)
    np.testing.assert_allclose(both.arrays["curve"][:, :7], results["size"].arrays["curve"], rtol=1e-5)
    again = protocol.run([twin, some], tmp_path / "size.zarr", batch_size=2, progress=False)
    pd.testing.assert_frame_equal(again.table, both.table)
    with pytest.raises(ValueError, match="expected the 8 movies of this protocol"):
        protocols.contrast_tuning(display, **SHORT["contrast"]).measure(
            both.dataset.isel(stimulus=slice(3)), both.table
        )


def test_readout_center(twin, display):
    x, y = protocols.readout_center(twin, display)
    places = twin.readout_locations()[["monitor_x", "monitor_y_down"]].to_numpy(float)
    inside = places[(np.abs(places) < 1).all(1)]
    column, row = np.median((inside + 1) / 2 * [32, 18] - 0.5, axis=0)
    np.testing.assert_allclose(display.positions(row, column), (x, y))


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_protocols_go_to_other_processes(display, results, name):
    """Movies, measure and panels, such as to a pool of processes."""
    result = results[name]
    protocol = pickle.loads(pickle.dumps(result.protocol))
    np.testing.assert_array_equal(protocol.movie(1).frames, result.protocol.movie(1).frames)
    again = protocol.measure(result.dataset, result.table[["scan", "readout_id"]])
    pd.testing.assert_frame_equal(again.table, result.table)
    assert [panel.title for panel in protocol.panels] == [panel.title for panel in result.protocol.panels]


def test_bad_protocols(twin, display):
    for make, message in (
        (lambda: protocols.direction_tuning(display, stimulus="bars"), "stimulus is 'bars'"),
        (lambda: protocols.direction_tuning(display, movies=0), "movies is 0"),
        (lambda: protocols.frequency_tuning(display), "spatial_frequency is 0.16 cycles/deg"),
        (lambda: protocols.size_tuning(display, center=(200, 0)), "nothing of this aperture is on the monitor"),
        (lambda: protocols.direction_tuning(Display.of(), movies=1).run(twin), "made for 144 x 256 pixels, and Twin"),
        (lambda: protocols.direction_tuning(display, directions=1, ori_fraction=1), "unexpected keyword"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            make()
    with pytest.raises(ValueError, match="burn-in"):
        physiology.Protocol(
            "early", display, [lambda: stimuli.gratings(display, spatial_frequencies=[0.02], off_s=0)], print
        )


@pytest.mark.slow
def test_features(twin, tmp_path):
    video = np.random.default_rng(0).integers(0, 256, (21, 18, 32), dtype=np.uint8)
    names = ["retina", "feedforward.block0", "recurrent.hidden", "core", "readout", "modulation"]
    whole = twin.features(video, names)
    recorded = physiology.record_features(twin, video, [*names, "responses"], progress=False)
    for name in names:
        np.testing.assert_allclose(recorded[name.replace(".", "_")], whole[name], atol=1e-6)
    np.testing.assert_allclose(recorded["responses"], twin.predict(video), atol=1e-6)
    assert recorded["core"].dims == ("time", "stream", "core_row", "core_column", "core_channel")
    some = ["retina", "core"]
    choice = {"channels": {"core": [3, 1]}, "streams": [1], "positions": {"core": [(0, 2), (3, 3)]}}
    chosen = physiology.record_features(twin, video, some, tmp_path / "f.zarr", progress=False, **choice)
    np.testing.assert_allclose(chosen["core"], whole["core"][:, [1]][:, :, [0, 3], [2, 3]][..., [3, 1]], atol=1e-6)
    assert chosen["core"].dims == ("time", "stream", "position", "core_channel")
    np.testing.assert_allclose(chosen["retina"], whole["retina"], atol=1e-6)
    pooled = physiology.record_features(twin, stimuli.Movie.of(video), some, pool="max", progress=False)
    np.testing.assert_allclose(pooled["core"], whole["core"].max((2, 3)), atol=1e-6)
    np.testing.assert_allclose(pooled["retina"], whole["retina"].max((1, 2)), atol=1e-6)
    inner = ["recurrent.attention", "modulation.linear", "readout.samples", "perspective.eye", "perspective.luminance"]
    whole = twin.features(video, inner)
    pooled = physiology.record_features(twin, video, inner, pool="mean", progress=False)
    for name in inner:
        expected = whole[name].mean((1, 2)) if name == "perspective.luminance" else whole[name]
        np.testing.assert_allclose(pooled[name.replace(".", "_")], expected, rtol=1e-5, atol=1e-6)
    assert pooled["readout_samples"].dims == ("time", "stream", "unit", "readout_samples_channel")
    axes = ("group", "position", "other")
    assert pooled["recurrent_attention"].dims == ("time", "stream", *(f"recurrent_attention_{axis}" for axis in axes))
    for arguments, message in (
        ({"names": []}, "names is empty"),
        ({"names": "nose"}, r"unknown names \['nose'\]"),
        ({"streams": [2]}, r"streams has \[2\]; expected indices from 0 to 1"),
        ({"channels": {"core": [99]}}, r"channels has \[99\]; core has 5"),
        ({"positions": {"core": [(0, 99)]}}, r"positions has \(0, 99\); the map core has"),
        ({"names": "recurrent.attention", "channels": [0]}, "channels has .* for recurrent.attention, whose axes"),
        (
            {"names": ["core", "readout"], "positions": {"readout": [(0, 0)]}},
            "positions has 'readout', which is no map",
        ),
        ({"channels": {"cor": [0]}}, r"channels has \['cor'\], which names does not have"),
        ({"positions": [(0, 0)], "pool": "mean"}, "expected one of them"),
        ({"pool": "sum"}, "pool is 'sum'"),
        ({"out": tmp_path / "f"}, r"expected a name that ends in .zarr"),
        ({"stimulus": np.zeros((5, 2, 18, 32, 1), np.uint8)}, "batch of videos"),
    ):
        with pytest.raises(ValueError, match=message):
            physiology.record_features(twin, **{"stimulus": video, "names": some, "progress": False, **arguments})
    with pytest.raises(FileExistsError):
        physiology.record_features(twin, video, some, tmp_path / "f.zarr", progress=False)


def test_similarity(twin):
    responses = np.random.default_rng(0).random((40, 5))
    responses[:, 3] = 1
    correlation = physiology.signal_correlation(responses)
    np.testing.assert_allclose(correlation[[0, 1, 2, 4]][:, [0, 1, 2, 4]], np.corrcoef(responses[:, [0, 1, 2, 4]].T))
    assert np.isnan(correlation[3]).all()
    np.testing.assert_allclose(physiology.signal_correlation(responses, responses[:, :2]), correlation[:, :2])
    weights = twin.readout_weights()
    cosine = physiology.readout_cosine(twin, twin.select([2, 0]))
    expected = (
        weights @ weights[[2, 0]].T / np.linalg.norm(weights, axis=1)[:, None] / np.linalg.norm(weights[[2, 0]], axis=1)
    )
    np.testing.assert_allclose(cosine, expected, rtol=1e-5, atol=1e-6)
    points = twin.readout_locations()[["core_x", "core_y_down"]].to_numpy(float)
    size = twin.config.perspective
    rays = geometry.angular_rays(geometry.edges_to_isotropic(points, size.height, size.width), size.max_angle_deg)
    distance = physiology.location_distance_deg(twin)
    np.testing.assert_allclose(distance, np.rad2deg(np.arccos(np.clip(rays @ rays.T, -1, 1))), atol=1e-3)
    assert np.diag(distance).max() < 1e-5
    with pytest.raises(ValueError, match="has 40 conditions and others 39"):
        physiology.signal_correlation(responses, responses[1:])


@pytest.mark.slow
def test_figures(results, twin, tmp_path):
    figures.polar_tuning(results["direction"], path=tmp_path / "polar.png")
    figures.receptive_field_panels(results["dots"], [0, 1], tmp_path / "dots.pdf")
    figures.receptive_field_panels(results["noise"], path=tmp_path / "noise.png")
    report = figures.unit_report(list(results.values()), 2, tmp_path / "unit.png")
    assert [ax.get_title() for ax in report.axes if ax.get_title()][:2] == ["direction", "frequency"]
    summary = figures.scan_summary(list(results.values()), tmp_path / "summary.png", title="all")
    assert any("preferred direction (deg)" in ax.get_xlabel() for ax in summary.axes)
    for ax in summary.axes:
        assert ax.get_xlabel(), ax.get_title()
    movie = results["direction"].protocol.movie(0)
    responses = twin.predict(movie.frames)
    figures.response_raster(responses, tmp_path / "raster.png", movie=movie)
    assert all(path.stat().st_size > 5000 for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"rows has \[7\]; expected rows of the table, 0 to 6"):
        figures.unit_report(results["size"], 7)
    with pytest.raises(ValueError, match="protocol 'size'; expected direction"):
        figures.polar_tuning(results["size"])
    with pytest.raises(ValueError, match="at least one each"):
        figures.response_raster(np.zeros((0, 3)))
    with pytest.raises(TypeError, match="result is 3; expected what Protocol.run returned"):
        write_report(3, "out")
    with pytest.raises(ValueError, match="pages is -1"):
        write_report(results["size"], "out", pages=-1)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["direction", "dots"])
def test_tune(twin, tmp_path, monkeypatch, capsys, protocol):
    monkeypatch.chdir(tmp_path)
    twin.save("weights")
    settings = [f"{name}={json.dumps(value)}" for name, value in SHORT[protocol].items()]
    command = [
        "tune",
        "--protocol",
        protocol,
        "--directory",
        "weights",
        "--units",
        "0",
        "3",
        "5",
        "-o",
        "out",
        "--pages",
        "2",
    ]
    assert cli.main([*command, "--set", *settings]) == 0
    shown = capsys.readouterr().out
    assert "written to out: units.csv, units.parquet" in shown and "50%" in shown
    table = pd.read_csv("out/units.csv")
    assert table["readout_id"].tolist() == [0, 3, 5]
    pd.testing.assert_frame_equal(pd.read_parquet("out/units.parquet"), table, check_dtype=False)
    expected = protocols.PROTOCOLS[protocol](Display.of(twin), **SHORT[protocol]).run(
        twin.select([0, 3, 5]), progress=False
    )
    pd.testing.assert_frame_equal(table, expected.table, check_dtype=False, rtol=1e-3, atol=1e-3)
    arrays = np.load("out/arrays.npz")
    assert len(pd.read_csv("out/conditions.csv")) == len(expected.conditions)
    assert arrays[{"direction": "curve", "dots": "on"}[protocol]].shape[-1 if protocol == "direction" else 0] == 3
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.p*")}
    assert sum(name.startswith("units/") for name in files) == 4
    assert {"summary.png", "summary.pdf", "stimulus.png"} <= files
    report = Path("out/report.html").read_text()
    assert report.count("<img ") == 6 and f"{protocol} {settings[0]}" in html.unescape(report)
    assert "pref_dir (deg)" in report or protocol == "dots"
    assert report.count("<tr>") > 3 and "Weights: " in report and 'class="video"' in report
    assert cli.main([*command, "--set", *settings]) == 0  # goes on from the screen, which is done
    capsys.readouterr()
    for extra, message in (
        (["--set", "movie=3"], "the protocol"),
        (["--set", *settings[:1]], "screen.zarr"),
        (["--pages", "-1"], "--pages is -1"),
    ):
        assert cli.main([*command, *extra]) == 1, extra
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error, error


def test_long_movies_are_written_soon(twin, tmp_path):
    """A kill loses few of them: blocks hold fewer of long stimuli."""
    video = np.zeros((3, 481, 18, 32), np.uint8)
    dataset = Screen(twin, reduce="mean", batch_size=1, progress=False)(video, tmp_path / "s.zarr")
    assert dataset.responses.encoding["chunks"][0] == 1
