"""The results of a screen on disk: a zarr group that grows block by block, and that xarray reads.

::

    responses   [stimulus, unit], with [.., time, ..] or [.., interval, ..] between
    stimulus    ids
    frames      frames of each stimulus
    done        1: here; 2: could not be shown, and ``error`` says why; 0: not yet
    digest      SHA-256 of each stimulus with its behaviour and intervals
    scan, readout_id, unit_id, ...    the table of units, along ``unit``

A block of stimuli is written first, then marked as done; every file is written whole or not at all. So a process that
is killed leaves blocks that are done and blocks that are not. Blocks are claimed by locks of the operating system,
which a process loses when it dies.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd

from fnn_jax.files import refuse_existing, whole_directory
from fnn_jax.screen.results import DONE, FAILED, TEXT, Layout, Row, ScreenError, unit_columns
from fnn_jax.version import __version__

FORMAT = 1
CHUNK_BYTES = 16 * 2**20  # of the responses, at most; a chunk is a block of stimuli and all units, where that fits


class ScreenStore:
    """A screen's results at a path; made, or opened to be gone on with.

    Args:
        settings: what decides the results, as JSON values; a store of other settings is refused.
        record: what is kept besides, and not compared.

    Raises:
        ScreenError: what is at the path is of another screen, or no screen.
    """

    verifies = True

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        settings: Mapping[str, Any],
        record: Mapping[str, Any],
        layout: Layout,
        units: pd.DataFrame,
        ids: Sequence[str] | None,
    ):
        import zarr

        self.path = Path(path).expanduser().absolute()
        self._locks = self.path.with_name(f".{self.path.name}.locks")
        if not self._is_there():
            try:
                refuse_existing(self.path)
                self._create(settings, record, layout, units, ids)
            except FileExistsError:
                if not self._is_there():  # else another process was quicker; whether with the same screen is seen now
                    raise
        self._check(settings, ids, layout)
        self._group = zarr.open_group(self.path, mode="r+")
        self.block = int(self._group.attrs["block"])

    def _is_there(self) -> bool:
        return (self.path / "zarr.json").is_file()

    def _create(self, settings, record, layout, units, ids) -> None:
        import zarr

        count = 0 if ids is None else len(ids)
        attributes = {"format": FORMAT, "written_by": f"fnn_jax {__version__}", "block": layout.block}
        attributes |= {"settings": dict(settings), **record}
        with whole_directory(self.path) as folder:
            group = zarr.create_group(folder, attributes=attributes)

            def create(name, shape, chunks, dtype, dims, meaning, **options):
                group.create_array(
                    name,
                    shape=shape,
                    chunks=tuple(max(1, c) for c in chunks),
                    dtype=dtype,
                    dimension_names=dims,
                    attributes={"meaning": meaning},
                    **options,
                )

            block, stimulus = layout.block, ("stimulus",)
            inner = [max(1, size) for size in layout.shape]
            row = int(np.prod([block, *inner])) * layout.dtype.itemsize
            unit_chunk = min(len(units), max(256, CHUNK_BYTES // row))
            create(
                "responses",
                (count, *inner, len(units)),
                (block, *inner, unit_chunk),
                layout.dtype,
                ("stimulus", *layout.inner, "unit"),
                "predicted mean responses per frame of 1/30 s",
                fill_value=np.nan,
            )
            create("frames", (count,), (block,), "int32", stimulus, "frames of the stimulus")
            create("done", (count,), (block,), "uint8", stimulus, "0: not yet, 1: done, 2: could not be shown")
            create("digest", (count, 32), (block, 32), "uint8", (*stimulus, "byte"), "SHA-256 of the stimulus")
            create("error", (count,), (block,), "string", stimulus, "why a stimulus could not be shown")
            create("stimulus", (count,), (block if ids is None else count,), "string", stimulus, "ids of the stimuli")
            if ids is not None:
                group["stimulus"][:] = np.array(list(ids), TEXT)
            for name, values in unit_columns(units).items():
                dtype = "string" if values.dtype == TEXT else values.dtype
                create(name, values.shape, values.shape, dtype, ("unit",), "of the table of units")
                group[name][:] = values

    def _check(self, settings: Mapping[str, Any], ids: Sequence[str] | None, layout: Layout) -> None:
        import zarr

        try:
            group = zarr.open_group(self.path, mode="r")
            attributes = dict(group.attrs)
            is_screen = attributes["format"] == FORMAT and "settings" in attributes
        except (KeyError, OSError, ValueError):
            is_screen = False
        if not is_screen:
            raise ScreenError(
                f"{self.path} exists and holds no screen of this version; it is kept. Choose another name."
            )
        ours, theirs = json.loads(json.dumps(dict(settings))), attributes["settings"]
        different = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
        if different:
            listed = "\n".join(
                f"  {key}: there {_short(theirs.get(key))}, here {_short(ours.get(key))}" for key in different
            )
            raise ScreenError(
                f"{self.path} holds another screen, and is kept. Choose another name. They differ in\n{listed}"
            )
        if ids is not None:
            stored = group["stimulus"][:]
            if len(stored) != len(ids) or (np.array(list(ids), stored.dtype) != stored).any():
                raise ScreenError(
                    f"{self.path} holds a screen of other stimuli ({len(stored)}; here {len(ids)}), or in "
                    "another order; it is kept. Choose another name."
                )

    @property
    def count(self) -> int:
        """Stimuli that there is room for."""
        return self._group["done"].shape[0]

    def done(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Whether stimuli are done, have failed, or wait; those that there is no room for yet wait."""
        flags = self._group["done"][start:stop]
        missing = 0 if stop is None else stop - start - len(flags)
        return np.concatenate([flags, np.zeros(missing, np.uint8)]) if missing > 0 else flags

    def digest(self, index: int) -> bytes:
        return self._group["digest"][index].tobytes()

    def errors(self) -> dict[str, str]:
        """Reason, by id, of the stimuli that could not be shown."""
        failed = np.flatnonzero(self.done() == FAILED)
        return {str(self._group["stimulus"][i]): str(self._group["error"][i]) for i in failed}

    def claim(self, block: int) -> filelock.FileLock | None:
        """The block for this process alone, until ``release``; None where another process has it."""
        self._locks.mkdir(exist_ok=True)
        lock = filelock.FileLock(self._locks / f"{block}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return None
        return lock

    def release(self, claim: filelock.FileLock) -> None:
        # Whoever holds the file open and locks it next looks first whether the block is done.
        with contextlib.suppress(OSError):
            os.unlink(claim.lock_file)
        claim.release()

    def write(self, block: int, rows: Sequence[Row]) -> None:
        """Write stimuli of one claimed block, and mark them as done."""
        start = block * self.block
        stop = max(start + 1, max(row.index for row in rows) + 1)
        given = [row for row in rows if row.responses is not None]
        self._make_room(stop, [row.responses.shape[:-1] for row in given])
        stop = min(start + self.block, self.count)
        arrays = {name: self._group[name][start:stop] for name in ("frames", "digest", "error", "stimulus", "done")}
        had_errors = any(row.error for row in rows) or (arrays["error"] != "").any()
        for row in rows:
            at = row.index - start
            arrays["frames"][at] = row.frames
            arrays["digest"][at] = np.frombuffer(row.digest, np.uint8) if row.digest else 0
            arrays["error"][at] = row.error
            arrays["stimulus"][at] = row.id
            arrays["done"][at] = DONE if row.responses is not None else FAILED
        kept = self._group["responses"]
        if given:
            values = np.full((stop - start, *kept.shape[1:]), np.nan, kept.dtype)
            if len(given) < stop - start:
                values[:] = kept[start:stop]
            for row in given:
                values[(row.index - start, *(slice(size) for size in row.responses.shape[:-1]))] = row.responses
            kept[start:stop] = values
        names_come_late = self._group["stimulus"].chunks[0] == self.block
        unchanged = {"error": not had_errors, "stimulus": not names_come_late}
        for name in ("frames", "digest", "error", "stimulus", "done"):  # done comes last
            if not unchanged.get(name):
                self._group[name][start:stop] = arrays[name]

    def _make_room(self, count: int, inner: Sequence[tuple[int, ...]]) -> None:
        """Let the arrays grow to a number of stimuli, and to longer ones."""
        import zarr

        def needed(group):
            shape = group["responses"].shape
            return (max(shape[0], count), *(max(sizes) for sizes in zip(shape[1:-1], *inner, strict=True)), shape[-1])

        def is_small(group):
            return needed(group) != group["responses"].shape

        if not is_small(self._group):
            return
        self._locks.mkdir(exist_ok=True)
        with filelock.FileLock(self._locks / "shape.lock"):
            group = zarr.open_group(self.path, mode="r+")
            if is_small(group):
                shape = needed(group)
                for name in ("frames", "digest", "error", "stimulus", "done"):
                    group[name].resize((shape[0], *group[name].shape[1:]))
                group["responses"].resize(shape)
            self._group = zarr.open_group(self.path, mode="r+")

    def dataset(self):
        """The results as an ``xarray.Dataset``, read when they are used."""
        if (self.done() == DONE).all():
            shutil.rmtree(self._locks, ignore_errors=True)
            for partial in self.path.rglob("*.partial"):  # of processes that were killed
                partial.unlink(missing_ok=True)
        return open_screen(self.path)


def open_screen(path: str | os.PathLike):
    """The results of a screen as an ``xarray.Dataset``; they are read from disk where they are used.

    Raises:
        ScreenError: no screen is there.
    """
    import xarray

    path = Path(path).expanduser()
    if not (path / "zarr.json").is_file():
        raise ScreenError(f"{path} holds no screen.")
    dataset = xarray.open_zarr(path, consolidated=False, chunks=None).drop_vars("digest")
    return dataset.set_coords([name for name in dataset.data_vars if name != "responses"])


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
