"""Monet2, noise that takes an orientation and drifts at times, and Trippy, a changing pattern of curved gratings.

Both are the parametric stimuli of the MICrONS recordings, made at 30 Hz by the published description; they are not
those movies pixel by pixel, whose random numbers are others.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.checks import integer, number, numbers, sequence
from fnn_jax.common.rate import HZ
from fnn_jax.stimuli.display import Display, require_display
from fnn_jax.stimuli.gratings import check_frequencies
from fnn_jax.stimuli.movie import Movie, as_levels, frames_in

UPSAMPLING = 3  # pixels of the monitor to one of Monet2's white noise
BLUR_PX = 3.0


def monet2(
    display: Display,
    *,
    directions: Sequence[float] | int = 16,
    coherence: float = 1.5,
    ori_fraction: float = 0.4,
    bandwidth_hz: float = 4.0,
    speed: float = 0.25,
    contrast: float = 2.5,
    duration_s: float = 30.0,
    seed: int = 0,
) -> Movie:
    """Smooth noise; in the middle of each of equal periods it has an orientation, and drifts at right angles to it.

    White noise is low-passed over time by half a Hamming window of ``2 round(2 * 30 / bandwidth_hz) + 1`` taps, without
    changing its variance, spread over 3 x 3 pixels and blurred by a Gaussian of 3 pixels. While a direction is on, the
    spectrum is multiplied by a Hann window over orientation, and the pattern is moved along. Values are ``contrast x +
    0.5``, clipped.

    Args:
        directions: of motion in degrees, one for each period, in their order; or their number: equally spaced, in an
            order that the seed decides.
        coherence: the orientation window is ``180 / coherence`` degrees wide, from zero to zero.
        ori_fraction: of each period in which the direction is on.
        speed: widths of the monitor per second.

    Intervals are those in which a direction is on, with ``direction``, in degrees.
    """
    require_display(display)
    checks.seed("seed", seed)
    number("ori_fraction", ori_fraction, above=0, most=1)
    number("coherence", coherence, 1)  # where all orientations pass
    number("bandwidth_hz", bandwidth_hz, above=0, most=HZ)
    number("speed", speed)
    number("contrast", contrast, 0)
    if isinstance(directions, int | np.integer):
        count = integer("directions", directions)
        directions = np.random.default_rng([seed, 1]).permutation(count) * 360.0 / count
    directions = np.asarray(numbers("directions", directions), float)
    frames = frames_in(duration_s)
    period_s = frames / HZ / len(directions)
    onsets = (np.arange(len(directions)) + (1 - ori_fraction) / 2) * period_s
    table = {"onset_s": onsets, "offset_s": onsets + ori_fraction * period_s, "direction": directions, "seed": seed}

    def make():
        return _monet2(display, directions, table, coherence, bandwidth_hz, speed, contrast, frames, seed)

    return Movie(make, frames, pd.DataFrame(table))


def _monet2(display, directions, table, coherence, bandwidth_hz, speed, contrast, frames, seed):
    height, width = display.height, display.width
    noise = np.random.default_rng([seed, 0])
    grid = (-(-height // UPSAMPLING), -(-width // UPSAMPLING))
    taps = round(2 * HZ / bandwidth_hz)
    window = np.hamming(2 * taps + 1)[taps:]
    window = window / np.sqrt((window**2).sum())
    past = [noise.standard_normal(grid) for _ in range(taps)]  # before the first frame

    # In the Fourier plane of a frame: frequencies in cycles per pixel, y upwards.
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    blur = np.exp(-2 * (np.pi * BLUR_PX) ** 2 * (down**2 + across**2))
    angle = np.arctan2(-down, across)
    time = np.arange(frames) / HZ
    shift = np.zeros(2)  # rightwards and upwards, in pixels
    movie = np.empty((frames, height, width), np.uint8)
    for t in range(frames):
        past.append(noise.standard_normal(grid))
        # The newest frame weighs most: half of the window, from its centre.
        smooth = np.tensordot(window, np.stack(past[: -taps - 2 : -1]), 1)
        past = past[-taps:]
        fine = np.zeros((grid[0] * UPSAMPLING, grid[1] * UPSAMPLING))
        fine[1::UPSAMPLING, 1::UPSAMPLING] = smooth * UPSAMPLING**2
        spectrum = np.fft.rfft2(fine[:height, :width]) * blur
        on = np.flatnonzero((time[t] >= table["onset_s"] - 1e-9) & (time[t] < table["offset_s"] - 1e-9))
        if len(on):
            direction = np.deg2rad(directions[on[0]])
            off_by = (angle - direction + np.pi / 2) % np.pi - np.pi / 2  # of the orientation
            turned = 2 * coherence * off_by
            spectrum *= np.where(np.abs(turned) < np.pi, 0.5 + 0.5 * np.cos(turned), 0)
            shift += speed * width / HZ * np.array([np.cos(direction), np.sin(direction)])
        spectrum *= np.exp(-2j * np.pi * (across * shift[0] - down * shift[1]))
        movie[t] = as_levels(np.clip(contrast * np.fft.irfft2(spectrum, (height, width)) + 0.5, 0, 1))
    return movie


def trippy(
    display: Display,
    *,
    temporal_frequency: float = 2.5,
    spatial_frequency: float = 0.06,
    nodes: tuple[int, int] = (6, 8),
    smooth_s: float = 1.0,
    duration_s: float = 15.0,
    seed: int = 0,
) -> Movie:
    """The cosine of a smooth random field of phases, which changes and, everywhere, advances.

    Random phases at ``nodes`` (rows, columns) are smoothed over time by a Hann window of ``smooth_s`` and interpolated
    (cubic splines) to pixels. They are scaled so that the local spatial frequency, the phase's gradient, is below
    ``spatial_frequency`` at 95 % of all pixels and frames.

    Args:
        temporal_frequency: Hz, at which the phase advances everywhere.
        spatial_frequency: cycles per unit of the display.
    """
    require_display(display)
    check_frequencies(display, spatial_frequency, temporal_frequency)
    checks.seed("seed", seed)
    nodes = tuple(integer("nodes", count, 4) for count in sequence("nodes", nodes, "rows and columns"))
    if len(nodes) != 2:
        raise ValueError(f"nodes is {nodes}; expected rows and columns.")
    frames, taps = frames_in(duration_s), 2 * (frames_in(smooth_s, "smooth_s") // 2) + 1

    def make():
        from scipy import ndimage

        window = np.hanning(taps + 2)[1:-1]
        noise = np.random.default_rng(seed).standard_normal((frames + taps - 1, *nodes))
        coarse = np.stack([np.tensordot(window, noise[t : t + taps], 1) for t in range(frames)])
        rows = np.linspace(0, nodes[0] - 1, display.height)
        columns = np.linspace(0, nodes[1] - 1, display.width)
        grid = np.meshgrid(rows, columns, indexing="ij")
        phase = np.stack([ndimage.map_coordinates(each, grid, order=3, mode="nearest") for each in coarse])
        steepness = np.hypot(*np.gradient(phase, axis=(1, 2)))  # per pixel
        phase *= spatial_frequency * display.unit_per_pixel / np.percentile(steepness, 95)
        phase -= temporal_frequency * np.arange(frames)[:, None, None] / HZ
        return as_levels(0.5 + 0.5 * np.cos(2 * np.pi * phase))

    return Movie(make, frames, pd.DataFrame([{"onset_s": 0.0, "offset_s": frames / HZ, "seed": seed}]))
