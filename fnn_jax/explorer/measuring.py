"""Direction tuning of all units of a twin, measured once and kept in the cache folder."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fnn_jax.common.directories import cache_directory
from fnn_jax.physiology.protocol import Protocol
from fnn_jax.physiology.protocols import direction_tuning
from fnn_jax.physiology.result import RECORD
from fnn_jax.screen import Screen, Stimulus
from fnn_jax.stimuli.display import Display
from fnn_jax.stimuli.movie import frame_spans
from fnn_jax.twin.twin import Twin
from fnn_jax.version import versions

SHOWN: dict[str, Any] = {"stimulus": "gratings", "directions": 16, "temporal_frequency": 2.0, "on_s": 1.0}
SPATIAL_FREQUENCY = 0.04  # cycles per degree; less where pixels are so large that a grating would have less than four
TOGETHER = 4  # movies: the page hears of each


def direction_folder(twin: Twin, directory: str | os.PathLike | None = None) -> Path:
    """Where the direction tuning of a twin is kept: by its parameters, and by what decides the numbers.

    Args:
        directory: the cache folder; default: see ``fnn_jax.common.directories.cache_directory``.
    """
    decisive = f"{twin.fingerprint()} {sorted(versions().items())} {sorted(SHOWN.items())} {SPATIAL_FREQUENCY}"
    name = hashlib.sha256(decisive.encode()).hexdigest()[:16]
    return cache_directory(directory) / "explorer" / "direction" / f"{twin.name}-{name}"


def is_measured(folder: Path) -> bool:
    """Whether nothing is left to be computed."""
    return (folder / RECORD).exists()  # which is written last, and whole


def discard(folder: Path) -> None:
    """Forget curves that are damaged; measured again, they come from the responses, which are kept and verified."""
    (folder / RECORD).unlink(missing_ok=True)


def measure_direction(
    twin: Twin,
    directory: str | os.PathLike | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Path:
    """Show 16 drifting gratings to all units of a twin, unless that was done before; killed, it goes on there.

    Args:
        directory: see ``direction_folder``. say: is told how far it is.

    Returns:
        A folder as ``fnn-jax tune`` writes it, which ``fnn-jax explore`` opens, too.
    """
    folder = direction_folder(twin, directory)
    if is_measured(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    display = Display.of(twin)
    frequency = min(SPATIAL_FREQUENCY, 0.25 / display.unit_per_pixel)
    protocol = direction_tuning(display, **SHOWN, spatial_frequency=frequency)
    spans = frame_spans(protocol.movie(0).intervals)
    screen = Screen(twin, reduce="mean", intervals=spans, batch_size=TOGETHER, progress=False)
    dataset = screen(_Told(protocol, say), folder / "screen.zarr")
    say("curves are fitted")
    protocol.measure(dataset, screen.units).save(folder)
    return folder


class _Told:
    """The movies of a protocol; who asks for one is heard of."""

    def __init__(self, protocol: Protocol, say: Callable[[str], None]):
        self._protocol, self._say = protocol, say

    def __len__(self) -> int:
        return len(self._protocol)

    def __getitem__(self, number: int) -> Stimulus:
        self._say(f"grating {number + 1} of {len(self)}; the first take longer, because something is compiled")
        return self._protocol[number]
