"""The results of a screen on disk: a zarr group that grows block by block, and that xarray reads.

::

    responses   [stimulus, unit], with [.., time, ..] or [.., interval, ..] between
    stimulus    ids
    frames      frames of each stimulus
    done        1: here; 2: could not be shown, and ``error`` says why; 0: not yet
    digest      SHA-256 of each stimulus with its behaviour and intervals
    checksum    SHA-256 of all that is kept of each stimulus
    scan, readout_id, unit_id, ...    the table of units, along ``unit``

A block of stimuli is written first, then marked as done; every file is written whole or not at all. So a process that
is killed leaves blocks that are done and blocks that are not. Blocks are claimed by locks of the operating system,
which a process loses when it dies. What is damaged later differs from its checksum: ``open_screen`` refuses it, and the
screen, called again, computes it again.
"""

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd

from fnn_jax.common.files import explained_full_disk, json_digest, refuse_existing, whole_directory
from fnn_jax.screen import checksums
from fnn_jax.screen.mending import mend_metadata
from fnn_jax.screen.results import DONE, FAILED, TEXT, WAITING, Layout, Row, ScreenError, unit_columns
from fnn_jax.version import __version__

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
        self._ids = ids
        self.verified = not self._is_there()  # what is new needs no verification
        if not self._is_there():
            try:
                refuse_existing(self.path)
                self._create(self.path, settings, record, layout, units, ids)
            except FileExistsError:
                if not self._is_there():  # else another process was quicker; whether with the same screen is seen now
                    raise
        self._check(settings, ids, units, lambda path: self._create(path, settings, record, layout, units, ids))
        self._group = zarr.open_group(self.path, mode="r+")
        self._attributes = dict(self._group.attrs)
        self._identity = json_digest(self._attributes["settings"])
        self.block = int(self._attributes["block"])

    def _is_there(self) -> bool:
        return (self.path / "zarr.json").is_file() or (self.path / "responses").is_dir()

    def _create(self, path, settings, record, layout, units, ids) -> None:
        import zarr

        count, columns = 0 if ids is None else len(ids), unit_columns(units)
        attributes = {"format": checksums.FORMAT, "written_by": f"fnn_jax {__version__}", "block": layout.block}
        attributes |= {"settings": dict(settings), **record, "count": None if ids is None else count}
        attributes |= {"ids_sha256": checksums.ids_digest(ids), "num_units": len(units)}
        attributes |= {"units": list(columns), "units_sha256": checksums.columns_digest(columns)}
        with whole_directory(path) as folder:
            group = zarr.create_group(folder)

            def create(name, shape, chunks, dtype, dims, meaning, **options):
                group.create_array(
                    name,
                    shape=shape,
                    chunks=tuple(max(1, c) for c in chunks),
                    dtype=dtype,
                    compressors=zarr.codecs.ZstdCodec(level=0, checksum=True),
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
            create("checksum", (count, 32), (block, 32), "uint8", (*stimulus, "byte"), "SHA-256 of the results")
            create("error", (count,), (block,), "string", stimulus, "why a stimulus could not be shown")
            create("stimulus", (count,), (block if ids is None else count,), "string", stimulus, "ids of the stimuli")
            if ids is not None:
                group["stimulus"][:] = np.array(list(ids), TEXT)
            for name, values in columns.items():
                dtype = "string" if values.dtype == TEXT else values.dtype
                create(name, values.shape, values.shape, dtype, ("unit",), "of the table of units")
                group[name][:] = values
            names = ("responses", *checksums.OF_STIMULUS, *columns)
            attributes["arrays"] = {name: checksums.array_metadata_digest(folder / name) for name in names}
            group.attrs.put(checksums.sealed(attributes))

    def _check(self, settings, ids, units: pd.DataFrame, create) -> None:
        """Refuse another screen; mend the metadata and tables of this one, where they are damaged."""
        try:
            group, attributes = checksums.check_metadata(self.path)
        except ScreenError as error:
            if not mend_metadata(self.path, create):
                raise
            warnings.warn(f"{error}\nIts metadata were mended.", stacklevel=5)
            group, attributes = checksums.check_metadata(self.path)
        ours, theirs = json.loads(json.dumps(dict(settings))), attributes["settings"]
        different = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
        if different:
            listed = "\n".join(
                f"  {key}: there {_short(theirs.get(key))}, here {_short(ours.get(key))}" for key in different
            )
            raise ScreenError(
                f"{self.path} holds another screen, and is kept. Choose another name. They differ in\n{listed}"
            )
        if checksums.ids_digest(ids) != attributes["ids_sha256"]:
            count, here = attributes["count"] or "a generator's", "a generator's" if ids is None else len(ids)
            raise ScreenError(
                f"{self.path} holds a screen of other stimuli ({count}; here {here}), or in another order; it is "
                "kept. Choose another name."
            )
        self._check_columns(group, attributes, unit_columns(units))
        if ids is not None:
            self._mend_table("stimulus", np.array(list(ids), TEXT))

    def _check_columns(self, group: Any, attributes: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> None:
        """The table of units is kept as it was when the screen was begun; columns that came later are not added."""
        known = {name: columns[name] for name in attributes["units"] if name in columns}
        if checksums.columns_digest(known) != attributes["units_sha256"]:
            raise ScreenError(
                f"{self.path} holds a screen of units whose table has other values, or columns that are missing here; "
                f"it is kept. Give the twins the table that they had ({', '.join(attributes['units'])}), or choose "
                "another name."
            )
        added = [name for name in columns if name not in known]
        if added:
            warnings.warn(
                f"The table of units has columns that {self.path} was begun without: {', '.join(added)}. They are not "
                "added to it; join them by readout_id.",
                stacklevel=6,
            )
        for name, values in known.items():
            self._mend_table(name, values)

    def _mend_table(self, name: str, values: np.ndarray) -> None:
        """Write a table again where it is not what it is known to be."""
        import zarr

        group = zarr.open_group(self.path, mode="r+")
        with contextlib.suppress(Exception):  # zarr and its codecs raise many kinds
            if np.array_equal(group[name][:], values) or (
                values.dtype.kind == "f" and np.array_equal(group[name][:], values, equal_nan=True)
            ):
                return
        shutil.rmtree(self.path / name / "c", ignore_errors=True)
        group[name][:] = values

    def verify(self) -> None:
        """Compare everything that is done with its checksum; what is damaged is to be computed again.

        Blocks that another process is at work on are left to it.
        """
        if self.verified:
            return
        self.verified = True
        names: list[str] = []
        for number, start, stop in checksums.blocks(self._group, self._attributes):
            state = checksums.examine(self._group, self._attributes, start, stop)
            if not (state.bad or state.unmarked or state.unreadable):
                continue
            lock = self.claim(number)
            if lock is None:
                continue
            try:
                state = checksums.examine(self._group, self._attributes, start, stop)  # now that nobody else writes it
                names += [f"stimulus {bad.index} {bad.why}" for bad in state.bad]
                self._mend(number, start, stop, state)
            finally:
                self.release(lock)
        if names:
            listed = "; ".join(names[:3]) + ("; ..." if len(names) > 3 else "")
            warnings.warn(
                f"{self.path} is damaged: the results of {len(names)} stimuli are computed again ({listed}).",
                stacklevel=4,
            )

    def _mend(self, number: int, start: int, stop: int, state: checksums.BlockState) -> None:
        """Forget what is damaged, and mark what is whole."""
        for name in state.unreadable:
            chunk = self.path / name / "c" / str(number)
            chunk.unlink() if chunk.is_file() else shutil.rmtree(chunk, ignore_errors=True)
        flags = self._group["done"][start:stop]
        for bad in state.bad:
            flags[bad.index - start] = WAITING
        for index, done in state.unmarked.items():
            flags[index - start] = done
        self._group["done"][start:stop] = flags

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
        """Write stimuli of one claimed block, and mark them as done.

        Raises:
            DiskFullError: there is no room; the block is not done.
        """
        with explained_full_disk(self.path):
            self._write(block, rows)

    def _write(self, block: int, rows: Sequence[Row]) -> None:
        start = block * self.block
        stop = max(start + 1, max(row.index for row in rows) + 1)
        given = [row for row in rows if row.responses is not None]
        self._make_room(stop, [row.responses.shape[:-1] for row in given])
        stop = min(start + self.block, self.count)
        arrays = {name: self._group[name][start:stop] for name in checksums.OF_STIMULUS}
        at = [row.index - start for row in rows]
        if arrays["done"][at].any():  # until they are written anew, they are not done
            arrays["done"][at] = WAITING
            self._group["done"][start:stop] = arrays["done"]
        had_errors = any(row.error for row in rows) or (arrays["error"] != "").any()
        for row, i in zip(rows, at, strict=True):
            arrays["frames"][i] = row.frames
            arrays["digest"][i] = np.frombuffer(row.digest, np.uint8) if row.digest else 0
            arrays["error"][i] = row.error
            arrays["stimulus"][i] = row.id
            arrays["done"][i] = DONE if row.responses is not None else FAILED
        kept = self._group["responses"]
        values = np.full((stop - start, *kept.shape[1:]), np.nan, kept.dtype)
        others = np.ones(stop - start, bool)
        others[at] = False
        if (arrays["done"][others] == DONE).any():
            values[:] = kept[start:stop]
        for row, i in zip(rows, at, strict=True):
            values[i] = np.nan
            if row.responses is not None:
                values[(i, *(slice(size) for size in row.responses.shape[:-1]))] = row.responses  # type: ignore[index]
        for i in at:
            digest = checksums.row_digest(  # type: ignore[call-arg]
                self._identity,
                start + i,
                *(arrays[name][i] for name in ("stimulus", "frames", "error", "done")),
                arrays["digest"][i].tobytes(),
                values[i],
            )
            arrays["checksum"][i] = np.frombuffer(digest, np.uint8)
        if given:
            kept[start:stop] = values
        names_come_late = self._group["stimulus"].chunks[0] == self.block
        unchanged = {"error": not had_errors, "stimulus": not names_come_late}
        for name in checksums.OF_STIMULUS:  # done comes last
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
                for name in checksums.OF_STIMULUS:
                    group[name].resize((shape[0], *group[name].shape[1:]))
                group["responses"].resize(shape)
            self._group = zarr.open_group(self.path, mode="r+")

    def dataset(self):
        """The results as an ``xarray.Dataset``, read when they are used."""
        if (self.done() == DONE).all():
            shutil.rmtree(self._locks, ignore_errors=True)
            for partial in self.path.rglob("*.partial"):  # of processes that were killed
                partial.unlink(missing_ok=True)
        return _as_dataset(self.path)


def open_screen(path: str | os.PathLike, verify: bool = True):
    """The results of a screen as an ``xarray.Dataset``; they are read from disk where they are used.

    Args:
        verify: compare everything with its checksum first, which reads all of it once. Without, metadata and the table
            of units alone are compared.

    Raises:
        ScreenError: no screen is there, or it is damaged; what is damaged is named.
    """
    path = Path(path).expanduser().absolute()
    group, attributes = checksums.check_metadata(path)
    if verify:
        checksums.require_whole(path, group, attributes)
    else:
        checksums.check_units(path, group, attributes)
    return _as_dataset(path)


def _as_dataset(path: Path):
    import xarray

    dataset = xarray.open_zarr(path, consolidated=False, chunks=None).drop_vars(["digest", "checksum"])
    return dataset.set_coords([name for name in dataset.data_vars if name != "responses"])


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
