"""The conversion: published weights in, a store of Orbax checkpoints out."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fnn_jax.common.files import file_digest, whole_file
from fnn_jax.common.progress import checked_progress, progress_bar
from fnn_jax.convert import keys
from fnn_jax.convert.published import (
    CORE_FILE,
    PublishedFiles,
    is_published_archive,
    parse_state_dict,
    read_bytes,
    read_state_dict,
    sha256,
    write_state_dict,
)
from fnn_jax.microns import release
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.parameters import compare_shapes, indented, is_core, parameter_shapes, split_core
from fnn_jax.weights.checkpoint import CheckpointError
from fnn_jax.weights.store import WRITER, Store, default_units, is_store, new_store, write_core, write_scan

UNITS_KEY = "readout.feature.weights.0"  # its first axis counts the units


def convert(
    source: str | os.PathLike,
    destination: str | os.PathLike,
    *,
    scans: Sequence[str] | None = None,
    name: str = "twin",
    config: NetworkConfig | None = None,
    label: str = "",
    weights: str | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Store:
    """Convert published weights, or a twin that somebody trained with the released package.

    Args:
        source: a folder in the published layout or the published zip, or one ``.pt`` file with all keys.
        destination: the store to write. It appears when all of it is converted and verified, or not at all.
        scans: which scans of a folder, such as ``["8-5", "6-4"]``; default all.
        name: what the scan of a single file is called.
        config: the architecture; default the published one. Its number of units is taken from the weights.
        label: a remark shown wherever the weights are used.
        weights: which of the published weights these are, ``"default"`` or ``"ori-trained"``; by default found from the
            checksum of the zip, and left open where that is not known.
        overwrite: replace an existing destination, once the new one is complete.
        progress: show a progress bar; None: in terminals and notebooks. One scan alone shows one only where it is True.

    Returns:
        The new store.

    Raises:
        CheckpointError: a source cannot be used; all its problems are reported together.
        FileExistsError: the destination exists.
        ValueError: a scan that the source does not hold.
    """
    progress = checked_progress(progress)
    source, destination = Path(source).expanduser(), Path(destination).expanduser()
    if not source.exists():
        raise CheckpointError(
            f"{source} does not exist. Give the folder or the zip of the published files, or one .pt file."
        )
    if destination.resolve() in (source.resolve(), *source.resolve().parents):
        raise FileExistsError(f"{destination} holds the source {source}, which is kept. Give another destination.")
    if isinstance(scans, str) or (scans is not None and not len(scans)):
        raise ValueError(f"scans is {scans!r}; expected a list of names such as ['8-5'], or None for all.")
    with new_store(destination, overwrite) as temporary:
        if source.is_dir() or is_published_archive(source):
            with PublishedFiles(source) as published:
                names = published.scans() if scans is None else list(dict.fromkeys(scans))
                if not names:
                    raise CheckpointError(f"{published.source} holds {CORE_FILE} but no scan (params_8_5.pt, ...).")
                _add_published(temporary, published, names, config, label, weights, progress)
        else:
            if scans is not None:
                raise ValueError(f"scans is {list(scans)}, but {source} is a single file; expected no choice of scans.")
            if weights is not None:
                raise ValueError(f"weights is {weights!r}, but {source} is a single file; published weights are many.")
            _add_file(temporary, source, name, config, label)
        store = Store(temporary)
        for scan in store.scans():
            store.load(scan)  # what was written can be read
    return Store(destination)


def convert_scans(
    source: str | os.PathLike,
    store: str | os.PathLike,
    scans: Sequence[str],
    *,
    config: NetworkConfig | None = None,
    weights: str | None = None,
    progress: bool | None = None,
) -> None:
    """Add scans of published files to a store, which is made where it does not exist; those it has are kept.

    Where another process adds the same scan meanwhile, one of them stays: they are the same. Arguments and errors as
    for ``convert``; each scan appears whole or not at all.
    """
    with PublishedFiles(source) as published:
        _add_published(Path(store), published, scans, config, "", weights, progress)


def to_state_dict(config: NetworkConfig, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters of a network as a state dict of the released package, its constant buffers included."""
    state = {key: value for entry in keys.entries(config) for key, value in entry.write(parameters[entry.path]).items()}
    return state | keys.constants(config)


def write_published_scan(
    directory: str | os.PathLike, config: NetworkConfig, parameters: Mapping[str, np.ndarray], units: pd.DataFrame
) -> None:
    """Write a scan in the published layout, into a new folder or beside other scans of the same core.

    ``units`` has the columns ``session, scan_idx, unit_id``, the same scan in every row, indexed by ``readout_id``.

    Raises:
        CheckpointError: the folder has another core.
        FileExistsError: it has this scan already.
    """
    directory = Path(directory)
    session, scan_idx = (int(units[column].iloc[0]) for column in ("session", "scan_idx"))
    core_state, scan_state = split_core(to_state_dict(config, parameters))
    core_file, scan_file = directory / CORE_FILE, directory / f"params_{session}_{scan_idx}.pt"
    if scan_file.exists():
        raise FileExistsError(f"{scan_file} exists already and is kept as it is.")
    if not core_file.exists():
        write_state_dict(core_file, core_state)
    elif any(not np.array_equal(value, core_state[key]) for key, value in read_state_dict(core_file).items()):
        raise CheckpointError(f"{core_file} is another core. Write this scan into a new folder.")
    write_state_dict(scan_file, scan_state)
    row = pd.DataFrame([{"session": session, "scan_idx": scan_idx, "units": len(units), "data_id": 0}])
    rows = units.reset_index()[["session", "scan_idx", "unit_id", "readout_id"]]
    for name, table in (("scans.csv", row), ("units.csv", rows)):
        path = directory / name
        present = [pd.read_csv(path)] if path.exists() else []
        with whole_file(path) as temporary:
            pd.concat([*present, table]).to_csv(temporary, index=False)


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


def _add_published(store, published, scans, config, label, weights, progress):
    files = {scan: published.scan_file(scan) for scan in scans}  # all are there before the work begins
    core = _read(published.core)
    origin = _origin(published, weights)
    for scan in progress_bar(progress, "convert", "scan", len(scans), over=scans, least=2):
        if is_store(store) and scan in Store(store).scans():
            continue
        try:
            _add_published_scan(store, published, core, scan, files[scan], config, label, origin)
        except FileExistsError:  # another process may have written it meanwhile
            if scan not in Store(store).scans():
                raise


def _origin(published, weights):
    """Which published weights these are, and the archive they lie in."""
    if weights is not None:
        release.MICRONS.check_tag(weights)
    if published.source.is_dir():
        return {} if weights is None else {"weights": weights}
    known = release.MICRONS.tag_of(published.source)
    if weights is not None and weights != known and (known or release.MICRONS.weights[weights].checksum):
        found = f"the zip of {known!r}" if known else "another file, by its checksum"
        raise ValueError(f"weights is {weights!r}, but {published.source} is {found}.")
    archive = {"file": published.source.name, "sha256": file_digest(published.source)}
    weights = known or weights
    return {"archive": archive} | ({} if weights is None else {"weights": weights})


def _read(path):
    """The state dict in a file, and the file's name and SHA-256."""
    data = read_bytes(path)
    return parse_state_dict(data, path), {"file": path.name, "sha256": sha256(data)}


def _add_published_scan(store, published, core, scan, path, config, label, origin):
    (core_state, core_source), (scan_state, source) = core, _read(path)
    misplaced = [f"{published.core.name} holds {key}" for key in core_state if not is_core(key)]
    misplaced += [f"{path.name} holds {key}" for key in scan_state if is_core(key)]
    if misplaced:
        raise CheckpointError(f"Core and scan in {published.source} are mixed up:\n{indented(misplaced)}")
    config = _with_units(config, scan_state)
    parameters = from_state_dict(core_state | scan_state, config, f"{published.core.name} with {path.name}")
    units = published.units(scan, config.num_units)
    animal_id = release.MICRONS.animal_of(scan, config.num_units)
    if animal_id is not None:
        origin = {"animal_id": animal_id, **origin}
    elif "weights" in origin:
        raise CheckpointError(
            f"{published.source} is said to hold the published weights {origin['weights']!r}, but its scan {scan} has "
            f"{config.num_units} units, the published one {release.MICRONS.num_units.get(scan, 'does not exist')}. "
            "Leave out weights, if these are of another animal."
        )
    columns = {name: origin[name] for name in ("animal_id", "weights") if name in origin}
    _add(store, scan, config, parameters, units.assign(**columns), core_source, source, label, origin)


def _add_file(store, path, name, config, label):
    state, source = _read(path)
    config = _with_units(config, state)
    parameters = from_state_dict(state, config, path.name)
    _add(store, name, config, parameters, default_units(config.num_units), source, source, label, {})


def _with_units(config, state):
    """The architecture with as many units as the weights have; a missing readout is reported with other keys."""
    weights = state.get(UNITS_KEY)
    num_units = len(weights) if weights is not None and weights.ndim and len(weights) else 1
    if config is None:
        return release.MICRONS.architecture(num_units)
    return NetworkConfig.from_dict(config.to_dict() | {"num_units": num_units})


def _add(store, name, config, parameters, units, core_source, source, label, origin):
    core, rest = split_core(parameters)
    core_sha256 = write_core(store, config, core, source=core_source, converter=WRITER)
    record = {"source": source, "core_source": core_source, "converter": WRITER, "label": label}
    write_scan(store, name, config, rest, units, core_sha256, **record, **origin)
