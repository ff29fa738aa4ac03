"""The two-peaked von Mises curve, fitted to tuning for direction; the published OSI, DSI and preferences come from it.

``f(x) = phi A exp(k (cos(x - mu) - 1)) + (1 - phi) A exp(k (cos(x + pi - mu) - 1)) + u``, with phi in [0, 1] and k, A,
u not negative.
"""

from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.physiology.least_squares import least_squares
from fnn_jax.physiology.tuning import check_directions, gdsi, gosi

PARAMETERS = ("mu", "phi", "k", "A", "u")
LARGEST_K = 200.0  # a peak of +-4.8 degrees at half its height: no set of directions resolves a narrower one
LARGEST_A = 10.0  # in units of the largest response
STARTS_K = (
    1.0,
    4.0,
    16.0,
)  # of the concentration; the first is the published start, the fit with the least error counts
MIN_DIRECTIONS = 5  # as many as parameters


def von_mises_curve(directions_deg: Any, mu: Any, phi: Any, k: Any, A: Any, u: Any) -> np.ndarray:
    """The curve at directions in degrees; ``mu`` in radians. Everything broadcasts."""
    x = np.deg2rad(np.asarray(directions_deg, float))
    towards, away = np.exp(k * (np.cos(x - mu) - 1)), np.exp(k * (-np.cos(x - mu) - 1))
    return A * (phi * towards + (1 - phi) * away) + u


def direction_selectivity(directions_deg: Any, curves: Any) -> pd.DataFrame:
    """Selectivity of units for direction and orientation, by the definitions of the published tables.

    Args:
        directions_deg: ``[D]``, each once, in degrees. curves: mean responses, ``[D, unit]``; NaN where a direction is
            missing.

    Returns:
        A row for each unit:
        ``OSI`` ``(P - O) / (P + O)``, P the mean of the fitted curve at the preferred orientation and opposite to it, O
        a quarter turn on; ``DSI`` ``1 - f(pref_dir + 180) / f(pref_dir)``; ``gOSI`` and ``gDSI`` of the responses
        themselves; ``pref_ori`` (0 to 180) and ``pref_dir`` (0 to 360), degrees; the curve's ``mu`` (radians), ``phi``,
        ``k``, ``A``, ``u``; ``rmse`` of the fit, in units of the responses, and its ``r2``; ``fit``: ``"good"``,
        ``"flat"`` (all responses equal: nothing is preferred, OSI and DSI are 0), ``"narrow"`` (the peak is narrower
        at half its height than the directions are apart: how high it is between them is a guess), ``"not converged"``,
        or ``"undefined"`` (no response above zero, or fewer than five that are not NaN): all NaN. gOSI and gDSI are NaN
        where any response is.

    Raises:
        ValueError: fewer than five directions, one of them twice, or they seem to be in radians.
    """
    directions, curves = check_directions(directions_deg, curves)
    if len(directions) < MIN_DIRECTIONS:
        raise ValueError(f"directions_deg holds {len(directions)}; expected at least {MIN_DIRECTIONS}, as parameters.")
    known = np.isfinite(curves)
    positive = np.where(known, curves, 0).max(0)
    units = np.flatnonzero((known.sum(0) >= MIN_DIRECTIONS) & (positive > 0))
    scale, known = positive[units], known[:, units].T
    scaled = np.where(known, curves[:, units].T / scale[:, None], 0)  # [unit, direction]
    lowest = np.where(known, scaled, np.inf).min(1)
    flat = 1 - lowest < 1e-9
    parameters, cost, converged = _fit(np.deg2rad(directions), scaled, known, lowest)
    mu, phi, k, height, base = parameters.T
    height = np.where(flat, 0, height)
    turned = phi < 0.5  # mu is the direction of the larger peak
    mu = np.where(turned, mu + np.pi, mu) % (2 * np.pi)
    phi = np.where(turned, 1 - phi, phi)
    half_width = np.arccos(np.maximum(1 - np.log(2) / np.maximum(k, 0.35), -1))
    narrow = (half_width < np.deg2rad(_spacing(directions)) / 2) | (height >= 0.999 * LARGEST_A)

    def at(angle_deg):
        return von_mises_curve(np.rad2deg(mu) + angle_deg, mu, phi, k, height, base)

    preferred, orthogonal = (at(0) + at(180)) / 2, (at(90) + at(270)) / 2
    values = {
        "OSI": (preferred - orthogonal) / (preferred + orthogonal),
        "DSI": 1 - at(180) / at(0),
        "gOSI": gosi(directions, curves[:, units]),
        "gDSI": gdsi(directions, curves[:, units]),
        "pref_ori": np.where(flat, np.nan, np.rad2deg(mu) % 180),
        "pref_dir": np.where(flat, np.nan, np.rad2deg(mu)),
        **dict(zip(PARAMETERS, (mu, phi, k, height * scale, np.where(flat, 1, base) * scale), strict=True)),
        "rmse": np.sqrt(cost / known.sum(1)) * scale,
        "r2": np.where(flat, np.nan, 1 - cost / np.where(flat, 1, _spread(scaled, known))),
    }
    for name in ("OSI", "DSI"):
        values[name] = np.where(flat, 0.0, values[name])
    fit = np.select([flat, narrow, ~converged], ["flat", "narrow", "not converged"], "good")
    table = pd.DataFrame(np.nan, index=range(curves.shape[1]), columns=list(values))
    table.loc[units] = np.stack(list(values.values()), axis=1)
    table["fit"] = pd.Series("undefined", index=table.index).astype(object)
    table.loc[units, "fit"] = fit
    return table


def _spacing(directions: np.ndarray) -> float:
    """The median distance between neighbours, in degrees."""
    ordered = np.sort(directions % 360)
    return float(np.median(np.diff([*ordered, ordered[0] + 360])))


def _spread(curves: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Sum of squares around the mean, of what is known."""
    mean = curves.sum(1) / known.sum(1)
    return (np.where(known, curves - mean[:, None], 0) ** 2).sum(1)


def _fit(directions: np.ndarray, curves: np.ndarray, known: np.ndarray, lowest: np.ndarray) -> Any:
    """The best of the fits from several starts, to curves ``[unit, direction]`` that are 1 at most, 0 where unknown."""
    lower = np.array([-np.inf, 0, 0, 0, 0])
    upper = np.array([np.inf, 1, LARGEST_K, LARGEST_A, np.inf])

    def residuals(parameters, problems):
        mu, phi, k, height, base = (column[:, None] for column in parameters.T)
        cosine, sine = np.cos(directions - mu), np.sin(directions - mu)
        towards, away = np.exp(k * (cosine - 1)), np.exp(k * (-cosine - 1))
        shape = phi * towards + (1 - phi) * away
        derivatives = [
            height * k * sine * (phi * towards - (1 - phi) * away),
            height * (towards - away),
            height * (phi * towards * (cosine - 1) + (1 - phi) * away * (-cosine - 1)),
            shape,
            np.ones_like(shape),
        ]
        counts = known[problems]
        return (height * shape + base - curves[problems]) * counts, np.stack(derivatives, axis=-1) * counts[..., None]

    best = None
    for concentration in STARTS_K:
        base = np.maximum(lowest, 0.01)
        start = np.stack(
            [
                directions[curves.argmax(1)],
                np.full(len(curves), 0.5),
                np.full(len(curves), concentration),
                2 * (1 - base),
                base,
            ],
            axis=1,
        )
        solution = least_squares(residuals, start, lower, upper)
        if best is None:
            best = solution
        else:
            better = solution.cost < best.cost * (1 - 1e-6)
            best = type(best)(
                np.where(better[:, None], solution.parameters, best.parameters),
                np.where(better, solution.cost, best.cost),
                np.where(better, solution.converged, best.converged),
            )
    return best
