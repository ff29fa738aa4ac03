"""Files from the internet: resumed after a cut connection, verified, and in their place whole or not at all."""

import contextlib
import errno
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fnn_jax.common.files import file_digest, umask, whole_file
from fnn_jax.common.progress import Bar, progress_bar
from fnn_jax.microns.release import RemoteFile

TIMEOUT_S = (10.0, 30.0)  # to connect, and between two pieces of a body
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # before each new try; counted anew when a try brought more than there ever was
PIECE_BYTES = 1 << 14  # what a cut connection may lose
CHECKSUMS = "checksums.json"
INCOMING = ".incoming"


class DownloadError(OSError):
    """A file could not be downloaded; the message says which, from where, and what to do."""


class _TryAgain(Exception):
    """This try failed, the next one may not."""


def fetch(
    file: RemoteFile,
    directory: Path,
    base_url: str,
    *,
    check: Callable[[Path], None],
    offline: bool = False,
    progress: bool | None = None,
) -> Path:
    """The local copy of a file, below ``directory`` as it lies below ``base_url``; downloaded if it is not there.

    A file whose checksum is published must have it. Of others the SHA-256 is recorded when they first arrive, and they
    must have that one ever after. ``check`` sees a file before it takes its place, or is used for the first time, and
    raises ``ValueError`` if it is not what it should be.

    Raises:
        DownloadError: offline and not there, no connection, not on the server, no space, or another file than expected.
    """
    import pooch

    path, url = directory / file.path, base_url + file.path
    known = file.checksum or recorded_checksums(directory).get(file.path)
    if path.is_file():
        if known is None:  # put here by hand, or by a process that was killed before it could record it
            _accept(path, file.path, directory, check)
            return path
        if pooch.hashes.hash_matches(str(path), known):
            return path
    if offline:
        state = "is damaged" if path.is_file() else "is not there"
        raise DownloadError(f"{path} {state}, and nothing may be downloaded. It comes from {url}")
    with lock(directory):
        # What is not complete lies in a folder of its own, where nobody else keeps anything.
        incoming = directory / INCOMING
        for left in incoming.rglob("tmp*"):  # by pooch, when it was killed
            left.unlink()
        shelf = pooch.create(path=incoming, base_url=base_url, registry={file.path: known}, retry_if_failed=1)
        pooch.get_logger().setLevel("WARNING")
        try:
            if not path.is_file() or (known and not pooch.hashes.hash_matches(str(path), known)):
                shelf.fetch(file.path, downloader=Resuming(incoming / file.path, path, check, progress))
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(incoming / file.path, path)
        except ValueError as error:  # of pooch, after a second try
            if file.checksum:
                origin, remedy = "published", ""
            else:
                origin = "recorded when it first came"
                remedy = f" If it was replaced for good: delete its line in {directory / CHECKSUMS}."
            raise DownloadError(
                f"{url} has another checksum than the one {origin} ({known}), twice: it was damaged on the way, or "
                f"replaced at its source. It was not kept. Try again later or on another network.{remedy}"
            ) from error
        except PermissionError as error:
            raise _not_writable(directory, error) from error
        if known is None:
            record_checksum(directory, file.path)
        remove_empty(incoming)
    return path


def _accept(path: Path, name: str, directory: Path, check: Callable[[Path], None]) -> None:
    try:
        check(path)
    except ValueError as error:
        raise DownloadError(f"{path} is not what it should be. {error} Delete it, and get it again.") from error
    with contextlib.suppress(OSError):  # a folder that cannot be written is read all the same
        with lock(directory):
            record_checksum(directory, name)


def remove_empty(folder: Path) -> None:
    """Remove a folder if there are only folders in it."""
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        shutil.rmtree(folder)


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Alone among the processes that write to a folder; a killed process lets go.

    Raises:
        DownloadError: the folder cannot be written.
    """
    import filelock

    guard = filelock.FileLock(directory / ".lock", mode=0o666, is_singleton=True)  # who has it may ask again
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            guard.acquire(blocking=False)
        except filelock.Timeout:
            print(f"fnn_jax: waiting for another process that writes to {directory}", file=sys.stderr)
            guard.acquire()
    except OSError as error:
        raise _not_writable(directory, error) from error
    try:
        yield
    finally:
        guard.release()


def _not_writable(directory: Path, error: OSError) -> DownloadError:
    return DownloadError(
        f"{directory} cannot be written ({error.strerror or error}). Name another folder: with --directory or "
        "directory=..., or for good by the environment variable FNN_JAX_CACHE."
    )


def full_disk(directory: Path, needed: int, what: str) -> DownloadError:
    free = shutil.disk_usage(directory).free
    return DownloadError(
        f"The disk is full: {what} takes {needed / 1e6:.0f} MB in {directory}, {free / 1e6:.0f} MB are free. "
        "Make room, or name another folder by the environment variable FNN_JAX_CACHE; what has come is kept."
    )


def recorded_checksums(directory: Path) -> dict[str, str]:
    """Checksums of files that had none when they came, by path."""
    try:
        record = json.loads((directory / CHECKSUMS).read_text())
    except (OSError, ValueError):
        return {}
    return {name: f"sha256:{digest}" for name, digest in record.items()} if isinstance(record, dict) else {}


def record_checksum(directory: Path, name: str) -> None:
    """Record the SHA-256 of a file, by its path below the folder."""
    record = {name: value.partition(":")[2] for name, value in recorded_checksums(directory).items()}
    with whole_file(directory / CHECKSUMS) as temporary:
        temporary.write_text(
            json.dumps(record | {name: file_digest(directory / name)}, indent=2, sort_keys=True) + "\n"
        )


class _Reply(NamedTuple):
    """What the headers of a reply say about the file."""

    etag: str | None
    start: int
    total: int | None


class Resuming:
    """A downloader for pooch that goes on where an earlier try, or an earlier process, was cut off.

    The part that has come lies beside the file's place under a hidden name, with the tag of the version that it is of:
    a server that has another version by now sends it from the beginning. ``stop`` lets go of it between two pieces.
    """

    def __init__(
        self,
        path: Path,
        destination: Path,
        check: Callable[[Path], None],
        progress: bool | None,
        stop: threading.Event | None = None,
    ):
        self.path, self.destination, self.check, self.progress = path, destination, check, progress
        self.stop = threading.Event() if stop is None else stop
        self.partial = path.with_name(f".{path.name}.partial")
        self.record = path.with_name(f".{path.name}.partial.json")

    def __call__(self, url: str, output_file: str, pooch) -> None:
        if self.progress is not False:
            print(f"fnn_jax: downloading {self.destination}", file=sys.stderr)
        with progress_bar(self.progress, self.path.name, "byte", scaled=True) as bar:
            failures, most = 0, self._size()
            while True:
                try:
                    self._try(url, bar)
                    break
                except _TryAgain as error:
                    failures = 1 if self._size() > most else failures + 1
                    most = max(most, self._size())
                    if failures > len(WAITS_S):
                        raise DownloadError(
                            f"{url} could not be downloaded, {failures} tries in a row: {error}. Check the connection "
                            f"and run it again: it goes on after the {self._size() / 1e6:.1f} MB that have come."
                        ) from error
                    wait = WAITS_S[failures - 1]
                    if self.progress is not False:
                        reason = str(error).partition("(Caused by ")[0][:150]
                        print(f"fnn_jax: {reason}; trying again in {wait:g} s", file=sys.stderr)
                    self.stop.wait(wait)
        try:
            self.check(self.partial)
        except ValueError as error:
            self._forget()
            raise DownloadError(f"{url} is not what it should be, and was not kept. {error}") from error
        os.replace(self.partial, output_file)
        os.chmod(output_file, 0o666 & ~umask())  # pooch's temporary files are closed to everybody else
        self._forget()

    def _try(self, url: str, bar: Bar) -> None:
        """One request; returns when the whole file has come."""
        import requests

        start, etag, total = self._state(url)
        if start and start == total:
            return  # killed just before it could take its place
        headers: dict[str, Any] = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": etag}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
                reply = self._understand(url, response, start, etag)
                if reply.total is not None:
                    needed = reply.total - reply.start
                    if shutil.disk_usage(self.partial.parent).free < needed:
                        raise full_disk(self.partial.parent, needed, self.path.name)
                self._receive(url, response, reply, bar)
        except requests.RequestException as error:
            raise _TryAgain(f"{type(error).__name__}: {error}") from error
        if reply.total is not None and self._size() != reply.total:
            raise _TryAgain(f"{self._size()} of {reply.total} bytes came")

    def _understand(self, url: str, response, start: int, etag: str | None) -> _Reply:
        status = response.status_code
        tag = response.headers.get("ETag")
        tag = tag if tag and tag.startswith('"') else None  # a weak tag does not promise the same bytes
        if status == 200:
            length = response.headers.get("Content-Length")
            return _Reply(tag, 0, int(length) if length and length.isdigit() else None)
        if status == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if found and int(found[1]) == start and tag == etag:
                return _Reply(tag, start, int(found[2]))
        if status in (206, 416):  # a part of another version, or after its end
            self._forget()
            raise _TryAgain("the file on the server has changed")
        if status in (408, 425, 429) or status >= 500:
            raise _TryAgain(f"the server answers {status} {response.reason}")
        raise DownloadError(
            f"{url} cannot be had: the server answers {status} {response.reason}. If a browser gets it, put it at "
            f"{self.destination}; otherwise it has moved, and this version of fnn_jax does not know where to."
        )

    def _receive(self, url: str, response, reply: _Reply, bar: Bar) -> None:
        if not reply.start:
            self._forget()
            if reply.etag is not None:
                with whole_file(self.record) as temporary:
                    temporary.write_text(json.dumps({"url": url, "etag": reply.etag, "total": reply.total}))
        bar.total = reply.total
        bar.n = bar.initial = reply.start  # the rate counts what comes now
        bar.refresh()
        try:
            with open(self.partial, "ab") as file:
                for piece in response.iter_content(PIECE_BYTES):
                    if self.stop.is_set():
                        raise DownloadError(f"{url} was interrupted; what has come is kept.")
                    file.write(piece)
                    file.flush()
                    bar.update(len(piece))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise full_disk(self.partial.parent, (reply.total or 0) - self._size(), self.path.name) from error
            raise

    def _state(self, url: str) -> tuple[int, str | None, int | None]:
        """How much has come, of which version and of how much; nothing where the version is not known."""
        try:
            record = json.loads(self.record.read_text())
            if record["url"] == url:
                return self._size(), record["etag"], record["total"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, None, None

    def _size(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _forget(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)
