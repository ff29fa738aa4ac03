"""A screen on disk before the first stimulus: its arrays, empty, and the tables that are known."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.files import whole_directory
from fnn_jax.screen import checksums
from fnn_jax.screen.results import RESPONSES, TEXT, Kept, Layout, unit_columns
from fnn_jax.version import __version__

CHUNK_BYTES = 16 * 2**20  # at most; a chunk of responses is a block of stimuli and all units, where that fits


def create_screen(
    path: Path,
    settings: Mapping[str, Any],
    record: Mapping[str, Any],
    layout: Layout,
    units: pd.DataFrame,
    ids: Sequence[str] | None,
) -> None:
    """Make a screen at a path; arguments as for ``fnn_jax.screen.store.ScreenStore``."""
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
        for name, kept in layout.arrays.items():
            is_responses = name == RESPONSES
            create(
                name,
                (count, *(max(1, size) for size in kept.shape)),
                _chunk_of_responses(block, kept) if is_responses else _chunk_of_feature(block, kept),
                kept.dtype,
                (*stimulus, *kept.axes),
                "predicted mean responses per frame of 1/30 s" if is_responses else "of twin.feature_table()",
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
        names = (*layout.arrays, *checksums.OF_STIMULUS, *columns)
        attributes["arrays"] = {name: checksums.array_metadata_digest(folder / name) for name in names}
        group.attrs.put(checksums.sealed(attributes))


def _chunk_of_responses(block: int, kept: Kept) -> tuple[int, ...]:
    *inner, units = (max(1, size) for size in kept.shape)
    row = int(np.prod([block, *inner])) * kept.dtype.itemsize
    return (block, *inner, min(units, max(256, CHUNK_BYTES // row)))


def _chunk_of_feature(block: int, kept: Kept) -> tuple[int, ...]:
    """Stimuli of one block, as many as fit; of what does not fit, a part of its first axes."""
    chunk = [block, *(max(1, size) for size in kept.shape)]
    for axis, size in enumerate(chunk):
        fit = max(1, CHUNK_BYTES // (kept.dtype.itemsize * math.prod(chunk[axis + 1 :])))
        if fit >= size:
            break
        chunk[axis] = max(d for d in range(1, fit + 1) if block % d == 0) if axis == 0 else fit
        if chunk[axis] > 1:
            break
    return tuple(chunk)
