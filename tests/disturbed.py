"""A network in which every parameter matters."""

import jax
import numpy as np

from fnn_jax import Network


def disturb(network: Network, seed: int = 0) -> Network:
    """Move every parameter off its initial value, so that no bias, gain or eye trace is without effect."""
    random = np.random.default_rng(seed)
    noisy = jax.tree.map(lambda a: a + 0.2 * random.standard_normal(a.shape).astype(np.float32), network)
    noisy.perspective.luminance = network.perspective.luminance  # constants stay: negative light has no power
    noisy.perspective.retina = network.perspective.retina
    return noisy
