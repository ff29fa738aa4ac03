"""The objectives of a training, epoch by epoch."""

import os
from typing import Any

import pandas as pd

from fnn_jax.common.figures import MAIN, REFERENCE, SMALL, new_figure, save_figure, style


def draw_metrics(metrics: pd.DataFrame, path: str | os.PathLike | None = None) -> Any:
    """Training and validation objective, and the learning rate below; see ``Training.metrics``."""
    figure = new_figure((6.4, 4.8))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for column, color in (("training_objective", REFERENCE), ("validation_objective", MAIN)):
        if metrics[column].notna().any():
            best = metrics.loc[metrics[column].astype(float).idxmin()]
            label = f"{column.split('_')[0]}, best {best[column]:.4f} in epoch {int(best['epoch'])}"
            above.plot(metrics["epoch"], metrics[column].astype(float), color=color, label=label, marker=".", ms=3)
            above.plot(best["epoch"], best[column], "o", color=color, ms=5)
    above.set_ylabel("objective (Poisson loss)")
    above.legend(fontsize=SMALL, frameon=False)
    below.plot(metrics["epoch"], metrics["lr"], color=REFERENCE)
    below.set_ylabel("learning rate")
    below.set_xlabel("epoch")
    for axes in (above, below):
        style(axes)
    save_figure(figure, path)
    return figure
