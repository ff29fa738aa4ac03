"""Strict settings for every test, and the small twin that most of them use."""

import jax
import pytest
from disturbed import disturb

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

from fnn_jax import NetworkConfig, Twin  # noqa: E402
from fnn_jax.demo import random_network  # noqa: E402
from fnn_jax.model.network import Network  # noqa: E402

NUM_UNITS = 7


@pytest.fixture(scope="session")
def network() -> Network:
    """A tiny network in which every parameter matters."""
    return disturb(random_network(NetworkConfig.tiny(NUM_UNITS)))


@pytest.fixture(scope="session")
def twin(network) -> Twin:
    return Twin(network, label="random weights")
