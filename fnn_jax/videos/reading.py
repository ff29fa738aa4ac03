"""Read a video of any kind."""

import contextlib
import math
import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.common import checks
from fnn_jax.common.rate import HZ
from fnn_jax.videos.arrays import array_file, array_frames, check_array, gray_floats
from fnn_jax.videos.containers import container_file
from fnn_jax.videos.folders import is_one_file
from fnn_jax.videos.images import image_file, image_folder
from fnn_jax.videos.sampling import counted, first_frame, fits_already, fitted, rate_words, sampled
from fnn_jax.videos.source import ARRAYS, CONTAINERS, IMAGES, SUFFIXES, Source, Video, VideoError, explained

FITS = ("crop", "pad", "stretch")


def read_video(
    path: str | os.PathLike,
    *,
    size: tuple[int, int] = (144, 256),
    fit: str = "crop",
    frames_per_second: float | None = None,
) -> Video:
    """Read a video as gray frames at 30 Hz.

    Each of them is the frame of the input that is shown at its time; frames are repeated or left out, never blended.
    An input within 0.2 % of 30 Hz is taken frame by frame. Resizing is bicubic with antialiasing, one frame at a time:
    only small gray frames are kept. A ``.npy`` of the right size at 30 Hz is returned as a memory map, unread.

    Args:
        path: ``.npy``, ``.npz`` or ``.zarr`` with one array (or one named frames, stimuli or video) [T, H, W],
            [T, H, W, 1] or [T, H, W, 3] of uint8, or of floats in [0, 1], which stay floats; a video file such as
            ``.mp4``; a ``.gif``; a folder of images of equal size, in the order of the numbers in their names; an
            image, which is one frame unless it has several (TIFF stacks, animated PNG).
        size: height and width of the frames.
        fit: ``crop`` scales a frame until it covers ``size`` and cuts the middle out, ``pad`` until all of it is seen,
            in mid-gray (128), ``stretch`` scales each axis on its own.
        frames_per_second: of the input, instead of what the file says. Arrays, folders and TIFF stacks do not say it;
            they are taken as 30 Hz.

    Raises:
        VideoError: a ValueError: a file that is damaged, incomplete, or not a video as described above.
        FileNotFoundError: nothing is at ``path``.
        ImportError: the package that reads such files is not installed.
        ValueError: another argument is not understood.
    """
    path = Path(path).expanduser()
    size = _checked_arguments(size, fit, frames_per_second)
    with explained(path), _opened(path, frames_per_second) as source:
        if not fits_already(source, size):
            return sampled(path, source, size, fit)
        frames = source.array[...]  # of a memory map, that is one
        frames = frames if frames.ndim == 3 else frames[..., 0]
        return Video(frames, f"{path.name}: {counted(len(frames), size)}{rate_words(source, source.rate)}, as they are")


def fit_frames(
    frames: Any,
    *,
    size: tuple[int, int] = (144, 256),
    fit: str = "crop",
    frames_per_second: float | None = None,
    times_s: Any = None,
    stop_s: float | None = None,
    name: str = "frames",
) -> Video:
    """Frames in memory, as ``read_video`` does it with those of a file.

    Args:
        frames: an array ``[T, H, W]``, ``[T, H, W, 1]`` or ``[T, H, W, 3]``, uint8 or floats in [0, 1].
        times_s: when each frame begins to be shown, in seconds, increasing. The first one is shown at once. Instead of
            ``frames_per_second`` (default: 30).
        stop_s: with ``times_s``: when the last frame ends; None: it is shown as long as frames are on average.
        name: for ``how`` and messages.

    Raises:
        VideoError: the frames are no video. ValueError: another argument is not understood.
    """
    size = _checked_arguments(size, fit, frames_per_second)
    array, path = np.asarray(frames), Path(name)
    is_gray = check_array(path, array)
    if times_s is None:
        if stop_s is not None:
            raise ValueError("stop_s is given without times_s; expected both, on one clock.")
        source = Source(iter(()), frames_per_second or HZ, frames_per_second is None, array if is_gray else None)
        if fits_already(source, size):
            if array.dtype != np.uint8:
                for i, frame in enumerate(array):
                    gray_floats(path, i, frame)
            words = rate_words(source, source.rate)
            array = array if array.ndim == 3 else array[..., 0]
            return Video(array, f"{name}: {counted(len(array), size)}{words}, as they are")
        starts = np.arange(len(array) + 1) / source.rate
    else:
        if frames_per_second is not None:
            raise ValueError("Both times_s and frames_per_second are given; expected one of them.")
        starts = _starts(times_s, len(array), stop_s)
        source = Source(iter(()), None)
    return sampled(path, source._replace(frames=array_frames(path, array, starts)), size, fit)


def _starts(times_s: Any, count: int, stop_s: float | None) -> np.ndarray:
    times = np.asarray(times_s, float)
    if times.shape != (count,):
        raise ValueError(f"times_s has the shape {list(times.shape)}; expected [{count}], one time for each frame.")
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError("times_s has times that do not increase, or are not finite; expected seconds, in order.")
    if stop_s is None:
        stop_s = times[-1] + (np.diff(times).mean() if count > 1 else 1 / HZ)
    return np.append(times, checks.number("stop_s", stop_s, above=times[-1])) - times[0]


def check_video(
    path: str | os.PathLike,
    size: tuple[int, int] = (144, 256),
    fit: str = "crop",
    frames_per_second: float | None = None,
) -> None:
    """Raise what ``read_video`` would raise, as far as headers and the first frame tell."""
    path = Path(path).expanduser()
    size = _checked_arguments(size, fit, frames_per_second)
    with explained(path), _opened(path, frames_per_second) as source:
        if not fits_already(source, size):
            fitted(first_frame(path, source), size, fit)


def _checked_arguments(size: Any, fit: str, frames_per_second: float | None) -> tuple[int, int]:
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise ValueError(f"size is {size!r}; expected (height, width), such as (144, 256).")
    if fit not in FITS:
        raise ValueError(f"fit is {fit!r}; expected one of {', '.join(FITS)}.")
    if frames_per_second is not None and not 0 < frames_per_second < math.inf:
        raise ValueError(f"frames_per_second is {frames_per_second!r}; expected a positive number, or None.")
    return height, width


def _opened(path: Path, rate: float | None) -> contextlib.AbstractContextManager[Source]:
    suffix = path.suffix.lower()
    if not is_one_file(path):
        return image_folder(path, rate)
    readers: dict[tuple[str, ...], Callable] = {
        ARRAYS: array_file,
        CONTAINERS: container_file,
        (".gif", *IMAGES): image_file,
    }
    for suffixes, reader in readers.items():
        if suffix in suffixes:
            return reader(path, rate)
    raise VideoError(f"{path} ends in {suffix or 'nothing'!r}; expected a folder of images, or {' '.join(SUFFIXES)}.")
