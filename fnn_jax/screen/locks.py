"""Which process is at work on what of a screen on disk: locks of the operating system, in a folder beside it.

A process loses its locks when it dies, so nothing is ever claimed by nobody.
"""

import contextlib
import os
from pathlib import Path

import filelock

SHAPES = "shape"  # the shapes of the arrays, and the metadata that tell of them


def folder(path: Path) -> Path:
    """Where the locks of the screen at a path are, and files that are not yet in their place."""
    return path.with_name(f".{path.name}.locks")


def lock(path: Path, name: str) -> filelock.FileLock:
    """What a name stands for, for one process alone: ``with lock(path, SHAPES):`` waits for it."""
    folder(path).mkdir(exist_ok=True)
    return filelock.FileLock(folder(path) / f"{name}.lock", thread_local=False)


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
