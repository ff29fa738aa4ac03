"""The published digital twins of the MICrONS mouse, in the manner of ``fnn.microns`` of the released package.

>>> twin, ids = microns.scan(8, 5)
>>> table = microns.units(quality=["reliable", "oriented"], brain_area="V1")
>>> responses = twin.select(table).predict(video)
"""

import operator
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fnn_jax.common.directories import cache_directory
from fnn_jax.microns import property_tables as _properties
from fnn_jax.microns import release
from fnn_jax.microns.cache import Cache, is_cache
from fnn_jax.microns.example import example_recording
from fnn_jax.twin.twin import Twin
from fnn_jax.weights.checkpoint import CheckpointError
from fnn_jax.weights.store import Store, choose_scan, is_store
from fnn_jax.weights.units import filter_units

__all__ = ["download", "example_recording", "join", "load", "scan", "scan_name", "scans", "units"]
CONVERTED = "fnn_jax"  # where weights converted on first use go, inside a folder of the published files


def scan(
    session: int,
    scan_idx: int,
    *,
    weights: str | None = None,
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
) -> tuple[Twin, pd.DataFrame]:
    """The twin of a published scan, and the table of its units.

    What is missing is downloaded (222 MB, all scans in one file) and converted, once.

    Args:
        session, scan_idx: the scan, such as 8 and 5; ``scans`` lists them.
        weights: ``"default"``, or ``"ori-trained"``, whose readouts were trained further on oriented stimuli. When not
            given: the default ones of a folder of ``download``, or whatever another folder holds.
        directory: where the weights are: a folder of ``download``, the published files, or a converted folder. Default:
            that of the environment variable FNN_JAX_CACHE, or one in the user's cache.
        offline: download nothing; default: whether the environment variable FNN_JAX_OFFLINE is set.

    Returns:
        The twin, and a table with ``session``, ``scan_idx`` and ``unit_id``, indexed by ``readout_id``.

    Raises:
        ValueError: a scan or weights that do not exist, or are not in the folder.
        CheckpointError: no weights there, or they are damaged or do not belong together.
        DownloadError: a file is missing and cannot be downloaded.
    """
    try:
        name = f"{operator.index(session)}-{operator.index(scan_idx)}"
    except TypeError:
        raise TypeError(
            f"session and scan_idx are {session!r} and {scan_idx!r}; expected integers, as in 8, 5."
        ) from None
    twin = load(directory, name, weights=weights, offline=offline)
    return twin, twin.units.copy()


def load(
    directory: str | os.PathLike | None = None,
    scan: str | None = None,
    *,
    weights: str | None = None,
    offline: bool | None = None,
) -> Twin:
    """A twin by name: ``"8-5"``, or that of a twin of yours, from any folder of weights.

    ``scan`` may be left out where there is one only. ``weights`` defaults to ``"default"`` where there is a choice; a
    folder that holds other weights than those asked for is refused. See ``scan``.
    """
    scan = None if scan is None else scan_name(scan)
    if weights is not None:
        release.MICRONS.check_tag(weights)
    directory = cache_directory() if directory is None else Path(directory).expanduser().absolute()
    if is_store(directory):
        return _with_tag(Twin.load(directory, scan), weights, directory)
    if directory == cache_directory() or (is_cache(directory) and not _is_published(directory)):
        return _from_cache(Cache(directory, offline=offline), scan, weights or "default")
    published = _published(directory)
    scan = choose_scan(scan, published.scans(), directory)
    if weights is not None:
        raise _other_weights(weights, directory, "published files, and does not say which")
    return Twin.load(_converted(published, directory / CONVERTED, scan), scan)


def download(
    *,
    weights: str | None = "default",
    scans: Sequence[str] | None = None,
    properties: Sequence[str] = _properties.SMALL,
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
) -> Path:
    """Download weights and properties, verify and convert them; what is there already causes no traffic.

    A download that was cut off, or killed, goes on where it was. Weights that are here are verified, and replaced where
    they are damaged.

    Args:
        weights: ``"default"`` or ``"ori-trained"``; ``None`` for properties alone.
        scans: names such as ``["8-5", "6-4"]``; default all 13. The file to download holds all of them: it is kept as
            long as it has scans that are not converted.
        properties: out of ``performance``, ``tuning``, ``anatomy`` (a few MB each) and ``readout`` (213 MB).
        directory: see ``scan``.
        offline: only say what is missing.
        progress: show a progress bar; None: in terminals and notebooks. False: nothing is said at all.

    Returns:
        The folder.

    Raises:
        See ``scan``.
    """
    cache = Cache(directory, offline=offline, progress=progress)
    properties = (properties,) if isinstance(properties, str) else (properties or ())
    scans = _names(scans)
    if weights is None and scans is not None:
        raise ValueError(f"scans is {scans}, but no weights are asked for; expected no choice of scans.")
    for group in properties:
        cache.has_properties(group)  # unknown names are refused before any work
    if weights is not None:
        cache.require_scans(weights, scans, repair=True)
    for group in properties:
        cache.require_properties(group)
    return cache.directory


def scans(*, weights: str = "default", directory: str | os.PathLike | None = None) -> pd.DataFrame:
    """The published scans: ``session, scan_idx, num_units, animal_id, weights``, and whether each is ``local``.

    Indexed by name, such as ``8-5``. Nothing is downloaded.
    """
    cache = _cache(directory)
    local = cache.scans(weights)
    rows = [
        (*map(int, name.split("-")), num_units, cache.release.animal_id, weights, name in local)
        for name, num_units in cache.release.num_units.items()
    ]
    columns = ["session", "scan_idx", "num_units", "animal_id", "weights", "local"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(cache.release.num_units, name="scan"))


def units(
    scans: Sequence[str] | str | None = None,
    *,
    quality: str | Sequence[str] | None = None,
    brain_area: str | Sequence[str] | None = None,
    field: int | Sequence[int] | None = None,
    properties: Sequence[str] | None = None,
    weights: str = "default",
    y: str = "down",
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
) -> pd.DataFrame:
    """One table of the published units and their properties, indexed by ``session, scan_idx, unit_id``.

    Args:
        scans: names such as ``"8-5"``; default all.
        quality: ``"reliable"`` (cc_max > 0.4 and cc_abs > 0.2), ``"oriented"`` (gOSI > 0.25), or both.
        brain_area: such as ``"V1"`` or ``["LM", "RL"]``.
        field: imaging planes, by number.
        properties: groups of columns: ``performance``, ``tuning``, ``anatomy``, ``readout``; those that are not here
            are downloaded. Default: those that are here, and if none is, the first three.
        weights: whose ``readout_id``; the column is there when these weights are. (The published performance and
            readout are of the default weights, the tuning is of the ori-trained ones: ``table.attrs["weights"]``.)
        y: direction of the readout location's y axis, ``"down"`` or ``"up"``; it stands in the column name.
        directory, offline: see ``scan``.

    ``table.attrs["meaning"]`` says what each column is, with units and conventions.

    Raises:
        ValueError: names that do not exist, or a criterion whose column is not there.
        DownloadError, CheckpointError: see ``scan``.
    """
    cache = _cache(directory, offline)
    cache.release.check_tag(weights)
    names = _names(scans)
    if names is not None and (not names or set(names) - set(cache.release.num_units)):
        unknown = sorted(set(names) - set(cache.release.num_units))
        raise ValueError(f"scans has {unknown}; the published ones are {list(cache.release.num_units)}.")
    properties = (properties,) if isinstance(properties, str) else properties
    table = _properties.unit_table(cache, properties=properties, weights=weights, y=y)
    return filter_units(table, names, quality, brain_area, field)


def join(
    table: pd.DataFrame,
    *,
    properties: Sequence[str] | None = None,
    y: str = "down",
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
) -> pd.DataFrame:
    """A table of units, such as ``twin.units`` or one of yours, with the published properties of each.

    Args:
        table: has ``session, scan_idx, unit_id`` and ``animal_id``, as columns or index.
        properties, y, directory, offline: as for ``units``.

    Returns:
        The same rows and index, and the columns of ``units`` that were not there.

    Raises:
        ValueError: units of another animal (the training example, animal 27203, has a scan 4-7, too), of no stated
            animal, or that are not published.
    """
    tags = set(table["weights"]) if "weights" in table else {"default"}
    if len(tags) != 1:
        raise ValueError(f"table has units of the weights {sorted(tags)}; expected one kind.")
    options: dict[str, Any] = {"properties": properties, "y": y, "directory": directory, "offline": offline}
    return _properties.join(table, units(weights=tags.pop(), **options), release.MICRONS.animal_id)


def scan_name(text: str) -> str:
    """``8-5`` from ``8-5``, ``8_5`` or ``08-5``; other names, of twins that somebody trained, as they are."""
    match = re.fullmatch(r"(\d+)[-_](\d+)", str(text))
    return f"{int(match[1])}-{int(match[2])}" if match else str(text)


def _names(scans: Sequence[str] | str | None) -> list[str] | None:
    if scans is None:
        return None
    if isinstance(scans, str):
        scans = [scans]
    elif not isinstance(scans, Iterable):
        raise TypeError(f"scans is {scans!r}; expected names such as '8-5' or ['8-5', '6-4'].")
    return [scan_name(name) for name in scans]


def _cache(directory: str | os.PathLike | None, offline: bool | None = None) -> Cache:
    """A folder of downloads to look into; one that was named must be one already: no slip of the pen makes it."""
    cache = Cache(directory, offline=offline)
    if directory is not None and not is_cache(cache.directory):
        raise CheckpointError(
            f"{cache.directory} is no folder of downloads. Fill it: fnn-jax download --directory {cache.directory}"
        )
    return cache


def _from_cache(cache: Cache, scan: str | None, weights: str) -> Twin:
    if scan is None:
        scan = choose_scan(None, cache.scans(weights), cache.directory)
    directory = cache.require_scans(weights, [scan])
    try:
        return Twin.load(directory, scan)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}\nOr let it be replaced: fnn-jax download --weights {weights} --scan {scan} "
            f"--directory {cache.directory}"
        ) from error


def _with_tag(twin: Twin, weights: str | None, directory: Path) -> Twin:
    """Refuse other published weights than those that were asked for."""
    if weights in (None, twin.weights):
        return twin
    held = f"the weights {twin.weights!r}" if twin.weights else "weights, and does not say which"
    raise _other_weights(weights, directory, held)


def _other_weights(weights: str, directory: Path, held: str) -> ValueError:
    return ValueError(
        f"weights is {weights!r}, but {directory} holds {held}. Name another folder, or, if you know them to be these, "
        f"convert them with: fnn-jax convert SOURCE -o OUT --weights {weights}."
    )


def _is_published(directory: Path) -> bool:
    from fnn_jax.convert.published import PublishedFiles

    try:
        PublishedFiles(directory)
    except CheckpointError:
        return False
    return True


def _published(directory: Path):
    """The published files in a folder."""
    from fnn_jax.convert.published import PublishedFiles

    if directory.is_file():
        raise CheckpointError(
            f"{directory} is a file, expected a folder. Convert it first: fnn-jax convert {directory.name} -o OUT."
        )
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory} does not exist. Give a folder of weights, or download them: "
            f"fnn-jax download --directory {directory}"
        )
    try:
        return PublishedFiles(directory)
    except CheckpointError as error:
        raise CheckpointError(
            f"{directory} holds no weights: neither converted ones (folders 'core' and 'scans') nor the published "
            f"files (params_core.pt, params_8_5.pt, ...). Download them with: fnn-jax download --directory {directory}"
        ) from error


def _converted(published, store: Path, scan: str) -> Path:
    """The store of published files, with this scan converted into it if it was not."""
    from fnn_jax.convert.published import read_bytes, sha256

    path = published.scan_file(scan)
    if is_store(store) and scan in Store(store).scans():
        metadata = Store(store).metadata(scan)
        for file, recorded in ((path, metadata["source"]), (published.core, metadata["core_source"])):
            if sha256(read_bytes(file)) != recorded["sha256"]:
                raise CheckpointError(
                    f"{file} is not the file that was converted into {store}. Delete that folder to convert it anew."
                )
        return store
    from fnn_jax.convert import convert_scans

    print(f"fnn_jax: converting {path.name} and {published.core.name} into {store}, once", file=sys.stderr)
    try:
        convert_scans(published.source, store, [scan])
    except OSError as error:
        raise CheckpointError(
            f"The weights in {published.source} are not converted yet, and {store} cannot be written "
            f"({error.strerror or error}). Run `fnn-jax convert {published.source} -o OUT` and use that folder."
        ) from error
    return store
