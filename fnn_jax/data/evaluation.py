"""Recordings of repeated presentations, in the layout of the released code, read as they are."""

import itertools
import os
import statistics
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fnn_jax.common.checks import one_of, path
from fnn_jax.data.recordings import (
    ARRAYS,
    OF_TRAINING,
    RESPONSES,
    STIMULI,
    TRACES,
    Require,
    Tally,
    entries,
    lack,
    list_files,
    look_at_shapes,
    open_array,
    pieces,
    present,
    require,
    require_layout,
    require_same_names,
    unequal,
)

LAYOUT = f"evaluation data, DIR/{{{','.join(ARRAYS)}}}/VIDEO/REPEAT.npy: docs/evaluation.md"
MISSING = ("mean", "error")
MOST_SHOWN = 12  # repeats that a warning names


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
        self._open(directory, missing, require)

    @classmethod
    def whole_repeats(cls, directory: str | os.PathLike, problems: list[str]) -> "EvaluationData":
        """The repeats that nothing is wrong with; what is wrong with others is appended to a list.

        Raises:
            DataError: there is no recording.
        """
        data = cls.__new__(cls)
        data._open(directory, "mean", lambda found, *_: problems.extend(found))
        return data

    def _open(self, directory: str | os.PathLike, missing: str, require: Require) -> None:
        self._require = require
        self.missing = one_of("missing", missing, MISSING)
        self.directory = path("directory", directory).absolute()
        require_layout(self.directory, LAYOUT, _wrong_folders)
        self._files, names = _find(self.directory, require)
        self.videos: dict[str, list[str]] = {}
        # As the released code: by the names of files, in which the ending counts.
        for name in sorted(names, key=lambda name: f"{name}.npy".split("/")):
            video, repeat = name.split("/")
            self.videos.setdefault(video, []).append(repeat)
        self.num_frames, self.num_units, self.frame_size = self._check_shapes()
        self.num_missing = self.num_behaviour = self.num_missing_responses = 0
        self._check_values()
        self.same_frames = self._compare_frames()

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
            arrays = {kind: self._array(kind, f"{video}/{name}") for kind in ARRAYS}
            missing = 0
            for kind in TRACES:
                missing += int(np.isnan(arrays[kind]).sum())
                arrays[kind] = np.nan_to_num(np.asarray(arrays[kind], np.float32), nan=0.0)
            yield Repeat(name, **arrays, missing=missing)

    def _array(self, kind: str, name: str) -> np.ndarray:
        return open_array(self._files[kind][name])

    def _names(self) -> list[str]:
        return [f"{video}/{repeat}" for video, repeats in self.videos.items() for repeat in repeats]

    def _check_shapes(self) -> tuple[dict[str, int], int, tuple[int, int]]:
        sizes, problems = look_at_shapes(self._files, self._names())
        num_frames, videos = {}, {}
        for video, repeats in self.videos.items():
            frames = {name: sizes.frames[name] for repeat in repeats if (name := f"{video}/{repeat}") in sizes.frames}
            problems += unequal("frames", frames, "other repeats of the video")
            usual = statistics.mode(frames.values()) if frames else 0
            whole = [each for each in repeats if (name := f"{video}/{each}") in sizes.whole and frames[name] == usual]
            if whole:
                num_frames[video], videos[video] = usual, whole
        self._require(problems, self.directory, "Write these files again; docs/evaluation.md describes the layout.")
        self.videos = videos
        return num_frames, sizes.num_units, sizes.frame_size

    def _check_values(self) -> None:
        problems = []
        for name in self._names():
            for kind in (*TRACES, RESPONSES):
                tally = Tally(kind, name)
                for piece in pieces(self._array(kind, name)):
                    tally.add(piece)
                problems += tally.problems()
                if kind == RESPONSES:
                    self.num_missing_responses += tally.missing
                    continue
                self.num_missing += tally.missing
                self.num_behaviour += tally.size
                if tally.missing and self.missing == "error":
                    problems.append(f"NaN: {kind}/{name}.npy: {tally.missing} of {tally.size} numbers; expected none")
        remedy = "Responses are those that the twin was trained on, which are 0 or more."
        if self.missing == "error":
            remedy += " missing='mean' puts 0, their mean, in the place of behaviour that is NaN."
        self._require(problems, self.directory, f"Correct these files. {remedy}")

    def _compare_frames(self) -> dict[str, bool]:
        others: list[str] = []
        same_frames = {}
        for video, (first, *rest) in self.videos.items():
            before = len(others)
            for repeat in rest:
                both = (pieces(self._array(STIMULI, f"{video}/{each}")) for each in (first, repeat))
                if not all(itertools.starmap(np.array_equal, zip(*both, strict=True))):
                    others.append(f"{video}/{repeat}")
            same_frames[video] = len(others) == before
        if others:
            more = f" and {len(others) - MOST_SHOWN} more" if len(others) > MOST_SHOWN else ""
            warnings.warn(
                f"{self.directory}: {', '.join(others[:MOST_SHOWN])}{more} show other frames than the first repeat of "
                "their video. Each is predicted from its own frames, but measures over repeats take them for one "
                "stimulus.",
                stacklevel=3,
            )
        return same_frames


def _find(directory: Path, require: Require) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """The files of each kind, by the names of their video and repeat, and the names that all kinds have."""
    files: dict[str, dict[str, Path]] = {}
    problems = []
    for kind in ARRAYS:
        files[kind] = {}
        for video in entries(directory / kind):
            if not video.is_dir():
                problems.append(f"a file: {kind}/{video.name}; expected a folder of repeats for each video")
                continue
            repeats, others = list_files(directory, f"{kind}/{video.name}")
            files[kind] |= {f"{video.name}/{repeat}": file for repeat, file in repeats.items()}
            problems += others
    return files, require_same_names(files, problems, directory, LAYOUT, require)


def _wrong_folders(directory: Path) -> str:
    others = present(directory, OF_TRAINING)
    if others:
        return f"holds training data (a folder {others[0]}), beside which evaluation_data may lie"
    return lack(directory, ARRAYS)
