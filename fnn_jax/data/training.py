"""A recording to train on: ``{training,samples,stimuli,perspectives,modulations,units}/<trial>.npy``."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fnn_jax.common.checks import integer, path
from fnn_jax.common.progress import progress_bar
from fnn_jax.data.recordings import (
    ARRAYS,
    BEHAVIOUR,
    EYE,
    OF_TRAINING,
    RESPONSES,
    STIMULI,
    TRACES,
    DataError,
    Require,
    Tally,
    lack,
    list_files,
    look_at_shapes,
    open_array,
    pieces,
    present,
    require,
    require_layout,
    require_same_names,
)

FOLDERS = (*OF_TRAINING, *ARRAYS)
LAYOUT = f"training data, DIR/{{{','.join(FOLDERS)}}}/TRIAL.npy: docs/training.md"
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

    def absent(self) -> list[str]:
        """Traces that are 0 everywhere, as those are which were not recorded."""
        is_zero = (self.traces[["mean", "std", "missing"]] == 0).all(axis=1)
        return list(self.traces.index[is_zero])

    def scaling_problems(self) -> list[str]:
        """Traces that are not z-scored, and responses that are not divided by their training-set mean."""
        problems = []
        for name, row in self.traces.iterrows():
            if name in self.absent():
                continue
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
        self._open(directory, max_items, require)

    @classmethod
    def whole_trials(cls, directory: str | os.PathLike, problems: list[str]) -> "TrainingData":
        """The trials that nothing is wrong with; what is wrong with others, and found later, is appended to a list.

        Raises:
            DataError: there is none, or no recording.
        """
        data = cls.__new__(cls)
        data._open(directory, None, lambda found, *_: problems.extend(found))
        return data

    def _open(self, directory: str | os.PathLike, max_items: int | None, require: Require) -> None:
        self._require = require
        self.directory = path("directory", directory).absolute()
        if max_items is not None:
            max_items = integer("max_items", max_items)
        require_layout(self.directory, LAYOUT, _wrong_folders)
        self._files: dict[str, dict[str, Path]] = {}
        problems: list[str] = []
        for folder in FOLDERS:
            self._files[folder], others = list_files(self.directory, folder)
            problems += others
        names = require_same_names(self._files, problems, self.directory, LAYOUT, require)[:max_items]
        self.is_part = max_items is not None
        self.trials, self.num_units, self.size = self._check_shapes(names)
        self._values: Values | None = None

    def __repr__(self) -> str:
        training = int(self.trials["training"].sum())
        return (
            f"TrainingData({str(self.directory)!r}: {training} training and {len(self.trials) - training} validation "
            f"trials, {self.trials['frames'].sum()} frames of {self.size[0]} x {self.size[1]}, {self.num_units} units)"
        )

    def _check_shapes(self, names):
        sizes, problems = look_at_shapes(self._files, names)
        rows = []
        for name in names:
            before, training = len(problems), self._scalar("training", name, problems)
            samples, frames = self._scalar("samples", name, problems), sizes.frames.get(name)
            if None not in (samples, frames) and samples != frames:
                problems.append(f"frames of {name}.npy: samples says {samples}, the arrays have {frames}")
            if len(problems) == before and name in sizes.whole:
                rows.append((name, bool(training), frames))
        self._require(problems, self.directory, "Write these files again; docs/training.md describes the layout.")
        if not any(training for _, training, _ in rows):
            raise DataError(f"{self.directory} has no training trials: training/*.npy is False in all of them.")
        trials = pd.DataFrame(rows, columns=["trial", "training", "frames"]).set_index("trial")
        return trials, sizes.num_units, sizes.frame_size

    def _scalar(self, folder, name, problems):
        try:
            array = open_array(self._files[folder][name])
        except DataError as error:
            problems.append(str(error))
            return None
        kinds = "bu" if folder == "training" else "iu"
        is_flag = folder == "training" and array.dtype.kind in "iu" and array.size == 1 and int(array.item()) in (0, 1)
        if array.size != 1 or not (array.dtype.kind in kinds or is_flag):
            what = "one bool" if folder == "training" else "one integer"
            problems.append(f"content of {folder}/{name}.npy: {array.dtype} {list(array.shape)}, expected {what}")
            return None
        return array.item()

    def read(
        self, trial: str, start: int = 0, stop: int | None = None, kinds: Sequence[str] = ARRAYS
    ) -> dict[str, np.ndarray]:
        """Frames ``start`` to ``stop`` of a trial: ``stimuli, perspectives, modulations, units``, as on disk."""
        return {kind: np.array(open_array(self._files[kind][trial])[start:stop]) for kind in kinds}

    def values(self, progress: bool | None = None) -> Values:
        """Look at every number, once.

        Args:
            progress: show a progress bar; None: in terminals and notebooks.

        Raises:
            DataError: infinite numbers, negative responses, or units without a single response; all are listed.
        """
        if self._values is None:
            self._values = self._look(progress)
        return self._values

    def _look(self, progress):
        digest, problems, missing, missing_responses = hashlib.blake2b(digest_size=16), [], {}, 0
        columns = {**{kind: len(labels) for kind, labels in TRACES.items()}, RESPONSES: self.num_units}
        # Of each column over the training set: frames, those that are not missing, their sum, their sum of squares.
        sums = {kind: np.zeros((4, count)) for kind, count in columns.items()}
        for trial in progress_bar(progress, "look at data", "trial", over=self.trials.index):
            training = self.trials.at[trial, "training"]
            digest.update(f"{trial} {training}".encode())
            missing[trial] = np.zeros(self.trials.at[trial, "frames"], bool)
            for kind in ARRAYS:
                array, tally, incomplete = open_array(self._files[kind][trial]), Tally(kind, trial), []
                digest.update(f"{kind} {array.dtype} {array.shape}".encode())
                for piece in pieces(array):
                    digest.update(np.ascontiguousarray(piece).data)
                    if kind == STIMULI:
                        continue
                    tally.add(piece)
                    incomplete.append(np.isnan(piece).any(1))
                    if training:
                        sums[kind] += _sums(piece)
                problems += tally.problems()
                if kind in TRACES:
                    missing[trial] |= np.concatenate(incomplete)
                missing_responses += tally.missing if kind == RESPONSES else 0
        _, count, total, _ = sums[RESPONSES]
        silent = np.flatnonzero(total <= 0)
        if len(silent):
            shown = ", ".join(map(str, silent[:8])) + (", ..." if len(silent) > 8 else "")
            problems.append(f"no response: {len(silent)} units are 0 or missing in all training trials ({shown})")
        self._require(problems, self.directory, "Correct these files, or leave out the units that never respond.")
        means = total / np.maximum(count, 1)
        return Values(missing, _table(sums), means, missing_responses, digest.hexdigest())


def _sums(piece: np.ndarray) -> np.ndarray:
    finite = np.isfinite(piece)
    values = np.where(finite, piece, 0).astype(np.float64)
    return np.stack([np.full(piece.shape[1], len(piece)), finite.sum(0), values.sum(0), np.square(values).sum(0)])


def _table(sums: dict[str, np.ndarray]) -> pd.DataFrame:
    rows: dict[str, tuple[Any, ...]] = {}
    for kind, labels in TRACES.items():
        frames, count, total, squares = sums[kind]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / count
            std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        rows |= {f"{kind}, {label}": row for label, *row in zip(labels, mean, std, 1 - count / frames, strict=True)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "std", "missing"])


def _wrong_folders(directory: Path) -> str:
    is_evaluation = not lack(directory, ARRAYS) and not present(directory, OF_TRAINING)
    return lack(directory, FOLDERS) + (", as evaluation data do (docs/evaluation.md)" if is_evaluation else "")


def windows_without(missing: np.ndarray, frames: int) -> np.ndarray:
    """Starts of windows of ``frames`` that contain none of the frames where ``missing`` is true."""
    before = np.concatenate([[0], np.cumsum(missing)])
    return np.flatnonzero(before[frames:] == before[:-frames])


def behaviour_of(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """The traces of a window with missing numbers at 0, the mean of a z-scored trace."""
    return {name: np.nan_to_num(np.float32(arrays[name]), nan=0.0) for name in (EYE, BEHAVIOUR)}
