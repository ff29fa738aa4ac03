"""Draw the pictures of the galleries: run their examples, and write what they name.

``python docs/gallery.py`` draws all of them, ``python docs/gallery.py gallery_synthesis`` those of one page.
"""

import io
import re
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from fnn_jax.common.figures import journal_style
from fnn_jax.common.files import whole_file
from fnn_jax.stimuli import Movie, as_levels

DOCS = Path(__file__).parent
FIGURES = DOCS / "figures" / "gallery"
PAGES = ("gallery", "gallery_protocols", "gallery_synthesis")
WIDTH, HEIGHT = 256, 144  # pixels, of a movie
EACH = 2  # every second frame, at 15 Hz, halves the bytes
DPI = 130  # of a figure


def things(page: Path) -> dict[str, object]:
    """Movies, frames and figures by the names that a page gives them."""
    namespace: dict = {}
    for example in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(example, str(page), "exec"), namespace)
    return {name: namespace[name] for name in re.findall(r"figures/gallery/(\w+)\.webp", page.read_text())}


def write(path: Path, thing: object) -> None:
    pictures, options = figure(thing) if isinstance(thing, Figure) else movie(thing)
    with whole_file(path) as temporary:
        pictures[0].save(
            temporary, format="WEBP", save_all=True, append_images=pictures[1:], loop=0, method=6, **options
        )


def movie(thing) -> tuple[list[Image.Image], dict]:
    frames = thing.frames if isinstance(thing, Movie) else np.asarray(thing)
    levels = frames if frames.dtype == np.uint8 else as_levels(frames.astype(np.float64))
    # Pixels of a small stimulus stay squares.
    pictures = [Image.fromarray(each).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST) for each in levels[::EACH]]
    return pictures, {"duration": 1000 * EACH // 30, "quality": 60}


def figure(thing: Figure) -> tuple[list[Image.Image], dict]:
    drawn = io.BytesIO()
    with journal_style():
        thing.savefig(drawn, dpi=DPI)
    return [Image.open(drawn).convert("RGB")], {"lossless": True}


if __name__ == "__main__":
    FIGURES.mkdir(parents=True, exist_ok=True)
    for page in sys.argv[1:] or PAGES:
        for name, thing in things(DOCS / f"{page}.md").items():
            path = FIGURES / f"{name}.webp"
            write(path, thing)
            print(f"{path.relative_to(DOCS)}: {path.stat().st_size / 1000:.0f} kB", flush=True)
