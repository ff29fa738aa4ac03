"""Strict settings for every test, and the small twin that most of them use."""

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

from fnn_jax import NetworkConfig, Twin  # noqa: E402
from fnn_jax.demo import random_network  # noqa: E402
from fnn_jax.model.network import Network  # noqa: E402

NUM_UNITS = 7


def disturb(network: Network, seed: int = 0) -> Network:
    """Move every parameter off its initial value, so that no bias, gain or eye trace is without effect."""
    random = np.random.default_rng(seed)
    noisy = jax.tree.map(lambda a: a + 0.2 * random.standard_normal(a.shape).astype(np.float32), network)
    noisy.perspective.luminance = network.perspective.luminance  # constants stay: negative light has no power
    noisy.perspective.retina = network.perspective.retina
    return noisy


@pytest.fixture(scope="session")
def network() -> Network:
    """A tiny network in which every parameter matters."""
    return disturb(random_network(NetworkConfig.tiny(NUM_UNITS)))


@pytest.fixture(scope="session")
def twin(network) -> Twin:
    return Twin(network, label="random weights")


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(1)
