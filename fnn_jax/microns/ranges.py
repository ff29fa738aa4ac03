"""A few rows of a large published ``.npy``, by HTTP range: nothing else of the file comes, and what came is kept."""

import io
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.common.arrays import load_arrays, map_array, save_arrays
from fnn_jax.common.records import read_record, write_record
from fnn_jax.microns import downloads
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.microns.release import RemoteFile
from fnn_jax.weights.checkpoint import CheckpointError

HEADER_BYTES = 4096  # as much is asked for first; the header of an array takes 128
HEADER = "header.json"
LONGEST_WAIT_S = 60.0  # that a busy server may ask for


class NotOnServer(DownloadError):
    """The server has no such file, or gives it to nobody."""


class _TryAgain(Exception):
    """This try failed, the next one may not; ``wait_s`` is what the server asks for."""

    def __init__(self, reason: str, wait_s: float = 0.0):
        super().__init__(reason)
        self.wait_s = wait_s


class RemoteArray:
    """Rows of an array ``[row, ...]`` that lies on a server as ``.npy``, as NumPy arrays.

    Pieces are kept in ``DIRECTORY/FILE.parts``, each whole or not at all, with the SHA-256 of its numbers and the
    entity tag of the version that it is of: what is there is not asked for again. Where the complete file lies at
    ``DIRECTORY/FILE``, carried there by hand, it is read instead, and nothing is asked for.

    Args:
        file, directory, base_url: as for ``downloads.fetch``. offline: ask for nothing.

    Attributes:
        requests, bytes: how many were sent, and how many came, so far.
    """

    def __init__(self, file: RemoteFile, directory: Path, base_url: str, *, offline: bool = False):
        self.file, self.offline = file, offline
        self.path, self.url = directory / file.path, base_url + file.path
        self.parts = self.path.with_name(f"{self.path.name}.parts")
        self.requests = self.bytes = 0
        self._session: Any = None
        self._header: dict[str, Any] | None = None

    @property
    def is_here(self) -> bool:
        """Whether the complete file was put into the folder."""
        return self.path.is_file()

    @property
    def is_described(self) -> bool:
        """Whether shape and dtype are known without asking."""
        return self.is_here or (self.parts / HEADER).is_file()

    @property
    def shape(self) -> tuple[int, ...]:
        """Asks for the header, once.

        Raises:
            DownloadError: it cannot be had, or is no array of numbers in C order, or the file is shorter or longer
                than its header says.
        """
        return tuple(self._described()["shape"])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self._described()["dtype"])

    def has(self, first: int, count: int, columns: int | None = None) -> bool:
        """Whether ``rows`` would find these without asking."""
        return self.is_here or self._part(first, count, columns).is_file()

    def rows(self, first: int, count: int, columns: int | None = None) -> np.ndarray:
        """Neighbouring rows, by one request unless they are here: ``[count, ...]``, or ``[count, columns]``.

        Args:
            first, count: of the rows. columns: only the first so many entries of the second axis; what lies between
                them comes all the same, because a range has no gaps, and is not kept.

        Raises:
            DownloadError: offline and not here, no connection, a server without ranges, another version of the file.
        """
        if self.is_here:
            array = self._mapped()
            return np.array(array[first : first + count] if columns is None else array[first : first + count, :columns])
        path = self._part(first, count, columns)
        if path.is_file():
            remedy = "Delete it, and run it again."
            return load_arrays(path, self._identity(first, count, columns), CheckpointError, remedy)["rows"]
        shape, item = self.shape, self.dtype.itemsize
        row = int(np.prod(shape[1:], dtype=np.int64)) * item
        start = self._described()["offset"] + first * row
        stop = start + count * row
        if columns is not None:
            stop += columns * item - row  # the last row ends early
        data = self._get(start, stop)
        data += bytes(count * row - len(data))
        array = np.frombuffer(data, self.dtype).reshape(count, *shape[1:])
        array = np.array(array if columns is None else array[:, :columns])
        save_arrays(path, {"rows": array}, self._identity(first, count, columns))
        return array

    def is_on_server(self) -> bool:
        """Whether the server has the file, as far as one byte of it tells; False offline."""
        if self.offline:
            return False
        try:
            self._get(0, 1)
        except NotOnServer:
            return False
        return True

    # --- what is kept

    def _part(self, first: int, count: int, columns: int | None) -> Path:
        of = "" if columns is None else f"-of-{columns}"
        return self.parts / f"rows-{first}-{count}{of}.npz"

    def _identity(self, first: int, count: int, columns: int | None) -> dict[str, Any]:
        known = self._described()
        return {"file": self.file.path, "etag": known["etag"], "total": known["total"], "rows": [first, count, columns]}

    def _mapped(self) -> np.memmap:
        try:
            return map_array(self.path)
        except ValueError as error:
            raise DownloadError(f"{self.path} is no array: {error}. Delete it, and get it again.") from error

    def _described(self) -> dict[str, Any]:
        if self._header is None:
            if self.is_here:
                array = self._mapped()
                self._header = {"shape": list(array.shape), "dtype": array.dtype.str, "offset": array.offset}
            elif (self.parts / HEADER).is_file():
                remedy = f"Delete the folder {self.parts}, and run it again."
                self._header = read_record(self.parts / HEADER, "download", CheckpointError, remedy)
            else:
                self._header = self._ask_for_header()
        return self._header

    def _ask_for_header(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        start = self._get(0, HEADER_BYTES, found)
        shape, dtype, offset = self._parsed(start)
        promised = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if found["total"] != promised:
            raise DownloadError(
                f"{self.url} has {found['total']} bytes, and its header promises {promised} ({list(shape)} {dtype}): "
                "it is cut, or another file. Nothing of it was kept. Try again later, or tell its publisher."
            )
        header = {"shape": list(shape), "dtype": dtype.str, "offset": offset, **found}
        write_record(self.parts / HEADER, header)
        return header

    def _parsed(self, start: bytes) -> tuple[tuple[int, ...], np.dtype, int]:
        stream = io.BytesIO(start)
        try:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream)
        except Exception as error:  # NumPy reads the header as Python code, and raises what that raises
            page = " A web page came instead: log in where the network asks for it." if _is_page(start) else ""
            raise DownloadError(f"{self.url} is no .npy; it begins with {start[:60]!r}.{page}") from error
        if fortran or dtype.hasobject:
            raise DownloadError(f"{self.url} is an array {list(shape)} of {dtype}; expected numbers in C order.")
        return shape, dtype, stream.tell()

    # --- requests

    def _get(self, start: int, stop: int, found: dict[str, Any] | None = None) -> bytes:
        """Bytes of the file, as many as there are up to ``stop``; a cut connection goes on where it was cut."""
        if self.offline:
            raise DownloadError(
                f"Bytes {start} to {stop} of {self.url} are not here ({self.parts}), and nothing may be downloaded. "
                f"Run it once where the network is, or put the complete file at {self.path}."
            )
        found = {} if found is None else found
        known = self._header or {}
        found.update({"etag": known.get("etag"), "total": known.get("total")})
        data, failures = bytearray(), 0
        while len(data) < stop - start:
            before = len(data)
            try:
                self._try(start, stop, data, found)
            except _TryAgain as error:
                failures = 1 if len(data) > before else failures + 1
                if failures > len(downloads.WAITS_S):
                    raise DownloadError(
                        f"{self.url} could not be read, {failures} tries in a row: {error}. Check the connection and "
                        "run it again: what has come is kept."
                    ) from error
                time.sleep(min(max(downloads.WAITS_S[failures - 1], error.wait_s), LONGEST_WAIT_S))
            stop = min(stop, found["total"] or stop)
        return bytes(data)

    def _try(self, start: int, stop: int, data: bytearray, found: dict[str, Any]) -> None:
        """One request; adds to ``data`` what comes."""
        import requests

        self._session = self._session or requests.Session()
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start + len(data)}-{stop - 1}"}
        self.requests += 1
        try:
            with self._session.get(self.url, headers=headers, stream=True, timeout=downloads.TIMEOUT_S) as response:
                self._understand(response, start + len(data), found)
                wanted = min(stop, found["total"]) - start
                for piece in response.iter_content(downloads.PIECE_BYTES):
                    data += piece[: wanted - len(data)]
                    self.bytes += len(piece)
                    if len(data) >= wanted:
                        break
        except requests.RequestException as error:
            raise _TryAgain(f"{type(error).__name__}: {error}") from error
        if len(data) < wanted:
            raise _TryAgain(f"{len(data)} of {wanted} bytes came")

    def _understand(self, response, start: int, found: dict[str, Any]) -> None:
        """Whether what follows are the bytes that were asked for; notes their version."""
        status, reason = response.status_code, response.reason
        if status in (408, 425, 429) or status >= 500:
            after = response.headers.get("Retry-After", "")
            raise _TryAgain(f"the server answers {status} {reason}", float(after) if after.isdigit() else 0.0)
        if status in (403, 404, 410):
            raise NotOnServer(
                f"{self.url} cannot be had: the server answers {status} {reason}. It has moved, and this version of "
                f"fnn_jax does not know where to; if you have the complete file, put it at {self.path}."
            )
        if status == 200:
            kind = response.headers.get("Content-Type", "")
            begin = next(response.iter_content(64), b"")
            if "html" in kind or _is_page(begin):
                raise DownloadError(
                    f"{self.url}: a web page came instead of the array, {begin[:40]!r}. The network may ask for a "
                    "login: open the address in a browser."
                )
            size = response.headers.get("Content-Length")
            size = f"{int(size) / 1e6:.0f} MB" if size and size.isdigit() else "unknown size"
            raise DownloadError(
                f"{self.url}: the server does not give parts of files (no answer to Range), and the whole file, "
                f"{size}, was not downloaded. A proxy may be between; try another network, or put the complete file at "
                f"{self.path}."
            )
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if status != 206 or not told or int(told[1]) != start:
            raise DownloadError(
                f"{self.url}: asked for bytes from {start} on, the server answers {status} {reason}, Content-Range "
                f"{response.headers.get('Content-Range')!r}; expected 206 and these bytes. Nothing was kept of it."
            )
        tag, total = response.headers.get("ETag"), int(told[2])
        if found["total"] is not None and (found["total"], found["etag"]) != (total, tag):
            raise DownloadError(
                f"{self.url} is not the file of which the first parts came ({found['total']} bytes, {found['etag']}; "
                f"now {total} bytes, {tag}): it was replaced. Delete the folder {self.parts}, and run it again."
            )
        found.update({"etag": tag, "total": total})


def _is_page(data: bytes) -> bool:
    return data.lstrip()[:1] == b"<"


def runs(rows: Sequence[int] | np.ndarray) -> list[tuple[int, int]]:
    """Neighbouring rows together: pairs of a first row and how many follow one another, in the order of the file."""
    rows = np.unique(np.asarray(rows, np.int64))
    if not len(rows):
        return []
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    return [(int(run[0]), len(run)) for run in np.split(rows, cuts)]
