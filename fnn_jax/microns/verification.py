"""Is what is on disk whole, does it belong together, and does it compute what the released code computes?"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.microns.cache import Cache, is_cache
from fnn_jax.microns.downloads import recorded_checksums
from fnn_jax.microns.release import RemoteFile
from fnn_jax.twin.twin import Twin
from fnn_jax.weights import checkpoint
from fnn_jax.weights.checkpoint import CheckpointError
from fnn_jax.weights.store import Store, is_store

RESPONSE_TOLERANCE = 1e-5  # relative, as in docs/numbers.md
LOCATION_TOLERANCE = 1e-2  # of half the monitor: factors like 127/128 may be missing in one recipe, a sign may not
COMPARED_UNITS, COMPARED_FRAMES = 64, 12


def verify(
    directory: str | os.PathLike, *, weights: str | None = None, released: bool | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Check everything in a folder of weights: a store, or a folder of ``download``.

    Args:
        weights: only these of a folder of ``download``.
        released: compare responses with the released package; default: where it is importable.

    Returns:
        A table with a row per part and a column per check (``ok``, ``FAILED``, ``-`` where there is nothing to check,
        or a measured number), and a list of problems, empty if there is none.

    Raises:
        CheckpointError: the folder holds no converted weights.
        ImportError: ``released`` is set and the package is not importable.
    """
    directory = Path(directory).expanduser().absolute()
    if released is None:
        from fnn_jax.convert.export import released_package_is_there

        released = released_package_is_there()
    cache = Cache(directory, offline=True, progress=False) if is_cache(directory) else None
    report = _Report()
    for tag, store in _stores(directory, weights).items():
        report.weights = tag
        _verify_store(report, store, cache, released)
    if cache is not None:
        _verify_downloads(report, cache, weights)
    if not report.rows:
        raise CheckpointError(f"{directory} holds nothing that could be verified.")
    return report.table(), report.problems


def info(directory: str | os.PathLike) -> pd.DataFrame:
    """What is in a folder of weights: a row per core, scan and downloaded file, with size and provenance.

    Where the folder itself holds no weights, those in the folders below it, such as those of the demonstration; the
    first column says where.

    Raises:
        CheckpointError: the folder holds no weights that are converted, and nothing that was downloaded.
    """
    directory = Path(directory).expanduser().absolute()
    rows = []

    def add(tag, part, path, checkpoint_path):
        try:
            metadata = checkpoint.load_metadata(checkpoint_path)
        except CheckpointError:
            rows.append((tag, part, "", _size(path), "DAMAGED", "", "", ""))
            return
        source, archive = metadata.get("source", {}), metadata.get("archive", {})
        units = metadata["config"].get("num_units", "")
        made = source.get("file", metadata.get("label", "")), source.get("sha256", "")[:12], archive.get("file", "")
        rows.append((tag, part, units, _size(path), *made, metadata["written_by"]))

    for tag, store in (_stores_below(directory) or _stores(directory, None)).items():
        add(tag, "core", store.directory / "core", store.directory / "core")
        for scan in store.scans():
            path = store.directory / "scans" / scan
            add(tag, scan, path, path / "parameters")
    if is_cache(directory):
        recorded = recorded_checksums(directory)
        for name, file, _ in _downloads(Cache(directory)):
            size = (directory / file.path).stat().st_size
            checksum = (file.checksum or recorded.get(file.path, "")).partition(":")[2][:12]
            rows.append(("", name, "", size, file.path, checksum, "", "download"))
    columns = ["weights", "part", "num_units", "MB", "source", "checksum", "archive", "written_by"]
    table = pd.DataFrame(rows, columns=columns)
    table["MB"] = (table["MB"] / 1e6).round(1)
    return table


def _downloads(cache: Cache) -> list[tuple[str, RemoteFile, Callable[[], Path]]]:
    """Downloaded files that are here: a short name, the file, and what verifies it."""
    found = [(f"{tag} zip", f, partial(cache.require_archive, tag)) for tag, f in cache.release.weights.items()]
    for group, files in cache.release.properties.items():
        found += [(f"{group}/{name}", f, partial(cache.require_property, group, f)) for name, f in files.items()]
    return [entry for entry in found if (cache.directory / entry[1].path).is_file()]


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _stores(directory: Path, weights: str | None) -> dict[str, Store]:
    """Stores by the tag of their weights."""
    if is_store(directory):
        store = Store(directory)
        tag = _tag(store)
        if weights not in (None, tag):
            raise CheckpointError(f"{directory} holds the weights {tag or 'without a name'!r}, not {weights!r}.")
        return {tag: store}
    found = {}
    if is_cache(directory):
        cache = Cache(directory, offline=True)
        for tag in cache.release.weights if weights is None else [weights]:
            if is_store(cache.store_directory(tag)):
                found[tag] = Store(cache.store_directory(tag))
    if not found and not (is_cache(directory) and weights is None):
        raise CheckpointError(
            f"{directory} holds no converted weights{f' {weights}' if weights else ''}. Give a folder written by "
            "fnn-jax convert or fnn-jax download."
        )
    return found


def _stores_below(directory: Path) -> dict[str, Store]:
    """Stores up to two folders below one that is neither a store nor of ``download``, by their place in it."""
    if is_store(directory) or is_cache(directory):
        return {}
    below = sorted(path for pattern in ("*", "*/*") for path in directory.glob(pattern) if is_store(path))
    return {path.relative_to(directory).as_posix(): Store(path) for path in below}


def _tag(store: Store) -> str:
    for scan in store.scans():
        try:
            return store.metadata(scan).get("weights") or ""
        except CheckpointError:
            continue
    return ""


class _Report:
    """Results by part and check, and what went wrong."""

    def __init__(self):
        self.weights = ""
        self.rows: dict[tuple[str, str], dict[str, str]] = {}
        self.problems: list[str] = []

    def check(self, part: str, name: str, run: Callable[[], Any]) -> bool:
        """Run a check: it returns a text to show (else ok), or raises."""
        row = self.rows.setdefault((self.weights, part), {})
        try:
            shown = run()
            row[name] = shown if isinstance(shown, str) else "ok"
        except Exception as error:  # whatever it is, the other checks are made
            row[name] = "FAILED"
            kind = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
            self.problems.append(f"{self.weights + ' ' if self.weights else ''}{part}, {name}: {kind}{error}")
            return False
        return True

    def table(self) -> pd.DataFrame:
        index = pd.MultiIndex.from_tuples(self.rows, names=["weights", "part"])
        return pd.DataFrame(list(self.rows.values()), index=index).fillna("-").reset_index()


def _verify_store(report: _Report, store: Store, cache: Cache | None, released: bool) -> None:
    core = store.directory / "core"
    core_ok = report.check("core", "hashes", lambda: checkpoint.load(core))
    core_metadata = checkpoint.load_metadata(core) if core_ok else {}
    for scan in store.scans():
        if not report.check(scan, "hashes", lambda scan=scan: store.read_scan(scan)):
            continue
        metadata = store.metadata(scan)

        def pairing(scan=scan, metadata=metadata):
            if metadata["core_sha256"] != core_metadata.get("parameters_sha256"):
                raise CheckpointError("it was saved with another core, or the core is damaged.")
            if report.weights and metadata.get("weights") != report.weights:
                raise CheckpointError(f"it is of the weights {metadata.get('weights')!r}.")

        if not (core_ok and report.check(scan, "core", pairing)):
            continue
        # A network is only made of arrays that have the shapes of its architecture.
        loaded: list[Twin] = []
        if not report.check(scan, "shapes", lambda scan=scan, to=loaded: to.append(Twin.load(store.directory, scan))):
            continue
        (twin,) = loaded
        if cache is not None:
            report.check(scan, "units", lambda twin=twin: _same_units(twin, cache))
            if cache.has_properties("readout") and report.weights == cache.release.property_weights["readout"]:
                report.check(scan, "readout", lambda twin=twin: compare_readout(twin, cache))
        if released:
            report.check(scan, "released code", lambda twin=twin: _compare_responses(twin))


def _same_units(twin: Twin, cache: Cache) -> str:
    expected = cache.release.num_units.get(twin.name)
    if twin.num_units != expected or twin.provenance.get("animal_id") != cache.release.animal_id:
        raise CheckpointError(f"{twin.num_units} units of animal {twin.provenance.get('animal_id')}, not {expected}.")
    return str(twin.num_units)


def compare_readout(twin: Twin, cache: Cache) -> str:
    """Compare readout weights and locations of the model with the published arrays.

    The release does not say in full how its locations were made, so the model's locations are compared in each
    convention, and the one that agrees is named.

    Raises:
        CheckpointError: the weights differ, or no convention agrees.
    """
    weights, published = published_readout(twin, cache)
    if not np.array_equal(weights, twin.readout_weights()):
        raise CheckpointError(
            f"The published readout weights differ from those of the model, by up to "
            f"{np.abs(weights - twin.readout_weights()).max():.2g}."
        )
    errors = location_errors(twin, published)
    best = min(errors, key=errors.__getitem__)
    if errors[best] > LOCATION_TOLERANCE:
        listed = "; ".join(f"{name}: {error:.2g}" for name, error in errors.items())
        raise CheckpointError(f"The published locations agree with none of the model's: largest differences {listed}.")
    return f"{best}: {errors[best]:.0e}"


def published_readout(twin: Twin, cache: Cache) -> tuple[np.ndarray, np.ndarray]:
    """Published readout weights ``[U, S * C]`` and locations ``[U, 2]`` of a twin's units; downloaded if need be."""
    files = cache.require_properties("readout")
    table = pd.read_csv(files["units.csv"])
    session, scan_idx = map(int, twin.name.split("-"))
    rows = table.index[(table["session"] == session) & (table["scan_idx"] == scan_idx)]
    rows = rows[pd.Index(table.loc[rows, "unit_id"]).get_indexer(twin.units["unit_id"])]
    weights, locations = (
        np.load(files[f"readout_{name}.npy"], mmap_mode="r", allow_pickle=False)[rows]
        for name in ("weights", "locations")
    )
    return weights, locations


def location_errors(twin: Twin, published: np.ndarray) -> dict[str, float]:
    """Largest difference of published locations ``[U, 2]`` from the model's, in each way to read these."""
    errors = {}
    for y in ("down", "up"):
        model = twin.readout_locations(y=y)
        for place in ("monitor", "core"):
            columns = model[[f"{place}_x", f"{place}_y_{y}"]].to_numpy()
            errors[f"{place}, y {y}"] = float(np.abs(columns - published).max())
    return errors


def _compare_responses(twin: Twin) -> str:
    """Largest difference to the responses of the released code, relative to the largest response."""
    from fnn_jax.convert.export import released_network

    random = np.random.default_rng(0)
    height, width = twin.config.stimulus_height, twin.config.stimulus_width
    video = random.integers(0, 256, (COMPARED_FRAMES, height, width), np.uint8)
    eye, behaviour = random.standard_normal((2, COMPARED_FRAMES, 2)).astype(np.float32)
    rows = np.linspace(0, twin.num_units - 1, min(COMPARED_UNITS, twin.num_units)).round().astype(int)
    theirs = released_network(twin).predict(video, eye, behaviour)[:, rows]
    ours = twin.select(twin.units.index[rows]).predict(video, eye, behaviour)
    error = float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))
    if not error <= RESPONSE_TOLERANCE:
        raise CheckpointError(f"responses differ from those of the released code by {error:.2g} of the largest.")
    return f"{error:.0e}"


def _verify_downloads(report: _Report, cache: Cache, weights: str | None) -> None:
    for tag in cache.release.weights if weights is None else [weights]:
        directory = cache.store_directory(tag)
        if directory.exists():
            report.weights = tag
            if not is_store(directory):
                report.check("core", "hashes", lambda directory=directory: Store(directory))
            report.check("units.csv", "hashes", lambda tag=tag: cache.readout_ids(tag))
    report.weights = ""
    stores = [store.directory for store in _stores(cache.directory, weights).values()]
    if len(stores) > 1:

        def same_core():
            if len({checkpoint.load_metadata(path / "core")["parameters_sha256"] for path in stores}) > 1:
                raise CheckpointError("the cores differ, though the published ones are the same.")

        report.check("one core", "core", same_core)
    for name, file, check in _downloads(cache):
        if report.check(name, "hashes", check) and name.endswith("units.csv"):
            report.check(name, "units", lambda file=file: str(len(pd.read_csv(cache.directory / file.path))))
