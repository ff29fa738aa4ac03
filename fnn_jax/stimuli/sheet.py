"""A contact sheet: what a movie shows, at a glance."""

import math
import os
from typing import Any

import numpy as np

from fnn_jax.common.checks import integer
from fnn_jax.common.figures import DOUBLE, journal_style, new_figure, save_figure, show_frame
from fnn_jax.common.rate import HZ
from fnn_jax.stimuli.movie import Movie, frame_spans

HIDDEN = ("onset_s", "offset_s", "seed", "how")
MOST_SHOWN = 3


@journal_style()
def contact_sheet(
    movie: Movie | Any, path: str | os.PathLike | None = None, *, num_frames: int = 24, columns: int = 6
) -> Any:
    """Frames of a movie, evenly spaced, with their times and what is shown; a matplotlib figure.

    Args:
        movie: a ``Movie``, or frames ``[T, H, W]``.
        path: to write to, such as ``sheet.png`` or ``sheet.pdf``.
    """
    num_frames, columns = integer("num_frames", num_frames), integer("columns", columns)
    movie = movie if isinstance(movie, Movie) else Movie.of(movie)
    shown = np.unique(np.linspace(0, movie.num_frames - 1, min(num_frames, movie.num_frames)).round().astype(int))
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    aspect = movie.frames.shape[1] / movie.frames.shape[2]
    figure = new_figure(width := DOUBLE * columns / 6, rows * (width / columns * aspect + 8))
    axes = np.atleast_2d(figure.subplots(rows, columns, squeeze=False))
    spans = frame_spans(movie.intervals)
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    for ax, frame in zip(axes.flat, shown, strict=False):
        show_frame(ax, movie.frames[frame], f"{frame / HZ:.2f} s{_label(movie, spans, frame)}")
    save_figure(figure, path)
    return figure


def _label(movie: Movie, spans: np.ndarray, frame: int) -> str:
    inside = np.flatnonzero((spans[:, 0] <= frame) & (frame < spans[:, 1]))
    if not len(inside):
        return ""
    row = movie.intervals.iloc[inside[0]]
    varying = [
        name for name in movie.intervals if name not in HIDDEN and movie.intervals[name].nunique(dropna=False) > 1
    ]
    known = [name for name in varying if row[name] == row[name]][:MOST_SHOWN]  # NaN is unlike itself
    words = [f"{name.replace('_', ' ')} {row[name]:.4g}" if _is_number(row[name]) else str(row[name]) for name in known]
    return "\n" + ", ".join(words) if words else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)
