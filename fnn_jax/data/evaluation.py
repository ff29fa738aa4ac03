"""Recordings of repeated presentations, in the layout of the released code, read as they are."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fnn_jax.data.recordings import ARRAYS as FOLDERS
from fnn_jax.data.recordings import DataError

LAYOUT = "DIR/{stimuli,perspectives,modulations,units}/VIDEO/REPEAT.npy"
TRAINING = ("training", "samples")  # folders that training data have, and evaluation data do not
MISSING = ("mean", "error")
SHOWN = 12  # problems that a message lists
FRAMES_AT_ONCE = 64


class Repeat(NamedTuple):
    """One presentation: frames ``[n, H, W, 1]`` uint8, pupil position and behaviour ``[n, 2]``, responses ``[n, U]``.

    ``missing`` counts the numbers of behaviour that were NaN and are 0 now.
    """

    name: str
    stimuli: np.ndarray
    perspectives: np.ndarray
    modulations: np.ndarray
    units: np.ndarray
    missing: int


class EvaluationData:
    """Responses to videos that were shown several times.

    They lie in ``DIR/{stimuli,perspectives,modulations,units}/VIDEO/REPEAT.npy``::

        stimuli       [n, H, W, 1]  uint8, frames at 30 Hz
        perspectives  [n, 2]        floats, pupil position x, y; z-scored over the training set; NaN is missing
        modulations   [n, 2]        floats, pupil radius and treadmill velocity, likewise
        units         [n, U]        floats, responses as the twin was trained on; NaN is missing

    Videos and repeats are in the order of their names, as the released code reads them (``repeat10`` before
    ``repeat2``). Everything is looked at when the object is made, without holding more than a few frames; arrays are
    read when their video's turn comes.

    Args:
        directory: the folder that holds the four.
        missing: what becomes of behaviour that is NaN: ``"mean"``, 0, which is the mean of a z-scored trace; or
            ``"error"``: it is refused.

    Attributes:
        videos: for each video the names of its repeats. num_frames: frames of each video. num_units: ``U``.
        frame_size: ``(H, W)``. num_missing: numbers of behaviour that are NaN, of all videos. num_behaviour: of how
            many. num_missing_responses: responses that are NaN. same_frames: whether all repeats of a video show the
            same.

    Raises:
        DataError: folders or files that are missing, of other shapes or dtypes, unequal lengths or numbers of units,
            responses that are infinite or negative; all of them together.

    Repeats of a video that do not show the same frames cause a warning.
    """

    def __init__(self, directory: str | os.PathLike, missing: str = "mean"):
        if missing not in MISSING:
            raise ValueError(f"missing is {missing!r}; expected one of {MISSING}.")
        self.directory, self.missing = Path(directory).expanduser().absolute(), missing
        _check_folders(self.directory)
        problems: list[str] = []
        self.videos = self._find(problems)
        _refuse(self.directory, problems)
        self.num_frames: dict[str, int] = {}
        self._check_shapes(problems)
        _refuse(self.directory, problems)
        self.num_missing = self.num_behaviour = self.num_missing_responses = 0
        self._check_values(problems)
        _refuse(self.directory, problems)
        self.same_frames: dict[str, bool] = {}
        self._compare_frames()

    def __repr__(self) -> str:
        frames = sum(self.num_frames.values())
        return (
            f"EvaluationData({self.directory.name}: {len(self.videos)} videos, {self.num_repeats} repeats, "
            f"{frames} frames, {self.num_units} units)"
        )

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def num_repeats(self) -> int:
        """Of all videos together."""
        return sum(map(len, self.videos.values()))

    def repeats(self, video: str) -> Iterator[Repeat]:
        """The repeats of a video, one after the other; responses and frames are mapped into memory."""
        for name in self.videos[video]:
            arrays = {folder: self._array(folder, video, name) for folder in FOLDERS}
            missing = 0
            for folder in ("perspectives", "modulations"):
                missing += int(np.isnan(arrays[folder]).sum())
                arrays[folder] = np.nan_to_num(np.asarray(arrays[folder], np.float32), nan=0.0)
            yield Repeat(name, **arrays, missing=missing)

    def _path(self, folder: str, video: str, repeat: str) -> Path:
        return self.directory / folder / video / f"{repeat}.npy"

    def _array(self, folder: str, video: str, repeat: str) -> np.ndarray:
        return np.load(self._path(folder, video, repeat), mmap_mode="r", allow_pickle=False)

    def _each(self) -> Iterator[tuple[str, str]]:
        return ((video, repeat) for video, repeats in self.videos.items() for repeat in repeats)

    def _find(self, problems: list[str]) -> dict[str, list[str]]:
        """Names of the videos and of their repeats, those of all four folders."""
        files: dict[str, set[tuple[str, str]]] = {folder: set() for folder in FOLDERS}
        for folder in FOLDERS:
            for video in _entries(self.directory / folder):
                if not video.is_dir():
                    problems.append(f"{folder}/{video.name} is a file; expected a folder of repeats for each video")
                    continue
                for path in _entries(video):
                    if path.suffix != ".npy":
                        problems.append(f"{folder}/{video.name}/{path.name} is no .npy file")
                    else:
                        files[folder].add((video.name, path.stem))
        everything = sorted(set().union(*files.values()))
        for video, repeat in everything:
            lacking = [folder for folder in FOLDERS if (video, repeat) not in files[folder]]
            if lacking:
                problems.append(f"{video}/{repeat}.npy is missing in {', '.join(lacking)}")
        if not everything and not problems:
            problems.append("there are no files")
        videos: dict[str, list[str]] = {}
        for video, repeat in everything:
            videos.setdefault(video, []).append(repeat)
        # As the released code: by the names of files, in which the ending counts.
        return {video: sorted(names, key=lambda name: f"{name}.npy") for video, names in videos.items()}

    def _check_shapes(self, problems: list[str]) -> None:
        sizes: dict[Any, Any]
        units: dict[Any, Any]
        lengths: dict[str, Any]
        sizes, units, lengths = {}, {}, {}
        for video, repeat in self._each():
            shapes = {}
            for folder in FOLDERS:
                try:
                    array = self._array(folder, video, repeat)
                except (ValueError, OSError, EOFError) as error:
                    problems.append(f"{folder}/{video}/{repeat}.npy cannot be read: {error}")
                    continue
                shapes[folder] = array.shape
                problem = _problem_of_array(folder, array)
                if problem:
                    problems.append(f"{folder}/{video}/{repeat}.npy {problem}")
            frames = {folder: shape[0] for folder, shape in shapes.items() if shape}
            if len(set(frames.values())) > 1:
                listed = ", ".join(f"{folder} {count}" for folder, count in frames.items())
                problems.append(f"{video}/{repeat}.npy has unequal numbers of frames: {listed}")
            if len(shapes) == len(FOLDERS) and all(shapes.values()):
                name = f"{video}/{repeat}.npy"
                lengths.setdefault(video, {}).setdefault(shapes["units"][0], name)
                sizes.setdefault(shapes["stimuli"][1:], name)
                units.setdefault(shapes["units"][1:], name)
        for video, found in lengths.items():
            if len(found) > 1:
                listed = ", ".join(f"{count} in {name}" for count, name in found.items())
                problems.append(f"repeats of {video} have unequal numbers of frames: {listed}")
            self.num_frames[video] = next(iter(found))
        for what, found in (("sizes of frames", sizes), ("numbers of units", units)):
            if len(found) > 1:
                listed = ", ".join(f"{list(shape)} in {name}" for shape, name in found.items())
                problems.append(f"unequal {what}: {listed}")
        if not problems:
            self.frame_size = next(iter(sizes))[:2]
            (self.num_units,) = next(iter(units))

    def _check_values(self, problems: list[str]) -> None:
        for video, repeat in self._each():
            for folder in ("perspectives", "modulations"):
                trace = np.asarray(self._array(folder, video, repeat))
                count = int(np.isnan(trace).sum())
                self.num_missing += count
                self.num_behaviour += trace.size
                if np.isinf(trace).any():
                    problems.append(f"{folder}/{video}/{repeat}.npy has infinite values; expected NaN for missing ones")
                if count and self.missing == "error":
                    problems.append(
                        f"{folder}/{video}/{repeat}.npy lacks {count} of {trace.size} numbers (NaN); "
                        "missing='mean' puts 0, their mean, in their place"
                    )
            infinite = negative = 0
            responses = self._array("units", video, repeat)
            for start in range(0, len(responses), FRAMES_AT_ONCE):
                some = np.asarray(responses[start : start + FRAMES_AT_ONCE])
                infinite += int(np.isinf(some).sum())
                negative += int((some < 0).sum())
                self.num_missing_responses += int(np.isnan(some).sum())
            if infinite:
                problems.append(
                    f"units/{video}/{repeat}.npy has {infinite} infinite responses; expected NaN for missing"
                )
            if negative:
                problems.append(
                    f"units/{video}/{repeat}.npy has {negative} negative responses; expected those that the twin was "
                    "trained on, which are 0 or more"
                )

    def _compare_frames(self) -> None:
        others: list[str] = []
        for video, (first, *rest) in self.videos.items():
            before = len(others)
            expected = self._array("stimuli", video, first)
            for repeat in rest:
                frames = self._array("stimuli", video, repeat)
                spans = [slice(i, i + FRAMES_AT_ONCE) for i in range(0, len(frames), FRAMES_AT_ONCE)]
                if not all(np.array_equal(frames[span], expected[span]) for span in spans):
                    others.append(f"{video}/{repeat}")
            self.same_frames[video] = len(others) == before
        if others:
            warnings.warn(
                f"{self.directory}: {_listed(others, ', ')} show other frames than the first repeat of their video. "
                "Each is predicted from its own frames, but measures over repeats take them for one stimulus.",
                stacklevel=3,
            )


def _check_folders(directory: Path) -> None:
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "does not exist"
        raise DataError(f"{directory} {what}; expected a folder {LAYOUT}.")
    inside = {path.name for path in _entries(directory)}
    if inside & set(TRAINING):
        raise DataError(
            f"{directory} holds training data (a folder {sorted(inside & set(TRAINING))[0]}); expected evaluation "
            f"data, {LAYOUT}. They lie beside each other as training_data and evaluation_data."
        )
    lacking = [folder for folder in FOLDERS if not (directory / folder).is_dir()]
    if lacking:
        near = sorted(name for name in inside if name.startswith("evaluation_data"))
        near_text = f" Did you mean {directory / near[0]}?" if near else ""
        raise DataError(f"{directory} lacks the folders {', '.join(lacking)}; expected {LAYOUT}.{near_text}")


def _problem_of_array(folder: str, array: np.ndarray) -> str:
    shape, dtype = list(array.shape), array.dtype
    expected = {"stimuli": "[n, H, W, 1] uint8", "units": "[n, U] floats"}.get(folder, "[n, 2] floats")
    if folder == "stimuli":
        fits = array.ndim == 4 and array.shape[3] == 1 and dtype == np.uint8
    else:
        fits = array.ndim == 2 and dtype.kind == "f" and (folder == "units" or array.shape[1] == 2)
    return "" if fits and array.size else f"is {shape} {dtype}; expected {expected}"


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; hidden files, such as those that a Mac leaves, do not count."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _refuse(directory: Path, problems: list[str]) -> None:
    if problems:
        listed = _listed([f"  {problem}" for problem in problems], "\n")
        raise DataError(f"{directory} cannot be evaluated ({len(problems)} problems):\n{listed}\nExpected {LAYOUT}.")


def _listed(texts: list[str], between: str) -> str:
    more = [f"... and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
    return between.join([*texts[:SHOWN], *more])
