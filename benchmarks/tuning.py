"""How many tuning curves are fitted in a second, beside scipy.optimize.least_squares, one curve after the other?

Both start from the same points. "Difference" is the part of the curves on which SciPy's fit has a smaller error.
"""

import numpy as np
from options import parse
from scipy import optimize
from table import Results
from turns import short, spread, timed

from fnn_jax.physiology import direction_selectivity, von_mises_curve
from fnn_jax.physiology.von_mises import LARGEST_A, LARGEST_K, STARTS_K

DIRECTIONS = np.arange(16) * 22.5
NOISE = 0.1


def noisy_curves(count):
    """``[direction, unit]``: curves with random parameters, and a tenth of their peak of noise."""
    random = np.random.default_rng(0)
    bounds = ((0, 2 * np.pi), (0.5, 1), (0.5, 8), (0.2, 5), (0.05, 1))
    clean = von_mises_curve(DIRECTIONS[:, None], *(random.uniform(*bound, count) for bound in bounds))
    return np.maximum(clean + NOISE * clean.max(0) * random.standard_normal(clean.shape), 0)


def one_by_one(curves):
    """Root-mean-square error of SciPy's best fit to each curve."""
    return np.array([_best(curve) for curve in curves.T])


def _best(curve):
    base = max(curve.min(), curve.max() / 100)
    top = LARGEST_A * curve.max()
    lower, upper = [-np.inf, 0, 0, 0, 0], [np.inf, 1, LARGEST_K, top, np.inf]
    costs = []
    for k in STARTS_K:
        start = [np.deg2rad(DIRECTIONS[curve.argmax()]), 0.5, k, np.clip(2 * (curve.max() - base), 1e-9, top), base]
        fit = optimize.least_squares(
            lambda p: von_mises_curve(DIRECTIONS, *p) - curve, start, bounds=(lower, upper), max_nfev=2000
        )
        costs.append(fit.cost)
    return np.sqrt(2 * min(costs) / len(DIRECTIONS))


def main():
    quick = {"units": 100, "clips": 5}
    options = parse(__doc__, quick, units=10_000, clips=200, repeats=3)
    results = Results(__doc__, options)
    curves = noisy_curves(options.units)
    some = curves[:, : options.clips]
    ours_s, theirs_s = [], []
    for _ in range(options.repeats):
        seconds, errors = timed(lambda: one_by_one(some))
        theirs_s.append(seconds / some.shape[1])
        seconds, table = timed(lambda: direction_selectivity(DIRECTIONS, curves))
        ours_s.append(seconds / curves.shape[1])
    worse = (table["rmse"][: len(errors)] > errors * (1 + 1e-4)).mean()
    cells = {
        "SciPy, curves a second": spread(1 / s for s in theirs_s),
        "fnn_jax, curves a second": spread(1 / s for s in ours_s),
        "times faster": spread(a / b for a, b in zip(theirs_s, ours_s, strict=True)),
        "difference": short(worse),
    }
    results.add(f"{options.units:,} units", cells, seconds={"scipy": theirs_s, "fnn_jax": ours_s})
    good = (table["fit"] == "good").mean()
    results.note(
        f"SciPy fitted {options.clips} of them. {good:.1%} of the fits are good; {options.units:,} take "
        f"{short(min(ours_s) * options.units)} s."
    )


if __name__ == "__main__":
    main()
