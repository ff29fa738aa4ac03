"""What an open video is, and what its parts are called."""

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fnn_jax.common.extras import missing

GRAY = 128  # around padded frames and behind transparent ones
ARRAYS = (".npy", ".npz", ".zarr")
CONTAINERS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
SUFFIXES = (*ARRAYS, *CONTAINERS, ".gif", *IMAGES)


class Video(NamedTuple):
    """Gray frames at 30 Hz, and in words how they were made."""

    frames: np.ndarray  # [T, height, width], uint8, or floats in [0, 1] where the input has floats
    how: str


class VideoError(ValueError):
    """A file or folder that is not a video which can be read."""


class Shown(NamedTuple):
    """A frame of the input while it is shown: from ``start`` to the start of the next one, the last one to ``stop``."""

    image: Any  # a Pillow image: L, or F in [0, 1]
    start: float  # seconds
    stop: float
    pixel_aspect: float = 1.0  # width of a pixel by its height
    notes: tuple[str, ...] = ()


class Source(NamedTuple):
    """A video that is open."""

    frames: Iterator[Shown]
    rate: float | None  # frames per second, None where each frame says how long it is shown
    assumed: bool = False  # whether nobody said that rate
    array: Any = None  # the frames, where they are an array that is gray already


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Errors of the packages that read files, which raise many kinds, as one that names the file."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; expected a video.")
    try:
        yield
    except (VideoError, PermissionError, ImportError, MemoryError):
        raise
    except Exception as error:
        raise VideoError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error or type(error).__name__}. It is "
            "damaged or incomplete, or not what its name says. Get it again, or convert it to another form."
        ) from error


def required_package(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if name == "av":
            raise ImportError(missing(f"Reading {path}", "video")) from error
        package = {"PIL": "pillow"}.get(name.split(".")[0], name)
        raise ImportError(f"Reading {path} needs the package {package}: pip install {package}") from error
