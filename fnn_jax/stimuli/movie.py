"""A movie: frames at 30 Hz, and a table of what is shown when."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.checks import LARGEST, number
from fnn_jax.common.extras import missing
from fnn_jax.common.files import whole_file
from fnn_jax.common.rate import HZ

TIMES = ("onset_s", "offset_s", "center_s")  # columns of intervals that count from the beginning of the movie
TIE = 1e-6  # of a gray level: what lies half-way between two levels becomes the upper one on every machine


class Movie:
    """Frames and intervals; frames are made when they are first asked for.

    Attributes:
        intervals: a table with ``onset_s`` and ``offset_s`` (not inside), in order, and columns of what was shown.
        num_frames: at 30 Hz.

    >>> frames, intervals = movie
    """

    def __init__(self, make: Callable[[], np.ndarray], num_frames: int, intervals: pd.DataFrame):
        self._make = make
        self.num_frames = num_frames
        self.intervals = intervals.reset_index(drop=True)
        spans = frame_spans(self.intervals)
        if len(spans) and spans.max() > num_frames:
            raise ValueError(
                f"intervals has one that ends at {self.intervals['offset_s'].max():g} s, after the {num_frames} frames "
                f"({num_frames / HZ:g} s) of the movie."
            )

    @classmethod
    def of(cls, frames: Any, intervals: pd.DataFrame | None = None, **shown: Any) -> "Movie":
        """A movie of frames ``[T, H, W]``, uint8 or floats in [0, 1]; without intervals, one of the whole."""
        frames = as_levels(frames)
        if intervals is not None and not isinstance(intervals, pd.DataFrame):
            raise TypeError(f"intervals is {checks.shown(intervals)}; expected a table with onset_s and offset_s.")
        if frames.ndim != 3 or not len(frames):
            raise ValueError(f"frames has the shape {list(frames.shape)}; expected [T, H, W] with at least one frame.")
        if intervals is None:
            intervals = pd.DataFrame([{"onset_s": 0.0, "offset_s": len(frames) / HZ, **shown}])
        return cls(lambda: frames, len(frames), intervals)

    @functools.cached_property
    def frames(self) -> np.ndarray:
        """uint8 ``[T, H, W]``."""
        frames = self._make()
        assert frames.dtype == np.uint8 and len(frames) == self.num_frames, (frames.dtype, frames.shape)
        return frames

    @property
    def duration_s(self) -> float:
        return self.num_frames / HZ

    def __iter__(self) -> Iterator[Any]:
        yield self.frames
        yield self.intervals

    def __repr__(self) -> str:
        return f"Movie({self.num_frames} frames, {self.duration_s:.4g} s, {len(self.intervals)} intervals)"


def frames_in(duration_s: float, name: str = "duration_s") -> int:
    """A duration as a number of frames.

    Raises:
        TypeError: it is no number. ValueError: it is shorter than half a frame, not finite, or years.
    """
    seconds = number(name, duration_s)
    if not 0.5 / HZ <= seconds <= LARGEST / HZ:
        raise ValueError(f"{name} is {duration_s!r}; expected seconds, at least one frame ({1 / HZ:.3f}).")
    return round(seconds * HZ)


def frame_spans(intervals: pd.DataFrame) -> np.ndarray:
    """First frame of each interval and the one after its last, ``[N, 2]``: those whose times lie in [onset, offset).

    Raises:
        ValueError: an interval is empty, or starts before the movie; or the columns are missing.
    """
    if not isinstance(intervals, pd.DataFrame):
        raise TypeError(f"intervals is {checks.shown(intervals)}; expected a table with onset_s and offset_s.")
    missing = {"onset_s", "offset_s"} - set(intervals)
    if missing:
        raise ValueError(f"intervals lacks the columns {sorted(missing)}; it has {list(intervals)}.")
    try:
        seconds = intervals[["onset_s", "offset_s"]].to_numpy(float)
    except (TypeError, ValueError) as error:
        raise TypeError("intervals has onset_s or offset_s that are no numbers; expected seconds.") from error
    spans = np.ceil(seconds * HZ - 1e-6)
    bad = ~((spans[:, 0] >= 0) & (spans[:, 0] < spans[:, 1]))  # true for NaN
    if bad.any():
        onset, offset = seconds[np.argmax(bad)]
        raise ValueError(
            f"intervals has {onset:g} to {offset:g} s, in which no frame lies; expected 0 <= onset_s < offset_s, "
            f"at least {1 / HZ:.3f} s."
        )
    return spans.astype(int)


def as_levels(frames: Any) -> np.ndarray:
    """Gray levels, uint8, of frames that are uint8 or floats in [0, 1].

    Raises:
        TypeError, ValueError: they are neither.
    """
    try:
        frames = np.asarray(frames)
    except ValueError as error:  # of several sizes
        raise TypeError(f"frames cannot be read as one array: {error}.") from error
    if frames.dtype == np.uint8:
        return frames
    if not np.issubdtype(frames.dtype, np.floating):
        raise TypeError(f"frames has the dtype {frames.dtype}; expected uint8, or floats in [0, 1].")
    if frames.size and not ((frames >= -TIE) & (frames <= 1 + TIE)).all():  # false for NaN
        raise ValueError(f"frames has values from {frames.min()!s} to {frames.max()!s}; expected [0, 1].")
    return np.floor(np.clip(frames, 0, 1) * 255 + (0.5 + TIE)).astype(np.uint8)


def gray_frames(display: Any, num_frames: int, level: float = 0.5) -> np.ndarray:
    """Frames of one gray level."""
    return np.full((num_frames, display.height, display.width), as_levels(np.float64(level)), np.uint8)


def one_after_another(
    display: Any,
    conditions: Sequence[Mapping[str, Any]],
    make: Callable[..., np.ndarray],
    *,
    on_s: float,
    off_s: float = 0.0,
    level: float = 0.5,
) -> Movie:
    """Conditions one after the other, each preceded by gray for ``off_s``.

    ``make(**condition)`` gives the frames of one, in [0, 1] or uint8, as many as fit into ``on_s``, or a single one
    that is repeated.
    """
    if not len(conditions):
        raise ValueError("There is nothing to show: expected at least one condition.")
    on = frames_in(on_s, "on_s")
    off = frames_in(off_s, "off_s") if number("off_s", off_s, 0) else 0
    level = number("level", level, 0, most=1)

    def frames():
        shown = np.empty((len(conditions), off + on, display.height, display.width), np.uint8)
        shown[:, :off] = as_levels(np.float64(level))
        for each, condition in zip(shown, conditions, strict=True):
            each[off:] = as_levels(make(**condition))
        return shown.reshape(-1, display.height, display.width)

    onsets = (np.arange(len(conditions)) * (on + off) + off) / HZ
    table = pd.DataFrame({"onset_s": onsets, "offset_s": onsets + on / HZ})
    shown = pd.DataFrame([{k: v for k, v in each.items() if v is not None and np.ndim(v) == 0} for each in conditions])
    return Movie(frames, len(conditions) * (on + off), pd.concat([table, shown], axis=1))


def concatenate(movies: Iterable[Movie]) -> Movie:
    """Movies one after the other as one; their intervals move along: ``onset_s``, ``offset_s``, and ``center_s`` of
    ``moving_bars``."""
    movies = list(movies) if isinstance(movies, Iterable) and not isinstance(movies, Movie) else [movies]
    if not movies:
        raise ValueError("movies is empty; expected at least one.")
    wrong = [movie for movie in movies if not isinstance(movie, Movie)]
    if wrong:
        raise TypeError(f"movies holds {checks.shown(wrong[0])}; expected movies.")
    starts = np.cumsum([0, *(movie.num_frames for movie in movies)])
    tables = [
        movie.intervals.assign(
            **{name: movie.intervals[name] + start / HZ for name in TIMES if name in movie.intervals}
        )
        for movie, start in zip(movies, starts, strict=False)
    ]
    return Movie(
        lambda: np.concatenate([movie.frames for movie in movies]),
        int(starts[-1]),
        pd.concat(tables, ignore_index=True),
    )


def save_movie(frames: Any, path: str | os.PathLike) -> Path:
    """Write frames, or a ``Movie``, as a video at 30 Hz: ``.mp4``, ``.avi``, ``.mkv``, ``.mov``, ``.gif`` or ``.npy``.

    Videos are compressed, almost without loss (H.264, quality 8); ``.npy`` and ``.gif`` keep every level.

    Raises:
        ValueError: another ending, or frames that are no movie.
    """
    path = checks.path("path", path)
    frames = frames.frames if isinstance(frames, Movie) else Movie.of(frames).frames
    suffix = path.suffix.lower()
    if suffix not in (*CONTAINERS, ".gif", ".npy"):
        raise ValueError(f"path is {str(path)!r}; expected a name that ends in {', '.join(CONTAINERS)}, .gif or .npy.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        if suffix == ".npy":
            np.save(temporary, frames)
        elif suffix == ".gif":
            _write_gif(temporary, frames)
        else:
            _write_video(temporary, frames)
    return path


CONTAINERS = (".mp4", ".avi", ".mkv", ".mov")


def _write_gif(path: Path, frames: np.ndarray) -> None:
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    # GIFs count in hundredths of a second: 3, 3, 4 make a tenth.
    durations = [(30, 30, 40)[i % 3] for i in range(len(images))]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)


def _write_video(path: Path, frames: np.ndarray) -> None:
    try:
        import av
    except ImportError as error:
        raise ImportError(f"{missing(f'Writing {path.suffix}', 'video')}; a .gif does without.") from error

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=HZ, options={"crf": "8", "preset": "medium"})
        height, width = (size + size % 2 for size in frames.shape[1:])  # H.264 wants even sizes
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for frame in frames:
            frame = np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1])), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gray")))
        container.mux(stream.encode())
