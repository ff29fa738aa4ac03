"""Videos in images: folders of them, stacks, animations, stills."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.common.rate import HZ
from fnn_jax.videos.folders import images_in, videos_in
from fnn_jax.videos.source import GRAY, IMAGES, Shown, Source, VideoError, explained, required_package

GIF_FRAME_S = 0.1  # of frames without a duration, as browsers show them
EXIF_ORIENTATION = 0x0112  # 5 to 8: width and height are exchanged


@contextlib.contextmanager
def image_folder(path: Path, rate: float | None) -> Iterator[Source]:
    image_module = required_package("PIL.Image", path)
    files = images_in(path)
    if not files:
        raise VideoError(
            f"{path} is a folder without images; expected {' '.join(IMAGES)}. The videos in a folder are listed by "
            "find_videos."
        )
    others = videos_in(path)
    if others:
        raise VideoError(
            f"{path} holds images and videos, such as {files[0].name} and {others[0].name}; expected only images, the "
            "frames of one video. Put them in a folder of their own, or pass one of the videos."
        )
    expected = None
    for file in files:
        with explained(file), image_module.open(file) as image:  # reads the header only
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

    def frames() -> Iterator[Shown]:
        for i, file in enumerate(files):
            with explained(file), image_module.open(file) as image:
                gray, notes = _gray_image(file, image)
            yield Shown(gray, i / (rate or HZ), (i + 1) / (rate or HZ), notes=notes)

    yield Source(frames(), rate or HZ, assumed=rate is None)


@contextlib.contextmanager
def image_file(path: Path, rate: float | None) -> Iterator[Source]:
    """A still image, a TIFF stack, or an animation."""
    with required_package("PIL.Image", path).open(path) as image:
        if image.format == "GIF":
            _check_gif_end(path)
        is_timed = (_is_stack(image) and image.format != "TIFF") or image.info.get("duration", 0) > 0
        if is_timed and rate is None:
            yield Source(_animation(path, image), None)
        else:
            stack_rate = (rate if _is_stack(image) else None) or HZ
            yield Source(_stack(path, image, stack_rate), stack_rate, assumed=rate is None)


def _is_stack(image: Any) -> bool:
    # A JPEG of a phone may hold more images, of its other lens.
    return image.format in ("GIF", "PNG", "TIFF") and getattr(image, "n_frames", 1) > 1


def _check_gif_end(path: Path) -> None:
    """Refuse a GIF without its last byte: one that is cut between two frames reads as a shorter one."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        if not file.read().rstrip(b"\0\r\n ").endswith(b";"):
            raise VideoError(f"{path} is incomplete: it lacks the mark at the end of a GIF. Get it again.")


def _stack(path: Path, image: Any, rate: float) -> Iterator[Shown]:
    for i in range(image.n_frames if _is_stack(image) else 1):
        image.seek(i)
        gray, notes = _gray_image(path, image)
        yield Shown(gray, i / rate, (i + 1) / rate, notes=notes)


def _animation(path: Path, image: Any) -> Iterator[Shown]:
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
