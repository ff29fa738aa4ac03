"""Units that come from no scan: random ones, and those of a readout that somebody brings along."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np
from flax import nnx

from fnn_jax.common.checks import array, integer, numeric, shown
from fnn_jax.model.config import NetworkConfig, ReadoutConfig
from fnn_jax.model.network import Network
from fnn_jax.model.parameters import named_parameters, network_from_parameters, unit_axis
from fnn_jax.model.readout import Position

RANDOM = "RANDOM weights, not trained on any brain"  # the label of twins that are drawn
RANDOM_UNITS = 100
ANY = -1  # as the length of an axis
# Where positions lie, and what the parameter of one is: the inverse of fnn_jax.model.readout.BOUNDS.
PARAMETER: dict[str, tuple[float, float, Callable[[np.ndarray], np.ndarray]]] = {
    "tanh": (-1.0, 1.0, np.arctanh),
    "sigmoid": (0.0, 1.0, lambda position: np.log(position) - np.log1p(-position)),
}


def random_config(config: NetworkConfig | None, num_units: int | None) -> NetworkConfig:
    """The architecture of a random twin; see ``Twin.random``.

    Raises:
        TypeError, ValueError: what is no configuration, or no number of units.
    """
    num_units = None if num_units is None else integer("num_units", num_units)
    if config is None:
        return NetworkConfig.microns(num_units or RANDOM_UNITS)
    if not isinstance(config, NetworkConfig):
        raise TypeError(f"config is {shown(config)}; expected a NetworkConfig, such as NetworkConfig.microns(100).")
    return dataclasses.replace(config, num_units=num_units or config.num_units)


def random_network(config: NetworkConfig, seed: int = 0) -> Network:
    """A network with random weights, readout included, so that its units respond to something."""
    network: Any = Network(config, rngs=nnx.Rngs(seed))
    random = np.random.default_rng(seed)
    for part, name, scale in ((network.readout.position, "mean", 0.5), (network.readout.feature, "weight", 0.7)):
        drawn = (scale * random.standard_normal(getattr(part, name).shape)).astype(np.float32)
        setattr(part, name, nnx.Param(jax.device_put(drawn)))
    return network


def with_readout(network: Network, weights: Any, positions: Any, biases: Any) -> Network:
    """The network with other units, all else shared; see ``Twin.with_readout``.

    Its feature weights are the plain ones, also where the network's own are normalised.

    Raises:
        TypeError, ValueError: what are no finite numbers, or arrays of other shapes.
    """
    config, dtype = network.config, network.readout.position.mean.dtype
    streams, channels = config.num_streams, config.recurrent.out_channels
    largest = float(np.finfo(dtype).max)  # beyond, a float64 would become infinite
    low, high, parameter = PARAMETER[config.readout.bound]

    of = f"finite numbers [{streams}, units, {channels}], or [units, {channels}] for all streams alike"
    shapes = ((streams, ANY, channels), (ANY, channels))
    weights = _numbers("weights", weights, of, shapes, -largest, largest)
    units = weights.shape[-2]
    of = f"finite numbers [{units}, 2], x and y from {low:g} to {high:g}, for each of the units of weights"
    positions = _numbers("positions", positions, of, ((units, 2),), low, high)
    of = f"finite numbers [{streams}, {units}], or [{units}] for all streams alike"
    biases = np.zeros(units) if biases is None else biases
    biases = _numbers("biases", biases, of, ((streams, units), (units,)), -largest, largest)

    readout = ReadoutConfig(bound=config.readout.bound)
    config = dataclasses.replace(config, num_units=units, readout=readout)
    within = np.finfo(dtype).epsneg  # of the edges themselves the parameter is infinite
    drawn = Position(config)
    own = {
        "readout.position.mean": parameter(np.clip(positions, low + within, high - within)),
        "readout.position.spread": np.asarray(drawn.spread[...]),
        "readout.feature.weight": np.broadcast_to(weights, (streams, units, channels)),
        "readout.feature.bias": np.broadcast_to(biases, (streams, units)),
    }
    shared = {name: value for name, value in named_parameters(network).items() if unit_axis(name) is None}
    return network_from_parameters(config, shared | {name: value.astype(dtype) for name, value in own.items()})


def _numbers(
    name: str, values: Any, of: str, shapes: Collection[tuple[int, ...]], least: float, most: float
) -> np.ndarray:
    """A float64 array of one of these shapes."""
    if isinstance(values, jax.core.Tracer):
        raise TypeError(
            f"{name} is being traced by JAX; expected {of}. Inside jax.jit or jax.grad merge parameters of your own, "
            "as in docs/own_code.md."
        )
    found = numeric(name, values, of).astype(np.float64)  # of a float16 not every float32 is a limit
    found = array(name, found, of, {len(shape) for shape in shapes}, least, most)
    possible = [shape for shape in shapes if len(shape) == found.ndim]
    if not any(all(a in (ANY, b) for a, b in zip(shape, found.shape, strict=True)) for shape in possible):
        raise ValueError(f"{name} has the shape {list(found.shape)}; expected {of}.")
    return found
