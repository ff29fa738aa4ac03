"""Draw the pictures of gallery.md: run its examples, and write each movie that they name as an animated picture."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from fnn_jax.common.files import whole_file
from fnn_jax.stimuli import Movie, as_levels

PAGE = Path(__file__).parent / "gallery.md"
FIGURES = PAGE.parent / "figures" / "gallery"
WIDTH, HEIGHT = 256, 144  # pixels
EACH = 2  # every second frame, at 15 Hz, halves the bytes


def movies() -> dict[str, np.ndarray]:
    """Frames ``[T, H, W]`` by the names that the page gives them."""
    namespace: dict = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(example, str(PAGE), "exec"), namespace)
    shown = re.findall(r"figures/gallery/(\w+)\.webp", PAGE.read_text())
    return {name: frames_of(namespace[name]) for name in shown}


def frames_of(thing) -> np.ndarray:
    return thing.frames if isinstance(thing, Movie) else as_levels(np.asarray(thing, np.float64))


def write(path: Path, frames: np.ndarray) -> None:
    pictures = [Image.fromarray(frame).resize((WIDTH, HEIGHT)) for frame in frames[::EACH]]
    with whole_file(path) as temporary:
        pictures[0].save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=1000 * EACH // 30,
            loop=0,
            quality=60,
            method=6,
        )


if __name__ == "__main__":
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name, frames in movies().items():
        write(FIGURES / f"{name}.webp", frames)
        print(f"{name}: {len(frames)} frames, {(FIGURES / name).with_suffix('.webp').stat().st_size / 1000:.0f} kB")
