"""The published digital twins of the MICrONS mouse, in the manner of ``fnn.microns`` of the released package."""

import operator
import os
import re
import sys
from pathlib import Path

import pandas as pd

from fnn_jax.checkpoint import CheckpointError
from fnn_jax.store import Store, choose_scan, is_store
from fnn_jax.twin import Twin

CONVERTED = "fnn_jax"  # where weights converted on first use go, inside the folder of the published files


def scan(session: int, scan_idx: int, *, directory: str | os.PathLike | None = None) -> tuple[Twin, pd.DataFrame]:
    """The twin of a published scan, and the table of its units.

    Args:
        session, scan_idx: the scan, such as 8 and 5.
        directory: a folder of the published files or a converted one; default the working directory. Published files
            are converted on first use, into ``directory/fnn_jax``; this takes PyTorch, later uses do not.

    Returns:
        The twin, and a table with ``session``, ``scan_idx`` and ``unit_id``, indexed by ``readout_id``.

    Raises:
        CheckpointError: no weights there, or they are damaged or do not belong together.
        ValueError: the folder does not hold this scan; those that it holds are listed.
    """
    try:
        name = f"{operator.index(session)}-{operator.index(scan_idx)}"
    except TypeError:
        raise TypeError(
            f"session and scan_idx are {session!r} and {scan_idx!r}; expected integers, as in 8, 5."
        ) from None
    twin = load(os.getcwd() if directory is None else directory, name)
    return twin, twin.units


def load(directory: str | os.PathLike, scan: str | None = None) -> Twin:
    """A twin from a folder of the published files or a converted one, by name (``"8-5"``, or that of a twin of yours).

    The name may be left out where there is one scan only. See ``scan``.
    """
    directory = Path(directory).expanduser().absolute()
    scan = None if scan is None else scan_name(scan)
    if is_store(directory):
        return Twin.load(directory, scan)
    published = _published(directory)
    scan = choose_scan(scan, published.scans(), directory)
    return Twin.load(_converted(published, directory / CONVERTED, scan), scan)


def scan_name(text: str) -> str:
    """``8-5`` from ``8-5``, ``8_5`` or ``08-5``; other names, of twins that somebody trained, as they are."""
    match = re.fullmatch(r"(\d+)[-_](\d+)", str(text))
    return f"{int(match[1])}-{int(match[2])}" if match else str(text)


def _published(directory: Path):
    """The published files in a folder."""
    from fnn_jax.convert.published import PublishedDirectory

    if directory.is_file():
        raise CheckpointError(
            f"{directory} is a file, expected a folder. Convert it first: fnn-jax convert {directory.name} DESTINATION."
        )
    if not directory.is_dir():
        raise CheckpointError(f"{directory} does not exist. Give the folder of the published files or a converted one.")
    try:
        return PublishedDirectory(directory)
    except CheckpointError as error:
        raise CheckpointError(
            f"{directory} holds no weights: neither converted ones (folders 'core' and 'scans') nor the published "
            "files (params_core.pt, params_8_5.pt, ...). docs/weights.md says where to get them."
        ) from error


def _converted(published, store: Path, scan: str) -> Path:
    """The store of published files, with this scan converted into it if it was not."""
    from fnn_jax.convert.published import file_sha256

    path = published.scan_file(scan)
    if is_store(store) and scan in Store(store).scans():
        metadata = Store(store).metadata(scan)
        for file, recorded in ((path, metadata["source"]), (published.core, metadata["core_source"])):
            if file_sha256(file) != recorded["sha256"]:
                raise CheckpointError(
                    f"{file} is not the file that was converted into {store}. Delete that folder to convert it anew."
                )
        return store
    from fnn_jax.convert import convert_scan

    print(f"fnn_jax: converting {path.name} and {published.core.name} into {store}, once", file=sys.stderr)
    try:
        convert_scan(published.directory, store, scan)
    except OSError as error:
        raise CheckpointError(
            f"The weights in {published.directory} are not converted yet, and {store} cannot be written "
            f"({error.strerror or error}). Run `fnn-jax convert {published.directory} DESTINATION` and use that folder."
        ) from error
    return store
