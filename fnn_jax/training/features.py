"""Outputs of a frozen core, computed once for every window and kept on disk.

Where only the readout is trained, nothing before it changes from step to step, and a step takes a fraction of the time.
"""

import hashlib
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fnn_jax.common.arrays import array_digest, map_array
from fnn_jax.common.files import explained_full_disk
from fnn_jax.common.progress import progress_bar
from fnn_jax.common.records import claimed
from fnn_jax.model.network import Network
from fnn_jax.model.parameters import parameter_arrays
from fnn_jax.training.checkpoints import TrainingError
from fnn_jax.training.windows import Batch, Window, Windows
from fnn_jax.twin.twin import Twin


class KeptFeatures:
    """The maps of the core for all windows of a recording, ``[window, stream, T, H, W, C]`` in one file.

    Args:
        directory: folder of its own; what an earlier call computed there is used.
        network: everything before its readout is frozen.

    Raises:
        TrainingError: there is no room, or the folder holds features of other weights or windows.
    """

    def __init__(self, directory: Path, windows: Windows, network: Network, progress: bool | None = None):
        self._windows = windows
        recipe = windows.recipe
        everything = windows.all()
        self._numbers = {window: number for number, window in enumerate(everything)}
        config = network.config
        maps = network.init_state(1).core.recurrent.hidden.shape[-3:-1]
        shape = (len(everything), config.num_streams, recipe.window_frames, *maps, config.recurrent.out_channels)
        digest = hashlib.sha256()
        for name, array in sorted(parameter_arrays(network).items()):
            if not name.startswith("readout."):
                digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        settings = {
            name: recipe.to_dict()[name] for name in ("window_frames", "window_step", "missing", "without", "precision")
        }
        record = {"weights": digest.hexdigest(), "data": windows.data.values().fingerprint, "shape": shape, **settings}
        self._everything, self._progress = everything, progress
        with claimed(directory, "features.json", record, "set of features", TrainingError):
            self._maps = _open(directory / "features.npy", shape, np.float32)
            hashes = _open(directory / "sha256.npy", (shape[0], 32), np.uint8)
            done = self._verified(hashes, directory)
            self._compute(network, hashes, [window for window in everything if not done[self._numbers[window]]])

    def _verified(self, hashes: np.memmap, directory: Path) -> np.ndarray:
        """Which windows are there; those that differ from their hash are damaged, and count as missing."""
        done: np.ndarray = hashes.any(1)  # type: ignore[assignment]  # of an axis, an array
        damaged = 0
        for number in progress_bar(self._progress, "verifying features", "window", over=np.flatnonzero(done)):
            if array_digest(self._maps[number]) != hashes[number].tobytes():
                done[number] = False
                damaged += 1
        if damaged:
            warnings.warn(f"{damaged} windows of {directory} are damaged, and are computed again.", stacklevel=4)
        return done

    def _compute(self, network: Network, hashes: np.memmap, todo: list[Window]) -> None:
        recipe, twin = self._windows.recipe, Twin(network)
        count = len(self._everything)
        with progress_bar(self._progress, "features", "window", count, done=count - len(todo), compiles=True) as bar:
            for start in range(0, len(todo), recipe.batch_size):
                chosen = todo[start : start + recipe.batch_size]
                filled = chosen + chosen[-1:] * (recipe.batch_size - len(chosen))  # of one size: compiled once
                batch = self._windows.read(filled)
                maps = twin.features(batch.stimuli, "core", batch.eye, batch.behaviour, precision=recipe.precision)
                numbers = [self._numbers[window] for window in chosen]
                for index, number in enumerate(numbers):
                    self._maps[number] = np.moveaxis(maps["core"][:, index], 1, 0)
                self._maps.flush()
                for number in numbers:  # after what they say is there
                    hashes[number] = np.frombuffer(array_digest(self._maps[number]), np.uint8)
                hashes.flush()
                bar.update(len(chosen))

    def read(self, windows: Sequence[Window], stream: int | None) -> Batch:
        """A batch of features and responses; ``stream``: of one stream, whose axis stays."""
        streams = slice(None) if stream is None else slice(stream, stream + 1)
        maps = [np.moveaxis(self._maps[self._numbers[window], streams], 0, 1) for window in windows]
        responses = [self._windows.read_responses(window) for window in windows]
        return Batch(None, None, None, np.stack(responses, axis=1), np.stack(maps, axis=1))


def _open(path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    """A file of zeros, or the one that is there, mapped into memory; one that is damaged is begun anew."""
    if path.exists():
        try:
            array = map_array(path, mode="r+")
            if array.shape == shape and array.dtype == dtype:
                return array
        except (ValueError, OSError):
            pass
        warnings.warn(f"{path} is damaged, and is computed again.", stacklevel=4)
        path.unlink()
    needed, free = int(np.prod(shape)) * np.dtype(dtype).itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise TrainingError(
            f"keep_features needs {needed / 1e9:.1f} GB in {path.parent}, and {free / 1e9:.1f} GB are free. Make room, "
            "choose a larger window_step, or leave it out."
        )
    temporary = path.with_suffix(".new.npy")
    np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):  # else a disk that fills up later kills the process, without a word
        with explained_full_disk(path), open(temporary, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
    temporary.rename(path)
    return map_array(path, mode="r+")
