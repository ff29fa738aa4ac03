"""A store: one folder with a core and the scans that go with it.

::

    DIRECTORY/
      core/                      Orbax checkpoint of the core, shared by the scans
      scans/8-5/parameters/      Orbax checkpoint of everything else; names the core it belongs to by hash
      scans/8-5/units.csv        the table of its units, one row per row of the readout

``fnn-jax convert`` writes stores; ``Store`` reads them, and refuses what does not belong together.
"""

import contextlib
import hashlib
import io
import os
import re
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from fnn_jax.common.files import recover, whole_directory
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.network import Network
from fnn_jax.model.parameters import network_from_parameters, parameter_arrays, split_core
from fnn_jax.version import __version__
from fnn_jax.weights import checkpoint
from fnn_jax.weights.checkpoint import CheckpointError

SCAN_NAME = re.compile(r"\w[\w.-]*")
WRITER = f"fnn_jax {__version__}"


class LoadedScan(NamedTuple):
    """A scan read from a store."""

    network: Network
    units: pd.DataFrame
    metadata: dict[str, Any]


class Store:
    """A folder of converted weights.

    Raises:
        CheckpointError: the folder is no store.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory).expanduser().absolute()
        if not self.directory.exists():
            recover(self.directory)  # what a process left that was killed while it replaced it
        if not is_store(self.directory):
            below = [p for p in sorted(self.directory.iterdir()) if is_store(p)] if self.directory.is_dir() else []
            found = f" Did you mean {' or '.join(map(str, below[:3]))}?" if below else ""
            raise CheckpointError(
                f"{self.directory} holds no converted weights (no folders 'core' and 'scans'). "
                f"Give a folder written by `fnn-jax convert`.{found}"
            )

    def __repr__(self) -> str:
        return f"Store({str(self.directory)!r}, scans={self.scans()})"

    def scans(self) -> list[str]:
        """Names of the scans, such as ``8-5``, in order of session and scan."""
        folders = (path for path in (self.directory / "scans").iterdir() if path.is_dir())
        names = (path.name for path in folders if SCAN_NAME.fullmatch(path.name))
        return sorted(
            names, key=lambda name: [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in name.split("-")]
        )

    def metadata(self, scan: str) -> dict[str, Any]:
        """What was said about a scan when it was written."""
        return checkpoint.load_metadata(self._scan_directory(scan) / "parameters")

    def load(self, scan: str) -> LoadedScan:
        """Network, table of units and metadata of a scan, verified.

        Raises:
            ValueError: the store does not hold this scan; those that it holds are listed.
            CheckpointError: something is damaged, or the scan belongs to another core.
        """
        parameters, units, metadata = self.read_scan(scan)
        core_metadata = checkpoint.load_metadata(self.directory / "core")
        if metadata["core_sha256"] != core_metadata["parameters_sha256"]:
            raise CheckpointError(
                f"The scan {scan} in {self.directory} was saved with another core: it names the core "
                f"{metadata['core_sha256'][:12]}, the store holds {core_metadata['parameters_sha256'][:12]}. "
                "Convert the scan and its core together, from one source."
            )
        core = _load_core(self.directory / "core", core_metadata)
        try:
            network = network_from_parameters(NetworkConfig.from_dict(metadata["config"]), core | parameters)
        except ValueError as error:
            raise CheckpointError(f"The scan {scan} in {self.directory} cannot be used. {error}") from error
        return LoadedScan(network, units, metadata)

    def read_scan(self, scan: str) -> tuple[dict[str, np.ndarray], pd.DataFrame, dict[str, Any]]:
        """What a scan adds to the core, verified by itself: parameters, table of units, metadata.

        Raises:
            See ``load``.
        """
        directory = self._scan_directory(scan)
        parameters, metadata = checkpoint.load(directory / "parameters")
        if metadata["scan"] != scan:
            raise CheckpointError(
                f"{directory} holds the scan {metadata['scan']}: the folder was renamed or copied. Name it as it was."
            )
        units = _read_units(directory / "units.csv", metadata["units_sha256"])
        check_table(units, metadata["config"]["num_units"], str(directory / "units.csv"))
        return parameters, units, metadata

    def _scan_directory(self, scan: str) -> Path:
        return self.directory / "scans" / choose_scan(scan, self.scans(), self.directory)


_cores: weakref.WeakValueDictionary[tuple[str, str, str], jax.Array] = weakref.WeakValueDictionary()
_cores_lock = threading.Lock()


def _load_core(path: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a core, verified when they were read: those in memory, where any network still uses this core."""
    core_sha256, names = metadata["parameters_sha256"], metadata["sha256"]
    device = str(jax.config.jax_default_device)  # type: ignore[attr-defined]
    with _cores_lock:
        shared = {name: _cores.get((core_sha256, name, device)) for name in names}
        if any(array is None for array in shared.values()):
            with jax.ensure_compile_time_eval():  # nothing that is being traced may stay
                shared = jax.device_put(checkpoint.load(path)[0])
            for name, array in shared.items():
                _cores[core_sha256, name, device] = array
    return shared


def choose_scan(scan: str | None, scans: Sequence[str], directory: Path) -> str:
    """The scan that was asked for; where none was, the only one there is.

    Raises:
        ValueError: it is not there, or there are several to choose from; those that are there are listed.
    """
    if scan is None:
        if len(scans) != 1:
            raise ValueError(f"scan is not given, and {directory} holds {len(scans)} scans: {', '.join(scans)}.")
        return scans[0]
    if scan not in scans:
        raise ValueError(f"scan is {scan!r}; {directory} holds: {', '.join(scans) or 'no scan'}.")
    return scan


def is_store(directory: str | os.PathLike) -> bool:
    """Whether a folder looks like a store."""
    return (Path(directory) / "core").is_dir() and (Path(directory) / "scans").is_dir()


@contextlib.contextmanager
def new_store(directory: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill with a core and scans, which takes its place when the block ends without an error.

    Raises:
        FileExistsError: the place is taken; with ``overwrite``, by something else than a store.
    """
    path = Path(directory).expanduser().resolve()
    if overwrite and path.exists() and not (path.is_dir() and {p.name for p in path.iterdir()} <= {"core", "scans"}):
        raise FileExistsError(
            f"{path} holds other things than converted weights and is not overwritten. "
            "Choose another name, or remove it."
        )
    with whole_directory(path, overwrite) as temporary:
        yield temporary


def write_core(directory: Path, network_config: NetworkConfig, core: Mapping[str, np.ndarray], **metadata: Any) -> str:
    """Add the core to a store, whole or not at all; returns its hash, which the scans name.

    Raises:
        CheckpointError: the store has another core.
    """
    config = network_config.to_dict()
    del config["num_units"]  # the scans differ in it
    record = {**metadata, "part": "core", "config": config, "written_by": WRITER}
    (directory / "scans").mkdir(parents=True, exist_ok=True)
    if not (directory / "core").exists():
        try:
            with whole_directory(directory / "core") as temporary:
                checkpoint.save(temporary / "new", core, record)  # Orbax leaves nothing outside when it is killed
                for path in (temporary / "new").iterdir():
                    path.rename(temporary / path.name)
                (temporary / "new").rmdir()
        except FileExistsError:
            pass  # another process wrote it meanwhile
    present = checkpoint.load_metadata(directory / "core")["parameters_sha256"]
    hashes = {name: checkpoint.array_sha256(value) for name, value in core.items()}
    if checkpoint.parameters_sha256(hashes) != present:
        raise CheckpointError(f"{directory} has another core already. Write this one into a new folder.")
    return present


def write_scan(
    directory: Path,
    name: str,
    config: NetworkConfig,
    parameters: Mapping[str, np.ndarray],
    units: pd.DataFrame,
    core_sha256: str,
    **metadata: Any,
) -> None:
    """Add a scan to a store, whole or not at all.

    ``parameters`` are all that are not the core's; ``units`` has one row per unit, indexed by ``readout_id``.

    Raises:
        FileExistsError: the store has this scan already.
        ValueError: a name that cannot be that of a folder.
        CheckpointError: the table does not fit the readout, or other scans of the store hold other published weights.
    """
    if not SCAN_NAME.fullmatch(name):
        raise ValueError(f"The name of the scan is {name!r}; expected letters, digits, '-', '_' and '.', such as 8-5.")
    check_table(units, config.num_units, "The table of units")
    for other in Store(directory).scans():
        try:
            tag = Store(directory).metadata(other).get("weights")
        except CheckpointError:
            continue  # a damaged scan keeps no other one from being written
        if tag != metadata.get("weights"):
            raise CheckpointError(
                f"{directory} holds the weights {tag!r}, the scan {name} is of {metadata.get('weights')!r}. The two "
                "are not mixed in one folder: choose another one."
            )
    table = _as_csv(units)
    record = {
        **metadata,
        "part": "scan",
        "scan": name,
        "config": config.to_dict(),
        "core_sha256": core_sha256,
        "units_sha256": hashlib.sha256(table).hexdigest(),
        "written_by": WRITER,
    }
    with whole_directory(directory / "scans" / name) as temporary:
        checkpoint.save(temporary / "parameters", parameters, record)
        (temporary / "units.csv").write_bytes(table)


def save_network(
    directory: str | os.PathLike,
    network: Network,
    *,
    scan: str = "twin",
    units: pd.DataFrame | None = None,
    overwrite: bool = False,
    **metadata: Any,
) -> None:
    """Write a network as a new store of one scan, with ``metadata`` such as the ``label`` of a twin."""
    core, rest = split_core(parameter_arrays(network))
    units = default_units(network.config.num_units) if units is None else units
    with new_store(directory, overwrite) as temporary:
        core_sha256 = write_core(temporary, network.config, core)
        write_scan(temporary, scan, network.config, rest, units, core_sha256, **metadata)


def units_digest(units: pd.DataFrame) -> str:
    """SHA-256 of a table of units as it is written."""
    return hashlib.sha256(_as_csv(units)).hexdigest()


def _as_csv(units: pd.DataFrame) -> bytes:
    return units.rename_axis("readout_id").to_csv().encode()


def default_units(num_units: int) -> pd.DataFrame:
    """The table of units of a twin that comes without one: just the rows of its readout."""
    return pd.DataFrame(index=pd.RangeIndex(num_units, name="readout_id"))


def check_units(units: pd.DataFrame, num_units: int, source: str) -> None:
    """Refuse a table of all units of a scan that does not fit the readout it describes."""
    if not np.array_equal(units.index.to_numpy(), np.arange(num_units)):
        raise CheckpointError(
            f"{source} lists {len(units)} units for a readout of {num_units}; expected each readout_id from 0 to "
            f"{num_units - 1} once, in order. The table belongs to other weights, or is cut."
        )


def check_table(units: pd.DataFrame, num_units: int, source: str) -> None:
    """Refuse a table that does not say of each row of the readout which unit it is, by its index, ``readout_id``.

    A selection of units keeps the ids of the whole scan, in the order in which they were selected.
    """
    if isinstance(units.index, pd.MultiIndex):
        raise CheckpointError(
            f"{source} has the index {', '.join(map(str, units.index.names))}; expected readout_id: "
            "units.reset_index().set_index('readout_id')."
        )
    if "readout_id" in units and not np.array_equal(units["readout_id"].to_numpy(), units.index.to_numpy()):
        raise CheckpointError(
            f"{source} has a column readout_id that differs from its index, by which units are found; expected row j "
            "of the table for row j of the readout, and units.set_index('readout_id')."
        )
    if len(units) != num_units or not units.index.is_unique:
        raise CheckpointError(
            f"{source} lists {len(units)} units for a readout of {num_units}; expected one row per unit, each "
            "readout_id once. The table belongs to other weights, or is cut."
        )


def _read_units(path: Path, sha256: str) -> pd.DataFrame:
    try:
        table = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Convert the weights again.") from error
    if hashlib.sha256(table).hexdigest() != sha256:
        raise CheckpointError(
            f"{path} differs from its SHA-256: it was changed or is damaged. Convert the weights again."
        )
    return pd.read_csv(io.BytesIO(table), index_col="readout_id")
