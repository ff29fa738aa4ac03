"""How long do the measures of an evaluation take, beside the released functions, which loop over units?

Both get the same arrays, float32, of 10 repeats of each clip: cc_abs and cc_max of every unit. "All measures" are those
that fnn_jax makes of them in one pass: cc_norm, FEVE, single-trial correlation and the oracle, too.
"""

import importlib.util
import warnings

import numpy as np
from options import parse
from table import Results
from turns import in_turns, short, spread

from fnn_jax import evaluation

PRESENTATIONS = 10


def recorded(units, clips, frames):
    """Predictions and responses ``[unit, repeat, frame]``: a signal, and as much noise."""
    random = np.random.default_rng(0)
    signal = random.gamma(2, size=(units, 1, clips * frames)).astype(np.float32)
    shape = (units, PRESENTATIONS, clips * frames)
    return [signal + scale * random.standard_normal(shape, np.float32) for scale in (0.5, 1.4)]


def ours(predictions, responses):
    return np.stack([evaluation.cc_abs(predictions, responses), evaluation.cc_max(responses)])


def theirs(predictions, responses):
    from fnn import evaluate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the square root of a negative signal power
        return np.stack([evaluate.compute_cc_abs(predictions, responses), evaluate.compute_cc_max(responses)])


def main():
    quick = {"units": 100, "clips": 2, "frames": 40}
    options = parse(__doc__, quick, units=10_000, clips=6, frames=290, repeats=3)
    results = Results(__doc__, options)
    arrays = recorded(options.units, options.clips, options.frames)
    sides = {
        "fnn_jax": lambda: ours(*arrays),
        "fnn_jax, all measures": lambda: evaluation.Statistics.of(*arrays).measures(),
    }
    cells = {}
    if not options.alone and importlib.util.find_spec("fnn"):
        sides = {"released": lambda: theirs(*arrays), **sides}
        difference = np.nanmax(np.abs(sides["released"]() - sides["fnn_jax"]()))
        if not difference < 1e-4:
            raise SystemExit(f"cc_abs or cc_max differ by {difference:.1e}. Nothing is timed.")
        cells["difference"] = f"{difference:.0e}"
    seconds = in_turns(sides, options.repeats)
    times = {f"{side}, s": spread(values) for side, values in seconds.items()}
    if "released" in sides:
        ratios = [a / b for a, b in zip(seconds["released"], seconds["fnn_jax"], strict=True)]
        times["times faster"] = spread(ratios)
    size = f"{options.units:,} units, {options.clips} clips of {options.frames} frames, {PRESENTATIONS} times"
    results.add(size, times | cells, seconds=seconds)
    results.note(f"{short(sum(array.nbytes for array in arrays) / 1e9)} GB of predictions and responses.")


if __name__ == "__main__":
    main()
