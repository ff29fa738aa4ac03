"""Random units, and units of a readout that somebody brings along."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alternatives import ALTERNATIVES
from disturbed import disturb, small
from flax import nnx
from hypothesis import strategies as st
from wrong import JUNK, NO_SCALARS, NONE, TEXTS, UNITS, check, integers, seeds

from fnn_jax import Network, NetworkConfig, Twin
from fnn_jax.model.parameters import is_core, named_parameters
from fnn_jax.twin import heads

STREAMS, CHANNELS = 2, 5
PUBLISHED = {"weights": "default", "animal_id": 17797}


@pytest.fixture(scope="module")
def video():
    return np.random.default_rng(0).integers(0, 256, (5, 18, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def responses(twin, video):
    return twin.predict(video)


def own(network):
    """Feature weights, positions and biases of a network's own units."""
    return network.readout.feature.weights(), network.readout.position(), network.readout.feature.bias[...]


def test_units_of_a_random_twin_differ(video):
    """Those of a new network do not: every one responds 1."""
    twin = Twin.random(small(4), seed=3)
    responses, black = twin.predict(video), twin.predict(0 * video)
    assert np.abs(responses - black).max(0).min() > 1e-4, "a unit that sees nothing"
    assert np.ptp(responses, axis=1).min() > 1e-2, "units that respond alike"
    new = Network(twin.config, rngs=nnx.Rngs(3))
    np.testing.assert_array_equal(Twin(new).predict(video), 1)


def test_weights_follow_from_the_seed():
    first, same, other = (Twin.random(small(4), seed=seed) for seed in (0, np.int64(0), 1))
    assert first.fingerprint() == same.fingerprint() == Twin.random(small(4)).fingerprint()
    arrays, others = (named_parameters(twin.network) for twin in (first, other))
    for drawn in ("core.recurrent.out.weight", "readout.feature.weight", "readout.position.mean"):
        assert (np.asarray(arrays[drawn]) != others[drawn]).all(), drawn


def test_a_random_twin_says_so(tmp_path):
    twin = Twin.random(small(4), num_units=3)
    assert repr(twin) == "Twin(random: 3 units, 2 streams, RANDOM weights, not trained on any brain)"
    twin.save(tmp_path / "twin")
    assert repr(Twin.load(tmp_path / "twin")) == repr(twin)


def test_sizes_of_a_random_twin():
    assert heads.random_config(None, None) == NetworkConfig.microns(100)
    assert heads.random_config(None, 7) == NetworkConfig.microns(7)
    assert heads.random_config(small(4), None) == small(4)
    assert heads.random_config(small(4), np.int32(9)) == small(9)


WRONG_RANDOM = {
    "config": JUNK | TEXTS | st.integers() | NO_SCALARS | st.just(NetworkConfig) | st.just(small(3).to_dict()),
    "units": integers(none=True),
    "seed": seeds(),
}


@pytest.mark.parametrize("argument", WRONG_RANDOM)
def test_what_is_no_random_twin(argument, monkeypatch):
    monkeypatch.setattr(heads, "Network", None)  # nothing is drawn
    check(Twin.random, argument, WRONG_RANDOM[argument])


def test_own_readout_given_back(twin, video, responses):
    weights, positions, biases = own(twin.network)
    for as_given in (np.asarray, lambda array: np.asarray(array, np.float64), jnp.asarray):
        again = twin.with_readout(*map(as_given, (weights, positions, biases)))
        np.testing.assert_allclose(again.predict(video), responses, rtol=1e-6)
    for stream in range(STREAMS):
        np.testing.assert_allclose(again.predict(video, stream=stream), twin.predict(video, stream=stream), rtol=1e-6)
    without = twin.with_readout(weights, positions).predict(video)
    np.testing.assert_allclose(without, responses / np.exp(np.asarray(biases).mean(0)), rtol=1e-5)
    assert np.abs(without / responses - 1).max() > 0.01, "biases are without effect, and the test is, too"


def test_units_come_in_their_order(twin, video, responses):
    weights, positions, biases = own(twin.network)
    rows = np.array([4, 0, 4, 2])
    some = twin.with_readout(weights[:, rows], positions[rows], biases[:, rows])
    np.testing.assert_allclose(some.predict(video), responses[:, rows], rtol=1e-6)
    assert some.units.index.tolist() == [0, 1, 2, 3] and some.units.index.name == "readout_id"
    assert some.num_units == some.config.num_units == 4 and twin.num_units == UNITS
    located = twin.readout_locations().to_numpy()
    np.testing.assert_allclose(some.readout_locations().to_numpy(), located[rows], atol=1e-6)


def test_streams_alike(twin):
    """What is given once is that of every stream."""
    weights, positions, biases = own(twin.network)
    alike = twin.with_readout(weights[1], positions, biases[1]).network.readout.feature
    for stream in range(STREAMS):
        np.testing.assert_array_equal(alike.weight[stream], weights[1])
        np.testing.assert_array_equal(alike.bias[stream], biases[1])


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_readouts_of_other_modules(name):
    """Normalised feature weights, and the other bound of positions: what is read from maps is the same."""
    twin = Twin(disturb(heads.random_network(ALTERNATIVES[name])))
    config = twin.config
    shape = (2, 1, config.num_streams, 4, 6, config.recurrent.out_channels)
    maps = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    again = twin.with_readout(*own(twin.network)).network
    np.testing.assert_allclose(again.read(maps), twin.network.read(maps), rtol=1e-5, atol=1e-6)
    assert again.config.unit == config.unit and again.config.readout.bound == config.readout.bound


def test_the_edges_can_be_read(twin):
    corners = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1], [0, 0]])
    read = twin.with_readout(np.ones((5, CHANNELS), int), corners).network.readout.position()
    np.testing.assert_allclose(read, corners, atol=2e-7)


def test_all_else_is_shared_and_the_provenance_says_changed(network):
    twin = Twin(network, provenance=PUBLISHED)
    other = twin.with_readout(*own(network))
    arrays, others = named_parameters(network), named_parameters(other.network)
    assert all(others[name] is array for name, array in arrays.items() if not name.startswith("readout."))
    assert any(map(is_core, arrays)) and arrays.keys() == others.keys()
    assert twin.weights == "default" and "changed" not in twin.record()
    assert other.weights is None and other.record() == {"animal_id": 17797, "changed": True}
    assert "changed or unnamed weights" in repr(other)


def test_save_and_load(twin, video, tmp_path):
    weights, positions, _ = own(twin.network)
    made = twin.with_readout(-weights[:, :4], positions[:4], np.arange(4) / 10)
    made.save(tmp_path / "twin")
    loaded = Twin.load(tmp_path / "twin")
    np.testing.assert_array_equal(loaded.predict(video), made.predict(video))
    assert loaded.fingerprint() == made.fingerprint() != twin.fingerprint()
    assert loaded.record() == made.record() == {"changed": True} and loaded.label == twin.label


RIGHT = {
    "weights": np.zeros((STREAMS, UNITS, CHANNELS)),
    "positions": np.zeros((UNITS, 2)),
    "biases": np.zeros((STREAMS, UNITS)),
}
SHAPES = {
    "weights": [(), (CHANNELS,), (UNITS, CHANNELS + 1), (3, UNITS, CHANNELS), (1, UNITS, CHANNELS), (UNITS, 10)],
    "positions": [(), (UNITS,), (2, UNITS), (UNITS, 3), (UNITS - 1, 2), (1, UNITS, 2), (STREAMS, UNITS, 2)],
    "biases": [(), (1,), (UNITS + 1,), (UNITS, STREAMS), (1, UNITS), (STREAMS, UNITS, 1)],
}
VALUES = {"weights": [1e39, -1e39], "positions": [1.001, -1.001], "biases": [1e39]}
DTYPES = (bool, complex, object, "U1", "S1", "M8[s]")


def with_one(array, value):
    return np.where(np.arange(array.size).reshape(array.shape) == array.size // 2, value, array)


def wrong_arrays(name):
    right = RIGHT[name]
    wrong = JUNK | TEXTS | NO_SCALARS | st.integers() | st.floats()
    wrong |= st.sampled_from([np.zeros(shape) for shape in [*SHAPES[name], (0, *right.shape[1:])]])
    wrong |= st.sampled_from([right.astype(dtype) for dtype in DTYPES])
    wrong |= st.sampled_from([with_one(right, value) for value in (np.nan, np.inf, -np.inf, *VALUES[name])])
    wrong |= st.sampled_from([jnp.full(right.shape, jnp.nan), right.astype(str).tolist(), [[None] * 2] * UNITS])
    return wrong if name == "biases" else wrong | NONE


@pytest.mark.parametrize("argument", RIGHT)
def test_wrong_arrays_are_refused_before_anything_is_computed(twin, argument, monkeypatch):
    twin.with_readout(**RIGHT)

    def compute(*arguments):
        raise AssertionError("a wrong argument got as far as the work")

    monkeypatch.setattr(heads, "network_from_parameters", compute)
    check(lambda **wrong: twin.with_readout(**RIGHT | wrong), argument, wrong_arrays(argument))


MESSAGES = {
    "weights of other channels": (
        {"weights": np.zeros((UNITS, 10))},
        r"weights has the shape \[7, 10\]; expected finite numbers \[2, units, 5\], or \[units, 5\] for all streams",
    ),
    "NaN": ({"weights": with_one(RIGHT["weights"], np.nan)}, "weights has values from nan to nan; expected finite"),
    "positions of other units": (
        {"positions": np.zeros((3, 2))},
        r"positions has the shape \[3, 2\]; expected finite numbers \[7, 2\], x and y from -1 to 1, for each of the",
    ),
    "positions in pixels": (
        {"positions": 20 + RIGHT["positions"]},
        r"positions has values from 20.0 to 20.0; expected finite numbers \[7, 2\], x and y from -1 to 1",
    ),
    "text": ({"biases": "zero"}, r"biases is 'zero', of the dtype <U4; expected finite numbers \[2, 7\], or \[7\] for"),
}


@pytest.mark.parametrize("what", MESSAGES)
def test_what_is_said_of_wrong_arrays(twin, what):
    wrong, message = MESSAGES[what]
    with pytest.raises((TypeError, ValueError), match=message):
        twin.with_readout(**RIGHT | wrong)


def test_traced_arrays_are_refused(twin):
    with pytest.raises(TypeError, match="weights is being traced by JAX; .* merge parameters of your own"):
        jax.grad(lambda weights: twin.with_readout(weights, RIGHT["positions"]).rollout(None))(jnp.zeros((7, 5)))


def test_halves_are_numbers(twin):
    weights, positions = RIGHT["weights"] + 0.5, RIGHT["positions"] - 0.5
    for dtype in (np.float16, jnp.bfloat16):
        readout = twin.with_readout(weights.astype(dtype), positions.astype(dtype)).network.readout
        assert readout.feature.weight.dtype == np.float32 and (readout.feature.weight[...] == 0.5).all()
        np.testing.assert_allclose(readout.position(), positions, rtol=1e-6)
