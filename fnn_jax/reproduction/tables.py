"""Are the tables those that were published? A few of their rows are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.microns.cache import COLUMNS, Cache
from fnn_jax.weights.units import KEY

REMEDY = (
    "it is not the table (v2) of this release: v1 has other numbers, and another animal has scans, and units, of the "
    "same numbers. Delete it, and get it again"
)


def known_rows(cache: Cache, groups: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Tables of properties beside what is known of them.

    Args:
        groups: out of ``performance``, ``tuning``, ``anatomy``; those that are not here are downloaded.

    Returns:
        A row for each number that is known: ``table, scan, unit_id, column, known, found, same``; and a sentence for
        each table that differs.

    Raises:
        DownloadError: a table cannot be had, or is of other units.
    """
    rows: list[tuple[Any, ...]] = []
    problems: list[str] = []
    for group in groups:
        known = cache.release.known_rows.get(group, {})
        table = published_table(cache, group) if known else pd.DataFrame()
        first = len(rows)
        for (scan, unit_id), values in known.items():
            key = (*map(int, scan.split("-")), unit_id)
            for column, value in values.items():
                found = table.loc[key, column] if key in table.index else None
                same = _same(value, found)
                rows.append((group, scan, unit_id, column, value, found, same))
        wrong = [row for row in rows[first:] if not row[-1]]
        if wrong:
            _, scan, unit_id, column, value, found, _ = wrong[0]
            path = cache.directory / cache.release.properties[group]["units.csv"].path
            problems.append(
                f"{path.parent.name}/{path.name} has {column} {found} for unit_id {unit_id} of {scan}, known: {value}: "
                f"{REMEDY}."
            )
    columns = ["table", "scan", "unit_id", "column", "known", "found", "same"]
    return pd.DataFrame(rows, columns=columns), problems


def published_table(cache: Cache, group: str) -> pd.DataFrame:
    """The published properties of a group, by ``session, scan_idx, unit_id``; downloaded if they are not here."""
    path = cache.require_properties(group)["units.csv"]
    return pd.read_csv(path)[[*KEY, *COLUMNS[group]]].set_index(KEY)


def _same(known: float | str, found: object) -> bool:
    """Equal, to the digits that are known."""
    if isinstance(known, str) or not isinstance(found, int | float | np.number):
        return known == found
    digits = len(str(known).partition(".")[2]) if isinstance(known, float) else 0
    return bool(abs(known - float(found)) <= 0.51 * 10**-digits) or known == found
