"""Connected pairs of units, from tables of people's own: read, checked, and found among the units of a twin."""

import os

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_integer_dtype

from fnn_jax.common.checks import path as checked_path
from fnn_jax.common.checks import shown
from fnn_jax.weights.units import KEY, flatten

SIDES = ("pre", "post")


def read_connections(path: str | os.PathLike) -> pd.DataFrame:
    """A table of connected pairs from a file; see ``like_to_like`` for its columns.

    Args:
        path: ``.csv`` or ``.parquet``.

    Raises:
        ValueError: another kind of file, or one that is damaged. FileNotFoundError: there is none.
    """
    path = checked_path("path", path)
    kind = path.suffix.lower()
    if kind in (".pkl", ".pickle"):
        raise ValueError(
            f"{path} is a pickle, and reading one runs whatever code it holds. If you trust where it comes from, write "
            "it as a table once: "
            f"python -c \"import pandas; pandas.read_pickle('{path}').to_parquet('{path.with_suffix('.parquet')}')\""
        )
    if kind not in (".csv", ".parquet"):
        raise ValueError(f"path is {str(path)!r}; expected a table, .csv or .parquet.")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a table of connected pairs.")
    try:
        return pd.read_csv(path) if kind == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:  # what pandas and pyarrow raise for damaged files
        raise ValueError(f"{path} cannot be read as {kind}: {error}") from error


def find_pairs(connections: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``units`` of each pair: ``pre``, ``post``, and whether they are ``connected``; see ``like_to_like``.

    Raises:
        TypeError, ValueError: columns that are missing, or of other kinds; ids that are missing, unknown or ambiguous;
            pairs of a unit with itself; pairs that are there twice.
    """
    for name, table in (("connections", connections), ("units", units)):
        if not isinstance(table, pd.DataFrame):
            raise TypeError(f"{name} is {shown(table)}; expected a pandas table.")
    units = flatten(units)
    names = _key(connections, units)
    _require(units, names, "units")
    index = pd.MultiIndex.from_frame(units[names])
    if not index.is_unique:
        twice = index[index.duplicated()][:3].tolist()
        raise ValueError(
            f"units has {names} more than once: {twice}. Of several scans, connections needs the columns pre_session, "
            "pre_scan_idx, post_session, post_scan_idx, too."
        )
    found = {side: _rows(connections, side, names, index) for side in SIDES}
    connected = np.ones(len(connections), bool)
    if "connected" in connections:
        if not is_bool_dtype(connections["connected"]) or connections["connected"].isna().any():
            raise TypeError(f"connections.connected is of {connections['connected'].dtype}; expected True or False.")
        connected = connections["connected"].to_numpy(bool)
    pairs = pd.DataFrame(found | {"connected": connected})
    _refuse(connections, pairs["pre"] == pairs["post"], "pairs of a unit with itself", "Leave them out.")
    remedy = "Keep one of each, such as by connections.groupby([...]).sum() of what counts synapses."
    _refuse(connections, pairs.duplicated(["pre", "post"]), "pairs that are there already", remedy)
    return pairs


def _key(connections: pd.DataFrame, units: pd.DataFrame) -> list[str]:
    """What names a unit in this table: with session and scan, where it says them."""
    given = [name for name in KEY if any(f"{side}_{name}" in connections for side in SIDES)]
    names = KEY if len(given) > 1 else ["unit_id"]
    _require(connections, [f"{side}_{name}" for side in SIDES for name in names], "connections")
    return names


def _require(table: pd.DataFrame, names: list[str], of: str) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"{of} has no column {', '.join(missing)}; it has {shown(list(table.columns))}.")
    if not len(table):
        raise ValueError(f"{of} has no rows.")
    for name in names:
        if table[name].isna().any():
            rows = table.index[table[name].isna()][:3].tolist()
            raise ValueError(f"{of}.{name} is missing in the rows {rows}; expected the number of a unit.")
        if not is_integer_dtype(table[name]):
            raise TypeError(f"{of}.{name} is of {table[name].dtype}; expected integers.")


def _rows(connections: pd.DataFrame, side: str, names: list[str], index: pd.MultiIndex) -> np.ndarray:
    ids = connections[[f"{side}_{name}" for name in names]]
    rows = index.get_indexer(pd.MultiIndex.from_frame(ids, names=names))
    remedy = f"Keep the pairs of these units: connections[connections.{side}_unit_id.isin(units.unit_id)]."
    _refuse(ids, pd.Series(rows < 0), f"{side}synaptic units that units does not have", remedy)
    return rows


def _refuse(table: pd.DataFrame, wrong: pd.Series, what: str, remedy: str) -> None:
    if wrong.any():
        some = table[wrong.to_numpy()].head(3).to_dict("records")
        raise ValueError(f"connections has {int(wrong.sum())} of {len(table)} {what}: {shown(some)}. {remedy}")
