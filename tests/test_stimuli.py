"""Stimuli are what they say: frequencies, directions, sizes, times; and what cannot be shown is refused."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from disturbed import disturb

from fnn_jax import NetworkConfig, Twin, stimuli
from fnn_jax.demo import random_network
from fnn_jax.stimuli import Display, Movie
from fnn_jax.stimuli.display import SphericalDisplay
from fnn_jax.videos import read_video

PIXELS = Display.in_pixels(64, 64)
SMALL = Display.in_pixels(36, 64)
MONITOR = Display.of()  # 144 x 256, in degrees


def strongest(movie):
    """Frequencies (t, y upwards, x) of the strongest wave that moves forwards in time, in cycles per frame and pixel."""
    spectrum = np.abs(np.fft.fftn(movie - movie.mean()))
    index = np.unravel_index(spectrum.argmax(), spectrum.shape)
    t, row, x = (np.fft.fftfreq(size)[i] for size, i in zip(movie.shape, index, strict=True))
    # cos(k x - w t) has its peaks at (-w, k) and (w, -k): this is the one with w > 0.
    return (-t, -row, x) if t < 0 else (t, row, -x)


@pytest.mark.parametrize(("kx", "ky"), [(5, 0), (4, 3), (0, 5), (-3, 4), (-5, 0), (-4, -3), (0, -5), (3, -4)])
def test_gratings_have_their_frequencies_and_direction(kx, ky):
    direction = np.rad2deg(np.arctan2(ky, kx)) % 360
    frames = stimuli.grating(PIXELS, direction=direction, spatial_frequency=5 / 64, temporal_frequency=4, num_frames=30)
    t, y, x = strongest(frames)
    np.testing.assert_allclose([t * 30, y * 64, x * 64], [4, ky, kx], atol=1e-9)
    backwards = stimuli.grating(PIXELS, direction=direction, spatial_frequency=5 / 64, temporal_frequency=-4)
    np.testing.assert_allclose(np.array(strongest(backwards)) * [30, 64, 64], [4, -ky, -kx], atol=1e-9)


def test_a_vertical_bar_that_moves_right_is_direction_0():
    movie = stimuli.moving_bars(SMALL, [0, 90, 180, 270], width=6, speed=60, off_s=0)
    for (_, interval), change in zip(movie.intervals.iterrows(), [(0, 1), (-1, 0), (0, -1), (1, 0)], strict=True):
        start, stop = (round(interval[name] * 30) for name in ("onset_s", "offset_s"))
        bright = movie.frames[start:stop] > 200
        centers = np.array([np.argwhere(frame).mean(0) for frame in bright if frame.any()])
        step = np.diff(centers, axis=0)
        np.testing.assert_allclose(
            np.median(step, axis=0), np.array(change) * 2, atol=1e-6
        )  # 60 px/s, in rows, columns
        crossing = round((interval["center_s"] - interval["onset_s"]) * 30)
        center = np.argwhere(bright[crossing]).mean(0)
        np.testing.assert_allclose(center, [17.5, 31.5], atol=2)


def test_contrast_phase_and_mean():
    frames = stimuli.grating(
        PIXELS, spatial_frequency=4 / 64, temporal_frequency=0, contrast=0.4, mean=0.3, num_frames=2
    )
    high, low = frames.max(), frames.min()
    np.testing.assert_allclose([(high - low) / (high + low), frames.mean()], [0.4, 0.3], atol=0.01)
    np.testing.assert_array_equal(frames[0], frames[1])
    odd = Display.in_pixels(9, 9)
    middle = [stimuli.grating(odd, spatial_frequency=0.1, phase=p, num_frames=1)[0, 4, 4] for p in (0, 90, 180)]
    np.testing.assert_allclose(middle, [1, 0.5, 0], atol=1e-12)
    square = stimuli.grating(PIXELS, spatial_frequency=4 / 64, waveform="square", num_frames=1)
    assert set(np.unique(square)) == {0.0, 1.0}


def angles_to(twin, row, column):
    """Visual angle of every pixel from one, by the definition, in degrees."""
    rays = np.asarray(twin.network.perspective.monitor_rays(18, 32), np.float64)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return np.rad2deg(np.arccos(np.clip(rays @ rays[row, column], -1, 1)))


def test_the_usual_positions_lie_on_a_turned_monitor():
    """They were refused where the pixels beside them are larger than those in the middle."""
    network = random_network(NetworkConfig.tiny(7))
    for seed in (0, 21, 27):
        display = Display.of(Twin(disturb(network, seed)))
        assert len(stimuli.gaussian_dots(display).intervals) == 210  # 105 positions, brighter and darker
        with pytest.raises(ValueError, match="lies outside the monitor"):
            display.pixel_of((170, 0))


def test_degrees_are_angles_between_the_rays_of_the_model(twin):
    display = Display.of(twin)
    for row, column in ((9, 16), (2, 5), (17, 31)):
        x, y = display.positions(row, column)
        assert display.pixel_of((x, y)) == (row, column)
        angles = angles_to(twin, row, column)
        np.testing.assert_allclose(display.distance((x, y)), angles, atol=1e-4)
        inside = stimuli.aperture(display, (x, y), 40) > 0.5
        np.testing.assert_array_equal(inside, angles < 20)
    right, up = display.positions(9, 31), display.positions(0, 16)
    assert right[0] > 20 and up[1] > 20 and abs(right[1]) < 8 and abs(up[0]) < 8
    assert display.distance_to_nearest([display.positions(2, 5), display.positions(9, 16)])[2, 5] < 1e-4


def test_spherical_gratings_have_their_frequency_everywhere():
    """From pixel to pixel the phase advances by the visual angle in the direction of motion."""
    along = MONITOR.along(30)
    rays = MONITOR.rays
    for row, column in ((72, 128), (10, 20), (140, 200)):
        steps = {}
        for name, (a, b) in {
            "across": ((row, column - 1), (row, column + 1)),
            "down": ((row - 1, column), (row + 1, column)),
        }.items():
            steps[name] = (along[b] - along[a], rays[b] - rays[a])
        # The gradient of ``along`` on the sphere has length 1: solve for it from both steps.
        basis = np.stack([steps["across"][1], steps["down"][1]])
        slope = np.linalg.lstsq(basis, np.deg2rad([steps["across"][0], steps["down"][0]]), rcond=None)[0]
        np.testing.assert_allclose(np.linalg.norm(slope), 1, atol=1e-3)
    middle = slice(124, 132)
    np.testing.assert_allclose(
        np.diff(along[72, middle]) / np.diff(MONITOR.along(0)[72, middle]), np.cos(np.deg2rad(30)), rtol=0.001
    )


def test_displays_are_made_again_from_their_records():
    row, column = np.mgrid[:7, :12, :1][:2]
    turned = np.array([-0.6, 0.4, 0.8]) + row * np.array([0.02, -0.1, 0.01]) + column * np.array([0.1, 0.01, 0.02])
    for display in (Display.of().in_blocks(8), SphericalDisplay(turned), Display.flat().in_blocks(16)):
        again = Display.of_record(json.loads(json.dumps(display.record())))
        assert type(again) is type(display) and repr(again) == repr(display)
        for ours, theirs in zip(again.positions(2, 5), display.positions(2, 5), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        np.testing.assert_allclose(again.along(30, (5, 4)), display.along(30, (5, 4)), rtol=1e-9, atol=1e-9)
    for wrong in (None, {}, {"geometry": "round"}, {**display.record(), "corner": [1]}):
        with pytest.raises(ValueError, match=r"expected what Display.record\(\) returned"):
            Display.of_record(wrong)


def test_displays():
    across, down = MONITOR.extent
    assert 126 < across < 128 and 96 < down < 98  # 2 atan(1 / 0.5), 2 atan(0.5625 / 0.5)
    flat = Display.flat()
    assert flat.unit == "deg" and flat.unit_per_pixel == MONITOR.unit_per_pixel
    np.testing.assert_allclose(MONITOR.unit_per_pixel, np.rad2deg(np.arctan(2 / 256 / 0.5)), rtol=0.01)
    np.testing.assert_allclose(flat.along(0)[72, 120:136], MONITOR.along(0)[72, 120:136], rtol=0.01)
    x, y = flat.positions(10.5, 20.25)
    np.testing.assert_allclose(flat.distance((x, y))[10, 20], np.hypot(0.5, 0.25) * flat.unit_per_pixel, rtol=1e-6)
    assert "144 x 256" in repr(MONITOR)
    for display in (MONITOR, flat):
        blocks = display.in_blocks(7)
        assert (blocks.height, blocks.width) == (21, 37)
        assert blocks.positions(3, 5) == pytest.approx(display.positions(3 * 7 + 3, 5 * 7 + 3))
        row, column = 30, 200
        point = display.positions(90, 150)
        beside = (display.along(turn, point)[row, column] for turn in (0, 90))
        assert display.position_beside(point, *beside) == pytest.approx(display.positions(row, column))
    with pytest.raises(ValueError, match=r"position \(80.0, 0.0\) lies outside the monitor, which covers about 127 x"):
        MONITOR.pixel_of((80, 0))


def test_gradients_reach_the_parameters():
    def power(parameters, namespace):
        direction, frequency, x, diameter = (parameters[i] for i in range(4))
        shown = {"direction": direction, "spatial_frequency": frequency, "center": (x, 2.0), "phase": 20.0}
        frames = stimuli.grating(MONITOR, **shown, diameter=diameter, num_frames=2)
        return (frames * namespace.asarray(weight)).sum() / 100

    weight = np.cos(0.15 * MONITOR.along(50) + 0.4) * np.array([1, 2])[:, None, None]
    at = np.array([30.0, 0.03, -5.0, 40.0])
    with jax.numpy_dtype_promotion("standard"):
        gradient = jax.grad(lambda p: power(p, jnp))(jnp.asarray(at))
        jitted = jax.jit(jax.grad(lambda p: power(p, jnp)))(jnp.asarray(at))
    np.testing.assert_allclose(jitted, gradient, rtol=1e-3, atol=1e-3)
    for i, step in enumerate((1e-3, 1e-6, 1e-3, 1e-3)):
        change = np.eye(4)[i] * step
        numeric = (power(at + change, np) - power(at - change, np)) / (2 * step)
        np.testing.assert_allclose(
            gradient[i], numeric, rtol=0.01 if i < 2 else 0.06
        )  # apertures fade in straight lines
    sigma = jax.grad(lambda s: stimuli.gabor(MONITOR, sigma=s, num_frames=1).std())(jnp.float32(8))
    assert np.isfinite(sigma) and sigma > 0


def test_numpy_and_jax_show_the_same():
    shown = {"spatial_frequency": 0.05, "diameter": 30.0, "center": (10.0, 5.0), "num_frames": 3}
    with jax.numpy_dtype_promotion("standard"):
        traced = stimuli.grating(MONITOR, direction=jnp.float32(40), **shown)
    plain = stimuli.grating(MONITOR, direction=40.0, **shown)
    assert isinstance(plain, np.ndarray) and isinstance(traced, jax.Array)
    np.testing.assert_allclose(traced, plain, atol=1e-4)


def test_plaids_gabors_and_surrounds():
    one, other = ({"direction": d, "spatial_frequency": 4 / 64} for d in (0, 90))
    both = stimuli.plaid(PIXELS, one, other, temporal_frequency=0, num_frames=1)
    separate = [stimuli.grating(PIXELS, **each, temporal_frequency=0, num_frames=1) for each in (one, other)]
    np.testing.assert_allclose(both, (separate[0] + separate[1]) / 2)
    gabor = stimuli.gabor(PIXELS, sigma=5, spatial_frequency=0, num_frames=1)[0]
    x, y = PIXELS.x[None, :], PIXELS.y[:, None]
    np.testing.assert_allclose(gabor, 0.5 + 0.5 * np.exp(-(x**2 + y**2) / 50), atol=1e-9)
    shown = {"spatial_frequency": 0.1, "temporal_frequency": 0, "num_frames": 1, "center_diameter": 20}
    center = stimuli.center_surround(PIXELS, center_direction=0, **shown)[0]
    ring = stimuli.center_surround(PIXELS, center_direction=None, surround_direction=90, gap=3, **shown)[0]
    distance = PIXELS.distance()
    assert (center[distance > 11] == 0.5).all() and (ring[distance < 12] == 0.5).all()
    whole = stimuli.center_surround(PIXELS, center_direction=0, surround_direction=90, gap=3, **shown)[0]
    np.testing.assert_allclose(whole, center + ring - 0.5)
    with pytest.raises(ValueError, match="both None"):
        stimuli.center_surround(PIXELS, center_direction=None)


def test_sequences_of_gratings():
    movie = stimuli.gratings(
        SMALL, directions=[0, 90], spatial_frequencies=[0.1], contrasts=[0.5, 1], on_s=0.5, off_s=0.2, repeats=2, seed=3
    )
    frames, table = movie
    assert len(table) == 8 and frames.shape == (8 * 21, 36, 64) and frames.dtype == np.uint8
    assert table.groupby(["direction", "contrast"]).size().tolist() == [2] * 4
    spans = stimuli.frame_spans(table)
    assert (spans[:, 1] - spans[:, 0] == 15).all() and spans[0].tolist() == [6, 21]
    assert (frames[:6] == 128).all()  # gray
    for (start, stop), (_, row) in zip(spans, table.iterrows(), strict=True):
        expected = stimuli.grating(
            SMALL, direction=row.direction, spatial_frequency=0.1, contrast=row.contrast, num_frames=15
        )
        np.testing.assert_array_equal(frames[start:stop], stimuli.as_levels(expected))
    gabors = stimuli.gabors(SMALL, sigma=6, spatial_frequencies=[0.05, 0.1], off_s=0)
    assert len(gabors.intervals) == 8 * 2 * 3 and gabors.num_frames == 48 * 25
    joined = stimuli.concatenate([movie, gabors])
    assert joined.intervals["onset_s"][8] == pytest.approx(movie.duration_s)
    np.testing.assert_array_equal(joined.frames[movie.num_frames :], gabors.frames)
    bars = stimuli.moving_bars(SMALL, [0], width=6, speed=60)
    joined = stimuli.concatenate([movie, bars, bars]).intervals  # gratings have no time of crossing
    begin = movie.duration_s + bars.duration_s
    assert joined["center_s"].iloc[:-2].isna().all()
    assert joined["center_s"].iloc[-1] == pytest.approx(bars.intervals["center_s"][0] + begin)
    assert (stimuli.moving_bars(SMALL, [0], background=0, contrast=0).frames == 0).all()


def test_monet2_has_its_orientations_motion_and_bandwidth():
    directions = [0.0, 60.0, 135.0, 250.0]
    movie = stimuli.monet2(
        Display.in_pixels(96, 96),
        directions=directions,
        duration_s=16,
        contrast=0.5,
        coherence=3,
        speed=0.1,
        bandwidth_hz=2,
    )
    frames, table = movie
    assert movie.num_frames == 480 and table["direction"].tolist() == directions
    np.testing.assert_allclose(table["onset_s"], [1.2, 5.2, 9.2, 13.2])
    np.testing.assert_allclose(table["offset_s"] - table["onset_s"], 0.4 * 4)
    down, across = np.fft.fftfreq(96)[:, None], np.fft.fftfreq(96)
    angle = np.rad2deg(np.arctan2(-down, across))
    for (start, stop), direction in zip(stimuli.frame_spans(table), directions, strict=True):
        spectra = np.fft.fft2(frames[start:stop].astype(float) - 127.5)
        power = (np.abs(spectra) ** 2).mean(0)
        power[0, 0] = 0
        doubled = np.exp(2j * np.deg2rad(angle))
        assert abs((np.rad2deg(np.angle((power * doubled).sum()) / 2) - direction + 90) % 180 - 90) < 4
        off_by = np.abs((angle - direction + 90) % 180 - 90)
        assert power[off_by > 31].sum() < 0.01 * power.sum()  # 180 / 3 is 60 degrees in all; the rest is rounding
        # Motion: the phase between frames turns by the shift of 0.1 * 96 / 30 pixels.
        turn = (spectra[1:] * spectra[:-1].conj()).sum(0)
        wave = across * np.cos(np.deg2rad(direction)) - down * np.sin(np.deg2rad(direction))
        strong = (power > 0.05 * power.max()) & (wave > 0)
        shift = -np.angle(turn[strong]) / (2 * np.pi * wave[strong])
        np.testing.assert_allclose(np.median(shift), 0.1 * 96 / 30, rtol=0.15)
    # Between the directions: the spectrum over time is that of half a Hamming window, half its power below bandwidth / 2.
    still = stimuli.monet2(SMALL, directions=1, ori_fraction=1e-3, duration_s=40, contrast=0.5, bandwidth_hz=4).frames
    traces = still.reshape(len(still), -1)[30:, ::7] - 127.5
    lagged = [(traces[lag:] * traces[: len(traces) - lag]).mean() for lag in range(20)]
    window = np.hamming(31)[15:]
    expected = np.correlate(window, window, "full")[15:]
    np.testing.assert_allclose(np.array(lagged[:16]) / lagged[0], expected / expected[0], atol=0.06)
    assert np.abs(lagged[16:]).max() < 0.1 * lagged[0]


def test_trippy_has_its_frequencies():
    display = Display.in_pixels(48, 64)
    movie = stimuli.trippy(display, spatial_frequency=0.05, temporal_frequency=2, smooth_s=2, duration_s=6)
    wave = movie.frames.astype(float) - 127.5
    crossings = (np.diff(np.sign(wave), axis=0) != 0).sum(0).mean() / 2 / 6  # cycles a second, of each pixel
    assert 1.8 < crossings < 2.6
    across = (np.diff(np.sign(wave), axis=2) != 0).mean() / 2
    down = (np.diff(np.sign(wave), axis=1) != 0).mean() / 2
    assert 0.01 < np.hypot(across, down) < 0.05  # on average less than what 95 % stay below


def test_dots_cover_what_they_say():
    positions = stimuli.grid_positions(MONITOR)
    assert len(positions) == len(set(positions)) == 105
    pixels = np.array([MONITOR.pixel_of(position) for position in positions])
    np.testing.assert_allclose(np.ptp(pixels, axis=0), [0.9 * 144, 0.9 * 256], atol=1.5)
    assert len(set(map(tuple, pixels))) == 105
    assert len(stimuli.gaussian_dots(MONITOR).intervals) == 210
    movie = stimuli.gaussian_dots(SMALL, [(-20, 5), (12.5, -9.5)], sigma=4, repeats=2)
    frames, table = movie
    assert len(table) == 8 and movie.num_frames == 8 * 9
    assert table.groupby(["x", "y", "sign"]).size().tolist() == [2] * 4
    for (start, stop), (_, row) in zip(stimuli.frame_spans(table), table.iterrows(), strict=True):
        assert (frames[start:stop] == frames[start]).all()
        x, y = SMALL.x[None, :] - row.x, SMALL.y[:, None] - row.y
        expected = 127.5 + 127.5 * row.sign * np.exp(-(x**2 + y**2) / 32)
        np.testing.assert_allclose(frames[start], expected, atol=0.51)
        assert frames[start][SMALL.pixel_of((row.x, row.y))] in (255, 0, 1, 254, 253, 2)


def test_noise():
    movie = stimuli.white_noise(SMALL, check=4, rate_hz=10, duration_s=20)
    frames = movie.frames
    assert set(np.unique(frames)) == {0, 255} and len(frames) == 600
    checks = frames[::3, ::4, ::4]
    np.testing.assert_array_equal(checks.repeat(4, 1).repeat(4, 2).repeat(3, 0)[:600, :36], frames)
    assert abs(checks.mean() - 127.5) < 2
    flat = checks.reshape(len(checks), -1) / 127.5 - 1
    assert np.abs(np.corrcoef(flat.T) - np.eye(flat.shape[1])).max() < 0.35  # 200 draws: 5 standard errors
    gaussian = stimuli.white_noise(SMALL, check=1, kind="gaussian", contrast=0.8, duration_s=2).frames / 255
    np.testing.assert_allclose([gaussian.mean(), gaussian.std()], [0.5, 0.2], atol=0.01)
    sparse = stimuli.sparse_noise(SMALL, check=4, density=0.1, duration_s=20).frames
    assert set(np.unique(sparse)) == {0, 128, 255} and abs((sparse != 128).mean() - 0.1) < 0.01
    pink = stimuli.pink_noise(Display.in_pixels(64, 64), duration_s=4).frames / 255
    spectrum = np.abs(np.fft.fft2(pink - 0.5)).mean(0)
    slope = np.polyfit(np.log(np.arange(2, 20)), np.log(spectrum[0, 2:20]), 1)[0]
    np.testing.assert_allclose([pink.std(), slope], [0.2, -1], atol=0.12)


def test_kinematograms_move_as_they_say():
    display = Display.in_pixels(72, 128)
    x, y = display.x[None, :], display.y[:, None]

    def flow(movie):
        """Mean velocity (x, y) by correlation of shifted frames, in pixels a frame, of the right half."""
        frames = movie.frames[:, :, 64:].astype(float) - 127.5
        best = max(
            ((dy, dx) for dy in range(-4, 5) for dx in range(-4, 5)),
            key=lambda s: (frames[1:, 8:-8, 8:-8] * np.roll(frames[:-1], s, (1, 2))[:, 8:-8, 8:-8]).sum(),
        )
        return best[1], -best[0]

    shown = {"diameter": 4, "density": 0.005, "duration_s": 1}
    assert flow(stimuli.dot_kinematogram(display, direction=0, speed=60, **shown)) == (2, 0)
    assert flow(stimuli.dot_kinematogram(display, direction=90, speed=60, **shown)) == (0, 2)
    outwards = flow(stimuli.dot_kinematogram(display, "radial", speed=40, **shown))
    inwards = flow(stimuli.dot_kinematogram(display, "radial", speed=-40, **shown))
    assert outwards[0] > 0 > inwards[0]
    turning = flow(stimuli.dot_kinematogram(display, "rotation", speed=40, **shown))
    assert turning[1] > 0  # counter-clockwise: upwards on the right
    assert x.shape[1] == 128 and y.shape[0] == 72
    half = stimuli.dot_kinematogram(display, coherence=0, speed=60, **shown).frames
    assert (half != 128).mean() > 0.03 and abs(half.mean() - 127.5) < 4


def test_full_field_and_looming():
    frames, table = stimuli.flashes(SMALL, [0, 1], on_s=0.2, off_s=0.1)
    assert frames[:, 0, 0].tolist() == ([128] * 3 + [0] * 6 + [128] * 3 + [255] * 6) and table["level"].tolist() == [
        0,
        1,
    ]
    assert (stimuli.blank(SMALL, 0.1, 0.25).frames == 64).all()
    frames, table = stimuli.chirp(SMALL)
    assert table["part"].tolist()[:2] == ["dark before", "bright"] and len(frames) == 30 * 30
    start, stop = stimuli.frame_spans(table)[4]
    level = frames[start:stop, 0, 0] / 255 - 0.5
    phase = 2 * np.pi * (0.5 * np.arange(240) / 30 + 7.5 / 16 * (np.arange(240) / 30) ** 2)
    np.testing.assert_allclose(level, np.sin(phase) / 2, atol=0.003)

    movie = stimuli.looming_discs(MONITOR, [0.1], start=5, stop=50, hold_s=0.2, off_s=0.5, center=(20, 0))
    frames, table = movie
    start, stop = stimuli.frame_spans(table)[0]
    distance = MONITOR.distance((20, 0))
    for frame in (0, 40, 60):
        dark = distance[frames[start + frame] < 64]
        time = table["collision_s"][0] - frame / 30
        np.testing.assert_allclose(2 * dark.max(), np.rad2deg(2 * np.arctan(0.1 / time)), atol=1.5)
    assert 2 * distance[frames[stop - 1] < 64].max() == pytest.approx(50, abs=1)


DIGESTS = {
    "white": "d7a8865d7db473eb",
    "sparse": "840537c3e5e0b6bd",
    "pink": "46c2b0e034919936",
    "monet2": "c4e9e6988c45bc6a",
    "trippy": "f7cf9551a1190568",
    "dots": "13aa21e3c2518895",
    "kinematogram": "4ec8707ce749996a",
    "gratings": "d6c97a1c2d2b4290",
}


def test_the_same_seed_gives_the_same_movie_everywhere():
    """Digests that another machine, or a library's new version, must reproduce."""
    made = {
        "white": stimuli.white_noise(SMALL, check=4, duration_s=1, seed=5),
        "sparse": stimuli.sparse_noise(SMALL, check=4, duration_s=1, seed=5),
        "pink": stimuli.pink_noise(SMALL, duration_s=1, seed=5),
        "monet2": stimuli.monet2(SMALL, directions=4, duration_s=2, seed=5),
        "trippy": stimuli.trippy(SMALL, duration_s=1, seed=5),
        "dots": stimuli.gaussian_dots(SMALL, [(0, 0), (5, 5)], seed=5),
        "kinematogram": stimuli.dot_kinematogram(SMALL, coherence=0.5, duration_s=1, seed=5),
        "gratings": stimuli.gratings(MONITOR, directions=[20], on_s=0.2, off_s=0, diameters=[30.0], seed=5),
    }
    digests = {name: hashlib.sha256(movie.frames.tobytes()).hexdigest()[:16] for name, movie in made.items()}
    assert digests == DIGESTS
    other = stimuli.monet2(SMALL, directions=4, duration_s=2, seed=6).frames
    assert (other != made["monet2"].frames).any()


def test_save_movie(tmp_path):
    movie = stimuli.gratings(Display.in_pixels(35, 64), directions=[0], spatial_frequencies=[0.05], on_s=1, off_s=0.5)
    for name in ("m.mp4", "m.avi", "m.mkv", "m.mov"):
        stimuli.save_movie(movie, tmp_path / name)
        read = read_video(tmp_path / name, size=(36, 64)).frames
        assert len(read) == movie.num_frames
        assert np.abs(read[:, :35].astype(int) - movie.frames).mean() < 1.5, name
    stimuli.save_movie(movie.frames, tmp_path / "sub" / "m.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "sub" / "m.npy"), movie.frames)
    noise = stimuli.white_noise(SMALL, check=4, rate_hz=30, duration_s=1)
    stimuli.save_movie(noise, tmp_path / "m.gif")
    np.testing.assert_array_equal(read_video(tmp_path / "m.gif", size=(36, 64)).frames, noise.frames)
    with pytest.raises(ValueError, match=r"expected a name that ends in .mp4"):
        stimuli.save_movie(movie, tmp_path / "m.wmv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.avi", "m.gif", "m.mkv", "m.mov", "m.mp4", "sub"]


def test_contact_sheet(tmp_path):
    movie = stimuli.gratings(SMALL, directions=[0, 45], spatial_frequencies=[0.05], on_s=0.5, off_s=0.5)
    figure = stimuli.contact_sheet(movie, tmp_path / "sheet.png", num_frames=8)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "0.00 s" and "direction 45" in titles[7]
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    stimuli.contact_sheet(movie.frames[:2], tmp_path / "sheet.pdf")
    with pytest.raises(ValueError, match=r"expected a name that ends in .png"):
        stimuli.contact_sheet(movie, tmp_path / "sheet.doc")


def test_videos_images_and_timed_frames(tmp_path):
    random = np.random.default_rng(0)
    array = random.integers(0, 256, (5, 36, 64), dtype=np.uint8)
    np.testing.assert_array_equal(stimuli.video(SMALL, array).frames, array)
    np.testing.assert_array_equal(stimuli.video(SMALL, array, frames_per_second=10).frames, array.repeat(3, 0))
    colour = random.random((4, 72, 100, 3))
    movie = stimuli.video(SMALL, colour, fit="pad")
    assert (
        movie.frames.shape == (4, 36, 64)
        and "padded" in movie.intervals["how"][0]
        and "gray" in movie.intervals["how"][0]
    )
    timed = stimuli.frame_list(SMALL, list(array), [1.0, 1.1, 1.15, 1.5, 1.6])
    # 30 Hz from the first time on; the nearest preceding frame; the last one for the mean interval, 0.15 s.
    assert timed.num_frames == 23
    preceding = np.searchsorted([0, 0.1, 0.15, 0.5, 0.6], np.arange(23) / 30 + 1e-3, side="right") - 1
    np.testing.assert_array_equal(timed.frames, array[preceding])

    from PIL import Image

    for name, level in (("a.png", 10), ("b.png", 200)):
        Image.fromarray(np.full((40, 90), level, np.uint8)).save(tmp_path / name)
    shown = stimuli.images(SMALL, tmp_path, on_s=0.1, off_s=0.1, repeats=2, seed=0)
    assert sorted(shown.intervals["image"]) == ["a.png", "a.png", "b.png", "b.png"]
    for (start, _), name in zip(stimuli.frame_spans(shown.intervals), shown.intervals["image"], strict=True):
        assert (shown.frames[start] == {"a.png": 10, "b.png": 200}[name]).all()
    assert stimuli.images(SMALL, array[:2], on_s=0.1).intervals["image"].tolist() == [0, 1]
    for arguments, message in (
        ({"source": array, "times_s": [0, 1, 2]}, r"times_s has the shape \[3\]; expected \[5\]"),
        ({"source": array, "times_s": [0, 1, 1, 2, 3]}, "do not increase"),
        ({"source": array, "times_s": np.arange(5), "frames_per_second": 30}, "expected one of them"),
        ({"source": array.astype(int)}, "frames holds int64; expected uint8"),
        ({"source": colour + 1}, "holds the value"),
        ({"source": tmp_path / "a.png", "times_s": [0]}, "times_s is given for a file"),
        ({"source": array, "fit": "cut"}, "fit is 'cut'"),
    ):
        with pytest.raises(ValueError, match=message):
            stimuli.video(SMALL, **arguments)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no image"):
        stimuli.images(SMALL, tmp_path / "empty")


def test_images_of_a_folder_come_in_the_order_of_their_numbers(tmp_path, monkeypatch):
    """The hidden ones are left out, and ``~`` is the home folder."""
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for level, name in enumerate(("1.png", "10.png", "2.png", ".hidden.png")):
        Image.fromarray(np.full((18, 32), 20 * level, np.uint8)).save(folder / name)
    monkeypatch.setenv("HOME", str(tmp_path))
    shown = stimuli.images(SMALL, "~/pictures", on_s=0.1)
    assert shown.intervals["image"].tolist() == ["1.png", "2.png", "10.png"]
    with pytest.raises(FileNotFoundError, match="missing does not exist; expected a folder of images"):
        stimuli.images(SMALL, tmp_path / "missing")


def test_movies_and_intervals():
    table = pd.DataFrame({"onset_s": [0.1, 0.5], "offset_s": [0.5, 1.0]})
    assert stimuli.frame_spans(table).tolist() == [[3, 15], [15, 30]]  # 0.5 s is frame 15, which belongs to the second
    frames = np.zeros((30, 4, 4), np.uint8)
    assert len(Movie.of(frames, table)) == 30 if hasattr(Movie, "__len__") else Movie.of(frames, table).num_frames == 30
    for intervals, message in (
        (pd.DataFrame({"onset_s": [0.5], "offset_s": [0.5]}), "0.5 to 0.5 s, in which no frame lies"),
        (pd.DataFrame({"onset_s": [0.501], "offset_s": [0.52]}), "in which no frame lies"),
        (pd.DataFrame({"onset_s": [-1.0], "offset_s": [0.5]}), "expected 0 <= onset_s"),
        (pd.DataFrame({"onset_s": [np.nan], "offset_s": [0.5]}), "nan to 0.5 s"),
        (pd.DataFrame({"onset_s": [0.5], "offset_s": [1.5]}), "after the 30 frames"),
        (pd.DataFrame({"onset": [0.5], "offset_s": [1.5]}), r"lacks the columns \['onset_s'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            Movie.of(frames, intervals)
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        stimuli.as_levels(np.array([[0.5, 1.2]]))
    with pytest.raises(TypeError, match="int64"):
        stimuli.as_levels(np.array([1, 2]))
    assert stimuli.as_levels(np.array([0.5, 0.5 - 1e-12, 0.5 + 1e-12])).tolist() == [128] * 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: stimuli.grating(PIXELS, spatial_frequency=0.5),
            r"spatial_frequency is 0.5 cycles/px; expected 0 to less than 0.5",
        ),
        (lambda: stimuli.grating(MONITOR, spatial_frequency=0.7), r"cycles/deg.*Nyquist frequency of pixels of 0.8"),
        (lambda: stimuli.grating(MONITOR, temporal_frequency=15), "temporal_frequency is 15 Hz; expected less than 15"),
        (lambda: stimuli.grating(MONITOR, contrast=1.2), "contrast is 1.2; expected a number from 0 to 1"),
        (lambda: stimuli.grating(MONITOR, mean=0.8), "mean is 0.8"),
        (lambda: stimuli.grating(MONITOR, direction=np.nan), "direction is nan"),
        (lambda: stimuli.grating(MONITOR, diameter=5, center=(100, 0)), "nothing of this aperture is on the monitor"),
        (lambda: stimuli.grating(MONITOR, diameter=5, inner_diameter=9), "inner_diameter is 9; expected less"),
        (lambda: stimuli.grating(MONITOR, waveform="saw"), "waveform is 'saw'"),
        (lambda: stimuli.gratings(MONITOR, directions=[]), "directions is empty"),
        (lambda: stimuli.gratings(MONITOR, spatial_frequencies=[0.1, 0.9]), "spatial_frequency is 0.9"),
        (lambda: stimuli.gratings(MONITOR, on_s=0), "on_s is 0; expected seconds"),
        (lambda: stimuli.gratings(MONITOR, repeats=0), "repeats is 0"),
        (lambda: stimuli.gabor(MONITOR, sigma=0), "sigma is 0; expected a number above 0"),
        (lambda: stimuli.gaussian_dots(MONITOR, [(0, 0), (0, 70)]), "outside the monitor"),
        (lambda: stimuli.white_noise(MONITOR, check=0.2), r"check is 0.2 deg, 0.2\d pixels"),
        (lambda: stimuli.white_noise(MONITOR, rate_hz=8), "rate_hz is 8; expected 30 divided by a whole number"),
        (lambda: stimuli.white_noise(MONITOR, kind="blue"), "kind is 'blue'"),
        (lambda: stimuli.sparse_noise(MONITOR, density=2), "density is 2"),
        (lambda: stimuli.monet2(MONITOR, ori_fraction=0), "ori_fraction is 0"),
        (lambda: stimuli.monet2(MONITOR, coherence=0.5), "coherence is 0.5"),
        (lambda: stimuli.monet2(MONITOR, directions=[]), "directions is"),
        (lambda: stimuli.trippy(MONITOR, temporal_frequency=20), "temporal_frequency is 20"),
        (lambda: stimuli.dot_kinematogram(MONITOR, "spiral"), "motion is 'spiral'"),
        (lambda: stimuli.dot_kinematogram(MONITOR, coherence=2), "coherence is 2"),
        (lambda: stimuli.moving_bars(MONITOR, speed=0), "speed is 0"),
        (lambda: stimuli.moving_bars(MONITOR, contrast=2), "contrast is 2 on a background"),
        (lambda: stimuli.moving_bars(MONITOR, background=0), "background is 0, of which every contrast, here 1.0, is"),
        (lambda: stimuli.looming_discs(MONITOR, background=0), "here -1.0, is black, too: nothing would be seen"),
        (lambda: stimuli.looming_discs(SMALL), "looming discs grow in degrees"),
        (lambda: stimuli.looming_discs(MONITOR, start=80), "expected 0 < start < stop"),
        (lambda: stimuli.chirp(MONITOR, frequencies=(1, 20)), "frequencies has 20 Hz"),
        (lambda: stimuli.flashes(MONITOR, [2]), r"levels\[0\] is 2; expected a number from 0 to 1"),
    ],
)
def test_what_cannot_be_shown_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
