"""Measures of repeated presentations beside plain loops over units; data sets on disk; the command line."""

import functools
import itertools
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from faulty import FAULTS, inflict
from scipy import stats

from fnn_jax import Twin, cli, evaluation
from fnn_jax.data import DataError, EvaluationData
from fnn_jax.evaluation import Statistics, evaluate

MEASURES = ["cc_abs", "cc_max", "cc_norm", "feve", "fev", "single_trial", "oracle"]


def recorded(units=9, repeats=(5, 3, 4), frames=(40, 25, 31), seed=0, noise=1.0):
    """Predictions and responses, for each video a list of its repeats; the last three units are noise alone."""
    random = np.random.default_rng(seed)
    predictions, responses = [], []
    for count, length in zip(repeats, frames, strict=True):
        signal = random.gamma(2, size=(length, units))
        signal[:, -3:] = 0
        responses.append([signal + noise * random.standard_normal(signal.shape) + 3 for _ in range(count)])
        predictions.append([signal + 0.4 * random.standard_normal(signal.shape) + 3 for _ in range(count)])
    return predictions, responses


def both(*lists, burn_in=0):
    return [evaluation.format_responses(each, burn_in) for each in lists]


def one_unit(p, x):
    """All measures of one unit ``[repeat, frame]`` in a plain way, one number after the other."""
    frames = [t for t in range(x.shape[1]) if np.isfinite(x[:, t]).any()]
    mean = np.array([np.nanmean(x[:, t]) for t in frames])
    times = np.array([np.isfinite(x[:, t]).sum() for t in frames])
    n = np.sqrt((times - 1).sum() / ((times - 1) / times**2).sum())
    total = np.mean([np.var(row[np.isfinite(row)], ddof=1) for row in x])
    with np.errstate(invalid="ignore"):
        cc_max = np.sqrt((n * np.var(mean, ddof=1) - total) / (n - 1) / np.var(mean))
    cc_abs = stats.pearsonr([np.nanmean(p[:, t]) for t in frames], mean)[0]
    pairs = np.array([(p[r, t], x[r, t]) for r in range(len(x)) for t in frames if np.isfinite(x[r, t])])
    noise = np.mean([np.nanvar(x[:, t], ddof=1) for t, k in zip(frames, times, strict=True) if k > 1])
    variance = np.var(pairs[:, 1], ddof=1)
    error = np.mean((pairs[:, 0] - pairs[:, 1]) ** 2)
    oracles = []
    for r in range(len(x)):
        rest = [(x[r, t], np.nanmean(np.delete(x[:, t], r))) for t in frames if np.isfinite(x[r, t])
                and np.isfinite(np.delete(x[:, t], r)).any()]  # fmt: skip
        oracles.append(stats.pearsonr(*zip(*rest, strict=True))[0])
    return {
        "cc_abs": cc_abs,
        "cc_max": cc_max,
        "cc_norm": cc_abs / cc_max,
        "feve": 1 - (error - noise) / (variance - noise) if variance > noise else np.nan,
        "fev": 1 - noise / variance,
        "single_trial": stats.pearsonr(*pairs.T)[0],
        "oracle": np.mean(oracles),
    }


@pytest.mark.parametrize("holes", [0, 0.1])
def test_measures_equal_plain_loops(holes):
    predictions, responses = both(*recorded(), burn_in=3)
    random = np.random.default_rng(1)
    responses[random.random(responses.shape) < holes] = np.nan
    if holes:
        responses[4, :, 10:14] = np.nan  # frames at which a unit was not recorded at all
    expected = pd.DataFrame([one_unit(p, x) for p, x in zip(predictions, responses, strict=True)])
    found = pd.DataFrame(Statistics.of(predictions, responses).measures())
    assert 0 < expected["cc_max"].isna().sum() < 4
    np.testing.assert_allclose(found[MEASURES], expected[MEASURES], rtol=1e-9, atol=1e-12)
    functions = {
        "cc_abs": evaluation.cc_abs(predictions, responses),
        "cc_max": evaluation.cc_max(responses),
        "cc_norm": evaluation.cc_norm(predictions, responses),
        "feve": evaluation.feve(predictions, responses),
        "fev": evaluation.fev(responses),
        "single_trial": evaluation.single_trial_correlation(predictions, responses),
        "oracle": evaluation.oracle(responses),
    }
    for name, values in functions.items():
        np.testing.assert_allclose(values, found[name], rtol=1e-12, err_msg=name)
    assert found["num_frames"].iloc[4] == 87 - 4 * bool(holes)


@pytest.mark.released
@pytest.mark.filterwarnings("default")
def test_the_released_functions_say_the_same():
    released = pytest.importorskip(
        "fnn.evaluate", reason="the released package (github.com/cajal/fnn) is not importable", exc_type=ImportError
    )
    predictions, responses = recorded(units=50, repeats=(10, 8, 9), frames=(60, 60, 60), noise=4)
    ours, theirs = both(predictions, responses, burn_in=10), []
    for lists in (predictions, responses):
        theirs.append(released.format_responses([np.array(video) for video in lists], burnin_frames=10))
    np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_allclose(evaluation.cc_max(ours[1]), released.compute_cc_max(theirs[1]), rtol=1e-9)
    np.testing.assert_allclose(evaluation.cc_abs(*ours), released.compute_cc_abs(*theirs), rtol=1e-9)


def test_shards_add_up_in_any_order():
    predictions, responses = recorded(repeats=(5, 1, 4), seed=2)
    responses[0][2][5:9, 3] = np.nan
    whole = Statistics.of(*both(predictions, responses)).measures()
    shards = [Statistics.of(*both([p], [r])) for p, r in zip(predictions, responses, strict=True)]
    halves = [Statistics.of(*(each[..., part] for each in both(predictions, responses)))
              for part in (slice(30), slice(30, 31), slice(31, None))]  # fmt: skip
    for parts in (shards, shards[::-1], [shards[1], shards[2], shards[0]], halves):
        together = functools.reduce(Statistics.add, parts).measures()
        for name, values in whole.items():
            np.testing.assert_allclose(together[name], values, rtol=1e-10, err_msg=name)
    with pytest.raises(ValueError, match="statistics of 9 and of 8 units cannot be added"):
        shards[0].add(Statistics.of(*(each[:8] for each in both(predictions, responses))))


def test_large_offsets_do_not_cancel():
    predictions, responses = both(*recorded(seed=3))
    near = Statistics.of(predictions, responses).measures()
    parts = [Statistics.of(predictions[..., part] + 1e7, responses[..., part] + 1e7) for part in
             (slice(20), slice(20, None))]  # fmt: skip
    far = parts[0].add(parts[1]).measures()
    for name in MEASURES:
        np.testing.assert_allclose(far[name], near[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_perfect_prediction_reaches_the_ceiling():
    random = np.random.default_rng(4)
    signal = random.gamma(2, size=(30, 1, 3000))
    responses = signal + 3 * random.standard_normal((30, 40, 3000))
    perfect = np.broadcast_to(signal, responses.shape)
    assert np.abs(evaluation.cc_norm(perfect, responses) - 1).max() < 0.02
    assert np.abs(evaluation.feve(perfect, responses) - 1).max() < 0.1
    assert evaluation.single_trial_correlation(perfect, responses).max() < 0.6
    disturbed = perfect + random.standard_normal(signal.shape)
    lower = evaluation.cc_norm(disturbed, responses)
    expected = np.sqrt(2 / 3)  # of the prediction's variance, 2 + 1, so much is signal
    assert np.abs(lower - expected).max() < 0.05
    assert evaluation.feve(disturbed, responses).max() < 0.7
    assert evaluation.feve(perfect + 2, responses).max() < 0 < evaluation.cc_norm(perfect + 2, responses).min()


def test_what_is_not_defined_is_nan():
    predictions, responses = both(*recorded(seed=5))
    responses[0] = 1 / 3  # says nothing
    responses[1] = np.nan  # was not recorded
    responses[2, 1:] = predictions[2, 1:] = np.nan  # once only
    predictions[3] = 0.1
    measures = Statistics.of(predictions, responses).measures()
    table = pd.DataFrame(measures)
    assert table.loc[0, MEASURES].isna().all()
    assert table.loc[1, MEASURES].isna().all() and table["num_frames"][1] == 0
    assert table.loc[2, ["cc_max", "cc_norm", "feve", "fev", "oracle"]].isna().all()
    assert table["cc_abs"][2] == pytest.approx(table["single_trial"][2])
    assert np.isnan(table["cc_abs"][3]) and table["cc_max"][3] > 0
    assert table.loc[4, MEASURES].notna().all() and table["num_repeats"][4] == pytest.approx(
        (5 * 40 + 3 * 25 + 4 * 31) / 96
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluation.format_responses([]), "holds no video"),
        (
            lambda: evaluation.format_responses([[np.ones((5, 2)), np.ones((6, 2))]]),
            "shapes [[5, 2], [6, 2]] in video 0",
        ),
        (lambda: evaluation.format_responses([[np.ones((5, 2))]], 5), "5 frames in video 0, and burnin_frames is 5"),
        (lambda: evaluation.format_responses([[np.ones((5, 2))]], -1), "burnin_frames is -1"),
        (lambda: evaluation.cc_max(np.ones((5, 2))), "the shape [5, 2]; expected [unit, repeat, frame]"),
        (lambda: evaluation.cc_abs(np.ones((5, 2, 3)), np.ones((5, 3, 3))), "responses [5, 3, 3]; expected the same"),
    ],
)
def test_arrays_that_do_not_fit(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


# --- data on disk, and a twin


def write_data(folder, twin, repeats=(3, 2), frames=(26, 21), seed=0):
    """A data set of a twin: its own predictions with noise."""
    random = np.random.default_rng(seed)
    for video, (count, length) in enumerate(zip(repeats, frames, strict=True)):
        shape = (twin.config.stimulus_height, twin.config.stimulus_width, 1)
        stimuli = random.integers(0, 256, (length, *shape), dtype=np.uint8)
        for repeat in range(count):
            eye, behaviour = random.standard_normal((2, length, 2)).astype(np.float32)
            responses = twin.predict(stimuli, eye, behaviour)
            responses = np.abs(responses + 0.2 * responses.std(0) * random.standard_normal(responses.shape))
            arrays = {"stimuli": stimuli, "perspectives": eye, "modulations": behaviour}
            for name, array in {**arrays, "units": responses.astype(np.float32)}.items():
                path = folder / name / f"video{video}" / f"repeat{repeat}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
    return folder


@pytest.fixture(scope="module")
def original(twin, tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data") / "evaluation_data", twin)


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "evaluation_data")


def change(folder, name, function):
    np.save(folder / name, function(np.load(folder / name)))


def by_hand(twin, folder, burn_in, behaviour=True):
    lists = [], []
    for video in sorted((folder / "units").iterdir()):
        parts = [], []
        for path in sorted(video.iterdir()):
            file = path.relative_to(folder / "units")
            names = ("perspectives", "modulations") if behaviour else ()
            traces = [np.nan_to_num(np.load(folder / name / file)) for name in names]
            parts[0].append(twin.predict(np.load(folder / "stimuli" / file), *traces))
            parts[1].append(np.load(path))
        for one, part in zip(lists, parts, strict=True):
            one.append(part)
    return both(*lists, burn_in=burn_in)


@pytest.mark.parametrize("behaviour", [True, False])
def test_evaluate(twin, folder, behaviour):
    change(folder, "units/video0/repeat1.npy", lambda a: np.where(np.arange(a.size).reshape(a.shape) % 31, a, np.nan))
    change(folder, "perspectives/video1/repeat0.npy", lambda a: np.where(a > 1, np.nan, a))
    data = EvaluationData(folder)
    assert data.num_missing > 0 and data.num_missing_responses == 6 and len(data) == 2
    result = evaluate(twin, data, burn_in=4, behaviour=behaviour)
    expected = Statistics.of(*by_hand(twin, folder, 4, behaviour)).measures()
    for name in MEASURES:
        np.testing.assert_allclose(result.table[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert result.table.index.equals(twin.units.index)
    assert len(result.per_video) == 2 * twin.num_units
    alone = evaluate(twin, folder, burn_in=4, behaviour=behaviour, units=[5, 2])
    np.testing.assert_allclose(alone.table[MEASURES], result.table.loc[[5, 2], MEASURES], rtol=1e-4, atol=1e-5)
    selected = evaluate(twin.select([5, 2]), folder, burn_in=4, behaviour=behaviour)
    pd.testing.assert_frame_equal(selected.table, alone.table)
    assert result.settings["missing_behaviour_replaced"] == (data.num_missing if behaviour else 0)


def test_per_video_and_pooled_agree(twin, folder):
    """A data set of one video has the numbers of that video among several."""
    several = evaluate(twin, folder, burn_in=4).per_video
    for name in ("stimuli", "perspectives", "modulations", "units"):
        shutil.rmtree(folder / name / "video0")
    one = evaluate(twin, folder, burn_in=4, batch_size=3)
    rows = several[several["video"] == "video1"].set_index("readout_id")
    np.testing.assert_allclose(one.table[MEASURES], rows[MEASURES], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(one.table[MEASURES], one.per_video[MEASURES])


def test_other_behaviour_predicts_worse(twin, folder):
    """The data are the twin's own predictions with noise: they are near the ceiling, unless behaviour is left out."""
    own, without = (evaluate(twin, folder, burn_in=4, behaviour=behaviour).medians() for behaviour in (True, False))
    assert own["single_trial"] > 0.9 and own["single_trial"] > without["single_trial"] + 0.01


def test_saved_and_loaded(network, folder, tmp_path):
    """Every number as it was; what was changed since is refused by name."""
    units = pd.DataFrame(
        {"session": 8, "scan_idx": 5, "unit_id": np.arange(7) + 3}, pd.RangeIndex(7, name="readout_id")
    )
    for kind in ("stimuli", "perspectives", "modulations", "units"):
        (folder / kind / "video0").rename(folder / kind / "007")
    found = evaluate(Twin(network, units, name="8-5"), folder, burn_in=4)
    found.table.loc[2, "cc_max"] = np.nan
    found.save(tmp_path / "out")
    loaded = evaluation.Evaluation.load(tmp_path / "out")
    pd.testing.assert_frame_equal(loaded.table, found.table, check_exact=True)
    pd.testing.assert_frame_equal(loaded.per_video, found.per_video, check_exact=True)
    assert loaded.settings == found.settings and loaded.statistics is None
    loaded.save(tmp_path / "again")
    for name in ("units.csv", "videos.csv", "settings.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    for name, fault in itertools.product(("units.csv", "videos.csv", "settings.json"), FAULTS):
        damaged = shutil.copytree(tmp_path / "out", tmp_path / f"{fault} {name}")
        inflict(fault, damaged / name, np.random.default_rng(0))
        with pytest.raises(evaluation.EvaluationError) as error:
            evaluation.Evaluation.load(damaged)
        assert str(damaged) in str(error.value) and name in str(error.value)
        assert "Evaluate again" in str(error.value) or (fault, name) == ("delete", "settings.json")


def test_command_line(twin, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    twin.save("weights")
    arguments = ["evaluate", "weights", "evaluation_data", "--burn-in", "4", "-o", "out"]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "EvaluationData(evaluation_data: 2 videos, 5 repeats, 47 frames, 7 units)" in shown and "median" in shown
    names = ["report.html", "settings.json", "summary.pdf", "summary.png", "units.csv", "videos.csv"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    table = pd.read_csv("out/units.csv", index_col="readout_id")
    expected = evaluate(twin, "evaluation_data", burn_in=4)
    np.testing.assert_allclose(table[MEASURES], expected.table[MEASURES], rtol=1e-6)
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["burn_in"] == 4 and settings["fingerprint"] == twin.fingerprint()
    assert settings["videos"]["video0"] == {"repeats": 3, "frames": 26}

    assert cli.main(arguments) == 1 and "exists already and is kept" in capsys.readouterr().err
    assert cli.main([*arguments, "--overwrite", "--no-behaviour", "--units", "4", "1"]) == 0
    assert pd.read_csv("out/units.csv")["readout_id"].tolist() == [4, 1]
    capsys.readouterr()
    for changed, message in (
        ([*arguments[:5], "-o", "evaluation_data", "--overwrite"], "is no folder of an evaluation, with modulations"),
        (["evaluate", "weights", "none"], "none is no folder. Give one that holds evaluation data, DIR/"),
        (["evaluate", "none", "evaluation_data", "-o", "x"], "does not exist. Give a folder of weights"),
        (["evaluate", "weights", "evaluation_data", "-o", "x", "--burn-in", "20"], "video1 (21 frames) of"),
        (
            ["evaluate", "weights", "evaluation_data", "-o", "x", "--units", "7"],
            "units holds 1 that this twin does not",
        ),
    ):
        assert cli.main(changed) == 1
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error, error
    assert not (tmp_path / "x").exists()


def remove(name):
    def damage(folder):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def changed(name, function):
    return lambda folder: change(folder, name, function)


def set_value(value):
    def function(array):
        array[3, 0] = value
        return array

    return function


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (remove("units"), ["lacks the folders units"]),
        (remove("units/video0/repeat1.npy"), ["missing: units/video0/repeat1.npy"]),
        (lambda folder: (folder / "training").mkdir(), ["holds training data (a folder training)"]),
        (lambda folder: (folder / "units" / "a.npy").touch(), ["a file: units/a.npy; expected a folder of repeats"]),
        (lambda folder: (folder / "units" / "video0" / "a.txt").touch(), ["not a .npy file: units/video0/a.txt"]),
        (lambda folder: (folder / "units/video0/repeat0.npy").write_bytes(b"x"), ["cannot be read: ", "units/video0/repeat0.npy: "]),
        (changed("stimuli/video0/repeat0.npy", lambda a: a / 255), ["dtype of stimuli/video0/repeat0.npy: float64, expected uint8"]),
        (
            lambda folder: [
                change(folder, "units/video0/repeat0.npy", lambda a: a[:, 0]),
                change(folder, "modulations/video1/repeat0.npy", lambda a: a[:, :1]),
            ],
            [
                "shape of units/video0/repeat0.npy: [26], expected [frames, units]",
                "shape of modulations/video1/repeat0.npy: [21, 1], expected [frames, 2]",
            ],
        ),
        (changed("units/video0/repeat0.npy", lambda a: a[1:]), ["frames of video0/repeat0.npy: stimuli 26"]),
        (changed("units/video0/repeat0.npy", lambda a: a[:, 1:]), ["units of units/video0/repeat0.npy: 6, others have 7"]),
        (changed("units/video1/repeat0.npy", set_value(np.inf)), ["infinite: units/video1/repeat0.npy: 1 of 147 numbers; expected NaN"]),
        (changed("units/video1/repeat0.npy", set_value(-1)), ["negative: units/video1/repeat0.npy: 1 of 147 responses (down to -1); expected 0 or more"]),
        (changed("modulations/video1/repeat0.npy", set_value(np.inf)), ["infinite: modulations/video1/repeat0.npy: 1 of 42 numbers; expected NaN"]),
    ],
)  # fmt: skip
def test_bad_data_is_refused(folder, damage, messages):
    damage(folder)
    with pytest.raises(DataError) as error:
        EvaluationData(folder)
    for message in messages:
        assert message in str(error.value)


def test_lengths_within_a_video(folder):
    for name in ("stimuli", "perspectives", "modulations", "units"):
        change(folder, f"{name}/video0/repeat2.npy", lambda array: array[:-1])
    with pytest.raises(DataError, match="frames of video0/repeat2.npy: 25, other repeats of the video have 26"):
        EvaluationData(folder)


def test_missing_behaviour(folder):
    change(folder, "modulations/video1/repeat0.npy", set_value(np.nan))
    data = EvaluationData(folder)
    assert (data.num_missing, data.num_behaviour) == (1, 2 * 2 * (3 * 26 + 2 * 21))
    (repeat, _) = data.repeats("video1")
    assert repeat.missing == 1 and repeat.modulations[3, 0] == 0
    with pytest.raises(DataError, match="NaN: modulations/video1/repeat0.npy: 1 of 42 numbers"):
        EvaluationData(folder, missing="error")
    with pytest.raises(ValueError, match="missing is 'zero'; expected one of"):
        EvaluationData(folder, missing="zero")


def test_repeats_of_other_frames_are_said(twin, folder):
    change(folder, "stimuli/video0/repeat1.npy", lambda array: 255 - array)
    with pytest.warns(UserWarning, match="video0/repeat1 show other frames than the first repeat"):
        data = EvaluationData(folder)
    assert data.same_frames == {"video0": False, "video1": True}
    result = evaluate(twin, data, burn_in=4, behaviour=False)
    expected = Statistics.of(*by_hand(twin, folder, 4, behaviour=False)).measures()
    np.testing.assert_allclose(result.table["single_trial"], expected["single_trial"], atol=1e-5)


def test_without_repeats(twin, tmp_path):
    data = write_data(tmp_path / "data", twin, repeats=(1, 1))
    with pytest.warns(UserWarning, match="has one repeat of each video"):
        result = evaluate(twin, data, batch_size=3)
    assert result.table[["cc_max", "cc_norm", "feve", "fev", "oracle"]].isna().all(axis=None)
    assert result.table[["cc_abs", "single_trial"]].notna().all(axis=None)
    result.save(tmp_path / "out")
    assert (tmp_path / "out" / "summary.png").stat().st_size > 1000


def test_a_twin_of_something_else(twin, folder, tmp_path):
    with pytest.raises(
        ValueError, match=r"has 3 units \(readout_id 0 to 2\), and .* responses of 7: they are of another"
    ):
        evaluate(twin.select([0, 1, 2]), folder)
    for name in ("stimuli",):
        for path in (folder / name).rglob("*.npy"):
            np.save(path, np.load(path)[:, 1:])
    with pytest.raises(ValueError, match="has frames of 17 x 32 pixels, and the twin twin sees 18 x 32"):
        evaluate(twin, folder)
    with pytest.raises(TypeError, match="twin is str; expected Twin"):
        evaluate("weights", folder)
    (tmp_path / "evaluation_data_4_7").mkdir()
    with pytest.raises(DataError, match=r"lacks the folders stimuli, .* Did you mean .*evaluation_data"):
        EvaluationData(tmp_path)


def test_figures(tmp_path):
    predictions, responses = both(*recorded(units=60, seed=6))
    table = pd.DataFrame(Statistics.of(predictions, responses).measures())
    figure = evaluation.figures.scatter(table, tmp_path / "scatter.svg")
    (ax,) = figure.axes
    assert ax.get_title() == f"median $CC_{{norm}}$: {np.nanmedian(table['cc_norm']):.2f}"
    line = ax.lines[0].get_xydata()  # where both are equal
    assert (line[:, 0] == line[:, 1]).all() and np.ptp(line) > 0.5
    assert ax.get_ylim()[0] <= table["cc_abs"].min()
    (ax,) = evaluation.figures.histogram(table, "cc_max").axes
    defined = table["cc_max"].count()
    assert sum(bar.get_height() for bar in ax.patches) == defined < 60
    assert ax.get_title().endswith(f"({60 - defined} of 60 undefined)")
    assert len(evaluation.figures.summary(table).axes) == 3
    with pytest.raises(ValueError, match="measure is 'cc'; expected one of 'cc_abs'"):
        evaluation.figures.histogram(table, "cc")


@pytest.mark.slow
def test_several_devices(twin, folder, tmp_path):
    """Each of them takes some repeats; batches are filled up, and what fills them up does not count."""
    twin.save(tmp_path / "weights")
    code = (
        "import jax; from fnn_jax import Twin; from fnn_jax.evaluation import evaluate\n"
        "assert jax.local_device_count() == 2\n"
        "evaluate(Twin.load('weights'), 'evaluation_data', burn_in=4).save('out')"
    )
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    found = pd.read_csv(tmp_path / "out" / "units.csv", index_col="readout_id")
    expected = evaluate(twin, folder, burn_in=4).table
    np.testing.assert_allclose(found[MEASURES], expected[MEASURES], rtol=1e-4, atol=1e-5)


def test_broken_weights_are_said(network, folder):
    import jax

    broken = Twin(jax.tree.map(lambda array: array * np.float32(np.nan), network))
    with (
        pytest.raises(ValueError, match="predictions are not finite"),
        pytest.warns(UserWarning, match="NaN or infinite"),
    ):
        evaluate(broken, folder, burn_in=4)


def test_measures_that_mean_nothing_are_flagged(twin, tmp_path, monkeypatch, capsys):
    """Noise alone: little is explainable; cc_norm above 1 where cc_max is too low by chance."""
    columns = {"cc_norm": [0.5, 1.7, np.nan], "feve": [0.4, -30.0, 4.9], "fev": [0.3, 0.05, 0.15]}
    columns |= {"num_repeats": [6.0] * 3, "num_frames": [270] * 3}
    table = pd.DataFrame(dict.fromkeys(MEASURES, [0.1] * 3) | columns)
    flagged = evaluation.Evaluation(table, table, {"twin": "t"}, None)
    assert flagged.explainable().tolist() == [True, False, False]
    first, second = flagged.remarks()
    assert first.startswith("feve means nothing for 2 of 3 units") and "feve of the 1 above: median 0.400" in first
    assert second.startswith("cc_norm is above 1 for 1 of 3 units") and "(6 and 270 here); compare cc_abs" in second
    high = evaluation.Evaluation(table.assign(feve=[1.4, -30, 4.9]), table, {}, None).remarks()[1]
    assert high.startswith("feve is above 1 for 1 of the 1 units with fev above 0.15: their noise")
    fine = evaluation.Evaluation(table.iloc[:1], table, {"twin": "t"}, None)
    assert fine.remarks() == []
    assert "no unit is left" in evaluation.Evaluation(table.iloc[1:2], table, {}, None).remarks()[0]


def test_the_command_line_says_which_measures_mean_nothing(twin, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    twin.save("weights")
    random = np.random.default_rng(3)
    for file in (tmp_path / "evaluation_data" / "units").rglob("*.npy"):
        np.save(file, random.gamma(1, size=np.load(file).shape).astype(np.float32))
    assert cli.main(["evaluate", "weights", "evaluation_data", "--burn-in", "4", "-o", "out"]) == 0
    shown = capsys.readouterr().out
    assert "feve, fev > 0.15" in shown and "note: feve means nothing for" in shown
