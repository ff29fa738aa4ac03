"""Parameters on disk: one Orbax checkpoint each for a core and for what a scan adds to it.

A checkpoint keeps a SHA-256 of every array in its metadata, because the file format itself lets flipped bits pass.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.common.arrays import array_digest
from fnn_jax.common.files import explained_full_disk, json_digest
from fnn_jax.model.parameters import indented

FORMAT = "fnn_jax parameters 1"
RECORD_KEY = "/record"  # no parameter has such a name
METADATA, ARRAYS = "_CHECKPOINT_METADATA", "state"  # of Orbax's folders


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says why and what to do."""


def array_sha256(array: np.ndarray) -> str:
    """SHA-256 of an array: its dtype, shape and bytes."""
    return array_digest(np.asarray(array)).hex()


def parameters_sha256(hashes: Mapping[str, str]) -> str:
    """One SHA-256 for a whole set of arrays, from the SHA-256 of each by name."""
    return json_digest(dict(hashes))


def save(path: str | os.PathLike, parameters: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    """Write parameters (names to arrays) as a new Orbax checkpoint, whole or not at all.

    ``metadata`` must be JSON-serialisable; the hash of every array is added to it.

    Returns:
        ``parameters_sha256`` of what was written.

    Raises:
        FileExistsError: ``path`` exists.
        ValueError: parameters are of a type that files of NumPy do not know, such as bfloat16.
        DiskFullError: there is no room.
    """
    arrays = {name: np.asarray(value) for name, value in parameters.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc":
            raise ValueError(
                f"parameters[{name!r}] are of type {array.dtype}; expected a type of NumPy's own, such as float32: "
                "np.asarray(value, np.float32)."
            )
    hashes = {name: array_sha256(array) for name, array in arrays.items()}
    digest = parameters_sha256(hashes)
    record = {**metadata, "format": FORMAT, "sha256": hashes, "parameters_sha256": digest}
    record["record_sha256"] = json_digest(record)
    path = Path(path).absolute()
    if path.exists():
        raise FileExistsError(f"{path} exists already and is kept as it is. Choose another name.")
    with explained_full_disk(path):
        _write(path, arrays, record)
    return digest


def _write(path: Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
    import jax

    if jax.process_count() == 1:
        from orbax.checkpoint import v1 as ocp

        ocp.save(path, arrays, custom_metadata=record)  # Orbax writes beside the path and renames
        return
    # Where several processes work together, Orbax would wait for all of them; this one writes for them, in a process
    # that knows nothing of the others.
    content = io.BytesIO()
    np.savez(content, **{RECORD_KEY: np.array(json.dumps(dict(record)))}, **arrays)  # type: ignore[arg-type]
    code = f"import fnn_jax.weights.checkpoint as c; c.write_from_stdin({str(path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=content.getvalue(),
        capture_output=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    if done.returncode:
        raise OSError(done.stderr.decode().strip().splitlines()[-1])


def write_from_stdin(path: str) -> None:
    """What that process does."""
    from orbax.checkpoint import v1 as ocp

    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as file:
        arrays = dict(file)
    record = json.loads(arrays.pop(RECORD_KEY).item())
    ocp.save(Path(path), arrays, custom_metadata=record)


def load_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """What was said about a checkpoint when it was saved.

    Raises:
        CheckpointError: there is no checkpoint, or it was not written by this package.
    """
    path = Path(path).absolute()
    if not path.is_dir():
        raise CheckpointError(f"{path} is no checkpoint: there is no such folder.")
    try:
        content = json.loads((path / METADATA).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, [f"{METADATA} cannot be read: {_first_line(error)}"]) from error
    metadata = content.get("custom_metadata") if isinstance(content, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        found = metadata.get("format") if isinstance(metadata, dict) else None
        raise CheckpointError(
            f"{path} is damaged, or was not written by this version of fnn_jax: its format is {found!r}, expected "
            f"{FORMAT!r}. Convert the weights again."
        )
    record = {name: value for name, value in metadata.items() if name != "record_sha256"}
    if json_digest(record) != metadata.get("record_sha256"):
        raise _damaged(path, ["its metadata differ from their SHA-256"])
    return metadata


def load(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Parameters and metadata of a checkpoint, every array checked against its hash.

    Raises:
        CheckpointError: nothing there, not ours, or damaged; damaged arrays are named.

    Orbax would read the arrays in an event loop that it closes at the first error; what its threads find after that
    they print as tracebacks. TensorStore, which Orbax keeps arrays with, is asked for each array by itself.
    """
    import tensorstore

    path = Path(path).absolute()
    metadata = load_metadata(path)
    files = {"driver": "file", "path": f"{path / ARRAYS}/"}
    reading: dict[str, Any] = {}
    for name in metadata["sha256"]:
        store = {"driver": "ocdbt", "base": files, "path": f"{name}/"}
        reading[name] = tensorstore.open({"driver": "zarr3", "kvstore": store}, open=True, read=True)
    parameters, problems = {}, []
    for read in (lambda opened: opened.result().read(), lambda values: values.result()):  # all at once, twice
        for name in list(reading):
            try:
                reading[name] = read(reading[name])
            except Exception as error:  # TensorStore raises many kinds
                problems.append(f"not readable: {name} ({_first_line(error)})")
                del reading[name]
    for name, digest in metadata["sha256"].items():
        if name in reading:
            parameters[name] = np.asarray(reading.pop(name))
            if array_sha256(parameters[name]) != digest:
                problems.append(f"{name} differs from its SHA-256")
    if problems:
        raise _damaged(path, problems)
    return parameters, metadata


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _damaged(path: Path, problems: list[str]) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {path} is damaged and was not loaded:\n{indented(problems)}\n"
        "Delete it and convert the weights again."
    )
