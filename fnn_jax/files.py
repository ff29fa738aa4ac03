"""Folders and files that are written whole or not at all."""

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_directory(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """A new folder that takes its place at ``path`` only when the block ends without an error.

    It is filled beside its place under a hidden name, so a process killed half-way leaves nothing at ``path``, and what
    it leaves beside it is removed the next time. With ``overwrite`` an existing folder stays as it is until the new one
    is complete.

    Raises:
        FileExistsError: something is at ``path`` already, and ``overwrite`` is not set.
    """
    path = Path(path).expanduser().resolve()
    if path == Path.cwd():
        raise FileExistsError(f"{path} is the current folder, which cannot be replaced. Give a name inside it.")
    _clear_abandoned(path)
    refuse_existing(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.incomplete-{_process()}-", dir=path.parent))
    try:
        temporary.chmod(0o777 & ~umask())  # mkdtemp closes it to everybody else
        yield temporary
        refuse_existing(path, overwrite)
        if overwrite and path.is_dir() and any(path.iterdir()):
            _replace(path, temporary)
        else:
            _rename_to(temporary, path)
    finally:
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
    """Put a folder in the place of another; if that fails, the other one is put back."""
    old = path.with_name(f".{path.name}.old-{_process()}-0")
    os.rename(path, old)
    try:
        os.rename(new, path)
    except BaseException:
        os.rename(old, path)
        raise
    shutil.rmtree(old)


def _rename_to(new: Path, path: Path) -> None:
    try:
        os.rename(new, path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):  # somebody else was quicker
            raise FileExistsError(f"{path} was written by another process meanwhile, and is kept.") from error
        raise


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, moved to ``path`` only when the block ends without an error; its suffix is the same."""
    path = Path(path).expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.incomplete-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.chmod(0o666 & ~umask())
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _process() -> str:
    return f"{platform.node()}-{os.getpid()}"


def _clear_abandoned(path: Path) -> None:
    """Clear away what processes of this machine left beside ``path`` when they were killed.

    One killed between moving the old folder away and the new one in left no folder at ``path``: the old one returns.
    """
    if not path.parent.is_dir():
        return
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(incomplete|old)-{re.escape(platform.node())}-(\d+)-\w+")
    for sibling in path.parent.iterdir():
        match = pattern.fullmatch(sibling.name)
        if match and not _is_running(int(match[2])):
            if match[1] == "old" and not path.exists():
                os.rename(sibling, path)
            else:
                shutil.rmtree(sibling, ignore_errors=True)


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


def umask() -> int:
    """The bits that new files of this process lack."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
