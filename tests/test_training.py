"""Training: what is frozen rests, what is resumed equals what was not interrupted, what cannot work is refused."""

import dataclasses
import html
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from disturbed import damage, disturb, small
from flax import nnx
from recordings import write_recording

from fnn_jax import CheckpointError, Network, Twin, cli, poisson_loss
from fnn_jax.data import DataError, TrainingData
from fnn_jax.demo import random_network
from fnn_jax.model.parameters import parameter_arrays
from fnn_jax.training import Recipe, Training, TrainingError, checkpoints, loop, train
from fnn_jax.training.checkpoints import Checkpoints, Snapshot
from fnn_jax.training.config import read_job
from fnn_jax.training.features import KeptFeatures
from fnn_jax.training.objective import noise_of
from fnn_jax.training.step import Steps, Weights
from fnn_jax.training.windows import Windows
from fnn_jax.weights import checkpoint

RECIPE = Recipe(
    epochs=2,
    warmup_epochs=1,
    training_batches=3,
    validation_batches=2,
    window_frames=8,
    burn_in=2,
    batch_size=2,
    learning_rate=0.3,
    clip=0.1,
)


@pytest.fixture(scope="module")
def start():
    return Twin(disturb(random_network(small(3))), name="foundation", label="random weights")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return TrainingData(write_recording(tmp_path_factory.mktemp("data") / "training_data"))


@pytest.fixture(scope="module")
def trained(data, start, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "out"
    return train(data, out, start, RECIPE, progress=False)


def same(a, b):
    a, b = parameter_arrays(a.network), parameter_arrays(b.network)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_twin_comes_out(trained, data, start):
    assert trained.is_finished and len(trained.metrics) == 2
    columns = ["epoch", "seed", "lr", "training_objective", "validation_objective"]
    assert trained.metrics.columns.tolist() == columns and np.isfinite(trained.metrics.to_numpy()).all()
    np.testing.assert_allclose(trained.metrics["lr"], [0.15, 0.3])
    assert (trained.directory / "objectives.png").stat().st_size > 1000
    report = (trained.directory / "report.html").read_text()
    assert "best validation objective" in report and "Weights: random weights." in report
    assert repr(data).split(":")[0] in html.unescape(report) and "learning_rate" in report
    last, best = trained.twin("last"), trained.twin()
    assert last.num_units == data.num_units and last.label == "random weights"
    assert trained.best_epoch == trained.metrics["validation_objective"].idxmin()
    assert same(last, best) == (trained.best_epoch == 1)
    assert np.isfinite(last.predict(data.read("trial0")["stimuli"])).all()
    before, after = parameter_arrays(start.network), parameter_arrays(last.network)
    new = parameter_arrays(Network(small(data.num_units), rngs=nnx.Rngs(0)))
    moving = ("readout.", "modulation.linear.weight", "perspective.response.", "perspective.monitor.")
    for name, array in after.items():
        if name.startswith(("core.", "modulation.lstm.", "perspective.luminance", "perspective.retina")):
            np.testing.assert_array_equal(array, before[name], err_msg=name)
        if name.startswith(moving):
            assert (array != new[name]).any(), name
    with pytest.raises(CheckpointError, match=r"Did you mean .*best or .*last\?"):
        Twin.load(trained.directory)
    assert last.provenance["source"]["start"]["name"] == "foundation"


def test_called_again_it_is_done(trained, data, start, tmp_path):
    modified = (trained.directory / "metrics.csv").stat().st_mtime_ns
    again = train(data, trained.directory, start, RECIPE, progress=False)
    assert same(again.twin("last"), trained.twin("last"))
    assert (trained.directory / "metrics.csv").stat().st_mtime_ns == modified
    other = dataclasses.replace(RECIPE, learning_rate=0.1)
    with pytest.raises(TrainingError, match=r"holds another training, which is kept \(recipe: there"):
        train(data, trained.directory, start, other, progress=False)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrainingError, match="holds something else, which is kept"):
        train(data, tmp_path, start, RECIPE, progress=False)
    with pytest.raises(TrainingError, match="holds no training"):
        Training(tmp_path)


@pytest.mark.slow
def test_another_optimiser_of_the_caller_is_another_training(data, start, tmp_path):
    """It was taken for the same one before: recorded as one of the caller, whatever it computes."""
    recipe = dataclasses.replace(RECIPE, epochs=1, warmup_epochs=0, training_batches=1, validation_batches=1)
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam asked for it
        train(data, tmp_path, start, recipe, optimizer=optax.adam(1e-3), progress=False)
        again = train(data, tmp_path, start, recipe, optimizer=optax.adam(1e-3), progress=False)
        assert again.is_finished
        with pytest.raises(TrainingError, match="another training, which is kept .optimizer: there .of the caller"):
            train(data, tmp_path, start, recipe, optimizer=optax.adam(1.0), progress=False)


class Stop(Exception):
    pass


@pytest.fixture
def interrupted(monkeypatch):
    """A function that trains, and stops before a given update."""

    def until(update, *arguments, **options):
        whole = Steps.update

        def stop(self, weights, batches, number, stream):
            if number == update:
                raise Stop
            return whole(self, weights, batches, number, stream)

        with monkeypatch.context() as patch:
            patch.setattr(Steps, "update", stop)
            with pytest.raises(Stop):
                train(*arguments, checkpoint_minutes=0, progress=False, **options)

    return until


def test_another_schedule_of_the_caller_is_another_training(data, start, tmp_path, interrupted):
    def optimizer(rates, momentum=None):
        rates = jnp.float32(rates)
        return optax.sgd(lambda count: rates[jnp.minimum(count, 2)], momentum)

    interrupted(0, data, tmp_path, start, RECIPE, optimizer=optimizer([0.1, 0.2, 0.3]))
    interrupted(0, data, tmp_path, start, RECIPE, optimizer=optimizer([0.1, 0.2, 0.3]))
    for other in (optimizer([0.1, 0.2, 0.4]), optimizer([0.1, 0.2, 0.3], 0.9), None):
        with pytest.raises(TrainingError, match="another training, which is kept .optimizer: there .of the caller"):
            train(data, tmp_path, start, RECIPE, optimizer=other, progress=False)


def test_another_table_of_units_is_another_training(data, start, tmp_path, interrupted):
    """It was ignored in a folder that was finished: the twin with the old table came back."""
    units = pd.DataFrame({"area": list("abcde")}).rename_axis("readout_id")
    interrupted(0, data, tmp_path, start, RECIPE, units=units)
    interrupted(0, data, tmp_path, start, RECIPE, units=units.iloc[::-1].reset_index())  # the same, in another order
    for other in (units.assign(area="x"), None):
        with pytest.raises(TrainingError, match="another training, which is kept .units: there"):
            train(data, tmp_path, start, RECIPE, units=other, progress=False)


@pytest.mark.slow
def test_resumed_equals_uninterrupted(trained, data, start, tmp_path, interrupted):
    out = tmp_path / "out"
    for update in (2, 5):
        interrupted(update, data, out, start, RECIPE)
        with pytest.raises(TrainingError, match="is not finished"):
            Training(out).twin()
    resumed = train(data, out, start, RECIPE, progress=False)
    for which in ("best", "last"):
        assert same(resumed.twin(which), trained.twin(which))
    pd.testing.assert_frame_equal(resumed.metrics, trained.metrics)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(trained, data, start, tmp_path, interrupted):
    out = tmp_path / "out"
    interrupted(5, data, out, start, RECIPE)
    found = sorted((out / "checkpoints").iterdir())
    assert [path.name for path in found] == ["update-00000004", "update-00000005"]  # two are kept
    damage(found[1])
    with pytest.warns(UserWarning, match="goes on from an older checkpoint"):
        resumed = train(data, out, start, RECIPE, progress=False)
    assert same(resumed.twin("last"), trained.twin("last"))
    assert not found[1].exists()  # a damaged one is not kept for the day when the last is damaged


def snapshot(update):
    """Of a small training; its checkpoints have files that are large enough to be damaged."""
    weights = {"readout.feature.bias": np.random.default_rng(update).standard_normal(1000, np.float32)}
    return Snapshot(Weights(weights, dict(weights)), weights, update, 1, [0.5], [{"epoch": 0}], 0, "")


@pytest.mark.parametrize("update", [6, 8])
def test_a_damaged_checkpoint_is_replaced(tmp_path, update):
    """By that of the same update, or removed with the next one; it was kept, and warned of each time, before."""
    for number in (3, 6):
        Checkpoints(tmp_path).save(snapshot(number))
    damage(tmp_path / "update-00000006")
    found = Checkpoints(tmp_path)
    with pytest.warns(UserWarning, match="goes on from an older checkpoint") as warned:
        assert found.load(snapshot(0)).update == 3
    assert len(warned) == 1
    found.save(snapshot(update))
    again = Checkpoints(tmp_path)
    assert again.steps() == [3, update]  # the damaged one does not count as one to fall back on
    whole = again.load(snapshot(0))  # and no warning
    np.testing.assert_array_equal(whole.best["readout.feature.bias"], snapshot(update).best["readout.feature.bias"])


def test_what_a_killed_process_left_is_cleared(tmp_path):
    left = tmp_path / "update-00000005.orbax-checkpoint-tmp"
    (left / "state").mkdir(parents=True)
    Checkpoints(tmp_path).save(snapshot(6))
    assert [path.name for path in tmp_path.iterdir()] == ["update-00000006"]


def test_a_damaged_end_is_mended(trained, data, start, tmp_path):
    """Each call warned, and computed the last epoch again, before."""
    out = shutil.copytree(trained.directory, tmp_path / "out")
    last = max((out / "checkpoints").iterdir())
    damage(last)
    with pytest.warns(UserWarning, match="goes on from an older checkpoint") as warned:
        train(data, out, start, RECIPE, progress=False)
    assert len(warned) == 1
    again = train(data, out, start, RECIPE, progress=False)  # and no warning
    assert checkpoint.load(last)[1]["update"] == 6
    pd.testing.assert_frame_equal(again.metrics, trained.metrics)


def test_a_full_disk_is_told_of_the_checkpoint(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(snapshot(3))
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write", full)
        with pytest.raises(
            TrainingError, match=r"update-00000006 cannot be written: the disk is full. Make room and start the same"
        ):
            checkpoints.save(snapshot(6))
    assert checkpoints.steps() == [3] and checkpoints.load(snapshot(0)).update == 3
    checkpoints.save(snapshot(6))
    assert checkpoints.load(snapshot(0)).update == 6


def test_metrics_of_a_damaged_checkpoint_are_refused(trained, tmp_path):
    """Those of the checkpoint before were given, which lacks epochs."""
    out = shutil.copytree(trained.directory, tmp_path / "out")
    last = max((out / "checkpoints").iterdir())
    (last / "_CHECKPOINT_METADATA").write_bytes(b"{")
    with pytest.raises(TrainingError, match=f"last checkpoint .* is damaged: {last}. Start the same training again"):
        _ = Training(out).metrics
    assert "last checkpoint damaged" in repr(Training(out)) and same(Training(out).twin(), trained.twin())


@pytest.mark.slow
def test_no_room_for_a_checkpoint(data, start, tmp_path, monkeypatch):
    usage = checkpoints.shutil.disk_usage
    full = lambda path: usage(path)._replace(free=1000)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.shutil, "disk_usage", full)
        with pytest.raises(TrainingError, match=r"MB are free. Make room and start the same training again"):
            train(data, tmp_path / "out", start, RECIPE, progress=False)

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.checkpoint, "save", fail)
        with pytest.raises(TrainingError, match=r"cannot be written: .*No space left"):
            train(data, tmp_path / "out", start, RECIPE, progress=False)
    assert train(data, tmp_path / "out", start, RECIPE, progress=False).is_finished


@pytest.mark.slow
def test_other_streams_rest(data):
    """Where everything is trained, an update that sees one stream moves nothing of the other."""
    recipe = dataclasses.replace(RECIPE, train=("perspective", "modulation", "core", "readout"))
    steps = Steps({"twin": disturb(random_network(small(5)), seed=1)}, recipe, jax.devices()[:1])
    windows = Windows(data, steps.recipe, progress=False)
    batch = steps.put({"twin": windows.read(windows.plan(0, True)[0])})
    before = jax.tree.map(np.asarray, steps.start())
    after, _ = steps.update(steps.start(), [batch], 0, np.int32(1))
    for name, array in after.trained.items():
        moved = np.asarray(array) != before.trained[name]
        if name.split("/")[-1].startswith(("core.", "modulation.", "readout.feature.")):
            assert moved[1].any() and not moved[0].any(), name
        else:
            assert moved.any(), name


def test_validation_is_the_loss_of_predict(data):
    network = disturb(random_network(small(5)), seed=1)
    steps = Steps({"twin": network}, RECIPE, jax.devices()[:1])
    windows = Windows(data, RECIPE, progress=False)
    batch = windows.read(windows.plan(0, False)[0])
    batch.responses[4, 1, 2] = np.nan
    responses = Twin(network).predict(batch.stimuli, batch.eye, batch.behaviour)
    losses = poisson_loss(jnp.log(responses), batch.responses)[RECIPE.burn_in :]
    ours = steps.validate(steps.start(), steps.put({"twin": batch}))
    np.testing.assert_allclose(ours, np.nanmean(losses), rtol=1e-5)


def test_draws_of_frozen_stages():
    network = random_network(small(5))
    noise = network.init_state(2, jax.random.key(0)).noise
    assert noise_of(noise, ["perspective.monitor.center", "readout.position.mean"]).readout is not None
    frozen = noise_of(noise, ["readout.feature.bias", "perspective.response.logit"])
    assert frozen.perspective is None and frozen.readout is None
    one = jax.random.split(jax.random.key(0), 2)
    np.testing.assert_array_equal(network.init_state(2, one).noise.readout.position, noise.readout.position)


@pytest.fixture(scope="module")
def readout_only():
    return dataclasses.replace(RECIPE, train="readout", window_step=8)


@pytest.fixture(scope="module")
def kept(data, start, readout_only, tmp_path_factory):
    """A folder of features, and a function that reads all features of one."""
    windows = Windows(data, dataclasses.replace(readout_only, keep_features=True), progress=False)

    def read(folder):
        return KeptFeatures(folder, windows, start.network, progress=False).read(windows.all(), None).features

    folder = tmp_path_factory.mktemp("kept") / "twin"
    read(folder)
    return folder, read


DAMAGE = {
    "a bit": ("features.npy", lambda content: content[:-100] + bytes([content[-100] ^ 64]) + content[-99:]),
    "a bit of a hash": ("sha256.npy", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
    "the end is lost": ("features.npy", lambda content: content[:-1000]),
    "the end is zero": ("features.npy", lambda content: content[:-1000] + bytes(1000)),
    "the beginning is zero": ("features.npy", lambda content: bytes(100) + content[100:]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_features_are_computed_again(kept, tmp_path, name):
    """They were trained on, without a word, before."""
    whole, read = kept
    folder = shutil.copytree(whole, tmp_path / "twin")
    file, change = DAMAGE[name]
    (folder / file).write_bytes(change((folder / file).read_bytes()))
    with pytest.warns(UserWarning, match="twin.* damaged, and (is|are) computed again"):
        features = read(folder)
    np.testing.assert_array_equal(features, read(whole))
    np.testing.assert_array_equal(read(folder), features)  # and no warning


def test_features_of_a_damaged_record_are_refused(kept, tmp_path):
    whole, read = kept
    folder = shutil.copytree(whole, tmp_path / "twin")
    record = folder / "features.json"
    record.write_text(record.read_text().replace('"mean"', '"drop"'))
    with pytest.raises(TrainingError, match="features.json is damaged"):
        read(folder)


@pytest.mark.slow
def test_kept_features_change_nothing(data, start, readout_only, tmp_path):
    without = train(data, tmp_path / "without", start, readout_only, progress=False)
    recipe = dataclasses.replace(readout_only, keep_features=True)
    kept = train(data, tmp_path / "kept", start, recipe, progress=False)
    pd.testing.assert_frame_equal(kept.metrics, without.metrics, rtol=1e-5)
    for name, array in parameter_arrays(without.twin("last").network).items():
        np.testing.assert_allclose(parameter_arrays(kept.twin("last").network)[name], array, rtol=2e-4, atol=1e-5)
    shape = json.loads((tmp_path / "kept" / "features" / "twin" / "features.json").read_text())["shape"]
    assert shape[:3] == [15, 2, 8]
    with pytest.raises(ValueError, match=r"keep_features is set, and train is"):
        dataclasses.replace(recipe, train="perspective")


@pytest.mark.slow
def test_gradients_are_averaged(data, readout_only):
    """Two equal batches give the update of one, where nothing is drawn at random."""
    network = disturb(random_network(small(5)), seed=1)
    recipe = dataclasses.replace(readout_only, train="readout.feature", sample_stream=False)
    steps = Steps({"twin": network}, recipe, jax.devices()[:1])
    windows = Windows(data, recipe, progress=False)
    batch = steps.put({"twin": windows.read(windows.plan(0, True)[0])})
    once, _ = steps.update(steps.start(), [batch], 0, None)
    twice, objectives = steps.update(steps.start(), [batch, batch], 0, None)
    assert objectives[0] == objectives[1]
    for name, array in once.trained.items():
        np.testing.assert_allclose(twice.trained[name], array, rtol=1e-6)


@pytest.mark.slow
def test_several_scans_share_a_core(data, tmp_path):
    """From scratch, without the eye; each scan has its own readout, and the core is one."""
    other = TrainingData(write_recording(tmp_path / "other", units=4))
    recipe = dataclasses.replace(
        RECIPE, train=("core", "modulation", "perspective", "readout"), without="perspective", patience=1
    )
    config = dataclasses.replace(small(1), num_streams=3)
    training = train({"4-7": data, "b": other}, tmp_path / "out", None, recipe, config=config, progress=False)
    twins = {scan: training.twin("last", scan) for scan in ("4-7", "b")}
    assert {scan: twin.num_units for scan, twin in twins.items()} == {"4-7": 5, "b": 4}
    first, second = (parameter_arrays(twin.network) for twin in twins.values())
    assert all(np.array_equal(first[name], second[name]) for name in first if name.startswith("core."))
    assert (first["perspective.monitor.center"] != second["perspective.monitor.center"]).any()
    assert (first["perspective.eye.layers.0.weight"] == 0).all()  # the twin will not look at the eye, either
    assert first["readout.feature.weight"].shape[0] == 3


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [None, optax.sgd(0.1)])
def test_what_belongs_to_a_scan_moves_as_it_does_alone(data, optimizer):
    """With an optimiser of optax it moved half as far beside a second scan."""
    recipe = dataclasses.replace(RECIPE, train=("readout.feature.bias",), sample_stream=False, clip=100.0)
    network = random_network(small(data.num_units))
    windows = Windows(data, recipe, False, False)
    batch = windows.read(windows.plan(0, True)[0])
    moved = []
    for scans in (["a"], ["a", "b"]):
        steps = Steps(dict.fromkeys(scans, network), recipe, jax.devices()[:1], optimizer)
        weights = steps.start()
        before = np.asarray(weights.trained["a/readout.feature.bias"])
        weights, _ = steps.update(weights, [steps.put(dict.fromkeys(scans, batch))], 0, None)
        moved.append(np.asarray(weights.trained["a/readout.feature.bias"]) - before)
    assert np.abs(moved[0]).max() > 0
    np.testing.assert_allclose(moved[1], moved[0], rtol=0.3)  # the draws of monitors and positions differ


@pytest.mark.slow
def test_not_a_number(data, start, tmp_path):
    recipe = dataclasses.replace(RECIPE, learning_rate=1e30, optimizer="sgd")
    with pytest.raises(
        TrainingError, match=r"is no longer a number at batch \d of epoch \d \(twin: trial\d from frame"
    ):
        train(data, tmp_path / "out", start, recipe, progress=False)


def test_refused(data, start, tmp_path, trained):
    with pytest.raises(DataError, match=r"has frames of 18 x 32 pixels; the network reads 144 x 256"):
        train(data, tmp_path, None, RECIPE)
    with pytest.raises(
        ValueError, match=r"train names 'redout'; expected parts of the network: core, core.feedforward"
    ):
        train(data, tmp_path / "a", start, dataclasses.replace(RECIPE, train="redout"), progress=False)
    with pytest.raises(ValueError, match=r"transfer names readout.feature.bias, \[2, 3\] in Twin\(foundation"):
        train(data, tmp_path / "a", start, dataclasses.replace(RECIPE, transfer=("readout",)), progress=False)
    with pytest.raises(ValueError, match=r"units has 3 rows, and .* has 5 units"):
        train(data, tmp_path / "a", start, RECIPE, units=start.units)
    levels = pd.DataFrame({"session": 4, "unit_id": range(5), "area": "V1"}).set_index(["session", "unit_id"])
    with pytest.raises(ValueError, match=r"an index of its own \(session, unit_id\) and no readout_id"):
        train(data, tmp_path / "a", start, RECIPE, units=levels)  # it failed after the last epoch
    with pytest.raises(ValueError, match="devices holds a device more than once"):
        train(data, tmp_path / "a", start, RECIPE, devices=jax.devices()[:1] * 3)
    with pytest.raises(ValueError, match="batch_size is 2, for 3 devices"):
        loop._devices(jax.devices()[:1] * 3, RECIPE.batch_size)
    with pytest.raises(ValueError, match="which is 'first'"):
        trained.twin("first")
    with pytest.raises(ValueError, match="optimizer is 'adma'"):
        train(data, tmp_path / "a", start, dataclasses.replace(RECIPE, optimizer="adma"), progress=False)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"learning_rat": 1}, r"has the entry 'learning_rat'; expected .* Did you mean learning_rate\?"),
        ({"epochs": 0}, "epochs is 0; expected a positive integer"),
        ({"momentum": 1}, "momentum is 1; expected a number from 0 on, below 1"),
        ({"burn_in": 100}, "burn_in is 100; expected fewer than the 100 frames"),
        ({"warmup_epochs": 100}, "warmup_epochs is 100; expected fewer than the 100 epochs"),
        ({"missing": "drp"}, r"missing is 'drp'; expected one of 'mean', 'drop', 'error'. Did you mean 'drop'\?"),
        ({"precision": "half"}, "precision is 'half'"),
        ({"accumulate": 3}, "accumulate is 3; expected a divisor of 500"),
        ({"patience": 3, "validation_batches": 0}, "there is nothing to judge by"),
        ({"without": ["core"]}, "without is 'core'; expected one of 'perspective', 'modulation'"),
        ({"sample_stream": "yes"}, "expected True or False"),
        ({"train": []}, "train names nothing"),
    ],
)
def test_bad_recipes(entry, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Recipe.from_dict(entry)


RELEASED = """
data-source:
  foundation-core: {session: 4, scan_idx: 7, directory: params}
  training: {directory: training_data, max_items: 10}
  evaluation: {directory: /elsewhere/evaluation_data}
scheduler: {cycle_size: 100, warmup_epochs: 10, warmup_cycles: 1}
optimizer: {lr: 0.1, decay: 1e-4, momentum: 0.9, nesterov: true, clip: 0.01, eps: 0.001, seed: 0}
loader: {sample_size: 100, batch_size: 4, training_size: 500, validation_size: 20}
objective: {sample_stream: true, burnin_frames: 10}
save-state: {directory: results, state_dict: a.pth, metrics_csv: metrics.csv, metrics_tensor: metrics.pt}
"""


def test_released_config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(RELEASED)
    job = read_job(path)
    assert job.recipe == Recipe()
    assert job.start == {"directory": str(tmp_path / "params"), "scan": "4-7"}
    assert job.training == {"twin": tmp_path / "training_data"} and job.max_items == 10
    assert (job.out, job.state_dict, str(job.evaluation)) == (
        tmp_path / "results",
        "a.pth",
        "/elsewhere/evaluation_data",
    )
    path.write_text(RELEASED.replace("cycle_size", "cycle_sise"))
    with pytest.raises(ValueError, match=r"scheduler, has the entry 'cycle_sise'; .* Did you mean cycle_size\?"):
        read_job(path)
    path.write_text("optimizer: [")
    with pytest.raises(ValueError, match="is no YAML"):
        read_job(path)


def test_command_line(data, start, trained, tmp_path, capsys):
    start.save(tmp_path / "foundation")
    recipe = "\n".join(f"{k} = {json.dumps(v)}" for k, v in RECIPE.to_dict().items() if v is not None and k != "epochs")
    config = tmp_path / "config.toml"
    text = (
        f'out = "out"\n[data]\ntraining = "{data.directory}"\n[start]\ndirectory = "foundation"\n[recipe]\n{recipe}\n'
    )
    config.write_text(text)
    command = ["train", str(config), "--set", "epochs=2"]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert "4 training and 1 validation trials" in shown and f"best epoch: {trained.best_epoch}" in shown
    assert cli.main([*command, "learning_rat=3"]) == 1
    assert "Did you mean learning_rate?" in capsys.readouterr().err
    for wrong, message in (
        (text.replace("[start]", "[strat]"), "Did you mean start?"),
        (text.replace('training = "', 'train = "'), "Did you mean training?"),
        (text.replace("[data]", "[data"), "is no TOML"),
        (text.replace('out = "out"', ""), "does not say where to write"),
        (text + "[network.recurrent]\nkernl = 3\n", "Did you mean kernel?"),
    ):
        config.write_text(wrong)
        assert cli.main(command) == 1
        assert message in capsys.readouterr().err


def test_what_cannot_be_trained_on_is_named(tmp_path, capsys):
    """And not by the number of an error."""
    for name in ("none.toml", "none.yaml", "folder", "folder.toml"):
        path = tmp_path / name
        path.mkdir() if name.startswith("folder") else None
        assert cli.main(["train", str(path)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"fnn-jax train: {path} ") and "expected a file that says what to train" in error
        assert "Errno" not in error and "Traceback" not in error
        with pytest.raises(OSError, match=f"^{path} .*expected a file that says what to train"):
            read_job(path)
    config = tmp_path / "config.toml"
    for name, problem in (
        ("nowhere", "is no folder. Give one that"),
        ("folder", "lacks the folders training, samples"),
    ):
        config.write_text(f'out = "out"\n[data]\ntraining = "{name}"\n')
        assert cli.main(["train", str(config)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"fnn-jax train: {tmp_path / name} {problem}") and "Errno" not in error
        with pytest.raises(DataError, match=f"^{tmp_path / name} {problem}"):
            train(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


TRAIN_IN_ANOTHER_PROCESS = """
import json, sys
import jax
from fnn_jax import Twin
from fnn_jax.training import Recipe, train

data, out, start, recipe, minutes = sys.argv[1:6]
if len(sys.argv) > 6:
    jax.distributed.initialize(sys.argv[6], num_processes=2, process_id=int(sys.argv[7]))
print("ready", flush=True)
train(data, out, Twin.load(start), Recipe(**json.loads(recipe)), checkpoint_minutes=float(minutes), progress=False)
print("done", len(jax.devices()), flush=True)
"""


def begin(data, out, start, recipe, *more, minutes=0, **environment):
    arguments = [data.directory, out, start, json.dumps(recipe.to_dict()), minutes, *more]
    command = [sys.executable, "-c", TRAIN_IN_ANOTHER_PROCESS, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | environment)


@pytest.mark.slow
def test_killed_processes(trained, data, start, tmp_path):
    """Killed at many moments, also while checkpoints are written (there is one after every update)."""
    start.save(tmp_path / "start")
    out, kills = tmp_path / "out", 0
    for moment in (0.0, 0.05, 0.15, 0.3, 0.6, 0.02, 0.4, 0.1):
        process = begin(data, out, tmp_path / "start", RECIPE)
        waited = time.monotonic()
        before = len(list((out / "checkpoints").glob("*"))) if out.exists() else 0
        while time.monotonic() - waited < 100 and process.poll() is None:
            now = sorted((out / "checkpoints").glob("*")) if out.exists() else []
            if len(now) != before or any("tmp" in path.name for path in now):
                break
            time.sleep(0.01)
        time.sleep(moment)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    process = begin(data, out, tmp_path / "start", RECIPE)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()[-3000:]
    assert kills > 3
    for which in ("best", "last"):
        assert same(Training(out).twin(which), trained.twin(which))
    pd.testing.assert_frame_equal(Training(out).metrics, trained.metrics)


@pytest.mark.slow
def test_four_devices_equal_one(data, start, tmp_path):
    """To the rounding of sums; so do two processes."""
    start.save(tmp_path / "start")
    recipe = dataclasses.replace(RECIPE, batch_size=4)
    one = train(data, tmp_path / "one", start, recipe, devices=jax.devices()[:1], progress=False)
    flags = "--xla_force_host_platform_device_count={}"
    process = begin(data, tmp_path / "four", tmp_path / "start", recipe, minutes=10, XLA_FLAGS=flags.format(4))
    printed, errors = process.communicate(timeout=400)
    assert b"done 4" in printed, errors.decode()[-3000:]
    port = f"127.0.0.1:{20000 + os.getpid() % 20000}"
    several = [
        begin(data, tmp_path / "two", tmp_path / "start", recipe, port, number, minutes=10, XLA_FLAGS=flags.format(1))
        for number in range(2)
    ]
    for process in several:
        printed, errors = process.communicate(timeout=400)
        assert b"done 2" in printed, errors.decode()[-3000:]
    for out in ("four", "two"):
        other = Training(tmp_path / out)
        pd.testing.assert_frame_equal(other.metrics, one.metrics, rtol=1e-5)
        arrays = parameter_arrays(one.twin("last").network)
        for name, array in parameter_arrays(other.twin("last").network).items():
            print(f"MEASURED {out} {name}: {np.abs(array - arrays[name]).max():.1e}")
            np.testing.assert_allclose(array, arrays[name], rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_the_example_comes_near_its_ceiling(tmp_path, capsys):
    """From the command line: from chance (a new readout responds alike to everything) to near the hidden twin."""
    folder = tmp_path / "example"
    assert cli.main(["data", "make-example", "-o", str(folder)]) == 0
    assert cli.main(["data", "check", str(folder), "--window-frames", "50"]) == 0
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam asks for it
        assert cli.main(["train", str(folder / "config.toml")]) == 0
    medians = {}
    for name in ("twin/best", "hidden"):
        out = tmp_path / name.replace("/", "-")
        assert cli.main(["evaluate", str(folder / name), str(folder / "evaluation_data"), "-o", str(out)]) == 0
        medians[name] = pd.read_csv(out / "units.csv")["cc_abs"].median()
    print(f"MEASURED cc_abs: {medians}")
    assert medians["twin/best"] > 0.85 * medians["hidden"] > 0.5
