"""Files of arrays: npz, with any names, and with the SHA-256 of everything in them; and what users give as .npy."""

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from fnn_jax.common.files import whole_file

SEAL = "sha256"
TRIES, PAUSE_S = 20, 0.02  # of a header
Read = TypeVar("Read")


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], identity: Any) -> None:
    """Write arrays by name, whole or not at all, sealed together with what they are of, as a JSON value."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    write_npz(path, {**arrays, SEAL: np.array(_seal(arrays, identity))})


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """What ``numpy.savez`` writes, whole or not at all, and of arrays of any name: also ``file``, and ``a/b``."""
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_array(name: str, path: str | os.PathLike) -> np.ndarray:
    """An array of numbers that a user gives as a .npy file.

    Raises:
        OSError: there is no such file. TypeError, ValueError: it is something else; ``name`` is that of the argument.
    """
    path = Path(path).expanduser()
    try:
        array = header_read(lambda: _load(path))
    except OSError as error:
        raise type(error)(f"{name} is {path}, which cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # NumPy raises many kinds
        raise ValueError(f"{name} is {path}, which is no .npy of numbers, or is damaged: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{name} is {path}, which holds several arrays; expected .npy, with one.")
    return array


def map_array(path: Path, mode: Literal["r", "r+"] = "r") -> np.memmap:
    """The array of a .npy file, mapped into memory: nothing but its header is read.

    Raises:
        OSError: the file cannot be opened. ValueError: it is damaged, of another format, or holds Python objects.
    """
    try:
        return header_read(lambda: np.lib.format.open_memmap(path, mode=mode))
    except (OSError, ValueError):
        raise
    except Exception as error:  # NumPy reads the header as Python code, and raises what that raises
        raise ValueError(f"its header is damaged ({type(error).__name__}: {error})") from error


def load_arrays(path: Path, identity: Any, error: type[ValueError], remedy: str) -> dict[str, np.ndarray]:
    """What ``save_arrays`` wrote.

    Raises:
        ``error``: the file is damaged, or of something else; the message ends in ``remedy``.
    """
    try:
        arrays = header_read(lambda: load_members(path))
        whole = arrays.pop(SEAL).item() == _seal(arrays, identity)
    except Exception as problem:  # zipfile, zlib and NumPy raise many kinds
        raise error(f"{path} is damaged ({type(problem).__name__}: {problem}). {remedy}") from problem
    if not whole:
        raise error(f"{path} is damaged, or of something else: it differs from its SHA-256. {remedy}")
    return arrays


def header_read(read: Callable[[], Read]) -> Read:
    """What ``read`` returns, tried again where Python fails and not the file.

    NumPy reads a header as Python code. Some versions of Python, 3.11.7 for one, count the depth of such code for all
    threads together, and where two read at once, one may fail with a SystemError: seen in a training.
    """
    for _ in range(TRIES - 1):
        try:
            return read()
        except SystemError:
            time.sleep(PAUSE_S)
    return read()


def _load(path: Path) -> Any:
    with open(path, "rb") as file:
        return np.load(file, allow_pickle=False)


def load_members(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of an .npz, none of which may need pickle: all, or those of some names."""
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as members:
        return {name: members[name] for name in (members if names is None else names)}


def member_names(path: Path) -> list[str]:
    """Of the arrays of an .npz, of which none is read."""
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def load_row(path: Path, name: str, row: int) -> np.ndarray:
    """``array[row]`` of one array of an .npz, of which no other part is kept in memory.

    Raises:
        ValueError: the file is damaged, or the array has no such row, or needs pickle.
    """
    try:
        return header_read(lambda: _read_row(path, name, row))
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise ValueError(f"{path}: row {row} of the array {name!r} cannot be read ({error}).") from error


def _read_row(path: Path, name: str, row: int) -> np.ndarray:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(file)
        if not 0 <= row < shape[0]:
            raise ValueError(f"its shape is {list(shape)}")
        if is_fortran:  # a row lies in many places
            return load_members(path, [name])[name][row]
        count = int(np.prod(shape[1:]))
        file.seek(file.tell() + row * count * dtype.itemsize)
        return np.frombuffer(file.read(count * dtype.itemsize), dtype).reshape(shape[1:])


def array_digest(array: np.ndarray) -> bytes:
    """SHA-256 of an array: its dtype, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _seal(arrays: Mapping[str, np.ndarray], identity: Any) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + array_digest(arrays[name]))
    return digest.hexdigest()
