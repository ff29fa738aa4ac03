"""Figures of the analyses: each draws on axes of matplotlib, and returns them."""

from typing import Any

import numpy as np

from fnn_jax.analysis.like_to_like import LikeToLike
from fnn_jax.analysis.relation import Relation
from fnn_jax.common.checks import one_of
from fnn_jax.common.figures import DATA, HIGHLIGHT, MAIN, REFERENCE, RESPONSES, SMALL, color_bar, style


def draw_relation(ax: Any, relation: Relation) -> Any:
    """Mean of ``y`` in bins of ``x``, and where it would lie by chance."""
    curve = relation.curve
    ax.fill_between(
        curve["x"], curve["low"], curve["high"], color=REFERENCE, alpha=0.3, linewidth=0, label="chance, 95 %"
    )
    ax.plot(curve["x"], curve["y"], "o-", color=MAIN, markersize=4, label="pairs of units")
    ax.set(xlabel=relation.x, ylabel=relation.y)
    ax.legend(fontsize=SMALL, frameon=False)
    style(ax, f"rank correlation {relation.rho:.2f}, p {_shown(relation.p)}, {relation.num_units} units")
    return ax


def draw_confusion(ax: Any, decoding: Any) -> Any:
    """Of the units of each area, how many were taken for which."""
    share = decoding.confusion.to_numpy() / decoding.confusion.to_numpy().sum(1, keepdims=True)
    image = ax.imshow(share, cmap=RESPONSES, vmin=0, vmax=1)
    names = list(decoding.confusion.index)
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(share):
        color = DATA if value > 0.6 else "white"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=SMALL, color=color)
    ax.set(xlabel="predicted area", ylabel="area")
    style(ax, f"balanced accuracy {decoding.balanced_accuracy:.2f}")
    color_bar(ax, image, "fraction of the area's units")
    return ax


def draw_chance(ax: Any, decoding: Any) -> Any:
    """Balanced accuracy beside that of shuffled areas."""
    ax.hist(decoding.by_chance, bins=10, color=REFERENCE, label="areas shuffled")
    ax.axvline(decoding.balanced_accuracy, color=HIGHLIGHT, label="areas as they are")
    ax.set(xlabel="balanced accuracy", ylabel="shuffles")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set_ylim(top=1.35 * ax.get_ylim()[1])  # room for the legend
    ax.legend(fontsize=SMALL, frameon=False)
    style(ax, f"p {_shown(decoding.p)}")
    return ax


def draw_like_to_like(ax: Any, result: LikeToLike, measure: str) -> Any:
    """How much more connected pairs have of a measure than controls, with intervals; also given another measure."""
    rows = result.comparisons[result.comparisons["measure"] == measure]
    one_of("measure", measure, list(result.tests["measure"]))
    for place, (_, row) in enumerate(rows.iterrows()):
        color = REFERENCE if row["given"] else MAIN
        ax.plot([row["low"], row["high"]], [place, place], color=color, linewidth=2)
        ax.plot(row["difference"], place, "o", color=color, markersize=5)
    ax.axvline(0, color=DATA, linewidth=0.8, linestyle=":")
    labels = [row.control + (f"\ngiven {row.given}" if row.given else "") for row in rows.itertuples()]
    ax.set_yticks(range(len(rows)), labels)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set(xlabel=f"{measure}: connected minus control")
    test = result.tests.set_index("measure").loc[measure]
    style(ax, f"partners shuffled: p {_shown(test['p'])}")
    return ax


def _shown(p: float) -> str:
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"
