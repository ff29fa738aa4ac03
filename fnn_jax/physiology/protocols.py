"""Protocols that are ready to be run, with the field's usual parameters.

Each takes a ``Display`` (``Display.of(twin)``) and returns a ``Protocol``. Gratings are shown one condition a movie,
after half a second of gray; lengths and positions are in the unit of the display.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.rate import HZ
from fnn_jax.physiology import curves, receptive_fields, tuning
from fnn_jax.physiology.protocol import Measured, Protocol
from fnn_jax.physiology.von_mises import direction_selectivity
from fnn_jax.stimuli.display import Display
from fnn_jax.stimuli.dots import gaussian_dots
from fnn_jax.stimuli.gratings import center_surround, combinations, gratings
from fnn_jax.stimuli.monet import monet2
from fnn_jax.stimuli.movie import Movie, concatenate, frames_in, one_after_another
from fnn_jax.stimuli.noise import white_noise
from fnn_jax.stimuli.simple import blank

DIRECTIONS = tuple(float(direction) for direction in range(0, 360, 45))
OFF_S = 0.5
ALPHA = 0.05


def direction_tuning(
    display: Display,
    *,
    stimulus: str = "monet2",
    directions: int = 16,
    movies: int = 8,
    duration_s: float = 30.0,
    spatial_frequency: float = 0.04,
    temporal_frequency: float = 2.0,
    on_s: float = 2.0,
    seed: int = 0,
) -> Protocol:
    """Tuning for direction, as in the published tables: OSI, DSI, gOSI, gDSI, pref_ori, pref_dir.

    Args:
        stimulus: ``"monet2"``: ``movies`` of ``duration_s``, each with every direction in a random order; or
            ``"gratings"``: each direction once, for ``on_s``, at ``spatial_frequency`` and ``temporal_frequency``.
        seed: of the first movie; the following ones have the next numbers.

    Curves are ``[direction, unit]``. With several movies the table has ``p_direction``, a permutation test of gDSI over
    single intervals.
    """
    if stimulus == "monet2":
        make = [
            functools.partial(monet2, display, directions=directions, duration_s=duration_s, seed=seed + number)
            for number in range(movies)
        ]
    elif stimulus == "gratings":
        shown = {"spatial_frequencies": (spatial_frequency,), "temporal_frequencies": (temporal_frequency,)}
        conditions = {"directions": tuple(np.arange(directions) * 360 / directions), **shown}
        make = _one_grating_a_movie(display, conditions, on_s)
    else:
        raise ValueError(f"stimulus is {stimulus!r}; expected 'monet2' or 'gratings'.")

    def measure(protocol: Protocol, responses: np.ndarray) -> Measured:
        values, curve = tuning.tuning_curve(responses, protocol.conditions, "direction")
        table = direction_selectivity(values, curve)
        if len(protocol.conditions) > len(values):
            test = tuning.permutation_test(protocol.conditions["direction"], responses)
            table["p_direction"] = test["p"].to_numpy()
        return Measured(table, {"curve": curve}, values)

    return Protocol("direction", display, make, measure)


def frequency_tuning(
    display: Display,
    *,
    directions: Sequence[float] = DIRECTIONS,
    spatial_frequencies: Sequence[float] = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32),
    temporal_frequencies: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0),
    on_s: float = 2.0,
) -> Protocol:
    """Tuning for spatial x temporal frequency, at each unit's preferred direction.

    The table has ``pref_direction`` (degrees, of the largest response), and of the responses there: ``pref_sf`` and
    ``pref_tf`` (largest mean over the other frequency), fits over both (``sf_...``, ``tf_...``: a Gaussian over
    octaves, with at least four frequencies), and ``separability``. Curves are ``[spatial, temporal, unit]``.
    """
    shown = {
        "directions": directions,
        "spatial_frequencies": spatial_frequencies,
        "temporal_frequencies": temporal_frequencies,
    }

    def measure(protocol: Protocol, responses: np.ndarray) -> Measured:
        by = ["direction", "spatial_frequency", "temporal_frequency"]
        values, means = tuning.tuning_curve(responses, protocol.conditions, by)
        sizes = [len(level) for level in values.levels]
        means = means.reshape(*sizes, -1)
        best, curve = _at_best(means)
        table = pd.DataFrame({"pref_direction": _pick(values.levels[0], best, curve)})
        for name, axis in (("sf", 0), ("tf", 1)):
            level, single = values.levels[axis + 1], curve.mean(1 - axis)
            table[f"pref_{name}"] = tuning.preferred(level, single)
            if len(level) >= curves.MIN_POINTS:
                fitted = curves.log_gaussian(level, single)
                table = pd.concat([table, fitted.add_prefix(f"{name}_")], axis=1)
        table["separability"] = curves.separability(curve)
        return Measured(table, {"curve": curve}, values.droplevel(0).drop_duplicates())

    return Protocol("frequency", display, _one_grating_a_movie(display, shown, on_s), measure)


def size_tuning(
    display: Display,
    *,
    center: tuple[float, float] = (0.0, 0.0),
    diameters: Sequence[float] = (5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0),
    directions: Sequence[float] = DIRECTIONS,
    spatial_frequency: float = 0.04,
    temporal_frequency: float = 2.0,
    on_s: float = 2.0,
) -> Protocol:
    """Tuning for the diameter of a grating around ``center``, at each unit's preferred direction.

    ``center`` should lie in the receptive fields of the units: ``readout_center`` gives their median. The table has
    ``pref_direction``, ``preferred_size`` and ``suppression``. Curves are ``[diameter, unit]``.
    """
    shown = {
        "directions": directions,
        "diameters": diameters,
        "spatial_frequencies": (spatial_frequency,),
        "temporal_frequencies": (temporal_frequency,),
    }

    def measure(protocol: Protocol, responses: np.ndarray) -> Measured:
        level, best, curve = _curve_at_best(protocol, responses, "diameter")
        return Measured(pd.concat([best, curves.size_preference(level, curve)], axis=1), {"curve": curve}, level)

    return Protocol("size", display, _one_grating_a_movie(display, shown, on_s, center=center), measure)


def contrast_tuning(
    display: Display,
    *,
    contrasts: Sequence[float] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0),
    directions: Sequence[float] = DIRECTIONS,
    spatial_frequency: float = 0.04,
    temporal_frequency: float = 2.0,
    on_s: float = 2.0,
) -> Protocol:
    """Tuning for contrast at each unit's preferred direction, with the fit of ``curves.naka_rushton``.

    Curves are ``[contrast, unit]``.
    """
    shown = {
        "directions": directions,
        "contrasts": contrasts,
        "spatial_frequencies": (spatial_frequency,),
        "temporal_frequencies": (temporal_frequency,),
    }

    def measure(protocol: Protocol, responses: np.ndarray) -> Measured:
        level, best, curve = _curve_at_best(protocol, responses, "contrast")
        return Measured(pd.concat([best, curves.naka_rushton(level, curve)], axis=1), {"curve": curve}, level)

    return Protocol("contrast", display, _one_grating_a_movie(display, shown, on_s), measure)


SURROUNDS = {"center": None, "iso": 0.0, "cross": 90.0, "opposite": 180.0}


def surround_tuning(
    display: Display,
    *,
    center: tuple[float, float] = (0.0, 0.0),
    diameter: float = 20.0,
    gap: float = 0.0,
    directions: Sequence[float] = DIRECTIONS,
    spatial_frequency: float = 0.04,
    temporal_frequency: float = 2.0,
    on_s: float = 2.0,
) -> Protocol:
    """What a surround does to the response to a grating in the centre: the same direction (``iso``), the orthogonal one
    (``cross``), the opposite one, and the surround alone.

    The table has ``pref_direction`` (of the centre alone) and, at it, the responses and ``iso_modulation``,
    ``cross_modulation``, ``opposite_modulation``: ``(both - center) / (both + center)``. Curves are ``[surround,
    unit]``.
    """
    conditions = combinations({"direction": tuple(map(float, directions)), "surround": (*SURROUNDS, "alone")})
    shared: dict[str, Any] = {
        "center": center,
        "center_diameter": diameter,
        "gap": gap,
        "spatial_frequency": spatial_frequency,
        "temporal_frequency": temporal_frequency,
    }

    def frames(num_frames: int, direction: float, surround: str) -> Any:
        directions_: dict[str, Any]
        if surround == "alone":
            directions_ = {"center_direction": None, "surround_direction": direction}
        else:
            turn = SURROUNDS[surround]
            directions_ = {
                "center_direction": direction,
                "surround_direction": None if turn is None else direction + turn,
            }
            if turn is not None:
                directions_["surround_direction"] %= 360
        return center_surround(display, **directions_, **shared, num_frames=num_frames)

    for condition in conditions:
        frames(1, **condition)

    def make(condition: dict[str, Any]) -> Movie:
        show = functools.partial(frames, frames_in(on_s))
        return one_after_another(display, [condition], show, on_s=on_s, off_s=OFF_S)

    def measure(protocol: Protocol, responses: np.ndarray) -> Measured:
        kinds = pd.Index([*SURROUNDS, "alone"], name="surround")
        values, means = tuning.tuning_curve(responses, protocol.conditions, ["surround", "direction"])
        by_kind = {kind: means[values.get_level_values("surround") == kind] for kind in kinds}
        directions_ = values[values.get_level_values("surround") == "center"].get_level_values("direction")
        best = np.nan_to_num(by_kind["center"], nan=-np.inf).argmax(0)
        units = np.arange(responses.shape[1])
        curve = np.stack([by_kind[kind][best, units] for kind in kinds])
        table = pd.DataFrame({"pref_direction": tuning.preferred(directions_, by_kind["center"])})
        for kind, response in zip(kinds, curve, strict=True):
            table[f"r_{kind}"] = response
        for kind in ("iso", "cross", "opposite"):
            table[f"{kind}_modulation"] = curves.surround_modulation(table["r_center"], table[f"r_{kind}"])
        return Measured(table, {"curve": curve}, kinds)

    return Protocol("surround", display, [functools.partial(make, condition) for condition in conditions], measure)


def dot_receptive_field(
    display: Display,
    positions: Sequence[tuple[float, float]] | None = None,
    *,
    sigma: float = 5.0,
    on_s: float = 9 / HZ,
    repeats: int = 4,
    seed: int = 0,
) -> Protocol:
    """Receptive fields from single dots, bright and dark: 105 positions unless others are given.

    The table has, of ``on``, ``off`` and ``both``: the fitted Gaussian (``on_x``, ``on_y``, ``on_sigma_major`` ...) and
    ``on_ssi``, the spatial spread index. Fields are ``[unit, height, width]``: spike-triggered averages.
    """

    def make(number: int) -> Movie:
        dots = gaussian_dots(display, positions, sigma=sigma, on_s=on_s, seed=seed + number)
        return concatenate([_gray(display), dots])

    def measure(protocol: Protocol, responses: np.ndarray) -> Measured:
        fields = receptive_fields.dot_receptive_fields(responses, protocol.conditions, display)
        tables = []
        for name, field in fields.items():
            table = receptive_fields.fit_gaussians(field, display)
            table["ssi"] = receptive_fields.spatial_spread_index(field)
            tables.append(table.add_prefix(f"{name}_"))
        return Measured(pd.concat(tables, axis=1), fields)

    return Protocol("dots", display, [functools.partial(make, number) for number in range(repeats)], measure)


def noise_receptive_field(
    display: Display,
    *,
    check: float = 8.0,
    rate_hz: float = 10.0,
    lags: int = 9,
    movies: int = 8,
    duration_s: float = 60.0,
    seed: int = 0,
) -> Protocol:
    """Receptive fields over space and time from binary white noise: the response-weighted mean of preceding frames.

    The table has ``best_lag`` (frames before the response at which the field varies most over space) and the Gaussian
    fitted to the field there. ``field`` is ``[unit, lag, rows, columns]``, one value to a check.
    """

    def make(number: int) -> Movie:
        return white_noise(display, check=check, rate_hz=rate_hz, duration_s=duration_s, seed=seed + number)

    size = int(make(0).intervals["check_px"].iloc[0])

    def measure(protocol: Protocol, responses: Any) -> Measured:
        field = receptive_fields.noise_receptive_fields(responses, lags=lags, block=size)
        best = field.var((2, 3)).argmax(1)
        spatial = field[np.arange(len(field)), best]
        table = pd.DataFrame({"best_lag": best})
        fitted = receptive_fields.fit_gaussians(spatial, display.in_blocks(size))
        return Measured(pd.concat([table, fitted], axis=1), {"field": field})

    return Protocol(
        "noise", display, [functools.partial(make, number) for number in range(movies)], measure, every_frame=True
    )


PROTOCOLS: dict[str, Callable[..., Protocol]] = {
    "direction": direction_tuning,
    "frequency": frequency_tuning,
    "size": size_tuning,
    "contrast": contrast_tuning,
    "surround": surround_tuning,
    "dots": dot_receptive_field,
    "noise": noise_receptive_field,
}


def readout_center(twin: Any, display: Display) -> tuple[float, float]:
    """Where the units of a twin look, in the unit of a display: the median of their readout locations on the monitor.

    Units that look beyond the monitor do not count.

    Raises:
        ValueError: all of them do.
    """
    places = twin.readout_locations(y="down")[["monitor_x", "monitor_y_down"]].to_numpy(float)
    places = places[(np.abs(places) < 1).all(1)]
    if not len(places):
        raise ValueError("every unit reads outside the monitor; give center.")
    column, row = np.median((places + 1) / 2 * [display.width, display.height] - 0.5, axis=0)
    x, y = display.positions(row, column)
    return float(x), float(y)


def _gray(display: Display) -> Movie:
    gray = blank(display, OFF_S)
    return Movie.of(gray.frames, gray.intervals[:0])


def _one_grating_a_movie(
    display: Display, values: Mapping[str, Sequence[Any]], on_s: float, **shared: Any
) -> list[Callable[[], Movie]]:
    """Every combination as a movie of its own."""
    movies: list[Callable[[], Movie]] = []
    for condition in combinations(values):
        single: dict[str, Any] = {name: (value,) for name, value in condition.items()}
        movies.append(functools.partial(gratings, display, **single, on_s=on_s, off_s=OFF_S, **shared))
    return movies


def _at_best(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ``[direction, ..., unit]`` the direction of each unit's largest response, and the responses at it."""
    units = means.shape[-1]
    flat = np.nan_to_num(means.reshape(len(means), -1, units), nan=-np.inf)
    best = flat.max(1).argmax(0)
    return best, np.moveaxis(means, -1, 1)[best, np.arange(units)].transpose(*range(1, means.ndim - 1), 0)


def _pick(level: pd.Index, best: np.ndarray, curve: np.ndarray) -> np.ndarray:
    responded = (np.nan_to_num(curve) != 0).any(tuple(range(curve.ndim - 1)))
    return np.where(responded, level.to_numpy(float)[best], np.nan)


def _curve_at_best(protocol: Protocol, responses: np.ndarray, by: str) -> tuple[pd.Index, pd.DataFrame, np.ndarray]:
    values, means = tuning.tuning_curve(responses, protocol.conditions, ["direction", by])
    directions, level = values.levels[0], values.levels[1]
    best, curve = _at_best(means.reshape(len(directions), len(level), -1))
    return level, pd.DataFrame({"pref_direction": _pick(directions, best, curve)}), curve
