"""A folder for what is published: weights, converted when they arrive, and tables of properties.

::

    DIRECTORY/
      weights/default/            store of converted weights (see ``fnn_jax.weights.store``), and the tables of the zip
      weights/ori-trained/        likewise, of the readouts that were trained further on oriented stimuli
      foundation_model/*.zip      as downloaded; removed when all its scans are converted
      digital_twin_properties/    as downloaded
      checksums.json              SHA-256 of files whose checksum is not published, from when they first came
"""

import contextlib
import hashlib
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fnn_jax.common.arrays import map_array
from fnn_jax.common.directories import DIRECTORY_VARIABLE, cache_directory
from fnn_jax.common.files import whole_file
from fnn_jax.common.progress import checked_progress
from fnn_jax.microns import release
from fnn_jax.microns.downloads import fetch, full_disk, lock, record_checksum, recorded_checksums
from fnn_jax.weights import checkpoint
from fnn_jax.weights.checkpoint import CheckpointError
from fnn_jax.weights.store import Store, is_store
from fnn_jax.weights.units import KEY

OFFLINE_VARIABLE = "FNN_JAX_OFFLINE"
SCAN_BYTES = 25_000_000  # of a converted scan of 10,000 units, and some room
TABLES = ("scans.csv", "units.csv")  # of the zip, kept beside the store
COLUMNS = {
    "performance": ["cc_abs", "cc_max", "cc_norm"],
    "tuning": ["OSI", "DSI", "gOSI", "gDSI", "pref_ori", "pref_dir"],
    "anatomy": ["unit_x", "unit_y", "unit_z", "brain_area", "field"],
    "readout": [],
}


def is_cache(directory: str | os.PathLike) -> bool:
    """Whether a folder looks like one of these."""
    weights: list[str | Path] = [Path("weights") / tag for tag in release.MICRONS.weights]
    return any((Path(directory) / part).is_dir() for part in (*weights, "foundation_model", "digital_twin_properties"))


class Cache:
    """What is published, as far as it is here; the rest is downloaded when it is asked for.

    Args:
        directory: see ``cache_directory``.
        offline: download nothing; by default, whether the variable FNN_JAX_OFFLINE is set (to anything but 0).
        progress: show a progress bar; None: in terminals and notebooks. False: nothing is said at all.

    Raises:
        ValueError: the folder is a store.
    """

    def __init__(
        self,
        directory: str | os.PathLike | None = None,
        *,
        offline: bool | None = None,
        progress: bool | None = None,
    ):
        self.progress = checked_progress(progress)
        self.directory = cache_directory(directory)
        if is_store(self.directory):
            raise ValueError(
                f"{self.directory} is a folder of converted weights; expected a folder for downloads. Name another one "
                f"(with directory, or the environment variable {DIRECTORY_VARIABLE})."
            )
        self.release = release.MICRONS
        self.offline = os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0") if offline is None else offline

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
            DownloadError, CheckpointError: see ``fetch`` and ``fnn_jax.convert``.
        """
        directory = self.store_directory(weights)
        wanted = list(self.release.num_units) if scans is None else list(dict.fromkeys(scans))
        unknown = [scan for scan in wanted if scan not in self.release.num_units]
        if unknown or not wanted:
            raise ValueError(f"scans is {unknown or wanted}; the published ones are {list(self.release.num_units)}.")
        if (repair and self._damaged(weights, wanted)) or not set(wanted) <= set(self.scans(weights)):
            if self.offline and not self.archive(weights).is_file():
                self.require_archive(weights)  # says what is missing, before anything is touched
            with lock(self.directory):
                self._convert(weights, directory, wanted, repair)
        if set(self.release.num_units) <= set(self.scans(weights)):
            with contextlib.suppress(OSError):  # of a folder that cannot be written
                self.archive(weights).unlink(missing_ok=True)
        return directory

    def _convert(self, weights: str, directory: Path, wanted: list[str], repair: bool) -> None:
        """Convert what is missing or damaged; another process may have done it by now."""
        from fnn_jax.convert import PublishedFiles, convert_scans

        damaged = self._damaged(weights, wanted) if repair else []
        missing = [scan for scan in wanted if scan not in self.scans(weights)]
        if not damaged and not missing:
            return
        archive = self.require_archive(weights)  # here before anything is removed
        for path in damaged:
            print(f"fnn_jax: {path} is damaged, and is replaced", file=sys.stderr)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        missing = [scan for scan in wanted if scan not in self.scans(weights)]
        room = SCAN_BYTES * (len(missing) + 1)
        if shutil.disk_usage(self.directory).free < room:
            raise full_disk(self.directory, room, "conversion")
        if missing and self.progress is not False:
            print(f"fnn_jax: converting {', '.join(missing)} into {directory}", file=sys.stderr)
        try:
            with PublishedFiles(archive) as published:
                for name in TABLES:
                    with whole_file(directory / name) as temporary:
                        temporary.write_bytes((published.directory / name).read_bytes())
                    record_checksum(self.directory, self._table(weights, name))
            convert_scans(archive, directory, missing, weights=weights, progress=self.progress)
        except Exception as error:  # Orbax and TensorStore raise many kinds
            if shutil.disk_usage(self.directory).free < SCAN_BYTES:
                raise full_disk(self.directory, room, "conversion") from error
            raise
        for scan in missing:
            Store(directory).load(scan)  # what was written can be read

    def require_archive(self, weights: str) -> Path:
        """The zip of these weights, verified; downloaded if it is not here.

        Raises:
            DownloadError: see ``fetch``.
        """
        return self._fetch(self.release.weights[weights], _check_archive)

    def _damaged(self, weights: str, wanted: Sequence[str]) -> list[Path]:
        """Parts of a store, and tables beside it, that cannot be used."""
        directory = self.store_directory(weights)
        damaged: list[Path] = []
        if not is_store(directory):
            return damaged
        try:
            self.readout_ids(weights)
        except CheckpointError:
            damaged.append(directory / "units.csv")
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
    def _table(weights: str, name: str) -> str:
        return f"weights/{weights}/{name}"

    def readout_ids(self, weights: str) -> pd.DataFrame | None:
        """``session, scan_idx, unit_id, readout_id`` of all units; ``None`` where these weights are not here.

        Raises:
            CheckpointError: the table is missing or was changed.
        """
        self.release.check_tag(weights)
        name = self._table(weights, "units.csv")
        path = self.directory / name
        if not path.is_file():
            if is_store(self.store_directory(weights)):
                raise CheckpointError(f"{path} is missing. Run fnn-jax download --weights {weights}.")
            return None
        table = path.read_bytes()
        recorded = recorded_checksums(self.directory).get(name)
        if recorded not in (None, f"sha256:{hashlib.sha256(table).hexdigest()}"):
            raise CheckpointError(f"{path} was changed or is damaged. Run fnn-jax download --weights {weights}.")
        return pd.read_csv(io.BytesIO(table))[[*KEY, "readout_id"]]

    # --- properties

    def has_properties(self, group: str) -> bool:
        return all((self.directory / file.path).is_file() for file in self._property_files(group).values())

    def require_properties(self, group: str) -> dict[str, Path]:
        """Files of a group of properties by name, downloaded if they are not here.

        Raises:
            ValueError: no such group.
            DownloadError: see ``fetch``.
        """

        files = self._property_files(group)
        return {name: self.require_property(group, file) for name, file in files.items()}

    def require_property(self, group: str, file: release.RemoteFile) -> Path:
        """One of these files, verified; see ``require_properties``."""
        if file.name == "units.csv":
            return self._fetch(file, lambda path: self.check_table(path, COLUMNS[group]))
        return self._fetch(file, self._check_array)

    def _property_files(self, group: str):
        if group not in self.release.properties:
            raise ValueError(f"properties has {group!r}; expected names out of {list(self.release.properties)}.")
        return self.release.properties[group]

    def _check_array(self, path: Path) -> None:
        try:
            shape = map_array(path).shape
        except (OSError, ValueError) as error:
            raise CheckpointError(f"It is no array: {error}") from error
        if len(shape) != 2 or shape[0] != sum(self.release.num_units.values()):
            raise CheckpointError(f"It is an array {list(shape)}, expected one row per unit.")

    def check_table(self, path: Path, columns: Sequence[str]) -> None:
        """Raise ``CheckpointError`` unless a file is a table of all units, each once, with these columns."""
        try:
            table = pd.read_csv(path)
        except ValueError as error:
            raise CheckpointError(f"It is no table: {error}") from error
        missing = [column for column in (*KEY, *columns) if column not in table]
        if missing:
            raise CheckpointError(f"The table lacks the columns {missing}; it has {list(table.columns)}.")
        counts = {f"{s}-{i}": int(n) for (s, i), n in table.groupby(["session", "scan_idx"]).size().items()}
        if counts != dict(self.release.num_units) or table.duplicated(KEY).any():
            expected = sum(self.release.num_units.values())
            names = sorted({*counts, *self.release.num_units})
            other = [
                f"{name}: {counts.get(name, 0)}, expected {self.release.num_units.get(name, 0)}"
                for name in names
                if counts.get(name, 0) != self.release.num_units.get(name, 0)
            ]
            which = f" (units of {'; '.join(other[:3])}: it is of another animal or release)" if other else ""
            raise CheckpointError(f"The table has {len(table)} units, expected {expected}, each once{which}.")

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

    if not is_published_archive(path):
        with open(path, "rb") as file:
            start = file.read(60)
        raise CheckpointError(f"It is no zip of weights; it begins with {start!r}.")
