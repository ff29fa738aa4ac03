"""Metadata of all arrays in the group's own file, so that xarray opens a zarr group in one go and without a warning.

Not ``zarr.consolidate_metadata``, which warns that other programs may not know them, and whose order of the arrays is
that of the directory.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fnn_jax.common.files import whole_file
from fnn_jax.screen import locks

KEY = "consolidated_metadata"


def consolidated(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """What stands in the group's file of these arrays, as their own files say it now."""
    arrays = {name: json.loads((path / name / "zarr.json").read_text()) for name in sorted(names)}
    return {"kind": "inline", "must_understand": False, "metadata": arrays}


def is_right(path: Path, names: Iterable[str]) -> bool:
    """Whether the group's file says nothing of the arrays, or what they say themselves."""
    together = json.loads((path / "zarr.json").read_text()).get(KEY)
    return together is None or together == consolidated(path, names)


def consolidate(path: Path, names: Iterable[str]) -> None:
    """Write them, whole or not at all, where they are not there already.

    Raises:
        OSError: the group cannot be written to.
    """
    file = path / "zarr.json"
    group = json.loads(file.read_text())
    new = group | {KEY: consolidated(path, names)}
    if new != group:
        with whole_file(file, folder=locks.folder(path)) as temporary:
            temporary.write_text(json.dumps(new, indent=2))


def forget(path: Path) -> None:
    """Take them away, before the arrays change their shapes."""
    file = path / "zarr.json"
    group = json.loads(file.read_text())
    if group.pop(KEY, None) is not None:
        with whole_file(file, folder=locks.folder(path)) as temporary:
            temporary.write_text(json.dumps(group, indent=2))
