"""A picture of a synthesised stimulus: its frames, how it came about, and what the units make of it."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fnn_jax.common.figures import new_figure, save_figure
from fnn_jax.common.rate import HZ
from fnn_jax.synthesis.result import Synthesis

BLUE, RED, GRAY = "#2b6cb0", "#c53030", "#718096"


def draw_target(
    found: Synthesis,
    index: int,
    path: str | os.PathLike | None = None,
    *,
    others: Mapping[str, Any] | None = None,
    num_frames: int = 8,
) -> Any:
    """Frames of a target's first stimulus above; the loss, the responses, and a comparison below.

    Args:
        index: of the target. others: responses of its unit to other stimuli by name, ``[T]``, of which the mean and the
            largest are shown.
    """
    frames, responses = found.frames[index, 0], found.responses[index, 0].mean((1, 2))
    start = found.start_responses[index, 0].mean((1, 2))
    figure = new_figure((12, 5.4))
    title = f"target {found.names[index]}, {found.stopped[index]}"
    label = found.record.get("label")
    figure.suptitle(f"{title} ({label})" if label else title, color="firebrick" if label else "black")
    grid = figure.add_gridspec(2, 1, height_ratios=[1, 1.7])
    shown = np.unique(np.linspace(0, len(frames) - 1, num_frames).round().astype(int))
    for ax, frame in zip(grid[0].subgridspec(1, len(shown)).subplots(squeeze=False)[0], shown, strict=True):
        ax.imshow(frames[frame], cmap="gray", vmin=0, vmax=255)
        ax.set_axis_off()
        ax.set_title(f"{frame / HZ:.2f} s", fontsize=8)
    loss_axes, time_axes, bar_axes = grid[1].subgridspec(1, 3, width_ratios=[1, 1.2, 1.2]).subplots()

    loss_axes.plot(np.arange(1, found.losses.shape[1] + 1), found.losses[index], color=BLUE)
    loss_axes.set(xlabel="step", ylabel="loss")
    burn_in = found.record["burn_in"]
    time = (burn_in + np.arange(len(responses))) / HZ
    time_axes.plot(time, start, color=GRAY, label="at the start")
    time_axes.plot(time, responses, color=RED, label="at the end")
    time_axes.set(xlabel="time (s)", ylabel="mean response per frame", xlim=(0, len(frames) / HZ), ylim=(0, None))
    time_axes.legend(fontsize=8, frameon=False)
    rows = {"this stimulus": responses, "its start": start, **{k: np.asarray(v) for k, v in (others or {}).items()}}
    places = np.arange(len(rows))
    colors = [RED, GRAY, *[BLUE] * (len(rows) - 2)]
    bar_axes.barh(places, [each.mean() for each in rows.values()], color=colors)
    bar_axes.plot([each.max() for each in rows.values()], places, "k.", label="largest")
    bar_axes.set_yticks(places, list(rows), fontsize=7)
    bar_axes.invert_yaxis()
    bar_axes.set(xlabel="mean response per frame")
    bar_axes.legend(fontsize=7, frameon=False)
    for ax in (loss_axes, time_axes, bar_axes):
        ax.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
    return figure
