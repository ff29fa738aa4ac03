"""Images, videos and lists of frames, as movies that fit the monitor."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax import videos
from fnn_jax.common import checks
from fnn_jax.common.checks import number, one_of, sequence
from fnn_jax.stimuli.display import Display, require_display
from fnn_jax.stimuli.gratings import in_order
from fnn_jax.stimuli.movie import Movie, as_levels, one_after_another


def video(
    display: Display,
    source: Any,
    *,
    fit: str = "crop",
    frames_per_second: float | None = None,
    times_s: Any = None,
) -> Movie:
    """A video: a file, a folder of frames, or an array ``[T, H, W(, 1 or 3)]``; see ``fnn_jax.videos.read_video``.

    Args:
        fit: ``"crop"`` and ``"pad"`` keep the aspect, ``"stretch"`` does not.
        frames_per_second: of the source; ``times_s``: instead, when each frame of an array begins to be shown. At each
            time of 30 Hz the nearest preceding frame is shown.

    The interval's ``how`` says what was done.
    """
    require_display(display)
    size = (display.height, display.width)
    one_of("fit", fit, videos.FITS)
    if frames_per_second is not None:
        number("frames_per_second", frames_per_second, above=0)
    if times_s is not None:
        checks.numbers("times_s", times_s)
    if isinstance(source, str | os.PathLike):
        source = checks.path("source", source)
        if times_s is not None:
            raise ValueError("times_s is given for a file; expected an array of frames, or frames_per_second.")
        read = videos.read_video(source, size=size, fit=fit, frames_per_second=frames_per_second)
    else:
        source = _array("source", source)
        read = videos.fit_frames(source, size=size, fit=fit, frames_per_second=frames_per_second, times_s=times_s)
    return Movie.of(read.frames, how=read.how)


def images(
    display: Display,
    source: Any,
    *,
    fit: str = "crop",
    on_s: float = 0.5,
    off_s: float = 0.5,
    background: float = 0.5,
    repeats: int = 1,
    seed: int | None = None,
) -> Movie:
    """Images one after the other, with gray before each; intervals have ``image``, their names or numbers, and ``how``.

    Args:
        source: a folder of images, in the order of the numbers in their names; paths; or arrays, ``[N, H, W(, 3)]`` or
            a list of ``[H, W(, 3)]``.
        seed: of a random order, another one for each repeat; None: in the order given.
    """
    require_display(display)
    size = (display.height, display.width)
    one_of("fit", fit, videos.FITS)
    number("background", background, 0, most=1)
    if isinstance(source, str | os.PathLike):
        source = videos.find_images(checks.path("source", source))
    fitted = {}
    for index, image in enumerate(sequence("source", source, "images")):
        if isinstance(image, str | os.PathLike):
            name, read = Path(image).name, videos.read_video(image, size=size, fit=fit)
        else:
            frames, name = _array("source", image)[None], index
            read = videos.fit_frames(frames, size=size, fit=fit, name=f"image {index}")
        if name in fitted:
            raise ValueError(f"source has two images of the name {name!r}; give arrays, or names that differ.")
        fitted[name] = (as_levels(read.frames[0]), read.how)
    conditions = in_order([{"image": name, "how": how} for name, (_, how) in fitted.items()], repeats, seed)

    def make(image, how):
        return fitted[image][0][None]

    return one_after_another(display, conditions, make, on_s=on_s, off_s=off_s, level=background)


def frame_list(display: Display, frames: Sequence[Any], times_s: Any, *, fit: str = "crop") -> Movie:
    """Frames ``[H, W(, 3)]`` and when each begins to be shown; see ``video``."""
    arrays = [_array("frames", frame) for frame in sequence("frames", frames, "frames [H, W] or [H, W, 3]")]
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"frames has the shapes {sorted({array.shape for array in arrays})}; expected one size.")
    return video(display, np.stack(arrays), fit=fit, times_s=times_s)


def _array(name: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:  # of several sizes
        raise TypeError(f"{name} cannot be read as one array: {error}.") from error
    if array.dtype == object:
        raise TypeError(f"{name} holds {checks.shown(values)}; expected an array of frames, or a path.")
    return array
