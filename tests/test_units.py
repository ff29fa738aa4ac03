"""Tables of the published units, what joins them, and twins of some of their units."""

import bucket
import jax
import numpy as np
import pandas as pd
import pytest
from disturbed import small

from fnn_jax import CheckpointError, Twin, microns
from fnn_jax.demo import random_network
from fnn_jax.microns import downloads
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.weights.store import check_table
from fnn_jax.weights.units import KEY, in_readout_order

VIDEO = np.random.default_rng(0).integers(0, 256, (9, 18, 32), np.uint8)


# --- tables


def test_one_table_of_all_units(here, bucket_folder):
    table = microns.units()
    assert len(table) == sum(bucket.NUM_UNITS.values()) and table.index.names == KEY and table.index.is_unique
    assert table.index.is_monotonic_increasing and not here.log
    files = {group: pd.read_csv(bucket_folder / f["units.csv"].path) for group, f in bucket.REAL.properties.items()}
    for group, columns in {"performance": ["cc_abs", "cc_max"], "tuning": ["gOSI", "pref_dir"]}.items():
        own = files[group].set_index(KEY).loc[table.index]  # the rows of this file are shuffled
        for column in columns:
            np.testing.assert_array_equal(table[column], own[column])
    ids = pd.read_csv(bucket_folder / "default" / "units.csv").set_index(KEY).readout_id
    np.testing.assert_array_equal(table.readout_id, ids.loc[table.index])
    assert set(table.animal_id) == {17797} and set(table.weights) == {"default"}
    assert set(table.attrs["meaning"]) == set(table.columns)
    assert table.attrs["weights"]["tuning"] == "ori-trained" and table.attrs["weights"]["performance"] == "default"
    assert set(microns.units(weights="ori-trained").weights) == {"ori-trained"}


def test_quality_and_filters(here):
    table = microns.units()
    reliable = table[(table.cc_max > 0.4) & (table.cc_abs > 0.2)]
    assert table.cc_max.isna().any() and 0 < len(reliable) < len(table)
    pd.testing.assert_frame_equal(microns.units(quality="reliable"), reliable)
    both = reliable[reliable.gOSI > 0.25]
    pd.testing.assert_frame_equal(microns.units(quality=["reliable", "oriented"]), both)
    areas = microns.units("8-5", brain_area=["V1", "LM"], field=3)
    expected = table.loc[8, 5][lambda t: t.brain_area.isin(["V1", "LM"]) & (t.field == 3)]
    assert areas.index.get_level_values("unit_id").tolist() == expected.index.tolist()
    assert len(microns.units(["8-5", "4_7"])) == 49
    for area in table.brain_area.unique():  # an area in which no unit is left is no mistake
        assert len(microns.units(quality=["reliable", "oriented"], brain_area=area)) == sum(both.brain_area == area)
    for options, message in (
        ({"quality": "good"}, "quality is 'good'; expected names out of"),
        ({"brain_area": "V2"}, r"brain_area is \['V2'\]; the units have \['AL', 'LM', 'RL', 'V1'\]"),
        ({"field": 99}, r"field is \[99\]; the units have"),
        ({"quality": "reliable", "properties": "tuning"}, "cc_max .*the table lacks it"),
        ({"brain_area": "V1", "properties": ["tuning"]}, "brain_area is given, but the table lacks it"),
        ({"y": "north"}, "y is 'north'; expected 'down'"),
        ({"scans": []}, r"scans has \[\]; the published ones are"),
    ):
        with pytest.raises(ValueError, match=message):
            microns.units(**options)


def test_both_directions_of_y(here, bucket_folder):
    published = np.load(bucket_folder / bucket.REAL.properties["readout"]["readout_locations.npy"].path)
    down, up = microns.units(), microns.units(y="up")
    np.testing.assert_array_equal(down[["readout_x", "readout_y_down"]], published)
    np.testing.assert_array_equal(up[["readout_x", "readout_y_up"]], published * [1, -1])
    assert "TOP" in down.attrs["meaning"]["readout_y_down"] and "BOTTOM" in up.attrs["meaning"]["readout_y_up"]


def test_tables_without_weights(server, own_cache):
    table = microns.units(quality="oriented")
    assert server.requested == bucket.TABLES  # the small ones, of themselves
    assert "readout_id" not in table and {"cc_abs", "gOSI", "field"} <= set(table)
    microns.units(properties=["anatomy"], offline=True)
    assert server.requested == bucket.TABLES


def test_something_else_than_the_tables(server):
    performance, wrong = bucket.TABLES[0], b"session,scan_idx,unit_id,cc_abs,cc_max,cc_norm\n8,5,1,0,0,0\n"
    for data, message in ((b"a,b\n1,2\n", "lacks the columns"), (wrong, "has 1 units, expected 338")):
        server.faults[performance] = [("instead", data)]
        with pytest.raises(DownloadError, match=message):
            microns.units(properties=["performance"])
    assert len(microns.units(properties=["performance"])) == 338


def test_properties_of_other_units_are_refused(server, own_cache):
    microns.units()
    path = own_cache / bucket.TABLES[1]
    pd.read_csv(path).assign(unit_id=lambda t: t.unit_id + 1).to_csv(path, index=False)
    (own_cache / downloads.CHECKSUMS).unlink()
    with pytest.raises(CheckpointError, match="The property tuning is of other units: 676 of 676 are in one table"):
        microns.units()


def test_join(here):
    twin, ids = microns.scan(4, 7)
    joined = microns.join(ids)
    assert joined.index.equals(ids.index) and list(joined.columns[:5]) == list(ids.columns)
    np.testing.assert_array_equal(joined.cc_abs, microns.units("4-7").cc_abs)
    assert "weights" not in microns.join(ids.drop(columns="weights", errors="ignore"))  # nobody knows which
    shuffled = ids.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(microns.join(shuffled).gOSI, joined.gOSI.loc[shuffled.index])
    assert microns.join(ids.set_index(KEY)).index.names == KEY
    with pytest.raises(ValueError, match=r"units is of animal \[27203\], expected \[17797\]"):
        microns.join(ids.assign(animal_id=27203))  # the training example
    with pytest.raises(ValueError, match=r"does not say which animal .*units.assign\(animal_id=17797\)"):
        microns.join(ids.drop(columns="animal_id"))
    with pytest.raises(ValueError, match=r"holds 20 that are not published, such as session, scan_idx, unit_id \[4"):
        microns.join(ids.assign(unit_id=ids.unit_id + 1))
    with pytest.raises(ValueError, match=r"units lacks the columns \['unit_id'\]"):
        microns.join(ids.drop(columns="unit_id"))
    trained = microns.scan(4, 7, weights="ori-trained")[1].reset_index(drop=True)
    assert microns.join(trained, properties=["tuning", "tuning"]).readout_id.tolist() == list(range(20))
    with pytest.raises(ValueError, match=r"units of the weights \['default', 'ori-trained'\]; expected one kind"):
        microns.join(pd.concat([ids, trained]))
    with pytest.raises(TypeError, match="scans is 85; expected names such as"):
        microns.units(85)
    with pytest.raises(ValueError, match=r"of animal \[27203\]"):
        twin.select(microns.units("4-7").assign(animal_id=27203))


# --- selections of units


@pytest.fixture(scope="module")
def selected():
    units = pd.DataFrame({"session": 8, "scan_idx": 5, "unit_id": [11, 22, 33, 44, 55], "animal_id": 17797})
    twin = Twin(random_network(small(5)), units.rename_axis("readout_id"), name="8-5")
    return twin, twin.predict(VIDEO)


def by_key(twin, rows):
    return twin.units.iloc[rows].set_index(KEY)


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        ({"units": [3, 0]}, [3, 0]),
        ({"units": np.int32(2)}, [2]),
        ({"units": pd.Index([1, 4])}, [1, 4]),
        ({"unit_ids": [55, 11]}, [4, 0]),
        ({"units": np.array([True, False, False, True, False])}, [0, 3]),
        ({"units": lambda t: t.units.unit_id > 30}, [2, 3, 4]),
        ({"units": lambda t: (t.units.unit_id > 40).convert_dtypes()}, [3, 4]),
        ({"units": lambda t: by_key(t, [4, 3, 2, 1, 0]).eval("unit_id > 40").convert_dtypes()}, [4, 3]),
        ({"units": lambda t: t.units.query("unit_id == 22")}, [1]),
        ({"units": lambda t: t.units.iloc[[4, 2]]}, [4, 2]),
        ({"units": lambda t: by_key(t, [1, 3])}, [1, 3]),
        ({"units": lambda t: by_key(t, [1, 3]).index}, [1, 3]),
        ({"units": lambda t: by_key(t, slice(None)).eval("unit_id > 40")}, [3, 4]),
        ({"units": lambda t: pd.concat([by_key(t, [2]), by_key(t, [1, 2]).rename({8: 9}, level=0)])}, [2]),
        ({"units": lambda t: pd.DataFrame({"readout_id": [3]})}, [3]),
        ({"units": lambda t: pd.DataFrame({"readout_id": [3, 1], "scan": ["6-4", "8-5"]})}, [1]),
    ],
)
def test_select(selected, choice, rows):
    twin, everything = selected
    choice = {name: value(twin) if callable(value) else value for name, value in choice.items()}
    some = twin.select(**choice)
    assert some.num_units == len(rows) and some.units.index.tolist() == rows
    assert some.units.unit_id.tolist() == twin.units.unit_id.iloc[rows].tolist()
    for name in ("mean", "spread"):
        ours, theirs = (np.asarray(getattr(t.network.readout.position, name)[...]) for t in (some, twin))
        np.testing.assert_array_equal(ours, theirs[rows])
    if len(rows) == 2:  # one compilation for all of these
        np.testing.assert_allclose(some.predict(VIDEO), everything[:, rows], rtol=1e-6)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, "Give either units"),
        ({"units": [1], "unit_ids": [11]}, "Give either units"),
        ({"units": []}, "selects no unit"),
        ({"units": np.zeros(5, bool)}, "selects no unit"),
        ({"units": [0, 7]}, r"units holds 1 that this twin does not have: \[7\]; it has 5, from 0 to 4"),
        ({"unit_ids": [1]}, r"unit_ids holds 1 that this twin does not have: \[1\]; it has 5, from 11 to 55"),
        ({"units": [2, 2]}, r"units names units more than once: \[2\]"),
        ({"units": [-1]}, r"does not have: \[-1\]"),
        ({"units": [0.5]}, "units holds float64"),
        ({"units": ["a"]}, "expected integers"),
        ({"units": np.ones(4, bool)}, r"units is a mask of shape \(4,\); expected \(5,\)"),
        ({"units": pd.Series([True] * 5, index=range(1, 6))}, "whose index is not that of the twin's table"),
        ({"units": pd.DataFrame({"a": [1]})}, r"units is a table with \['a'\]; expected the columns"),
        ({"units": pd.DataFrame({"readout_id": [3], "scan": ["6-4"]})}, r"of the scans \['6-4'\] by its column scan"),
        (
            {"units": pd.DataFrame({"session": [9], "scan_idx": [5], "unit_id": [11]})},
            r"no unit of the scan 8-5; it holds those of \['9-5'\]",
        ),
        (
            {"units": pd.DataFrame({"session": [8], "scan_idx": [5], "unit_id": [11], "animal_id": [27203]})},
            r"of animal \[27203\], expected \[17797\]",
        ),
    ],
)
def test_selections_that_are_none(selected, choice, message):
    with pytest.raises((TypeError, ValueError), match=message):
        selected[0].select(**choice)


def test_published_units_are_of_the_published_animal(selected):
    """An index or a mask does not say so itself."""
    twin = selected[0]
    other = Twin(twin.network, twin.units.assign(animal_id=27203), name="8-5")
    for published in (by_key(twin, [1, 3]).index, by_key(twin, slice(None)).eval("unit_id > 40")):
        with pytest.raises(ValueError, match=r"of animal \[27203\]: the same numbers mean other neurons"):
            other.select(published)


def test_units_of_a_twin_that_does_not_say_of_which_animal(selected):
    """The example mouse has a scan of the same numbers: a table of the published units chooses none of its units."""
    twin, _ = selected
    published = twin.units.set_index(KEY)
    other = Twin(twin.network, twin.units.drop(columns="animal_id"), name="8-5")
    nameless = Twin(twin.network)
    with pytest.raises(ValueError, match="does not say which animal it is of"):
        other.select(published)
    with pytest.raises(ValueError, match="does not say which animal it is of"):
        other.select(published.unit_id > 0 if "unit_id" in published else published.animal_id > 0)
    with pytest.raises(ValueError, match="does not say which scan it is of. Give readout ids"):
        nameless.select(published.assign(readout_id=range(5)))
    assert other.select(other.units.iloc[[1]]).num_units == 1


def test_tables_are_kept_from_changes(selected):
    twin, _ = selected
    table = twin.units.copy()
    copy = Twin(twin.network, table)
    table.loc[0, "unit_id"] = 99
    assert copy.units.unit_id.tolist() == [11, 22, 33, 44, 55]
    some = twin.select([1])
    some.provenance["note"] = "mine"
    assert "note" not in twin.provenance
    for wrong in (table.iloc[:3], pd.concat([table.iloc[:4], table.iloc[:1]])):
        with pytest.raises(ValueError, match="units lists . units for a readout of 5"):
            Twin(twin.network, wrong)
    twice = Twin(twin.network, twin.units.assign(unit_id=7))
    with pytest.raises(ValueError, match="has some of these numbers more than once"):
        twice.select(unit_ids=[7])


def test_a_selection_is_a_twin(selected, tmp_path):
    twin, _ = selected
    some = twin.select([4, 1])
    some.save(tmp_path / "some")
    again = Twin.load(tmp_path / "some")
    pd.testing.assert_frame_equal(again.units, some.units)
    assert again.select([1]).units.unit_id.tolist() == [22] and again.name == "8-5"
    assert all(
        a is b for a, b in zip(jax.tree.leaves(some.network.core), jax.tree.leaves(twin.network.core), strict=True)
    )
    assert Twin(random_network(small(3))).select([2]).num_units == 1
    with pytest.raises(ValueError, match="has no column unit_id"):
        Twin(random_network(small(3))).select(unit_ids=[2])


def table_of(**columns):
    return pd.DataFrame({"area": list("cab"), **columns})


IN_ORDER = {
    "no id": (table_of(), "cab"),
    "index": (table_of().set_axis(pd.Index([2, 0, 1], name="readout_id")), "abc"),
    "column": (table_of(readout_id=[2, 0, 1]), "abc"),
    "both": (table_of(readout_id=[2, 0, 1]).set_index("readout_id", drop=False), "abc"),
    "levels": (table_of(readout_id=[2, 0, 1], session=4, unit_id=[7, 8, 9]).set_index(["session", "unit_id"]), "abc"),
}


@pytest.mark.parametrize("name", IN_ORDER)
def test_tables_are_put_in_the_order_of_the_readout(name):
    """Rows were attached by position, so that a sorted table gave every readout_id another neuron."""
    table, areas = IN_ORDER[name]
    found = in_readout_order(table, 3)
    assert "".join(found["area"]) == areas and "readout_id" not in found
    assert found.index.tolist() == [0, 1, 2] and found.index.name == "readout_id"
    if name == "levels":
        assert found["unit_id"].tolist() == [8, 9, 7]


NOT_IN_ORDER = {
    "sorted": (table_of().sort_values("area"), r"an index of its own \(no name\) and no readout_id, .*units.reset_index"),
    "levels": (table_of(session=4, unit_id=[7, 8, 9]).set_index(["session", "unit_id"]), r"of its own \(session, unit_id\)"),
    "others": (table_of(readout_id=[5, 0, 1]), r"units has readout_id \[5, 0, 1\]; expected each readout_id from 0 to 2 once"),
    "twice": (table_of(readout_id=[1, 0, 1]), r"units has readout_id \[1, 0, 1\]"),
    "text": (table_of(readout_id=list("012")), r"units has readout_id \['0', '1', '2'\]"),
    "two": (table_of(readout_id=[2, 0, 1]).rename_axis("readout_id"), r"units has a column readout_id that differs from its"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_IN_ORDER)
def test_tables_that_do_not_say_their_order_are_refused(name):
    table, message = NOT_IN_ORDER[name]
    with pytest.raises(ValueError, match=message):
        in_readout_order(table, 3)


def test_a_twin_wants_readout_id_as_its_index():
    """Rows went by their position, whatever a column said; a table of several levels failed when it was saved."""
    levels = table_of(session=4, unit_id=[7, 8, 9]).set_index(["session", "unit_id"])
    with pytest.raises(CheckpointError, match=r"units has the index session, unit_id; expected readout_id"):
        check_table(levels, 3, "units")
    with pytest.raises(CheckpointError, match=r"a column readout_id that differs from its index"):
        check_table(table_of(readout_id=[2, 0, 1]), 3, "units")
    check_table(table_of(readout_id=[0, 1, 2]), 3, "units")
