"""Full-field light, moving bars and looming discs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fnn_jax.common.checks import integer, number, numbers, point
from fnn_jax.common.rate import HZ
from fnn_jax.stimuli.display import Display, require_display
from fnn_jax.stimuli.movie import Movie, as_levels, concatenate, frames_in, one_after_another


def blank(display: Display, duration_s: float = 1.0, level: float = 0.5) -> Movie:
    """One gray level, from 0 (black) to 1."""
    frames_in(duration_s)
    return flashes(display, (number("level", level, 0, most=1),), on_s=duration_s, off_s=0)


def flashes(
    display: Display,
    levels: Sequence[float] = (0.0, 1.0),
    *,
    on_s: float = 1.0,
    off_s: float = 1.0,
    background: float = 0.5,
    repeats: int = 1,
) -> Movie:
    """The whole field at each level, with ``background`` before each."""
    require_display(display)
    number("background", background, 0, most=1)
    levels = numbers("levels", levels, least=0, most=1)
    conditions = [{"level": float(level)} for level in levels] * integer("repeats", repeats)

    def make(level):
        return np.full((1, display.height, display.width), level)

    return one_after_another(display, conditions, make, on_s=on_s, off_s=off_s, level=background)


def chirp(
    display: Display,
    *,
    frequencies: tuple[float, float] = (0.5, 8.0),
    frequency_sweep_s: float = 8.0,
    contrast_frequency: float = 2.0,
    contrast_sweep_s: float = 8.0,
) -> Movie:
    """The full-field chirp: dark, a bright step, dark, gray, a sweep of frequency, gray, a sweep of contrast, gray.

    Args:
        frequencies: of the first sweep in Hz, at its start and end; it changes evenly.
        contrast_frequency: Hz, of the second sweep, whose contrast grows evenly from 0 to 1.
    """
    require_display(display)
    low, high = point("frequencies", frequencies)
    number("contrast_frequency", contrast_frequency)
    named = (("frequencies", low), ("frequencies", high), ("contrast_frequency", contrast_frequency))
    for name, value in named:
        if not 0 < value < HZ / 2:
            raise ValueError(f"{name} has {value:g} Hz; expected more than 0, less than {HZ / 2:g}, half the frames.")
    time = np.arange(frames_in(frequency_sweep_s, "frequency_sweep_s")) / HZ
    sweep = np.sin(2 * np.pi * (low * time + (high - low) / (2 * frequency_sweep_s) * time**2))
    grow_time = np.arange(frames_in(contrast_sweep_s, "contrast_sweep_s")) / HZ
    grow = np.sin(2 * np.pi * contrast_frequency * grow_time) * grow_time / contrast_sweep_s
    parts = {
        "dark before": np.full(2 * HZ, 0.0),
        "bright": np.full(3 * HZ, 1.0),
        "dark": np.full(3 * HZ, 0.0),
        "gray before frequency": np.full(2 * HZ, 0.5),
        "frequency": 0.5 + sweep / 2,
        "gray before contrast": np.full(2 * HZ, 0.5),
        "contrast": 0.5 + grow / 2,
        "gray": np.full(2 * HZ, 0.5),
    }
    starts = np.cumsum([0, *map(len, parts.values())]) / HZ
    conditions = [
        {"onset_s": start, "offset_s": stop, "part": name}
        for name, start, stop in zip(parts, starts[:-1], starts[1:], strict=True)
    ]
    return _light(display, np.concatenate(list(parts.values())), conditions)


def _light(display, levels, intervals):
    levels = as_levels(levels)

    def make():
        return np.repeat(levels, display.height * display.width).reshape(-1, display.height, display.width)

    return Movie(make, len(levels), pd.DataFrame(intervals))


def moving_bars(
    display: Display,
    directions: Sequence[float] = tuple(range(0, 360, 45)),
    *,
    width: float = 10.0,
    speed: float = 30.0,
    contrast: float = 1.0,
    background: float = 0.5,
    off_s: float = 1.0,
) -> Movie:
    """A bar that sweeps across the monitor in each direction, from before one edge to beyond the other.

    Args:
        width: of the bar. speed: per second. Both in units of the display.
        contrast: of the bar with the background, ``background * (1 + contrast)``; negative bars are dark.

    Intervals have ``direction`` and ``center_s``, when the bar crosses the centre. All sweeps take as long as the
    longest.

    Raises:
        TypeError, ValueError: values are of another kind, or out of range, or nothing would be seen, because the
            background is black.
    """
    require_display(display)
    directions = numbers("directions", directions)
    number("width", width, above=0)
    number("speed", speed, above=0)
    level = _level(background, contrast)
    reach = max(np.abs(display.along(direction)).max() for direction in directions) + width / 2
    on_s = 2 * reach / speed

    def make(direction, **_):
        along = display.along(direction)
        positions = -reach + speed * np.arange(frames_in(on_s)) / HZ
        inside = (width / 2 - np.abs(along - positions[:, None, None])) / display.unit_per_pixel + 0.5
        return background + (level - background) * np.clip(inside, 0, 1)

    conditions = [{"direction": float(direction), "width": width, "speed": speed} for direction in directions]
    movie = one_after_another(display, conditions, make, on_s=on_s, off_s=off_s, level=background)
    movie.intervals["center_s"] = movie.intervals["onset_s"] + reach / speed
    return movie


def looming_discs(
    display: Display,
    ratios_s: Sequence[float] = (0.04, 0.08, 0.16),
    *,
    center: tuple[float, float] = (0.0, 0.0),
    start: float = 2.0,
    stop: float = 60.0,
    contrast: float = -1.0,
    background: float = 0.5,
    hold_s: float = 0.5,
    off_s: float = 1.0,
) -> Movie:
    """Discs that come nearer at constant speed: angular diameter ``2 atan(l / (v t))``, t before the collision.

    Intervals have ``ratio_s``, and ``collision_s``, the time from their onset to the collision.

    Args:
        ratios_s: half the size of the object by its speed, l / v, in seconds.
        start, stop: angular diameter at first, and when the growth ends, in degrees; it then stays for ``hold_s``.
        contrast: of the disc with the background, ``background * (1 + contrast)``; negative is dark.

    Raises:
        ValueError: the display counts in pixels, values are out of range, or nothing would be seen, because the
            background is black.
    """
    require_display(display)
    if display.unit != "deg":
        raise ValueError(
            "looming discs grow in degrees of visual angle; expected Display.of(twin) or Display.flat(twin)."
        )
    center = point("center", center)
    number("start", start)
    number("stop", stop)
    ratios_s = numbers("ratios_s", ratios_s)
    number("hold_s", hold_s, 0)
    if not (0 < start < stop < 180) or min(ratios_s) <= 0:
        raise ValueError(
            f"start is {start}, stop {stop}, ratios_s {tuple(ratios_s)}; expected 0 < start < stop < 180, ratios > 0."
        )
    display.pixel_of(center, "center")
    level = _level(background, contrast)
    distance = display.distance(center)
    span = {ratio: ratio * (1 / np.tan(np.deg2rad(start / 2)) - 1 / np.tan(np.deg2rad(stop / 2))) for ratio in ratios_s}

    def one(ratio):
        time = np.arange(frames_in(span[ratio] + hold_s)) / HZ
        left = np.maximum(ratio / np.tan(np.deg2rad(start / 2)) - time, ratio / np.tan(np.deg2rad(stop / 2)))
        diameter = 2 * np.rad2deg(np.arctan(ratio / left))
        inside = (diameter[:, None, None] / 2 - distance) / display.unit_per_pixel + 0.5
        return background + (level - background) * np.clip(inside, 0, 1)

    return concatenate(
        one_after_another(
            display,
            [{"ratio_s": ratio, "collision_s": ratio / np.tan(np.deg2rad(start / 2))}],
            lambda ratio_s, collision_s: one(ratio_s),
            on_s=span[ratio] + hold_s,
            off_s=off_s,
            level=background,
        )
        for ratio in ratios_s
    )


def _level(background: float, contrast: float) -> float:
    level = number("background", background, 0, most=1) * (1 + number("contrast", contrast))
    if not 0 <= level <= 1:
        raise ValueError(f"contrast is {contrast} on a background of {background}: {level:g}; expected 0 to 1.")
    if background == 0 and contrast != 0:
        raise ValueError(
            f"background is 0, of which every contrast, here {contrast}, is black, too: nothing would be seen. "
            "Expected a background above 0."
        )
    return level
