"""A picture of a synthesised stimulus: its frames, how it came about, and what the units make of it."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fnn_jax.common.drawing import draw_frames
from fnn_jax.common.figures import (
    DATA,
    DOUBLE,
    HIGHLIGHT,
    LARGE,
    MAIN,
    REFERENCE,
    SMALL,
    WARNING,
    journal_style,
    new_figure,
    panel_letters,
    save_figure,
    style,
)
from fnn_jax.common.rate import HZ
from fnn_jax.synthesis.result import Synthesis


@journal_style()
def draw_target(
    found: Synthesis,
    index: int,
    path: str | os.PathLike | None = None,
    *,
    others: Mapping[str, Any] | None = None,
    num_frames: int = 6,
    influence: Any = None,
) -> Any:
    """Frames of a target's first stimulus above; the loss, the responses, and a comparison below.

    Args:
        index: of the target. others: responses of its unit to other stimuli by name, ``[T]``, of which the mean and the
            largest are shown. influence: of each pixel, ``[H, W]``, from ``synthesis.influence``: frames fade to gray
            where the units do not care, and a line goes around the pixels with at least half of the largest influence.
    """
    frames, responses = found.frames[index, 0], found.responses[index, 0].mean((1, 2))
    start = found.start_responses[index, 0].mean((1, 2))
    figure = new_figure(DOUBLE, 85)
    title = f"target {found.names[index]}, {found.stopped[index]}"
    label = found.record.get("label")
    figure.suptitle(f"{title} ({label})" if label else title, color=WARNING if label else None, fontsize=LARGE)
    grid = figure.add_gridspec(2, 1, height_ratios=[1, 1.5])
    strip = figure.add_subplot(grid[0])
    draw_frames(strip, frames, num_frames=num_frames, influence=influence)
    loss_axes, time_axes, bar_axes = grid[1].subgridspec(1, 3, width_ratios=[1, 1.2, 1.2]).subplots()

    loss_axes.plot(np.arange(1, found.losses.shape[1] + 1), found.losses[index], color=MAIN)
    loss_axes.set(xlabel="step", ylabel="loss")
    burn_in = found.record["burn_in"]
    time = (burn_in + np.arange(len(responses))) / HZ
    time_axes.plot(time, start, color=REFERENCE, label="at the start")
    time_axes.plot(time, responses, color=HIGHLIGHT, label="at the end")
    highest = 1.05 * np.nan_to_num([start.max(), responses.max()]).max() or 1
    time_axes.set(xlabel="time (s)", ylabel="mean response per frame", xlim=(0, len(frames) / HZ), ylim=(0, highest))
    time_axes.legend(fontsize=SMALL, frameon=False)
    rows = {"this stimulus": responses, "its start": start, **{k: np.asarray(v) for k, v in (others or {}).items()}}
    places = np.arange(len(rows))
    colors = [HIGHLIGHT, REFERENCE, *[MAIN] * (len(rows) - 2)]
    bar_axes.barh(places, [each.mean() for each in rows.values()], color=colors)
    bar_axes.plot([each.max() for each in rows.values()], places, ".", color=DATA)
    bar_axes.set_yticks(places, list(rows))
    bar_axes.invert_yaxis()
    bar_axes.set(xlabel="response: mean, largest (dots)")
    for ax in (loss_axes, time_axes, bar_axes):
        style(ax)
    panel_letters([strip, loss_axes, time_axes, bar_axes])
    save_figure(figure, path)
    return figure
