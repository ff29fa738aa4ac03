"""``fnn-jax reproduce training``: a tiny example recording in the published layout, and a recipe as small."""

import dataclasses
import shutil

import bucket
import numpy as np
import pandas as pd
import pytest
import recordings

from fnn_jax import cli
from fnn_jax.data import DataError
from fnn_jax.microns import release
from fnn_jax.reproduction import Part, Report, compare_training, planned, reproduce, training
from fnn_jax.reproduction.training import beside, judged, recipe_of, recording_in
from fnn_jax.training import Recipe

UNITS = 5
EXAMPLE = dataclasses.replace(bucket.REAL.example, num_units=UNITS)
SMALL = {"window_frames": 20, "burn_in": 4, "batch_size": 1, "training_batches": 2, "validation_batches": 1}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server with the recording."""
    folder = tmp_path / "served"
    recordings.write_recording(folder / EXAMPLE.training, units=UNITS)
    for kind in recordings.arrays():
        for repeat in range(3):
            path = folder / EXAMPLE.evaluation / kind / "video" / f"{repeat}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, recordings.arrays(units=UNITS, seed=0 if kind == "stimuli" else repeat)[kind])
    with bucket.Server.serving(folder) as server:
        few = dataclasses.replace(bucket.REAL, base_url=server.base_url, example=EXAMPLE)
        monkeypatch.setattr(release, "MICRONS", few)
        yield server


@pytest.fixture
def published(served, full_cache, bucket_folder, tmp_path, monkeypatch):
    """Weights are here, too; the released recipe is a small one of three epochs."""
    monkeypatch.setenv("FNN_JAX_CACHE", str(shutil.copytree(full_cache, tmp_path / "cache")))
    small = lambda *arguments: dataclasses.replace(recipe_of(*arguments), **SMALL)  # noqa: E731
    monkeypatch.setattr(training, "recipe_of", small)
    few = bucket.as_release(bucket_folder, served.base_url)
    monkeypatch.setattr(release, "MICRONS", dataclasses.replace(few, example=dataclasses.replace(EXAMPLE, epochs=3)))
    return served


def test_the_released_recipe():
    assert recipe_of(100) == Recipe() and recipe_of(1).warmup_epochs == 0 and recipe_of(20).warmup_epochs == 2
    assert recipe_of(300).warmup_epochs == 10 and recipe_of(5, "bfloat16").precision == "bfloat16"
    for arguments, message in (((0,), "epochs is 0"), ((2, "float8"), "precision is 'float8'")):
        with pytest.raises(ValueError, match=message):
            recipe_of(*arguments)


def metrics_of(best_training, best_validation):
    values = {"training_objective": [1.0, best_training, 0.9], "validation_objective": [best_validation, 0.8, 0.9]}
    return pd.DataFrame({"epoch": [0, 1, 2], **values})


@pytest.mark.parametrize(
    ("ours", "epochs", "passed", "message"),
    [
        ((0.3536, 0.3726, 0.68), 100, True, "are met"),
        ((0.36, 0.38, 0.66), 100, True, "are met"),
        ((0.40, 0.3726, 0.68), 100, False, r"training_objective is 0.4000, and the released one 0.354: worse by 0.046"),
        ((0.354, 0.3726, 0.75), 100, False, r"cc_norm is 0.7500, and the released one 0.68: better by 0.070, and 0.03"),
        ((0.354, 0.3726, np.nan), 100, False, "cc_norm is nan, and the released one 0.68: it is not defined"),
        ((0.354, 0.373, 0.68), 5, None, "After 5 epochs figures are not comparable with the released ones, of 100"),
    ],
)
def test_what_passes(ours, epochs, passed, message):
    cc_norm = pd.Series([ours[2] - 0.1, ours[2], ours[2] + 0.1, np.nan])
    table = beside(metrics_of(*ours[:2]), cc_norm, bucket.REAL.example)
    assert table["measure"].tolist() == ["training_objective", "validation_objective", "cc_norm"]
    assert table["epoch"].tolist() == [1, 0, 2] and table["released"].tolist() == [0.354, 0.373, 0.68]
    np.testing.assert_allclose(table["ours"], ours)
    found, verdict = judged(table, epochs, 100)
    assert found is passed and message in verdict


def test_a_look_is_no_failure():
    table = pd.DataFrame({"measure": ["cc_norm"]})
    look, undone = Part("training", None, "a look", table=table), Part("training", None, "offline")
    assert (look.word, undone.word) == ("NOT COMPARED", "NOT DONE")
    passed = Part("responses", True, "all agrees")
    for parts, failed in (((passed, look), False), ((passed, undone), True), ((Part("x", False, ""),), True)):
        assert Report(parts).failed == failed
    assert not Report((passed, look)).passed


@pytest.mark.slow
def test_the_example_is_trained_on_and_compared(published, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    arguments = ["reproduce", "training", "-o", str(out)]
    assert cli.main([*arguments, "--epochs", "2"]) == 0  # a look
    shown = capsys.readouterr().out
    assert "the example recording (animal 27203), whose size is said when the server has listed it" in shown
    assert "training: NOT COMPARED. After 2 epochs figures are not comparable with the released ones, of 3" in shown
    for name in ("training_objective", "validation_objective", "cc_norm"):
        assert f"  {name} " in shown
    table = pd.read_csv(out / "training.csv")
    assert table["ours"].notna().all() and (out / "training.png").stat().st_size > 10_000
    assert (out / "report.html").read_text().count("NOT COMPARED") >= 2  # as a heading, and in the block of text
    published.log.clear()
    trained = out / "work" / "training-2-float32" / "training" / "training.json"
    before = trained.stat().st_mtime_ns
    assert cli.main([*arguments, "--epochs", "2", "--offline"]) == 0  # all of it is here
    assert published.log == [] and trained.stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(pd.read_csv(out / "training.csv"), table)


def test_a_folder_of_ones_own(served, tmp_path, capsys, monkeypatch):
    whole = tmp_path / "served" / EXAMPLE.training
    for name in ("training_data", "evaluation_data"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        shutil.copytree(whole.with_name(f"{name}_27203_4_7"), tmp_path / "mine" / name)
    found = recording_in(tmp_path / "mine", EXAMPLE)
    assert [path.name for path in found] == ["training_data", "evaluation_data"]
    assert recording_in(whole.parent, EXAMPLE).training == whole
    more = dataclasses.replace(EXAMPLE, num_units=UNITS + 1)
    monkeypatch.setattr(release, "MICRONS", dataclasses.replace(release.MICRONS, example=more))
    with pytest.raises(
        ValueError, match=r"mine/training_data has responses of 5 units, and the example recording .* 6"
    ):
        compare_training(tmp_path / "out", example=tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / "evaluation_data")
    with pytest.raises(DataError, match="mine holds neither evaluation_data_27203_4_7 nor evaluation_data; expected"):
        compare_training(tmp_path / "out", example=tmp_path / "mine")
    arguments = ["reproduce", "training", "-o", str(tmp_path / "out")]
    assert cli.main([*arguments, "--data", str(tmp_path / "none")]) == 1
    assert "none holds neither training_data_27203_4_7" in capsys.readouterr().err
    assert served.log == [] and not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="out is None; expected, for training, a folder"):
        reproduce("training")


def test_the_plan_says_how_long(monkeypatch, capsys):
    monkeypatch.setattr(release, "MICRONS", bucket.REAL)
    text = str(planned("training"))
    assert "to train: 50000 updates: 10 days on two cores of a CPU, 83 min on an NVIDIA H200 with tensorfloat32" in text
    assert "to predict for training: 18000 frames" in text and "about 222 MB together" in text
    assert "example recording" not in str(planned(["training"], example="here", epochs=1))
    assert "to train: 500 updates: 2.4 h on two cores" in str(planned(["training"], example="here", epochs=1))
    assert cli.main(["reproduce", "all", "--plan"]) == 0 and "to train" not in capsys.readouterr().out
    assert cli.main(["reproduce", "all", "--plan", "--epochs", "2"]) == 0
    assert "to train: 1000 updates" in capsys.readouterr().out
