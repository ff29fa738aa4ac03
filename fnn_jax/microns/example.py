"""The published example recording, of another mouse: file by file, several at a time, as it lies on the server."""

import contextlib
import os
import re
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fnn_jax.common.files import file_digest
from fnn_jax.common.progress import progress_bar
from fnn_jax.microns import listing
from fnn_jax.microns.cache import Cache
from fnn_jax.microns.downloads import (
    INCOMING,
    DownloadError,
    Resuming,
    full_disk,
    lock,
    record_checksum,
    recorded_checksums,
    remove_empty,
)
from fnn_jax.microns.listing import Listed, NotListed
from fnn_jax.microns.release import ExampleRecording

AT_ONCE = 8  # connections
NPY = b"\x93NUMPY"
# KIND/TRIAL.npy of the training data, KIND/VIDEO/REPEAT.npy of the evaluation data; hidden files are no part of it.
TRAINING = re.compile(r"(training|samples|stimuli|perspectives|modulations|units)/[^./][^/]*\.npy")
EVALUATION = re.compile(r"(stimuli|perspectives|modulations|units)/[^./][^/]*/[^./][^/]*\.npy")


class Recording(NamedTuple):
    """Folders of a recording, for ``TrainingData`` and ``EvaluationData``."""

    training: Path
    evaluation: Path


class DamagedError(ValueError):
    """What came is not what the server has."""


def example_recording(
    *,
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
) -> Recording:
    """The published example recording: animal 27203, scan 4-7, 8509 units; downloaded as far as it is not here.

    The server is asked once which files there are. How many, and how large, is said before they come, several at a
    time. A download that was cut off, or killed, goes on where it was; every file is verified (by its MD5 where the
    server tells it, else by its size, and by the SHA-256 that it had when it came), and replaced where it is damaged.

    Args:
        directory, offline, progress: as for ``download``.

    Returns:
        Its two folders, which ``fnn_jax.data`` reads as they are. Where the server does not list its files, folders
        that were put there by hand are taken as they are.

    Raises:
        DownloadError: offline and not here, no connection, no space, or another file than expected.
        CheckpointError: the list of files that was kept is damaged.
    """
    cache = Cache(directory, offline=offline, progress=progress)
    published = cache.release.example
    if published is None:
        raise ValueError("this release holds no example recording.")
    recording = Recording(cache.directory / published.training, cache.directory / published.evaluation)
    try:
        files = _files(cache, published)
    except NotListed as error:
        if not (recording.training.is_dir() and recording.evaluation.is_dir()):
            raise NotListed(f"{error}\n{_by_hand(cache, published)}") from error
        _say(cache, f"{recording.training.parent} holds the recording, taken as it is: {error}")
        return recording
    missing = _missing(cache, files)
    if missing:
        if cache.offline:
            raise DownloadError(
                f"{len(missing)} of the {len(files)} files of the example recording are not in "
                f"{recording.training.parent}, or are damaged (the first: {missing[0].path}), and nothing may be "
                "downloaded. Run fnn-jax download --example-recording where the network is."
            )
        with lock(cache.directory):
            _download(cache, published, files, missing)
    return recording


def listing_path(cache: Cache, published: ExampleRecording) -> Path:
    """Where the list of its files is kept."""
    return (cache.directory / published.training).with_name(f"files_{published.animal_id}.json")


def missing_megabytes(cache: Cache) -> tuple[float, int]:
    """What ``example_recording`` would download, by sizes alone: megabytes (NaN: not listed yet), and files."""
    published = cache.release.example
    files = None if published is None else listing.kept(listing_path(cache, published))
    if files is None:
        return float("nan"), 0
    left = [file for file in files if not _has_size(cache.directory / file.path, file.size)]
    return sum(file.size for file in left) / 1e6, len(left)


def _files(cache: Cache, published: ExampleRecording) -> list[Listed]:
    """The list of files, asked for once."""
    path = listing_path(cache, published)
    files = listing.kept(path)
    if files is not None:
        return files
    if cache.offline:
        raise NotListed("the list of its files is not here, and nothing may be asked for.")
    files = []
    for folder, layout in ((published.training, TRAINING), (published.evaluation, EVALUATION)):
        there = listing.listed(cache.release.base_url, folder)
        fitting = [file for file in there if layout.fullmatch(file.path.removeprefix(f"{folder}/"))]
        if not fitting:
            found = f"the first of {len(there)} is {there[0].path}" if there else "there is nothing"
            raise NotListed(f"{cache.release.base_url}{folder} has no files of the layout {layout.pattern}: {found}.")
        files += fitting
    with lock(cache.directory):
        listing.keep(path, files, cache.release.base_url)
    return files


def _missing(cache: Cache, files: Sequence[Listed]) -> list[Listed]:
    """Those that are not here, or are damaged; what is here for the first time is recorded."""
    known = recorded_checksums(cache.directory)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        whole = list(pool.map(lambda file: _is_whole(cache.directory / file.path, file, known), files))
    new = [file for file, is_whole in zip(files, whole, strict=True) if is_whole and not file.md5]
    _record(cache.directory, [file for file in new if file.path not in known])
    return [file for file, is_whole in zip(files, whole, strict=True) if not is_whole]


def _is_whole(path: Path, file: Listed, known: Mapping[str, str]) -> bool:
    if not _has_size(path, file.size):
        return False
    if file.md5:
        return file_digest(path, "md5") == file.md5
    return known.get(file.path) in (None, f"sha256:{file_digest(path)}") and _is_array(path)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _is_array(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(NPY)) == NPY


def _record(directory: Path, files: Sequence[Listed]) -> None:
    with contextlib.suppress(OSError):  # a folder that cannot be written is read all the same
        for file in files:
            with lock(directory):
                record_checksum(directory, file.path)


def _download(cache: Cache, published: ExampleRecording, files: Sequence[Listed], missing: Sequence[Listed]) -> None:
    """All that is missing, several at a time; the first that cannot be had ends it."""
    total = sum(file.size for file in missing)
    damaged = sum((cache.directory / file.path).is_file() for file in missing)
    _say(
        cache,
        f"the example recording (animal {published.animal_id}, scan {published.scan}) has {len(files)} files, "
        f"{sum(file.size for file in files) / 1e6:.1f} MB; to download: {len(missing)} files, {total / 1e6:.1f} MB"
        + (f", {damaged} of them in the place of damaged ones" if damaged else ""),
    )
    incoming = cache.directory / INCOMING
    if shutil.disk_usage(cache.directory).free < total:
        raise full_disk(cache.directory, total, "the example recording")
    stop = threading.Event()
    with (
        ThreadPoolExecutor(AT_ONCE) as pool,
        progress_bar(cache.progress, "download", "byte", total, scaled=True) as bar,
    ):
        coming = {pool.submit(_receive, cache, listing_path(cache, published), file, stop): file for file in missing}
        try:
            for done in as_completed(coming):
                done.result()
                if not coming[done].md5:
                    record_checksum(cache.directory, coming[done].path)
                bar.update(coming[done].size)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    remove_empty(incoming)


def _receive(cache: Cache, list_of_files: Path, file: Listed, stop: threading.Event) -> None:
    """One file into its place, verified; one that was damaged on the way comes once more."""
    path, incoming = cache.directory / file.path, cache.directory / INCOMING / file.path
    for folder in (path.parent, incoming.parent):
        folder.mkdir(parents=True, exist_ok=True)

    def check(came: Path) -> None:
        size = came.stat().st_size
        if size != file.size or not _is_array(came):
            with open(came, "rb") as content:
                begin = content.read(40)
            raise DamagedError(
                f"{size} bytes came, which begin with {begin!r}; expected {file.size} of an array. If that is a web "
                "page, log in where the network asks for it; if the file was replaced, delete "
                f"{list_of_files}, and run it again."
            )
        if file.md5 and file_digest(came, "md5") != file.md5:
            raise DamagedError(f"Its MD5 is not {file.md5}, which the server lists: it was damaged on the way.")

    for last in (False, True):
        try:
            Resuming(incoming, path, check, False, stop)(cache.release.base_url + quote(file.path), str(path), None)
            return
        except DownloadError as error:
            if last or stop.is_set() or not isinstance(error.__cause__, DamagedError):
                raise


def _by_hand(cache: Cache, published: ExampleRecording) -> str:
    folder = Path(published.training).parent
    return (
        f"By hand: copy the folders {Path(published.training).name} and {Path(published.evaluation).name} of "
        f"{cache.release.base_url}{folder} to {cache.directory / folder}; they are read where they lie."
    )


def _say(cache: Cache, text: str) -> None:
    if cache.progress is not False:
        print(f"fnn_jax: {text}", file=sys.stderr)
