"""Videos in arrays: .npy, .npz, .zarr, and in memory."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.common.arrays import header_read, map_array
from fnn_jax.common.rate import HZ
from fnn_jax.videos.source import Shown, Source, VideoError, required_package

KEYS = ("frames", "stimuli", "video")


@contextlib.contextmanager
def array_file(path: Path, rate: float | None) -> Iterator[Source]:
    array = _load_array(path)
    is_gray = check_array(path, array)
    required_package("PIL", path)
    frames = array_frames(path, array, np.arange(array.shape[0] + 1) / (rate or HZ))
    yield Source(frames, rate or HZ, assumed=rate is None, array=array if is_gray else None)


def check_array(path: Path, array: Any) -> bool:
    """Whether frames are gray already; an error where they are no video."""
    shape = tuple(array.shape)
    got = f"{path} holds the shape {list(shape)}; expected [T, H, W], [T, H, W, 1] or [T, H, W, 3]"
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)):
        raise VideoError(f"{got}. It looks like one frame without a time axis: save array[None].")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise VideoError(f"{got}. Height, width and colours come last, one video in a file.")
    if 0 in shape:
        raise VideoError(f"{got}, with at least one frame.")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise VideoError(
            f"{path} holds {array.dtype}; expected uint8, or floats in [0, 1]. Where its values run from 0 to 255: "
            "save array.astype(np.uint8)."
        )
    return len(shape) == 3 or shape[3] == 1


def _load_array(path: Path) -> Any:
    """A memory map, an array, or an array of zarr."""
    if path.suffix.lower() == ".zarr":
        zarr = required_package("zarr", path)
        opened = zarr.open(str(path), mode="r")
        return _only_array(path, dict(opened.arrays())) if isinstance(opened, zarr.Group) else opened
    try:
        if path.suffix.lower() == ".npy":
            return map_array(path)  # which, unlike numpy.load, closes what is none
        return header_read(lambda: _load_npz(path))
    except ValueError as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise VideoError(
                f"{path} holds Python objects, which are not read: they can run code. Expected an array of numbers: "
                "save np.stack(frames)."
            ) from error
        raise


def _load_npz(path: Path) -> np.ndarray:
    with open(path, "rb") as file:  # NumPy does not close a damaged one
        loaded = np.load(file, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else _only_array(path, loaded)


def _only_array(path: Path, arrays: Any) -> Any:
    names = list(arrays)
    named = names if len(names) == 1 else [name for name in names if name in KEYS]
    if len(named) != 1:
        raise VideoError(f"{path} holds the arrays {names}; expected one, or one that is named {' or '.join(KEYS)}.")
    return arrays[named[0]]


def array_frames(path: Path, array: Any, times_s: np.ndarray) -> Iterator[Shown]:
    """Frames of an array; ``times_s`` are their starts, and the end of the last."""
    from PIL import Image

    notes = () if array.ndim == 3 or array.shape[3] == 1 else ("gray (BT.601)",)
    step = getattr(array, "chunks", (1,))[0]  # of zarr, which decompresses whole chunks
    for start in range(0, array.shape[0], step):
        for i, frame in enumerate(np.asarray(array[start : start + step]), start):
            if frame.shape[2:] == (1,):
                frame = frame[..., 0]
            if frame.dtype == np.uint8:
                image = Image.fromarray(np.ascontiguousarray(frame)).convert("L")
            else:
                image = Image.fromarray(gray_floats(path, i, frame))
            yield Shown(image, float(times_s[i]), float(times_s[i + 1]), notes=notes)


def gray_floats(path: Path, index: int, frame: np.ndarray) -> np.ndarray:
    frame = np.ascontiguousarray(frame, np.float32)
    good = (frame >= 0) & (frame <= 1)  # false for NaN
    if not good.all():
        value = frame.reshape(-1)[np.argmin(good)]
        raise VideoError(f"{path} holds the value {value!s} in frame {index}; floats are expected to be in [0, 1].")
    return frame if frame.ndim == 2 else np.clip(frame @ np.array([0.299, 0.587, 0.114], np.float32), 0, 1)
