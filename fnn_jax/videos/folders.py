"""Which of the files in a folder are videos and images."""

import os
import re
from pathlib import Path

from fnn_jax.videos.source import ARRAYS, CONTAINERS, IMAGES, SUFFIXES, VideoError


def is_video(path: str | os.PathLike) -> bool:
    """Whether something is a video by its name, or is a folder whose direct content is images."""
    path = Path(path).expanduser()
    return path.suffix.lower() in SUFFIXES if is_one_file(path) else bool(images_in(path)) and not videos_in(path)


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
    if not folder.is_dir() or is_one_file(folder):
        raise NotADirectoryError(f"{folder} is a file; expected a folder of videos. Pass one video to read_video.")
    videos, images = videos_in(folder), images_in(folder)
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
    images = images_in(folder)
    if not images:
        raise VideoError(f"{folder} holds no image; expected files that end in {' '.join(IMAGES)}.")
    return images


def is_one_file(path: Path) -> bool:
    return not path.is_dir() or path.suffix.lower() == ".zarr"


def videos_in(folder: Path) -> list[Path]:
    def is_listed(path: Path) -> bool:
        if is_one_file(path):
            return path.suffix.lower() in (*ARRAYS, *CONTAINERS, ".gif")
        return bool(images_in(path))

    return [path for path in visible(folder) if is_listed(path)]


def images_in(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if path.suffix.lower() in IMAGES and path.is_file()]


def visible(folder: Path) -> list[Path]:
    """What is in a folder and is not hidden, frame9 before frame10."""

    def natural(path: Path) -> tuple:
        parts = re.split(r"([0-9]+)", path.name.casefold())
        return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name

    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural)
