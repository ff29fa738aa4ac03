"""``fnn-jax reproduce``: a small release, and a server on this machine that gives parts of its files, well or badly."""

import dataclasses
import json
import re
import shlex
import shutil

import bucket
import jax
import numpy as np
import pandas as pd
import pytest

from fnn_jax import Twin, cli, microns
from fnn_jax.evaluation import evaluate
from fnn_jax.microns import downloads, ranges, release
from fnn_jax.microns.cache import COLUMNS
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.physiology.protocols import direction_tuning
from fnn_jax.reproduction import (
    alternatives,
    compare_performance,
    compare_readout,
    compare_responses,
    compare_tuning,
    planned,
    reproduce,
)
from fnn_jax.reproduction.comparison import compare, shifted
from fnn_jax.reproduction.published import megabytes, spread
from fnn_jax.reproduction.tables import _same
from fnn_jax.reproduction.tuning import agreement
from fnn_jax.stimuli import Display
from fnn_jax.weights.store import save_network

SCANS = {name: bucket.NUM_UNITS[name] for name in ("4-7", "8-5")}
FILES = {name: file.path for name, file in bucket.REAL.predictions.items()}
FRAMES = 40
FEW = {"num_units": 6, "num_frames": FRAMES, "progress": False}


@pytest.fixture(scope="module")
def made(bucket_folder, tmp_path_factory):
    """A release of two scans, with the responses that the package predicts; and its weights and tables, downloaded."""
    outer = tmp_path_factory.mktemp("reproduce")
    folder = shutil.copytree(bucket_folder, outer / "bucket")
    few = bucket.cut(folder, SCANS, predictions=bucket.REAL.predictions)
    with bucket.Server.serving(folder) as server, pytest.MonkeyPatch.context() as patch:
        few = dataclasses.replace(few, base_url=server.base_url)
        patch.setattr(release, "MICRONS", few)
        microns.download(directory=outer / "cache", properties=list(few.properties), progress=False)
        microns.download(weights="ori-trained", directory=outer / "cache", progress=False)
    (folder / FILES["responses.npy"]).parent.mkdir(parents=True)
    twins = {scan: Twin.load(outer / "cache" / "weights" / "default", scan) for scan in SCANS}
    config = next(iter(twins.values())).config
    size = config.stimulus_height, config.stimulus_width
    stimulus = np.random.default_rng(0).integers(0, 256, (FRAMES + 5, *size), np.uint8)
    np.save(folder / FILES["stimulus.npy"], stimulus)
    np.save(folder / FILES["responses.npy"], predicted(twins.values(), stimulus))
    return few, folder, outer / "cache", twins, stimulus


def predicted(twins, stimulus, **options):
    """The published form: a row for each unit, one scan after the other."""
    rows = [twin.predict(stimulus, progress=False, **options).T for twin in twins]
    return np.ascontiguousarray(np.concatenate(rows))


@pytest.fixture
def published(made, tmp_path, monkeypatch):
    """The server of a copy that may be changed, and its cache, which holds weights and tables."""
    few, folder, cache, _, _ = made
    copy = tmp_path / "served"
    (copy / "digital_twin_properties").parent.mkdir(parents=True)
    shutil.copytree(folder / "digital_twin_properties", copy / "digital_twin_properties")
    monkeypatch.setattr(downloads, "WAITS_S", (0.01,) * 5)
    monkeypatch.setenv("FNN_JAX_CACHE", str(shutil.copytree(cache, tmp_path / "cache")))
    with bucket.Server.serving(copy) as server:
        monkeypatch.setattr(release, "MICRONS", dataclasses.replace(few, base_url=server.base_url))
        yield server


def write(server, responses):
    np.save(server.folder / FILES["responses.npy"], responses)


# --- which rows


@pytest.mark.parametrize(
    ("rows", "units", "requests"), [(20, 6, 300), (20, 20, 3), (9, 50, 4), (1, 1, 1), (8000, 50, 23)]
)
def test_units_are_spread_over_a_scan_in_few_requests(rows, units, requests):
    places = spread(rows, units, requests)
    assert len(set(places)) == len(places) == min(units, rows)
    assert (np.diff(places) > 0).all() and places[0] == 0 and places[-1] < rows
    assert len(ranges.runs(places)) <= min(requests, units)
    assert places[-1] >= rows * (1 - 2 / min(requests, units, rows)) - units


def test_of_the_published_files_a_little_comes():
    sizes = list(bucket.REAL.num_units.values())
    size, requests = megabytes(sizes, 50, 300, 75000)
    assert requests == 299 and size == pytest.approx(106, abs=1)
    assert megabytes(sizes[:1], 50, 300, 75000) == (pytest.approx(0.06), 50)


# --- responses


def test_comparison_of_arrays():
    published = np.tile(np.linspace(1, 2, 10)[:, None], 3).astype(np.float32)
    predicted = published.copy()
    predicted[4:, 1] += 0.02
    predicted[7, 2] = np.nan
    table = compare(predicted, published, 1e-3)
    assert table["first_frame"].tolist()[1:] == [4, 7] and table["first_frame"].isna()[0]
    assert table["largest"][0] == 0 and table["largest"][1] == pytest.approx(0.01, rel=1e-5)
    assert table["correlation"][0] == pytest.approx(1)
    for frames in (-2, 1):
        ours, theirs = shifted(published, np.roll(published, frames, 0), frames)
        np.testing.assert_array_equal(ours, theirs)


def test_responses_are_reproduced(published, tmp_path):
    part = compare_responses(tmp_path / "out", **FEW)
    assert part.passed and part.word == "PASS", part.text()
    assert part.table["scan"].tolist() == ["4-7"] * 6 + ["8-5"] * 6
    assert (part.table["largest"] < 1e-5).all() and part.table["first_frame"].isna().all()
    assert (part.table["correlation"] > 0.99999).all()
    assert "12 units of 2 scans, frames 0 to 39 (1.33 s)" in part.facts["compared"]
    assert part.facts["rows are those of"].startswith("units.csv of the weights")
    responses = [each for each in published.log if each[0] == FILES["responses.npy"]]
    assert len(responses) == 1 + 12 and part.facts["asked for"].startswith("15 requests, 0.")
    published.log.clear()
    again = compare_responses(tmp_path / "out", offline=True, **FEW)
    assert published.log == []
    pd.testing.assert_frame_equal(again.table, part.table)


def disturbed(twin, name="conv"):
    """The same twin, with a weight larger by 1 %: one number of it, or, of the readout, all."""
    network = jax.tree.map(lambda array: array, twin.network)
    if name == "conv":
        weight = network.core.feedforward.blocks[0].convs[0].weight
        values = weight.get_value()
        place = np.unravel_index(np.abs(values).argmax(), values.shape)
        weight.set_value(values.at[place].multiply(1.01))
    else:
        weight = network.readout.feature.weight
        weight.set_value(weight.get_value() * 1.01)
    return Twin(network, twin.units, name=twin.name)


def test_one_weight_disturbed_is_told(made, published):
    _, _, _, twins, stimulus = made
    write(published, predicted([twins["4-7"], disturbed(twins["8-5"])], stimulus))
    part = compare_responses(**FEW)
    first = part.table["first_frame"].min()
    assert not part.passed and part.word == "FAIL" and 0 < part.table["largest"].max() < 1e-3
    assert f"it begins at frame {first} (counted from 0), of scan 8-5" in part.verdict
    assert "Nothing that was tried explains it" in part.verdict and "tensorfloat32" in part.notes[0]
    assert part.table.query("scan == '4-7'")["first_frame"].isna().all()
    figure = part.draw(None)
    assert len(figure.axes) == 4


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("extend", "What fits: default weights, periphery extend."),
        ("ori-trained", "What fits: ori-trained weights, periphery dark."),
        ("late", "What fits: default weights, periphery dark, published responses 1 frame later."),
        ("float16", "What fits: default weights, periphery dark, published responses rounded to float16."),
        ("order", "other units of the scan: 6 of 6 rows belong to others, the row of unit_id "),
        ("clips", "What fits: default weights, periphery dark, state reset with each clip of 10 s."),
        ("readout", "Nothing that was tried explains it."),
    ],
)
def test_what_else_it_may_be(made, published, how, what, monkeypatch):
    _, _, cache, twins, stimulus = made
    store = cache / "weights" / "ori-trained"
    values = np.load(published.folder / FILES["responses.npy"])
    if how == "extend":
        values = predicted(twins.values(), stimulus, periphery="extend")
    elif how == "ori-trained":
        values = predicted([Twin.load(store, scan) for scan in SCANS], stimulus)
    elif how == "late":
        values = np.roll(values, 1, axis=1)
    elif how == "float16":
        values = values.astype(np.float16).astype(np.float32)
    elif how == "clips":
        monkeypatch.setattr(alternatives, "CLIP_FRAMES", 20)
        clips = [predicted(twins.values(), stimulus[start : start + 20]) for start in (0, 20, 40)]
        values = np.ascontiguousarray(np.concatenate(clips, axis=1))
    elif how == "order":
        start = SCANS["4-7"]
        values = np.concatenate([values[:start], np.roll(values[start:], 1, axis=0)])
    else:
        values = predicted([twins["4-7"], disturbed(twins["8-5"], "readout")], stimulus)
    write(published, values)
    part = compare_responses(scans="8-5", **FEW)
    assert not part.passed and what in part.verdict, part.text()
    assert len(part.notes) <= 8 and all(note.startswith(("tried: ", "Products")) for note in part.notes)


def test_published_numbers_that_are_not_finite(published):
    values = np.load(published.folder / FILES["responses.npy"])
    values[:, 7] = np.nan
    write(published, values)
    part = compare_responses(scans="8-5", **FEW)
    assert not part.passed and "6 units have numbers that are not finite; it begins at frame 7" in part.verdict
    assert len(part.draw(None).axes) == 4


def test_other_files_than_expected(made, published, tmp_path):
    """Of another animal, or another release: refused before anything else comes."""
    values = np.load(published.folder / FILES["responses.npy"])
    parts = tmp_path / "cache" / "digital_twin_properties" / "v2" / "responses"
    for wrong in (values[:-3], values.astype(np.float64)):
        write(published, wrong)
        with pytest.raises(DownloadError, match=r"expected \[49, frames\] of float32.*another release"):
            compare_responses(**FEW)
        shutil.rmtree(parts)
    write(published, values[:, :-1])
    with pytest.raises(
        DownloadError, match=r"stimulus.npy is an array \[45, 18, 32\] of uint8; expected \[44, 18, 32\]"
    ):
        compare_responses(**FEW)
    shutil.rmtree(parts)
    write(published, values)
    for options, message in (
        ({"num_frames": 46}, "num_frames is 46; the published stream has 45"),
        ({"num_frames": 1}, "num_frames is 1; expected an integer from 2 on"),
        ({"num_units": 0}, "num_units is 0; expected a positive integer"),
        ({"scans": "1-1"}, r"scans has \['1-1'\]; the published ones are"),
        ({"scans": []}, "scans is empty"),
        ({"tolerance": 0}, "tolerance is 0; expected a number above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_responses(**{**FEW, **options})
    with pytest.raises(DownloadError, match="responses.npy are not here .*Run it once where the network is"):
        compare_responses(offline=True, directory=tmp_path / "empty", **FEW)


def test_a_published_table_of_rows_counts(made, published):
    """Rows in another order, and a table that says so."""
    few, _, _, _, _ = made
    values = np.load(published.folder / FILES["responses.npy"])
    table = pd.read_csv(published.folder / few.properties["anatomy"]["units.csv"].path)[
        ["session", "scan_idx", "unit_id"]
    ]
    backwards = table.sort_values(["session", "scan_idx", "unit_id"])[::-1]
    backwards.to_csv(published.folder / FILES["units.csv"], index=False)
    write(published, np.ascontiguousarray(values[::-1]))
    part = compare_responses(**FEW)
    assert part.passed and part.facts["rows are those of"] == FILES["units.csv"], part.text()
    assert part.table["row"].tolist()[::6] == [29, 0]  # the second scan comes first


# --- readout, and the tables


def test_the_readout_is_the_published_one(published):
    part = compare_readout(progress=False)
    assert part.passed and part.facts["y points"] == "down: -1 is the top row", part.text()
    assert part.table["scan"].tolist() == list(SCANS) and set(part.table["reading"]) == {"monitor, y down"}
    assert (part.table["weights"] == 0).all() and (part.table["largest"] < 1e-5).all()
    assert part.facts["compared"] == "49 units of 2 scans" and len(part.draw(None).axes) == 2
    assert "reading: monitor" not in part.verdict and published.log == []


def replaced(name, change, tmp_path):
    """Another file than was published, put into the folder by hand."""
    group, _, file = name.partition("/")
    path = tmp_path / "cache" / bucket.REAL.properties[group][file].path
    if file.endswith(".npy"):
        np.save(path, change(np.load(path)))
    else:
        change(pd.read_csv(path)).to_csv(path, index=False)
    record = json.loads((tmp_path / "cache" / downloads.CHECKSUMS).read_text())
    record.pop(str(path.relative_to(tmp_path / "cache")))
    (tmp_path / "cache" / downloads.CHECKSUMS).write_text(json.dumps(record))


def test_a_readout_that_is_another_one(made, published, tmp_path):
    _, _, cache, _, _ = made
    replaced("readout/readout_locations.npy", lambda places: places * [1, -1], tmp_path)
    part = compare_readout(progress=False)
    assert not part.passed and part.facts["y points"].startswith("up: -1 is the bottom row"), part.text()
    assert "calls the published ones y down" in part.verdict
    replaced("readout/readout_locations.npy", lambda places: places / 2, tmp_path)
    part = compare_readout(scans="8-5", progress=False)
    assert not part.passed and "agree with no reading of the model's" in part.verdict
    replaced(
        "readout/readout_weights.npy", lambda weights: weights + np.eye(*weights.shape, dtype=np.float32), tmp_path
    )
    part = compare_readout(scans="4-7", progress=False)
    assert "4-7: the published readout weights differ from those of the model, by up to 1" in part.verdict
    other = Twin.load(cache / "weights" / "ori-trained", "4-7").readout_weights()
    swap = lambda weights: np.concatenate([other, weights[len(other) :]])  # noqa: E731
    replaced("readout/readout_weights.npy", swap, tmp_path)
    assert "4-7: the published readout weights are those of the ori-trained" in compare_readout(scans="4-7").verdict


def test_tables_of_another_animal_or_version(made, published, tmp_path, monkeypatch):
    few = release.MICRONS
    table = pd.read_csv(tmp_path / "cache" / few.properties["performance"]["units.csv"].path)
    row = table.query("session == 4 and scan_idx == 7 and unit_id == 3").iloc[0]
    known = {"performance": {("4-7", 3): {"cc_abs": round(float(row["cc_abs"]), 6)}}}
    monkeypatch.setattr(release, "MICRONS", dataclasses.replace(few, known_rows=known))
    part = compare_readout(progress=False)
    assert part.passed and part.facts["known rows"] == "1 of 1 numbers as known"
    replaced("performance/units.csv", lambda table: table.assign(cc_abs=table["cc_abs"] + 0.01), tmp_path)
    part = compare_readout(progress=False)
    assert (
        not part.passed
        and "performance/units.csv has cc_abs" in part.verdict
        and "v1 has other numbers" in part.verdict
    )
    more = pd.DataFrame({"session": 4, "scan_idx": 7, "unit_id": [1001, 1003]})
    replaced("performance/units.csv", lambda table: pd.concat([table, more]), tmp_path)
    with pytest.raises(DownloadError, match="units of 4-7: 22, expected 20: it is of another animal or release"):
        compare_readout(progress=False)
    report = reproduce(["readout", "responses"], tmp_path / "out", **FEW)
    assert [part.word for part in report.parts] == ["NOT DONE", "PASS"] and not report.passed
    assert "of another animal" in report.text() and (tmp_path / "out" / "responses.png").exists()


def test_known_numbers_are_those_of_the_release():
    known = bucket.REAL.known_rows
    assert known["performance"]["4-7", 1] == {"cc_abs": 0.315713, "cc_max": 0.444026, "cc_norm": 0.711024}
    for group, rows in known.items():
        for values in rows.values():
            assert set(values) <= set(COLUMNS[group])
    row = known["performance"]["4-7", 3]
    assert row["cc_norm"] == pytest.approx(row["cc_abs"] / row["cc_max"], abs=2e-6)
    for known, found, same in ((1.25, 1.2549, True), (1.25, 1.256, False), ("LM", "LM", True), (1, 2, False)):
        assert _same(known, found) == same


# --- tuning

SHORT = {"movies": 1, "duration_s": 18.0, "progress": False}


def test_agreement_of_tuning():
    random = np.random.default_rng(0)
    published = pd.DataFrame(random.uniform(0.3, 0.9, (50, 4)), columns=["OSI", "DSI", "gOSI", "gDSI"])
    published["pref_dir"] = random.uniform(0, 360, 50)
    published["pref_ori"] = published["pref_dir"] % 180
    ours = published.add([0.04, 0.06, 0, 0, 0, 0])
    ours["pref_dir"] = (published["pref_dir"] + 355) % 360
    ours["pref_ori"] = ours["pref_dir"] % 180
    published.loc[:9, "gOSI"] = 0.1  # of which preferences say nothing
    published.loc[10:14, "DSI"] = 0.1
    ours.loc[49, "OSI"] = np.nan
    table = agreement(ours.join(published.add_suffix("_published"))).set_index("measure")
    assert table["units"].tolist() == [49, 50, 50, 50, 40, 35]
    assert table.loc[["OSI", "DSI"], "difference"].tolist() == pytest.approx([0.04, 0.06])
    assert table.loc["OSI", "within"] == 1 and table.loc["DSI", "within"] == 0
    assert table.loc[["OSI", "gDSI", "pref_ori", "pref_dir"], "correlation"].min() > 0.9
    for preference in ("pref_ori", "pref_dir"):
        assert table.loc[preference, "difference"] == pytest.approx(5) and table.loc[preference, "within"] == 1
    assert table.loc["OSI", "correlation"] == pytest.approx(1)
    none = agreement(ours.head(0).join(published.add_suffix("_published")))
    assert (none["units"] == 0).all() and none["difference"].isna().all()


@pytest.mark.slow
def test_tuning_beside_the_published_table(made, published, tmp_path, monkeypatch):
    _, _, cache, _, _ = made

    def made_with(weights):
        """A published table, as these weights have it."""
        twin = Twin.load(cache / "weights" / weights, "8-5")
        protocol = direction_tuning(Display.of(twin), movies=1, duration_s=18.0)
        measured = protocol.run(twin, progress=False).table.set_index(["session", "scan_idx", "unit_id"])

        def change(table):
            table = table.set_index(measured.index.names)
            table.loc[measured.index, COLUMNS["tuning"]] = measured[COLUMNS["tuning"]]
            return table.reset_index()

        return change

    replaced("tuning/units.csv", made_with("ori-trained"), tmp_path)
    part = compare_tuning(tmp_path / "out", **SHORT)
    assert part.passed, part.text()
    assert part.table["measure"].tolist() == COLUMNS["tuning"] and part.table["units"][0] == 29
    assert part.facts["compared"] == "29 units of 8-5, ori-trained weights"
    assert "seeds" in part.notes[0] and len(part.draw(None).axes) == 6
    assert (part.table["difference"].dropna() == 0).all()
    replaced("tuning/units.csv", made_with("default"), tmp_path)
    part = compare_tuning(tmp_path / "out", **SHORT)  # responses are kept
    assert not part.passed and "OSI, DSI, gOSI, gDSI are not those published" in part.verdict, part.text()
    assert "the default weights: nearer: these were swapped" in part.notes[2]
    for options, message in (
        ({"duration_s": 5}, "duration_s is 5.0; expected at least"),
        ({"movies": 0}, "movies is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_tuning(**{**SHORT, **options})


# --- performance


def test_performance_beside_the_published_table(made, published, tmp_path):
    _, _, _, twins, _ = made
    twin, recordings = twins["8-5"], tmp_path / "evaluation_data"
    random = np.random.default_rng(0)
    for video in range(2):
        frames = random.integers(0, 256, (30, 18, 32, 1), np.uint8)
        traces = random.standard_normal((3, 2, 30, 2)).astype(np.float32)
        for repeat, (eye, behaviour) in enumerate(traces):
            responses = twin.predict(frames, eye, behaviour) * random.gamma(9, 1 / 9, (30, twin.num_units))
            kinds = {"stimuli": frames, "perspectives": eye, "modulations": behaviour, "units": responses}
            for kind, values in kinds.items():
                path = recordings / kind / f"video{video}" / f"{repeat}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, values)
    measured = evaluate(twin, recordings, progress=False).table
    measured = measured.set_index(["session", "scan_idx", "unit_id"])[COLUMNS["performance"]]

    def change(table, **more):
        table = table.set_index(measured.index.names)
        table.loc[measured.index, COLUMNS["performance"]] = measured
        for column, value in more.items():
            table.loc[measured.index, column] += value
        return table.reset_index()

    replaced("performance/units.csv", change, tmp_path)
    part = compare_performance(recordings, "8-5", tmp_path / "out", progress=False)
    assert part.passed and (part.table["difference"] < 1e-9).all(), part.text()
    assert part.facts["compared"].startswith("29 units of 8-5, 2 videos, 6 repeats") and len(part.draw(None).axes) == 3
    replaced("performance/units.csv", lambda table: change(table, cc_abs=0.01), tmp_path)
    arguments = ["reproduce", "performance", "--data", str(recordings), "-o", str(tmp_path / "out")]
    assert cli.main([*arguments, "--scan", "8-5"]) == 1  # the evaluation is kept
    report = (tmp_path / "out" / "report.txt").read_text()
    assert "performance: FAIL. cc_abs differs, though the recordings are those of the table" in report
    replaced("performance/units.csv", lambda table: change(table, cc_max=0.01), tmp_path)
    part = compare_performance(recordings, "8-5", tmp_path / "out", progress=False)
    assert "cc_max, which is of the recordings alone, differs: they are other recordings" in part.verdict
    with pytest.raises(ValueError, match="data has responses of 29 units, and 4-7 has 20: they are of another scan"):
        compare_performance(recordings, "4-7")


def test_performance_needs_recordings(published, tmp_path, capsys):
    for arguments, message in (
        ([], "performance needs recordings: give --data"),
        (["--data", str(tmp_path / "none"), "--scan", "8-5"], "none is no folder. Give one that holds evaluation data"),
        (["--data", str(tmp_path)], "whose they are: one scan"),
    ):
        assert cli.main(["reproduce", "performance", "-o", str(tmp_path / "out"), *arguments]) == 1
        assert message in capsys.readouterr().err


# --- the verb


def test_the_verb(published, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["reproduce", "responses", "--num-units", "6", "--frames", "40"]
    assert cli.main([*arguments, "--plan"]) == 0
    shown = capsys.readouterr().out
    assert (
        "to download for responses: responses/responses.npy, about 0 MB in 13 requests" in shown
        and "weights" not in shown
    )
    assert "to predict for responses: 80 frames" in shown and not published.log
    assert cli.main([*arguments, "-o", "out"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("to download") < shown.index("responses: PASS") and "written to out" in shown
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"report.txt", "report.html", "responses.csv", "responses.png", "work"}
    text = (tmp_path / "out" / "report.txt").read_text()
    assert text.startswith("fnn-jax reproduce: fnn_jax ") and str(tmp_path) not in text
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/png;base64," in page and '<span class="good">PASS</span>' in page
    assert len(pd.read_csv(tmp_path / "out" / "responses.csv")) == 12
    published.log.clear()
    assert cli.main([*arguments, "-o", "out", "--offline"]) == 0 and not published.log
    assert "to download: nothing" in capsys.readouterr().out
    write(published, np.load(published.folder / FILES["responses.npy"]) + 1)
    shutil.rmtree(tmp_path / "cache" / "digital_twin_properties" / "v2" / "responses")
    assert cli.main([*arguments, "-o", "out", "--scan", "8-5"]) == 1
    assert "responses: FAIL. They differ by up to" in capsys.readouterr().out


def test_what_is_to_come_is_said_first(published, tmp_path, monkeypatch):
    monkeypatch.setattr(release, "MICRONS", bucket.REAL)
    whole = planned(["responses", "readout", "tuning"], directory=tmp_path / "new")
    assert {item.file: round(item.megabytes) for item in whole.items if item.megabytes > 10} == {
        "foundation_model/foundational_model_weights_and_metadata_v1.zip": 222,
        "foundation_model/foundational_model_weights_and_metadata_v1_with_ori_training.zip": 222,
        "readout/readout_weights.npy": 213,
        "responses/responses.npy": 106,
        "responses/stimulus.npy": 11,
    }
    assert whole.frames == {"responses": 3900, "tuning": 7200} and not (tmp_path / "new").exists()
    text = str(whole)
    assert (
        "responses/responses.npy, about 106 MB in 300 requests" in text
        and "MB together, 1.3 to 13 min at 10 to 1 MB a second" in text
    )
    assert re.search(r"3900 frames, [12]\.\d to 8 min on cpu", text) and published.log == []
    with pytest.raises(ValueError, match="expected one of 'responses', 'readout'.*Did you mean 'tuning'"):
        reproduce(["tunings"])


def test_interrupted_it_says_how_to_go_on(published, tmp_path, capsys, monkeypatch):
    arguments = ["reproduce", "responses", "--num-units", "6", "--frames", "40", "-o", str(tmp_path / "out")]
    predict = Twin.predict

    def interrupt(twin, *stimuli, **options):
        if twin.name == "8-5":
            raise KeyboardInterrupt
        return predict(twin, *stimuli, **options)

    monkeypatch.setattr(Twin, "predict", interrupt)
    assert cli.main(arguments) == 130
    error = capsys.readouterr().err
    assert "interrupted. What is done is kept; the same command goes on there:" in error
    assert f"fnn-jax {shlex.join(arguments)}" in error
    asked = len(published.log)
    monkeypatch.setattr(Twin, "predict", lambda twin, *stimuli, **options: predict(twin, *stimuli, **options))
    assert cli.main(arguments) == 0
    assert [name for name in published.requested[asked:] if name != FILES["units.csv"]] == []
    assert len(list((tmp_path / "out" / "work").glob("*.npz"))) == 2


def test_bad_arguments_of_the_verb(published, capsys):
    for arguments, message in (
        (["--scan", "1-1"], "the published ones are"),
        (["--tolerance", "-1"], "tolerance is -1.0"),
        (["--frames", "99"], "the published stream has 45"),
    ):
        assert cli.main(["reproduce", "responses", *arguments]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.released
@pytest.mark.filterwarnings("default")
def test_what_the_released_package_predicts_is_reproduced(tmp_path, monkeypatch):
    """The published architecture and layout, a scan of five units; the stream is predicted by the released package."""
    from fnn_jax.convert.export import released_network, released_package_is_there

    if not released_package_is_there():
        pytest.skip("the released package (github.com/cajal/fnn) is not importable")
    twin = Twin.random(num_units=5)
    units = pd.DataFrame({"session": 8, "scan_idx": 5, "unit_id": [3, 8, 9, 20, 21]}).rename_axis("readout_id")
    store = tmp_path / "cache" / "weights" / "default"
    record = {"weights": "default", "animal_id": bucket.REAL.animal_id}
    save_network(store, twin.network, scan="8-5", units=units.assign(animal_id=bucket.REAL.animal_id), **record)
    units.reset_index().to_csv(store / "units.csv", index=False)
    stimulus = np.random.default_rng(1).integers(0, 256, (25, 144, 256), np.uint8)
    for name in ("stimulus.npy", "responses.npy"):
        (tmp_path / "served" / FILES[name]).parent.mkdir(parents=True, exist_ok=True)
    np.save(tmp_path / "served" / FILES["stimulus.npy"], stimulus)
    theirs = released_network(twin).predict(stimulus)
    np.save(tmp_path / "served" / FILES["responses.npy"], np.ascontiguousarray(theirs.T.astype(np.float32)))
    with bucket.Server.serving(tmp_path / "served") as server:
        only = dataclasses.replace(bucket.REAL, num_units={"8-5": 5}, base_url=server.base_url)
        monkeypatch.setattr(release, "MICRONS", only)
        options = {"num_frames": 25, "directory": tmp_path / "cache", "progress": False}
        part = compare_responses(tmp_path / "out", **options)
        assert part.passed and len(part.table) == 5, part.text()
        np.save(tmp_path / "served" / FILES["responses.npy"], np.ascontiguousarray(theirs.T * 1.001, np.float32))
        shutil.rmtree(tmp_path / "cache" / "digital_twin_properties")
        part = compare_responses(tmp_path / "out", **options)
        assert not part.passed and "it begins at frame 0" in part.verdict, part.text()
