"""Nonlinear least squares within bounds, of many small problems at once.

Levenberg-Marquardt, in NumPy and float64: every step solves the normal equations of all problems together, with
parameters held that a bound stops. SciPy solves such problems one at a time; this is for thousands of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

FIRST_DAMPING = 1e-2
LARGEST_DAMPING = 1e12


class Solution(NamedTuple):
    """Parameters ``[N, P]``, sums of squared residuals ``[N]``, and whether each problem has converged ``[N]``."""

    parameters: np.ndarray
    cost: np.ndarray
    converged: np.ndarray


def least_squares(
    function: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    start: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    tolerance: float = 1e-10,
    max_steps: int = 300,
) -> Solution:
    """Minimise the sum of squared residuals of each problem.

    Args:
        function: of parameters ``[M, P]`` and the numbers ``[M]`` of their problems; returns residuals ``[M, R]`` and
            their derivatives ``[M, R, P]``.
        start: ``[N, P]``. lower, upper: bounds, ``[P]`` or ``[N, P]``.
        tolerance: relative change of the cost, or size of the projected step, at which a problem is done.
    """
    lower, upper = (np.broadcast_to(bound, start.shape) for bound in (lower, upper))
    parameters = np.clip(start, lower, upper).astype(float)
    converged = np.zeros(len(start), bool)
    residuals, jacobian = function(parameters, np.arange(len(start)))
    cost = (residuals**2).sum(1)
    damping = np.full(len(start), FIRST_DAMPING)
    active = np.arange(len(start))
    for _ in range(max_steps):
        if not len(active):
            break
        gradient = np.einsum("nrp,nr->np", jacobian, residuals)
        at, low, high = parameters[active], lower[active], upper[active]
        # A parameter at a bound, which the cost pushes against, stays there.
        held = ((at <= low) & (gradient > 0)) | ((at >= high) & (gradient < 0))
        free = ~held
        normal = np.einsum("nrp,nrq->npq", jacobian, jacobian)
        scale = np.einsum("npp->np", normal)
        floor = 1e-12 * np.maximum(scale.max(1, keepdims=True), 1e-300)
        normal = normal * free[:, :, None] * free[:, None, :]
        diagonal = np.where(free, np.maximum(scale, floor) * damping[active, None] + floor, 1.0)
        normal[:, np.arange(start.shape[1]), np.arange(start.shape[1])] += diagonal
        step = np.linalg.solve(normal, -(gradient * free)[..., None])[..., 0]
        trial = np.clip(at + step, low, high)
        new_residuals, new_jacobian = function(trial, active)
        new_cost = (new_residuals**2).sum(1)
        better = new_cost < cost[active]  # false for NaN
        gain = (cost[active] - new_cost) / np.maximum(cost[active], 1e-300)
        moved = np.abs(trial - at).max(1) / np.maximum(np.abs(at).max(1), 1e-12)
        small = better & ((gain < tolerance) | (moved < tolerance))
        stuck = ~better & ((damping[active] > LARGEST_DAMPING) | (moved < tolerance))
        parameters[active[better]] = trial[better]
        cost[active[better]] = new_cost[better]
        damping[active] = np.where(better, damping[active] / 3, damping[active] * 4)
        damping[active] = np.maximum(damping[active], 1e-14)
        residuals = np.where(better[:, None], new_residuals, residuals)
        jacobian = np.where(better[:, None, None], new_jacobian, jacobian)
        done = small | stuck
        converged[active[done]] = True
        residuals, jacobian, active = residuals[~done], jacobian[~done], active[~done]
    return Solution(parameters, cost, converged)
