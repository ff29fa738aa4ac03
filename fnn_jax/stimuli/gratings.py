"""Gratings, plaids and Gabors: static, drifting, full-field or in apertures.

``grating``, ``plaid`` and ``gabor`` return frames in [0, 1] and may be differentiated: where a parameter is a JAX
array, so are the frames. The other functions return a ``Movie``.

A grating that drifts in a direction d shows ``mean * (1 + contrast * cos(360 (f s - w t) + phase))`` at time t, where s
is how far a pixel lies in that direction from ``center``, f the spatial and w the temporal frequency.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fnn_jax.common import checks
from fnn_jax.common.checks import integer, number, numbers, one_of, ordered, shown
from fnn_jax.common.rate import HZ
from fnn_jax.stimuli.display import Display, namespace, require_display
from fnn_jax.stimuli.movie import Movie, frames_in, one_after_another

WAVEFORMS = ("sine", "square")


def grating(
    display: Display,
    *,
    direction: Any = 0.0,
    spatial_frequency: Any = 0.04,
    temporal_frequency: Any = 2.0,
    contrast: Any = 1.0,
    phase: Any = 0.0,
    mean: float = 0.5,
    center: Any = (0.0, 0.0),
    diameter: Any = None,
    inner_diameter: Any = None,
    edge: float = 0.0,
    waveform: str = "sine",
    num_frames: int = 30,
) -> Any:
    """A drifting grating, ``[num_frames, height, width]``, in [0, 1].

    Args:
        direction: of motion in degrees, 0 rightwards, counter-clockwise. The orientation is the direction modulo 180.
        spatial_frequency: cycles per unit of the display. temporal_frequency: Hz; 0 is a static grating, and negative
            ones move the other way.
        contrast: 0 to 1, of Michelson. phase: degrees, of the first frame at ``center``.
        diameter: of a disc around ``center`` outside of which it is gray; ``inner_diameter``: of a gray disc inside.
        edge: width over which an aperture fades; at least a pixel.

    Raises:
        ValueError: frequencies that cannot be shown, an aperture that lies outside the monitor, or other values out of
            range. What is being traced is not checked.
    """
    center = position("center", center)
    xp = namespace(direction, spatial_frequency, temporal_frequency, contrast, phase, *center, diameter, inner_diameter)
    wave = _wave(
        display,
        xp,
        direction,
        spatial_frequency,
        temporal_frequency,
        phase,
        center,
        num_frames,
        waveform,
        contrast,
        mean,
    )
    number("edge", edge, 0)
    if diameter is not None or inner_diameter is not None:
        wave = wave * aperture(display, center, diameter, inner_diameter, edge)[None]
    return mean * (1 + contrast * wave)


def plaid(display: Display, first: dict[str, Any], second: dict[str, Any], *, mean: float = 0.5, **shared: Any) -> Any:
    """The sum of two gratings, each at half its contrast: ``plaid(display, {"direction": 0}, {"direction": 90})``.

    Arguments of ``grating`` that both have may be given once.
    """
    named = (("first", first), ("second", second))
    each_of_them = [checks.mapping(name, each, "of arguments of grating") for name, each in named]
    both = [grating(display, **{**shared, **each}, mean=mean) for each in each_of_them]
    return (both[0] + both[1]) / 2


def gabor(
    display: Display,
    *,
    sigma: Any,
    direction: Any = 0.0,
    spatial_frequency: Any = 0.04,
    temporal_frequency: Any = 2.0,
    contrast: Any = 1.0,
    phase: Any = 0.0,
    mean: float = 0.5,
    center: Any = (0.0, 0.0),
    num_frames: int = 25,
) -> Any:
    """A grating under a Gaussian of standard deviation ``sigma``; else as ``grating``."""
    center = position("center", center)
    xp = namespace(direction, spatial_frequency, temporal_frequency, contrast, phase, *center, sigma)
    wave = _wave(
        display, xp, direction, spatial_frequency, temporal_frequency, phase, center, num_frames, "sine", contrast, mean
    )
    _require("sigma", sigma, above=0)
    return mean * (1 + contrast * wave * xp.exp(-((display.distance(center) / sigma) ** 2) / 2)[None])


def aperture(
    display: Display, center: Any = (0.0, 0.0), diameter: Any = None, inner_diameter: Any = None, edge: float = 0.0
) -> Any:
    """1 inside a disc, or a ring, around ``center``, and 0 outside; ``[height, width]``, differentiable.

    Without diameters it is the whole monitor.

    Raises:
        ValueError: nothing of it is on the monitor.
    """
    require_display(display)
    center = position("center", center)
    if diameter is not None:
        _require("diameter", diameter, above=0)
    if inner_diameter is not None:
        _require("inner_diameter", inner_diameter, 0)
    edge = number("edge", edge, 0)
    xp = namespace(diameter, inner_diameter, *center)
    distance = display.distance(center)
    fade = max(edge, display.unit_per_pixel)

    def disc(size):
        return xp.clip((size / 2 - distance) / fade + 0.5, 0, 1)

    window = xp.ones_like(distance) if diameter is None else disc(diameter)
    if inner_diameter is not None:
        if is_known(inner_diameter) and is_known(diameter) and diameter is not None and inner_diameter >= diameter:
            raise ValueError(f"inner_diameter is {inner_diameter}; expected less than diameter, {diameter}.")
        window = window - disc(inner_diameter)
    if isinstance(window, np.ndarray) and not (window > 0.5).any():
        across, down = display.extent
        raise ValueError(
            f"center is {tuple(map(float, center))} and diameter {diameter}: nothing of this aperture is on the "
            f"monitor, which covers about {across:.0f} x {down:.0f} {display.unit} around (0, 0)."
        )
    return window


def _wave(
    display, xp, direction, spatial_frequency, temporal_frequency, phase, center, num_frames, waveform, contrast, mean
):
    require_display(display)
    _require("contrast", contrast, 0, most=1)
    _require("mean", mean, above=0, most=0.5)
    _require("direction", direction, -360, most=360)
    _require("phase", phase)
    one_of("waveform", waveform, WAVEFORMS)
    num_frames = integer("num_frames", num_frames)
    check_frequencies(display, spatial_frequency, temporal_frequency)
    cycles = spatial_frequency * display.along(direction, center)
    time = xp.asarray(np.arange(num_frames) / HZ)
    turns = cycles[None] - (temporal_frequency * time)[:, None, None]
    wave = xp.cos(2 * np.pi * turns + xp.deg2rad(xp.asarray(phase)))
    return wave if waveform == "sine" else xp.where(wave >= 0, 1.0, -1.0)


def check_frequencies(display: Display, spatial_frequency: Any, temporal_frequency: Any) -> None:
    """Raise ``ValueError`` where a grating would show another frequency than the one asked for."""
    _require("spatial_frequency", spatial_frequency)
    _require("temporal_frequency", temporal_frequency)
    nyquist = 0.5 / display.unit_per_pixel
    if is_known(spatial_frequency) and not 0 <= spatial_frequency < nyquist:
        raise ValueError(
            f"spatial_frequency is {spatial_frequency} cycles/{display.unit}; expected 0 to less than {nyquist:.4g}, "
            f"the Nyquist frequency of pixels of {display.unit_per_pixel:.3g} {display.unit}."
        )
    if is_known(temporal_frequency) and not abs(temporal_frequency) < HZ / 2:
        raise ValueError(
            f"temporal_frequency is {temporal_frequency} Hz; expected less than {HZ / 2:g}, the Nyquist frequency of "
            f"{HZ} frames per second."
        )


def is_known(value: Any) -> bool:
    """Whether a value can be looked at: JAX does not say what is being traced."""
    return value is not None and not isinstance(value, jax.core.Tracer)


def position(name: str, value: Any) -> tuple[Any, Any]:
    """x and y, of which any may be traced.

    Raises:
        TypeError, ValueError: they are no two numbers.
    """
    if isinstance(value, jax.core.Tracer) and value.shape == (2,):
        return value[0], value[1]
    found = ordered(name, value, "two numbers")
    if len(found) != 2:
        raise ValueError(f"{name} is {shown(value)}; expected two numbers, (x, y).")
    for index, each in enumerate(found):
        _require(f"{name}[{index}]", each)
    return found[0], found[1]


def _require(name: str, value: Any, least: float = -math.inf, above: float = -math.inf, most: float = math.inf) -> None:
    """Raise ``TypeError`` or ``ValueError`` for what is no number, or none in a range; what is traced may be any."""
    if not isinstance(value, jax.core.Tracer):
        number(name, value, least, above, most)


def gratings(
    display: Display,
    *,
    directions: Sequence[float] = tuple(range(0, 360, 45)),
    spatial_frequencies: Sequence[float] = (0.04,),
    temporal_frequencies: Sequence[float] = (2.0,),
    contrasts: Sequence[float] = (1.0,),
    diameters: Sequence[float | None] = (None,),
    phases: Sequence[float] = (0.0,),
    on_s: float = 2.0,
    off_s: float = 1.0,
    repeats: int = 1,
    seed: int | None = None,
    **shared: Any,
) -> Movie:
    """Every combination of the values given, one after the other with gray between, as a movie.

    Args:
        seed: of a random order, another one for each repeat; None: in the order given.
        shared: other arguments of ``grating``, for all of them.
    """
    require_display(display)
    diameters = ordered("diameters", diameters, "numbers or None")
    for diameter in diameters:
        if diameter is not None:
            _require("diameters", diameter, above=0)
    parameters = {
        "direction": numbers("directions", directions),
        "spatial_frequency": numbers("spatial_frequencies", spatial_frequencies),
        "temporal_frequency": numbers("temporal_frequencies", temporal_frequencies),
        "contrast": numbers("contrasts", contrasts),
        "diameter": diameters,
        "phase": numbers("phases", phases),
    }
    conditions = in_order(combinations(parameters), repeats, seed)
    check_conditions(display, conditions, shared)
    frames = frames_in(on_s, "on_s")

    def make(**condition):
        return grating(display, **condition, **shared, num_frames=frames)

    return one_after_another(display, conditions, make, on_s=on_s, off_s=off_s, level=shared.get("mean", 0.5))


def gabors(
    display: Display,
    *,
    sigma: float,
    directions: Sequence[float] = tuple(range(0, 360, 45)),
    spatial_frequencies: Sequence[float] = (0.02, 0.04, 0.08),
    temporal_frequencies: Sequence[float] = (1.0, 2.0, 4.0),
    on_s: float = 25 / HZ,
    off_s: float = 0.5,
    repeats: int = 1,
    seed: int | None = None,
    **shared: Any,
) -> Movie:
    """Drifting Gabors: as ``gratings``, 8 directions x 3 x 3 frequencies of 25 frames each."""
    require_display(display)
    parameters = {
        "direction": numbers("directions", directions),
        "spatial_frequency": numbers("spatial_frequencies", spatial_frequencies),
        "temporal_frequency": numbers("temporal_frequencies", temporal_frequencies),
    }
    conditions = in_order(combinations(parameters), repeats, seed)
    for condition in {tuple(each.items()): each for each in conditions}.values():
        gabor(display, sigma=sigma, **condition, **shared, num_frames=1)
    frames = frames_in(on_s, "on_s")

    def make(**condition):
        return gabor(display, sigma=sigma, **condition, **shared, num_frames=frames)

    return one_after_another(display, conditions, make, on_s=on_s, off_s=off_s, level=shared.get("mean", 0.5))


def combinations(parameters: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations, the last parameter varying fastest.

    Raises:
        ValueError: a parameter has no value.
    """
    empty = [name for name, values in parameters.items() if not len(values)]
    if empty:
        raise ValueError(f"{', '.join(empty)}: no value is given; expected at least one.")
    return [dict(zip(parameters, values, strict=True)) for values in itertools.product(*parameters.values())]


def in_order(conditions: Sequence[dict[str, Any]], repeats: int, seed: int | None) -> list[dict[str, Any]]:
    """Each condition ``repeats`` times; with a seed every round in a random order of its own."""
    repeats = integer("repeats", repeats)
    if seed is None:
        return list(conditions) * repeats
    random = np.random.default_rng(checks.seed("seed", seed))
    return [conditions[i] for _ in range(repeats) for i in random.permutation(len(conditions))]


def check_conditions(display: Display, conditions: Sequence[dict[str, Any]], shared: dict[str, Any]) -> None:
    """Raise what ``grating`` would raise for any of them, before any frame is made."""
    for condition in {tuple(each.items()): each for each in conditions}.values():
        grating(display, **condition, **shared, num_frames=1)


def center_surround(
    display: Display,
    *,
    center_direction: float | None = 0.0,
    surround_direction: float | None = None,
    center_diameter: float = 20.0,
    gap: float = 0.0,
    surround_diameter: float | None = None,
    mean: float = 0.5,
    **shared: Any,
) -> Any:
    """A grating in a disc, and another in the ring around it; None leaves one of them out.

    Args:
        gap: width of the gray ring between them. surround_diameter: outer one of the ring; None: the whole monitor.
        shared: other arguments of ``grating``, for both.
    """
    if center_direction is None and surround_direction is None:
        raise ValueError("center_direction and surround_direction are both None; expected at least one direction.")
    directions = {"center_direction": center_direction, "surround_direction": surround_direction}
    for name, direction in directions.items():
        if direction is not None:
            _require(name, direction, -360, most=360)
    if surround_diameter is not None:
        _require("surround_diameter", surround_diameter, above=0)
    _require("center_diameter", center_diameter, above=0)
    _require("gap", gap, 0)
    frames = 0.0
    if center_direction is not None:
        inside = grating(display, direction=center_direction, diameter=center_diameter, mean=mean, **shared)
        frames = frames + (inside - mean)
    if surround_direction is not None:
        hole = center_diameter + 2 * gap
        ring: dict[str, Any] = {"inner_diameter": hole, "diameter": surround_diameter}
        frames = frames + (grating(display, direction=surround_direction, mean=mean, **ring, **shared) - mean)
    return frames + mean
