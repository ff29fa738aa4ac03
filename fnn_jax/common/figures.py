"""How figures are made, look, and are written: without a window, in PNG, PDF and SVG."""

import os
from pathlib import Path
from typing import Any

from fnn_jax.common.files import whole_file

SUFFIXES = (".png", ".pdf", ".svg")

# Colours that stay apart with every kind of colour vision (Okabe and Ito, 2008), by what they mean.
MAIN = "#0072B2"  # what a figure is about
HIGHLIGHT = "#D55E00"  # what should be seen first in it
REFERENCE = "#737373"  # what it is compared with
DATA = "black"  # points that a curve goes through, and the mean of several curves
WARNING = "#A63603"  # of text: what is shown is not what it could be taken for
UNKNOWN, ON_IMAGE = "#E2E8F0", "white"  # where an image has no value, and lines on it
ON, OFF = HIGHLIGHT, MAIN  # to bright stimuli, to dark ones
SIDE_BY_SIDE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # curves of equal rank
RESPONSES, SIGNED, FRAMES = "magma", "RdBu_r", "gray"  # maps: from 0 on, around a middle, and gray levels as shown
SMALL, MEDIUM, LARGE = 7, 9, 12  # points: numbers and legends, titles of axes, the title of a figure


def new_figure(size: tuple[float, float]) -> Any:
    """A matplotlib figure of a size in inches, which no window and no ``pyplot`` knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style(ax: Any, title: str | None = None) -> None:
    """Small numbers, and no line without numbers; ``title``: of the axes, None: as it is."""
    ax.tick_params(labelsize=SMALL)
    ax.xaxis.label.set_size(MEDIUM)
    ax.yaxis.label.set_size(MEDIUM)
    if ax.name == "rectilinear":
        ax.spines[["top", "right"]].set_visible(False)
    if title is not None:
        ax.set_title(title, fontsize=MEDIUM)


def color_bar(ax: Any, image: Any, label: str) -> None:
    """Beside the axes, what the colours of their image mean."""
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8)
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label(label, size=MEDIUM)


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
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=150)
