"""Recordings from signals on clocks of their own: times, filter, scales, splits, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from signals import SIZE, session, write_signals

from fnn_jax import cli
from fnn_jax.common.rate import HZ
from fnn_jax.data import DataError, EvaluationData, Signal, Spikes, TrainingData, from_arrays, from_folder
from fnn_jax.data.presentations import Stimulus
from fnn_jax.data.report import check
from fnn_jax.data.resampling import at_frames, counts
from fnn_jax.videos import fit_frames


@pytest.fixture(scope="module")
def given():
    return session()


@pytest.fixture(scope="module")
def recording(given, tmp_path_factory):
    return from_arrays(tmp_path_factory.mktemp("recording") / "out", **given[0], progress=False)


def unscaled(recording, given):
    """Arrays of training trials with the scales undone, and the times of their frames."""
    arguments, _ = given
    table = pd.read_csv(recording / "trials.csv")
    scaling = pd.read_csv(recording / "scaling.csv")
    means = pd.read_csv(recording / "units.csv")["mean_response"].to_numpy()
    for row in table[table["split"] != "repeated"].itertuples():
        arrays = TrainingData(recording / "training_data").read(row.file)
        behaviour = np.concatenate([arrays["perspectives"], arrays["modulations"]], axis=1)
        behaviour = behaviour * scaling["std"].to_numpy() + scaling["mean"].to_numpy()
        times = arguments["stimulus"].times
        times = times[(times > row.start - 0.01) & (times < row.stop - 0.01)]
        yield times, arrays["stimuli"], behaviour, arrays["units"] * means


def test_what_is_written_is_fit_to_train_on(recording):
    report = check(recording, window_frames=40)
    assert not report.problems, report.problems
    data = TrainingData(recording / "training_data")
    assert (data.num_units, data.size, len(data.trials)) == (5, SIZE, 6) and set(data.trials["frames"]) == {60}
    assert data.trials["training"].sum() == 5
    evaluation = EvaluationData(recording / "evaluation_data")
    assert evaluation.videos == {"clip6": ["repeat000", "repeat001"]} and evaluation.same_frames == {"clip6": True}
    values = data.values(progress=False)
    np.testing.assert_allclose(values.traces["mean"], 0, atol=1e-6)
    np.testing.assert_allclose(values.traces["std"], 1, rtol=1e-5)
    np.testing.assert_allclose(values.responses, 1, rtol=1e-5)


def test_every_signal_has_the_times_of_the_frames(recording, given):
    """Each as its function of time says; a signal a frame late would be off by more than is allowed."""
    arguments, truth = given
    for times, stimuli, behaviour, responses in unscaled(recording, given):
        first = np.searchsorted(arguments["stimulus"].times, times[0])
        np.testing.assert_array_equal(stimuli[..., 0], arguments["stimulus"].values[first : first + 60])
        expected = {
            "pupil_position": behaviour[:, :2],
            "pupil_radius": behaviour[:, 2],
            "treadmill_velocity": behaviour[:, 3],
            "responses": responses,
        }
        for name, found in expected.items():
            right, late = truth[name](times), truth[name](times + 1 / HZ)
            allowed = 0.5 * np.abs(late - right).mean()  # half of what a frame makes
            assert np.abs(found - right).mean() < allowed < np.abs(found - late).mean(), name


def test_the_lag_of_responses(given, tmp_path):
    arguments, truth = given
    written = from_arrays(tmp_path / "late", **arguments, response_lag_s=0.5, progress=False)
    for times, _, _, responses in unscaled(written, given):
        np.testing.assert_allclose(responses, truth["responses"](times + 0.5), rtol=0.05)


def test_interpolation_and_averages():
    frames = np.arange(1, 4, 1 / HZ)
    same = np.random.default_rng(0).random((200, 3))
    times = np.arange(200) / HZ
    np.testing.assert_allclose(at_frames(Signal(same, times), times[30:90]), same[30:90], rtol=1e-12)
    slow = np.arange(0, 5, 0.25)
    np.testing.assert_allclose(at_frames(Signal(3 * slow, slow), frames)[:, 0], 3 * frames, rtol=1e-12)
    fast = np.arange(0, 5, 1 / 900)  # of which 30 samples are a frame: 30 Hz is averaged away, 1 Hz is not
    hum = Signal(np.sin(2 * np.pi * 30 * fast) + np.sin(2 * np.pi * fast), fast)
    np.testing.assert_allclose(at_frames(hum, frames)[:, 0], np.sin(2 * np.pi * frames), atol=0.01)
    spikes = Spikes([np.array([1.0, 1.01, 1.04]), np.array([])])
    assert counts(spikes, frames)[:3].tolist() == [[2, 0], [1, 0], [0, 0]]


@pytest.mark.parametrize("rate", [10, 30, 100])
def test_gaps_are_missing_and_nothing_else(rate):
    times = np.arange(0, 10, 1 / rate)
    values = np.stack([np.sin(times), np.cos(times)], axis=1)
    values[(times > 3.01) & (times < 4.99), 0] = np.nan
    values[np.searchsorted(times, 7.0), 1] = np.nan  # one sample: bridged
    frames = np.arange(1, 9, 1 / HZ)
    found = at_frames(Signal(values, times), frames)
    inside = (frames > 3.11) & (frames < 4.89)
    clear = (frames < 2.88) | (frames > 5.12)
    assert np.isnan(found[inside, 0]).all() and not np.isnan(found[clear, 0]).any() and not np.isnan(found[:, 1]).any()
    np.testing.assert_allclose(found[clear, 0], np.sin(frames[clear]), atol=0.01)
    cut = times[(times < 3.01) | (times > 4.99)]  # the same where the samples are not there at all
    found = at_frames(Signal(np.sin(cut), cut), frames)[:, 0]
    assert np.isnan(found[inside]).all() and not np.isnan(found[clear]).any()
    outside = at_frames(Signal(values, times), np.array([-1.0, 5.5, 12.0]))[:, 1]
    assert np.isnan(outside).tolist() == [True, False, True]


def test_lost_eyes_stay_missing(given, tmp_path):
    arguments, _ = given
    values, times = arguments["pupil_position"]
    lost = (times > 8) & (times < 9)
    eye = Signal(np.where(lost[:, None], np.nan, values), times)
    written = from_arrays(tmp_path / "out", **{**arguments, "pupil_position": eye}, progress=False)
    missing = TrainingData(written / "training_data").values(progress=False).missing
    assert 27 <= missing["trial00001"].sum() <= 32 and sum(each.sum() for each in missing.values()) <= 32
    assert not check(written, window_frames=40).problems


def test_other_rates_and_sizes_of_frames(given, tmp_path):
    """Frames at 10 Hz are shown three times as long; those of another size are fitted as videos are."""
    arguments, _ = given
    values, times = arguments["stimulus"]
    slow = Signal(np.repeat(np.repeat(values[::3], 2, axis=1), 2, axis=2), times[::3])
    written = from_arrays(tmp_path / "out", **{**arguments, "stimulus": slow}, progress=False)
    trial = TrainingData(written / "training_data").read("trial00000")["stimuli"][..., 0]
    assert trial.shape == (60, *SIZE)
    np.testing.assert_array_equal(trial[::3], fit_frames(slow.values[:20], size=SIZE).frames)
    same = (trial[1:] == trial[:-1]).all((1, 2))
    assert (same.sum(), (~same).sum()) == (40, 19)


@pytest.mark.parametrize(
    ("times", "stop", "expected"),
    [
        ([1.0], 2.0, [0] * 30),  # it was a single frame
        ([1.0, 1.5], 3.0, [0] * 15 + [1] * 45),  # the last one was as long as the others
        ([1.0, 1.5, 4.0], 3.0, [0] * 15 + [1] * 45),
        ([1.0, 1.1, 1.2], 1.15, [0] * 3 + [1]),
        (1 + np.arange(6) / HZ, 1.2, list(range(6))),
        (1 + np.arange(6) / HZ, 1.5, [*range(6), *[5] * 9]),
        ([*(1 + np.arange(6) / HZ), 1.3], 1.26, [*range(6), 5, 5]),
    ],
)
def test_the_last_frame_stays_until_the_next_one_or_the_stop(times, stop, expected):
    frames = np.arange(len(times), dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    stimulus = Stimulus(Signal(frames, np.array(times)), {}, (2, 2), "crop")
    (trial,) = pd.DataFrame({"start": [1.0], "stop": [stop]}).itertuples()
    shown, at = stimulus.of_trial(trial)
    assert shown[:, 0, 0].tolist() == expected
    np.testing.assert_allclose(at, 1 + np.arange(len(expected)) / HZ)
    with pytest.raises(DataError, match=r"trial 0 stops at 9999.000 s, .* after its last frame"):
        stimulus.of_trial(trial._replace(stop=9999.0))


def test_clips_begin_with_their_trials(given, tmp_path):
    arguments, _ = given
    movies = {f"clip{n}": np.full((90, *SIZE), n * 10, np.uint8) for n in range(7)}
    np.save(tmp_path / "clip0.npy", movies["clip0"] / np.float32(255))
    movies["clip0"] = tmp_path / "clip0.npy"
    written = from_arrays(tmp_path / "out", **{**arguments, "stimulus": movies}, progress=False)
    data, table = TrainingData(written / "training_data"), pd.read_csv(written / "trials.csv")
    for row in table[table["split"] != "repeated"].itertuples():
        stimuli = data.read(row.file)["stimuli"]
        assert stimuli.shape == (60, *SIZE, 1) and set(stimuli.ravel()) == {int(row.clip[4:]) * 10}
    assert not check(written, window_frames=40).problems


def test_spikes_and_planes_are_joined(given, tmp_path):
    arguments, _ = given
    random = np.random.default_rng(3)
    spikes = Spikes([random.uniform(0, 40, 2000), random.uniform(0, 40, 900)])
    units = pd.DataFrame({"area": list("abcdefg"), "x": np.arange(7.0)}).rename_axis("readout_id").iloc[::-1]
    both = {**arguments, "responses": [arguments["responses"], spikes], "units": units}
    written = from_arrays(tmp_path / "out", **both, progress=False)
    table = pd.read_csv(written / "units.csv")
    assert table.columns.tolist() == ["readout_id", "area", "x", "mean_response"] and len(table) == 7
    assert "".join(table["area"]) == "abcdefg"  # rows were taken as they came, and numbered anew
    np.testing.assert_allclose(table["mean_response"][5:], [2000 / 40 / HZ, 900 / 40 / HZ], rtol=0.2)
    trial = pd.read_csv(written / "trials.csv").iloc[0]
    first = TrainingData(written / "training_data").read("trial00000")["units"][:, 5] * table["mean_response"][5]
    inside = (spikes.times[0] >= trial["start"] - 0.001) & (spikes.times[0] < trial["stop"] + 0.001)
    assert abs(first.sum() - inside.sum()) <= 4 and np.allclose(first, np.round(first), atol=1e-5)


def test_splits(given, tmp_path):
    arguments, _ = given

    def splits(name, **changes):
        written = from_arrays(tmp_path / name, **{**arguments, **changes}, progress=False)
        table = pd.read_csv(written / "trials.csv")
        return dict(zip(table["clip"], table["split"], strict=True))

    first = splits("a", validation=0.34, seed=1)
    assert list(first.values()).count("validation") == 2 and first["clip6"] == "repeated"
    assert first == splits("b", validation=0.34, seed=1) and first != splits("c", validation=0.34, seed=2)
    named = splits("d", repeated=["clip0"], validation=0)
    assert named == {"clip0": "repeated", **{f"clip{n}": "training" for n in range(1, 7)}}
    column = ["training"] * 5 + ["validation"] + ["repeated"] * 2
    assert list(splits("e", trials=arguments["trials"].assign(split=column)).values()) == column[:7]


def change(name, **changes):
    return lambda a: {name: a[name]._replace(**{k: f(getattr(a[name], k)) for k, f in changes.items()})}


BAD = {
    "other clock": (change("responses", times=lambda t: t + 1e6), r"times of responses\[0\] run from 1000000.300 .*Their clocks do not overlap"),
    "late stimulus": (change("stimulus", times=lambda t: t + 1e3), r"times of stimulus run from 100.*clocks do not overlap"),
    "part of it": (change("responses", values=lambda v: v[:60], times=lambda t: t[:60]), r"trial 2 .* have no value in it"),
    "backwards": (change("pupil_radius", times=lambda t: t[::-1]), r"times of pupil_radius do not increase"),
    "one less": (change("pupil_radius", times=lambda t: t[1:]), r"expected as many times as rows"),
    "columns": (change("pupil_position", values=lambda v: v[:, :1]), r"pupil_position has the shape .*; expected \[n, 2\]"),
    "objects": (change("responses", values=lambda v: v.astype(object)), r"responses is of the dtype object"),
    "negative": (change("responses", values=lambda v: v - 1), r"responses are negative .*negative = 'zero'"),
    "silent": (change("responses", values=lambda v: v * (np.arange(5) != 3)), r"1 of 5 units are 0 .*\[3\].*drop_silent"),
    "missing": (lambda a: {"pupil_radius": None}, r"pupil_radius is missing.*absent = \['pupil_radius'\]"),
    "constant": (change("treadmill_velocity", values=np.ones_like), r"treadmill_velocity has the mean .*cannot be z-scored"),
    "both": (lambda a: {"absent": ["pupil_radius"]}, r"pupil_radius is given, and absent names it"),
    "absent": (lambda a: {"absent": ["pupil"]}, r"absent is 'pupil'; expected one of"),
    "a pair": (lambda a: {"responses": (1, 2, 3)}, r"expected data.Signal"),
    "no table": (lambda a: {"trials": [1, 2]}, r"trials is \[1, 2\]; expected a pandas table"),
    "columns of trials": (lambda a: {"trials": a["trials"].drop(columns="stop")}, r"lacks the columns stop; it has start, clip"),
    "stop": (lambda a: {"trials": a["trials"].assign(stop=0.0)}, r"row 0 from 5 to 0 s; expected a stop after the start"),
    "no frames": (lambda a: {"trials": pd.concat([a["trials"], pd.DataFrame({"start": [26.0], "stop": [27.0], "clip": ["x"]})])}, r"trial 8 .* has no frames of the stimulus"),
    "clip": (lambda a: {"stimulus": {"clip0": a["stimulus"].values}}, r"stimulus lacks the clips \['clip1'"),
    "frames": (change("stimulus", values=lambda v: v.astype(np.int32)), r"stimulus holds int32; expected uint8"),
    "one frame": (change("stimulus", values=lambda v: v[:, :, 0]), r"stimulus holds the shape"),
    "repeated": (lambda a: {"repeated": ["clip9"]}, r"repeated names clip9; expected clips of trials"),
    "all repeated": (lambda a: {"repeated": [f"clip{n}" for n in range(7)]}, r"No trial is left for training"),
    "lengths": (lambda a: {"trials": a["trials"].assign(stop=a["trials"]["stop"] - np.arange(8) * 0.1)}, r"repeats of the clip clip6 have 39 to 42|clip clip6 have"),
    "units": (lambda a: {"units": pd.DataFrame({"area": ["V1"]})}, r"units has 1 rows, and responses 5 units"),
    "other units": (lambda a: {"units": pd.DataFrame({"readout_id": [0, 1, 2, 3, 7]})}, r"units has readout_id \[0, 1, 2, 3, 7\]; expected each readout_id from 0 to 4 once"),
    "folders": (lambda a: {"trials": a["trials"].assign(clip=[*"ab", "c/d", "c d", *"efgh"])}, r"'c/d' and another name"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_what_is_refused_leaves_nothing(given, name, tmp_path):
    spoil, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=rf"(?s){message}"):
        from_arrays(tmp_path / "out", **{**given[0], **spoil(given[0])}, progress=False)
    assert not list(tmp_path.iterdir())


def test_what_is_asked_for_is_done(given, tmp_path):
    arguments, _ = given
    values, times = arguments["responses"]
    responses = Signal((values - 1.0) * (np.arange(5) != 3), times)
    changes = {"responses": responses, "pupil_radius": None, "absent": ["pupil_radius"]}
    options = {"negative": "zero", "drop_silent": True, "progress": False}
    written = from_arrays(tmp_path / "out", **{**arguments, **changes}, **options)
    report = check(written, window_frames=40)
    assert not report.problems and any("pupil radius is 0 everywhere: taken as not recorded" in x for x in report.lines)
    assert pd.read_csv(written / "units.csv")["readout_id"].tolist() == [0, 1, 2, 3]
    before = (written / "trials.csv").read_text()
    with pytest.raises(FileExistsError):
        from_arrays(written, **arguments, progress=False)
    assert (written / "trials.csv").read_text() == before
    from_arrays(written, **arguments, overwrite=True, progress=False)
    assert len(pd.read_csv(written / "units.csv")) == 5


@pytest.fixture
def folder(given, tmp_path):
    return write_signals(given[0], tmp_path / "signals")


def test_a_folder_of_arrays(folder, recording, tmp_path, capsys):
    command = ["data", "from-arrays", str(folder), "-o", str(tmp_path / "out"), "--size", "18", "32"]
    cli.main(command)  # whose windows of 100 frames are longer than these trials
    assert "written to" in capsys.readouterr().out
    for path in recording.rglob("*.npy"):
        np.testing.assert_array_equal(np.load(path), np.load(tmp_path / "out" / path.relative_to(recording)))
    assert cli.main(command) == 1 and "exists already" in capsys.readouterr().err
    (folder / "pupil_radius.npy").unlink()
    assert cli.main([*command, "--overwrite"]) == 1 and "pupil_radius is missing" in capsys.readouterr().err
    np.save(folder / "responses.npy", np.array([{}], object), allow_pickle=True)
    assert cli.main([*command, "--overwrite"]) == 1 and "expected an array of numbers" in capsys.readouterr().err
    (folder / "responses.npy").unlink()
    with pytest.raises(DataError, match=r"lacks responses.npy; it holds pupil_position.npy"):
        from_folder(folder, tmp_path / "other")
