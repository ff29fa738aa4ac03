"""Folders and files that are written whole or not at all."""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<kind>incomplete|old)-(?P<node>.+)-(?P<process>\d+)-\w+(\.\w+)?")
_UMASK = threading.Lock()
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of linux/fs.h and fcntl.h


@contextlib.contextmanager
def whole_directory(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """A new folder that takes its place at ``path`` only when the block ends without an error.

    It is filled beside its place under a hidden name, so a process killed half-way leaves nothing at ``path``, and what
    it leaves beside it is removed the next time. With ``overwrite`` an existing folder stays as it is until the new one
    is complete; then the two change places.

    Raises:
        FileExistsError: something is at ``path`` already, and ``overwrite`` is not set.
        DiskFullError: there is no room; what was there is kept.
    """
    path = Path(path).expanduser().resolve()
    if path == Path.cwd():
        raise FileExistsError(f"{path} is the current folder, which cannot be replaced. Give a name inside it.")
    recover(path)
    refuse_existing(path, overwrite)
    temporary = None
    try:
        with explained_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(path), dir=path.parent))
            temporary.chmod(0o777 & ~umask())  # mkdtemp closes it to everybody else
            yield temporary
        refuse_existing(path, overwrite)
        if overwrite and path.is_dir() and any(path.iterdir()):
            _replace(path, temporary)
        else:
            _rename_to(temporary, path)
    finally:
        if temporary is not None:
            _remove(temporary)


def _remove(folder: Path) -> None:
    """Remove a folder that threads of a failed writer may still be writing to, for a moment."""
    for _ in range(40):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def refuse_existing(path: Path, overwrite: bool = False) -> None:
    """Raise ``FileExistsError`` where writing to ``path`` would replace something that nobody asked to replace."""
    empty = path.is_dir() and not any(path.iterdir())
    if path.exists() and not empty and not overwrite:
        raise FileExistsError(
            f"{path} exists already and is kept as it is. Choose another name, or ask to overwrite it."
        )


def _replace(path: Path, new: Path) -> None:
    """Let a folder and the one in its place change places: at once, where the system can do it.

    Where it cannot, a process killed between two renames leaves no folder at ``path``; ``recover`` puts it back.
    """
    if _exchange(path, new):
        return
    old = path.with_name(f".{path.name}.old-{_process()}-0")
    os.rename(path, old)
    try:
        os.rename(new, path)
    except BaseException:
        os.rename(old, path)
        raise
    shutil.rmtree(old)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step (Linux, renameat2); False where that is not possible."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if rename is None:
        return False
    return rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0


def _rename_to(new: Path, path: Path) -> None:
    try:
        os.rename(new, path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):  # somebody else was quicker
            raise FileExistsError(f"{path} was written by another process meanwhile, and is kept.") from error
        raise


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, folder: Path | None = None) -> Iterator[Path]:
    """A path to write to, moved to ``path`` only when the block ends without an error; its suffix is the same.

    It lies beside ``path``, or in another folder of the same file system, where strange files beside ``path`` would
    disturb others. What a process that was killed left there is removed the next time.

    Raises:
        DiskFullError: there is no room; what was there is kept.
    """
    path = Path(path).expanduser().resolve()
    beside = path if folder is None else folder / path.name
    recover(beside)
    temporary = None
    try:
        with explained_full_disk(path):
            beside.parent.mkdir(parents=True, exist_ok=True)
            begin = temporary_prefix(beside)
            handle, name = tempfile.mkstemp(prefix=begin, suffix=path.suffix, dir=beside.parent)
            os.close(handle)
            temporary = Path(name)
            temporary.chmod(0o666 & ~umask())
            yield temporary
            os.replace(temporary, path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


class DiskFullError(OSError):
    """There is no room for what is to be written; what was there before is kept."""

    def __str__(self) -> str:
        return str(self.args[-1])


FULL = ("No space left", "Disk quota exceeded", "RESOURCE_EXHAUSTED")  # what libraries say of it, in their own errors


@contextlib.contextmanager
def explained_full_disk(path: Path) -> Iterator[None]:
    """Raise ``DiskFullError``, with path and remedy, for whatever a full disk makes of the block.

    Of blocks in one another the outermost is the one to say so: the path is the user's, not that of a hidden folder.
    """
    try:
        yield
    except Exception as error:
        number = getattr(error, "errno", None)
        said = any(sign in str(error) for sign in FULL) and "memory" not in str(error)  # else it is that of a device
        if number not in (errno.ENOSPC, errno.EDQUOT) and not said:
            raise
        raise DiskFullError(
            errno.ENOSPC, f"{path} cannot be written: the disk is full, or your quota. Make room, and call again."
        ) from error


def _process() -> str:
    return f"{platform.node()}-{os.getpid()}"


def temporary_prefix(path: Path) -> str:
    """How the names begin of what is written beside ``path`` before it takes its place; ``recover`` knows them."""
    return f".{path.name}.incomplete-{_process()}-"


def is_temporary(path: Path) -> bool:
    """Whether a file or folder is the incomplete one of a process that writes, or was killed."""
    return bool(TEMPORARY.fullmatch(path.name))


def recover(path: Path) -> None:
    """Clear away what processes of this machine left beside ``path`` when they were killed.

    One killed between moving the old folder away and the new one in left no folder at ``path``: the old one returns.
    """
    if not path.parent.is_dir():
        return
    with contextlib.suppress(OSError):  # somebody else clears it, or it is not ours to clear
        for sibling in path.parent.iterdir():
            match = TEMPORARY.fullmatch(sibling.name)
            if not match or match["name"] != path.name or match["node"] != platform.node():
                continue
            if _is_running(int(match["process"])):
                continue
            if match["kind"] == "old" and not path.exists():
                os.rename(sibling, path)
            elif sibling.is_dir():
                shutil.rmtree(sibling, ignore_errors=True)
            else:
                sibling.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, for somebody else
    return True


def file_digest(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """Digest of a whole file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of a value that JSON can hold, whatever the order of its names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def umask() -> int:
    """The bits that new files of this process lack."""
    with _UMASK:  # it is read by changing it: of two threads the second would take the first one's 0 for it
        mask = os.umask(0)
        os.umask(mask)
    return mask
