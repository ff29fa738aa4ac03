"""Is a recording fit to train on, or to evaluate with? A report, before anything is computed."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fnn_jax.common.checks import integer, path
from fnn_jax.common.progress import checked_progress
from fnn_jax.common.rate import HZ
from fnn_jax.data.evaluation import EvaluationData
from fnn_jax.data.recordings import ARRAYS, OF_TRAINING, RESPONSES, DataError, entries, present
from fnn_jax.data.training import FOLDERS, TrainingData, windows_without


class Report(NamedTuple):
    """What was found: lines to read, and problems, which are reasons not to use it."""

    lines: list[str]
    problems: list[str]


def check(directory: str | os.PathLike, window_frames: int = 100, progress: bool | None = None) -> Report:
    """Look at all files of a recording, or of all recordings in a folder.

    Args:
        directory: training data, evaluation data, or a folder that holds such folders.
        window_frames: for which the windows are counted.
        progress: show a progress bar; None: in terminals and notebooks.

    Raises:
        DataError: there is no recording.
        TypeError, ValueError: the window is no length, the directory no path, or ``progress`` something else.
    """
    checked_progress(progress)
    directory = path("directory", directory).absolute()
    window_frames = integer("window_frames", window_frames)
    if not directory.is_dir():
        raise DataError(f"{directory} is no folder.")
    if not _looks_like_data(directory):
        below = [folder for folder in entries(directory) if _looks_like_data(folder)]
        if not below:
            raise DataError(
                f"{directory} holds no recording: no folders {', '.join(FOLDERS)}, and none below. docs/training.md "
                "describes the layout."
            )
        reports = [check(folder, window_frames, progress) for folder in below]
        return Report([line for report in reports for line in report.lines], [p for r in reports for p in r.problems])
    problems: list[str] = []
    try:
        if present(directory, OF_TRAINING):
            lines = _training(TrainingData.whole_trials(directory, problems), window_frames, progress, problems)
        else:
            lines = _evaluation(EvaluationData.whole_repeats(directory, problems))
    except DataError as error:
        problems = problems or [str(error)]
        lines = [f"{directory}: cannot be used"]
    return Report(lines, [f"{directory}: {problem}" for problem in problems])


def _looks_like_data(directory: Path) -> bool:
    return len(present(directory, ARRAYS)) > 1


def _training(data: TrainingData, window_frames: int, progress: bool | None, problems: list[str]) -> list[str]:
    """Lines about the trials that can be used; more problems are appended."""
    values = data.values(progress)
    trials, frames = data.trials, int(data.trials["frames"].sum())
    lengths = f"trials of {trials['frames'].min()} to {trials['frames'].max()} frames"
    lines = [repr(data), f"  {frames / HZ / 60:.1f} minutes at 30 Hz; {lengths}"]
    table = values.traces.to_string(float_format="{:.3f}".format)
    lines += ["  " + line for line in table.splitlines()]
    lines += [f"  {name} is 0 everywhere: taken as not recorded" for name in values.absent()]
    low, middle, high = np.percentile(values.responses, [5, 50, 95])
    spread = f"{middle:.3f} for the median unit (5 to 95 %: {low:.3f} to {high:.3f})"
    lines.append(f"  {RESPONSES}: mean over the training set {spread}")
    if values.missing_responses:
        part = values.missing_responses / (frames * data.num_units)
        lines.append(f"  {RESPONSES}: {part:.2%} of the numbers are missing (NaN); the loss leaves them out")
    bad = {trial: missing for trial, missing in values.missing.items() if missing.any()}
    if bad:
        count = sum(int(missing.sum()) for missing in bad.values())
        lines.append(f"  behaviour is missing in {count} frames ({count / frames:.2%}) of {len(bad)} trials")
    problems += values.scaling_problems()
    long_enough = trials["frames"] >= window_frames
    if not long_enough.all():
        problems.append(f"{(~long_enough).sum()} trials are shorter than a window of {window_frames} frames")
    whole = sum(max(0, n - window_frames + 1) for n in trials["frames"])
    clean = sum(len(windows_without(values.missing[t], window_frames)) for t in trials.index[long_enough])
    lines.append(f"  windows of {window_frames} frames: {whole}, of which {clean} without missing behaviour")
    if trials["training"].all():
        lines.append("  no validation trials: the best epoch will be judged by the training objective")
    return lines


def _evaluation(data: EvaluationData) -> list[str]:
    lines = [repr(data)]
    if data.num_missing:
        part = data.num_missing / data.num_behaviour
        lines.append(f"  behaviour: {part:.2%} of the numbers are missing (NaN)")
    if data.num_missing_responses:
        lines.append(
            f"  {RESPONSES}: {data.num_missing_responses} numbers are missing (NaN); the measures leave them out"
        )
    return lines
