"""Videos of any kind, as what the network reads: gray frames of 144 x 256 at 30 Hz.

Frames turn gray by the luma of ITU-R BT.601 and are shown until the next one comes, as when the network's training
videos were made. Packages that read files are imported on first use: ``import fnn_jax`` needs none of them.
"""

import contextlib
import importlib
import math
import operator
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HZ = 30  # of the network's frames
SAME_RATE = 0.002  # relative; 29.97 Hz is a name for 30 Hz, and one frame for one is better than a repeat every 33 s
LATE_S = 0.001  # files round presentation times, many to milliseconds
JITTER_S = 1 / (4 * HZ)  # of cameras that say 30 Hz
LONGEST_FRAME_S = 3600  # beyond, time stamps are damaged, and would fill the memory with one frame
GRAY = 128  # around padded frames and behind transparent ones
GIF_FRAME_S = 0.1  # of frames without a duration, as browsers show them
TURNS = ("nothing", "90 degrees counterclockwise", "180 degrees", "90 degrees clockwise")
MP4_PARTS = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"free", b"skip", b"wide", b"uuid")
EXIF_ORIENTATION = 0x0112  # 5 to 8: width and height are exchanged

ARRAYS = (".npy", ".npz", ".zarr")
CONTAINERS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
SUFFIXES = (*ARRAYS, *CONTAINERS, ".gif", *IMAGES)
KEYS = ("frames", "stimuli", "video")
FITS = ("crop", "pad", "stretch")


class Video(NamedTuple):
    """Gray frames at 30 Hz, and in words how they were made."""

    frames: np.ndarray  # [T, height, width], uint8, or floats in [0, 1] where the input has floats
    how: str


class VideoError(ValueError):
    """A file or folder that is not a video which can be read."""


class _Shown(NamedTuple):
    """A frame of the input while it is shown: from ``start`` to the start of the next one, the last one to ``stop``."""

    image: Any  # a Pillow image: L, or F in [0, 1]
    start: float  # seconds
    stop: float
    pixel_aspect: float = 1.0  # width of a pixel by its height
    notes: tuple[str, ...] = ()


class _Source(NamedTuple):
    """A video that is open."""

    frames: Iterator[_Shown]
    rate: float | None  # frames per second, None where each frame says how long it is shown
    assumed: bool = False  # whether nobody said that rate
    array: Any = None  # the frames, where they are an array that is gray already


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
    with _explained(path), _opened(path, frames_per_second) as source:
        if not _fits_already(source, size):
            return _sampled(path, source, size, fit)
        frames = source.array[...]  # of a memory map, that is one
        frames = frames if frames.ndim == 3 else frames[..., 0]
        return Video(
            frames, f"{path.name}: {_counted(len(frames), size)}{_rate_words(source, source.rate)}, as they are"
        )


def fit_frames(
    frames: Any,
    *,
    size: tuple[int, int] = (144, 256),
    fit: str = "crop",
    frames_per_second: float | None = None,
    times_s: Any = None,
    name: str = "frames",
) -> Video:
    """Frames in memory, as ``read_video`` does it with those of a file.

    Args:
        frames: an array ``[T, H, W]``, ``[T, H, W, 1]`` or ``[T, H, W, 3]``, uint8 or floats in [0, 1].
        times_s: when each frame begins to be shown, in seconds, increasing; the last one is shown as long as frames are
            on average. The first one is shown at once. Instead of ``frames_per_second`` (default: 30).
        name: for ``how`` and messages.

    Raises:
        VideoError: the frames are no video. ValueError: another argument is not understood.
    """
    size = _checked_arguments(size, fit, frames_per_second)
    array, path = np.asarray(frames), Path(name)
    is_gray = _check_array(path, array)
    if times_s is None:
        source = _Source(iter(()), frames_per_second or HZ, frames_per_second is None, array if is_gray else None)
        if _fits_already(source, size):
            if array.dtype != np.uint8:
                for i, frame in enumerate(array):
                    _gray_floats(path, i, frame)
            words = _rate_words(source, source.rate)
            array = array if array.ndim == 3 else array[..., 0]
            return Video(array, f"{name}: {_counted(len(array), size)}{words}, as they are")
        starts = np.arange(len(array) + 1) / source.rate
    else:
        if frames_per_second is not None:
            raise ValueError("Both times_s and frames_per_second are given; expected one of them.")
        starts = _starts(times_s, len(array))
        source = _Source(iter(()), None)
    return _sampled(path, source._replace(frames=_array_frames(path, array, starts)), size, fit)


def _starts(times_s: Any, count: int) -> np.ndarray:
    times = np.asarray(times_s, float)
    if times.shape != (count,):
        raise ValueError(f"times_s has the shape {list(times.shape)}; expected [{count}], one time for each frame.")
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError("times_s has times that do not increase, or are not finite; expected seconds, in order.")
    last = np.diff(times).mean() if count > 1 else 1 / HZ
    return np.append(times, times[-1] + last) - times[0]


def check_video(
    path: str | os.PathLike,
    size: tuple[int, int] = (144, 256),
    fit: str = "crop",
    frames_per_second: float | None = None,
) -> None:
    """Raise what ``read_video`` would raise, as far as headers and the first frame tell."""
    path = Path(path).expanduser()
    size = _checked_arguments(size, fit, frames_per_second)
    with _explained(path), _opened(path, frames_per_second) as source:
        if not _fits_already(source, size):
            _fitted(_first(path, source), size, fit)


def is_video(path: str | os.PathLike) -> bool:
    """Whether something is a video by its name, or is a folder whose direct content is images."""
    path = Path(path).expanduser()
    return path.suffix.lower() in SUFFIXES if _is_one_file(path) else bool(_images(path)) and not _videos(path)


def find_videos(folder: str | os.PathLike) -> list[Path]:
    """The videos directly inside a folder, files and folders of images, in the order of the numbers in their names.

    Whatever is hidden or is no video is left out, and so are images beside videos.

    Raises:
        FileNotFoundError, NotADirectoryError: no folder is there.
        VideoError: it holds no video, or it is itself one, made of images.
    """
    folder = Path(folder).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; expected a folder of videos.")
    if not folder.is_dir() or _is_one_file(folder):
        raise NotADirectoryError(f"{folder} is a file; expected a folder of videos. Pass one video to read_video.")
    videos, images = _videos(folder), _images(folder)
    if images and not videos:
        raise VideoError(
            f"{folder} holds {len(images)} images, such as {images[0].name}, and no videos; expected a folder of "
            "videos. Taken as one video whose frames are these images, pass it to read_video. Images that are a video "
            "each go to read_video one by one."
        )
    if not videos:
        raise VideoError(
            f"{folder} holds no video; expected files that end in {' '.join((*ARRAYS, *CONTAINERS, '.gif'))}, or "
            f"folders of images ({' '.join(IMAGES)})."
        )
    return videos


def find_images(folder: str | os.PathLike) -> list[Path]:
    """The images directly inside a folder that are not hidden, in the order of the numbers in their names.

    Raises:
        FileNotFoundError, NotADirectoryError: no folder is there.
        VideoError: it holds no image.
    """
    folder = Path(folder).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; expected a folder of images.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected a folder of images.")
    images = _images(folder)
    if not images:
        raise VideoError(f"{folder} holds no image; expected files that end in {' '.join(IMAGES)}.")
    return images


def _is_one_file(path: Path) -> bool:
    return not path.is_dir() or path.suffix.lower() == ".zarr"


def _videos(folder: Path) -> list[Path]:
    def is_listed(path: Path) -> bool:
        if _is_one_file(path):
            return path.suffix.lower() in (*ARRAYS, *CONTAINERS, ".gif")
        return bool(_images(path))

    return [path for path in _visible(folder) if is_listed(path)]


def _images(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.suffix.lower() in IMAGES and path.is_file()]


def _visible(folder: Path) -> list[Path]:
    """What is in a folder and is not hidden, frame9 before frame10."""

    def natural(path: Path) -> tuple:
        parts = re.split(r"([0-9]+)", path.name.casefold())
        return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name

    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural)


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


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
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


def _package(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = {"PIL": "pillow"}.get(name.split(".")[0], name)
        raise ImportError(f"Reading {path} needs the package {package}: pip install {package}") from error


def _opened(path: Path, rate: float | None) -> contextlib.AbstractContextManager[_Source]:
    suffix = path.suffix.lower()
    if not _is_one_file(path):
        return _image_folder(path, rate)
    readers: dict[tuple[str, ...], Callable] = {
        ARRAYS: _array_file,
        CONTAINERS: _container,
        (".gif", *IMAGES): _image_file,
    }
    for suffixes, reader in readers.items():
        if suffix in suffixes:
            return reader(path, rate)
    raise VideoError(f"{path} ends in {suffix or 'nothing'!r}; expected a folder of images, or {' '.join(SUFFIXES)}.")


def _is_30_hz(rate: float | None) -> bool:
    return rate is not None and abs(rate / HZ - 1) <= SAME_RATE


def _fits_already(source: _Source, size: tuple[int, int]) -> bool:
    return source.array is not None and source.array.shape[1:3] == size and _is_30_hz(source.rate)


def _first(path: Path, source: _Source) -> _Shown:
    shown = next(source.frames, None)
    if shown is None:
        raise VideoError(f"{path} holds no frame; expected at least one.")
    return shown


def _sampled(path: Path, source: _Source, size: tuple[int, int], fit: str) -> Video:
    """The frames that are shown at the times of 30 Hz, collected as they come."""
    speed, late = (source.rate / HZ, JITTER_S) if _is_30_hz(source.rate) else (1, LATE_S)

    def due(time: float) -> int:  # how many frames at 30 Hz begin before
        return math.ceil((time * speed - late) * HZ)

    first = shown = _first(path, source)
    collected, length, count = bytearray(), 0, 1
    shortest, longest = math.inf, 0.0
    for following in source.frames:
        interval = following.start - shown.start
        _check_interval(path, count, interval)
        shortest, longest = min(shortest, interval), max(longest, interval)
        if due(following.start) > length:
            collected += _fitted(shown, size, fit).tobytes() * (due(following.start) - length)
            length = due(following.start)
        shown, count = following, count + 1
    _check_interval(path, count, shown.stop - shown.start)
    last = _fitted(shown, size, fit)
    if max(due(shown.stop), 1) > length:
        collected += last.tobytes() * (max(due(shown.stop), 1) - length)
    frames = np.frombuffer(collected, last.dtype).reshape(-1, *size)

    regular = longest - shortest < 2.5 * LATE_S
    if count > 1:
        measured = count / shown.stop
        is_stated = source.rate is not None and regular and abs(measured / source.rate - 1) < 0.02  # rounding, if short
        rate = _rate_words(source, source.rate if is_stated else measured, regular)
    else:
        rate = f" shown for {shown.stop:.4g} s" if len(frames) > 1 else ""
    done = f"{_counted(count, first.image.size[::-1])}{rate} -> {_counted(len(frames), size)} at {HZ} Hz"
    return Video(frames, ", ".join([f"{path.name}: {done}", *_fit_words(first, size, fit), *first.notes]))


def _check_interval(path: Path, count: int, interval: float) -> None:
    if not 0 <= interval < LONGEST_FRAME_S:
        raise VideoError(
            f"{path}: its frame {count - 1} is shown for {interval:.6g} s by its time stamps; expected 0 to "
            f"{LONGEST_FRAME_S} s. Say the rate of the video: frames_per_second."
        )


def _counted(count: int, size: tuple[int, int]) -> str:
    return f"{count} frame{'s' * (count != 1)} of {size[0]} x {size[1]}"


def _rate_words(source: _Source, rate: float, regular: bool = True) -> str:
    if source.assumed:
        return f", taken as {HZ} Hz"
    words = f" at {rate:.4g} Hz" if regular else f" at varying intervals, {rate:.4g} Hz on average"
    return words if not _is_30_hz(source.rate) or source.rate == HZ else f"{words}, taken as {HZ} Hz"


def _fit_words(shown: _Shown, size: tuple[int, int], fit: str) -> list[str]:
    box, inner = _placement(shown, size, fit)
    width, height = (round(box[2] - box[0]), round(box[3] - box[1]))
    if (width, height) != shown.image.size:
        return [f"cropped to the middle {height} x {width}"]
    if inner != size[::-1]:
        return [f"padded with gray around {inner[1]} x {inner[0]}"]
    return ["stretched"] if fit == "stretch" and shown.image.size != size[::-1] else []


def _placement(shown: _Shown, size: tuple[int, int], fit: str) -> tuple[tuple[float, ...], tuple[int, int]]:
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


def _fitted(shown: _Shown, size: tuple[int, int], fit: str) -> np.ndarray:
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


@contextlib.contextmanager
def _array_file(path: Path, rate: float | None) -> Iterator[_Source]:
    array = _load_array(path)
    is_gray = _check_array(path, array)
    _package("PIL", path)
    frames = _array_frames(path, array, np.arange(array.shape[0] + 1) / (rate or HZ))
    yield _Source(frames, rate or HZ, assumed=rate is None, array=array if is_gray else None)


def _check_array(path: Path, array: Any) -> bool:
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
        zarr = _package("zarr", path)
        opened = zarr.open(str(path), mode="r")
        return _only_array(path, dict(opened.arrays())) if isinstance(opened, zarr.Group) else opened
    try:
        if path.suffix.lower() == ".npy":
            return np.lib.format.open_memmap(path, mode="r")  # which, unlike numpy.load, closes what is none
        with open(path, "rb") as file:  # NumPy does not close a damaged one
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else _only_array(path, loaded)
    except ValueError as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise VideoError(
                f"{path} holds Python objects, which are not read: they can run code. Expected an array of numbers: "
                "save np.stack(frames)."
            ) from error
        raise


def _only_array(path: Path, arrays: Any) -> Any:
    names = list(arrays)
    named = names if len(names) == 1 else [name for name in names if name in KEYS]
    if len(named) != 1:
        raise VideoError(f"{path} holds the arrays {names}; expected one, or one that is named {' or '.join(KEYS)}.")
    return arrays[named[0]]


def _array_frames(path: Path, array: Any, times_s: np.ndarray) -> Iterator[_Shown]:
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
                image = Image.fromarray(_gray_floats(path, i, frame))
            yield _Shown(image, float(times_s[i]), float(times_s[i + 1]), notes=notes)


def _gray_floats(path: Path, index: int, frame: np.ndarray) -> np.ndarray:
    frame = np.ascontiguousarray(frame, np.float32)
    good = (frame >= 0) & (frame <= 1)  # false for NaN
    if not good.all():
        value = frame.reshape(-1)[np.argmin(good)]
        raise VideoError(f"{path} holds the value {value!s} in frame {index}; floats are expected to be in [0, 1].")
    return frame if frame.ndim == 2 else np.clip(frame @ np.array([0.299, 0.587, 0.114], np.float32), 0, 1)


@contextlib.contextmanager
def _image_folder(path: Path, rate: float | None) -> Iterator[_Source]:
    image_module = _package("PIL.Image", path)
    files = _images(path)
    if not files:
        raise VideoError(
            f"{path} is a folder without images; expected {' '.join(IMAGES)}. The videos in a folder are listed by "
            "find_videos."
        )
    others = _videos(path)
    if others:
        raise VideoError(
            f"{path} holds images and videos, such as {files[0].name} and {others[0].name}; expected only images, the "
            "frames of one video. Put them in a folder of their own, or pass one of the videos."
        )
    expected = None
    for file in files:
        with _explained(file), image_module.open(file) as image:  # reads the header only
            turned = image.format != "PNG" and image.getexif().get(EXIF_ORIENTATION, 1) >= 5  # PNG: would decode it
            size = image.size[::-1] if turned else image.size
            expected = expected or size
            if size != expected:
                raise VideoError(
                    f"{file} has {size[1]} x {size[0]} pixels and {files[0].name} has {expected[1]} x {expected[0]}; "
                    "expected images of equal size, the frames of one video."
                )
            if _is_stack(image):
                raise VideoError(
                    f"{file} holds {image.n_frames} images; expected one in each file of a folder. Where each file is "
                    "a video of its own, pass them one by one."
                )

    def frames() -> Iterator[_Shown]:
        for i, file in enumerate(files):
            with _explained(file), image_module.open(file) as image:
                gray, notes = _gray_image(file, image)
            yield _Shown(gray, i / (rate or HZ), (i + 1) / (rate or HZ), notes=notes)

    yield _Source(frames(), rate or HZ, assumed=rate is None)


@contextlib.contextmanager
def _image_file(path: Path, rate: float | None) -> Iterator[_Source]:
    """A still image, a TIFF stack, or an animation."""
    with _package("PIL.Image", path).open(path) as image:
        if image.format == "GIF":
            _check_gif_end(path)
        is_timed = (_is_stack(image) and image.format != "TIFF") or image.info.get("duration", 0) > 0
        if is_timed and rate is None:
            yield _Source(_animation(path, image), None)
        else:
            stack_rate = (rate if _is_stack(image) else None) or HZ
            yield _Source(_stack(path, image, stack_rate), stack_rate, assumed=rate is None)


def _is_stack(image: Any) -> bool:
    # A JPEG of a phone may hold more images, of its other lens.
    return image.format in ("GIF", "PNG", "TIFF") and getattr(image, "n_frames", 1) > 1


def _check_gif_end(path: Path) -> None:
    """Refuse a GIF without its last byte: one that is cut between two frames reads as a shorter one."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        if not file.read().rstrip(b"\0\r\n ").endswith(b";"):
            raise VideoError(f"{path} is incomplete: it lacks the mark at the end of a GIF. Get it again.")


def _stack(path: Path, image: Any, rate: float) -> Iterator[_Shown]:
    for i in range(image.n_frames if _is_stack(image) else 1):
        image.seek(i)
        gray, notes = _gray_image(path, image)
        yield _Shown(gray, i / rate, (i + 1) / rate, notes=notes)


def _animation(path: Path, image: Any) -> Iterator[_Shown]:
    start = 0.0
    for shown in _stack(path, image, HZ):
        seconds = image.info.get("duration", 0) / 1000
        notes = (*shown.notes, *(() if seconds else (f"frames without a duration shown for {GIF_FRAME_S} s",)))
        stop = start + (seconds or GIF_FRAME_S)
        yield shown._replace(start=start, stop=stop, notes=notes)
        start = stop


def _gray_image(path: Path, image: Any) -> tuple[Any, tuple[str, ...]]:
    """An opened image, upright and gray, and what was done to it."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F"):
        raise VideoError(f"{path} has pixels of 32 bits; expected 8 or 16. Save it with 8 bits, or as .npy.")
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8)), ("16 bits divided by 257",)
    notes = () if image.mode in ("1", "L", "LA") else ("gray (BT.601)",)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (GRAY, GRAY, GRAY, 255)), image)
        notes = (*notes, "transparent parts mid-gray")
    return image.convert("L"), notes


@contextlib.contextmanager
def _container(path: Path, rate: float | None) -> Iterator[_Source]:
    av = _package("av", path)
    _package("PIL", path)
    _check_whole(path)
    # The full path, because a name such as 12:30.mp4 reads as a protocol; and nothing is read that it points to.
    opened = av.open(str(path.resolve()), metadata_errors="replace", options={"protocol_whitelist": "file"})
    with opened as container:
        stream = container.streams.best("video")
        if stream is None:
            kinds = ", ".join(sorted({other.type for other in container.streams})) or "nothing"
            raise VideoError(f"{path} has no video stream, it has {kinds}; expected a video.")
        if stream.codec_context is None:
            raise VideoError(f"{path} is coded in a way that PyAV does not read. Convert it, for example to H.264.")
        stated = rate or float(stream.average_rate or stream.guessed_rate or 0) or None
        yield _Source(_container_frames(path, container, stream, stated, rate is not None), stated)


def _container_frames(path: Path, container: Any, stream: Any, rate: float | None, is_given: bool) -> Iterator[_Shown]:
    from PIL import Image

    aspect = float(stream.sample_aspect_ratio or 1)
    origin, start, stop, interval = None, 0.0, 0.0, 1 / (rate or HZ)
    for count, frame in enumerate(_decoded(path, container, stream)):
        # What stands for the presentation times that these files lack is out of order, or a frame off.
        is_avi = container.format.name == "avi" and stream.codec_context.has_b_frames
        if is_given and rate:
            start, stop = count / rate, (count + 1) / rate
        elif is_avi or container.format.name == "mpeg":
            start, stop = stop, stop + (_seconds(frame) or interval)
        elif frame.time is None:
            raise VideoError(f"{path} does not say when its frame {count} is shown. Say its rate: frames_per_second.")
        else:
            origin = frame.time if origin is None else origin
            interval = frame.time - origin - start if count else interval
            start = frame.time - origin
            stop = start + (_seconds(frame) or interval)
        gray, turn = frame.to_ndarray(format="gray"), round(frame.rotation / 90) % 4
        notes = [] if len(frame.format.components) == 1 else ["gray (BT.601)"]
        notes += [f"turned by {TURNS[turn]}"] if turn else []
        notes += [f"its pixels {aspect:.3g} times as wide as high"] if aspect != 1 else []
        image = Image.fromarray(np.ascontiguousarray(np.rot90(gray, turn)))
        yield _Shown(image, start, stop, 1 / aspect if turn % 2 else aspect, tuple(notes))


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """Frames of PyAV. They are not decoded in several threads, which loses errors at the end of a file."""
    last = None
    for packet in container.demux(stream):
        frames = [] if packet.is_corrupt else packet.decode()
        if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
            after = "at its start" if last is None else f"after {last:.2f} s"
            raise VideoError(f"{path} is damaged or incomplete {after}. Get it again, or cut it there.")
        for frame in frames:
            last = last if frame.time is None else frame.time
            yield frame


def _seconds(frame: Any) -> float:
    return float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0


def _check_whole(path: Path) -> None:
    """Refuse an MP4 or Matroska file that ends before its parts do: PyAV reads one as a shorter video."""
    size, end = path.stat().st_size, 0
    with open(path, "rb") as file:
        part = _matroska_part if file.read(4) == b"\x1a\x45\xdf\xa3" else _mp4_part
        while end < size:
            file.seek(end)
            length = part(file.read(16))
            if not length:  # up to the end of the file, or not what it seemed to be
                return
            end += length
    if end > size:
        raise VideoError(f"{path} is incomplete: it has {size} bytes, expected {end} by its header. Get it again.")


def _mp4_part(header: bytes) -> int:
    length = int.from_bytes(header[:4])
    return (int.from_bytes(header[8:16]) if length == 1 else length) if header[4:8] in MP4_PARTS else 0


def _matroska_part(header: bytes) -> int:
    widths, at = [], 0
    for _ in ("identifier", "length"):  # each begins with as many zero bits as bytes follow the first one
        if at >= len(header) or not header[at]:
            return 0
        widths.append(9 - header[at].bit_length())
        at += widths[-1]
    unknown = (1 << 7 * widths[1]) - 1
    length = int.from_bytes(header[widths[0] : at]) & unknown
    return 0 if length == unknown else at + length
