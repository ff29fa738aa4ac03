"""Which process is at work on what of a screen on disk: locks of the operating system, in a folder beside it.

A process loses its locks when it dies, so nothing is ever claimed by nobody.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import filelock

Read = TypeVar("Read")
GROWTH_S = 0.5  # within which all arrays of a screen have grown
SHAPES = "shape"  # the shapes of the arrays, and the metadata that tell of them


def folder(path: Path) -> Path:
    """Where the locks of the screen at a path are, and files that are not yet in their place."""
    return path.with_name(f".{path.name}.locks")


def lock(path: Path, name: str) -> filelock.FileLock:
    """What a name stands for, for one process alone: ``with lock(path, SHAPES):`` waits for it."""
    folder(path).mkdir(exist_ok=True)
    return filelock.FileLock(folder(path) / f"{name}.lock", thread_local=False)


def steady(path: Path, read: Callable[[], Read]) -> Read:
    """What is read of a screen. Where that fails, again while nobody lets its arrays grow, file by file."""
    try:
        return read()
    except ValueError:
        if not (path / "zarr.json").is_file():
            raise
    try:
        with lock(path, SHAPES):
            return read()
    except OSError:  # where one may not write, one may not lock, either
        time.sleep(GROWTH_S)
        return read()
    finally:
        clear(path)


def claim(path: Path, name: str) -> filelock.FileLock | None:
    """The same without waiting, until ``release``; None where another process has it."""
    claimed = lock(path, name)
    try:
        return claimed.acquire(timeout=0).lock
    except filelock.Timeout:
        return None


def release(claimed: filelock.FileLock) -> None:
    """Give it back. Its file goes first: while another process may have it open, nobody else has it locked."""
    with contextlib.suppress(OSError):
        os.unlink(claimed.lock_file)
    claimed.release()


def clear(path: Path) -> None:
    """Remove what processes that were killed left here; what another one holds stays."""
    with contextlib.suppress(OSError):  # of those who may not write here, or of a folder that another one uses
        for file in folder(path).glob("*.lock"):
            claimed = claim(path, file.stem)
            if claimed is not None:
                release(claimed)
        folder(path).rmdir()
