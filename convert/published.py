"""The published files: reading and writing ``.pt`` state dicts safely, and the tables beside them."""

import hashlib
import io
import os
import re
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fnn_jax.common.extras import missing
from fnn_jax.common.files import whole_file
from fnn_jax.convert.state_dict import parse_state_dict
from fnn_jax.weights.checkpoint import CheckpointError
from fnn_jax.weights.store import check_units, choose_scan

CORE_FILE = "params_core.pt"
SCAN_FILE = re.compile(r"params_(\d+)_(\d+)\.pt")

Member = Path | zipfile.Path  # a file in a folder, or in a zip


def read_state_dict(path: str | os.PathLike | zipfile.Path) -> dict[str, np.ndarray]:
    """Arrays of a ``.pt`` file by key; the file may be a member of a zip.

    PyTorch is not needed. Only tensors are read: a file whose pickle would run code is refused. Every part is compared
    with its checksum in the file.

    Raises:
        CheckpointError: the file is missing, damaged, or no state dict of tensors.
    """
    return parse_state_dict(read_bytes(path), path)


def write_state_dict(path: str | os.PathLike, state: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a ``.pt`` file that the released package loads."""
    torch = require_torch()
    tensors = OrderedDict((key, torch.from_numpy(np.array(value))) for key, value in state.items())
    with whole_file(path) as temporary:
        torch.save(tensors, temporary)


def read_bytes(path: str | os.PathLike | zipfile.Path) -> bytes:
    """A whole file; a member of a zip is checked against its checksum.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = path if isinstance(path, zipfile.Path) else Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is missing.")
    try:
        return path.read_bytes()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Get the archive again.") from error


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def is_published_archive(path: str | os.PathLike) -> bool:
    """Whether a file is a zip of published files. (A ``.pt`` file is a zip, too.)"""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == CORE_FILE for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


class PublishedFiles:
    """The published layout: ``params_core.pt``, ``params_8_5.pt`` ..., ``scans.csv``, ``units.csv``.

    The files lie in a folder or in a zip, which is read as it is; there they may be in one folder inside. Use it in a
    ``with`` statement, which closes the zip.

    Raises:
        CheckpointError: there is no ``params_core.pt``, or it lies in several folders inside.
    """

    def __init__(self, source: str | os.PathLike):
        self.source = Path(source).expanduser().absolute()
        root: Member
        self._archive = None
        if self.source.is_dir():
            root = self.source
        elif is_published_archive(self.source):
            self._archive = zipfile.ZipFile(self.source)
            root = zipfile.Path(self._archive)
        else:
            raise CheckpointError(
                f"{self.source} is neither a folder nor a zip of published files. Give the folder, or the zip as it is."
            )
        inside = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: path.name)
        places = [path for path in (root, *inside) if (path / CORE_FILE).is_file()]
        if not places or (len(places) > 1 and places[0] != root):
            found = f"{len(places)} folders hold one" if places else "there is none"
            raise CheckpointError(
                f"{self.source} is not in the published layout: one {CORE_FILE} is expected, {found}."
            )
        self.directory = places[0]
        self.core = self.directory / CORE_FILE

    def __enter__(self) -> "PublishedFiles":
        return self

    def __exit__(self, *exception) -> None:
        if self._archive is not None:
            self._archive.close()

    def scans(self) -> list[str]:
        """Names (``8-5``) of the scans whose weights are here, in order."""
        matches = [SCAN_FILE.fullmatch(path.name) for path in self.directory.iterdir()]
        return [f"{s}-{i}" for s, i in sorted((int(m[1]), int(m[2])) for m in matches if m)]

    def scan_file(self, scan: str) -> Member:
        """The weights of a scan.

        Raises:
            ValueError: they are not here; those that are, are listed.
        """
        scan = choose_scan(scan, self.scans(), self.source)
        return self.directory / f"params_{scan.replace('-', '_')}.pt"

    def units(self, scan: str, num_units: int) -> pd.DataFrame:
        """The table of a scan's units, indexed by ``readout_id``, checked against both tables.

        Raises:
            CheckpointError: a table is missing or unreadable, or does not fit a readout of ``num_units``.
        """
        session, scan_idx = map(int, scan.split("-"))
        scans = self._table("scans.csv", ["session", "scan_idx", "units"])
        row = scans[(scans.session == session) & (scans.scan_idx == scan_idx)]
        if len(row) != 1 or int(row.units.iloc[0]) != num_units:
            listed = f"{int(row.units.iloc[0])} units" if len(row) == 1 else f"{len(row)} rows"
            raise CheckpointError(
                f"{self.directory / 'scans.csv'} has {listed} for the scan {scan}, its weights have {num_units} units. "
                "The table and the weights do not belong together."
            )
        units = self._table("units.csv", ["session", "scan_idx", "unit_id", "readout_id"])
        units = units[(units.session == session) & (units.scan_idx == scan_idx)].set_index("readout_id")
        units = units.sort_index()
        check_units(units, num_units, f"{self.directory / 'units.csv'}, scan {scan},")
        return units

    def _table(self, name: str, columns: list[str]) -> pd.DataFrame:
        path = self.directory / name
        try:
            table = pd.read_csv(io.BytesIO(read_bytes(path)))
        except ValueError as error:  # so are pandas' own errors
            raise CheckpointError(f"{path} cannot be read: {error}. It is part of the published files.") from error
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise CheckpointError(f"{path} lacks the columns {missing}; it has {list(table.columns)}.")
        return table


def require_torch(what: str = "Writing .pt files"):
    """PyTorch, which this needs.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{missing(what, 'export')}. The build for CPUs is enough: pip install uv && uv pip install "
            "--torch-backend cpu torch"
        ) from error
    return torch
