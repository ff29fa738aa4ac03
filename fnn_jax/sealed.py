"""Files of arrays that say whether they are whole: npz with the SHA-256 of everything in them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.files import whole_file

SEAL = "sha256"


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], identity: Any) -> None:
    """Write arrays by name, whole or not at all, sealed together with what they are of, as a JSON value."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    with whole_file(path) as temporary:
        np.savez(temporary, **arrays, **{SEAL: np.array(_seal(arrays, identity))})


def load_arrays(path: Path, identity: Any, error: type[ValueError], remedy: str) -> dict[str, np.ndarray]:
    """What ``save_arrays`` wrote.

    Raises:
        ``error``: the file is damaged, or of something else; the message ends in ``remedy``.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as members:
            arrays = dict(members)
        whole = arrays.pop(SEAL).item() == _seal(arrays, identity)
    except Exception as problem:  # zipfile, zlib and NumPy raise many kinds
        raise error(f"{path} is damaged ({type(problem).__name__}: {problem}). {remedy}") from problem
    if not whole:
        raise error(f"{path} is damaged, or of something else: it differs from its SHA-256. {remedy}")
    return arrays


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
