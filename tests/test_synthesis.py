"""Synthesis finds what is known, goes on where it was killed, and refuses what cannot work."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from disturbed import disturb, small
from faulty import FAULTS, inflict

from fnn_jax import Twin, cli, stimuli, synthesis
from fnn_jax.demo import random_network
from fnn_jax.stimuli import Display
from fnn_jax.synthesis import batches, folder, in_threads, penalties
from fnn_jax.synthesis.problem import Problem
from fnn_jax.twin import threads

SIZE = (18, 32)
QUICK = {"num_frames": 6, "burn_in": 2, "steps": 20, "progress": False, "optimizer": optax.adam(0.1)}


@pytest.fixture(scope="module")
def twin():
    """With a feedforward part of one layer, which compiles sooner; its weights are as disturbed as those of the others."""
    return Twin(disturb(random_network(small(7))), label="random weights")


@pytest.fixture(scope="module")
def found(twin):
    return synthesis.synthesize(twin, [4, 1, 5], **QUICK, batch_size=2)


def test_units_are_excited(twin, found):
    """Their responses grow; what is returned is what they are, to the frames that are returned."""
    assert repr(found) == "Synthesis(3 targets, a stimulus each, 6 frames of 18 x 32)"
    assert found.frames.shape == (3, 1, 6, *SIZE) and found.frames.dtype == np.uint8
    assert found.responses.shape == (3, 1, 4, 1, 1)
    table = found.table
    assert table["target"].tolist() == ["4", "1", "5"] and (table["response"] > table["start_response"]).all()
    assert (table["stopped"] == "after 20 steps").all() and (table["steps"] == 20).all()
    for target, column in enumerate((4, 1, 5)):
        for frames, responses in ((found.frames, found.responses), (found.start_frames, found.start_responses)):
            shown = twin.predict(frames[target, 0])[2:, column]
            np.testing.assert_allclose(responses[target, 0, :, 0, 0], shown, rtol=2e-3)  # frames are rounded to 8 bits
        expected = (found.responses[target, 0, :, 0, 0] ** -0.1).sum()
        np.testing.assert_allclose(found.final_loss[target], expected, rtol=1e-5)
        assert found.final_loss[target] <= np.nanmin(found.losses[target]) + 1e-6
    np.testing.assert_allclose(table["response"], found.responses.mean((1, 2, 3, 4)), rtol=1e-6)


def test_streams_in_threads_change_rounding_alone(twin, found, monkeypatch):
    """In ``found`` each stream has a thread of its own, on machines of several cores."""
    if threads.cores() == 1:
        pytest.skip("one core, one thread")
    monkeypatch.setattr(in_threads, "worthwhile", lambda *_: False)
    whole = synthesis.synthesize(twin, [4], **QUICK | {"steps": 10})
    np.testing.assert_allclose(whole.losses[0], found.losses[0, :10], rtol=1e-5)


@pytest.mark.slow
def test_targets_do_not_touch_one_another(twin, found):
    """Alone, or in another batch, each comes to the same stimulus; so does a group of one."""
    alone = synthesis.synthesize(twin, [4, 1, 5], **QUICK, batch_size=1)
    np.testing.assert_array_equal(alone.frames, found.frames)
    np.testing.assert_array_equal(alone.losses, found.losses)
    group = synthesis.synthesize(twin, [[4], [1], [5]], **QUICK, batch_size=3)
    np.testing.assert_array_equal(group.losses, found.losses)
    other = synthesis.synthesize(twin, [4, 1, 5], **QUICK, seed=1)
    assert (other.frames != found.frames).any()


@pytest.mark.slow
def test_remat_changes_nothing(twin, found):
    whole = synthesis.synthesize(twin, [4, 1, 5], **QUICK, remat=False)
    np.testing.assert_allclose(whole.losses, found.losses, rtol=1e-5)
    assert np.abs(whole.frames.astype(int) - found.frames).max() <= 1


@pytest.mark.slow
def test_on_an_accelerator_all_at_once(twin, found, monkeypatch):
    """Targets are mapped over with vmap there: seen by pretending."""
    monkeypatch.setattr(batches, "one_by_one", lambda device: False)
    together = synthesis.synthesize(twin, [4, 1, 5], **QUICK, batch_size=3)
    np.testing.assert_allclose(together.losses, found.losses, rtol=1e-4)


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences(twin):
    with jax.enable_x64(True):
        exact = Twin(jax.tree.map(lambda array: array.astype("float64"), twin.network))
        problem = make_problem(exact, synthesis.nlm(5, *SIZE), synthesis.excitation(), remat=None)
        target = jax.tree.map(lambda array: array[0], problem.targets(np.arange(1)))
        start = problem.start(target).parameters
        loss = jax.jit(lambda p: problem.loss(problem.leaves, p, target, jax.random.key(0))[0])
        gradient = jax.grad(loss)(start)["stimulus"]["raw"]
        random = np.random.default_rng(0)
        for _ in range(3):
            way = random.standard_normal(gradient.shape)
            ends = [loss({"stimulus": {"raw": start["stimulus"]["raw"] + sign * 1e-5 * way}}) for sign in (1, -1)]
            np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, (gradient * way).sum(), rtol=1e-6)


def make_problem(twin, parameterisation, objective, **options):
    frames = jax.eval_shape(lambda: parameterisation.frames(parameterisation.init(jax.random.key(0)))).shape[0]
    usual = {
        "penalty": synthesis.weighted([(0.01, synthesis.roughness())]),
        "transforms": (),
        "optimizer": optax.sgd(0.1),
        "burn_in": 1,
        "behaviour": (np.zeros((frames, 1, 2), np.float32),) * 2,
        "learn_behaviour": False,
        "sample_stream": False,
        "num_stimuli": 1,
        "diversity": 0.0,
        "periphery": "dark",
        "precision": "float32",
        "device": jax.devices()[0],
        "seed": 0,
    }
    return Problem(twin, np.array([[3]]), objective, parameterisation, **usual | options)


@pytest.fixture
def linear(monkeypatch):
    """A twin whose units are linear filters of the last frame, plus a constant."""

    def install(filters):
        def see(self, leaves, target, inputs, stream=None):
            unit = target.number.astype(jnp.int32)
            drive = (inputs.stimuli[-1, ..., 0] * jnp.asarray(filters, jnp.float32)[unit][None]).sum((1, 2))
            readout = drive[:, None, None, None]
            return synthesis.Seen(jnp.exp(readout), readout, {})

        monkeypatch.setattr(Problem, "_see", see)
        monkeypatch.setattr(in_threads, "worthwhile", lambda *_: False)

    return install


def test_the_best_image_of_a_linear_unit_is_its_filter(twin, linear):
    display = Display.in_pixels(*SIZE)
    filters = np.stack(
        [
            np.asarray(stimuli.gabor(display, sigma=4, direction=d, spatial_frequency=f, phase=p, num_frames=1))[0]
            - 0.5
            for d, f, p in ((0, 0.08, 0), (60, 0.12, 90))
        ]
    )
    linear(filters)
    image = synthesis.nlm(1, *SIZE, static=True)
    options = {"burn_in": 0, "steps": 300, "progress": False}
    found = synthesis.synthesize(twin, [0, 1], synthesis.log_excitation(), image, **options, optimizer=optax.sgd(10.0))
    for unit in range(2):
        frame = found.frames[unit, 0, 0].astype(float) - 127.5
        assert np.corrcoef(frame.ravel(), filters[unit].ravel())[0, 1] > 0.98

    # The same with parameters of a Gabor: orientation, frequency and phase are those of the unit.
    gabor = synthesis.drifting_gabor(display, 1, temporal_frequency=0.01, sigma=4, x=0.0, y=0.0, spatial_frequency=0.1)
    gabor = synthesis.normalised(gabor, mean=0.5, contrast=0.1)  # or it would grow for ever
    options |= {"num_stimuli": 8, "diversity": 0.0, "optimizer": optax.adam(0.05)}
    found = synthesis.synthesize(twin, [0, 1], synthesis.log_excitation(), gabor, **options)
    for unit in range(2):
        shown = found.frames[unit, :, 0].reshape(8, -1) - 127.5
        similar = [np.corrcoef(each, filters[unit].ravel())[0, 1] for each in shown]
        assert max(similar) > 0.95


@pytest.mark.slow
def test_inhibition_contrast_and_patterns(twin, found):
    units = [4, 1]
    levels = {}
    for name, objective, targets in (
        ("excited", synthesis.mean_excitation(), units),
        ("inhibited", synthesis.inhibition(), units),
    ):
        levels[name] = synthesis.synthesize(twin, targets, objective, **QUICK).responses.mean((1, 2, 3, 4))
    assert (levels["excited"] > levels["inhibited"]).all()
    pair = synthesis.synthesize(twin, [units], synthesis.contrast(1), **QUICK)
    before, after = (np.log(r[0, 0, :, 0]).mean(0) for r in (pair.start_responses, pair.responses))
    assert after[0] - after[1] > before[0] - before[1]
    soft = synthesis.synthesize(twin, [[4, 1, 5]], synthesis.soft_minimum(), **QUICK)
    assert soft.responses.mean((1, 2, 3)).min() > soft.start_responses.mean((1, 2, 3)).min()
    wanted = np.float32([[1.0, 0.2, 0.5, 2.0]])
    like = synthesis.synthesize(twin, [[0, 2, 4, 6]], synthesis.pattern(wanted), **QUICK)
    correlations = [np.corrcoef(r[0, 0, :, 0].mean(0), wanted[0])[0, 1] for r in (like.start_responses, like.responses)]
    assert correlations[1] > correlations[0]
    np.testing.assert_allclose(like.final_loss, 1 - correlations[1], atol=1e-4)


@pytest.mark.slow
def test_features_inside(twin):
    objective = synthesis.feature("feedforward.block0", 2, stream=1, position=(2, 3))
    found = synthesis.synthesize(twin, None, objective, **QUICK)
    levels = []
    for frames in (found.start_frames, found.frames):
        block = twin.features(frames[0, 0], ["feedforward.block0"])["feedforward.block0"]
        levels.append(block[2:, 1, 2, 3, 2].mean())
    assert levels[1] > levels[0]
    np.testing.assert_allclose(-found.final_loss[0], levels[1], rtol=0.02)
    mean = synthesis.custom(lambda seen, _: -seen.features["retina"].mean(), ["retina"])
    bright = synthesis.synthesize(twin, None, mean, synthesis.pixels(6, *SIZE), **QUICK)
    assert bright.frames.mean() > bright.start_frames.mean() + 10


@pytest.mark.slow
def test_reconstruction_beats_a_shuffled_control(twin):
    """From responses to a video the reconstruction is nearer to it than one from another video's responses."""
    random = np.random.default_rng(0)
    videos = [
        np.asarray(penalties.blur(jnp.asarray(random.standard_normal((8, *SIZE)), jnp.float32), 2.0, 1.0))
        for _ in range(2)
    ]
    videos = [stimuli.as_levels(np.clip(0.5 + video / video.std() * 0.2, 0, 1)) for video in videos]
    recorded = np.stack([twin.predict(video)[None, :, None] for video in videos])[:, 0]
    everyone = [list(range(7))] * 2
    options = QUICK | {"num_frames": 8, "steps": 150}
    found = synthesis.synthesize(twin, everyone, synthesis.reconstruction(recorded), **options)
    similarity = np.array(
        [
            [np.corrcoef(frames[0, 2:].ravel(), video[2:].ravel())[0, 1] for video in videos]
            for frames in found.frames.astype(float)
        ]
    )
    own, other = np.diag(similarity).mean(), np.fliplr(similarity).diagonal().mean()
    print(f"MEASURED reconstruction: {own:.3f} from its own responses, {other:.3f} from those to another video")
    assert own > other + 0.02
    np.testing.assert_allclose(found.responses[0, 0, :, 0], recorded[0, 2:, 0], rtol=0.1)


@pytest.mark.slow
def test_trials_behaviour_streams_and_transforms(twin):
    behaviour = np.float32([[[0.5, 1.0], [-1.0, 0.2]]]).repeat(6, 0)
    trials = synthesis.synthesize(twin, [2], perspectives=behaviour, modulations=behaviour[:, ::-1], **QUICK)
    assert trials.responses.shape == (1, 1, 4, 2, 1)
    for trial in range(2):
        shown = twin.predict(trials.frames[0, 0], behaviour[:, trial], behaviour[:, 1 - trial])[2:, 2]
        np.testing.assert_allclose(trials.responses[0, 0, :, trial, 0], shown, rtol=2e-3)
    learned = synthesis.synthesize(twin, [2], learn_behaviour=True, **QUICK)
    assert learned.learned_perspectives.shape == (1, 2) and np.abs(learned.learned_modulations).max() <= 2
    shown = twin.predict(
        learned.frames[0, 0],
        np.tile(learned.learned_perspectives, (6, 1)),
        np.tile(learned.learned_modulations, (6, 1)),
    )
    np.testing.assert_allclose(learned.responses[0, 0, :, 0, 0], shown[2:, 2], rtol=2e-3)
    moved = (synthesis.jitter(2), synthesis.scaling(0.9, 1.1), synthesis.noise(0.01))
    options = {"sample_stream": True, "transforms": moved, **QUICK}
    one, same = (synthesis.synthesize(twin, [2, 3], **options) for _ in range(2))
    np.testing.assert_array_equal(one.losses, same.losses)
    assert (one.table["response"] > one.table["start_response"]).all()
    many = synthesis.synthesize(twin, [2], num_stimuli=3, diversity=5.0, **QUICK)
    alike = synthesis.synthesize(twin, [2], num_stimuli=3, diversity=0.0, **QUICK)

    def spread(found):
        frames = found.frames[0].astype(float)
        return np.mean([np.sqrt(((frames[i] - frames[j]) ** 2).mean()) for i, j in ((0, 1), (0, 2), (1, 2))])

    assert spread(many) > spread(alike)


@pytest.mark.parametrize(
    "make",
    [
        lambda: synthesis.nlm(6, *SIZE, start="zeros"),
        lambda: synthesis.nlm(6, *SIZE, static=True),
        lambda: synthesis.pixels(6, *SIZE),
        lambda: synthesis.fourier(6, *SIZE),
        lambda: synthesis.fourier(6, *SIZE, phases_only=True),
        lambda: synthesis.low_rank(6, *SIZE, rank=2),
        lambda: synthesis.drifting_gabor(Display.in_pixels(*SIZE), 6),
        lambda: synthesis.normalised(synthesis.nlm(6, *SIZE), mean=0.5, contrast=0.15),
    ],
)
@pytest.mark.slow
def test_every_parameterisation(twin, make):
    made = make()
    parameters = made.init(jax.random.key(3))
    frames = np.asarray(made.frames(parameters))
    assert frames.shape == (6, *SIZE) and frames.min() >= 0 and frames.max() <= 1
    assert made.unsquashed(parameters).shape == frames.shape
    found = synthesis.synthesize(twin, [4], parameterisation=made, **QUICK)
    assert found.table["response"][0] > found.table["start_response"][0]
    shown = found.frames[0, 0] / 255
    if make.__code__.co_names[-1] == "normalised":
        np.testing.assert_allclose([shown.mean(), shown.std()], [0.5, 0.15], atol=0.01)


def test_fourier_has_its_contrast_and_slope():
    made = synthesis.fourier(8, 64, 64, contrast=0.05)
    frames = np.asarray(made.frames(made.init(jax.random.key(0))))
    np.testing.assert_allclose(frames.std(), 0.05, rtol=0.25)
    phases = synthesis.fourier(1, 64, 64, phases_only=True, exponent=1.5)
    image = np.asarray(phases.pixels(phases.init(jax.random.key(0))))[0]
    amplitude = np.abs(np.fft.fft2(image))[0, 2:20]
    np.testing.assert_allclose(np.polyfit(np.log(np.arange(2, 20)), np.log(amplitude), 1)[0], -1.5, atol=0.01)


def test_masks_and_fixed_frames():
    made = synthesis.nlm(3, *SIZE)
    parameters = made.init(jax.random.key(0))
    mask = np.zeros(SIZE)
    mask[5:9, 10:20] = 1
    outside = np.full((3, *SIZE), 200, np.uint8)
    frames = np.asarray(synthesis.masked(made, mask, outside).frames(parameters))
    np.testing.assert_allclose(frames[:, mask == 0], 200 / 255, rtol=1e-6)
    np.testing.assert_allclose(frames[:, mask == 1], np.asarray(made.frames(parameters))[:, mask == 1], rtol=1e-6)
    framed = synthesis.between(made, before=outside[:2], after=outside[:1]).frames(parameters)
    assert framed.shape == (6, *SIZE)
    np.testing.assert_allclose(framed[2:5], made.frames(parameters))


def test_penalties():
    random = np.random.default_rng(0)
    frames = jnp.asarray(random.random((4, 12, 16)), jnp.float32)
    array = np.asarray(frames, np.float64)
    total = np.abs(np.diff(array, axis=1)).mean() + np.abs(np.diff(array, axis=2)).mean()
    np.testing.assert_allclose(
        synthesis.total_variation(2, 3)(frames, frames),
        2 * total + 3 * np.abs(np.diff(array, axis=0)).mean(),
        rtol=1e-5,
    )
    np.testing.assert_allclose(synthesis.norm()(frames, frames), np.sqrt(((array - 0.5) ** 2).mean()), rtol=1e-5)
    expected = (np.maximum(0.1 - array, 0) ** 2 + np.maximum(array - 0.7, 0) ** 2).mean()
    np.testing.assert_allclose(synthesis.range_(0.1, 0.7)(frames, frames), expected, rtol=1e-5)
    from scipy import ndimage

    blurred = ndimage.gaussian_filter(array, (1.0, 1.5, 1.5), mode="nearest", truncate=4)
    np.testing.assert_allclose(synthesis.blur(frames, 1.5, 1.0), blurred, atol=1e-6)
    noise = jnp.asarray(random.standard_normal((1, 64, 64)), jnp.float32)
    natural = synthesis.fourier(1, 64, 64, phases_only=True)
    natural = natural.pixels(natural.init(jax.random.key(0)))
    slope = synthesis.spectral_slope(1.0)
    assert slope(natural, natural) < 0.01 < 0.5 < slope(noise, noise)
    moved = synthesis.jitter(3)(jax.random.key(1), frames)
    assert sorted(np.asarray(moved).ravel()) == sorted(np.asarray(frames).ravel())
    with pytest.raises(ValueError, match="the weight in penalties is -1; expected a number from 0 on"):
        synthesis.weighted([(1, synthesis.norm()), (-1, synthesis.norm())])


class Killed(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0, 1, 3])
def test_resumed_is_uninterrupted(twin, tmp_path, monkeypatch, moment):
    options = QUICK | {"steps": 45, "batch_size": 2, "sample_stream": True}
    whole = synthesis.synthesize(twin, [4, 1, 5], **options)
    save, count = folder.save_arrays, iter(range(100))

    def killed(*arguments):
        if next(count) == moment:
            raise Killed
        save(*arguments)

    monkeypatch.setattr(folder, "save_arrays", killed)
    with pytest.raises(Killed):
        synthesis.synthesize(twin, [4, 1, 5], **options, out=tmp_path / "s")
    with pytest.raises(synthesis.SynthesisError, match="not finished"):
        synthesis.Synthesis.load(tmp_path / "s")
    monkeypatch.setattr(folder, "save_arrays", save)
    resumed = synthesis.synthesize(twin, [4, 1, 5], **options, out=tmp_path / "s")
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(getattr(resumed, name), array, err_msg=name)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["result.npz", "synthesis.json"]
    loaded = synthesis.synthesize(twin, [4, 1, 5], **options, out=tmp_path / "s")
    np.testing.assert_array_equal(loaded.frames, whole.frames)
    for changes in ({"steps": 46}, {"burn_in": 1}, {"penalties": [(1, synthesis.norm())]}, {"seed": 3}):
        with pytest.raises(synthesis.SynthesisError, match="holds another synthesis, which is kept"):
            synthesis.synthesize(twin, [4, 1, 5], **options | changes, out=tmp_path / "s")
    with pytest.raises(synthesis.SynthesisError, match="units: there"):
        synthesis.synthesize(twin, [4, 1, 6], **options, out=tmp_path / "s")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(synthesis.SynthesisError, match="holds something else"):
        synthesis.synthesize(twin, [4], **options, out=tmp_path / "other")


def test_functions_of_the_caller_decide_the_synthesis(twin, tmp_path, monkeypatch):
    """Another function, or the same one with other numbers: another synthesis."""

    def options(factor=1.0, shift=0.0, scale=1.0):
        level = np.full((4, 1, 1), factor, np.float32)
        return {
            "objective": synthesis.custom(lambda seen, _: -(seen.responses * level).mean()),
            "transforms": [lambda key, frames: frames + shift],
            "penalties": [(0.1, lambda frames, start: scale * (frames**2).mean())],
        }

    def killed(*arguments):
        raise Killed

    def begin(**changes):
        synthesis.synthesize(twin, [4], **QUICK | options() | changes, out=tmp_path / "s")

    monkeypatch.setattr(batches.Runner, "run", killed)
    for _ in range(2):
        with pytest.raises(Killed):
            begin()
    for changes in (options(factor=2.0), options(shift=0.1), options(scale=2.0), {"optimizer": optax.adam(0.2)}):
        with pytest.raises(synthesis.SynthesisError, match="another synthesis, which is kept .problem: there"):
            begin(**changes)


@pytest.mark.slow
@pytest.mark.parametrize("targets", [[4, 1, 5, 2], [4]], ids=["targets on each", "streams on each"])
def test_four_devices_equal_one(twin, tmp_path, targets):
    twin.save(tmp_path / "weights")
    code = f"""
import jax, optax, sys
from fnn_jax import Twin, synthesis
twin = Twin.load("weights")
options = dict(num_frames=6, burn_in=2, steps=20, progress=False, optimizer=optax.adam(0.1))
synthesis.synthesize(twin, {targets}, **options, batch_size=4, out=str(len(jax.devices())))
"""
    for count in (1, 4):
        environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, env=environment)
    with np.load(tmp_path / "1/result.npz") as one, np.load(tmp_path / "4/result.npz") as four:
        np.testing.assert_allclose(four["losses"], one["losses"], rtol=1e-5)
        assert np.abs(four["frames"].astype(int) - one["frames"]).max() <= 1


@pytest.mark.slow
def test_killed_processes(twin, tmp_path):
    """Killed at several moments, the command line comes to the same bytes."""
    twin.save(tmp_path / "weights")
    command = [sys.executable, "-m", "fnn_jax.cli", "synthesize", "--directory", "weights", "--units", "1", "4"]
    command += ["--frames", "12", "--burn-in", "4", "--steps", "2000", "--no-comparison", "-o"]
    subprocess.run([*command, "whole"], cwd=tmp_path, check=True, capture_output=True)
    kills = 0
    for seconds in (6, 8, 10, 12, 15):
        process = subprocess.Popen(
            [*command, "killed"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(seconds)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    subprocess.run([*command, "killed"], cwd=tmp_path, check=True, capture_output=True)
    assert kills >= 2
    with np.load(tmp_path / "whole/result.npz") as one, np.load(tmp_path / "killed/result.npz") as other:
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.slow
def test_not_a_number_stops_and_keeps_the_best(twin, found):
    """A loss that breaks once a unit responds more than it does at first."""
    first, last = found.start_responses[0].mean(), found.responses[0].mean()
    limit = (first + last) / 2

    def breaks(seen, _):
        level = seen.responses.mean()
        return -level + 0 * jnp.sqrt(limit - level)

    with pytest.warns(UserWarning, match="no longer a number"):
        broken = synthesis.synthesize(twin, [4], synthesis.custom(breaks), **QUICK | {"steps": 60})
    step = int(broken.stopped[0].removeprefix("not a number at step "))
    assert (
        1 < step <= 60
        and np.isfinite(broken.losses[0, : step - 1]).all()
        and np.isnan(broken.losses[0, step - 1 :]).all()
    )
    assert first < broken.responses.mean() <= limit + 1e-3
    np.testing.assert_allclose(broken.final_loss, np.nanmin(broken.losses), rtol=1e-6)


@pytest.mark.slow
def test_converged_targets_stop(twin):
    options = QUICK | {"steps": 300, "optimizer": optax.sgd(0.0)}
    found = synthesis.synthesize(twin, [4, 1], **options, tolerance=1e-6)
    assert (found.stopped == "converged after 60 steps").all() and np.isfinite(found.losses).sum() == 120


def test_bad_input(twin):
    good = {"targets": [4], **QUICK}
    for changes, error, message in (
        ({"targets": [99]}, ValueError, "does not have: \\[99\\]"),
        ({"targets": [1.5]}, TypeError, "targets is \\[1.5\\]; expected readout ids"),
        ({"targets": None}, ValueError, "targets is None; expected readout ids"),
        ({"targets": []}, TypeError, "expected readout ids"),
        ({"burn_in": 6}, ValueError, "burn_in is 6; expected 0 to 5: the stimulus has 6 frames"),
        ({"penalties": [(-1, synthesis.norm())]}, ValueError, "weight in penalties is -1"),
        ({"steps": 0}, ValueError, "steps is 0"),
        ({"objective": synthesis.feature("nose", 0)}, ValueError, "unknown names \\['nose'\\]"),
        ({"objective": synthesis.feature("core", 99)}, ValueError, "channel is 99; core has 5"),
        ({"objective": synthesis.feature("core", 0, position=(0, 99))}, ValueError, "position is \\(0, 99\\)"),
        ({"objective": lambda seen: 0}, TypeError, "objective is function; expected one of"),
        ({"objective": synthesis.custom(lambda seen, _: seen.responses)}, ValueError, "expected one number"),
        (
            {"objective": synthesis.pattern(np.ones((2, 3)))},
            ValueError,
            "data for 2 targets; expected an entry for each of 1",
        ),
        (
            {"objective": synthesis.reconstruction(np.ones((1, 5, 1, 1)))},
            ValueError,
            "recorded has 5 frames, 1 trials and 1 units a target; expected 6, 1 and 1",
        ),
        ({"objective": synthesis.contrast(1)}, ValueError, "with units in both groups"),
        (
            {"parameterisation": synthesis.nlm(6, 9, 9)},
            ValueError,
            "makes frames \\[6, 9, 9\\]; expected \\[T, 18, 32\\]",
        ),
        ({"perspectives": np.full((6, 2), np.nan)}, ValueError, "perspectives is NaN"),
        ({"perspectives": np.zeros((5, 2))}, ValueError, "perspectives has 5 frames"),
        ({"num_stimuli": 2, "modulations": np.zeros((6, 3, 2))}, ValueError, "several trials"),
        ({"tolerance": -1.0}, ValueError, "tolerance is -1.0"),
        ({"precision": "half"}, ValueError, "precision is 'half'"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
    ):
        with pytest.raises(error, match=message):
            synthesis.synthesize(twin, **good | changes)
    hidden = synthesis.masked(synthesis.nlm(6, *SIZE), np.zeros(SIZE))
    with pytest.raises(ValueError, match="gradient of targets \\[4\\] is zero at the start.*Do they look at the mask"):
        synthesis.synthesize(twin, parameterisation=hidden, **good)
    for make, message in (
        (lambda: synthesis.excitation(0), "temperature is 0"),
        (lambda: synthesis.low_rank(6, *SIZE, rank=7), "rank is 7"),
        (lambda: synthesis.nlm(0, *SIZE), "num_frames is 0; expected a positive integer"),
        (lambda: synthesis.nlm(6, *SIZE, start="gray"), "start is 'gray'"),
        (lambda: synthesis.normalised(synthesis.nlm(6, *SIZE), contrast=2), "contrast is 2"),
        (lambda: synthesis.drifting_gabor(Display.in_pixels(*SIZE), 6, speed=1), "start has \\['speed'\\]"),
        (lambda: synthesis.scaling(2, 1), "least is 2 and most 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_a_report_shows_targets_until_it_is_long(tmp_path, monkeypatch):
    frames = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 6, 8), np.uint8)
    responses, losses = np.ones((3, 2, 2, 1, 1)), np.ones((3, 5))
    record = {"twin": "0-0 abc", "units": [4, [1, 2], 5], "frames": [4, 6, 8], "steps": 5, "versions": {"jax": "1"}}
    last = (losses[:, -1], losses[:, -1], np.array(["after 5 steps"] * 3))
    found = synthesis.Synthesis(frames, frames, responses, responses, losses, losses, *last, record=record)
    written = synthesis.write_report(found, tmp_path / "out", figures=False, settings={"objective": "<excite>"})
    assert {"table.csv", "4.gif", "1-2.gif", "5.gif"} < {path.name for path in written}
    page = written[-1].read_text()
    assert page.count("<h2>Target ") == 3 and "start_response (per frame)" in page and "&lt;excite&gt;" in page
    assert "0-0: stimuli for 3 targets" in page and "the first of 2" in page and "so that this page" not in page
    monkeypatch.setattr("fnn_jax.common.page.MOST_BYTES", 1)
    page = synthesis.write_report(found, tmp_path / "out", figures=False)[-1].read_text()
    assert page.count("<h2>Target ") == 1 and "1 of 3 targets are shown" in page
    with pytest.raises(TypeError, match="found is 3; expected Synthesis"):
        synthesis.write_report(3, tmp_path)


@pytest.mark.slow
def test_command(twin, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    twin.save("weights")
    np.save("clip.npy", np.random.default_rng(0).integers(0, 256, (12, 18, 32), dtype=np.uint8))
    command = [
        "synthesize",
        "--directory",
        "weights",
        "--units",
        "4",
        "1",
        "--frames",
        "12",
        "--burn-in",
        "4",
        "--steps",
        "20",
    ]
    np.save("eye.npy", np.float32([0.5, -0.5]))
    command += ["--clips", "clip.npy", "-o", "out", "--perspectives", "eye.npy"]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert "start_response" in shown and "written to out" in shown
    names = {path.name for path in (tmp_path / "out").iterdir()}
    expected = {
        "result.npz",
        "synthesis.json",
        "table.csv",
        "report.html",
        "4.mp4",
        "4.gif",
        "4.png",
        "1.mp4",
        "1.gif",
        "1.png",
    }
    assert names == expected
    found = synthesis.Synthesis.load("out")
    assert json.loads((tmp_path / "out/synthesis.json").read_text())["steps"] == 20
    from fnn_jax.videos import read_video

    np.testing.assert_array_equal(read_video("out/4.gif", size=SIZE).frames, found.frames[0, 0])
    page = Path("out/report.html").read_text()
    assert page.count("data:image/webp") == 4 and page.count("data:image/png") == 2 and "learning_rate" in page
    assert cli.main(command) == 0  # it is there already
    assert "finished before, and nothing was computed: the results are in out" in capsys.readouterr().out
    assert Path("out/report.html").read_text() == page
    for changes, message in (
        (["--burn-in", "12"], "burn_in is 12"),
        (["--steps", "30"], "holds another synthesis"),
        (["--units", "77"], "does not have: [77]"),
    ):
        assert cli.main([*command, *changes]) == 1
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error


@pytest.mark.slow
def test_damage_is_told_and_computed_again(twin, found, tmp_path):
    def again():
        return synthesis.synthesize(twin, [4, 1, 5], **QUICK, batch_size=2, out=tmp_path / "out")

    again()
    path = tmp_path / "out" / "result.npz"
    whole = path.read_bytes()
    for fault in FAULTS:
        for seed in range(4):
            path.write_bytes(whole)
            inflict(fault, path, np.random.default_rng(seed))
            try:
                loaded = synthesis.Synthesis.load(tmp_path / "out")
            except synthesis.SynthesisError as error:
                assert "result.npz is damaged" in str(error) or "not finished" in str(error)
            else:  # what was turned is nothing that is read, such as a date
                for name, array in loaded.arrays().items():
                    np.testing.assert_array_equal(array, found.arrays()[name])
    path.write_bytes(whole[:1000])
    with pytest.warns(UserWarning, match="result.npz is damaged"):
        result = again()
    np.testing.assert_array_equal(result.losses, found.losses)
    record = tmp_path / "out" / "synthesis.json"
    record.write_text(record.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(synthesis.SynthesisError, match="synthesis.json is damaged"):
        synthesis.Synthesis.load(tmp_path / "out")
    with pytest.raises(synthesis.SynthesisError, match="synthesis.json is damaged"):
        again()


@pytest.mark.slow
def test_data_of_any_shape_and_numbers_of_numpy(twin, tmp_path):
    """Data of the caller's own objective have an entry for each target, and nothing else is asked of them."""
    wanted = np.linspace(0.5, 1.5, 6, dtype=np.float32).reshape(2, 3)

    def loss(seen, wanted):
        return ((seen.responses.mean() - wanted) ** 2).mean()

    options = QUICK | {"steps": np.int64(2), "burn_in": np.int64(2), "num_frames": np.int64(6)}
    result = synthesis.synthesize(
        twin, [4, 1], synthesis.custom(loss, data=wanted), **options, seed=np.uint8(3), out=tmp_path / "out"
    )
    assert synthesis.Synthesis.load(tmp_path / "out").record["burn_in"] == 2 and result.losses.shape == (2, 2)
    with pytest.raises(ValueError, match="objective has data for 2 targets; expected an entry for each of 1"):
        synthesis.synthesize(twin, [4], synthesis.custom(loss, data=wanted), **QUICK)
    mapping = {penalties.norm(): 0.1, penalties.total_variation(): 0.2}
    pairs = [(weight, penalty) for penalty, weight in mapping.items()]
    frames = jnp.asarray(np.random.default_rng(0).random((3, *SIZE)), jnp.float32)
    assert penalties.weighted(mapping)(frames, frames) == penalties.weighted(pairs)(frames, frames)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_frames": "3"}, TypeError, "num_frames is '3'; expected a positive integer"),
        ({"burn_in": True}, TypeError, "burn_in is True; expected an integer from 0 on"),
        ({"targets": [[0, 0]]}, ValueError, r"targets has the group \[0, 0\], which names a unit twice"),
        ({"targets": [99]}, ValueError, r"targets holds 1 that this twin does not have: \[99\]"),
        ({"targets": [[0], [1, 2]]}, TypeError, "groups of equal size"),
        ({"steps": 2.0}, TypeError, "steps is 2.0; expected a positive integer"),
        ({"optimizer": 0.1}, TypeError, "optimizer is float; expected one of optax"),
        ({"penalties": [3]}, TypeError, r"penalties is \[3\]; expected pairs"),
        ({"penalties": [(1.0, "smooth")]}, TypeError, "penalties holds 'smooth'; expected functions"),
        ({"transforms": ["jitter"]}, TypeError, "transforms holds 'jitter'; expected functions"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"sample_stream": 1}, TypeError, "sample_stream is 1; expected True or False"),
        ({"parameterisation": "nlm"}, TypeError, "parameterisation is str"),
    ],
)
def test_arguments_that_are_none(twin, options, error, message):
    with pytest.raises(error, match=message):
        synthesis.synthesize(twin, **{"targets": [4], **QUICK, **options})
