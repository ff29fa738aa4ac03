"""The conversion: published weights in, a store of Orbax checkpoints out."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from fnn_jax import checkpoint
from fnn_jax.checkpoint import CheckpointError
from fnn_jax.config import NetworkConfig
from fnn_jax.convert import keys
from fnn_jax.convert.published import (
    CORE_FILE,
    PublishedDirectory,
    file_sha256,
    read_state_dict,
    write_state_dict,
)
from fnn_jax.files import refuse_existing, whole_directory
from fnn_jax.model.parameters import compare_shapes, indented, parameter_shapes
from fnn_jax.store import Store, default_units, is_store, write_core, write_scan
from fnn_jax.version import __version__

UNITS_KEY = "readout.feature.weights.0"  # its first axis counts the units


def convert(
    source: str | os.PathLike,
    destination: str | os.PathLike,
    *,
    scans: Sequence[str] | None = None,
    name: str = "twin",
    config: NetworkConfig | None = None,
    label: str = "",
    overwrite: bool = False,
    progress: bool = False,
) -> Store:
    """Convert published weights, or a twin that somebody trained with the released package.

    Args:
        source: a folder in the published layout, or one ``.pt`` file with all keys.
        destination: the store to write. It appears when all of it is converted and verified, or not at all.
        scans: which scans of a folder, such as ``["8-5", "6-4"]``; default all.
        name: what the scan of a single file is called.
        config: the architecture; default the published one. Its number of units is taken from the weights.
        label: a remark shown wherever the weights are used.
        overwrite: replace an existing destination, once the new one is complete.
        progress: show a progress bar.

    Returns:
        The new store.

    Raises:
        CheckpointError: a source cannot be used; all its problems are reported together.
        FileExistsError: the destination exists.
        ValueError: a scan that the source does not hold.
    """
    source, destination = Path(source).expanduser(), Path(destination).expanduser()
    refuse_existing(destination, overwrite)
    if not source.exists():
        raise CheckpointError(f"{source} does not exist. Give the folder of the published files, or one .pt file.")
    with whole_directory(destination, overwrite) as temporary:
        if source.is_dir():
            published = PublishedDirectory(source)
            names = published.scans() if scans is None else list(scans)
            files = [published.scan_file(scan) for scan in names]  # all are there before the work begins
            if not files:
                raise CheckpointError(f"{published.directory} holds {CORE_FILE} but no scan (params_8_5.pt, ...).")
            for scan in tqdm(names, desc="convert", unit="scan", disable=not progress):
                _add_published_scan(temporary, published, scan, config, label)
        else:
            if scans is not None:
                raise ValueError(f"scans is {list(scans)}, but {source} is a single file; expected no choice of scans.")
            _add_file(temporary, source, name, config, label)
        store = Store(temporary)
        for scan in store.scans():
            store.load(scan)  # what was written can be read
    return Store(destination)


def convert_scan(
    source: str | os.PathLike, store: str | os.PathLike, scan: str, config: NetworkConfig | None = None
) -> None:
    """Add one scan of a published folder to a store, which is made where it does not exist."""
    _add_published_scan(Path(store), PublishedDirectory(source), scan, config, "")


def to_state_dict(config: NetworkConfig, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters of a network as a state dict of the released package, its constant buffers included."""
    state = {key: value for entry in keys.entries(config) for key, value in entry.write(parameters[entry.path]).items()}
    return state | keys.constants(config)


def write_published_scan(
    directory: str | os.PathLike, config: NetworkConfig, parameters: Mapping[str, np.ndarray], units: pd.DataFrame
) -> None:
    """Write one scan in the published layout.

    ``units`` has the columns ``session, scan_idx, unit_id``, the same scan in every row, indexed by ``readout_id``.
    """
    directory = Path(directory)
    session, scan_idx = (int(units[column].iloc[0]) for column in ("session", "scan_idx"))
    state = to_state_dict(config, parameters)
    write_state_dict(directory / CORE_FILE, {key: value for key, value in state.items() if keys.is_core(key)})
    scan_state = {key: value for key, value in state.items() if not keys.is_core(key)}
    write_state_dict(directory / f"params_{session}_{scan_idx}.pt", scan_state)
    row = {"session": session, "scan_idx": scan_idx, "units": len(units), "data_id": 0}
    pd.DataFrame([row]).to_csv(directory / "scans.csv", index=False)
    units.reset_index()[["session", "scan_idx", "unit_id", "readout_id"]].to_csv(directory / "units.csv", index=False)


def from_state_dict(state: Mapping[str, np.ndarray], config: NetworkConfig, source: str) -> dict[str, np.ndarray]:
    """Parameters of a network from a state dict; strict.

    Raises:
        CheckpointError: keys are missing, extra or misshapen, or values are not finite; all are reported together.
    """
    entries, constants, shapes = keys.entries(config), keys.constants(config), parameter_shapes(config)
    expected = {key: entry.checkpoint_shape(shapes[entry.path]) for entry in entries for key in entry.keys}
    expected |= {key: value.shape for key, value in constants.items()}
    problems = compare_shapes(expected, {key: value.shape for key, value in state.items()})
    for key, value in state.items():
        if key in constants:
            if value.shape == constants[key].shape and not np.array_equal(value, constants[key]):
                problems.append(f"values of {key}: this buffer is a constant, and differs from it")
        elif value.dtype != np.float32:
            problems.append(f"dtype of {key}: {value.dtype}, expected float32")
        elif not np.isfinite(value).all():
            problems.append(f"values of {key}: {int((~np.isfinite(value)).sum())} are NaN or infinite")
    if problems:
        raise CheckpointError(f"{source} does not hold the weights of this architecture:\n{indented(problems)}")
    return {entry.path: entry.read(state) for entry in entries}


def _add_published_scan(store, published, scan, config, label):
    path = published.scan_file(scan)
    core_state, scan_state = read_state_dict(published.core), read_state_dict(path)
    misplaced = [f"{published.core.name} holds {key}" for key in core_state if not keys.is_core(key)]
    misplaced += [f"{path.name} holds {key}" for key in scan_state if keys.is_core(key)]
    if misplaced:
        raise CheckpointError(f"Core and scan in {published.directory} are mixed up:\n{indented(misplaced)}")
    config = _with_units(config, scan_state, path)
    parameters = from_state_dict(core_state | scan_state, config, f"{published.core.name} with {path.name}")
    units = published.units(scan, config.num_units)
    _add(store, scan, config, parameters, units, {"core": published.core, "scan": path}, label)


def _add_file(store, path, name, config, label):
    state = read_state_dict(path)
    config = _with_units(config, state, path)
    parameters = from_state_dict(state, config, path.name)
    _add(store, name, config, parameters, default_units(config.num_units), {"core": path, "scan": path}, label)


def _with_units(config, state, path):
    weights = state.get(UNITS_KEY)
    if weights is None or weights.ndim != 3 or not len(weights):
        found = "there is no such key" if weights is None else f"its shape is {list(weights.shape)}"
        raise CheckpointError(f"{path} has no readout: {UNITS_KEY} is expected as [units, 1, channels], {found}.")
    if config is None:
        return NetworkConfig.microns(len(weights))
    return NetworkConfig.from_dict(config.to_dict() | {"num_units": len(weights)})


def _add(store, name, config, parameters, units, files, label):
    provenance = {part: {"file": path.name, "sha256": file_sha256(path)} for part, path in files.items()}
    converter = f"fnn_jax {__version__}"
    core = {path: value for path, value in parameters.items() if keys.is_core(path)}
    rest = {path: value for path, value in parameters.items() if not keys.is_core(path)}
    if not is_store(store):
        core_sha256 = write_core(store, config, core, source=provenance["core"], converter=converter)
    else:
        core_sha256 = checkpoint.load_metadata(store / "core")["parameters_sha256"]
        hashes = {path: checkpoint.array_sha256(value) for path, value in core.items()}
        if checkpoint.parameters_sha256(hashes) != core_sha256:
            raise CheckpointError(
                f"{files['core']} is another core than the one in {store}. Convert into a new folder."
            )
    record = {"source": provenance["scan"], "core_source": provenance["core"], "converter": converter, "label": label}
    write_scan(store, name, config, rest, units, core_sha256, **record)
