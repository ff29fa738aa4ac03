"""Files of recordings, one ``.npy`` for each trial or repeat and kind of array, and what must be true of them."""

import dataclasses
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fnn_jax.common.arrays import map_array
from fnn_jax.model.parameters import indented

STIMULI, EYE, BEHAVIOUR, RESPONSES = "stimuli", "perspectives", "modulations", "units"
ARRAYS = (STIMULI, EYE, BEHAVIOUR, RESPONSES)
TRACES = {EYE: ("pupil x", "pupil y"), BEHAVIOUR: ("pupil radius", "treadmill velocity")}
OF_TRAINING = ("training", "samples")  # folders that training data have beside the arrays, and evaluation data lack
SHAPES = {
    STIMULI: "[frames, height, width, 1]",
    **{kind: f"[frames, 2]: {', '.join(labels)}" for kind, labels in TRACES.items()},
    RESPONSES: "[frames, units]",
}
FRAMES_AT_ONCE = 64

Files = Mapping[str, Mapping[str, Path]]  # by kind, then by the name of the trial or repeat


class DataError(ValueError):
    """Recordings that cannot be used; the message names the files and the remedy."""


Require = Callable[[Iterable[str], Path, str], None]  # as ``require``, or collects what it would raise


def require(problems: Iterable[str], directory: Path, remedy: str) -> None:
    """Raise a ``DataError`` that lists the problems, if there are any."""
    problems = list(problems)
    if problems:
        raise DataError(f"{directory} cannot be used:\n{indented(problems)}\n{remedy}")


def require_layout(directory: Path, layout: str, wrong: Callable[[Path], str]) -> None:
    """Raise a ``DataError`` unless a directory has a layout: ``wrong`` says what is wrong with its folders."""
    if not directory.is_dir():
        raise DataError(f"{directory} is no folder. Give one that holds {layout}.")
    if problem := wrong(directory):
        fitting = [path for path in entries(directory) if not wrong(path)]
        hint = f" Did you mean {fitting[0]}?" if fitting else ""
        raise DataError(f"{directory} {problem}; expected {layout}.{hint}")


def require_same_names(
    files: Files, problems: Sequence[str], directory: Path, layout: str, require: Require = require
) -> list[str]:
    """Names of the trials or repeats that each kind has; a ``DataError`` for others, and for problems so far."""
    names = sorted(set().union(*files.values()))
    missing = [f"missing: {kind}/{name}.npy" for name in names for kind in files if name not in files[kind]]
    require([*problems, *missing], directory, f"Each folder needs files of the same names; expected {layout}.")
    if not names:
        raise DataError(f"{directory} holds no .npy files; expected {layout}.")
    return [name for name in names if all(name in of_kind for of_kind in files.values())]


def present(directory: Path, folders: Iterable[str]) -> list[str]:
    """Those of the folders that are in a directory; what permissions keep from us is not."""
    return [folder for folder in folders if os.path.isdir(directory / folder)]


def lack(directory: Path, folders: Sequence[str]) -> str:
    """What a message says of a directory in which folders are missing; nothing, if none is."""
    there = present(directory, folders)
    missing = [folder for folder in folders if folder not in there]
    return f"lacks the folders {', '.join(missing)}" if missing else ""


def entries(folder: Path) -> list[Path]:
    """What is in a folder; hidden files, such as those that a Mac leaves, do not count."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def list_files(directory: Path, folder: str) -> tuple[dict[str, Path], list[str]]:
    """The ``.npy`` files of a folder by name, and what else is there."""
    files, problems = {}, []
    for path in entries(directory / folder):
        if path.suffix == ".npy" and path.is_file():
            files[path.stem] = path
        else:
            problems.append(f"not a .npy file: {folder}/{path.name}; expected nothing else here")
    return files, problems


def open_array(path: Path) -> np.ndarray:
    """The array of a file, mapped into memory: nothing is read yet.

    Raises:
        DataError: the file is damaged, of another format, or holds Python objects.
    """
    try:
        return map_array(path)
    except (OSError, ValueError) as error:
        found = str(error).rstrip(".")
        raise DataError(
            f"cannot be read: {path}: {found}; expected an array of numbers. It is damaged, or of another format."
        ) from error


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Some frames after the others, so that not all of them are in memory."""
    return (np.asarray(array[start : start + FRAMES_AT_ONCE]) for start in range(0, len(array), FRAMES_AT_ONCE))


class Sizes(NamedTuple):
    """Of recordings that are as they should be: frames by name; units; height and width of the frames.

    ``whole`` are those that fit together with most.
    """

    frames: dict[str, int]
    num_units: int
    frame_size: tuple[int, int]
    whole: list[str]


def look_at_shapes(files: Files, names: Iterable[str]) -> tuple[Sizes, list[str]]:
    """Sizes of trials or repeats, and what is wrong with those that are not as they should be."""
    frames: dict[str, int] = {}
    units: dict[str, int] = {}
    sizes: dict[str, tuple[int, int]] = {}
    problems = []
    for name in names:
        arrays, wrong = {}, []
        for kind in ARRAYS:
            try:
                arrays[kind] = open_array(files[kind][name])
            except DataError as error:
                wrong.append(str(error))
        wrong += _shape_problems(name, arrays)
        if not wrong:
            frames[name] = len(arrays[STIMULI])
            _, height, width, _ = arrays[STIMULI].shape
            sizes[f"{STIMULI}/{name}"] = (height, width)
            units[f"{RESPONSES}/{name}"] = arrays[RESPONSES].shape[1]
        problems += wrong
    problems += unequal("units", units) + unequal("frame size", sizes)
    num_units, size = _usual(units, 0), _usual(sizes, (0, 0))
    whole = [n for n in frames if units[f"{RESPONSES}/{n}"] == num_units and sizes[f"{STIMULI}/{n}"] == size]
    return Sizes(frames, num_units, size, whole), problems


def _shape_problems(name: str, arrays: Mapping[str, np.ndarray]) -> list[str]:
    problems = []
    for kind, array in arrays.items():
        file, shape, dtype = f"{kind}/{name}.npy", list(array.shape), array.dtype
        if kind == STIMULI:
            fits = len(shape) == 4 and shape[3] == 1
        else:
            fits = len(shape) == 2 and (kind == RESPONSES or shape[1] == 2)
        if not fits or 0 in shape:
            remedy = ": add the channel axis, frames[..., None]" if kind == STIMULI and len(shape) == 3 else ""
            problems.append(f"shape of {file}: {shape}, expected {SHAPES[kind]}{remedy}")
        if not (dtype == np.uint8 if kind == STIMULI else dtype.kind == "f"):
            problems.append(f"dtype of {file}: {dtype}, expected {'uint8' if kind == STIMULI else 'float32'}")
    frames = {kind: len(array) for kind, array in arrays.items() if array.ndim}
    if len(set(frames.values())) > 1:
        counts = ", ".join(f"{kind} {count}" for kind, count in frames.items())
        problems.append(f"frames of {name}.npy: {counts}; expected the same number in each")
    return problems


def unequal(what: str, sizes: Mapping[str, Any], others: str = "others") -> list[str]:
    """Files, named without ``.npy``, whose size is not that of most."""
    usual = _usual(sizes, None)
    return [f"{what} of {file}.npy: {size}, {others} have {usual}" for file, size in sizes.items() if size != usual]


def _usual(sizes: Mapping[str, Any], nothing: Any) -> Any:
    return statistics.mode(sizes.values()) if sizes else nothing


@dataclasses.dataclass
class Tally:
    """Numbers of one file, counted piece by piece: which are missing (NaN), infinite, or negative responses."""

    kind: str
    name: str
    size: int = 0
    missing: int = 0
    infinite: int = 0
    negative: int = 0
    lowest: float = 0.0

    def add(self, piece: np.ndarray) -> None:
        """Count some frames, too."""
        self.size += piece.size
        self.missing += int(np.isnan(piece).sum())
        self.infinite += int(np.isinf(piece).sum())
        if self.kind == RESPONSES:
            below = piece < 0
            self.negative += int(below.sum())
            self.lowest = min(self.lowest, float(piece.min(initial=0, where=below)))

    def problems(self) -> list[str]:
        """What is wrong with the numbers; that some are missing is not."""
        file, problems = f"{self.kind}/{self.name}.npy", []
        if self.infinite:
            problems.append(
                f"infinite: {file}: {self.infinite} of {self.size} numbers; expected NaN for what is missing"
            )
        if self.negative:
            problems.append(
                f"negative: {file}: {self.negative} of {self.size} responses (down to {self.lowest:.3g}); expected 0 "
                "or more"
            )
        return problems
