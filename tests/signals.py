"""Signals on clocks of their own, made from a recording whose every number is known."""

import numpy as np
import pandas as pd

from fnn_jax.common.rate import HZ
from fnn_jax.data import Signal

SIZE = (18, 32)


def slow(random, times, columns):
    """Sums of slow sines, as functions of time: what any clock can sample. ``[time, columns]``."""
    speeds, phases = random.uniform(0.05, 0.5, (3, columns)), random.uniform(0, 2 * np.pi, (3, columns))
    return np.sin(2 * np.pi * times[:, None, None] * speeds + phases).sum(1)


def session(seed=0, trials=8, seconds=2.0, units=5, repeats=2):
    """Arguments of ``from_arrays``, and functions of time for what they sample.

    Frames at 30 Hz with a jitter of a millisecond; responses at 7 Hz, pupil at 59 Hz, treadmill at 200 Hz. The last
    clip is shown ``repeats`` times.
    """
    random = np.random.default_rng(seed)
    frames = round(seconds * HZ)
    starts = 5.0 + np.arange(trials) * (seconds + 0.5)
    clips = [f"clip{number}" for number in range(trials - repeats + 1)]
    movies = {clip: random.integers(0, 256, (frames, *SIZE), dtype=np.uint8) for clip in clips}
    shown = clips + clips[-1:] * (repeats - 1)
    times = np.concatenate([start + np.arange(frames) / HZ for start in starts])
    times = times + random.uniform(-5e-4, 5e-4, len(times))
    end = starts[-1] + seconds + 3
    keys = np.random.default_rng([seed, 1]).integers(2**31, size=4)
    truth = {
        "responses": lambda t: np.exp(0.3 * slow(np.random.default_rng(keys[0]), t, units)),
        "pupil_position": lambda t: 30 + 4 * slow(np.random.default_rng(keys[1]), t, 2),
        "pupil_radius": lambda t: 2 + 0.2 * slow(np.random.default_rng(keys[2]), t, 1)[:, 0],
        "treadmill_velocity": lambda t: 5 * slow(np.random.default_rng(keys[3]), t, 1)[:, 0],
    }
    clocks = {
        "responses": np.arange(0.3, end, 1 / 7.1),
        "pupil_position": np.arange(1.0, end, 1 / 59),
        "pupil_radius": np.arange(1.01, end, 1 / 59),
        "treadmill_velocity": np.arange(0.0, end, 1 / 200),
    }
    signals = {name: Signal(truth[name](clock), clock) for name, clock in clocks.items()}
    table = pd.DataFrame({"start": starts, "stop": starts + seconds, "clip": shown})
    stimulus = Signal(np.concatenate([movies[clip] for clip in shown]), times)
    return {**signals, "stimulus": stimulus, "trials": table, "size": SIZE}, truth


def write_signals(arguments, folder):
    """The folder that ``from_folder`` reads."""
    folder.mkdir()
    for name, each in arguments.items():
        if isinstance(each, Signal):
            np.save(folder / f"{name}.npy", each.values)
            np.save(folder / f"{name}_times.npy", each.times)
    arguments["trials"].to_csv(folder / "trials.csv", index=False)
    return folder
