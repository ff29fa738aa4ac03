"""Parameters on disk: one Orbax checkpoint each for a core and for what a scan adds to it.

A checkpoint keeps a SHA-256 of every array in its metadata, because the file format itself lets flipped bits pass.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.model.parameters import indented

FORMAT = "fnn_jax parameters 1"


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says why and what to do."""


def array_sha256(array: np.ndarray) -> str:
    """SHA-256 of an array: its dtype, shape and bytes."""
    array = np.asarray(array)
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.asarray(array, order="C").data)
    return digest.hexdigest()


def parameters_sha256(hashes: Mapping[str, str]) -> str:
    """One SHA-256 for a whole set of arrays, from the SHA-256 of each by name."""
    return _json_sha256(dict(hashes))


def _json_sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def save(path: str | os.PathLike, parameters: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    """Write parameters (names to arrays) as a new Orbax checkpoint, whole or not at all.

    ``metadata`` must be JSON-serialisable; the hash of every array is added to it.

    Returns:
        ``parameters_sha256`` of what was written.

    Raises:
        FileExistsError: ``path`` exists.
    """
    from orbax.checkpoint import v1 as ocp

    arrays = {name: np.asarray(value) for name, value in parameters.items()}
    hashes = {name: array_sha256(array) for name, array in arrays.items()}
    digest = parameters_sha256(hashes)
    record = {**metadata, "format": FORMAT, "sha256": hashes, "parameters_sha256": digest}
    record["record_sha256"] = _json_sha256(record)
    path = Path(path).absolute()
    if path.exists():
        raise FileExistsError(f"{path} exists already and is kept as it is. Choose another name.")
    with _this_process_alone():
        ocp.save(path, arrays, custom_metadata=record)  # Orbax writes beside the path and renames
    return digest


def _this_process_alone() -> Any:
    """Orbax in a process that waits for no other one, where several work together."""
    import jax
    from orbax.checkpoint import v1 as ocp

    if jax.process_count() == 1:
        return contextlib.nullcontext()
    this = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process{this}"
    )
    return ocp.Context(multiprocessing_options=alone)


def load_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """What was said about a checkpoint when it was saved.

    Raises:
        CheckpointError: there is no checkpoint, or it was not written by this package.
    """
    return _read_metadata(Path(path))[1]


def load(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Parameters and metadata of a checkpoint, every array checked against its hash.

    Raises:
        CheckpointError: nothing there, not ours, or damaged; damaged arrays are named.
    """
    from orbax.checkpoint import v1 as ocp

    path = Path(path).absolute()
    tree, metadata = _read_metadata(path)
    hashes = metadata["sha256"]
    if set(hashes) != set(tree):
        raise _damaged(path, ["the list of arrays differs from the one that was saved"])
    try:
        # Told that the arrays are NumPy's, Orbax does not replay the devices that they were saved from.
        abstract = {name: np.empty(array.shape, array.dtype) for name, array in tree.items()}
        with _this_process_alone():
            parameters = ocp.load(path, abstract)
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise _damaged(path, [f"{type(error).__name__}: {str(error).splitlines()[0]}"]) from error
    wrong = [name for name, array in parameters.items() if array_sha256(array) != hashes[name]]
    if wrong:
        raise _damaged(path, [f"{name} differs from its SHA-256" for name in wrong])
    return parameters, metadata


def _read_metadata(path: Path):
    from orbax.checkpoint import v1 as ocp

    path = path.absolute()
    if not path.is_dir():
        raise CheckpointError(f"{path} is no checkpoint: there is no such folder.")
    try:
        with _this_process_alone():
            stored = ocp.metadata(path)
    except Exception as error:
        raise _damaged(path, [f"{type(error).__name__}: {str(error).splitlines()[0]}"]) from error
    metadata = stored.custom_metadata
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        found = metadata.get("format") if isinstance(metadata, dict) else None
        raise CheckpointError(
            f"{path} is damaged, or was not written by this version of fnn_jax: its format is {found!r}, expected "
            f"{FORMAT!r}. Convert the weights again."
        )
    record = {name: value for name, value in metadata.items() if name != "record_sha256"}
    if _json_sha256(record) != metadata.get("record_sha256"):
        raise _damaged(path, ["its metadata differ from their SHA-256"])
    if not isinstance(stored.metadata, dict):
        raise _damaged(path, ["Orbax cannot list its arrays"])
    return stored.metadata, metadata


def _damaged(path: Path, problems: list[str]) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {path} is damaged and was not loaded:\n{indented(problems)}\n"
        "Delete it and convert the weights again."
    )
