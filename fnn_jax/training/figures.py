"""The objectives of a training, epoch by epoch."""

import os
from typing import Any

import pandas as pd

from fnn_jax.common.figures import MAIN, MIDDLE, REFERENCE, SMALL, journal_style, new_figure, save_figure, style


@journal_style()
def draw_metrics(metrics: pd.DataFrame, path: str | os.PathLike | None = None) -> Any:
    """Training and validation objective, and the learning rate below; see ``Training.metrics``."""
    figure = new_figure(MIDDLE, 90)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    draw_objectives(above, metrics).set_xlabel("")
    below.plot(metrics["epoch"], metrics["lr"], color=REFERENCE)
    below.set_ylabel("learning rate")
    below.set_xlabel("epoch")
    style(below)
    save_figure(figure, path)
    return figure


def draw_objectives(ax: Any, metrics: pd.DataFrame) -> Any:
    """Training and validation objective over the epochs of ``Training.metrics``; returns the axes."""
    from matplotlib.ticker import MaxNLocator

    for column, color in (("training_objective", REFERENCE), ("validation_objective", MAIN)):
        if metrics[column].notna().any():
            best = metrics.loc[metrics[column].astype(float).idxmin()]
            label = f"{column.split('_')[0]}, best {best[column]:.4f} in epoch {int(best['epoch'])}"
            ax.plot(metrics["epoch"], metrics[column].astype(float), color=color, label=label, marker=".", ms=3)
            ax.plot(best["epoch"], best[column], "o", color=color, ms=5)
    ax.set(xlabel="epoch", ylabel="objective (Poisson loss)")
    ax.legend(fontsize=SMALL, frameon=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return style(ax)
