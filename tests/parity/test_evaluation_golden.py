"""Measures of repeated presentations against outputs of the released code."""

import numpy as np
import pytest
import recipe
from tolerances import assert_close

from fnn_jax import evaluation

REPEATS = (4, 3, 4)


@pytest.fixture(scope="module")
def recorded():
    """Predictions and responses: for each video a list of its repeats, ``[20, 7]``."""
    predictions, responses = [], []
    for video, repeats in enumerate(REPEATS):
        signal = recipe.array(f"eval.signal.{video}", (20, 7))
        noise = [recipe.array(f"eval.noise.{video}.{repeat}", (20, 7)) for repeat in range(repeats)]
        error = [recipe.array(f"eval.pred.{video}.{repeat}", (20, 7)) for repeat in range(repeats)]
        responses.append([signal + each * np.linspace(0.2, 3, 7) for each in noise])
        predictions.append([signal + 0.5 * each for each in error])
    return predictions, responses


def test_measures(recorded, golden):
    expected = golden("evaluation")
    predictions, responses = (evaluation.format_responses(each, burnin_frames=4) for each in recorded)
    np.testing.assert_array_equal(responses, expected["formatted"])
    cc_max = evaluation.cc_max(responses)
    np.testing.assert_array_equal(np.isnan(cc_max), np.isnan(expected["cc_max"]))
    defined = ~np.isnan(cc_max)
    assert_close("cc_max", cc_max[defined], expected["cc_max"][defined])
    assert_close("cc_abs", evaluation.cc_abs(predictions, responses), expected["cc_abs"])
    cc_norm = evaluation.cc_norm(predictions, responses)
    np.testing.assert_array_equal(cc_norm, evaluation.cc_abs(predictions, responses) / cc_max)


def test_one_repeat_left_out_fails(recorded, golden):
    """The negative control."""
    predictions, responses = (evaluation.format_responses([each[0][1:], *each[1:]], 4) for each in recorded)
    expected = golden("evaluation")
    with pytest.raises(AssertionError, match="cc_max: absolute error"):
        assert_close("cc_max", evaluation.cc_max(responses)[:6], expected["cc_max"][:6])
    with pytest.raises(AssertionError, match="cc_abs: absolute error"):
        assert_close("cc_abs", evaluation.cc_abs(predictions, responses), expected["cc_abs"])
