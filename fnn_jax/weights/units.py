"""Which units: selections of a table of units, and the quality criteria of the field."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.checks import shown

KEY = ["session", "scan_idx", "unit_id"]  # what makes a unit, within an animal
PUBLISHED_ANIMAL = 17797  # of the published scans, and of tables that are indexed by KEY alone
READOUT_ID = "readout_id"

QUALITY = {
    "reliable": "cc_max > 0.4 & cc_abs > 0.2",  # responds reliably, and is predicted well
    "oriented": "gOSI > 0.25",
}


def y_sign(y: str) -> int:
    """Factor from the model's y, which points down, to that of a direction by name."""
    if y not in ("down", "up"):
        raise ValueError(f"y is {y!r}; expected 'down' (-1 is the top) or 'up' (-1 is the bottom).")
    return 1 if y == "down" else -1


def choose_units(table: pd.DataFrame, units: Any = None, unit_ids: Any = None, scan: str | None = None) -> np.ndarray:
    """Rows of a twin's table of units that are asked for, as positions; see ``Twin.select``.

    ``scan``: the twin's name, which a column ``scan`` of ``units`` is compared with.
    """
    if (units is None) == (unit_ids is None):
        raise TypeError("Give either units (readout ids, a boolean mask or a table) or unit_ids.")
    argument = "units" if unit_ids is None else "unit_ids"
    if unit_ids is not None:
        if "unit_id" not in table:
            raise ValueError("unit_ids are given, but the table of this twin has no column unit_id. Give readout ids.")
        rows = _positions(pd.Index(table["unit_id"]), unit_ids, "unit_ids")
    elif isinstance(units, pd.DataFrame):
        rows = _rows_of_table(table, flatten(units), scan)
    elif isinstance(units, pd.Series) and pd.api.types.is_bool_dtype(units.dtype):
        rows = _rows_of_mask(table, units)
    elif isinstance(units, pd.MultiIndex):
        rows = _rows_of_index(table, units)
    elif _as_ids(units, "units").dtype == bool:
        mask = _as_ids(units, "units")
        if mask.shape != (len(table),):
            raise ValueError(f"units is a mask of shape {mask.shape}; expected ({len(table)},), one value per unit.")
        rows = np.flatnonzero(mask)
    else:
        rows = _positions(table.index, units, "units")
    if not len(rows):
        raise ValueError(f"{argument} selects no unit; a twin has at least one.")
    return rows


def _positions(index: pd.Index, ids: Any, argument: str) -> np.ndarray:
    ids = np.atleast_1d(_as_ids(ids, argument))
    numbered = pd.api.types.is_integer_dtype(index.dtype)
    if ids.ndim != 1 or (ids.size and numbered and not np.issubdtype(ids.dtype, np.integer)):
        raise TypeError(
            f"{argument} holds {ids.dtype} of shape {ids.shape}; expected integers [units], a boolean mask or a table."
        )
    if not index.is_unique:
        raise ValueError(f"{argument}: the table of this twin has some of these numbers more than once.")
    rows = index.get_indexer(ids) if ids.size else np.empty(0, int)
    if (rows < 0).any():
        unknown = ids[rows < 0]
        raise ValueError(
            f"{argument} holds {len(unknown)} that this twin does not have: {unknown[:5].tolist()}; it has "
            f"{len(index)}, from {index.min()} to {index.max()}."
        )
    _refuse_repeated(ids, argument)
    return rows


def _as_ids(ids: Any, argument: str) -> np.ndarray:
    try:
        return np.asarray(ids)
    except ValueError as error:  # lists of several lengths
        raise TypeError(f"{argument} is {shown(ids)}; expected integers, a boolean mask or a table.") from error


def _refuse_repeated(ids: np.ndarray, argument: str) -> None:
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{argument} names units more than once: {values[counts > 1][:5].tolist()}.")


def flatten(units: pd.DataFrame) -> pd.DataFrame:
    """A table with the levels of its index as columns, too."""
    levels = [name for name in units.index.names if name is not None and name not in units]
    return units.assign(**{name: units.index.get_level_values(name) for name in levels})


def in_readout_order(units: pd.DataFrame, num_units: int) -> pd.DataFrame:
    """A table of all units of a readout, row ``j`` for its row ``j``, indexed by ``readout_id``.

    Where the table has a ``readout_id``, as its index, a level of it or a column, that says which unit a row is of;
    without one rows are taken in order, and an index that counts otherwise is refused.

    Raises:
        ValueError: not each ``readout_id`` from 0 to ``num_units - 1`` once, or none and another index.
    """
    table = flatten(units)
    order = pd.RangeIndex(num_units, name=READOUT_ID)
    expected = f"expected each readout_id from 0 to {num_units - 1} once, as the index or a column"
    if READOUT_ID not in table:
        if isinstance(units.index, pd.MultiIndex) or not np.array_equal(units.index.to_numpy(), order.to_numpy()):
            names = ", ".join("no name" if name is None else str(name) for name in units.index.names)
            raise ValueError(
                f"units has an index of its own ({names}) and no readout_id, so that it cannot be told which row is "
                f"which unit; {expected}. If rows are in order, units.reset_index() says so."
            )
        return table.set_axis(order)
    require_one_numbering(units, "units")
    ids = pd.Index(table[READOUT_ID])
    rows = ids.get_indexer(order) if ids.is_unique else np.array([-1])
    if len(table) != num_units or (rows < 0).any():
        raise ValueError(
            f"units has readout_id {shown(ids.tolist())}; {expected}. If these are numbers of another scan, and rows "
            "are in order: units.reset_index(drop=True), without that column."
        )
    return table.iloc[rows].drop(columns=READOUT_ID).set_axis(order)


def require_one_numbering(units: pd.DataFrame, argument: str) -> None:
    """Refuse a table whose index and column ``readout_id`` say different units of the same row."""
    if READOUT_ID in units.index.names and READOUT_ID in units:
        index = units.index.get_level_values(READOUT_ID)
        if not np.array_equal(index.to_numpy(), units[READOUT_ID].to_numpy()):
            raise ValueError(
                f"{argument} has a column readout_id that differs from its index of that name; expected one of them."
            )


def _rows_of_mask(table: pd.DataFrame, mask: pd.Series) -> np.ndarray:
    chosen = mask.to_numpy(dtype=bool, na_value=False)
    if isinstance(mask.index, pd.MultiIndex):
        return _rows_of_index(table, mask.index[chosen])
    if not mask.index.equals(table.index):
        raise ValueError(
            f"units is a boolean Series of {len(mask)} whose index is not that of the twin's table ({len(table)} "
            "readout ids). Make it from twin.units, or from microns.units()."
        )
    return np.flatnonzero(chosen)


def _rows_of_index(table: pd.DataFrame, index: pd.MultiIndex) -> np.ndarray:
    animals = set(table["animal_id"]) if "animal_id" in table else set()
    if animals != {PUBLISHED_ANIMAL} and "animal_id" not in index.names:
        raise ValueError(
            "units names units by session, scan and unit alone, and the table of this twin "
            f"{f'is of animal {sorted(animals)}' if animals else 'does not say which animal it is of'}: the same "
            "numbers mean other neurons in every animal. Give rows of twin.units, readout ids, or a table with "
            "animal_id."
        )
    return _rows_of_table(table, index.to_frame(index=False), None)


def _rows_of_table(table: pd.DataFrame, units: pd.DataFrame, scan: str | None) -> np.ndarray:
    """Rows that a table of units names: by session, scan and unit where both know them, else by readout id."""
    if set(KEY) <= set(units) and set(KEY) <= set(table):
        check_animal(units, table, "units")
        (session, scan_idx) = table[["session", "scan_idx"]].iloc[0]
        here = units[(units["session"] == session) & (units["scan_idx"] == scan_idx)]
        if len(units) and not len(here):
            scans = sorted({f"{s}-{i}" for s, i in zip(units["session"], units["scan_idx"], strict=True)})
            raise ValueError(f"units holds no unit of the scan {session}-{scan_idx}; it holds those of {scans}.")
        try:
            ids = here["unit_id"].to_numpy(int)
        except (TypeError, ValueError) as error:
            raise TypeError(f"units has the column unit_id of {here['unit_id'].dtype}; expected integers.") from error
        return _positions(pd.Index(table["unit_id"]), ids, "units")
    if {"session", "scan_idx"} & set(units):
        raise ValueError(
            "units names sessions and scans, and the table of this twin does not say which scan it is of. Give readout "
            "ids."
        )
    if "readout_id" in units:
        if scan is not None and "scan" in units:
            of_scan = units["scan"].astype(str) == scan
            if not of_scan.any():
                raise ValueError(
                    f"units is of the scans {sorted(set(units['scan'].astype(str)))[:5]} by its column scan; expected "
                    f"some of {scan}. If they are units of this twin, leave the column out."
                )
            units = units[of_scan]
        return _positions(table.index, units["readout_id"].to_numpy(), "units")
    raise ValueError(
        f"units is a table with {list(units.columns)}; expected the columns session, scan_idx and unit_id, or "
        "readout_id."
    )


def check_animal(units: pd.DataFrame, table: pd.DataFrame, argument: str) -> None:
    """Refuse units of another animal: scans and units of all animals have the same numbers."""
    if "animal_id" not in units:
        return
    expected, found = set(table.get("animal_id", ())), set(units["animal_id"])
    if not expected:
        raise ValueError(
            f"{argument} is of animal {sorted(found)}, and the table of this twin does not say which animal it is of. "
            "If it is the same one, add a column animal_id to its table."
        )
    if found - expected:
        raise ValueError(
            f"{argument} is of animal {sorted(found - expected)}, expected {sorted(expected)}: the same session, "
            "scan and unit numbers mean other neurons there."
        )


def filter_units(
    table: pd.DataFrame,
    scans: Sequence[str] | None = None,
    quality: str | Sequence[str] | None = None,
    brain_area: str | Sequence[str] | None = None,
    field: int | Sequence[int] | None = None,
) -> pd.DataFrame:
    """Rows of the table of all units that meet all that is given; see ``microns.units``."""
    chosen = pd.Series(True, index=table.index)
    if scans is not None:
        wanted = pd.MultiIndex.from_tuples([tuple(map(int, scan.split("-"))) for scan in scans])
        chosen &= table.index.droplevel("unit_id").isin(wanted)
    for name in _several(quality):
        if name not in QUALITY:
            raise ValueError(f"quality is {name!r}; expected names out of {list(QUALITY)}.")
        try:
            chosen &= table.eval(QUALITY[name])
        except pd.errors.UndefinedVariableError as error:
            raise ValueError(
                f"quality is {name!r}, that is {QUALITY[name]}; the table lacks it ({error}). Download the properties "
                "performance and tuning."
            ) from error
    for column, values in (("brain_area", _several(brain_area)), ("field", _several(field))):
        if not values:
            continue
        if column not in table:
            raise ValueError(f"{column} is given, but the table lacks it. Download the property anatomy.")
        unknown = set(values) - set(table[column].dropna())
        if unknown:
            raise ValueError(f"{column} is {sorted(unknown)}; the units have {sorted(set(table[column].dropna()))}.")
        chosen &= table[column].isin(values)
    return table[chosen]


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if np.ndim(value) == 0 else list(value)
