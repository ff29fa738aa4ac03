"""The results of a screen on disk: a zarr group that grows block by block, and that xarray reads.

::

    responses   [stimulus, unit], with [.., time, ..] or [.., interval, ..] between
    recurrent.hidden, ...    values inside the network, where they were asked for, likewise
    stimulus    ids
    frames      frames of each stimulus
    done        1: here; 2: could not be shown, and ``error`` says why; 0: not yet
    digest      SHA-256 of each stimulus with its behaviour and intervals
    checksum    SHA-256 of all that is kept of each stimulus
    scan, readout_id, unit_id, ...    the table of units, along ``unit``

A block of stimuli is written first, then marked as done; every file is written whole or not at all. So a process that
is killed leaves blocks that are done and blocks that are not. Blocks are claimed by locks of the operating system,
which a process loses when it dies. What is damaged later differs from its checksum: ``open_screen`` refuses it, and the
screen, called again, computes it again. When all is done, the metadata of the arrays are written into the group's
file, too, where other programs look for them first; here each array's own are read.
"""

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import pandas as pd

from fnn_jax.common.files import explained_full_disk, json_digest, refuse_existing
from fnn_jax.screen import checksums, consolidation, locks
from fnn_jax.screen.creation import create_screen
from fnn_jax.screen.mending import mend_metadata
from fnn_jax.screen.results import DONE, FAILED, TEXT, WAITING, Layout, Row, ScreenError, unit_columns, with_twins

if TYPE_CHECKING:
    import xarray


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
        self._ids = ids
        self.verified = not checksums.is_begun(self.path)  # what is new needs no verification
        if self.verified:
            try:
                refuse_existing(self.path)
                create_screen(self.path, settings, record, layout, units, ids)
            except FileExistsError:
                # Else another process was quicker; whether with the same screen is seen now.
                if not checksums.is_begun(self.path):
                    raise
        self._check(settings, ids, units, lambda path: create_screen(path, settings, record, layout, units, ids))
        self._group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        self._attributes = dict(self._group.attrs)
        self._identity = json_digest(self._attributes["settings"])
        self._kept = checksums.kept_arrays(self._attributes)
        self.block = int(self._attributes["block"])

    def _check(self, settings, ids, units: pd.DataFrame, create) -> None:
        """Refuse another screen; mend the metadata and tables of this one, where they are damaged."""
        try:
            group, attributes = locks.steady(self.path, lambda: checksums.check_metadata(self.path))
        except ScreenError as error:
            with locks.held(self.path, locks.SHAPES):
                mended = mend_metadata(self.path, create)
            if not mended:
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

        group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
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
                self._mend(start, stop, state)
            finally:
                self.release(lock)
        if names:
            listed = "; ".join(names[:3]) + ("; ..." if len(names) > 3 else "")
            warnings.warn(
                f"{self.path} is damaged: the results of {len(names)} stimuli are computed again ({listed}).",
                stacklevel=4,
            )

    def _mend(self, start: int, stop: int, state: checksums.BlockState) -> None:
        """Forget what is damaged, and mark what is whole."""
        for name in state.unreadable:
            size = self._group[name].chunks[0]
            for index in range(start // size, -(-stop // size)):
                chunk = self.path / name / "c" / str(index)
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

    def id(self, index: int) -> str:
        return str(self._group["stimulus"][index])

    def digest(self, index: int) -> bytes:
        return self._group["digest"][index].tobytes()

    def errors(self) -> dict[str, str]:
        """Reason, by id, of the stimuli that could not be shown."""
        failed = np.flatnonzero(self.done() == FAILED)
        return {str(self._group["stimulus"][i]): str(self._group["error"][i]) for i in failed}

    def claim(self, block: int) -> filelock.FileLock | None:
        """The block for this process alone, until ``release``; None where another process has it."""
        return locks.claim(self.path, str(block))

    def release(self, claim: filelock.FileLock) -> None:
        # Whoever holds the file open and locks it next looks first whether the block is done.
        locks.release(claim)

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
        given = [row for row in rows if row.arrays is not None]
        self._make_room(stop, given)
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
            arrays["done"][i] = DONE if row.arrays is not None else FAILED
        totals = []
        for i in at:
            texts = (arrays[name][i] for name in ("stimulus", "frames", "error", "done"))
            totals.append(checksums.RowDigest(self._identity, start + i, *texts, arrays["digest"][i].tobytes()))  # type: ignore[call-arg]
        others = np.ones(stop - start, bool)
        others[at] = False
        read = bool((arrays["done"][others] == DONE).any())
        for name in self._kept:
            values = self._with_rows(name, start, stop, read, dict(zip(at, rows, strict=True)))
            for total, i in zip(totals, at, strict=True):
                total.add(name, values[i])
            if given:
                self._group[name][start:stop] = values
        for total, i in zip(totals, at, strict=True):
            arrays["checksum"][i] = np.frombuffer(total.digest(), np.uint8)
        names_come_late = self._group["stimulus"].chunks[0] == self.block
        unchanged = {"error": not had_errors, "stimulus": not names_come_late}
        for name in checksums.OF_STIMULUS:  # done comes last
            if not unchanged.get(name):
                self._group[name][start:stop] = arrays[name]

    def _with_rows(self, name: str, start: int, stop: int, read: bool, rows: Mapping[int, Row]) -> np.ndarray:
        """An array of a block, with new rows; ``read``: others are kept."""
        kept = self._group[name]
        values = kept[start:stop] if read else np.full((stop - start, *kept.shape[1:]), np.nan, kept.dtype)
        for i, row in rows.items():
            values[i] = np.nan
            if row.arrays is not None:
                new = row.arrays[name]
                values[(i, *map(slice, new.shape))] = new  # type: ignore[index]
        return values

    def _make_room(self, count: int, given: Sequence[Row]) -> None:
        """Let the arrays grow to a number of stimuli, and to longer ones."""
        import zarr

        def needed(group, name):
            shape = group[name].shape
            longest = (max(sizes) for sizes in zip(shape[1:], *(row.arrays[name].shape for row in given), strict=True))
            return max(shape[0], count), *longest

        def is_small(group):
            return any(needed(group, name) != group[name].shape for name in self._kept)

        if not is_small(self._group):
            return
        with locks.held(self.path, locks.SHAPES):
            group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
            if is_small(group):
                consolidation.forget(self.path)
                shapes = {name: needed(group, name) for name in self._kept}
                for name in checksums.OF_STIMULUS:
                    group[name].resize((shapes[self._kept[0]][0], *group[name].shape[1:]))
                for name, shape in shapes.items():
                    group[name].resize(shape)
            self._group = zarr.open_group(self.path, mode="r+", use_consolidated=False)

    def dataset(self):
        """The results as an ``xarray.Dataset``, read when they are used."""
        if (self.done() == DONE).all():
            with contextlib.suppress(OSError):  # results are good without, and may lie where nobody may write
                with locks.held(self.path, locks.SHAPES):
                    consolidation.consolidate(self.path, self._attributes["arrays"])
            locks.clear(self.path)
            for partial in self.path.rglob("*.partial"):  # of processes that were killed
                partial.unlink(missing_ok=True)
        return _as_dataset(self.path)


def open_screen(path: str | os.PathLike, verify: bool = True) -> "xarray.Dataset":
    """The results of a screen as an ``xarray.Dataset``; they are read from disk where they are used.

    Args:
        verify: compare everything with its checksum first, which reads all of it once. Without, metadata and the table
            of units alone are compared.

    Raises:
        ScreenError: no screen is there, or it is damaged; what is damaged is named.
    """
    path = Path(path).expanduser().absolute()
    group, attributes = locks.steady(path, lambda: checksums.check_metadata(path))
    if verify:
        checksums.require_whole(path, group, attributes)
    else:
        checksums.check_units(path, group, attributes)
    return locks.steady(path, lambda: _as_dataset(path))


def _as_dataset(path: Path):
    import xarray

    dataset = xarray.open_zarr(path, consolidated=False, chunks=None).drop_vars(["digest", "checksum"])
    kept = {"responses", *dataset.attrs["settings"].get("features", ())}
    return with_twins(dataset.set_coords([name for name in dataset.data_vars if name not in kept]))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
