"""Which files lie below an address of the public bucket, as its list API says, page by page."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree

from fnn_jax.common.records import read_record, write_record
from fnn_jax.microns import downloads
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.weights.checkpoint import CheckpointError

BUSY = (408, 425, 429)  # and all from 500 on
MD5 = re.compile(r"[0-9a-f]{32}")  # entity tags of files that were put there in one piece


class NotListed(DownloadError):
    """The server does not say which files there are."""


class Listed(NamedTuple):
    """A file on the server: path below the base address, bytes, and its MD5, where the server tells that."""

    path: str
    size: int
    md5: str | None


def listed(base_url: str, folder: str) -> list[Listed]:
    """All files below a folder, in the order of the server.

    Args:
        base_url: of the bucket, with a path inside it. folder: below that, without a slash at its end.

    Raises:
        NotListed: the server does not list its files, or answers with something else. DownloadError: no connection.
    """
    parts = urlsplit(base_url)
    address, inside = f"{parts.scheme}://{parts.netloc}/", parts.path.lstrip("/")
    query = {"list-type": "2", "prefix": f"{inside}{folder}/"}
    files: list[Listed] = []
    while True:
        root = _answer(address, query)
        for entry in root.findall("Contents"):
            path = entry.findtext("Key", "").removeprefix(inside)
            if path.endswith("/"):
                continue  # a folder's own entry
            tag = entry.findtext("ETag", "").strip('"')
            files.append(Listed(path, int(entry.findtext("Size", "-1")), tag if MD5.fullmatch(tag) else None))
        following = root.findtext("NextContinuationToken")
        if root.findtext("IsTruncated") != "true" or not following:
            return files
        query["continuation-token"] = following


def _answer(address: str, query: dict[str, str]) -> ElementTree.Element:
    """One page, without namespaces; asked for again where the server is busy."""
    import requests

    what = f"the list of files of {address} ({query['prefix']})"
    for wait in (*downloads.WAITS_S, None):
        try:
            with requests.get(address, params=query, timeout=downloads.TIMEOUT_S) as response:
                status, content = response.status_code, response.content
            reason = f"the server answers {status} {response.reason}"
            if status == 200:
                return _parsed(content, what)
            if status not in BUSY and status < 500:
                raise NotListed(f"{what} cannot be had: {reason}.")
        except requests.RequestException as error:
            reason = f"{type(error).__name__}: {error}"
        if wait is not None:
            time.sleep(wait)
    tries = len(downloads.WAITS_S) + 1
    raise DownloadError(f"{what} could not be read, {tries} tries in a row: {reason}. Check the connection.")


def _parsed(content: bytes, what: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        root = ElementTree.Element("none")
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != "ListBucketResult":
        raise NotListed(
            f"{what} is none: it begins with {content[:40]!r}. If that is a web page, the network may ask for a login: "
            "open the address in a browser."
        )
    return root


def keep(path: Path, files: Sequence[Listed], source: str) -> None:
    """Write a list of files, so that it is not asked for again. source: the address that it is of."""
    write_record(path, {"source": source, "files": [list(file) for file in files]})


def kept(path: Path) -> list[Listed] | None:
    """The list that ``keep`` wrote; None where there is none.

    Raises:
        CheckpointError: it is damaged.
    """
    if not path.is_file():
        return None
    record = read_record(path, "list of files", CheckpointError, "Delete it, and it is asked for again.")
    return [Listed(*file) for file in record["files"]]
