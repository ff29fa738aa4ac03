"""The explorer without a browser: where its table comes from, what is chosen, what is drawn and exported."""

import argparse
import threading

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from fnn_jax import cli, stimuli
from fnn_jax.cli import explore
from fnn_jax.common.figures import FAINT, SIDE_BY_SIDE
from fnn_jax.explorer import tables
from fnn_jax.explorer.background import Work
from fnn_jax.explorer.playing import CHOICES, VIDEO, Behaviour, movie_code
from fnn_jax.explorer.raster import raster
from fnn_jax.explorer.selection import Brush, Selection, box, chosen
from fnn_jax.explorer.state import State
from fnn_jax.explorer.views import Colors, colors_of, limits_of, views_of
from fnn_jax.screen import Screen


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
    together = tables.result_table(paths[1:])
    assert together.units["source"].value_counts().to_dict() == {str(paths[1]): 300, str(paths[2]): 20}
    pd.testing.assert_frame_equal(run_code(together.code), together.units)
    assert tables.result_table(paths[:1]).units["mean_response"].notna().all()


def test_tables_of_twins(twin):
    table = tables.twin_table([twin, twin], "twins = [twin, twin]")
    assert len(table.units) == 14 and {"monitor_x", "monitor_y_down", "readout_id"} <= set(table.units)
    again = run_code(table.code, pd=pd, twin=twin)
    np.testing.assert_array_equal(again["monitor_x"], table.units["monitor_x"])


@pytest.fixture(scope="module")
def playing(twin):
    """The state of an explorer of a twin that has played a grating to two picked units."""
    state = State(tables.twin_table([twin], "twins = [twin]"))
    state.picked = [4, 2]
    state.play("drifting grating", {"directions": 90.0, "on_s": 0.5}, "", Behaviour(0.5, -0.5, 0.0, 1.0))
    state.playing.wait()
    return state


def test_what_is_played_is_what_the_lines_of_python_say(playing, twin):
    played = playing.playing.result
    assert playing.playing.error == "" and played.names == ("twin readout 4", "twin readout 2")
    names = {"twin": twin}
    exec(compile(played.code, "exported", "exec"), names)
    np.testing.assert_array_equal(names["frames"], played.frames)
    np.testing.assert_allclose(names["responses"], played.responses, rtol=1e-5)
    assert played.responses.shape == (30, 2) and played.retina.shape == (30, 16, 24)
    assert len(played.csv().splitlines()) == 31


def test_what_cannot_be_played_is_said_and_the_next_is_played(playing, tmp_path):
    fine = {"spatial_frequencies": 0.3}  # finer than the pixels of the small monitor
    for name, values, path, words in (
        ("drifting grating", fine, "", "spatial_frequency is 0.3"),
        (VIDEO, {}, "", "No path is given"),
        (VIDEO, {}, str(tmp_path / "none.npy"), "none.npy"),
    ):
        playing.play(name, values, path, Behaviour())
        playing.playing.wait()
        assert words in playing.playing.error
    np.save(tmp_path / "long.npy", np.zeros((200, 18, 32), np.uint8))
    playing.picked = []  # the first ones
    playing.play(VIDEO, {}, str(tmp_path / "long.npy"), Behaviour())
    playing.playing.wait()
    assert len(playing.playing.result.frames) == 150 and "last 50 frames" in playing.playing.result.remark
    assert len(playing.playing.result.names) == 6


def test_one_piece_of_work_at_a_time():
    go, work = threading.Event(), Work()
    work.start(lambda say: (say("half"), go.wait())[1])
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
    ["x.csv", "--scan", "8-5"],
    ["--random", "3", "--scan", "8-5"],
    ["--random", "0"],
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
    options = argparse.Namespace(results=[], random=None, directory=str(tmp_path / "mine"), scan=None)
    found = explore._table(options)
    assert len(found.units) == twin.num_units
    assert len(run_code(found.code)) == twin.num_units
