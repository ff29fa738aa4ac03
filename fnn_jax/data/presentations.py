"""What was shown in a trial, as frames of one size, and the time of each."""

import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.rate import HZ
from fnn_jax.data.recordings import DataError
from fnn_jax.data.resampling import Signal, checked_signal
from fnn_jax.videos import fit_frames, read_video
from fnn_jax.videos.arrays import check_array
from fnn_jax.videos.sampling import LONGEST_FRAME_S

EARLY_S = 0.5 / HZ  # of a frame before the start of its trial
SAME_RATE = 0.01  # relative; a refresh of the monitor is no more exact over a short trial
SAME_INTERVAL = 0.5  # of an interval, by which one at 30 Hz is shorter or longer


class Stimulus:
    """Frames with times, or clips that begin with a trial; ``of_trial`` has those of one trial."""

    def __init__(self, stream: Signal | None, clips: Mapping[str, Any], size: tuple[int, int], fit: str):
        self._stream, self._clips, self._size, self._fit = stream, clips, size, fit
        self._clip = functools.lru_cache(4)(self._read_clip)

    def signals(self) -> Iterable[tuple[str, Signal]]:
        """The frames with times, if it has them, by name."""
        return [] if self._stream is None else [("stimulus", self._stream)]

    def of_trial(self, trial: Any) -> tuple[np.ndarray, np.ndarray]:
        """Frames ``[n, H, W]`` uint8 of a row of trials, and their times ``[n]`` in seconds.

        Frames with times of their own that come at 30 Hz (by 1 %, none of them twice as long as that) are taken one for
        one, at these times. Other rates are shown until the next frame comes, at 30 Hz from the first one on. The last
        frame of a trial stays until the next one of the stimulus, or until the trial's stop.

        Raises:
            DataError: the trial has no frames, or stops hours after its last one.
        """
        if self._stream is None:
            frames = self._clip(trial.clip)[: max(1, round((trial.stop - trial.start) * HZ))]
            return frames, trial.start + np.arange(len(frames)) / HZ
        all_times = self._stream.times
        first, last = np.searchsorted(all_times, [trial.start - EARLY_S, trial.stop - EARLY_S])
        if first == last:
            raise DataError(
                f"trial {trial.Index} from {trial.start:.3f} to {trial.stop:.3f} s has no frames of the stimulus, "
                f"which run from {all_times[0]:.3f} to {all_times[-1]:.3f} s. Leave it out of trials, or "
                "correct the times."
            )
        times, frames = all_times[first:last], np.asarray(self._stream.values[first:last])
        stop = trial.stop if last == len(all_times) else min(trial.stop, all_times[last])
        if stop - times[-1] > LONGEST_FRAME_S:
            raise DataError(
                f"trial {trial.Index} stops at {trial.stop:.3f} s, {stop - times[-1]:.0f} s after its last frame of "
                "the stimulus. Correct its stop."
            )
        intervals = np.diff(times) * HZ
        one_for_one = len(times) > 1 and abs(intervals.mean() - 1) < SAME_RATE and _near(intervals, SAME_INTERVAL)
        video = fit_frames(
            frames,
            size=self._size,
            fit=self._fit,
            times_s=None if one_for_one else times,
            stop_s=None if one_for_one else stop,
            name="stimulus",
        )
        if one_for_one:
            fitted, more = _as_bytes(video.frames), max(0, round((stop - times[-1]) * HZ) - 1)
            if more:
                fitted = np.concatenate([fitted, np.repeat(fitted[-1:], more, axis=0)])
            return fitted, np.append(times, times[-1] + np.arange(1, more + 1) / HZ)
        most = max(1, round((trial.stop - times[0]) * HZ))
        fitted = _as_bytes(video.frames[:most])
        return fitted, times[0] + np.arange(len(fitted)) / HZ

    def _read_clip(self, name: str) -> np.ndarray:
        clip = self._clips[name]
        if isinstance(clip, str | os.PathLike):
            return _as_bytes(read_video(clip, size=self._size, fit=self._fit).frames)
        return _as_bytes(fit_frames(clip, size=self._size, fit=self._fit, name=f"stimulus[{name!r}]").frames)


def checked_stimulus(stimulus: Any, trials: pd.DataFrame, size: tuple[int, int], fit: str) -> Stimulus:
    """A stimulus that has what the trials show.

    Raises:
        TypeError, ValueError: it is something else, or lacks a clip.
    """
    if not isinstance(stimulus, Mapping):
        stream = checked_signal("stimulus", stimulus)
        check_array(Path("stimulus"), stream.values)
        return Stimulus(stream, {}, size, fit)
    clips = {str(name): clip for name, clip in stimulus.items()}
    missing = [clip for clip in trials["clip"].unique() if clip not in clips]
    if missing:
        raise ValueError(
            f"stimulus lacks the clips {checks.shown(missing)}, which trials name; it has {checks.shown(list(clips))}."
        )
    return Stimulus(None, clips, size, fit)


def _near(intervals: np.ndarray, share: float) -> bool:
    return bool((abs(intervals - 1) < share).all())


def _as_bytes(frames: np.ndarray) -> np.ndarray:
    return frames if frames.dtype == np.uint8 else np.round(np.asarray(frames) * 255).astype(np.uint8)
