"""Frames of any size and rate as frames of one size at 30 Hz: shown until the next one comes, never blended."""

import math
from pathlib import Path

import numpy as np

from fnn_jax.common.rate import HZ
from fnn_jax.videos.source import GRAY, Shown, Source, Video, VideoError

SAME_RATE = 0.002  # relative; 29.97 Hz is a name for 30 Hz, and one frame for one is better than a repeat every 33 s
LATE_S = 0.001  # files round presentation times, many to milliseconds
JITTER_S = 1 / (4 * HZ)  # of cameras that say 30 Hz
LONGEST_FRAME_S = 3600  # beyond, time stamps are damaged, and would fill the memory with one frame


def _is_30_hz(rate: float | None) -> bool:
    return rate is not None and abs(rate / HZ - 1) <= SAME_RATE


def fits_already(source: Source, size: tuple[int, int]) -> bool:
    return source.array is not None and source.array.shape[1:3] == size and _is_30_hz(source.rate)


def first_frame(path: Path, source: Source) -> Shown:
    shown = next(source.frames, None)
    if shown is None:
        raise VideoError(f"{path} holds no frame; expected at least one.")
    return shown


def sampled(path: Path, source: Source, size: tuple[int, int], fit: str) -> Video:
    """The frames that are shown at the times of 30 Hz, collected as they come."""
    speed, late = (source.rate / HZ, JITTER_S) if _is_30_hz(source.rate) else (1, LATE_S)

    def due(time: float) -> int:  # how many frames at 30 Hz begin before
        return math.ceil((time * speed - late) * HZ)

    first = shown = first_frame(path, source)
    collected, length, count = bytearray(), 0, 1
    shortest, longest = math.inf, 0.0
    for following in source.frames:
        interval = following.start - shown.start
        _check_interval(path, count, interval)
        shortest, longest = min(shortest, interval), max(longest, interval)
        if due(following.start) > length:
            collected += fitted(shown, size, fit).tobytes() * (due(following.start) - length)
            length = due(following.start)
        shown, count = following, count + 1
    _check_interval(path, count, shown.stop - shown.start)
    last = fitted(shown, size, fit)
    if max(due(shown.stop), 1) > length:
        collected += last.tobytes() * (max(due(shown.stop), 1) - length)
    frames = np.frombuffer(collected, last.dtype).reshape(-1, *size)

    regular = longest - shortest < 2.5 * LATE_S
    if count > 1:
        measured = count / shown.stop
        is_stated = source.rate is not None and regular and abs(measured / source.rate - 1) < 0.02  # rounding, if short
        rate = rate_words(source, source.rate if is_stated else measured, regular)
    else:
        rate = f" shown for {shown.stop:.4g} s" if len(frames) > 1 else ""
    done = f"{counted(count, first.image.size[::-1])}{rate} -> {counted(len(frames), size)} at {HZ} Hz"
    return Video(frames, ", ".join([f"{path.name}: {done}", *_fit_words(first, size, fit), *first.notes]))


def _check_interval(path: Path, count: int, interval: float) -> None:
    if not 0 <= interval < LONGEST_FRAME_S:
        raise VideoError(
            f"{path}: its frame {count - 1} is shown for {interval:.6g} s by its time stamps; expected 0 to "
            f"{LONGEST_FRAME_S} s. Say the rate of the video: frames_per_second."
        )


def counted(count: int, size: tuple[int, int]) -> str:
    return f"{count} frame{'s' * (count != 1)} of {size[0]} x {size[1]}"


def rate_words(source: Source, rate: float, regular: bool = True) -> str:
    if source.assumed:
        return f", taken as {HZ} Hz"
    words = f" at {rate:.4g} Hz" if regular else f" at varying intervals, {rate:.4g} Hz on average"
    return words if not _is_30_hz(source.rate) or source.rate == HZ else f"{words}, taken as {HZ} Hz"


def _fit_words(shown: Shown, size: tuple[int, int], fit: str) -> list[str]:
    box, inner = _placement(shown, size, fit)
    width, height = (round(box[2] - box[0]), round(box[3] - box[1]))
    if (width, height) != shown.image.size:
        return [f"cropped to the middle {height} x {width}"]
    if inner != size[::-1]:
        return [f"padded with gray around {inner[1]} x {inner[0]}"]
    return ["stretched"] if fit == "stretch" and shown.image.size != size[::-1] else []


def _placement(shown: Shown, size: tuple[int, int], fit: str) -> tuple[tuple[float, ...], tuple[int, int]]:
    """The part of a frame that is seen: left, top, right, bottom; and its width and height in the result."""
    height, width = size
    across, down = shown.image.size
    wide = across * shown.pixel_aspect  # as shown, in heights of a pixel
    if fit == "crop":
        scale = max(width / wide, height / down)
        keep_x, keep_y = min(1, width / scale / wide), min(1, height / scale / down)
        left, top = across * (1 - keep_x) / 2, down * (1 - keep_y) / 2
        return (left, top, across - left, down - top), (width, height)
    scale = min(width / wide, height / down)
    inner = (max(1, round(wide * scale)), max(1, round(down * scale)))
    return (0, 0, across, down), inner if fit == "pad" else (width, height)


def fitted(shown: Shown, size: tuple[int, int], fit: str) -> np.ndarray:
    """Frame [height, width], uint8 or float32."""
    from PIL import Image

    height, width = size
    image = shown.image
    if image.size == (width, height) and shown.pixel_aspect == 1:
        return np.asarray(image)
    box, inner = _placement(shown, size, fit)
    small = np.asarray(image.resize(inner, Image.Resampling.BICUBIC, box=box))
    gray = GRAY
    if small.dtype != np.uint8:
        small, gray = np.clip(small, 0, 1), GRAY / 255  # bicubic weights are negative in places
    if inner == (width, height):
        return small
    frame = np.full(size, gray, small.dtype)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    frame[top : top + inner[1], left : left + inner[0]] = small
    return frame
