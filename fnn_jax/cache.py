"""A folder for what is published: weights, converted when they arrive, and tables of properties.

::

    DIRECTORY/
      weights/default/            store of converted weights (see ``fnn_jax.store``), and the tables of the zip
      weights/ori-trained/        likewise, of the readouts that were trained further on oriented stimuli
      foundation_model/*.zip      as downloaded; removed when all its scans are converted
      digital_twin_properties/    as downloaded
      checksums.json              SHA-256 of files whose checksum is not published, from when they first came
"""

import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fnn_jax import release
from fnn_jax.checkpoint import CheckpointError
from fnn_jax.download import fetch, full_disk, lock
from fnn_jax.files import whole_file
from fnn_jax.store import Store, is_store
from fnn_jax.units import KEY

DIRECTORY_VARIABLE = "FNN_JAX_CACHE"
OFFLINE_VARIABLE = "FNN_JAX_OFFLINE"
SCAN_BYTES = 25_000_000  # of a converted scan of 10,000 units, and some room
TABLES = ("scans.csv", "units.csv")  # of the zip, kept beside the store
COLUMNS = {
    "performance": ["cc_abs", "cc_max", "cc_norm"],
    "tuning": ["OSI", "DSI", "gOSI", "gDSI", "pref_ori", "pref_dir"],
    "anatomy": ["unit_x", "unit_y", "unit_z", "brain_area", "field"],
    "readout": [],
}


def cache_directory(directory: str | os.PathLike | None = None) -> Path:
    """The folder that is named, else that of the variable FNN_JAX_CACHE, else one in the user's cache."""
    import pooch

    directory = directory or os.environ.get(DIRECTORY_VARIABLE) or pooch.os_cache("fnn_jax")
    return Path(directory).expanduser().absolute()


def is_cache(directory: str | os.PathLike) -> bool:
    """Whether a folder looks like one of these."""
    parts = ("weights", "foundation_model", "digital_twin_properties")
    return any((Path(directory) / part).is_dir() for part in parts)


class Cache:
    """What is published, as far as it is here; the rest is downloaded when it is asked for.

    Args:
        directory: see ``cache_directory``.
        offline: download nothing; by default, whether the variable FNN_JAX_OFFLINE is set (to anything but 0).
        progress: show progress bars; by default in terminals. ``False`` says nothing at all.
    """

    def __init__(
        self,
        directory: str | os.PathLike | None = None,
        *,
        offline: bool | None = None,
        progress: bool | None = None,
    ):
        self.directory = cache_directory(directory)
        self.release = release.MICRONS
        self.offline = os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0") if offline is None else offline
        self.progress = progress

    def __repr__(self) -> str:
        return f"Cache({str(self.directory)!r})"

    # --- weights

    def store_directory(self, weights: str) -> Path:
        self.release.check_tag(weights)
        return self.directory / "weights" / weights

    def scans(self, weights: str) -> list[str]:
        """Scans of these weights that are here and converted."""
        directory = self.store_directory(weights)
        return Store(directory).scans() if is_store(directory) else []

    def archive(self, weights: str) -> Path:
        """Where the zip of these weights is, when it is here."""
        self.release.check_tag(weights)
        return self.directory / self.release.weights[weights].path

    def require_scans(self, weights: str, scans: Sequence[str] | None = None, *, repair: bool = False) -> Path:
        """The store with these scans (default all); what is missing is downloaded and converted.

        With ``repair`` what is there is verified first, and replaced where it is damaged.

        Raises:
            ValueError: weights or scans that do not exist.
            ImportError: something must be converted, and PyTorch is missing.
            DownloadError, CheckpointError: see ``fetch`` and ``fnn_jax.convert``.
        """
        directory = self.store_directory(weights)
        wanted = list(self.release.num_units) if scans is None else list(dict.fromkeys(scans))
        unknown = [scan for scan in wanted if scan not in self.release.num_units]
        if unknown or not wanted:
            raise ValueError(f"scans is {unknown or wanted}; the published ones are {list(self.release.num_units)}.")
        damaged = self._damaged(directory, wanted) if repair else []
        if damaged or not set(wanted) <= set(self.scans(weights)):
            self._require_torch()
            with lock(self.directory):
                for path in damaged:
                    print(f"fnn_jax: {path} is damaged, and is replaced", file=sys.stderr)
                    shutil.rmtree(path)
                self._convert(weights, directory, wanted)
        return directory

    def _convert(self, weights: str, directory: Path, wanted: list[str]) -> None:
        from fnn_jax.convert import PublishedFiles, convert_scans

        missing = [scan for scan in wanted if scan not in self.scans(weights)]
        if missing:
            published = PublishedFiles(self._fetch(self.release.weights[weights], _check_archive))
            if shutil.disk_usage(self.directory).free < SCAN_BYTES * (len(missing) + 1):
                raise full_disk(self.directory, SCAN_BYTES * (len(missing) + 1), "conversion")
            if self.progress is not False:
                print(f"fnn_jax: converting {', '.join(missing)} into {directory}", file=sys.stderr)
            try:
                for name in TABLES:
                    with whole_file(directory / name) as temporary:
                        temporary.write_bytes((published.directory / name).read_bytes())
                convert_scans(
                    published.source, directory, missing, weights=weights, progress=self._shows_progress(missing)
                )
            except Exception as error:  # Orbax and TensorStore raise many kinds
                if shutil.disk_usage(self.directory).free < SCAN_BYTES:
                    raise full_disk(self.directory, SCAN_BYTES * len(missing), "conversion") from error
                raise
            for scan in missing:
                Store(directory).load(scan)  # what was written can be read
        if set(self.release.num_units) <= set(self.scans(weights)):
            self.archive(weights).unlink(missing_ok=True)

    @staticmethod
    def _damaged(directory: Path, wanted: Sequence[str]) -> list[Path]:
        """Parts of a store that do not load."""
        from fnn_jax import checkpoint

        damaged = []
        if not is_store(directory):
            return damaged
        try:
            checkpoint.load(directory / "core")
        except CheckpointError:
            damaged.append(directory / "core")
        store = Store(directory)
        for scan in set(wanted) & set(store.scans()):
            try:
                store.read_scan(scan)
            except CheckpointError:
                damaged.append(directory / "scans" / scan)
        return damaged

    @staticmethod
    def _require_torch() -> None:
        from fnn_jax.convert.published import require_torch

        require_torch()

    def _shows_progress(self, scans: Sequence[str]) -> bool:
        return len(scans) > 1 and (sys.stderr.isatty() if self.progress is None else self.progress)

    # --- properties

    def has_properties(self, group: str) -> bool:
        return all((self.directory / file.path).is_file() for file in self._property_files(group).values())

    def require_properties(self, group: str) -> dict[str, Path]:
        """Files of a group of properties by name, downloaded if they are not here.

        Raises:
            ValueError: no such group.
            DownloadError: see ``fetch``.
        """

        def check(path: Path, name: str) -> None:
            if name == "units.csv":
                self._check_table(path, COLUMNS[group])
            else:
                shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
                if len(shape) != 2 or shape[0] != sum(self.release.num_units.values()):
                    raise CheckpointError(f"It is an array {list(shape)}, expected one row per unit.")

        files = self._property_files(group)
        return {name: self._fetch(file, lambda path, name=name: check(path, name)) for name, file in files.items()}

    def _property_files(self, group: str):
        if group not in self.release.properties:
            raise ValueError(f"properties has {group!r}; expected names out of {list(self.release.properties)}.")
        return self.release.properties[group]

    def _check_table(self, path: Path, columns: Sequence[str]) -> None:
        try:
            table = pd.read_csv(path)
        except ValueError as error:
            raise CheckpointError(f"It is no table: {error}") from error
        missing = [column for column in (*KEY, *columns) if column not in table]
        if missing:
            raise CheckpointError(f"The table lacks the columns {missing}; it has {list(table.columns)}.")
        counts = {f"{s}-{i}": int(n) for (s, i), n in table.groupby(["session", "scan_idx"]).size().items()}
        if counts != dict(self.release.num_units) or table.duplicated(KEY).any():
            raise CheckpointError(f"The table has {len(table)} units, expected {sum(self.release.num_units.values())}.")

    def _fetch(self, file: release.RemoteFile, check) -> Path:
        return fetch(
            file,
            self.directory,
            self.release.base_url,
            check=check,
            offline=self.offline,
            progress=self.progress,
        )


def _check_archive(path: Path) -> None:
    from fnn_jax.convert.published import is_published_archive

    if not zipfile.is_zipfile(path) or not is_published_archive(path):
        with open(path, "rb") as file:
            start = file.read(60)
        raise CheckpointError(f"It is no zip of weights; it begins with {start!r}.")
