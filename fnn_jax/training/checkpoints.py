"""A training on disk: checkpoints of everything that it needs to go on, each in a new folder."""

import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from fnn_jax.common.files import DiskFullError
from fnn_jax.training.step import Weights
from fnn_jax.weights import checkpoint
from fnn_jax.weights.checkpoint import CheckpointError

INCOMPLETE = re.compile(r"update-\d+\.orbax-checkpoint-tmp.*")  # of Orbax
KEPT = 2  # the last ones; the second is there for the day when the first is damaged


class TrainingError(ValueError):
    """A training cannot start, or go on; the message says why and what to do."""


class Snapshot(NamedTuple):
    """A training between two updates.

    Attributes:
        weights: as they are; best: trained parameters of the epoch with the best validation so far.
        update: updates made since the start; epoch: the one that is going on.
        objectives: training objectives of the batches of this epoch so far.
        rows: metrics of the epochs that are over.
        best_epoch: None before the first one is over. stopped: why the training ended early, or empty.
    """

    weights: Weights
    best: dict[str, Any]
    update: int
    epoch: int
    objectives: list[float]
    rows: list[dict[str, Any]]
    best_epoch: int | None
    stopped: str


class Checkpoints:
    """The checkpoints in a folder, written whole or not at all."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._damaged: set[int] = set()  # seen to be so, and removed as soon as there is a better one

    def steps(self) -> list[int]:
        """Numbers of the updates at which there is a checkpoint, in order."""
        if not self._directory.is_dir():
            return []
        matches = (re.fullmatch(r"update-(\d+)", path.name) for path in self._directory.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def _path(self, update: int) -> Path:
        return self._directory / f"update-{update:08d}"

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint, and remove old ones.

        Raises:
            TrainingError: there is no room; what was there before is kept.
        """
        self._clear()
        path = self._path(snapshot.update)
        if snapshot.update in self._damaged:
            shutil.rmtree(path)
        elif path.exists():
            return
        arrays = _arrays(snapshot)
        record = {
            name: getattr(snapshot, name) for name in ("update", "epoch", "objectives", "rows", "best_epoch", "stopped")
        }
        self._directory.mkdir(parents=True, exist_ok=True)
        needed = sum(array.nbytes for array in arrays.values())
        remedy = "Make room and start the same training again: it goes on from its last checkpoint."
        free = shutil.disk_usage(self._directory).free
        if free < needed:
            raise TrainingError(f"{path} needs {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free. {remedy}")
        try:
            checkpoint.save(path, arrays, record)
        except DiskFullError as error:
            raise TrainingError(f"{path} cannot be written: the disk is full. {remedy}") from error
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise TrainingError(f"{path} cannot be written: {str(error).splitlines()[0]}. {remedy}") from error
        damaged = self._damaged - {snapshot.update}  # which are no checkpoints to fall back on
        whole = [step for step in self.steps() if step not in damaged]
        for old in {*whole[:-KEPT], *damaged}:
            shutil.rmtree(self._path(old), ignore_errors=True)
        self._damaged.clear()

    def _clear(self) -> None:
        """Remove what a process left that was killed as it wrote: one alone is at work in the folder of a training."""
        if self._directory.is_dir():
            for path in self._directory.iterdir():
                if INCOMPLETE.fullmatch(path.name):
                    shutil.rmtree(path, ignore_errors=True)

    def rows(self) -> list[dict[str, Any]]:
        """Metrics of the epochs that are over, as the last checkpoint has them.

        Raises:
            TrainingError: it is damaged; an older one would lack epochs, without a word.
        """
        steps = self.steps()
        if not steps:
            return []
        try:
            return checkpoint.load_metadata(self._path(steps[-1]))["rows"]
        except CheckpointError as error:
            raise TrainingError(
                "The metrics cannot be told, because the last checkpoint of the training is damaged: "
                f"{self._path(steps[-1])}. Start the same training again: it goes on from the checkpoint before."
            ) from error

    def load(self, like: Snapshot) -> Snapshot | None:
        """The last checkpoint, or the one before where it is damaged; None where there is none.

        Raises:
            TrainingError: all are damaged, or of another network.
        """
        steps = self.steps()
        for update in reversed(steps):
            try:
                arrays, record = checkpoint.load(self._path(update))
            except CheckpointError as error:
                warnings.warn(f"{error}\nThe training goes on from an older checkpoint.", stacklevel=2)
                self._damaged.add(update)
                continue
            return _snapshot(arrays, record, like, self._path(update))
        if steps:
            raise TrainingError(f"All checkpoints in {self._directory} are damaged. Remove the folder to start anew.")
        return None


def _arrays(snapshot: Snapshot) -> dict[str, np.ndarray]:
    """The arrays of a snapshot by name; scalars as arrays of one, because Orbax saves no scalars."""
    leaves = jax.tree.leaves(snapshot.weights.optimizer)
    arrays = {f"trained:{name}": array for name, array in snapshot.weights.trained.items()}
    arrays |= {f"best:{name}": array for name, array in snapshot.best.items()}
    arrays |= {f"optimizer:{i}": leaf for i, leaf in enumerate(leaves)}
    return {name: np.atleast_1d(_plain(array)) for name, array in arrays.items()}


def _plain(array: Any) -> np.ndarray:
    """An array as NumPy has it; of random keys, which some optimisers keep, their numbers."""
    is_key = isinstance(array, jax.Array) and jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(array) if is_key else array)


def _like(array: np.ndarray, leaf: jax.Array) -> Any:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf))  # type: ignore[arg-type]
    return array.reshape(leaf.shape)


def _snapshot(arrays: Mapping[str, np.ndarray], record: Mapping[str, Any], like: Snapshot, path: Path) -> Snapshot:
    expected = {name: array.shape for name, array in _arrays(like).items()}
    if expected != {name: array.shape for name, array in arrays.items()}:
        raise TrainingError(f"{path} is of another network or optimiser. Give another folder.")
    leaves, structure = jax.tree.flatten(like.weights.optimizer)
    optimizer = [_like(arrays[f"optimizer:{i}"], leaf) for i, leaf in enumerate(leaves)]
    trained, best = ({name: arrays[f"{kind}:{name}"] for name in like.weights.trained} for kind in ("trained", "best"))
    return Snapshot(
        Weights(trained, jax.tree.unflatten(structure, optimizer)),
        best,
        **{name: record[name] for name in ("update", "epoch", "objectives", "rows", "best_epoch", "stopped")},
    )
