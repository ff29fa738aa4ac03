"""Columns of tables in figures: what they are called, and how they are distributed over units."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fnn_jax.common.checks import boolean, one_of, point, shown, text
from fnn_jax.common.figures import HIGHLIGHT, MAIN, REFERENCE, style
from fnn_jax.physiology.result import Result

UNIT_COLUMNS = ("scan", "readout_id", "session", "scan_idx", "unit_id", "animal_id")  # say which unit it is
SCALES = ("linear", "discrete", "circular")


class Column(NamedTuple):
    """A column of a protocol's table, as figures show it.

    ``label``: by default its name; ``{unit}`` in it is the display's. ``scale``: ``"linear"``; ``"discrete"``, of few
    values, each with a bar; or ``"circular"``, which has no median. ``limits``: of the histogram; by default those of
    the units, but for one percent at each end. ``fitted``: it means something only where the fit is good, which the
    column ``fit`` says, or the one that ends in ``_fit`` and begins as this one does.
    """

    name: str
    label: str = ""
    scale: str = "linear"
    limits: tuple[float, float] | None = None
    fitted: bool = True


KNOWN = {
    column.name: column
    for column in (
        Column("OSI", limits=(0, 1)),
        Column("DSI", limits=(0, 1)),
        Column("gOSI", limits=(0, 1), fitted=False),
        Column("gDSI", limits=(0, 1), fitted=False),
        Column("pref_ori", "preferred orientation (deg)", "circular", (0, 180)),
        Column("pref_dir", "preferred direction (deg)", "circular", (0, 360)),
        Column("r2", "r² of the fit", fitted=False),
        Column("pref_sf", "spatial frequency (cycles/{unit})", "discrete"),
        Column("pref_tf", "temporal frequency (Hz)", "discrete"),
        Column("sf_bandwidth_octaves", "spatial bandwidth (octaves)"),
        Column("tf_bandwidth_octaves", "temporal bandwidth (octaves)"),
        Column("preferred_size", "preferred diameter ({unit})", "discrete"),
        Column("suppression", "suppression by size"),
        Column("c50", "contrast of half response"),
        Column("exponent", "exponent of contrast"),
        Column("r_max", "response range"),
        Column("on_sigma_major", "on: major sigma ({unit})"),
        Column("off_sigma_major", "off: major sigma ({unit})"),
        Column("on_ssi", fitted=False),
        Column("off_ssi", fitted=False),
        Column("both_ssi", "spatial spread index", fitted=False),
        Column("best_lag", "best lag (frames)", "discrete", fitted=False),
        Column("sigma_major", "major sigma ({unit})"),
    )
}


def column_of(column: Any) -> Column:
    """What is known of the column of this name, or the column itself.

    Raises:
        TypeError, ValueError: it is something else, or one of its fields is.
    """
    if isinstance(column, str):
        return KNOWN.get(column, Column(column))
    if not isinstance(column, Column):
        raise TypeError(f"summary has {shown(column)}; expected names of columns, or Column(name, label).")
    text("name", column.name)
    text("label", column.label)
    one_of("scale", column.scale, SCALES)
    if column.limits is not None:
        low, high = point("limits", column.limits)
        if low >= high:
            raise ValueError(f"limits is {shown(column.limits)}; expected the lower one first.")
    boolean("fitted", column.fitted)
    return column


def columns_of(result: Result) -> list[Column]:
    """Where the protocol names none: all numbers that it measured."""
    numbers = result.table.select_dtypes(["number", "bool"])
    known = UNIT_COLUMNS if result.dataset is None else result.dataset.coords
    measured = [column_of(name) for name in numbers if name not in known]
    return [column for column in result.protocol.summary or measured if column.name in result.table]


def label_of(result: Result, column: Column) -> str:
    return (column.label or column.name.replace("_", " ")).replace("{unit}", result.protocol.display.unit)


def draw_distribution(ax: Any, result: Result, column: Column) -> None:
    """How many units have which value."""
    label, values = label_of(result, column), result.table[column.name]
    if pd.api.types.is_numeric_dtype(values):
        good, numbers = _is_good(result, column), values.to_numpy(float)
        known = np.isfinite(numbers) & good
        _draw_numbers(ax, column, numbers[known])
        ax.set(xlabel=label, ylabel="units")
        remark = f"\n{int(known.sum())} of {len(values)}" + ("" if good.all() else " (good fits)")
    else:
        counts = values.value_counts()
        ax.barh(list(counts.index), counts.to_numpy(), color=REFERENCE)
        ax.set(xlabel="units")
        remark = f"\n{label}"
    style(ax, f"{result.protocol.name}{remark}")


def _draw_numbers(ax: Any, column: Column, numbers: np.ndarray) -> None:
    if column.scale == "discrete":
        levels, counts = np.unique(numbers, return_counts=True)
        ax.bar(range(len(levels)), counts, color=MAIN)
        ax.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
    elif len(numbers):
        ax.hist(numbers, bins=_bins(column, numbers), color=MAIN)
        if column.scale != "circular":
            ax.axvline(np.median(numbers), color=HIGHLIGHT, linewidth=1)


def _bins(column: Column, numbers: np.ndarray) -> Any:
    # Without the ends, one wild fit would squeeze the rest.
    low, high = column.limits or np.percentile(numbers, [1, 99])
    return np.linspace(low, high, 19 if column.scale == "circular" else 26) if high > low else 10


def _is_good(result: Result, column: Column) -> np.ndarray:
    """Units whose fit, if the column comes from one, is good."""
    prefixes = [name.removesuffix("fit") for name in result.table if name == "fit" or name.endswith("_fit")]
    owners = [prefix for prefix in prefixes if column.name.startswith(prefix)]
    if not owners or not column.fitted:
        return np.ones(len(result.table), bool)
    return (result.table[f"{max(owners, key=len)}fit"] == "good").to_numpy()
