"""Weights and responses that are not finite: said, with the first stage, and never called done without a word."""

import jax.numpy as jnp
import numpy as np
import pytest
from recordings import write_recording

from fnn_jax import Screen, Twin, synthesis
from fnn_jax.model.parameters import named_parameters, replace_parameters
from fnn_jax.training import Recipe, TrainingError, train

CASES = {
    "perspective": "perspective.monitor.angle",
    "modulation": "modulation.lstm.recurrent.weight",
    "core": "core.recurrent.output.weight",
    "readout": "readout.feature.weight",
}


def broken(twin, stage):
    named = named_parameters(twin.network)
    name = next(name for name in named if name.startswith(f"{stage}.") and named[name].size > 1)
    array = named[name].at[(0,) * named[name].ndim].set(jnp.nan)
    return Twin(replace_parameters(twin.network, {name: array})), name


@pytest.fixture(scope="module")
def video():
    return np.random.default_rng(0).integers(0, 256, (4, 18, 32), np.uint8)


@pytest.mark.parametrize("stage", ["perspective", "modulation", "core", "readout"])
def test_the_stage_is_named(twin, video, stage):
    bad, name = broken(twin, stage)
    with pytest.warns(UserWarning) as warned:
        assert np.isnan(bad.predict(video)).any()
    texts = [str(each.message) for each in warned]
    assert any(f"NaN or infinite, first in the {stage}: {name}" in text for text in texts), texts
    outputs = {"perspective": "retina", "modulation": "modulation", "core": "feedforward", "readout": "readout"}
    assert any(f"first the output of {outputs[stage]}" in text for text in texts), texts


@pytest.mark.slow
def test_screens_synthesis_and_training_say_so(twin, video, tmp_path):
    bad, _ = broken(twin, "core")
    with pytest.warns(UserWarning) as warned:
        Screen(bad, progress=False)({"a clip": video})
    texts = [str(each.message) for each in warned]
    assert any("first in the core" in text for text in texts)
    assert any(
        "responses to a clip, and maybe others, are NaN or infinite, first the output of" in text for text in texts
    )
    with pytest.warns(UserWarning) as warned:
        synthesis.synthesize(bad, [0], num_frames=3, burn_in=1, steps=1, progress=False)
    texts = [str(each.message) for each in warned]
    assert any("loss was no longer a number (0)" in text and "first in the core" in text for text in texts)
    data = write_recording(tmp_path / "data", units=7)
    with pytest.raises(TrainingError, match="cannot be trained. The weights are NaN or infinite, first in the core"):
        train(data, tmp_path / "out", bad, Recipe(epochs=1, warmup_epochs=0, window_frames=8, burn_in=2))


def test_responses_that_overflow(twin, video):
    """Finite weights may do it, too."""
    named = named_parameters(twin.network)
    huge = {name: array * 0 + 1e4 for name, array in named.items() if name == "readout.feature.bias"}
    with pytest.warns(UserWarning, match="The responses are NaN or infinite, first the output of responses"):
        assert np.isinf(Twin(replace_parameters(twin.network, huge)).predict(video)).all()
