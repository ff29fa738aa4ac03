"""Like-to-like: planted rules of connection are found, shuffled ones are not; tables of pairs are checked."""

import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fnn_jax.analysis import (
    feature_similarity,
    figures,
    like_to_like,
    orientation_similarity,
    read_connections,
    tuning_similarity,
)

UNITS = 60


def population(seed=0, units=UNITS):
    """Units of two areas, whose weights and orientations have nothing to do with one another."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame({"unit_id": 100 + np.arange(units), "brain_area": np.tile(["V1", "LM"], units // 2)})
    measures = {
        "features": feature_similarity(random.standard_normal((units, 5))),
        "orientation": orientation_similarity(random.uniform(0, 180, units)),
    }
    return table, measures, random


def connect(table, measure, random, strength, each=6, sources=20):
    """Each presynaptic unit has partners, which it prefers to be alike: by ``exp(strength * similarity)``."""
    rows = []
    for source in range(sources):
        others = np.setdiff1d(np.arange(len(table)), [source])
        chance = np.exp(strength * measure.values(np.full(len(others), source), others))
        rows += [(source, target) for target in random.choice(others, each, replace=False, p=chance / chance.sum())]
    pairs = table.unit_id.to_numpy()[np.array(rows)]
    return pd.DataFrame(pairs, columns=["pre_unit_id", "post_unit_id"])


def test_planted_rule_is_found_where_it_is():
    table, measures, random = population()
    connections = connect(table, measures["features"], random, 3)
    found = like_to_like(connections, table, measures, permutations=199)
    assert repr(found).startswith("LikeToLike(pairs: ")
    tests = found.tests.set_index("measure")
    assert tests.p["features"] == 0.005 and tests.p["orientation"] > 0.05
    assert tests.connected["features"] > tests.by_chance["features"] + 0.2
    rows = found.comparisons.set_index(["measure", "control", "given"])
    for control in ("same region", "random"):
        assert rows.low["features", control, ""] > 0.2 and rows.d["features", control, ""] > 0.5
        assert rows.low["features", control, "orientation"] > 0.2
        assert rows.low["orientation", control, ""] < 0 < rows.high["orientation", control, ""]
    assert (rows.connections == 120).all() and (rows.presynaptic == 20).all()
    again = like_to_like(connections, table, measures, permutations=199)
    pd.testing.assert_frame_equal(again.comparisons, found.comparisons)


def test_what_follows_from_another_measure_is_gone_when_that_is_given():
    """Connections prefer one measure; another is correlated with it, and has no influence of its own."""
    random = np.random.default_rng(1)
    weights = random.standard_normal((400, 3))
    copied = feature_similarity(weights + 0.7 * random.standard_normal(weights.shape))
    table = pd.DataFrame({"unit_id": np.arange(400), "brain_area": "V1"})
    measures = {"cause": feature_similarity(weights), "copy": copied}
    connections = connect(table, measures["cause"], random, 3, sources=100)
    rows = like_to_like(connections, table, measures, permutations=99).comparisons.set_index(
        ["measure", "control", "given"]
    )
    plain, given = rows.loc[("copy", "random", "")], rows.loc[("copy", "random", "cause")]
    assert plain.low > 0.1 and abs(given.difference) < 0.2 * plain.difference
    assert rows.loc[("cause", "random", "copy")].low > 0.1


def test_controls():
    table, measures, random = population()
    connections = connect(table, measures["features"], random, 0)
    pairs = like_to_like(connections, table, measures, permutations=19).pairs
    connected = set(map(tuple, pairs.loc[pairs.group == "connected", ["pre", "post"]].to_numpy()))
    areas = table.brain_area.to_numpy()
    partners = {source: {areas[target] for s, target in connected if s == source} for source in range(20)}
    for name in ("same region", "random"):
        rows = pairs.loc[pairs.group == name, ["pre", "post"]].to_numpy()
        assert not connected & set(map(tuple, rows)) and (rows[:, 0] != rows[:, 1]).all()
        assert set(rows[:, 0]) == set(range(20)) and len(np.unique(rows, axis=0)) == len(rows)
        if name == "same region":
            assert all(areas[target] in partners[source] for source, target in rows)
        else:
            assert len(rows) == 20 * (UNITS - 1 - 6)
    few = like_to_like(connections, table, measures, permutations=19, most_controls=100).pairs
    assert (few.group == "random").sum() == 100
    assert few[few.group == "connected"].equals(pairs[pairs.group == "connected"])


def test_pairs_that_are_near_are_a_control():
    """A rule that only says who is near whom is no rule of who connects."""
    table, measures, random = population()
    near = connect(table, measures["features"], random, 3, each=12)
    near["connected"] = random.permutation(np.arange(len(near)) % 2 == 0)
    rows = like_to_like(near, table, measures, permutations=99).comparisons.set_index(["measure", "control", "given"])
    assert rows.low["features", "random", ""] > 0.1
    assert rows.low["features", "near", ""] < 0 < rows.high["features", "near", ""]
    assert rows.connections["features", "near", ""] == near.connected.sum()


def test_one_that_is_like_many_is_not_like_its_partners():
    """Presynaptic units with many connections, which are alike to everybody: nothing within each of them."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((UNITS, 5))
    weights[:5, 0], weights[20:, 0] = 6, 2  # five are like all who are not presynaptic
    table = pd.DataFrame({"unit_id": np.arange(UNITS), "brain_area": "V1"})
    pairs = [(s, t) for s in range(20) for t in random.choice(np.arange(20, UNITS), 20 if s < 5 else 3, replace=False)]
    connections = pd.DataFrame(pairs, columns=["pre_unit_id", "post_unit_id"])
    found = like_to_like(connections, table, {"features": feature_similarity(weights)}, permutations=199)
    assert found.tests.p[0] > 0.05


@pytest.mark.slow
def test_false_positives_are_as_many_as_they_should_be():
    """Of 100 populations: of the test of partners; and of the intervals, which hold 0 as often as they say, nearly."""
    low = outside = 0
    for seed in range(100):
        table, measures, random = population(seed, 40)
        measures.pop("orientation")
        connections = connect(table, measures["features"], random, 0, each=4)
        found = like_to_like(connections, table, measures, permutations=19, seed=seed)
        low += found.tests.p[0] <= 0.05
        row = found.comparisons.iloc[-1]
        outside += not row.low <= 0 <= row.high
    assert 1 <= low <= 12  # 5 expected; outside of this by chance in one of 140
    assert outside <= 16  # intervals of 20 units are somewhat narrow


def test_order_and_ids_do_not_matter():
    table, measures, random = population()
    connections = connect(table, measures["features"], random, 2)
    found = like_to_like(connections, table, measures, permutations=19)
    order = random.permutation(UNITS)
    moved = {name: measure._replace(vectors=measure.vectors[order]) for name, measure in measures.items()}
    other = like_to_like(connections.sample(frac=1, random_state=1), table.iloc[order], moved, permutations=19)
    columns = ["difference", "d", "connections", "controls"]
    np.testing.assert_allclose(other.comparisons[columns], found.comparisons[columns], atol=1e-12)
    np.testing.assert_allclose(other.tests.connected, found.tests.connected)


def test_unknown_units_do_not_count():
    table, measures, random = population()
    connections = connect(table, measures["features"], random, 0)
    responses = random.random((10, UNITS))
    responses[:, 0] = np.nan
    found = like_to_like(connections, table, measures | {"signal": tuning_similarity(responses)}, permutations=19)
    rows = found.comparisons.set_index(["measure", "control", "given"])
    known = connections[(connections != 100).all(axis=1)]
    assert rows.connections["signal", "random", ""] == len(known) < len(connections)
    assert rows.connections["features", "random", "signal"] == len(known)
    assert rows.connections["features", "random", ""] == len(connections)


def test_units_of_several_scans():
    table, measures, random = population()
    connections = connect(table, measures["features"], random, 2)
    alone = like_to_like(connections, table, measures, permutations=19)
    table = table.assign(session=8, scan_idx=np.arange(UNITS) // 30, unit_id=np.arange(UNITS) % 30)
    for side in ("pre", "post"):
        rows = connections[f"{side}_unit_id"] - 100
        connections = connections.assign(
            **{f"{side}_session": 8, f"{side}_scan_idx": rows // 30, f"{side}_unit_id": rows % 30}
        )
    found = like_to_like(connections, table, measures, permutations=19)
    pd.testing.assert_frame_equal(found.pairs, alone.pairs)
    by_index = like_to_like(
        connections, table.set_index(["session", "scan_idx", "unit_id"]), measures, permutations=19
    )  # as microns.units has it
    pd.testing.assert_frame_equal(by_index.pairs, alone.pairs)
    with pytest.raises(ValueError, match="units has .'unit_id'. more than once"):
        like_to_like(connections[["pre_unit_id", "post_unit_id"]], table, measures)


IDS = pd.DataFrame({"pre_unit_id": np.repeat([100, 101], 6), "post_unit_id": np.tile(np.arange(110, 116), 2)})


@pytest.mark.parametrize(
    ("connections", "message"),
    [
        ([(1, 2)], "connections is .*; expected a pandas table"),
        (IDS.rename(columns={"pre_unit_id": "pre"}), "connections has no column pre_unit_id; it has"),
        (IDS.iloc[:0], "connections has no rows"),
        (IDS.assign(post_unit_id=7), "12 of 12 postsynaptic units that units does not have"),
        (IDS.assign(post_unit_id=IDS.pre_unit_id), "12 of 12 pairs of a unit with itself"),
        (pd.concat([IDS, IDS.iloc[:2]]), "2 of 14 pairs that are there already"),
        (
            IDS.assign(post_unit_id=IDS.post_unit_id.where(IDS.index > 1)),
            r"post_unit_id is missing in the rows \[0, 1\]",
        ),
        (IDS.astype(str), "pre_unit_id is of .*; expected integers"),
        (IDS.assign(connected=1), "connections.connected is of int64; expected True or False"),
        (IDS.assign(connected=False), "connections has 0 connected pairs"),
        (IDS.iloc[:5], "5 connected pairs of 1 presynaptic units"),
        (IDS.assign(pre_session=8), "connections has no column"),
    ],
)
def test_wrong_connections(connections, message):
    table, measures, _ = population()
    with pytest.raises((TypeError, ValueError), match=message):
        like_to_like(connections, table, measures)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": "8-5"}, "units is '8-5'"),
        ({"units": pd.DataFrame({"unit_id": range(100, 160)})}, "units has no column 'brain_area'"),
        ({"units": pd.DataFrame({"unit_id": range(100, 160), "brain_area": None})}, "units.brain_area is missing"),
        ({"measures": {}}, "measures is empty"),
        ({"measures": {"a": 1}}, r"measures\['a'\] is 1; expected a measure"),
        ({"measures": {"a": orientation_similarity(np.ones(3))}}, r"measures\['a'\] is of 3 units; expected 60"),
        (
            {"measures": {"a": orientation_similarity(np.full(60, np.nan))}},
            "0 presynaptic units for which 'a' is known",
        ),
        ({"region": "layer"}, "units has no column 'layer'"),
        ({"permutations": 2}, "permutations is 2"),
        ({"most_controls": 0}, "most_controls is 0"),
        ({"seed": "a"}, "seed is 'a'"),
    ],
)
def test_wrong_arguments(change, message):
    table, measures, _ = population()
    arguments = {"connections": IDS, "units": table, "measures": measures} | change
    with pytest.raises((TypeError, ValueError), match=message):
        like_to_like(**arguments)


def test_files(tmp_path):
    table = IDS.assign(connected=IDS.index % 2 == 0)
    table.to_csv(tmp_path / "pairs.csv", index=False)
    table.to_parquet(tmp_path / "pairs.parquet")
    for name in ("pairs.csv", "pairs.parquet"):
        pd.testing.assert_frame_equal(read_connections(tmp_path / name), table)
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    (tmp_path / "empty.csv").touch()
    for name in ("bad.parquet", "empty.csv"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as"):
            read_connections(tmp_path / name)
    with pytest.raises(ValueError, match=r"expected a table, .csv or .parquet"):
        read_connections(tmp_path / "pairs.xlsx")
    with pytest.raises(FileNotFoundError, match="none.csv does not exist"):
        read_connections(tmp_path / "none.csv")


def test_a_pickle_is_refused_unread_and_the_remedy_works(tmp_path):
    IDS.to_pickle(tmp_path / "pairs.pkl")
    with pytest.raises(ValueError, match="is a pickle, and reading one runs whatever code it holds") as error:
        read_connections(tmp_path / "pairs.pkl")
    command = str(error.value).split("once: ")[1]
    command = [sys.executable, *shlex.split(command)[1:]]
    subprocess.run(command, check=True)
    pd.testing.assert_frame_equal(read_connections(tmp_path / "pairs.parquet"), IDS)


def test_figure():
    table, measures, random = population()
    found = like_to_like(connect(table, measures["features"], random, 2), table, measures, permutations=19)
    ax = Figure().subplots()
    assert figures.draw_like_to_like(ax, found, "features") is ax
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["same region", "same region\ngiven orientation", "random", "random\ngiven orientation"]
    with pytest.raises(ValueError, match="measure is 'feature'"):
        figures.draw_like_to_like(ax, found, "feature")
