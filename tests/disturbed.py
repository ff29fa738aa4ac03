"""Small networks in which every parameter matters."""

import dataclasses

import jax
import numpy as np

from fnn_jax import Network, NetworkConfig


def small(num_units: int) -> NetworkConfig:
    """``NetworkConfig.tiny`` with a feedforward part of one layer: it compiles sooner."""
    tiny = NetworkConfig.tiny(num_units)
    block = {"channels": (4,), "groups": (1,), "layers": (1,), "temporal_kernels": (2,), "spatial_kernels": (3,)}
    return dataclasses.replace(tiny, feedforward=dataclasses.replace(tiny.feedforward, **block, pools=(2,)))


def disturb(network: Network, seed: int = 0) -> Network:
    """Move every parameter off its initial value, so that no bias, gain or eye trace is without effect."""
    random = np.random.default_rng(seed)
    noisy = jax.tree.map(lambda a: a + 0.2 * random.standard_normal(a.shape).astype(np.float32), network)
    noisy.perspective.luminance = network.perspective.luminance  # constants stay: negative light has no power
    noisy.perspective.retina = network.perspective.retina
    return noisy


def damage(folder):
    """Turn every bit of the large files in a folder: one of a few may lie in a part that nobody reads."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))
