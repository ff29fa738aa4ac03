"""Recordings are read as they are, and refused before anything is computed where they are not what they should be."""

import numpy as np
import pytest
from recordings import SIZE, arrays, write_recording, write_trial

from fnn_jax import cli
from fnn_jax.data import DataError, TrainingData
from fnn_jax.data.report import check
from fnn_jax.data.training import windows_without
from fnn_jax.training import Recipe
from fnn_jax.training.windows import Windows, read_ahead


@pytest.fixture
def folder(tmp_path):
    return write_recording(tmp_path / "training_data")


def edit(folder, kind, trial, change):
    path = folder / kind / f"{trial}.npy"
    np.save(path, change(np.load(path)))


def rewrite(path, change):
    path.write_bytes(change(path.read_bytes()))


def test_what_is_read(folder):
    data = TrainingData(folder)
    assert (data.num_units, data.size) == (5, SIZE)
    assert data.trials["training"].tolist() == [True] * 4 + [False] and set(data.trials["frames"]) == {24}
    read = data.read("trial2", 3, 9)
    for name, array in arrays(seed=2).items():
        np.testing.assert_array_equal(read[name], array[3:9])
    assert repr(data).endswith("4 training and 1 validation trials, 120 frames of 18 x 32, 5 units)")
    assert len(TrainingData(folder, max_items=2).trials) == 2


def test_values(folder):
    edit(folder, "perspectives", "trial1", lambda a: np.where(np.arange(24)[:, None] == 5, np.nan, a))
    edit(folder, "units", "trial3", lambda a: np.where(np.arange(5) == 2, np.nan, a))
    values = TrainingData(folder).values(progress=False)
    assert np.flatnonzero(values.missing["trial1"]).tolist() == [5] and values.missing_responses == 24
    shown = [arrays(seed=i) for i in range(4)]
    shown[1]["perspectives"][5] = np.nan
    shown[3]["units"][:, 2] = np.nan
    eye = np.concatenate([a["perspectives"] for a in shown])
    np.testing.assert_allclose(values.traces["mean"].iloc[:2], np.nanmean(eye, 0), rtol=1e-5)
    np.testing.assert_allclose(values.traces["std"].iloc[:2], np.nanstd(eye, 0), rtol=1e-5)
    np.testing.assert_allclose(values.traces["missing"].iloc[0], 1 / 96)
    np.testing.assert_allclose(values.responses, np.nanmean(np.concatenate([a["units"] for a in shown]), 0), rtol=1e-6)
    before = values.fingerprint
    edit(folder, "stimuli", "trial0", lambda a: a ^ 1)
    assert TrainingData(folder).values(progress=False).fingerprint != before


def test_windows_without_missing_frames():
    missing = np.zeros(12, bool)
    missing[[0, 7]] = True
    starts = [s for s in range(12 - 3 + 1) if not missing[s : s + 3].any()]
    assert windows_without(missing, 3).tolist() == starts
    assert windows_without(np.zeros(3, bool), 3).tolist() == [0] and windows_without(missing[:1], 1).tolist() == []


BAD = {
    "missing": (lambda f: (f / "units" / "trial1.npy").unlink(), r"missing: units/trial1.npy"),
    "renamed": (lambda f: (f / "units" / "trial1.npy").rename(f / "units" / "t1.npy"), r"missing: stimuli/t1.npy"),
    "other file": (lambda f: (f / "units" / "notes.txt").write_text("x"), r"not a .npy file: units/notes.txt"),
    "units": (lambda f: edit(f, "units", "trial2", lambda a: a[:, :4]), r"units of units/trial2.npy: 4, others have 5"),
    "size": (
        lambda f: edit(f, "stimuli", "trial2", lambda a: a[:, :9]),
        r"frame size of stimuli/trial2.npy: \(9, 32\)",
    ),
    "channel": (lambda f: edit(f, "stimuli", "trial0", lambda a: a[..., 0]), r"add the channel axis"),
    "dtype": (lambda f: edit(f, "stimuli", "trial0", lambda a: a / 255), r"float64, expected uint8"),
    "integers": (lambda f: edit(f, "units", "trial0", np.int64), r"int64, expected float32"),
    "frames": (lambda f: edit(f, "modulations", "trial0", lambda a: a[1:]), r"modulations 23, units 24; expected the"),
    "samples": (lambda f: edit(f, "samples", "trial0", lambda a: a + 1), r"samples says 25, the arrays have 24"),
    "flag": (lambda f: edit(f, "training", "trial0", lambda a: np.array(0.3)), r"expected one bool"),
    "object": (
        lambda f: edit(f, "units", "trial0", lambda a: a.astype(object)),
        r"cannot be read: .*/units/trial0.npy",
    ),
    "cut": (lambda f: (f / "units" / "trial0.npy").write_bytes(b"\x93NUMPY"), r"cannot be read: .*/units/trial0.npy"),
    "header": (
        lambda f: rewrite(f / "units" / "trial0.npy", lambda data: data.replace(b"}", b"(")),
        r"cannot be read: .*/units/trial0.npy",
    ),
    "zip": (
        lambda f: rewrite(f / "units" / "trial0.npy", lambda data: b"PK\x03\x04" + data[4:]),
        r"cannot be read: .*/units/trial0.npy",
    ),
    "empty": (lambda f: edit(f, "stimuli", "trial0", lambda a: a[:, :0]), r"stimuli/trial0.npy: \[24, 0, 32, 1\], exp"),
    "all together": (
        lambda f: [
            rewrite(f / kind / f"trial{i}.npy", lambda data: b"")
            for i in range(5)
            for kind in ("units", "samples", "stimuli")
        ],
        r"(?s)cannot be read: .*/units/trial0.npy.*samples/trial1.npy.*cannot be read: ... and 3 more",
    ),
    "no training": (lambda f: [edit(f, "training", f"trial{i}", lambda a: a & False) for i in range(4)], "no training"),
    "infinite": (lambda f: edit(f, "perspectives", "trial0", lambda a: a / 0), "infinite: perspectives/trial0.npy"),
    "negative": (lambda f: edit(f, "units", "trial0", lambda a: a - 1), r"negative: units/trial0.npy"),
    "silent": (
        lambda f: [edit(f, "units", f"trial{i}", lambda a: a * (np.arange(5) != 3)) for i in range(4)],
        r"1 units are 0 or missing in all training trials \(3\)",
    ),
    "no folder": (lambda f: (f / "samples").rename(f / "sample"), "lacks the folders samples"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_bad_recordings(folder, name):
    spoil, message = BAD[name]
    spoil(folder)
    with pytest.raises(DataError, match=message):
        TrainingData(folder).values(progress=False)


def test_the_folder_above_is_pointed_out(folder):
    with pytest.raises(DataError, match=r"Did you mean .*training_data\?"):
        TrainingData(folder.parent)
    (folder / "units" / ".hidden").write_text("")
    assert len(TrainingData(folder).trials) == 5


RECIPE = Recipe(window_frames=10, burn_in=2, batch_size=3, training_batches=7, validation_batches=2)


def test_plans_are_functions_of_seed_and_epoch(folder):
    windows = Windows(TrainingData(folder), RECIPE, progress=False)
    plan = windows.plan(3, True)
    assert plan == windows.plan(3, True) and plan != windows.plan(4, True)
    assert [len(batch) for batch in plan] == [3] * 7
    assert {w.trial for batch in plan for w in batch} <= {f"trial{i}" for i in range(4)}
    assert {w.trial for batch in windows.plan(3, False) for w in batch} == {"trial4"}
    assert windows.plan(3, False) == windows.plan(4, False)
    starts = {w.start for epoch in range(20) for batch in windows.plan(epoch, True) for w in batch}
    assert starts == set(range(15))  # the last one, too
    batch = windows.read(plan[0])
    first = arrays(seed=int(plan[0][0].trial[-1]))
    np.testing.assert_array_equal(batch.stimuli[:, 0], first["stimuli"][plan[0][0].start :][:10])
    np.testing.assert_array_equal(batch.responses[:, 0], first["units"][plan[0][0].start :][:10])
    other = windows.read(plan[0], {0, 2})
    np.testing.assert_array_equal(other.stimuli[:, [0, 2]], batch.stimuli[:, [0, 2]])


def test_missing_behaviour(folder):
    edit(folder, "modulations", "trial1", lambda a: np.where(np.arange(24)[:, None] == 5, np.nan, a))

    def windows(**options):
        return Windows(TrainingData(folder), Recipe(**{**RECIPE.to_dict(), **options}), progress=False)

    mean = windows().read([windows().all()[15]])  # trial1 from frame 0
    assert (mean.behaviour[5] == 0).all() and np.isfinite(mean.behaviour).all()
    dropped = windows(missing="drop")
    assert min(w.start for w in dropped.all() if w.trial == "trial1") == 6
    with pytest.raises(DataError, match=r"behaviour is NaN in 1 trials \(trial1\), and missing is 'error'"):
        windows(missing="error")
    without = windows(without="modulation").read([windows().all()[0]])
    assert (without.behaviour == 0).all() and (without.eye != 0).any()
    assert {w.start for w in windows(window_step=7).all()} == {0, 7, 14}


def test_refused_windows(folder):
    with pytest.raises(DataError, match=r"5 trials have fewer than the 25 frames of a window"):
        Windows(TrainingData(folder), Recipe(window_frames=25), progress=False)
    for trial in range(5):
        edit(folder, "units", f"trial{trial}", lambda a: a * 7)
        edit(folder, "perspectives", f"trial{trial}", lambda a: a + 30)
    with pytest.raises(DataError, match=r"(?s)scale of perspectives, pupil x: mean 3.*scale of units.*accept_scaling"):
        Windows(TrainingData(folder), RECIPE, progress=False)
    Windows(TrainingData(folder), RECIPE, accept_scaling=True, progress=False)


def test_a_trial_may_have_another_length(folder):
    write_trial(folder, "trial9", **arrays(frames=31, seed=9))
    windows = Windows(TrainingData(folder), RECIPE, progress=False)
    assert sum(w.trial == "trial9" for w in windows.all()) == 22


def test_reading_ahead_keeps_the_order_and_passes_errors_on():
    assert list(read_ahead(lambda x: x * x, range(10))) == [x * x for x in range(10)]
    assert list(read_ahead(str, [])) == []
    with pytest.raises(ZeroDivisionError):
        list(read_ahead(lambda x: 1 / (5 - x), list(range(10))))


def test_report(folder, capsys):
    assert cli.main(["data", "check", str(folder.parent), "--window-frames", "20"]) == 0
    shown = capsys.readouterr().out
    assert "windows of 20 frames: 25, of which 25 without missing behaviour" in shown and "no problems" in shown
    edit(folder, "units", "trial0", lambda a: np.where(a > 1, np.nan, a))
    edit(folder, "modulations", "trial0", lambda a: a + 100)
    report = check(folder, progress=False)
    assert any("numbers are missing (NaN)" in line for line in report.lines)
    assert [p.split(": ")[1] for p in report.problems][:1] == ["scale of modulations, pupil radius"]
    assert "5 trials are shorter than a window of 100 frames" in report.problems[-1]
    (folder / "samples" / "trial0.npy").unlink()
    assert cli.main(["data", "check", str(folder)]) == 1
    assert "PROBLEM" in capsys.readouterr().out
    assert cli.main(["data", "check", str(folder / "units")]) == 1
    assert "holds no recording" in capsys.readouterr().err


def test_a_report_lists_everything_that_is_wrong(folder):
    """Problems of each stage at once: names, shapes, flags, values, scales; the other trials are looked at."""
    (folder / "units" / "trial0.npy").unlink()
    edit(folder, "stimuli", "trial1", lambda a: a / 255)
    edit(folder, "samples", "trial2", lambda a: a + 1)
    edit(folder, "units", "trial2", lambda a: a[:, :4])
    edit(folder, "units", "trial3", lambda a: np.where(np.arange(5) == 3, 0, a) - np.float32(0.01))
    edit(folder, "perspectives", "trial3", lambda a: a + 100)
    report = check(folder, 30, progress=False)
    shown = "\n".join(report.problems)
    for text in (
        "missing: units/trial0.npy",
        "dtype of stimuli/trial1.npy: float64, expected uint8",
        "samples says 25, the arrays have 24",
        "units of units/trial2.npy: 4, others have 5",
        "negative: units/trial3.npy",
        "no response: 1 units are 0 or missing in all training trials (3)",
        "scale of perspectives, pupil x",
        "2 trials are shorter than a window of 30 frames",
    ):
        assert text in shown, shown
    assert "1 training and 1 validation trials" in report.lines[0]
    for name in ("units", "samples"):
        for trial in ("trial1", "trial2", "trial3", "trial4"):
            (folder / name / f"{trial}.npy").unlink()
    report = check(folder, progress=False)
    assert report.lines == [f"{folder}: cannot be used"] and len(report.problems) == 9, report.problems


def test_a_report_of_repeats_lists_everything_that_is_wrong(tmp_path):
    folder = tmp_path / "evaluation_data"
    for video in ("a", "b"):
        for number in range(3):
            for kind, array in arrays(seed=number).items():
                (folder / kind / video).mkdir(parents=True, exist_ok=True)
                np.save(folder / kind / video / f"{number}.npy", array if kind != "stimuli" else arrays()[kind])
    assert check(folder, progress=False).problems == []
    (folder / "units" / "a" / "0.npy").unlink()
    edit(folder, "modulations", "a/1", lambda a: a[1:])
    edit(folder, "units", "b/1", lambda a: a - 1)
    (folder / "stimuli" / "notes.txt").write_text("")
    problems = "\n".join(check(folder, progress=False).problems)
    for text in ("a file: stimuli/notes.txt", "missing: units/a/0.npy", "frames of a/1.npy", "negative: units/b/1.npy"):
        assert text in problems, problems
