"""How figures are made and written: without a window, in PNG and PDF."""

import os
from pathlib import Path
from typing import Any

from fnn_jax.common.files import whole_file

SUFFIXES = (".png", ".pdf", ".svg")


def new_figure(size: tuple[float, float]) -> Any:
    """A matplotlib figure of a size in inches, which no window and no ``pyplot`` knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


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
