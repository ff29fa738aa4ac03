"""Signals on clocks of their own, as one number for each frame."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fnn_jax.common import checks
from fnn_jax.common.rate import HZ

FASTER = 0.99  # of the interval of frames: what is sampled at shorter ones is averaged
BRIDGED = 2.5  # intervals of a signal without a sample: one that is lost is bridged, more are missing
BRIDGED_S = 1.5 / HZ  # which is little for any signal


class Signal(NamedTuple):
    """Values ``[n, ...]``, and the time of each in seconds ``[n]``, which increases.

    Values can be anything with a shape that is sliced along its first axis, such as a memory map or a dataset of h5py:
    only what is needed is read.
    """

    values: Any
    times: Any


class Spikes(NamedTuple):
    """Times of the spikes of each unit, in seconds: one array for each."""

    times: Sequence[Any]


def checked_signal(name: str, signal: Any, columns: int | None = None) -> Signal:
    """A signal whose times are floats that increase, and whose values have as many rows.

    Args:
        columns: how many columns its values have; 1: values ``[n]`` are as good. None: any shape.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if not isinstance(signal, tuple) or len(signal) != 2:
        raise TypeError(f"{name} is {checks.shown(signal)}; expected data.Signal(values, times).")
    values, times = signal
    times = checks.array(f"times of {name}", times, "finite seconds, [n]", (1,)).astype(np.float64)
    if not hasattr(values, "shape") or not hasattr(values, "dtype"):
        values = checks.numeric(name, values, "an array of numbers")
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{name} is of the dtype {values.dtype}; expected numbers.")
    shape = tuple(values.shape)
    if columns is not None:
        expected = f"[n, {columns}]" if columns > 1 else "[n]"
        if shape[1:] not in {(columns,), () if columns == 1 else (columns,)}:
            raise ValueError(f"{name} has the shape {list(shape)}; expected {expected}.")
    if not shape or shape[0] != len(times):
        raise ValueError(f"{name} has the shape {list(shape)} and {len(times)} times; expected as many times as rows.")
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        raise ValueError(
            f"times of {name} do not increase: {times[back[0]]:.6f} s is followed by {times[back[0] + 1]:.6f} s (row "
            f"{back[0] + 1}; {len(back)} such rows). Sort them, and leave out what is there twice."
        )
    return Signal(values, times)


def checked_spikes(name: str, spikes: Spikes) -> Spikes:
    """Spike times as sorted arrays of floats.

    Raises:
        TypeError, ValueError: they are something else.
    """
    units = checks.sequence(f"times of {name}", spikes.times, "an array of spike times for each unit")
    found = []
    for unit, times in enumerate(units):
        times = checks.numeric(f"spike times of unit {unit} of {name}", times, "seconds, [n]").astype(np.float64)
        if times.ndim != 1 or not np.isfinite(times).all():
            raise ValueError(f"spike times of unit {unit} of {name} are {checks.shown(times)}; expected seconds, [n].")
        found.append(np.sort(times))
    return Spikes(found)


def checked_responses(responses: Any) -> list[Signal | Spikes]:
    """Signals ``[n, units]`` or spikes, one or several in a list.

    Raises:
        TypeError, ValueError: they are something else.
    """
    several = list(responses) if isinstance(responses, list) else [responses]
    if not several:
        raise ValueError("responses is empty; expected data.Signal(values, times) or data.Spikes(times).")
    found: list[Signal | Spikes] = []
    for number, each in enumerate(several):
        name = f"responses[{number}]" if len(several) > 1 else "responses"
        if isinstance(each, Spikes):
            found.append(checked_spikes(name, each))
            continue
        signal = checked_signal(name, each)
        if len(signal.values.shape) != 2 or 0 in signal.values.shape:
            raise ValueError(f"{name} has the shape {list(signal.values.shape)}; expected [n, units].")
        found.append(signal)
    return found


def num_units(source: Signal | Spikes) -> int:
    """Of one of the responses."""
    return len(source.times) if isinstance(source, Spikes) else source.values.shape[1]


def interval_s(times: np.ndarray) -> float:
    """The usual time from one sample to the next."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 1 / HZ


def at_frames(signal: Signal, frame_times: np.ndarray) -> np.ndarray:
    """Values ``[n, k]`` of a checked signal at the times of frames ``[n]``.

    What is sampled at longer intervals than frames, or at the same, is interpolated linearly. What is sampled faster
    is averaged over 1/30 s around the time of the frame, as the mean of the straight lines between the samples: a
    low-pass filter with its first zero at 30 Hz. NaN, where the signal has no value: outside its times by more than
    half an interval, and where more than one sample is missing (or is NaN) and the gap is longer than 1.5 frames.
    """
    step = interval_s(signal.times)
    longest = max(BRIDGED * step, BRIDGED_S)
    half = 0.5 / HZ if step < FASTER / HZ else 0.0
    margin = half + longest + step
    first, last = np.searchsorted(signal.times, [frame_times[0] - margin, frame_times[-1] + margin])
    values = np.asarray(signal.values[first:last], np.float64)
    values = values if values.ndim == 2 else values[:, None]
    times, finite = signal.times[first:last], np.isfinite(values)
    if finite.all():
        return _at(values, times, frame_times, half, longest, step)
    result = np.full((len(frame_times), values.shape[1]), np.nan)
    patterns, which = np.unique(finite, axis=1, return_inverse=True)  # columns that miss the same are computed at once
    for number, present in enumerate(patterns.T):
        columns = np.flatnonzero(which.reshape(-1) == number)
        result[:, columns] = _at(values[present][:, columns], times[present], frame_times, half, longest, step)
    return result


def _at(values, times, frame_times, half, longest, step):
    if len(times) < 2:
        return np.full((len(frame_times), values.shape[1]), np.nan)
    low = np.clip(frame_times - half, times[0], times[-1])
    high = np.clip(frame_times + half, times[0], times[-1])
    steps = np.diff(times)
    slopes = np.diff(values, axis=0) / steps[:, None]
    areas = (values[1:] + values[:-1]) / 2 * steps[:, None]
    until_sample = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(areas, 0)])

    def segment(t):
        return np.clip(np.searchsorted(times, t, "right") - 1, 0, len(times) - 2)

    def area_until(t):
        at = segment(t)
        part = (t - times[at])[:, None]
        return until_sample[at] + part * (values[at] + slopes[at] * part / 2)

    at = segment(low)
    result = values[at] + slopes[at] * (low - times[at])[:, None]
    wide = high - low > 1e-6
    result[wide] = (area_until(high[wide]) - area_until(low[wide])) / (high - low)[wide, None]
    if values.size and values.min() >= 0:
        result = np.maximum(result, 0)  # which rounding may have missed
    long_before = np.concatenate([[0], np.cumsum(steps > longest)])
    ends = np.clip(np.searchsorted(times, high, "left") - 1, 0, len(times) - 2)
    in_gap = long_before[np.maximum(ends, at) + 1] > long_before[at]
    # A frame at the time of a sample has its value, also where a gap begins or ends there.
    in_gap &= ~(~wide & (np.isclose(low, times[at], 0, 1e-6) | np.isclose(low, times[at + 1], 0, 1e-6)))
    outside = (frame_times < times[0] - step / 2) | (frame_times > times[-1] + step / 2)
    result[in_gap | outside] = np.nan
    return result


def counts(spikes: Spikes, frame_times: np.ndarray) -> np.ndarray:
    """Spikes of each unit from the time of a frame to 1/30 s later, ``[n, units]``."""
    stops = frame_times + 1 / HZ
    columns = [np.searchsorted(times, stops) - np.searchsorted(times, frame_times) for times in spikes.times]
    return np.stack(columns, axis=1).astype(np.float64)
