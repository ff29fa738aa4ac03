"""Synthesis for a network that interventions change."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from disturbed import disturb, small

from fnn_jax import Twin, interventions, synthesis
from fnn_jax.demo import random_network
from fnn_jax.synthesis import batches
from fnn_jax.synthesis.problem import Problem

QUICK = {"num_frames": 5, "burn_in": 1, "steps": 4, "progress": False, "optimizer": optax.adam(0.1)}
SILENT = {"recurrent.hidden": interventions.zero(channels=[0, 1]), "core": lambda value, place: 2 * value}


@pytest.fixture(scope="module")
def twin():
    return Twin(disturb(random_network(small(4))), label="random weights")


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_stimuli_excite_the_changed_network(twin):
    found = synthesis.synthesize(twin, [2, 1], **QUICK, interventions=SILENT)
    assert (found.table["response"] > found.table["start_response"]).all()
    for target, unit in enumerate((2, 1)):
        changed, whole = (twin.predict(found.frames[target, 0], interventions=each)[1:, unit] for each in (SILENT, {}))
        np.testing.assert_allclose(found.responses[target, 0, :, 0, 0], changed, rtol=5e-3)  # frames of 8 bits
        assert np.abs(changed - whole).max() > 1e-2
    assert found.record["interventions"]["recurrent.hidden"] == "zero(channels=[0, 1])"
    assert found.record["interventions"]["core"].startswith("<lambda> ")


@pytest.mark.slow
def test_an_intervention_that_changes_nothing(twin):
    same = {"recurrent.hidden": lambda value, place: value}
    plain, changed = (synthesis.synthesize(twin, [2], **QUICK, interventions=each) for each in (None, same))
    np.testing.assert_allclose(changed.losses, plain.losses, rtol=1e-4)
    assert "interventions" not in plain.record


@pytest.mark.slow
def test_resumed_and_refused(twin, tmp_path, monkeypatch):
    """Killed after some steps it goes on with the same interventions, to the same bytes, and with no others."""
    options = {"interventions": {"core": interventions.scale(0.5)}, "steps": 12, "num_frames": 4}
    whole = synthesis.synthesize(twin, [2], **QUICK | options)
    save = synthesis.optimisation.Folder.save_progress

    def kill(*arguments):
        save(*arguments)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(synthesis.optimisation.Folder, "save_progress", kill)
        synthesis.synthesize(twin, [2], **QUICK | options, out=tmp_path / "s")
    for change, message in (
        (interventions.scale(0.25), r"interventions: there {\"core\": \"scale\(factor=0.5\)\"}, here .*0.25"),
        (interventions.zero(), "interventions: there .*scale.*, here .*zero"),
        (lambda value, place: value * 0.5, "interventions: there .*scale.*, here .*lambda"),
        (None, "interventions: there .*scale.*, here null"),
    ):
        with pytest.raises(synthesis.SynthesisError, match=message):
            other = None if change is None else {"core": change}
            synthesis.synthesize(twin, [2], **QUICK | options | {"interventions": other}, out=tmp_path / "s")
    again = {"interventions": {"core": interventions.scale(0.5)}}
    found = synthesis.synthesize(twin, [2], **QUICK | options | again, out=tmp_path / "s")
    np.testing.assert_array_equal(found.frames, whole.frames)
    np.testing.assert_array_equal(found.losses, whole.losses)


@pytest.mark.slow
def test_on_an_accelerator_all_at_once(twin, monkeypatch):
    """Targets side by side, keys of random draws among the numbers that all of them share."""
    noisy = {"core": interventions.add_noise(0.1, jax.random.key(0)), "readout": interventions.scale(jnp.float32(0.5))}
    one_by_one = synthesis.synthesize(twin, [2, 1], **QUICK, interventions=noisy)
    monkeypatch.setattr(batches, "one_by_one", lambda device: False)
    together = synthesis.synthesize(twin, [2, 1], **QUICK, interventions=noisy)
    np.testing.assert_allclose(together.losses, one_by_one.losses, rtol=1e-4)


@pytest.mark.slow
def test_any_state_of_an_optimiser_is_kept(twin, tmp_path):
    """Random keys and bfloat16, which are no arrays of NumPy's own; and features as targets have no influence."""
    optimizer = optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(0)), optax.adam(0.1, mu_dtype="bfloat16"))
    options = QUICK | {"steps": 12, "optimizer": optimizer}
    objective = synthesis.Objective(lambda seen, data: -seen.features["core"].mean(), features=("core",))
    whole = synthesis.synthesize(twin, None, objective=objective, **options)
    save = synthesis.optimisation.Folder.save_progress

    def kill(*arguments):
        save(*arguments)
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(synthesis.optimisation.Folder, "save_progress", kill)
        synthesis.synthesize(twin, None, objective=objective, **options, out=tmp_path / "s")
    found = synthesis.synthesize(twin, None, objective=objective, **options, out=tmp_path / "s")
    np.testing.assert_array_equal(found.losses, whole.losses)
    assert synthesis.write_report(found, tmp_path / "report", twin=twin)[-1].exists()
    with pytest.raises(ValueError, match="target 0 has no units"):
        synthesis.influence(twin, found, 0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cores": interventions.zero()}, ValueError, "interventions has unknown names.*Did you mean 'core'"),
        ([abs], TypeError, "interventions is .*; expected a dictionary"),
        ({"core": 3}, TypeError, r"interventions\['core'\] is 3; expected a function"),
        ({"core": lambda value, place: value[:1]}, ValueError, r"interventions\['core'\] returned .*as it was given"),
        ({"recurrent.attention": interventions.zero()}, ValueError, "can only be read"),
    ],
)
def test_wrong_interventions(twin, changes, error, message, monkeypatch):
    monkeypatch.setattr(Problem, "digest", lambda self: pytest.fail("it is too late"))
    with pytest.raises(error, match=message):
        synthesis.synthesize(twin, [2], **QUICK, interventions=changes)
