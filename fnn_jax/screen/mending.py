"""Metadata of a screen on disk that are damaged, made again from what the screen is known to be."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fnn_jax.common.files import temporary_prefix, whole_file
from fnn_jax.screen import checksums, locks
from fnn_jax.screen.results import WAITING, ScreenError


def mend_metadata(path: Path, create: Callable[[Path], None]) -> bool:
    """Give a screen the metadata that it should have, where results in it prove to be of the same settings.

    ``create`` makes an empty screen of these settings at a path. What stands in the metadata of arrays beside that is
    their shape, which follows from the other arrays. False: this cannot be told, and nothing was changed.
    """
    import zarr

    with tempfile.TemporaryDirectory(prefix=temporary_prefix(path), dir=path.parent) as folder:
        trial = Path(folder) / "trial.zarr"
        create(trial)
        new = {file.relative_to(trial): json.loads(file.read_text()) for file in trial.rglob("zarr.json")}
        old = {}
        for name in new:
            with contextlib.suppress(OSError, ValueError):
                old[name] = json.loads((path / name).read_text())
        try:
            shapes = {name.parent.name: old[name]["shape"] for name in new if "shape" in old.get(name, {})}
            counts = sorted(shapes[name][0] for name in checksums.OF_STIMULUS if name in shapes)
            count = counts[len(counts) // 2]  # one of them may be the damaged one
            for name, metadata in new.items():
                if "shape" in metadata and metadata["dimension_names"][0] == "stimulus":
                    metadata["shape"] = _grown(metadata, count, shapes.get(name.parent.name, ()))
                (trial / name).write_text(json.dumps(metadata))
            for name in new:
                if name.parent.name:
                    shutil.rmtree(trial / name.parent / "c", ignore_errors=True)
                    if (path / name.parent / "c").is_dir():
                        (trial / name.parent / "c").symlink_to(path / name.parent / "c")
            group = zarr.open_group(trial, mode="r")
            longest = int(group["frames"][:].max(initial=0))
            for name, metadata in new.items():
                if "time" in metadata.get("dimension_names", ()):
                    metadata["shape"][1] = max(longest, 1)
                    (trial / name).write_text(json.dumps(metadata))
            group, attributes = checksums.check_metadata(trial)
            states = [checksums.examine(group, attributes, a, b) for _, a, b in checksums.blocks(group, attributes)]
            whole = int((group["done"][:] != WAITING).sum()) - sum(len(state.bad) for state in states)
        except (ScreenError, OSError, ValueError, KeyError, IndexError, TypeError):
            return False
        if whole <= 0:
            return False
        for name, metadata in new.items():
            if old.get(name) != metadata:
                with whole_file(path / name, folder=locks.folder(path)) as temporary:
                    temporary.write_text(json.dumps(metadata, indent=2))
    return True


def _grown(metadata: Any, count: int, old: Sequence[int]) -> list[int]:
    """The shape of an array of so many stimuli, which had another one; a caller's reduction may have made it longer."""
    axes, shape = metadata["dimension_names"], list(metadata["shape"])
    if len(old) == len(shape):
        shape = [before if axis.startswith("axis") else now for axis, before, now in zip(axes, old, shape, strict=True)]
    return [count, *shape[1:]]
