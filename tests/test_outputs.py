"""What predictions return: NumPy arrays, or JAX arrays that stay on their device."""

import jax
import numpy as np
import pytest

from fnn_jax.twin import outputs

FRAMES = 11  # the last chunk is filled up
NAMES = ["retina", "recurrent.cell"]


@pytest.fixture(scope="module")
def video():
    return np.random.default_rng(0).integers(0, 256, (FRAMES, 18, 32), dtype=np.uint8)


@pytest.fixture
def on_device(monkeypatch):
    """Nothing is fetched, but whether all is finite."""
    monkeypatch.setattr(outputs, "collect", lambda *_: pytest.fail("it is fetched"))
    with jax.transfer_guard_device_to_host("disallow"):
        yield


def same(found, expected):
    assert isinstance(found, jax.Array) and isinstance(expected, np.ndarray)
    np.testing.assert_array_equal(jax.device_get(found), expected)


@pytest.mark.parametrize("batch", [None, 2])
def test_predict_and_features(twin, video, batch, request):
    stimuli = video if batch is None else np.stack([video] * batch, 1)[..., None]
    responses, values = twin.predict(stimuli), twin.features(stimuli, NAMES)
    request.getfixturevalue("on_device")
    same(twin.predict(stimuli, output="jax"), responses)
    found = twin.features(stimuli, NAMES, output="jax")
    assert list(found) == NAMES
    for name in NAMES:
        same(found[name], values[name])


def test_what_is_joined_sends_nothing_to_the_device(twin, video):
    """Chunks become one array without indices from the host."""
    parts = [output.responses for _, output in twin.chunks(video)]
    with jax.transfer_guard("disallow"):
        last = outputs._first_frames(parts[-1], FRAMES % 8)
        assert outputs.are_finite(last)
        same(outputs.without_axes(last, 1), np.asarray(parts[-1])[: FRAMES % 8, 0])


def test_step(twin, video):
    for batch in (1, 2):
        state = twin.init_state(batch)
        after, expected = twin.step(state, video[0])
        found_after, found = twin.step(state, video[0], output="jax")
        same(found, expected)
        assert found.shape == ((7,) if batch == 1 else (2, 7))
        jax.tree.map(np.testing.assert_array_equal, found_after, after)


def test_while_somebody_traces(twin, video):
    """Values are values there, too."""
    expected = twin.predict(video)

    @jax.jit
    def traced(number):
        same(twin.predict(video, output="jax"), expected)
        return number

    traced(1.0)


def test_what_is_not_finite_is_said(twin, video):
    infinite = {"core": lambda value, place: value / 0.0}
    with pytest.warns(UserWarning, match="responses are NaN or infinite, first the output of core"):
        twin.predict(video, interventions=infinite, output="jax")


@pytest.mark.parametrize("output", ["torch", "JAX", None, jax])
def test_other_outputs(twin, video, output):
    expected = r"output is .*; expected one of 'numpy', 'jax'"
    for call in (
        lambda: twin.predict(video, output=output),
        lambda: twin.features(video, ["core"], output=output),
        lambda: twin.step(twin.init_state(), video[0], output=output),
    ):
        with pytest.raises(ValueError, match=expected):
            call()
