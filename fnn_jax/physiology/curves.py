"""Curves over size, contrast and frequencies: what is preferred, and fits of the field's usual functions.

Curves are ``[value, unit]``; every function returns a row for each unit, with NaN where a unit has no defined value.
"""

from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.physiology.least_squares import least_squares
from fnn_jax.physiology.tuning import preferred

MIN_POINTS = 4


def size_preference(sizes: Any, curves: Any) -> pd.DataFrame:
    """``preferred_size``, of the largest response, and ``suppression``: ``1 - r(largest size) / r(preferred)``."""
    sizes, curves = _checked("sizes", sizes, curves)
    best, largest = curves.max(0), curves[np.argmax(sizes)]
    with np.errstate(invalid="ignore", divide="ignore"):
        suppression = np.where(best > 0, 1 - largest / best, np.nan)
    return pd.DataFrame({"preferred_size": preferred(sizes, curves), "suppression": suppression})


def naka_rushton(contrasts: Any, curves: Any) -> pd.DataFrame:
    """The Naka-Rushton function ``r_max c^n / (c^n + c50^n) + base``, fitted to each unit.

    Returns:
        ``c50`` (0 to 1), ``exponent`` (0.5 to 10), ``r_max``, ``base``, ``r2`` and ``fit``: ``"good"``, ``"at bound"``
        (c50 beyond the contrasts shown, or an extreme exponent), ``"not converged"``, ``"flat"`` or ``"undefined"``.
    """
    contrasts, curves = _checked("contrasts", contrasts, curves)
    if contrasts.min() < 0 or contrasts.max() > 1:
        raise ValueError(f"contrasts runs from {contrasts.min():g} to {contrasts.max():g}; expected 0 to 1.")

    def function(parameters):
        c50, exponent, r_max, base = (column[:, None] for column in parameters.T)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(contrasts > 0, np.log(np.where(contrasts > 0, contrasts, 1) / c50), -np.inf)
            share = 1 / (1 + np.exp(-np.clip(exponent * ratio, -500, 500)))
            slope = share * (1 - share)
            by_exponent = np.where(np.isfinite(ratio), slope * np.where(np.isfinite(ratio), ratio, 0), 0)
        derivatives = [-r_max * slope * exponent / c50, r_max * by_exponent, share, np.ones_like(share)]
        return r_max * share + base, np.stack(derivatives, -1)

    def start(scaled):
        low, high = scaled.min(1), scaled.max(1)
        half = contrasts[np.abs(scaled - ((low + high) / 2)[:, None]).argmin(1)]
        return np.stack([np.clip(half, 0.05, 1), np.full(len(scaled), 2.0), high - low, low], axis=1)

    bounds = np.array([1e-3, 0.5, 0, -np.inf]), np.array([2.0, 10.0, np.inf, np.inf])
    table = _fit(function, curves, start, *bounds, ["c50", "exponent", "r_max", "base"])
    shown = contrasts[contrasts > 0]
    extreme = ~table["exponent"].between(0.501, 9.99)
    return _flag_outside(table, extreme | ~table["c50"].between(shown.min(), shown.max()))


def log_gaussian(frequencies: Any, curves: Any) -> pd.DataFrame:
    """A Gaussian over the logarithm of a spatial or temporal frequency, fitted to each unit.

    Returns:
        ``preferred`` (of the fit; ``peak`` is the frequency with the largest response), ``bandwidth_octaves`` (full
        width at half height), ``amplitude``, ``base``, ``r2`` and ``fit``: ``"good"``, ``"at bound"`` (the fitted peak
        lies outside the frequencies shown: the unit may prefer any beyond), ``"not converged"``, ``"flat"``,
        ``"undefined"``.
    """
    frequencies, curves = _checked("frequencies", frequencies, curves)
    if frequencies.min() <= 0:
        raise ValueError(f"frequencies has {frequencies.min():g}; expected all above 0, because logarithms are taken.")
    octaves = np.log2(frequencies)
    low, high = octaves.min(), octaves.max()

    def function(parameters):
        center, sigma, amplitude, base = (column[:, None] for column in parameters.T)
        z = (octaves - center) / sigma
        shape = np.exp(-(z**2) / 2)
        derivatives = [amplitude * shape * z / sigma, amplitude * shape * z**2 / sigma, shape, np.ones_like(shape)]
        return amplitude * shape + base, np.stack(derivatives, -1)

    def start(scaled):
        bottom = scaled.min(1)
        return np.stack([octaves[scaled.argmax(1)], np.ones(len(scaled)), scaled.max(1) - bottom, bottom], axis=1)

    bounds = np.array([low - 1, 0.2, 0, -np.inf]), np.array([high + 1, 4 * (high - low), np.inf, np.inf])
    table = _fit(function, curves, start, *bounds, ["preferred", "bandwidth_octaves", "amplitude", "base"])
    table = _flag_outside(table, ~table["preferred"].between(low, high))
    table["preferred"] = 2 ** table["preferred"]
    table["bandwidth_octaves"] *= 2 * np.sqrt(2 * np.log(2))
    table.insert(1, "peak", preferred(frequencies, curves))
    return table


def separability(curves: Any) -> np.ndarray:
    """How far responses ``[first, second, unit]`` are a product of two curves: the part of the squared responses that
    the first singular vectors explain, ``s_1^2 / sum s_i^2``; 1 is separable."""
    # Nothing is subtracted: a product of two curves, less its mean, is none any more.
    curves = np.moveaxis(np.asarray(curves, float), -1, 0)
    known = np.isfinite(curves).all((1, 2))
    values = np.linalg.svd(np.where(known[:, None, None], curves, 0), compute_uv=False) ** 2
    total = values.sum(1)
    return np.where(known & (total > 0), values[:, 0] / np.where(total > 0, total, 1), np.nan)


def surround_modulation(center: Any, both: Any) -> np.ndarray:
    """``(both - center) / (both + center)`` of responses to a centre alone and with a surround."""
    center, both = np.asarray(center, float), np.asarray(both, float)
    total = center + both
    return np.where(total > 0, both - center, np.nan) / np.where(total > 0, total, 1)


def _checked(name: str, values: Any, curves: Any) -> tuple[np.ndarray, np.ndarray]:
    values, curves = np.asarray(values, float), np.asarray(curves, float)
    if values.ndim != 1 or curves.ndim != 2 or len(values) != len(curves):
        raise ValueError(
            f"{name} has the shape {list(values.shape)} and curves {list(curves.shape)}; expected [V] and [V, units]."
        )
    if len(np.unique(values)) != len(values) or not np.isfinite(values).all():
        raise ValueError(f"{name} is {values.tolist()}; expected finite values, each once.")
    return values, curves


IN_RESPONSES = [2, 3]  # of the parameters of both functions, those that are in units of the responses


def _fit(function, curves, start, lower, upper, names):
    """Fit each curve, scaled by its largest size."""
    if len(curves) < MIN_POINTS:
        raise ValueError(f"curves has {len(curves)} values; expected at least {MIN_POINTS}, as many as parameters.")
    curves = curves.T
    scale = np.where(np.isfinite(curves).all(1), np.abs(np.nan_to_num(curves)).max(1), 0)
    spread = np.where(scale > 0, np.ptp(np.nan_to_num(curves), axis=1) / np.where(scale > 0, scale, 1), 0)
    units = np.flatnonzero(spread > 1e-9)
    scaled = curves[units] / scale[units, None]

    def residuals(parameters, problems):
        values, derivatives = function(parameters)
        return values - scaled[problems], derivatives

    solution = least_squares(residuals, start(scaled), lower, upper)
    parameters = np.full((len(curves), len(lower)), np.nan)
    parameters[units] = solution.parameters
    r2 = np.full(len(curves), np.nan)
    r2[units] = 1 - solution.cost / ((scaled - scaled.mean(1, keepdims=True)) ** 2).sum(1)
    fit = np.where(scale > 0, "flat", "undefined").astype(object)
    fit[units] = np.where(solution.converged, "good", "not converged")
    parameters[:, IN_RESPONSES] *= scale[:, None]
    return pd.DataFrame(parameters, columns=names).assign(r2=r2, fit=fit)


def _flag_outside(table: pd.DataFrame, outside: Any) -> pd.DataFrame:
    table.loc[outside & (table["fit"] == "good"), "fit"] = "at bound"
    return table
