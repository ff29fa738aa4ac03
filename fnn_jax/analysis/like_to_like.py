"""Whether connected units are alike: connected pairs beside pairs that are not, in any measure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fnn_jax.analysis.connections import find_pairs
from fnn_jax.analysis.measures import Measure, check_measure
from fnn_jax.analysis.pairs import check_labels, p_value, shuffled
from fnn_jax.common.checks import integer, mapping, text
from fnn_jax.common.checks import seed as checked_seed

LEAST_CONNECTIONS = 10
BINS = 10  # of a measure that is held equal


class LikeToLike(NamedTuple):
    """Connected pairs beside others.

    ``pairs``: a row for each pair, with ``group`` (``connected``, ``near``, ``same region``, ``random``), rows of units
    ``pre`` and ``post``, and a column for each measure. ``comparisons``: a row for each measure, control and measure
    that is ``given``; see ``like_to_like``. ``tests``: a row for each measure, with ``connected`` (its mean),
    ``by_chance`` (the mean when partners are shuffled) and ``p``.
    """

    pairs: pd.DataFrame
    comparisons: pd.DataFrame
    tests: pd.DataFrame

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {group}" for group, count in self.pairs["group"].value_counts().items())
        return f"LikeToLike(pairs: {counts}; measures: {', '.join(self.tests['measure'])})"


def like_to_like(
    connections: pd.DataFrame,
    units: pd.DataFrame,
    measures: Mapping[str, Measure],
    *,
    region: str = "brain_area",
    most_controls: int = 100_000,
    permutations: int = 999,
    seed: int = 0,
) -> LikeToLike:
    """Are connected units more alike than units that are not connected?

    Args:
        connections: a row for each pair of units: ``pre_unit_id``, ``post_unit_id``; of several scans also
            ``pre_session``, ``pre_scan_idx``, ``post_session``, ``post_scan_idx``. It may have ``connected``: pairs
            where that is False are controls whose axon comes near the dendrite. Pairs that are not there count as not
            connected.
        units: the same units as in ``measures``, in the same order, with ``unit_id`` (``session``, ``scan_idx``) and
            ``region``: ``twin.units``, ``microns.join(twin.units)``.
        measures: by name; units of which one is unknown (NaN) do not count for it.
        region: the column of ``units`` that says where a unit lies.
        most_controls: pairs of each kind of control, where there are more: drawn, as many for each presynaptic unit.
        permutations: of the test, and draws of the intervals.
        seed: of all that is drawn.

    *Controls* have the presynaptic units of the connections: ``near``, where the table has them; ``same region``, pairs
    with all units of the regions in which a presynaptic unit has partners; ``random``, pairs with all units.

    *Comparisons* are within presynaptic units, so that one that is like many does not count as like its partners:
    ``difference`` is the mean over connections of what is connected minus the mean of the controls of the same
    presynaptic unit; ``low``, ``high``: 95 % of bootstraps of presynaptic units; ``d``: the difference in standard
    deviations of the controls; ``connections``, ``controls``, ``presynaptic``: how many count. With ``given``, each
    value has its expectation taken away, the mean of the controls in tenths of the other measure: what remains is not
    due to that one.

    *Tests* shuffle the postsynaptic partners among the connections to the same region; all units keep how many
    connections they have. ``p`` is two-sided.

    Raises:
        TypeError, ValueError: wrong arguments, fewer than 10 connections or two presynaptic units with known values;
            see also ``find_pairs``.
    """
    found = find_pairs(connections, units)
    measures = {
        text("measures", name): check_measure(f"measures[{name!r}]", measure, len(units))
        for name, measure in mapping("measures", measures, "of measures by name").items()
    }
    if not measures:
        raise ValueError("measures is empty; expected one measure at least.")
    if region not in units:
        raise ValueError(f"units has no column {region!r}; it has {list(units.columns)}. Name it: region=.")
    regions = check_labels(f"units.{region}", units[region], len(units))
    most_controls, permutations = integer("most_controls", most_controls), integer("permutations", permutations, 19)
    random = np.random.default_rng(checked_seed("seed", seed))

    connected = found[found["connected"]]
    _check_connections(connected, "")
    groups = {"connected": connected[["pre", "post"]].to_numpy()}
    if not found["connected"].all():
        groups["near"] = found.loc[~found["connected"], ["pre", "post"]].to_numpy()
    groups |= _controls(groups["connected"], regions, most_controls, random)
    table = pd.concat(
        [pd.DataFrame({"group": name, "pre": rows[:, 0], "post": rows[:, 1]}) for name, rows in groups.items()],
        ignore_index=True,
    )
    pre, post = table["pre"].to_numpy(), table["post"].to_numpy()
    table = table.assign(**{name: measure.values(pre, post) for name, measure in measures.items()})
    for name in measures:
        known = table[(table["group"] == "connected") & table[name].notna()]
        _check_connections(known, f" for which {name!r} is known")

    comparisons = [
        {"measure": name, "control": control, "given": given}
        | _compare(table, name, control, given, permutations, random)
        for name in measures
        for control in list(groups)[1:]
        for given in ("", *(other for other in measures if other != name))
    ]
    tests = [
        {"measure": name} | _test(groups["connected"], measure, regions, permutations, random)
        for name, measure in measures.items()
    ]
    return LikeToLike(table, pd.DataFrame(comparisons), pd.DataFrame(tests))


def _controls(
    connected: np.ndarray, regions: np.ndarray, most: int, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Pairs of the presynaptic units with others that are not their partners: of the partners' regions, and of all."""
    sources = np.unique(connected[:, 0])
    each = -(-most // len(sources))
    found: dict[str, list[np.ndarray]] = {"same region": [], "random": []}
    for source in sources:
        partners = connected[connected[:, 0] == source, 1]
        others = np.ones(len(regions), bool)
        others[source] = others[partners] = False
        for name, rows in (
            ("same region", np.flatnonzero(others & np.isin(regions, regions[partners]))),
            ("random", np.flatnonzero(others)),
        ):
            drawn = random.choice(rows, each, replace=False) if len(rows) > each else rows
            found[name].append(np.stack([np.full(len(drawn), source), drawn], axis=1))
    return {name: np.concatenate(pairs) for name, pairs in found.items()}


def _check_connections(connected: pd.DataFrame, of: str) -> None:
    """Refuse too few of these connections."""
    sources = connected["pre"].nunique()
    if len(connected) < LEAST_CONNECTIONS or sources < 2:
        raise ValueError(
            f"connections has {len(connected)} connected pairs of {sources} presynaptic units{of}; expected at least "
            f"{LEAST_CONNECTIONS} pairs, of two presynaptic units."
        )


def _compare(
    table: pd.DataFrame, name: str, control: str, given: str, draws: int, random: np.random.Generator
) -> dict[str, Any]:
    """Connected minus control, within presynaptic units; NaN where there are none to compare."""
    table = table[
        table["group"].isin(["connected", control]) & table[[name, *filter(None, [given])]].notna().all(axis=1)
    ]
    is_control = (table["group"] == control).to_numpy()
    values = table[name].to_numpy()
    if given and is_control.any():
        values = values - _expected(table[given].to_numpy(), values, is_control)
    sums = pd.DataFrame({"pre": table["pre"].to_numpy(), "values": values}).groupby([is_control, "pre"])["values"]
    by_source = sums.agg(["mean", "count"]).unstack(0).dropna()
    if not is_control.any() or is_control.all() or not len(by_source):
        nothing = dict.fromkeys(("difference", "low", "high", "d"), np.nan)
        return nothing | {"connections": 0, "controls": 0, "presynaptic": 0}
    step = (by_source["mean", False] - by_source["mean", True]).to_numpy()
    weight = by_source["count", False].to_numpy()
    difference = float(np.average(step, weights=weight))
    times = random.multinomial(len(step), np.full(len(step), 1 / len(step)), size=draws)
    low, high = (
        np.percentile((times @ (step * weight)) / (times @ weight), [2.5, 97.5]) if len(step) > 1 else (np.nan,) * 2
    )
    spread = float(np.std(values[is_control], ddof=1)) if is_control.sum() > 1 else np.nan
    return {
        "difference": difference,
        "low": float(low),
        "high": float(high),
        "d": difference / spread if spread else np.nan,
        "connections": int(weight.sum()),
        "controls": int(by_source["count", True].sum()),
        "presynaptic": len(step),
    }


def _expected(given: np.ndarray, values: np.ndarray, is_control: np.ndarray) -> np.ndarray:
    """What the controls have on average where the other measure is the same, in tenths of it."""
    edges = np.unique(np.quantile(given[is_control], np.linspace(0, 1, BINS + 1)[1:-1]))
    index = np.searchsorted(edges, given, side="right")
    count = np.bincount(index[is_control], minlength=len(edges) + 1)
    means = np.bincount(index[is_control], values[is_control], len(edges) + 1) / np.maximum(count, 1)
    return np.where(count, means, values[is_control].mean())[index]


def _test(
    connected: np.ndarray, measure: Measure, regions: np.ndarray, permutations: int, random: np.random.Generator
) -> dict[str, float]:
    """The mean over connections, and the means when their partners in a region are shuffled."""
    known = measure.known()[connected].all(1)
    pre, post = connected[known].T
    observed = float(measure.values(pre, post).mean())
    by_chance = np.empty(permutations)
    for k in range(permutations):
        drawn = post[shuffled(regions[post], random)]
        others = drawn != pre  # nobody is a partner of itself
        by_chance[k] = measure.values(pre[others], drawn[others]).mean() if others.any() else np.nan
    by_chance = by_chance[np.isfinite(by_chance)]
    return {"connected": observed, "by_chance": float(by_chance.mean()), "p": p_value(observed, by_chance)}
