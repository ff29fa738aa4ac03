"""Results beside the units of twins: a row for each unit, in however many results it stands."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fnn_jax.explorer.results import IDENTITY, NUMBERS, TARGET, identity, unit_name

MISSING = "<NA>"  # what pandas says of a gap
SOURCE, NONE = "source", "none"  # the column that says which results know a unit, and what it says of the others


def join_results(units: pd.DataFrame | None, results: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Columns of results beside a table of units, in which each unit stays one row, found by all columns of
    ``weights``, ``scan``, ``session``, ``scan_idx``, ``readout_id`` and ``unit_id`` that both have.

    Columns of one name that never disagree about a unit become one. Others are called ``name (result)``; that of
    ``units`` keeps its name. The column ``source`` says which results know a unit. Units that only results have are
    left out.

    Args:
        units: a row for each unit; None: all that the results know. results: tables with a row for each of some units,
            by name.

    Raises:
        ValueError: without units, the results do not say in the same columns which units they are about; or a result
            does not say it, has none of these, or two rows of one; or the columns that both tables have do not tell
            the units apart.
    """
    known = IDENTITY
    if units is None:
        units = _all_units(results)
        known = tuple(units)  # what only some say of who a unit is, is a column as others
    places = {name: _places(units, table, name) for name, table in results.items()}
    parts: dict[str, dict[str, pd.Series]] = {}
    for name, table in results.items():
        for column in table.columns.difference([*known, TARGET, SOURCE], sort=False):
            values = table[column].reset_index(drop=True)
            values = values.astype(object) if isinstance(values.dtype, pd.CategoricalDtype) else values
            parts.setdefault(column, {})[name] = values.reindex(places[name]).set_axis(units.index)
    added: dict[str, pd.Series] = {}
    for column, by_result in parts.items():
        whole = _merged(([units[column]] if column in units else []) + list(by_result.values()))
        if whole is not None:
            added[column] = whole
        else:
            added |= {f"{column} ({name})": values for name, values in by_result.items()}
    said = [np.where(place >= 0, name, "") for name, place in places.items()]
    sources = [", ".join(filter(None, row)) or NONE for row in zip(*said, strict=True)] if said else NONE
    added[SOURCE] = pd.Series(sources, units.index)
    return pd.concat([units.drop(columns=list(added), errors="ignore"), pd.DataFrame(added)], axis=1)


def num_known(units: pd.DataFrame, table: pd.DataFrame, name: str) -> int:
    """How many units of a table a result knows."""
    return int((_places(units, table, name) >= 0).sum())


def _all_units(results: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Each unit of some results once, in the columns by which all of them say which one it is."""
    found = {name: identity(table) for name, table in results.items()}
    shared = [each for each in IDENTITY if all(each in identities for identities in found.values())]
    tells_scan = {"scan" in identities for identities in found.values()}
    if not set(shared) & set(NUMBERS) or len(tells_scan) > 1:
        columns = "; ".join(f"{name!r}: {', '.join(each) or 'none'}" for name, each in found.items())
        raise ValueError(
            f"results say in different columns which units they are about ({columns}); expected readout_id or unit_id "
            "in all, and the scan in all or in none."
        )
    for name, identities in found.items():
        of_units = identities[shared]
        if of_units.duplicated().any() or (of_units == MISSING).any(axis=None):
            raise ValueError(
                f"results has {name!r}, with two rows of one unit by {' and '.join(shared)}, or one without a value; "
                "expected one row of each unit."
            )
    units = pd.concat([each[shared] for each in found.values()]).drop_duplicates(ignore_index=True)
    return units.apply(lambda column: column if column.name == "scan" else _numbers(column))


def _numbers(column: pd.Series) -> pd.Series:
    """Numbers, where the text is numbers."""
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column


def _places(units: pd.DataFrame, table: pd.DataFrame, name: str) -> np.ndarray:
    """Of each unit its row of a result; -1: it has none."""
    ours, theirs = identity(units), identity(table)
    shared = [each for each in ours if each in theirs]
    if not set(shared) & set(NUMBERS):
        raise ValueError(
            f"results has {name!r}, with the columns {list(map(str, table))}; expected readout_id or unit_id as the "
            f"units have ({', '.join(ours)}), by which they are found. Or open it alone."
        )
    ours, theirs = (pd.MultiIndex.from_frame(each[shared]) for each in (ours, theirs))
    if theirs.has_duplicates:
        twice = unit_name(table.reset_index(drop=True).loc[int(np.argmax(theirs.duplicated()))])
        raise ValueError(
            f"results has {name!r}, with two rows of {twice} by {' and '.join(shared)}; expected one of each unit. "
            "Or open it alone."
        )
    if ours.has_duplicates:
        raise ValueError(
            f"results has {name!r}, whose {' and '.join(shared)} several units here have; expected a column scan in "
            "it, too, or units of one scan: --scan. Of several --directory, also a column weights, or one --directory."
        )
    places = theirs.get_indexer(ours)
    if (places < 0).all():
        first, here = unit_name(table.reset_index(drop=True).loc[0]), unit_name(units.reset_index(drop=True).loc[0])
        raise ValueError(
            f"results has {name!r}, none of whose {len(table):,} units ({first}, ...) is among the {len(units):,} here "
            f"({here}, ...); expected results of some of them. Give the --scan or --directory of its units, "
            "or open it alone."
        )
    return places


def _merged(parts: list[pd.Series]) -> pd.Series | None:
    """Columns about the same units as one, the first that knows a unit; None: two of them disagree."""
    whole, *others = parts
    for values in others:
        both = whole.notna() & values.notna()
        one, other = whole[both], values[both]
        if all(pd.api.types.is_numeric_dtype(each) for each in (one, other)):
            are_same = np.allclose(one.to_numpy(float), other.to_numpy(float))
        else:
            are_same = (one.astype(str) == other.astype(str)).all()
        if not are_same:
            return None
        if values[whole.isna()].notna().any():
            whole = whole.where(whole.notna(), values)
    return whole
