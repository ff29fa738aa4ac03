"""Whether a screen on disk is what was written: checksums of each stimulus' results, of the tables, of the metadata.

Everything is read through zarr, and its values are hashed, so that a screen stays whole where other programs compress
it anew.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fnn_jax.common.files import json_digest
from fnn_jax.screen import consolidation
from fnn_jax.screen.results import DONE, FAILED, RESPONSES, WAITING, ScreenError

FORMAT = 2
OF_STIMULUS = ("frames", "digest", "checksum", "error", "stimulus", "done")  # in the order in which they are written
SEAL = "attributes_sha256"


class Bad(NamedTuple):
    """A stimulus whose results are not as they were written, and why."""

    index: int  # type: ignore[assignment]  # not the method of a tuple
    why: str


class BlockState(NamedTuple):
    """What a block of stimuli turns out to be.

    ``bad``: stimuli that are damaged. ``unmarked``: those that are whole, and not marked as done: the number that
    ``done`` should hold for each. ``unreadable``: arrays whose chunks cannot be read.
    """

    bad: list[Bad]
    unmarked: dict[int, int]
    unreadable: list[str]


def kept_arrays(attributes: Mapping[str, Any]) -> list[str]:
    """Names of what is kept of each stimulus: responses, and features."""
    responses = [RESPONSES] if RESPONSES in attributes["arrays"] else []
    return [*responses, *attributes["settings"].get("features", ())]


class RowDigest:
    """SHA-256 of all that is kept of a stimulus; ``identity`` is that of the screen's settings."""

    def __init__(self, identity: str, index: int, name: str, frames: int, error: str, done: int, digest: bytes):
        text = json.dumps([identity, int(index), str(name), int(frames), str(error), int(done)])
        self._total = hashlib.sha256(text.encode() + bytes(digest))
        self._has_arrays = done == DONE

    def add(self, name: str, values: np.ndarray) -> None:
        """One of its arrays; they come in the order of ``kept_arrays``."""
        if not self._has_arrays:
            return
        part = _without_end(values)
        named = "" if name == RESPONSES else name
        self._total.update(f"{named}{part.dtype.str}{part.shape}".encode())
        self._total.update(np.ascontiguousarray(part).data)

    def digest(self) -> bytes:
        return self._total.digest()


def _without_end(values: np.ndarray) -> np.ndarray:
    """``[..., unit]`` without the NaN at the ends of its axes: arrays grow where later stimuli are longer."""
    present = ~np.isnan(values).all(-1)
    ends = []
    for axis in range(present.ndim):
        filled = np.flatnonzero(present.any(tuple(other for other in range(present.ndim) if other != axis)))
        ends.append(slice(int(filled[-1]) + 1 if filled.size else 0))
    return values[tuple(ends)]


def columns_digest(columns: Mapping[str, np.ndarray]) -> str:
    """Of a table of units, by column."""
    return json_digest({name: np.asarray(values).tolist() for name, values in columns.items()})


def sealed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with their own SHA-256."""
    plain = json.loads(json.dumps({name: value for name, value in attributes.items() if name != SEAL}))
    return {**plain, SEAL: json_digest(plain)}


def array_metadata_digest(path: Path) -> str:
    """Of the metadata of an array, but for its shape, which grows."""
    metadata = json.loads((path / "zarr.json").read_text())
    del metadata["shape"]
    return json_digest(metadata)


def is_begun(path: Path) -> bool:
    """Whether there is a screen at a path, or what is left of one."""
    return (path / "zarr.json").is_file() or any((path / name).is_dir() for name in (RESPONSES, "checksum"))


def check_metadata(path: Path) -> tuple[Any, dict[str, Any]]:
    """The zarr group of a screen, and its attributes, whole.

    Raises:
        ScreenError: what is there is damaged, or no screen; what is wrong is named.
    """
    import zarr  # late: it takes a while, and most do without

    if not (path / "zarr.json").is_file():
        if is_begun(path):
            raise ScreenError(damaged(path, "the file zarr.json is missing"))
        raise ScreenError(f"{path} holds no screen.")
    try:
        attributes = json.loads((path / "zarr.json").read_text())["attributes"]
        known = "settings" in attributes or SEAL in attributes
        written = attributes.get("format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ScreenError(damaged(path, f"zarr.json cannot be read ({type(error).__name__}: {error})")) from error
    if written != FORMAT and SEAL not in attributes:
        what = f"a screen of the format {written!r}, expected {FORMAT}" if known else "no screen"
        raise ScreenError(f"{path} exists and holds {what}; it is kept. Choose another name.")
    if sealed(attributes) != attributes:
        raise ScreenError(damaged(path, "zarr.json differs from its SHA-256"))
    for name, digest in attributes["arrays"].items():
        try:
            whole = array_metadata_digest(path / name) == digest
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ScreenError(damaged(path, f"{name}/zarr.json cannot be read ({error})")) from error
        if not whole:
            raise ScreenError(damaged(path, f"{name}/zarr.json differs from its SHA-256"))
    try:
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        shapes = {name: group[name].shape for name in attributes["arrays"]}
    except Exception as error:  # zarr raises many kinds
        raise ScreenError(damaged(path, f"{type(error).__name__}: {error}")) from error
    kept = kept_arrays(attributes)
    counts = {name: shapes[name][0] for name in (*kept, *OF_STIMULUS)}
    wanted = attributes["count"]
    if len(set(counts.values())) > 1 or (wanted is not None and set(counts.values()) != {wanted}):
        raise ScreenError(damaged(path, f"its arrays are of {sorted(set(counts.values()))} stimuli"))
    if RESPONSES in kept and shapes[RESPONSES][-1] != attributes["num_units"]:
        raise ScreenError(damaged(path, f"its responses are of {shapes[RESPONSES][-1]} units"))
    lengths: dict[str, int] = {}
    for name in kept:
        own = attributes.get("feature_shapes", {}).get(name, [])
        if own and list(shapes[name][-len(own) :]) != own:
            raise ScreenError(damaged(path, f"its values of {name} have the shape {list(shapes[name])}"))
        for axis, size in zip(group[name].metadata.dimension_names, shapes[name], strict=True):
            if lengths.setdefault(axis, size) != size:
                raise ScreenError(damaged(path, f"its arrays have {lengths[axis]} and {size} entries along {axis}"))
    # Twice: another process may have been at it, between the one file and the others.
    if not any(consolidation.is_right(path, attributes["arrays"]) for _ in range(2)):
        raise ScreenError(damaged(path, "the metadata in zarr.json are not those of the arrays"))
    return group, attributes


def damaged(path: Path, why: str) -> str:
    return (
        f"{path} is damaged: {why}. Call the same screen with the same stimuli and this name again: what is whole is "
        "kept, and the rest is computed again."
    )


def check_units(path: Path, group: Any, attributes: Mapping[str, Any]) -> None:
    """Raise ``ScreenError`` where the table of units is not as it was written."""
    try:
        columns = {name: group[name][:] for name in attributes["units"]}
        whole = columns_digest(columns) == attributes["units_sha256"]
    except Exception as error:  # zarr and its codecs raise many kinds
        raise ScreenError(damaged(path, f"the table of units cannot be read ({error})")) from error
    if not whole:
        raise ScreenError(damaged(path, "the table of units differs from its SHA-256"))


def blocks(group: Any, attributes: Mapping[str, Any]) -> Iterator[tuple[int, int, int]]:
    """Number, first stimulus and end of each block."""
    size, count = attributes["block"], group["done"].shape[0]
    for number, start in enumerate(range(0, count, size)):
        yield number, start, min(start + size, count)


def _raise_what_passes(name: str, error: Exception) -> None:
    """Of errors that say nothing about what is in a file: it may be read the next time, and is not to be replaced."""
    no_file = FileNotFoundError | IsADirectoryError | NotADirectoryError
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and not isinstance(error, no_file)):
        raise ScreenError(
            f"{name} cannot be read now: {type(error).__name__}: {error}. Nothing was changed. Call again when it can "
            "be; what can never be read again, remove, and it is computed again."
        ) from error


def examine(group: Any, attributes: Mapping[str, Any], start: int, stop: int) -> BlockState:
    """Compare what is kept of some stimuli with their checksums.

    Raises:
        ScreenError: the files cannot be read now, which says nothing about them.
    """
    identity = json_digest(attributes["settings"])
    arrays, unreadable = {}, []
    for name in OF_STIMULUS:
        try:
            arrays[name] = group[name][start:stop]
        except Exception as error:  # zarr and its codecs raise many kinds
            _raise_what_passes(name, error)
            unreadable.append(name)
    known = arrays["checksum"].any(1) if "checksum" in arrays else np.zeros(stop - start, bool)
    flags = arrays.get("done", np.zeros(stop - start, np.uint8))
    if not known.any() and not flags.any() and not unreadable:
        return BlockState([], {}, [])  # nothing of it was written
    kept = {}
    for name in kept_arrays(attributes):
        try:
            kept[name] = group[name][start:stop]
        except Exception as error:
            _raise_what_passes(name, error)
            unreadable.append(name)
    if {*unreadable} - {"done"}:
        why = f"{', '.join(unreadable)} cannot be read"
        rows = np.flatnonzero(known | (flags != WAITING)) if "done" in arrays else range(stop - start)
        return BlockState([Bad(start + int(i), why) for i in rows], {}, unreadable)
    bad, unmarked = [], {}
    for i in np.flatnonzero(known | (flags != WAITING)):
        row = (str(arrays["stimulus"][i]), arrays["frames"][i], arrays["error"][i])

        def matches(done, i=i, row=row):
            total = RowDigest(identity, start + i, *row, done, arrays["digest"][i].tobytes())  # type: ignore[call-arg]
            for name, values in kept.items():
                total.add(name, values[i])
            return total.digest() == arrays["checksum"][i].tobytes()

        if flags[i] == WAITING:
            right = next((done for done in (DONE, FAILED) if matches(done)), None)
            if right is not None:
                unmarked[start + int(i)] = right
        elif not matches(flags[i]):
            bad.append(Bad(start + int(i), "differs from its SHA-256"))
    return BlockState(bad, unmarked, unreadable)


def require_whole(path: Path, group: Any, attributes: Mapping[str, Any]) -> None:
    """Raise ``ScreenError`` for the first block with a stimulus that is damaged; nothing is read twice."""
    check_units(path, group, attributes)
    for number, start, stop in blocks(group, attributes):
        state = examine(group, attributes, start, stop)
        if state.bad or state.unreadable:
            what = [f"stimulus {bad.index} {bad.why}" for bad in state.bad[:3]]
            what = what or [f"{', '.join(state.unreadable)} cannot be read"]
            raise ScreenError(damaged(path, f"in block {number}, {'; '.join(what)}"))


def ids_digest(ids: Sequence[str] | None) -> str | None:
    return None if ids is None else json_digest(list(map(str, ids)))
