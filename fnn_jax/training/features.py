"""Outputs of a frozen core, computed once for every window and kept on disk.

Where only the readout is trained, nothing before it changes from step to step, and a step takes a fraction of the time.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from fnn_jax.model.network import Network
from fnn_jax.model.parameters import parameter_arrays
from fnn_jax.records import claim
from fnn_jax.training.checkpoints import TrainingError
from fnn_jax.training.windows import Batch, Window, Windows
from fnn_jax.twin import Twin


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
        claim(directory, "features.json", record, "set of features", TrainingError)
        self._maps = _open(directory / "features.npy", shape, np.float32)
        done = _open(directory / "done.npy", shape[:1], np.uint8)
        todo = [window for window in everything if not done[self._numbers[window]]]
        twin = Twin(network)
        with tqdm(
            total=len(everything),
            initial=len(everything) - len(todo),
            unit="window",
            desc="features",
            disable=None if progress is None else not progress,
        ) as bar:
            for start in range(0, len(todo), recipe.batch_size):
                chosen = todo[start : start + recipe.batch_size]
                filled = chosen + chosen[-1:] * (recipe.batch_size - len(chosen))  # of one size: compiled once
                batch = windows.read(filled)
                maps = twin.features(batch.stimuli, "core", batch.eye, batch.behaviour, precision=recipe.precision)[
                    "core"
                ]
                for index, window in enumerate(chosen):
                    self._maps[self._numbers[window]] = np.moveaxis(maps[:, index], 1, 0)
                self._maps.flush()
                done[[self._numbers[window] for window in chosen]] = 1  # after what it says
                done.flush()
                bar.update(len(chosen))

    def read(self, windows: Sequence[Window], stream: int | None) -> Batch:
        """A batch of features and responses; ``stream``: of one stream, whose axis stays."""
        streams = slice(None) if stream is None else slice(stream, stream + 1)
        maps = [np.moveaxis(self._maps[self._numbers[window], streams], 0, 1) for window in windows]
        responses = [self._windows.read_responses(window) for window in windows]
        return Batch(None, None, None, np.stack(responses, axis=1), np.stack(maps, axis=1))


def _open(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A file of zeros, or the one that is there, mapped into memory."""
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    needed, free = int(np.prod(shape)) * np.dtype(dtype).itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise TrainingError(
            f"keep_features needs {needed / 1e9:.1f} GB in {path.parent}, and {free / 1e9:.1f} GB are free. Make room, "
            "choose a larger window_step, or leave it out."
        )
    temporary = path.with_suffix(".new.npy")
    np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):  # else a disk that fills up later kills the process, without a word
        with open(temporary, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
    temporary.rename(path)
    return np.lib.format.open_memmap(path, mode="r+")
