"""Which process is at work on what of a screen on disk: locks of the operating system, in a folder beside it.

A process loses its locks when it dies, so nothing is ever claimed by nobody.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import filelock

Read = TypeVar("Read")
TRIES = 100  # of taking a lock whose folder is removed meanwhile
GROWTH_S = 0.5  # within which all arrays of a screen have grown
SHAPES = "shape"  # the shapes of the arrays, and the metadata that tell of them


def folder(path: Path) -> Path:
    """Where the locks of the screen at a path are, and files that are not yet in their place: on the same disk."""
    path = path.resolve()
    return path.with_name(f".{path.name}.locks")


@contextlib.contextmanager
def held(path: Path, name: str) -> Iterator[None]:
    """What a name stands for, for one process alone; it waits for it."""
    lock = _acquired(path, name, timeout=-1)
    try:
        yield
    finally:
        lock.release()


def claim(path: Path, name: str) -> filelock.FileLock | None:
    """The same without waiting, until ``release``; None where another process has it."""
    try:
        return _acquired(path, name, timeout=0)
    except filelock.Timeout:
        return None


def _acquired(path: Path, name: str, timeout: float) -> filelock.FileLock:
    for _ in range(TRIES):
        folder(path).mkdir(exist_ok=True)
        lock = filelock.FileLock(folder(path) / f"{name}.lock", thread_local=False)
        with contextlib.suppress(FileNotFoundError):  # another process finished the screen, and cleared the folder
            lock.acquire(timeout=timeout)
            return lock
    raise FileNotFoundError(f"{folder(path)} is removed again and again. Is something cleaning up beside the screen?")


def steady(path: Path, read: Callable[[], Read]) -> Read:
    """What is read of a screen. Where that fails, again while nobody lets its arrays grow, file by file."""
    try:
        return read()
    except ValueError:
        if not (path / "zarr.json").is_file():
            raise
    try:
        with held(path, SHAPES):
            return read()
    except OSError:  # where one may not write, one may not lock, either
        time.sleep(GROWTH_S)
        return read()


def release(claimed: filelock.FileLock) -> None:
    """Give it back. Its file goes first: while another process may have it open, nobody else has it locked."""
    with contextlib.suppress(OSError):
        os.unlink(claimed.lock_file)
    claimed.release()


def clear(path: Path) -> None:
    """Of a screen that is finished, remove what processes that were killed left; what another one holds stays."""
    with contextlib.suppress(OSError):  # of those who may not write here, or of a folder that another one uses
        for file in folder(path).glob("*.lock"):
            claimed = claim(path, file.stem)
            if claimed is not None:
                release(claimed)
        folder(path).rmdir()
