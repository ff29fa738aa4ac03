"""A recording to train on: ``{training,samples,stimuli,perspectives,modulations,units}/<trial>.npy``."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from fnn_jax.common.checks import integer
from fnn_jax.data.recordings import (
    ARRAYS,
    BEHAVIOUR,
    EYE,
    RESPONSES,
    STIMULI,
    TRACES,
    DataError,
    list_files,
    open_array,
    require,
    shape_problems,
)

FOLDERS = ("training", "samples", *ARRAYS)
# A z-scored trace and responses divided by their mean come close to these; what is far off has another scale.
MOST_MEAN, LEAST_STD, MOST_STD = 0.5, 0.3, 3.0
MEAN_RESPONSES = (0.7, 1.4)


class Values(NamedTuple):
    """What a look at every number of a recording gave.

    Attributes:
        missing: for each trial, the frames where a trace of eye or behaviour is NaN, ``[frames]``.
        traces: table of the four traces over the training set: mean, std, missing (fraction of frames).
        responses: mean of each unit over the training set, ``[U]``.
        missing_responses: how many numbers are NaN.
        fingerprint: a hash of all of it.
    """

    missing: dict[str, np.ndarray]
    traces: pd.DataFrame
    responses: np.ndarray
    missing_responses: int
    fingerprint: str

    def scaling_problems(self) -> list[str]:
        """Traces that are not z-scored, and responses that are not divided by their training-set mean."""
        problems = []
        for name, row in self.traces.iterrows():
            if not (abs(row["mean"]) <= MOST_MEAN and LEAST_STD <= row["std"] <= MOST_STD):
                problems.append(
                    f"scale of {name}: mean {row['mean']:.3g}, standard deviation {row['std']:.3g} over the training "
                    "set; expected about 0 and 1 (z-scored)"
                )
        middle = float(np.median(self.responses))
        if not MEAN_RESPONSES[0] <= middle <= MEAN_RESPONSES[1]:
            problems.append(
                f"scale of {RESPONSES}: the mean over the training set is {middle:.3g} for the median unit; expected 1 "
                "(each unit divided by its mean)"
            )
        return problems


class TrainingData:
    """Trials of one scan, read from disk window by window.

    Args:
        directory: holds the folders ``training, samples, stimuli, perspectives, modulations, units`` with the same
            file names in each; see docs/training.md.
        max_items: only so many trials, in the order of their names.

    Attributes:
        trials: pandas table by name: ``training`` (else validation), ``frames``.
        num_units, size: of the responses; height and width of the frames.

    Raises:
        DataError: files are missing or differ in name, or shapes and types are not those of the layout; all problems
            are listed. Values are looked at by ``values``.
    """

    def __init__(self, directory: str | os.PathLike, max_items: int | None = None):
        self.directory = Path(directory).expanduser().absolute()
        _require_folders(self.directory)
        files, problems = {}, []
        for folder in FOLDERS:
            files[folder], others = list_files(self.directory / folder)
            problems += others
        names = sorted(set().union(*files.values()))
        for folder in FOLDERS:
            problems += [f"missing: {folder}/{name}.npy" for name in names if name not in files[folder]]
        require(problems, self.directory, "Each trial needs a file of the same name in all six folders.")
        if not names:
            raise DataError(f"{self.directory} holds no trials; expected files such as {STIMULI}/trial0.npy.")
        if max_items is not None:
            max_items = integer("max_items", max_items)
            names = names[:max_items]
        self.is_part = max_items is not None
        self._files = {folder: {name: files[folder][name] for name in names} for folder in FOLDERS}
        self.trials, self.num_units, self.size = self._check_shapes(names)
        self._values: Values | None = None

    def __repr__(self) -> str:
        training = int(self.trials["training"].sum())
        return (
            f"TrainingData({str(self.directory)!r}: {training} training and {len(self.trials) - training} validation "
            f"trials, {self.trials['frames'].sum()} frames of {self.size[0]} x {self.size[1]}, {self.num_units} units)"
        )

    def _check_shapes(self, names):
        sizes: dict[str, dict[Any, Any]]
        rows, problems, sizes = [], [], {RESPONSES: {}, STIMULI: {}}
        for name in names:
            shapes = {}
            for folder in ARRAYS:
                array = open_array(self._files[folder][name])
                shapes[folder] = (array.shape, array.dtype)
            wrong = shape_problems(f"{name}.npy", shapes)
            training, samples = (self._scalar(folder, name, wrong) for folder in FOLDERS[:2])
            frames = shapes[STIMULI][0][0] if shapes[STIMULI][0] else 0
            if not wrong and samples != frames:
                wrong.append(f"frames of {name}.npy: samples says {samples}, the arrays have {frames}")
            if not wrong:
                sizes[RESPONSES].setdefault(shapes[RESPONSES][0][1], []).append(name)
                sizes[STIMULI].setdefault(shapes[STIMULI][0][1:3], []).append(name)
            problems += wrong
            rows.append((name, bool(training), frames))
        for folder, found in sizes.items():
            if len(found) > 1:
                usual = max(found, key=lambda size: len(found[size]))
                for size, those in found.items():
                    what = "units" if folder == RESPONSES else "frame size"
                    problems += [f"{what} of {folder}/{n}.npy: {size}, others have {usual}" for n in those[:12]] * (
                        size != usual
                    )
        require(problems, self.directory, "Write these files again; docs/training.md describes the layout.")
        trials = pd.DataFrame(rows, columns=["trial", "training", "frames"]).set_index("trial")
        if not trials["training"].any():
            raise DataError(f"{self.directory} has no training trials: training/*.npy is False in all of them.")
        return trials, next(iter(sizes[RESPONSES])), next(iter(sizes[STIMULI]))

    def _scalar(self, folder, name, wrong):
        array = open_array(self._files[folder][name])
        kinds = "bu" if folder == "training" else "iu"
        is_flag = folder == "training" and array.dtype.kind in "iu" and array.size == 1 and int(array.item()) in (0, 1)
        if array.size != 1 or not (array.dtype.kind in kinds or is_flag):
            what = "one bool" if folder == "training" else "one integer"
            wrong.append(f"content of {folder}/{name}.npy: {array.dtype} {list(array.shape)}, expected {what}")
            return 0
        return array.item()

    def read(
        self, trial: str, start: int = 0, stop: int | None = None, kinds: Sequence[str] = ARRAYS
    ) -> dict[str, np.ndarray]:
        """Frames ``start`` to ``stop`` of a trial: ``stimuli, perspectives, modulations, units``, as on disk."""
        return {kind: np.array(open_array(self._files[kind][trial])[start:stop]) for kind in kinds}

    def values(self, progress: bool | None = None) -> Values:
        """Look at every number, once.

        Raises:
            DataError: infinite numbers, negative responses, or units without a single response; all are listed.
        """
        if self._values is None:
            self._values = self._look(progress)
        return self._values

    def _look(self, progress):
        digest, problems, missing, missing_responses = hashlib.blake2b(digest_size=16), [], {}, 0
        moments = {name: np.zeros((3, 2)) for name in TRACES}  # count, sum, sum of squares of each trace
        frames_seen = {name: np.zeros(2) for name in TRACES}
        response_sum, response_count = np.zeros(self.num_units), np.zeros(self.num_units)
        for trial in tqdm(self.trials.index, desc="look at data", unit="trial", disable=_quiet(progress)):
            arrays = self.read(trial)
            training = self.trials.at[trial, "training"]
            digest.update(f"{trial} {training}".encode())
            bad = np.zeros(len(arrays[STIMULI]), bool)
            for name, array in arrays.items():
                digest.update(f"{name} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
                if name != STIMULI and np.isinf(array).any():
                    problems.append(f"infinite: {name}/{trial}.npy")
            for name in TRACES:
                trace, nan = np.float64(arrays[name]), np.isnan(arrays[name])
                bad |= nan.any(1)
                if training:
                    trace = np.where(nan, 0, trace)
                    moments[name] += [(~nan).sum(0), trace.sum(0), (trace**2).sum(0)]
                    frames_seen[name] += len(trace)
            missing[trial] = bad
            responses = arrays[RESPONSES]
            if (responses < 0).any():
                problems.append(f"negative: {RESPONSES}/{trial}.npy (down to {np.nanmin(responses):.3g})")
            absent = np.isnan(responses)
            missing_responses += int(absent.sum())
            if training:
                response_sum += np.where(absent, 0, responses).sum(0, dtype=np.float64)
                response_count += (~absent).sum(0)
        silent = np.flatnonzero(response_sum <= 0)
        if len(silent):
            shown = ", ".join(map(str, silent[:8])) + (", ..." if len(silent) > 8 else "")
            problems.append(f"no response: {len(silent)} units are 0 or missing in all training trials ({shown})")
        require(problems, self.directory, "Correct these files, or leave out the units that never respond.")
        rows: dict[str, tuple[Any, ...]] = {}
        for name, labels in TRACES.items():
            count, total, squares = moments[name]
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = total / count
                std = np.sqrt(np.maximum(squares / count - mean**2, 0))
                rows |= {
                    f"{name}, {label}": (mean[i], std[i], 1 - count[i] / frames_seen[name][i])
                    for i, label in enumerate(labels)
                }
        traces = pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "std", "missing"])
        return Values(missing, traces, response_sum / response_count, missing_responses, digest.hexdigest())


def _quiet(progress: bool | None) -> bool | None:
    return None if progress is None else not progress


def _require_folders(directory: Path) -> None:
    if not directory.is_dir():
        raise DataError(f"{directory} is no folder. Give one that holds {', '.join(FOLDERS)}.")
    absent = [folder for folder in FOLDERS if not (directory / folder).is_dir()]
    if not absent:
        return
    below = [p.name for p in sorted(directory.iterdir()) if all((p / folder).is_dir() for folder in FOLDERS)]
    remedy = f" Did you mean {directory / below[0]}?" if below else ""
    if not below and {"training", "samples"} == set(absent):
        remedy = " It looks like evaluation data: docs/evaluation.md."
    raise DataError(f"{directory} lacks the folders {', '.join(absent)} of a recording to train on.{remedy}")


def windows_without(missing: np.ndarray, frames: int) -> np.ndarray:
    """Starts of windows of ``frames`` that contain none of the frames where ``missing`` is true."""
    before = np.concatenate([[0], np.cumsum(missing)])
    return np.flatnonzero(before[frames:] == before[:-frames])


def behaviour_of(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """The traces of a window with missing numbers at 0, the mean of a z-scored trace."""
    return {name: np.nan_to_num(np.float32(arrays[name]), nan=0.0) for name in (EYE, BEHAVIOUR)}
