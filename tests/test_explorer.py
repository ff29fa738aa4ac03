"""The explorer without a browser: where its table comes from, what is chosen, what is drawn and exported."""

import argparse
import io
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.image import imread
from PIL import Image

from fnn_jax import cli, stimuli
from fnn_jax.cli import explore
from fnn_jax.common.arrays import load_row
from fnn_jax.common.figures import FAINT, SIDE_BY_SIDE
from fnn_jax.common.files import file_digest
from fnn_jax.common.records import write_record
from fnn_jax.explorer import comparing, join_results, markdown, tables
from fnn_jax.explorer.background import Work
from fnn_jax.explorer.comparing import Comparison
from fnn_jax.explorer.dropping import DroppedFiles
from fnn_jax.explorer.inner import InnerMap, color_scale, map_names
from fnn_jax.explorer.measuring import measure_direction
from fnn_jax.explorer.playing import CHOICES, VIDEO, Behaviour, movie_code
from fnn_jax.explorer.raster import raster
from fnn_jax.explorer.results import open_result, place_of, unit_name
from fnn_jax.explorer.selection import Brush, Selection, box, chosen
from fnn_jax.explorer.state import State
from fnn_jax.explorer.unit_figure import draw_panel, draw_played
from fnn_jax.explorer.views import Colors, colors_of, is_whole, limits_of, views_of
from fnn_jax.screen import Screen
from fnn_jax.stimuli.display import Display
from fnn_jax.synthesis import synthesize


def units(count=300):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"unit_id": np.arange(count), "brain_area": random.choice(["V1", "LM", "RL"], count)})
    for name in ("unit_x", "unit_y", "unit_z"):
        table[name] = random.uniform(100, 900, count)
    for name in ("monitor_x", "monitor_y_down", "gOSI"):
        table[name] = random.uniform(-1, 1, count)
    table["pref_ori"] = random.uniform(0, 180, count)
    table.loc[::7, "gOSI"] = np.nan
    return table


@pytest.fixture
def state():
    return State(tables.UnitTable(units(), "units of a test", "units = table.copy()"))


def run_code(code, **names):
    """The table that exported lines make."""
    exec(compile(code, "exported", "exec"), names)
    return names["units"]


SHAPES = {
    "box": box("unit_x", "unit_y", 200, 500, 300, 800),
    "triangle": Brush("monitor_x", "monitor_y_down", ((-0.8, -0.9), (0.9, -0.5), (0.1, 0.8))),
}


@pytest.mark.parametrize("brush", SHAPES.values(), ids=SHAPES)
def test_the_lines_of_python_choose_what_the_page_shows(state, brush):
    state.filter_by("gOSI", (-0.5, 0.75))
    state.filter_by("brain_area", ["V1", "RL"])
    state.brush(brush)
    mask = state.chosen()
    assert 5 < mask.sum() < 200
    again = run_code(state.code(), table=state.table.units)
    pd.testing.assert_frame_equal(again, state.table.units[mask])
    state.clear()
    assert state.chosen().all()


def test_what_is_chosen():
    table = pd.DataFrame({"x": [0.0, 1, 2, np.nan], "y": [0.0, 1, 2, 3], "area": ["a", "b", None, "a"]})
    assert chosen(table, Selection({"x": (0, 1)})).tolist() == [
        True,
        True,
        False,
        False,
    ]  # both ends, and no missing one
    assert chosen(table, Selection(kinds={"area": ["a"]})).tolist() == [True, False, False, True]
    triangle = Brush("x", "y", ((-1, -1), (3, 0.5), (3, 1.2)))
    assert chosen(table, Selection(brush=triangle)).tolist() == [False, False, False, False]
    assert chosen(table, Selection(brush=box("x", "y", 0.5, 3, 0.5, 3))).tolist() == [False, True, True, False]
    with pytest.raises(ValueError, match=r"selection names the columns \['z'\]; the table has \['x', 'y', 'area'\]"):
        chosen(table, Selection({"z": (0, 1)}))


def test_a_filter_that_is_taken_away_chooses_all_again(state):
    state.filter_by("gOSI", (0.0, 1.0))
    state.filter_by("gOSI", None)
    state.filter_by("brain_area", ["V1"])
    state.filter_by("brain_area", [])
    assert state.chosen().all()


def test_views_and_colours(state):
    table = state.table.units
    names = [view.name for view in views_of(table)]
    assert names == ["cortex from above", "cortex from the side", "visual space"]
    assert state.shown == ["cortex from above", "visual space"]
    assert "unit_id" in state.columns and state.columns[0] == "brain_area"
    assert state.axes == ("gOSI", "pref_ori")  # no measure is there twice
    state.show_columns("unit_z", "gOSI")
    state.shown = ["any two columns"]
    assert [view.name for view in state.maps()] == ["gOSI over unit_z"] and state.picture("png").startswith(b"\x89PNG")
    assert [view.x for view in views_of(pd.DataFrame({"a": np.arange(20.0), "b": np.arange(20.0)}))] == ["a"]
    assert views_of(pd.DataFrame({"name": ["a", "b"]})) == []
    kinds = colors_of(pd.Series(["b", None, "a"], name="area"))
    assert kinds.kinds == ("a", "b") and kinds.values[[0, 2]].tolist() == [1, 0] and np.isnan(kinds.values[1])
    assert colors_of(table["pref_ori"]).circular and colors_of(table["gOSI"]).limits == (0, 1)
    across, up = limits_of(table, views_of(table)[0])
    assert across[1] - across[0] == pytest.approx(up[1] - up[0])  # micrometres are as long in both directions
    (left, right), _ = limits_of(table, views_of(table)[2])
    assert left < -1 and right > 1  # the whole monitor


def test_a_raster_has_each_unit_at_its_place():
    x, y = np.array([0.25, 0.75, np.nan, 9]), np.array([0.25, 0.75, 0.5, 0.5])
    colors = Colors(np.array([0.0, 1, 0, 0]), ("a", "b"), (0, 1), False)
    image = raster(x, y, colors, np.array([True, True, True, True]), ((0, 1), (0, 1)), (40, 60))
    first, second = (np.round(255 * np.array(to_rgba(SIDE_BY_SIDE[kind]))) for kind in (0, 1))
    assert (image[10, 15] == first).all() and (image[30, 45] == second).all() and image[20, 30, 3] == 0
    image = raster(x, y, colors, np.array([True, False, True, True]), ((0, 1), (0, 1)), (40, 60))
    assert (image[10, 15] == first).all()
    assert (image[30, 45] == np.round(255 * np.array(to_rgba(FAINT)))).all()


def test_angles_are_averaged_around_the_circle():
    """Two units of 1 and 179 degrees at one place are horizontal, as 0 is, and not vertical."""
    place, limits, yes = np.array([0.5, 0.5]), ((0, 1), (0, 1)), np.array([True, True])
    around = raster(place, place, Colors(np.array([1.0, 179]), (), (0, 180), True), yes, limits, (9, 9))
    horizontal = raster(place, place, Colors(np.array([0.0, 0]), (), (0, 180), True), yes, limits, (9, 9))
    assert np.abs(around[4, 4].astype(int) - horizontal[4, 4]).max() <= 1


def test_files(state, tmp_path):
    state.filter_by("brain_area", ["V1"])
    (tmp_path / "units.csv").write_bytes(state.csv())
    assert len(pd.read_csv(tmp_path / "units.csv")) == state.chosen().sum()
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for kind, start in starts.items():
        assert state.picture(kind).startswith(start)
    for color in ("pref_ori", "gOSI"):
        state.color = color
        assert state.picture("png").startswith(starts["png"])
    with pytest.raises(ValueError, match="There is no map to export"):
        State(tables.UnitTable(pd.DataFrame({"name": ["a", "b"]}), "", "")).picture("png")


def test_tables_of_results(twin, tmp_path):
    """What is read from disk, and what the exported lines read, are the same."""
    display = stimuli.Display.of(twin)
    movie = stimuli.flashes(display, levels=(0, 1), on_s=0.1, off_s=0.1)
    Screen(twin, reduce="mean", progress=False)({"flashes": movie.frames}, tmp_path / "screen.zarr")
    (tmp_path / "tune").mkdir()
    units().to_parquet(tmp_path / "tune" / "units.parquet")
    units(20).to_csv(tmp_path / "mine.csv", index=False)
    paths = [tmp_path / "screen.zarr", tmp_path / "tune", tmp_path / "mine.csv"]
    for path, count in zip(paths, (7, 300, 20), strict=True):
        table = tables.result_table([path])
        assert len(table.units) == count
        pd.testing.assert_frame_equal(run_code(table.code), table.units)
    together = tables.result_table(paths[1:])  # each unit once
    assert together.units["source"].value_counts().to_dict() == {"tune": 280, "tune, mine.csv": 20}
    pd.testing.assert_frame_equal(run_code(together.code), together.units)
    below = tables.result_table(paths[::2])  # one says the scan, the other does not
    assert below.units["source"].value_counts().to_dict() == {str(paths[0]): 7, str(paths[2]): 20}
    pd.testing.assert_frame_equal(run_code(below.code), below.units)
    assert tables.result_table(paths[:1]).units["mean_response"].notna().all()


def test_tables_of_twins(twin):
    table = tables.twin_table([twin, twin], "twins = [twin, twin]")
    assert len(table.units) == 14 and {"monitor_x", "monitor_y_down", "readout_id"} <= set(table.units)
    again = run_code(table.code, pd=pd, twin=twin)
    np.testing.assert_array_equal(again["monitor_x"], table.units["monitor_x"])


@pytest.fixture(scope="module")
def playing(twin):
    """The state of an explorer of two weights of one scan, here the same, that has played a grating to two picked units,
    one of each."""
    state = State(tables.twin_table([twin, twin], "twins = [twin, twin]\nweights = ['one', 'two']", ["one", "two"]))
    state.picked = [11, 2]
    behaviour = Behaviour(0.5, -0.5, 0.0, 1.0)
    state.play("drifting grating", {"directions": 90.0, "on_s": 0.5}, "", behaviour, InnerMap("core", 1))
    state.playing.wait()
    return state


def test_what_is_played_is_what_the_lines_of_python_say(playing, twin, tmp_path, monkeypatch):
    played = playing.playing.result
    assert playing.playing.error == "" and played.names == ("twin readout 4, two", "twin readout 2, one")
    assert "units of 2 twins" in played.remark
    alone = twin.select([4, 2]).predict(played.frames, np.tile([0.5, -0.5], (30, 1)), np.tile([0.0, 1.0], (30, 1)))
    np.testing.assert_allclose(played.responses, alone, rtol=1e-5)
    names = {"twin": twin}
    monkeypatch.chdir(tmp_path)
    exec(compile(playing.played_code(12), "exported", "exec"), names)
    theirs, ours = (imread(each) for each in (tmp_path / "played.png", io.BytesIO(playing.played_picture("png", 12))))
    assert np.abs(theirs - ours).max() < 2 / 255  # the page has the retina in 256 levels
    np.testing.assert_array_equal(names["frames"], played.frames)
    np.testing.assert_allclose(names["responses"], played.responses, rtol=1e-5)
    np.testing.assert_allclose(names["inner"], played.inner, rtol=1e-5)
    np.testing.assert_array_equal(np.load(io.BytesIO(played.inner_file())), played.inner)
    with pytest.raises(ValueError, match=r"inner has the shape \[2, 3\]; expected \[30, height, width\]"):
        draw_played(played.frames, played.retina, played.responses, played.names, inner=np.zeros((2, 3)))
    assert played.responses.shape == (30, 2) and played.retina.shape == (30, 16, 24)
    assert len(played.csv().splitlines()) == 31
    with pytest.raises(ValueError, match="frame is 30; expected 0 to 29"):
        playing.played_picture("png", 30)


def test_inner_maps(twin, monkeypatch):
    """One channel, or the mean of the absolute values of all, of one stream; what is not there is refused."""
    values = np.random.default_rng(0).normal(size=(5, 4, 2, 3, 6))
    for inner in (InnerMap("core", 2, 3), InnerMap("core", 2)):
        read = inner.read(values)
        np.testing.assert_array_equal(read, eval(inner.code, {"np": np, "inside": {"core": values}}))
    assert color_scale(values)[1] == (-np.abs(values).max(), np.abs(values).max())
    assert color_scale(read)[1] == (0, read.max()) and color_scale(np.zeros((1, 2, 2)))[1] == (0, 1)
    names = map_names(twin.config)
    assert {"feedforward.block0", "recurrent.hidden", "core"} <= set(names) and "retina" not in names
    assert "recurrent.attention" not in names
    monkeypatch.setattr("fnn_jax.explorer.inner.shapes", lambda twin: {"core": (4, 2, 3, 6)})
    for inner, words in (
        (InnerMap("readout"), "the name 'readout'"),
        (InnerMap("core", 9), "the stream 9 of core; expected 0 to 3"),
        (InnerMap("core", 0, -1), "the channel -1 of core; expected 0 to 5"),
    ):
        with pytest.raises(ValueError, match=words):
            inner.check(twin)


def test_whole_numbers_with_gaps(state):
    table = state.table.units
    table["session"] = np.where(np.arange(len(table)) < 3, np.nan, 12)
    assert is_whole(table["session"]) and is_whole(table["unit_id"])
    assert not any(is_whole(table[name]) for name in ("gOSI", "brain_area"))
    assert state.csv().splitlines()[-1].endswith(b",12") and state.csv().splitlines()[1].endswith(b",")


def test_what_cannot_be_played_is_said_and_the_next_is_played(playing, tmp_path):
    core = InnerMap("core", 1)  # as before: nothing is compiled anew
    fine = {"spatial_frequencies": 0.3}  # finer than the pixels of the small monitor
    for name, values, path, words in (
        ("drifting grating", fine, "", "spatial_frequency is 0.3"),
        (VIDEO, {}, "", "No path is given"),
        (VIDEO, {}, str(tmp_path / "none.npy"), "none.npy"),
    ):
        playing.play(name, values, path, Behaviour(), core)
        playing.playing.wait()
        assert words in playing.playing.error
    np.save(tmp_path / "long.npy", np.zeros((200, 18, 32), np.uint8))
    playing.picked = []  # the first ones
    playing.play(VIDEO, {}, str(tmp_path / "long.npy"), Behaviour(), core)
    playing.playing.wait()
    assert len(playing.playing.result.frames) == 150 and "last 50 frames" in playing.playing.result.remark
    assert len(playing.playing.result.names) == 6 and "dropped" not in playing.playing.result.code


def test_a_dropped_file_is_played_as_others_are(playing):
    kept = playing.dropped.keep("noise.npy", b"no array")
    playing.play(VIDEO, {}, kept, Behaviour(), InnerMap("core", 1))
    playing.playing.wait()
    assert "noise.npy" in playing.playing.error
    content = io.BytesIO()
    np.save(content, np.zeros((30, 18, 32), np.uint8))
    assert playing.dropped.keep("folder\\noise.npy", content.getvalue()) == kept  # in its place
    playing.play(VIDEO, {}, kept, Behaviour(), InnerMap("core", 1))
    playing.playing.wait()
    assert playing.playing.error == "" and len(playing.playing.result.frames) == 30
    code = playing.playing.result.code
    assert "# 'noise.npy' was dropped into the page" in code and "stimuli.video(display, 'noise.npy')" in code
    assert kept in playing.dropped and "noise.npy" not in playing.dropped
    for name in ("", ".."):
        with pytest.raises(ValueError, match="expected the name of a file"):
            DroppedFiles().keep(name, b"")
    with pytest.raises(ValueError, match="big.mp4, has 201 MB; expected at most 200"):
        DroppedFiles().keep("big.mp4", bytes(201 * 10**6))
    playing.dropped = DroppedFiles()  # as at the end of the command
    assert not Path(kept).parent.exists()


CURVES = {
    "direction": {"curve": np.ones((8, 5)), "axis/direction": np.arange(8) * 45.0},
    "contrast": {"curve": np.ones((3, 5)), "axis/contrast": np.array([0, 0.5, 1])},
    "surround": {"curve": np.ones((2, 5)), "axis/surround": np.array(["center", "iso"])},
    "frequency": {
        "curve": np.ones((2, 3, 5)),
        "axis/spatial_frequency": np.repeat([0.02, 0.04], 3),
        "axis/temporal_frequency": np.tile([1.0, 2, 4], 2),
    },
    "dots": {name: np.random.default_rng(0).random((5, 6, 8)) for name in ("on", "off", "both")},
    "noise": {"field": np.random.default_rng(1).random((5, 4, 3, 5), np.float32)},
}
TITLES = {
    "direction": ["direction"],
    "contrast": ["contrast"],
    "surround": ["surround"],
    "frequency": ["spatial frequency and temporal frequency, frequency"],
    "dots": ["on, dots", "off, dots"],
    "noise": ["field, noise"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What fnn-jax tune writes of five units, by protocol."""
    folder = tmp_path_factory.mktemp("tuned")
    table = units(5)[["brain_area", "monitor_x", "monitor_y_down"]].assign(
        scan="8-5", readout_id=[9, 8, 7, 6, 5], best_lag=2
    )
    table = table.assign(mu=1.0, phi=0.5, k=2.0, A=1.0, u=0.1)
    for name, arrays in CURVES.items():
        (folder / name).mkdir()
        table.to_parquet(folder / name / "units.parquet")
        pd.DataFrame({"check_px": [4]}).to_csv(folder / name / "conditions.csv")
        np.savez_compressed(folder / name / "arrays.npz", **arrays)
        # the noise has blocks of 4 x 4
        display = Display.in_pixels(6, 8).record() if name == "dots" else Display.in_pixels(12, 20).record()
        (folder / name / "display.json").write_text(json.dumps(display | {"unit": "px" if name == "dots" else "deg"}))
        seal(folder / name)
    return folder


def seal(folder):
    """What ``Result.save`` writes last."""
    names = ("units.parquet", "conditions.csv", "arrays.npz", "display.json")
    write_record(folder / "result.json", {"protocol": "own", "sha256": {n: file_digest(folder / n) for n in names}})


def test_every_protocol_is_drawn_from_its_folder(folders):
    for name in CURVES:
        opened = open_result(folders / name)
        panels = opened.panels(opened.units.iloc[3])
        assert [panel.title for panel in panels] == TITLES[name]
        for panel in panels:
            assert len(draw_panel(panel).axes)
        assert opened.panels(pd.Series({"scan": "8-5", "readout_id": 4})) == []  # a unit of which it says nothing
    labels = {"noise": "x (deg)", "dots": "x (px)"}
    for name, label in labels.items():  # of which one unit is read
        opened = open_result(folders / name)
        assert draw_panel(opened.panels(opened.units.iloc[3])[0]).axes[0].get_xlabel() == label
        array = next(iter(CURVES[name].values()))
        np.testing.assert_array_equal(load_row(folders / name / "arrays.npz", next(iter(CURVES[name])), 3), array[3])
    with pytest.raises(ValueError, match=r"row 5 of the array 'on' cannot be read \(its shape is \[5, 6, 8\]\)"):
        load_row(folders / "dots" / "arrays.npz", "on", 5)
    assert open_result(folders) is None


def test_a_damaged_folder_is_named(folders, tmp_path):
    shutil.copytree(folders / "direction", tmp_path / "direction")
    arrays = tmp_path / "direction" / "arrays.npz"
    objects = np.array([{}], object)
    for damage in (lambda path: path.write_bytes(b"no arrays"), lambda path: np.savez(path, curve=objects)):
        damage(arrays)
        with pytest.raises(
            ValueError, match=r"results has .*missing or damaged.*arrays\.npz differs.* Measure it again"
        ):
            open_result(arrays.parent)
        seal(arrays.parent)
        with pytest.raises(ValueError, match=r"results has .*, of which a file cannot be read .* Measure it again"):
            open_result(arrays.parent)
    (arrays.parent / "result.json").unlink()
    with pytest.raises(ValueError, match=r"result\.json, written last, is not there"):
        open_result(arrays.parent)


def test_two_units_side_by_side(folders, tmp_path, monkeypatch):
    """What is exported is what the lines of Python make; folders are opened once, and both units found in them."""
    state = State(tables.result_table([folders / "direction", folders / "contrast"]))
    comparison = Comparison(state)
    assert comparison.rows == [] and comparison.results() == list(state.table.results)
    assert len(state.table.units) == 5 and set(state.table.units["source"]) == {"direction, contrast"}
    state.picked = [1, 3, 2]
    assert comparison.names == ["8-5 readout 8", "8-5 readout 6"] and comparison.unmeasured() == []
    facts = comparison.facts()
    assert facts["8-5 readout 8"]["brain_area"] == state.table.units["brain_area"][1]
    assert list(facts.columns) == comparison.names and "monitor_x" in facts.index
    titles = [panel.title for panel in comparison.panels()[1]]
    assert titles == ["visual space", "direction", "contrast"]
    monkeypatch.chdir(tmp_path)
    exec(compile(comparison.code(), "exported", "exec"), {})
    assert (tmp_path / "units.png").read_bytes() == comparison.picture("png")
    state.picked = []
    with pytest.raises(ValueError, match="rows has 0 units; expected 1 to 2"):
        comparison.picture("png")


def test_results_beside_the_units_of_a_twin(folders, twin, tmp_path):
    """Each unit once, with columns of each folder, and one page of what all of them know."""
    display = stimuli.Display.of(twin)
    movie = stimuli.flashes(display, levels=(0, 1), on_s=0.1, off_s=0.1)
    Screen(twin, reduce="mean", progress=False)({"flashes": movie.frames}, tmp_path / "screen.zarr")
    of_twin = tmp_path / "direction"
    shutil.copytree(folders / "direction", of_twin)
    units(5).assign(scan=twin.name, readout_id=[4, 1, 2, 3, 90], k=1.0, mu=np.nan).to_parquet(of_twin / "units.parquet")
    seal(of_twin)
    pd.DataFrame({"readout_id": [1, 2], "gOSI": [2.0, 1], "depth": [3, 4]}).to_csv(tmp_path / "mine.csv", index=False)
    twin.save(tmp_path / "twins")
    options = {"random": None, "directory": [str(tmp_path / "twins")], "scan": None}
    paths = [of_twin, tmp_path / "screen.zarr", tmp_path / "mine.csv"]
    table = explore._table(argparse.Namespace(results=paths, **options))
    assert len(table.units) == 7 and "direction (4 of its 5 units), screen.zarr (7 of its 7 units)" in table.title
    row = table.units.loc[1]
    assert row["gOSI (direction)"] != 2 and row["gOSI (mine.csv)"] == 2 and row["depth"] == 3 and row["mean_response"]
    assert table.units["source"].tolist()[:2] == ["screen.zarr", "direction, screen.zarr, mine.csv"]
    assert "brain_area" in table.units and colors_of(table.units["gOSI (direction)"]).limits == (0, 1)
    both = State(table).views["any two columns"]  # one measure of two results
    assert (both.x, both.y) == ("gOSI (direction)", "gOSI (mine.csv)") and len({*limits_of(table.units, both)}) == 1
    pd.testing.assert_frame_equal(run_code(table.code), table.units, check_like=True)
    comparison = Comparison(State(table))
    comparison._state.picked = [1, 5]
    titles = [[panel.title for panel in panels] for panels in comparison.panels()]
    assert titles[0][-1] == "direction" and "direction" not in titles[1]
    assert comparison.unmeasured() == [0]  # the twin is there, too


def test_joined_columns():
    """What agrees is one column, and units of two scans are not mixed up."""
    table = pd.DataFrame(
        {"session": [8, 8, 6], "scan_idx": [5, 5, 4], "readout_id": [1, 2, 1], "area": ["a", None, "c"]}
    )
    one = pd.DataFrame({"scan": "8-5", "readout_id": [2, 1], "OSI": [0.2, 0.1], "area": ["b", "a"]})
    two = pd.DataFrame({"scan": ["6-4"], "target": ["1"], "OSI": 0.3, "area": "d"})
    joined = join_results(table, {"one": one})
    assert joined["OSI"].tolist()[:2] == [0.1, 0.2] and joined["area"].tolist() == ["a", "b", "c"]
    both = join_results(table, {"one": one, "two": two})
    assert both["OSI"].tolist() == [0.1, 0.2, 0.3] and both["source"].tolist() == ["one", "one", "two"]
    assert both["area (two)"].tolist()[2] == "d" and both["area"].tolist()[2] == "c"
    assert place_of(table.loc[2], one) is None and place_of(table.loc[0], one) == 1
    assert join_results(table, {})["source"].tolist() == ["none"] * 3
    alone = join_results(None, {"table": table, "one": one, "two": two})
    assert alone["scan"].tolist() == ["8-5", "8-5", "6-4"] and alone["readout_id"].tolist() == [1, 2, 1]
    assert alone["source"].tolist() == ["table, one", "table, one", "table, two"] and "session" in alone
    for wrong, message in (
        (table.drop(columns="readout_id"), "in different columns"),
        (table.iloc[[0, 0]], "two rows"),
    ):
        with pytest.raises(ValueError, match=message):
            join_results(None, {"one": one, "wrong": wrong})


NOT_TOGETHER = {
    "no identity": ({"gOSI": [0.5]}, "expected readout_id or unit_id"),
    "two rows": ({"readout_id": [1, 1]}, "two rows of readout 1"),
    "two scans": ({"readout_id": [1]}, "expected a column scan"),
    "others": ({"scan": ["4-7"], "readout_id": [1]}, r"none of whose 1 units \(4-7 readout 1, ...\)"),
}


@pytest.mark.parametrize(("columns", "message"), NOT_TOGETHER.values(), ids=NOT_TOGETHER)
def test_results_that_do_not_fit_the_units(columns, message):
    table = pd.DataFrame({"scan": ["8-5", "6-4"], "readout_id": [1, 1]})
    with pytest.raises(ValueError, match=message):
        join_results(table, {"mine": pd.DataFrame(columns)})


def test_folders_of_one_name_and_one_folder_twice(folders, tmp_path):
    other = tmp_path / "direction"
    shutil.copytree(folders / "direction", other)
    found = tables.read_results([other, folders / "direction"])
    assert [each.name for each in found] == [each.opened.name for each in found] == [str(other), found[1].path]
    with pytest.raises(ValueError, match="twice; expected each once"):
        tables.read_results([other, other])


def test_which_row_is_about_a_unit():
    table = pd.DataFrame({"scan": ["8-5", "6-4"], "readout_id": [3, 3], "unit_id": [70, 71]})
    assert place_of(pd.Series({"scan": "6-4", "readout_id": 3}), table) == 1
    assert place_of(pd.Series({"session": 6, "unit_id": 71}), table) == 1
    assert place_of(pd.Series({"target": "3", "response": 1.0}), table) == 0
    assert place_of(pd.Series({"scan": "8-5", "readout_id": 3, "unit_id": 71}), table) is None
    assert place_of(pd.Series({"gOSI": 0.5}), table) is None
    names = [unit_name(each) for each in (table.loc[0], pd.Series({"session": 4, "scan_idx": 7, "unit_id": 5}))]
    assert names == ["8-5 readout 3", "4-7 unit 5"]
    # Of two results one below the other, each lacks the columns of the other.
    below = pd.concat([table, pd.DataFrame({"target": ["3"], "response": 1.0})], ignore_index=True)
    assert place_of(below.loc[2], table) == 0 and unit_name(below.loc[0]) == "8-5 readout 3"


def test_pages_are_drawn_in_the_background(state, monkeypatch):
    """Of two units that are picked one after the other the page of the second is shown; what fails is tried once."""
    go, asked, drawn = threading.Event(), threading.Event(), []

    def draw(panel, width):
        asked.set()
        assert go.wait(60)
        drawn.append(panel.title)
        return b"a picture"

    monkeypatch.setattr(comparing, "_png", lambda panel, width=0: draw(panel, width))
    comparison = Comparison(state)
    state.picked = [3]
    assert comparison.pages() is None
    assert asked.wait(60)
    state.picked = [4]
    assert comparison.pages() is None and comparison.drawing.is_busy
    go.set()
    comparison.drawing.wait()
    pages = comparison.pages()
    assert [len(each) for each in pages.pictures] == [3] and ", [4], " in pages.code and len(drawn) == 4
    monkeypatch.setattr(comparing, "_png", lambda panel, width=0: 1 / 0)
    state.picked = [5]
    for _ in range(2):
        assert comparison.pages() is None
        comparison.drawing.wait()
    assert comparison.drawing.finished == 2 and "division" in comparison.drawing.error
    state.picked = [4]
    assert comparison.pages() is pages


def test_played_responses_are_compared(playing):
    comparison = Comparison(playing)
    playing.picked = []  # the first six
    playing.play("drifting grating", {"directions": 90.0, "on_s": 0.5}, "", Behaviour(), InnerMap("core", 1))
    playing.playing.wait()
    assert len(playing.playing.result.names) == 6
    playing.picked = [4, 3]
    assert "correlation" in comparison.together().title
    assert comparison.unmeasured() == [0] and comparison.results() == []
    playing.picked = [4, 11]  # the same unit by two weights, of which one was played to
    assert comparison.names == ["twin readout 4, one", "twin readout 4, two"] and comparison.unmeasured() == [0, 1]
    assert "correlation" not in comparison.together().title
    assert "measure_direction" not in comparison.code() and ", played, " in comparison.code()
    playing.picked = [6]
    assert comparison.together() is None and "played" not in comparison.code()


@pytest.mark.slow  # it compiles
def test_direction_tuning_is_measured_once_and_kept(twin, own_cache):
    state = State(tables.twin_table([twin, twin], "twins = [twin, twin]\nweights = ['one', 'two']", ["one", "two"]))
    state.picked = [4, 11]  # one unit by two weights, which are the same here
    comparison, said = Comparison(state), []
    comparison.measure()
    comparison.work.wait()
    assert comparison.work.error == ""
    for panels in comparison.panels():  # each has that of its own twin
        assert [panel.title for panel in panels][1:] == ["direction, measured here"]
    assert comparison.unmeasured() == []
    assert "open_result(measure_direction(twins[1]), 'measured here', weights='two')" in comparison.code()
    folder = measure_direction(twin, say=said.append)
    assert said == [] and folder.is_relative_to(own_cache)  # nothing is computed again
    assert Comparison(state).unmeasured() == []  # it is known in the next session
    (folder / "units.parquet").write_bytes(b"damaged")
    again = Comparison(state)
    assert again.unmeasured() == [0, 1]
    again.measure()
    again.work.wait()
    assert again.work.error == "" and again.unmeasured() == []
    curve = np.load(folder / "arrays.npz")["curve"]
    assert curve.shape == (16, 7) and len(tables.result_table([folder]).units) == 7


@pytest.mark.slow  # it compiles
def test_a_synthesised_stimulus_is_drawn(twin, tmp_path):
    synthesize(twin, [4, 1], num_frames=6, burn_in=2, steps=2, progress=False, out=tmp_path / "found")
    opened = open_result(tmp_path / "found")
    titles = ["stimulus, found", "responses to it, found"]
    for unit in ({"scan": "twin", "readout_id": 1}, {"target": 1}):
        assert [panel.title for panel in opened.panels(pd.Series(unit))] == titles
    assert opened.panels(pd.Series({"scan": "twin", "readout_id": 2})) == []
    for panel in opened.panels(pd.Series(unit)):
        assert len(draw_panel(panel).axes)


def test_one_piece_of_work_at_a_time():
    go, work = threading.Event(), Work()
    work.start(lambda say: (say("half"), go.wait(60))[1])
    with pytest.raises(RuntimeError, match="computed already"):
        work.start(lambda say: 2)
    go.set()
    work.wait()
    assert work.result is True and work.finished == 1 and not work.is_busy


def test_every_stimulus_has_its_sliders():
    display = stimuli.Display.of()
    for name in CHOICES:
        assert eval(movie_code(name, {}), {"stimuli": stimuli, "display": display}).num_frames > 0


WRONG = {
    "nothing there": ("none.csv", "where nothing is"),
    "another folder": (".", "a folder without units.parquet or table.csv"),
    "another file": ("notes.txt", "expected a folder of results, .zarr, .csv or .parquet"),
    "no rows": ("empty.csv", "a table without rows"),
}


@pytest.mark.parametrize(("name", "message"), WRONG.values(), ids=WRONG)
def test_results_that_are_none(name, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "empty.csv").write_text("unit_id,gOSI\n")
    assert cli.main(["explore", name, "--no-browser"]) == 1
    assert message in capsys.readouterr().err


def test_without_anything_it_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FNN_JAX_CACHE", str(tmp_path))
    assert cli.main(["explore", "--no-browser"]) == 1
    message = capsys.readouterr().err
    assert "fnn-jax download" in message and "fnn-jax explore --random 100" in message


CONTRADICTIONS = (
    ["--random", "3", "--scan", "8-5"],
    ["--port", "70000"],
)


@pytest.mark.parametrize("arguments", CONTRADICTIONS, ids=" ".join)
def test_command_lines_that_contradict_themselves(arguments, capsys):
    assert cli.main(["explore", *arguments]) == 1
    assert "expected" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:The inplace keyword", "ignore:.*deprecated")  # of Bokeh, of pandas
def test_page_and_server(state):
    """A page follows the state, says errors, and is found only behind its token and only from this computer."""
    pytest.importorskip("panel", reason="Panel is not installed: it is part of the extra 'explore'")
    from fnn_jax.explorer.page import Page
    from fnn_jax.explorer.serving import make_server

    page = Page(state)
    page.brushed(box("unit_x", "unit_y", 0, 500, 0, 500))
    expected = int(state.chosen().sum())
    assert 0 < expected < 300 and len(page.table.value) == expected
    assert page.count.object.startswith(f"**{expected} of 300 units**")
    page.tried(page.brushed)(Brush("no", "unit_y", ((0, 0), (1, 0), (1, 1))))
    assert page.error.visible and "selection names the columns ['no']" in page.error.object
    page.tried(page.brushed)(None)
    assert not page.error.visible and len(page.table.value) == 300
    state.brush(box("unit_x", "unit_y", 0, 500, 0, 500))
    assert len(Page(state).table.value) == expected  # after a reload
    state.brush(None)
    state.picked = [3]
    page.units.show(True)
    assert len(page.units.pages) == 0 and page.units.status.object.startswith("Drawing")
    page.units._comparison.drawing.wait()
    page.units.look()
    assert len(page.units.pages) == 1 and not page.units.status.visible and "brain_<wbr>area" in page.units.facts.object
    state.picked = []
    page._turn.value = 2
    assert page.table.page == 2 and page._turn.end == 20
    page.units.show(True)
    assert len(page.units.pages) == 0 and page.units.status.object.startswith("Click a row")

    hostile = "<img src=x onerror=alert(1)>"
    image = io.BytesIO()
    Image.new("L", (1, 1)).save(image, "png")
    heading, pictures = page.units._page(hostile, [comparing.Picture("map", image.getvalue())])
    assert "<img" not in heading.object and "<img" not in pictures[0].alt_text
    page.tried(lambda event: [][hostile])(None)
    assert page.error.visible and "<" not in page.error.object
    assert markdown.fenced("a = '```'\n").startswith("````python") and "<" not in markdown.went_wrong(hostile)

    server, address = make_server(lambda: page.template, token="secret")
    try:
        server.start()
        assert {socket.getsockname()[0] for socket in server._http._sockets.values()} == {"127.0.0.1"}
        assert address == f"http://localhost:{server.port}/secret"
        statuses = server.io_loop.run_sync(lambda: _statuses(server.port))
    finally:
        server.stop()
    assert statuses == {"/": 404, "/wrong": 404, "/wrong/ws": 404, "/secret": 200}


async def _statuses(port):
    from tornado.httpclient import AsyncHTTPClient

    found = {}
    for path in ("/", "/wrong", "/wrong/ws", "/secret"):
        answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}{path}", raise_error=False, request_timeout=30)
        found[path] = answer.code
        if path == "/secret":
            assert b"fnn_jax explorer" in answer.body and b"googleapis" not in answer.body
    return found


def test_published_tables_and_folders_of_twins(here, twin, tmp_path):
    table = tables.published_table(["8-5"])
    assert {"unit_x", "brain_area", "cc_abs", "session"} <= set(table.units) and len(table.units)
    pd.testing.assert_frame_equal(run_code(table.code), table.units)
    twin.save(tmp_path / "mine")
    twin.save(tmp_path / "other" / "mine")
    paths = [str(tmp_path / name) for name in ("mine", "other/mine")]
    for count in (1, 2):
        options = argparse.Namespace(results=[], random=None, directory=paths[:count], scan=None)
        found = explore._table(options)
        assert len(found.units) == count * twin.num_units
        pd.testing.assert_frame_equal(run_code(found.code), found.units, check_like=True)
    assert found.units["weights"].unique().tolist() == paths and found.twin_numbers.tolist() == [0] * 7 + [1] * 7
    options.directory = paths[:1] * 2
    with pytest.raises(ValueError, match="twice; expected each once"):
        explore._table(options)
