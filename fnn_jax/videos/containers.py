"""Videos in containers such as .mp4, decoded by PyAV."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.common.rate import HZ
from fnn_jax.videos.source import Shown, Source, VideoError, required_package

TURNS = ("nothing", "90 degrees counterclockwise", "180 degrees", "90 degrees clockwise")
MP4_PARTS = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"free", b"skip", b"wide", b"uuid")


@contextlib.contextmanager
def container_file(path: Path, rate: float | None) -> Iterator[Source]:
    av = required_package("av", path)
    required_package("PIL", path)
    _check_whole(path)
    # The full path, because a name such as 12:30.mp4 reads as a protocol; and nothing is read that it points to.
    opened = av.open(str(path.resolve()), metadata_errors="replace", options={"protocol_whitelist": "file"})
    with opened as container:
        stream = container.streams.best("video")
        if stream is None:
            kinds = ", ".join(sorted({other.type for other in container.streams})) or "nothing"
            raise VideoError(f"{path} has no video stream, it has {kinds}; expected a video.")
        if stream.codec_context is None:
            raise VideoError(f"{path} is coded in a way that PyAV does not read. Convert it, for example to H.264.")
        stated = rate or float(stream.average_rate or stream.guessed_rate or 0) or None
        yield Source(_container_frames(path, container, stream, stated, rate is not None), stated)


def _container_frames(path: Path, container: Any, stream: Any, rate: float | None, is_given: bool) -> Iterator[Shown]:
    from PIL import Image

    aspect = float(stream.sample_aspect_ratio or 1)
    origin, start, stop, interval = None, 0.0, 0.0, 1 / (rate or HZ)
    for count, frame in enumerate(_decoded(path, container, stream)):
        # What stands for the presentation times that these files lack is out of order, or a frame off.
        is_avi = container.format.name == "avi" and stream.codec_context.has_b_frames
        if is_given and rate:
            start, stop = count / rate, (count + 1) / rate
        elif is_avi or container.format.name == "mpeg":
            start, stop = stop, stop + (_seconds(frame) or interval)
        elif frame.time is None:
            raise VideoError(f"{path} does not say when its frame {count} is shown. Say its rate: frames_per_second.")
        else:
            origin = frame.time if origin is None else origin
            interval = frame.time - origin - start if count else interval
            start = frame.time - origin
            stop = start + (_seconds(frame) or interval)
        gray, turn = frame.to_ndarray(format="gray"), round(frame.rotation / 90) % 4
        notes = [] if len(frame.format.components) == 1 else ["gray (BT.601)"]
        notes += [f"turned by {TURNS[turn]}"] if turn else []
        notes += [f"its pixels {aspect:.3g} times as wide as high"] if aspect != 1 else []
        image = Image.fromarray(np.ascontiguousarray(np.rot90(gray, turn)))
        yield Shown(image, start, stop, 1 / aspect if turn % 2 else aspect, tuple(notes))


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """Frames of PyAV. They are not decoded in several threads, which loses errors at the end of a file."""
    last = None
    for packet in container.demux(stream):
        frames = [] if packet.is_corrupt else packet.decode()
        if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
            after = "at its start" if last is None else f"after {last:.2f} s"
            raise VideoError(f"{path} is damaged or incomplete {after}. Get it again, or cut it there.")
        for frame in frames:
            last = last if frame.time is None else frame.time
            yield frame


def _seconds(frame: Any) -> float:
    return float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0


def _check_whole(path: Path) -> None:
    """Refuse an MP4 or Matroska file that ends before its parts do: PyAV reads one as a shorter video."""
    size, end = path.stat().st_size, 0
    with open(path, "rb") as file:
        part = _matroska_part if file.read(4) == b"\x1a\x45\xdf\xa3" else _mp4_part
        while end < size:
            file.seek(end)
            length = part(file.read(16))
            if not length:  # up to the end of the file, or not what it seemed to be
                return
            end += length
    if end > size:
        raise VideoError(f"{path} is incomplete: it has {size} bytes, expected {end} by its header. Get it again.")


def _mp4_part(header: bytes) -> int:
    length = int.from_bytes(header[:4])
    return (int.from_bytes(header[8:16]) if length == 1 else length) if header[4:8] in MP4_PARTS else 0


def _matroska_part(header: bytes) -> int:
    widths, at = [], 0
    for _ in ("identifier", "length"):  # each begins with as many zero bits as bytes follow the first one
        if at >= len(header) or not header[at]:
            return 0
        widths.append(9 - header[at].bit_length())
        at += widths[-1]
    unknown = (1 << 7 * widths[1]) - 1
    length = int.from_bytes(header[widths[0] : at]) & unknown
    return 0 if length == unknown else at + length
