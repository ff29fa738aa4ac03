"""Folders that say what they hold, so that work goes on only where it was begun, and by one process at a time."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from fnn_jax.common.files import explained_full_disk, is_temporary, json_digest, whole_file

SEAL = "record_sha256"
REMEDY = "Put the file back from a copy, or give another folder."
LOCK = ".lock"


@contextlib.contextmanager
def claimed(
    directory: Path, file_name: str, record: Mapping[str, Any], what: str, error: type[ValueError]
) -> Iterator[None]:
    """Take a new or empty folder for some work, or find the same work begun there; nobody else does meanwhile.

    Args:
        record: all that decides the result, JSON-serialisable; it is written to ``file_name`` in the folder, sealed
            with its SHA-256.
        what: the kind of work, for messages, such as ``"synthesis"``.

    Raises:
        ``error``: there is other work of this kind, or something else, or the record is damaged: it is kept; or
            another process is at work there.
    """
    if directory.exists() and not directory.is_dir():
        raise error(f"{directory} is a file; expected a folder.")
    if not (directory / file_name).exists() and directory.exists() and any(map(_is_foreign, directory.iterdir())):
        raise error(f"{directory} holds something else, which is kept. Give another folder.")
    with explained_full_disk(directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(directory / LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise error(f"{directory} is in use: another process is at work on it. Wait for it, or stop it.") from None
    try:
        _claim(directory / file_name, record, what, error)
        yield
    finally:
        with contextlib.suppress(OSError):
            (directory / LOCK).unlink()
        lock.release()


def _is_foreign(path: Path) -> bool:
    return path.name != LOCK and not is_temporary(path)


def _claim(path: Path, record: Mapping[str, Any], what: str, error: type[ValueError]) -> None:
    if not path.exists():
        write_record(path, record)
        return
    found = read_record(path, what, error)
    wanted = json.loads(json.dumps(record))
    different = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if different:
        shown = "; ".join(
            f"{name}: there {_brief(found.get(name))}, here {_brief(wanted.get(name))}" for name in different
        )
        raise error(f"{path.parent} holds another {what}, which is kept ({shown}). Give another folder.")


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, sealed with its SHA-256."""
    record = {name: value for name, value in record.items() if name != SEAL}
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps({**record, SEAL: json_digest(record)}, indent=1) + "\n")


def read_record(path: Path, what: str, error: type[ValueError], remedy: str = REMEDY) -> dict[str, Any]:
    """A record that ``write_record`` wrote.

    Raises:
        ``error``: it is damaged, or cannot be read; the message ends in ``remedy``.
    """
    try:
        record = json.loads(path.read_text())
        sealed = record.pop(SEAL)
        whole = sealed == json_digest(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise error(_damaged(path, what, f"{type(problem).__name__}: {problem}", remedy)) from problem
    if not whole:
        raise error(_damaged(path, what, "it differs from its SHA-256", remedy))
    return record


def _damaged(path: Path, what: str, why: str, remedy: str) -> str:
    return (
        f"{path} is damaged, or of another version of fnn_jax ({why}): what the {what} is of cannot be told. {remedy}"
    )


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."
