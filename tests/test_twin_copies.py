"""Copies, pickles and pytree round trips of a twin predict the same, and know where their weights come from."""

import concurrent.futures
import copy
import multiprocessing
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from fnn_jax import Screen, Twin

PUBLISHED = {"weights": "default", "animal_id": 17797}


@pytest.fixture(scope="module")
def published(network):
    table = pd.DataFrame({"unit_id": range(7)}, index=pd.Index([f"cell {i}" for i in range(7)], name="readout_id"))
    return Twin(network, table, name="8-5", label="random weights", provenance=PUBLISHED)


@pytest.fixture(scope="module")
def video(network):
    size = (4, network.config.stimulus_height, network.config.stimulus_width)
    return np.random.default_rng(3).integers(0, 256, size, np.uint8)


COPIES = {
    "pickle": lambda twin: pickle.loads(pickle.dumps(twin)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "tree map": lambda twin: jax.tree.map(lambda array: array, twin),
    "copied arrays": lambda twin: jax.tree.map(jnp.array, twin),
    "unflatten": lambda twin: jax.tree.unflatten(jax.tree.structure(twin), jax.tree.leaves(twin)),
    "device_put": lambda twin: jax.device_put(twin, jax.devices()[0]),
    "twice": lambda twin: pickle.loads(pickle.dumps(jax.tree.map(jnp.array, copy.deepcopy(twin)))),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_the_same_twin(name, published, video):
    other = COPIES[name](published)
    np.testing.assert_array_equal(other.predict(video), published.predict(video))
    assert (other.name, other.label, other.record()) == (published.name, published.label, published.record())
    assert other.weights == "default" and "changed" not in other.record()
    assert other.fingerprint() == published.fingerprint()
    pd.testing.assert_frame_equal(other.units, published.units)
    other.provenance["animal_id"] = 0
    assert published.provenance["animal_id"] == 17797


def test_a_changed_copy_says_so(published):
    changed = jax.tree.map(lambda array: array * 1.5, published)
    again = pickle.loads(pickle.dumps(changed))
    for twin in (changed, again, copy.deepcopy(changed)):
        assert twin.weights is None and twin.record() == {"animal_id": 17797, "changed": True}


def test_a_twin_is_an_argument_of_compiled_functions(published, video):
    @jax.jit
    def mean(twin, video):
        return twin.rollout(video).mean()

    expected = published.predict(video).mean()
    np.testing.assert_allclose(mean(published, video), expected, rtol=1e-6)
    gradient = jax.eval_shape(jax.grad(mean), published, video.astype(np.float32) / 255)
    assert jax.tree.structure(gradient) == jax.tree.structure(published)
    assert published.weights == "default"


def test_fingerprints_of_text_are_those_of_every_process(published, tmp_path):
    published.save(tmp_path / "store")
    code = f"from fnn_jax import Twin; print(Twin.load({str(tmp_path / 'store')!r}).fingerprint())"
    printed = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout}
    assert printed == {published.fingerprint() + "\n"}
    table = published.units.rename(index={"cell 3": "another"})
    assert Twin(published.network, table).fingerprint() != published.fingerprint()


def _mean_responses(twin, videos):
    """In another process."""
    return Screen(twin, reduce="mean", progress=False)(videos).responses.values


@pytest.mark.slow
def test_screens_in_processes_of_multiprocessing(published, video):
    """As joblib, dask and submitit do it, too."""
    videos = np.stack([video, video[::-1]])
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        parts = list(pool.map(_mean_responses, [published] * 2, [videos[:1], videos[1:]]))
    np.testing.assert_array_equal(np.concatenate(parts), _mean_responses(published, videos))


@pytest.mark.slow
def test_screens_in_processes_of_joblib(published, video):
    """Two jobs: one would be done in the same process, where nothing is pickled."""
    joblib = pytest.importorskip("joblib")
    from joblib.externals.loky import get_reusable_executor

    videos = np.stack([video, video[::-1]])
    try:
        parts = joblib.Parallel(2, "loky")(joblib.delayed(_mean_responses)(published, part[None]) for part in videos)
    finally:
        get_reusable_executor().shutdown(wait=True)
    np.testing.assert_array_equal(np.concatenate(parts), _mean_responses(published, videos))
