"""Files of a recording, one ``.npy`` for each trial and kind, and what must be true of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from fnn_jax.model.parameters import indented

STIMULI, EYE, BEHAVIOUR, RESPONSES = "stimuli", "perspectives", "modulations", "units"
ARRAYS = (STIMULI, EYE, BEHAVIOUR, RESPONSES)
TRACES = {EYE: ("pupil x", "pupil y"), BEHAVIOUR: ("pupil radius", "treadmill velocity")}


class DataError(ValueError):
    """Recordings that cannot be used; the message names the files and the remedy."""


def require(problems: Iterable[str], directory: Path, remedy: str) -> None:
    """Raise a ``DataError`` that lists the problems, if there are any."""
    problems = list(problems)
    if problems:
        raise DataError(f"{directory} cannot be used:\n{indented(problems)}\n{remedy}")


def list_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The ``.npy`` files of a folder by name, and what else is there. Hidden files do not count."""
    files, problems = {}, []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix == ".npy" and path.is_file():
            files[path.stem] = path
        else:
            problems.append(f"not a .npy file: {folder.name}/{path.name}")
    return files, problems


def open_array(path: Path) -> np.ndarray:
    """The array of a file, mapped into memory: nothing is read yet.

    Raises:
        DataError: the file is damaged, or holds Python objects.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}. It is damaged, or no array of numbers.") from error


def shape_problems(where: str, shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> list[str]:
    """What is wrong with shapes and types of one trial, given those of its arrays; ``where`` names the trial."""
    problems = []
    shape, dtype = shapes[STIMULI]
    if len(shape) != 4 or shape[3] != 1:
        remedy = ": add the channel axis, frames[..., None]" if len(shape) == 3 else ""
        problems.append(f"shape of {STIMULI}/{where}: {list(shape)}, expected [frames, height, width, 1]{remedy}")
    if dtype != np.uint8:
        problems.append(f"dtype of {STIMULI}/{where}: {dtype}, expected uint8")
    for name in TRACES:
        shape, dtype = shapes[name]
        if len(shape) != 2 or shape[1] != 2:
            problems.append(f"shape of {name}/{where}: {list(shape)}, expected [frames, 2]: {', '.join(TRACES[name])}")
        problems += _not_floats(name, where, dtype)
    shape, dtype = shapes[RESPONSES]
    if len(shape) != 2 or 0 in shape:
        problems.append(f"shape of {RESPONSES}/{where}: {list(shape)}, expected [frames, units]")
    problems += _not_floats(RESPONSES, where, dtype)
    frames = {name: shape[0] if shape else 0 for name, (shape, _) in shapes.items()}
    if len(set(frames.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in frames.items())
        problems.append(f"frames of {where}: {counts}; expected the same number in each")
    return problems


def _not_floats(name, where, dtype):
    return [] if dtype.kind == "f" else [f"dtype of {name}/{where}: {dtype}, expected float32"]
