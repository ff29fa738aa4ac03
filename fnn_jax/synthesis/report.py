"""What a synthesis found, to look at: videos, figures, and one page with them."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.common import checks, page
from fnn_jax.common.files import whole_file
from fnn_jax.stimuli.movie import save_movie
from fnn_jax.synthesis.figures import draw_target
from fnn_jax.synthesis.influence import influence, is_of_units
from fnn_jax.synthesis.result import Synthesis
from fnn_jax.twin.twin import Twin
from fnn_jax.version import __version__

TABLE = "table.csv"
UNITS = {"start_response": "per frame", "response": "per frame"}


def write_report(
    found: Synthesis,
    folder: str | os.PathLike,
    *,
    twin: Twin | None = None,
    others: Mapping[str, Any] | None = None,
    perspectives: Any = None,
    modulations: Any = None,
    periphery: str = "dark",
    figures: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a table, a video and a figure of each target, and ``report.html``, which holds them, into a folder.

    ``table.csv``, ``TARGET.gif`` (and ``.mp4`` where av is installed) of the first stimulus, ``TARGET.png``. Each is
    written whole or not at all, the page last. It shows targets in their order, and says how many are left out where
    it would be longer than ``page.MOST_BYTES``.

    Args:
        found: the result of ``synthesize``. folder: that of its ``out``, or another.
        twin: that it was made for; figures then fade where the target's units do not care (``influence``).
        perspectives, modulations, periphery: those that it was made with; of ``influence``.
        others: responses to other stimuli by name, ``[T, target]``, to compare with.
        figures: draw them; a second or more for each target.
        settings: what the page says besides of how the result was made.

    Returns:
        The paths, the page last.

    Raises:
        TypeError: ``found`` or ``twin`` is something else.
        DiskFullError, OSError: they cannot be written.
    """
    for argument, value, kind in (("found", found, Synthesis), ("twin", twin, Twin | None)):
        if not isinstance(value, kind):
            raise TypeError(
                f"{argument} is {checks.shown(value)}; expected {getattr(kind, '__name__', 'Twin or None')}."
            )
    folder = checks.path("folder", folder)
    made_with: dict[str, Any] = {"perspectives": perspectives, "modulations": modulations, "periphery": periphery}
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / TABLE]
    with whole_file(folder / TABLE) as path:
        found.table.to_csv(path, index=False)
    suffixes = (".gif", ".mp4") if importlib.util.find_spec("av") else (".gif",)
    for index, name in enumerate(found.names):
        written += [save_movie(found.frames[index, 0], folder / f"{name}{suffix}") for suffix in suffixes]
        if figures:
            compared = {key: np.asarray(each)[:, index] for key, each in (others or {}).items()}
            pixels = None
            if twin is not None and is_of_units(found, index):
                pixels = influence(twin, found, index, **made_with)
            draw_target(found, index, folder / f"{name}.png", others=compared, influence=pixels)
            written.append(folder / f"{name}.png")
    parts = [*_summary(found), *_targets(found, folder, figures), *_provenance(found, twin, settings or {})]
    title = f"{found.record['twin'].split()[0]}: stimuli for {len(found.names)} target{'s' * (len(found.names) != 1)}"
    return [*written, page.write_page(folder / page.REPORT, title, parts)]


def _summary(found: Synthesis) -> Iterator[str]:
    if found.record.get("label"):
        yield page.paragraph(f"Weights: {found.record['label']}.")
    yield page.heading("Targets")
    yield page.table(found.table, "A row for each target; responses after the burn-in, mean over time", TABLE, UNITS)


def _targets(found: Synthesis, folder: Path, figures: bool) -> Iterator[str]:
    """A video and a figure of each, until the page is long enough."""
    size = shown = 0
    stimuli = found.frames.shape[1]
    which = "" if stimuli == 1 else f", the first of {stimuli}"
    for index, name in enumerate(found.names):
        start, end = (float(array[index].mean()) for array in (found.start_responses, found.responses))
        part = [page.heading(f"Target {name}")]
        part.append(page.video(found.frames[index, 0], f"The stimulus for target {name}{which}, at the speed of 30 Hz"))
        if figures:
            description = (
                f"Frames, loss and responses of target {name}: mean {start:.3g} at the start, {end:.3g} at the end"
            )
            part.append(page.picture(folder / f"{name}.png", description))
        size += sum(map(len, part))
        if shown and size > page.MOST_BYTES:
            break
        yield from part
        shown += 1
    if shown < len(found.names):
        kinds = ".gif and .png" if figures else ".gif"
        yield page.paragraph(
            f"{shown} of {len(found.names)} targets are shown, so that this page stays small; the others are in the "
            f"folder, a {kinds} each with the target's name."
        )


def _provenance(found: Synthesis, twin: Twin | None, settings: Mapping[str, Any]) -> Iterator[str]:
    record = found.record
    yield page.heading("How it was made")
    shown = {
        name: record.get(name) for name in ("steps", "tolerance", "burn_in", "seed", "batch_size", "interventions")
    }
    yield page.provenance(
        __version__,
        **settings,
        frames=" x ".join(map(str, record["frames"])),
        **{name: value for name, value in shown.items() if value is not None},
        twin=record["twin"],
        **({"weights": weights} if (weights := {} if twin is None else twin.record()) else {}),
        made_with=", ".join(f"{name} {version}" for name, version in record["versions"].items()),
    )
