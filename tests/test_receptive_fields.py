"""Receptive fields of units that have known ones come back; Gaussians agree with SciPy."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from fnn_jax import physiology, stimuli
from fnn_jax.physiology import receptive_fields
from fnn_jax.stimuli import Display
from fnn_jax.twin import threads

DISPLAY = Display.in_pixels(24, 40)


def gaussian(x, y, sigma_major, sigma_minor, angle_deg, shape=(24, 40)):
    row, column = np.mgrid[: shape[0], : shape[1]]
    dx, dy = column - (shape[1] - 1) / 2 - x, (shape[0] - 1) / 2 - row - y
    angle = np.deg2rad(angle_deg)
    along, across = dx * np.cos(angle) + dy * np.sin(angle), -dx * np.sin(angle) + dy * np.cos(angle)
    return np.exp(-((along / sigma_major) ** 2 + (across / sigma_minor) ** 2) / 2)


def test_sta_is_its_definition():
    random = np.random.default_rng(0)
    masks, responses = random.random((6, 3, 4)), random.random((6, 2))
    masks[:, 0, 0] = 0
    result = physiology.spike_triggered_average(responses, masks)
    for unit in range(2):
        expected = sum(masks[k] * responses[k, unit] for k in range(6)) / np.where(
            masks.sum(0) > 0, masks.sum(0), np.nan
        )
        np.testing.assert_allclose(result[unit], expected)
    with pytest.raises(ValueError, match="values below 0"):
        physiology.spike_triggered_average(responses, masks - 0.5)
    with pytest.raises(ValueError, match=r"\[6, 2\] and masks \[5, 3, 4\]"):
        physiology.spike_triggered_average(responses, masks[:5])


def test_ssi_is_its_definition():
    field = gaussian(3, -2, 4, 2, 30)
    y, x = np.mgrid[:24, :40] / 40
    weight = field / field.sum()
    covariance = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=weight.ravel(), ddof=0)
    one_pixel = np.zeros((24, 40))
    one_pixel[3, 3] = 1
    values = physiology.spatial_spread_index(
        np.stack([field, 5 * field, one_pixel, -field, np.full_like(field, np.nan)])
    )
    np.testing.assert_allclose(values[:2], -np.log(np.linalg.det(covariance)))
    assert np.isnan(values[2:]).all()
    wide = physiology.spatial_spread_index(gaussian(3, -2, 6, 3, 30)[None])
    assert wide[0] < values[0]


def test_dots_find_on_and_off_fields():
    """A unit that sums light through a Gaussian is excited by bright dots where it is, another by dark ones."""
    positions = stimuli.grid_positions(DISPLAY, 15, 9, reach=1)
    movie = stimuli.gaussian_dots(DISPLAY, positions, sigma=2, repeats=1)
    filters = np.stack([gaussian(6, 3, 3, 3, 0), -gaussian(-9, -4, 3, 3, 0)])
    light = (movie.frames[4::9].astype(float) - 128) / 127
    responses = np.maximum(np.einsum("thw,uhw->tu", light, filters), 0)
    fields = physiology.dot_receptive_fields(responses, movie.intervals, DISPLAY)
    for unit, (name, x, y) in enumerate((("on", 6, 3), ("off", -9, -4))):
        table = physiology.fit_gaussians(fields[name], DISPLAY)
        assert table["fit"][unit] == "good"
        # Smoothed by the dots twice: when they are shown, and when the average is taken.
        expected = np.sqrt(3**2 + 2 * 2**2)
        np.testing.assert_allclose(table.loc[unit, ["x", "y"]].astype(float), [x, y], atol=0.5)
        np.testing.assert_allclose(table.loc[unit, ["sigma_major", "sigma_minor"]].astype(float), expected, rtol=0.2)
    assert fields["off"][0].max() < 1e-3 and fields["on"][0].max() > 1
    np.testing.assert_allclose(fields["both"], (fields["on"] + fields["off"]) / 2, atol=1e-5)


def test_noise_finds_a_linear_filter():
    """Over space and time, its lag included; the sum over movies is the sum over one long movie."""
    random = np.random.default_rng(1)
    filters = np.stack([gaussian(5, -3, 4, 2, 30), -gaussian(-8, 2, 2, 2, 0)])
    in_time = np.zeros((2, 9))
    in_time[0, 2:4], in_time[1, 5] = [1, 0.5], 1
    pairs = []
    for seed in range(3):
        movie = stimuli.white_noise(DISPLAY, check=1, rate_hz=30, duration_s=60, seed=seed)
        levels = movie.frames.astype(float) / 127.5 - 1
        drive = np.einsum("thw,uhw->tu", levels, filters)
        response = np.stack([np.convolve(drive[:, u], in_time[u])[: len(drive)] for u in range(2)], axis=1)
        pairs.append((movie, 20 + response + random.standard_normal(response.shape)))
    field = physiology.noise_receptive_fields(pairs, lags=9)
    assert field.shape == (2, 9, 24, 40)
    assert field.std((2, 3)).argmax(1).tolist() == [2, 5]
    expected = in_time[:, :, None, None] * filters[:, None]
    for unit in range(2):
        lag = (2, 5)[unit]
        assert np.corrcoef(field[unit, lag].ravel(), expected[unit, lag].ravel())[0, 1] > 0.85
    fitted = physiology.fit_gaussians(np.stack([field[0, 2], field[1, 5]]))
    np.testing.assert_allclose(fitted[["x", "y"]], [[5, -3], [-8, 2]], atol=0.3)
    np.testing.assert_allclose(fitted[["sigma_major", "sigma_minor"]], [[4, 2], [2, 2]], rtol=0.15)
    assert fitted["amplitude"][0] > 0 > fitted["amplitude"][1]
    np.testing.assert_allclose(fitted["angle_deg"][0], 30, atol=5)

    blocks = physiology.noise_receptive_fields(pairs[:1], lags=3, block=7)
    whole = physiology.noise_receptive_fields(pairs[:1], lags=3)
    assert blocks.shape == (2, 3, 4, 6)
    np.testing.assert_allclose(blocks[:, :, 0, 1], whole[:, :, :7, 7:14].mean((2, 3)), atol=1e-6)
    np.testing.assert_allclose(blocks[:, :, 3, 5], whole[:, :, 21:, 35:].mean((2, 3)), atol=1e-6)
    for movies, message in (
        ([], "movies holds none"),
        ([(np.zeros((9, 4, 4), np.uint8), np.zeros((9, 2)))], "expected more than 10"),
        ([(np.zeros((90, 4, 4), np.uint8), np.zeros((80, 2)))], r"\[80, 2\]"),
    ):
        with pytest.raises(ValueError, match=message):
            physiology.noise_receptive_fields(movies)


def test_gaussian_fits_agree_with_scipy():
    random = np.random.default_rng(2)
    count = 12
    truth = pd.DataFrame(
        {
            "x": random.uniform(-12, 12, count),
            "y": random.uniform(-7, 7, count),
            "sigma_major": random.uniform(3.5, 6, count),
            "sigma_minor": random.uniform(1.5, 3, count),
            "angle_deg": random.uniform(5, 175, count),
        }
    )
    amplitude, offset = random.choice([-3.0, 2.0], count), random.uniform(-1, 1, count)
    clean = np.stack([gaussian(*row) for row in truth.to_numpy()])
    fields = amplitude[:, None, None] * clean + offset[:, None, None] + 0.2 * random.standard_normal(clean.shape)
    table = physiology.fit_gaussians(fields)
    assert (table["fit"] == "good").all()
    row, column = np.mgrid[:24, :40].astype(float)
    x, y = column - 19.5, 11.5 - row
    for unit in range(count):

        def residuals(p, field=fields[unit]):
            angle = p[4]
            along = (x - p[0]) * np.cos(angle) + (y - p[1]) * np.sin(angle)
            across = -(x - p[0]) * np.sin(angle) + (y - p[1]) * np.cos(angle)
            return (p[5] * np.exp(-((along / p[2]) ** 2 + (across / p[3]) ** 2) / 2) + p[6] - field).ravel()

        start = [*truth.loc[unit, ["x", "y", "sigma_major", "sigma_minor"]], np.deg2rad(truth["angle_deg"][unit])]
        theirs = optimize.least_squares(residuals, [*start, amplitude[unit], offset[unit]], xtol=1e-12, ftol=1e-12).x
        ours = table.loc[unit, ["x", "y", "sigma_major", "sigma_minor", "amplitude", "offset"]].astype(float)
        np.testing.assert_allclose(ours, theirs[[0, 1, 2, 3, 5, 6]], rtol=1e-3, atol=1e-3)
        assert np.cos(2 * (np.deg2rad(table["angle_deg"][unit]) - theirs[4])) > 1 - 1e-5
        np.testing.assert_allclose(
            table["r2"][unit], 1 - (residuals(theirs) ** 2).sum() / fields[unit].var() / 960, atol=1e-4
        )


def test_gaussian_fits_in_degrees_and_flags():
    display = Display.of()
    x, y = 25.0, -12.0
    field = np.exp(-((display.distance((x, y)) / 6) ** 2) / 2)
    noise = np.random.default_rng(0).standard_normal(field.shape)
    holes = np.where(np.random.default_rng(1).random(field.shape) < 0.2, np.nan, field)
    table = physiology.fit_gaussians(
        np.stack([field, noise, np.zeros_like(field), np.full_like(field, np.nan), holes]), display
    )
    assert (
        table["fit"][[0, 2, 3, 4]].tolist() == ["good", "undefined", "undefined", "good"] and table["fit"][1] != "good"
    )
    for unit in (0, 4):
        np.testing.assert_allclose(table.loc[unit, ["x", "y"]].astype(float), [x, y], atol=0.3)
        np.testing.assert_allclose(table.loc[unit, ["sigma_major", "sigma_minor"]].astype(float), 6, rtol=0.03)
    assert table.loc[2:3].drop(columns="fit").isna().all(axis=None)
    with pytest.raises(ValueError, match="24 x 40 pixels and display 144 x 256"):
        physiology.fit_gaussians(np.zeros((1, 24, 40)), display)
    with pytest.raises(ValueError, match="at least 3 x 3"):
        physiology.fit_gaussians(np.zeros((24, 40)))


@pytest.mark.slow
def test_gradient_receptive_fields(twin, monkeypatch):
    fields = physiology.gradient_receptive_fields(twin, [4, 1], num_frames=4, progress=False)
    assert fields.shape == (2, 4, 18, 32)
    gray = np.full((4, 18, 32), 0.5, np.float32)
    for unit, column in ((0, 4), (1, 1)):
        where = np.unravel_index(np.abs(fields[unit]).argmax(), fields[unit].shape)
        change = np.zeros_like(gray)
        change[where] = 1e-2
        up, down = (twin.predict(gray + sign * change)[-1, column] for sign in (1, -1))
        np.testing.assert_allclose((up - down) / 2e-2, fields[(unit, *where)], rtol=0.02)
    with monkeypatch.context() as patch:
        patch.setattr(threads, "cores", lambda: 1)  # one program instead of one for each stream
        still = {"perspectives": [[0.0, 0.0]] * 4, "modulations": np.zeros((4, 2))}
        again = physiology.gradient_receptive_fields(twin, [4, 1], num_frames=4, progress=False, **still)
        np.testing.assert_allclose(again, fields, rtol=1e-4, atol=1e-5 * np.abs(fields).max())
        programs = receptive_fields._compiled_vjp._cache_size(), receptive_fields._back._cache_size()
        physiology.gradient_receptive_fields(twin, [4, 1], num_frames=4, progress=False, **still)
        assert programs == (receptive_fields._compiled_vjp._cache_size(), receptive_fields._back._cache_size())
    early = physiology.gradient_receptive_fields(twin, [4, 1], num_frames=4, at=1, progress=False)
    assert np.abs(early[0, 2:]).max() < 1e-6 * np.abs(early[0, :2]).max()  # nothing but rounding comes from the future
    gray = np.full((4, 18, 32), 128, np.uint8)
    shown = physiology.gradient_receptive_fields(twin, [4, 1], stimulus=gray, progress=False)
    np.testing.assert_allclose(shown, fields, rtol=0.05, atol=0.01 * np.abs(fields).max())  # 128 is not quite 0.5
    for arguments, message in (
        ({"at": 4}, "at is 4; expected a frame of the 4"),
        ({"stimulus": np.zeros((4, 9, 9))}, "expected"),
        ({"units": [99]}, "does not have"),
        ({"num_frames": 0}, "frames is 0"),
        ({"perspectives": np.full((4, 2), np.nan)}, "perspectives"),
    ):
        with pytest.raises(ValueError, match=message):
            physiology.gradient_receptive_fields(twin, **{"num_frames": 4, "progress": False, **arguments})
