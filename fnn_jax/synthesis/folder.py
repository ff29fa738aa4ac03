"""A synthesis on disk, while it goes on."""

import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fnn_jax.common.arrays import load_arrays, save_arrays
from fnn_jax.common.tracing import plain
from fnn_jax.synthesis.problem import Progress
from fnn_jax.synthesis.result import RESULT, Synthesis, SynthesisError


class Folder:
    """A synthesis on disk: what it is, batches that are done, and the one that is not.

    Damaged files are computed again, and a warning says so.
    """

    def __init__(self, path: Path, record: dict[str, Any]):
        self.path, self._record = path, record

    def finished(self) -> Synthesis | None:
        """The result, where it is there and whole."""
        if not (self.path / RESULT).exists():
            return None
        try:
            return Synthesis.load(self.path)
        except SynthesisError as error:
            warnings.warn(f"{error}\nIt is computed again.", stacklevel=3)
            return None

    def load_batch(self, number: int) -> dict[str, np.ndarray] | None:
        return self._load(f"batch{number}")

    def save_batch(self, number: int, part: dict[str, np.ndarray]) -> None:
        self._save(f"batch{number}", part)
        (self.path / f"progress{number}.npz").unlink(missing_ok=True)

    def load_progress(self, number: int, like: Progress) -> tuple[dict[str, np.ndarray], Progress, int] | None:
        arrays = self._load(f"progress{number}")
        if arrays is None:
            return None
        leaves, structure = jax.tree.flatten(like)
        restored = [_restored(arrays[f"leaf{i}"], leaf) for i, leaf in enumerate(leaves)]
        return arrays, jax.tree.unflatten(structure, restored), int(arrays["done"])

    def save_progress(self, number, progress, done, losses, penalties, stopped) -> None:
        leaves = {f"leaf{i}": _stored(leaf) for i, leaf in enumerate(jax.tree.leaves(progress))}
        kept = {"done": np.array(done), "losses": losses, "penalties": penalties, "stopped": stopped}
        self._save(f"progress{number}", leaves | kept)

    def finish(self, result: Synthesis) -> None:
        result.save(self.path)
        for path in self.path.glob("*[0-9].npz"):
            path.unlink()

    def _save(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        save_arrays(self.path / f"{name}.npz", arrays, {"file": name, **self._record})

    def _load(self, name: str) -> dict[str, np.ndarray] | None:
        path = self.path / f"{name}.npz"
        if not path.exists():
            return None
        try:
            return load_arrays(path, {"file": name, **self._record}, SynthesisError, "It is computed again.")
        except SynthesisError as error:
            warnings.warn(str(error), stacklevel=3)
            return None


def _stored(leaf: Any) -> np.ndarray:
    """An array of an optimiser's state as NumPy's own: of random keys their numbers, of bfloat16 and the like bytes."""
    array = np.asarray(plain(leaf))
    return array if array.dtype.isbuiltin == 1 else np.atleast_1d(array).view(np.uint8)


def _restored(array: np.ndarray, like: Any) -> Any:
    """What ``_stored`` was given, which was such an array as ``like``."""
    if jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jax.numpy.asarray(array), impl=jax.random.key_impl(like))
    return array if np.dtype(like.dtype).isbuiltin == 1 else array.view(like.dtype).reshape(like.shape)
