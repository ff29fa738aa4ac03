"""What a reproduction will download, and how long it will take: said before it starts."""

import math
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from fnn_jax.microns.cache import Cache
from fnn_jax.microns.example import missing_megabytes
from fnn_jax.microns.ranges import RemoteArray
from fnn_jax.reproduction.published import BLOCK_FRAMES, megabytes

STREAM_FRAMES = 75_000  # of the published stream, as long as its header has not been read
# Seconds a frame of one scan, from and to: docs/speed.md (two cores) and docs/accelerators.md.
SECONDS_A_FRAME = {"cpu": (0.03, 0.12), "other": (0.0006, 0.01)}
# Seconds an update of the released recipe takes: docs/training.md.
SECONDS_AN_UPDATE = {"two cores of a CPU": 17.0, "an NVIDIA H200 with tensorfloat32": 0.1}
MEGABYTES_A_SECOND = (1, 10)  # connections, slow and fast


class Item(NamedTuple):
    """A file, or the parts of one, or several, that a part of the report needs and that are not here.

    ``megabytes`` is NaN where the server has not said how many there are.
    """

    part: str
    file: str
    megabytes: float
    requests: int


class Plan(NamedTuple):
    """What is to come: files to download, frames to predict by part, and updates of a training; ``print`` shows it in
    words."""

    items: tuple[Item, ...]
    frames: dict[str, int]
    updates: int = 0

    @property
    def megabytes(self) -> float:
        """Of those items whose size is known."""
        return sum(item.megabytes for item in self.items if not math.isnan(item.megabytes))

    def __str__(self) -> str:
        lines = [f"  to download for {item.part}: {item.file}, {_size(item)}" for item in self.items]
        if self.items:
            slow, fast = (self.megabytes / speed for speed in MEGABYTES_A_SECOND)
            lines.append(f"  about {self.megabytes:.0f} MB together, {_span(fast, slow)} at 10 to 1 MB a second")
        else:
            lines.append("  to download: nothing, all of it is here")
        if self.updates:
            times = ", ".join(f"{_long(self.updates * s)} on {what}" for what, s in SECONDS_AN_UPDATE.items())
            lines.append(
                f"  to train: {self.updates} updates: {times}, as was measured; what is done is not done again"
            )
        for part, frames in self.frames.items():
            device = jax.devices()[0]
            fast, slow = SECONDS_A_FRAME["cpu" if device.platform == "cpu" else "other"]
            times = f"{_span(frames * fast, frames * slow)} on {device.device_kind}, and a minute of compilation"
            lines.append(f"  to predict for {part}: {frames} frames, {times}")
        return "\n".join(lines)


def _size(item: Item) -> str:
    if math.isnan(item.megabytes):
        return "whose size is said when the server has listed it, before any of it comes"
    return f"about {item.megabytes:.0f} MB" + (f" in {item.requests} requests" if item.requests > 1 else "")


def _long(seconds: float) -> str:
    """About how long something takes that may take days."""
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def _span(fast: float, slow: float) -> str:
    if slow < 90:
        return f"{fast:.0f} to {slow:.0f} s"
    return f"{fast / 60:.1f} to {slow / 60:.0f} min" if slow < 5400 else f"{fast / 3600:.1f} to {slow / 3600:.1f} h"


def plan(
    parts: Sequence[str],
    scans: Callable[[str], Sequence[str]],
    *,
    units: int,
    frames: int,
    tuning_frames: int = 0,
    recorded_frames: int = 0,
    updates: int = 0,
    has_example: bool = False,
    directory: str | os.PathLike | None = None,
) -> Plan:
    """What parts of a report will take; nothing is asked of the server.

    Args:
        parts: out of ``PARTS``. scans: those of each part.
        units, frames: as for ``compare_responses``. tuning_frames: of all movies, for one scan.
        recorded_frames: of all repeats of the recordings. updates: of the training.
        has_example: the recording to train on need not be downloaded.
        directory: as for ``microns.download``.
    """
    cache = Cache(directory, offline=True, progress=False)
    items: dict[str, Item] = {}
    predicted = {}

    def need(part: str, file, count: int = 1) -> None:
        if not (cache.directory / file.path).is_file():
            items.setdefault(file.path, Item(part, "/".join(file.path.split("/")[-2:]), file.megabytes or 0, count))

    for part in parts:
        names = list(scans(part))
        tag = "ori-trained" if part == "tuning" else "default"
        if not set(names) <= set(cache.scans(tag)):
            need(part, cache.release.weights[tag])
        groups = {"readout": ("readout", "performance", "tuning", "anatomy"), "responses": (), "training": ()}.get(
            part, (part,)
        )
        for group in groups:
            for file in cache.release.properties[group].values():
                need(part, file)
        if part == "responses":
            predicted[part] = frames * len(names)
            _add_ranges(items, cache, names, units, frames)
        elif part == "tuning":
            predicted[part] = tuning_frames * len(names)
        elif part == "performance":
            predicted[part] = recorded_frames
        elif part == "training":
            predicted[part] = cache.release.example.evaluation_frames if cache.release.example else 0
            if not has_example:
                _add_example(items, cache)
    return Plan(tuple(items.values()), predicted, updates)


def _add_example(items: dict[str, Item], cache: Cache) -> None:
    size, files = missing_megabytes(cache)
    if math.isnan(size) or files:
        items["example"] = Item("training", "the example recording (animal 27203)", size, files)


def _add_ranges(items: dict[str, Item], cache: Cache, names: Sequence[str], units: int, frames: int) -> None:
    """Parts of the published predictions that are not here: an estimate, without looking at each of them."""
    files = cache.release.predictions
    config = cache.release.architecture(1)
    frame = config.stimulus_height * config.stimulus_width
    stimulus = RemoteArray(files["stimulus.npy"], cache.directory, cache.release.base_url, offline=True)
    blocks = [(start, min(BLOCK_FRAMES, frames - start)) for start in range(0, frames, BLOCK_FRAMES)]
    missing = [count for start, count in blocks if not stimulus.has(start, count)]
    if missing:
        path = files["stimulus.npy"].path
        items[path] = Item("responses", "responses/stimulus.npy", sum(missing) * frame / 1e6, len(missing) + 1)
    responses = RemoteArray(files["responses.npy"], cache.directory, cache.release.base_url, offline=True)
    columns = responses.shape[1] if responses.is_described else STREAM_FRAMES
    size, requests = megabytes([cache.release.num_units[name] for name in names], units, frames, columns)
    here = sum(1 for _ in responses.parts.glob(f"rows-*-of-{frames}.npz")) if responses.parts.is_dir() else 0
    left = 0 if responses.is_here else max(0, requests - here)
    if left:
        path = files["responses.npy"].path
        items[path] = Item("responses", "responses/responses.npy", size * left / requests, left + 1)
