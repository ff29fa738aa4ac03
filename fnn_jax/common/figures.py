"""How figures are made, look, and are written: without a window, in PNG, PDF and SVG, in the sizes of a journal."""

import contextlib
import os
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fnn_jax.common.files import whole_file

SUFFIXES = (".png", ".pdf", ".svg")
DPI = 200  # of PNG, and of maps inside PDF and SVG

# Colours that stay apart with every kind of colour vision (Okabe and Ito, 2008), by what they mean.
MAIN = "#0072B2"  # what a figure is about
HIGHLIGHT = "#D55E00"  # what should be seen first in it
REFERENCE = "#737373"  # what it is compared with
DATA = "black"  # points that a curve goes through, and the mean of several curves
WARNING = "#A63603"  # of text: what is shown is not what it could be taken for
GOOD = "#00694A"  # of text: all is well
FAINT = "#80808040"  # units that are not chosen, on light and on dark ground
UNKNOWN, ON_IMAGE = "#E2E8F0", "white"  # where an image has no value, and lines on it
ON, OFF = HIGHLIGHT, MAIN  # to bright stimuli, to dark ones
SIDE_BY_SIDE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # curves of equal rank
RESPONSES, SIGNED, FRAMES = "magma", "RdBu_r", "gray"  # maps: from 0 on, around a middle, and gray levels as shown
VALUES, COUNTS = "viridis", "viridis_r"  # of points by a number of each, and of how many lie in a place
CIRCULAR, MANY_KINDS = "twilight", "tab20"  # of points by an angle, and by one of more than six kinds
SMALL, MEDIUM, LARGE = 7, 8, 9  # points: numbers and labels; titles of axes; letters, the title of a figure
SINGLE, MIDDLE, DOUBLE = 89, 120, 183  # millimetres: one column of a journal's page, one and a half, the whole width

# Text stays text, to be searched and edited; the font is the one that matplotlib brings, the same on each machine.
STYLE = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.size": SMALL,
    "axes.titlesize": MEDIUM,
    "figure.titlesize": LARGE,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
}


@contextlib.contextmanager
def journal_style() -> Iterator[None]:
    """matplotlib's parameters for figures of a journal, whatever the user's are, which come back afterwards.

    Use it as ``with journal_style():`` or above a function.
    """
    from matplotlib import style

    with style.context(["default", STYLE]):
        yield


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure of a size in millimetres, which no window and no ``pyplot`` knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style(ax: Any, title: str | None = None) -> Any:
    """Small numbers, and no line without numbers; ``title``: of the axes, None: as it is. Returns the axes."""
    ax.tick_params(labelsize=SMALL)
    ax.xaxis.label.set_size(SMALL)
    ax.yaxis.label.set_size(SMALL)
    if ax.name == "rectilinear":
        ax.spines[["top", "right"]].set_visible(False)
    if title is not None:
        ax.set_title(title, fontsize=MEDIUM)
    return ax


def legend_above(ax: Any) -> None:
    """Names in two columns above the axes, where they hide nothing of what is drawn."""
    ax.legend(fontsize=SMALL, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)


def panel_letters(axes: Sequence[Any]) -> None:
    """a, b, c ... above the left edge of each of some axes."""
    for ax, letter in zip(axes, string.ascii_lowercase, strict=False):
        ax.annotate(
            letter,
            (0, 1),
            (-16, 5),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=LARGE,
            fontweight="bold",
        )


def color_bar(ax: Any, image: Any, label: str, **place: Any) -> None:
    """Beside the axes, one or an array, what the colours of their image mean; ``place`` as for ``Figure.colorbar``."""
    bar = image.axes.figure.colorbar(image, ax=ax, **{"shrink": 0.8, "aspect": 15, **place})
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_linewidth(0.6)
    bar.set_label(label, size=SMALL)


def show_frame(ax: Any, frame: Any, title: str) -> None:
    """A frame of a video as it is seen, gray levels from 0 to 255; its edge is drawn, because it may be white."""
    ax.imshow(frame, cmap=FRAMES, vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=SMALL)


def save_figure(figure: Any, path: str | os.PathLike | None) -> None:
    """Write a figure whole or not at all; None writes nothing.

    Raises:
        ValueError: the ending is not that of a picture.
    """
    if path is None:
        return
    path = Path(path).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"path is {str(path)!r}; expected a name that ends in {', '.join(SUFFIXES)}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, journal_style():
        figure.savefig(temporary, dpi=DPI)
