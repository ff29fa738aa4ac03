"""The parameters of a network by name: what is saved, hashed, converted and compared."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.network import Network


def parameter_arrays(network: Network) -> dict[str, np.ndarray]:
    """Every array of a network, buffers included, by its dotted path such as ``core.recurrent.query.weight``."""
    return {name: np.asarray(value) for name, value in named_parameters(network).items()}


def named_parameters(network: Network) -> dict[str, Any]:
    """The same arrays where they are, on their device and not copied."""
    return {_name(path): variable.get_value() for path, variable in nnx.to_flat_state(nnx.state(network))}


def is_core(name: str) -> bool:
    """Whether a parameter, or a key of a published checkpoint, belongs to the core, which the scans share."""
    return name.startswith("core.")


def unit_axis(name: str) -> int | None:
    """The axis of a parameter that counts the units; None: it does not belong to single units."""
    if name.startswith("readout.feature."):
        return 1  # the first one counts the streams
    return 0 if name.startswith("readout.") else None


def split_core(named: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What belongs to the core, and the rest."""
    core = {name: value for name, value in named.items() if is_core(name)}
    return core, {name: value for name, value in named.items() if name not in core}


def parameter_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array of the architecture; computes and allocates nothing."""
    return _shapes(_abstract(config))


def network_from_parameters(config: NetworkConfig, values: Mapping[str, np.ndarray | jax.Array]) -> Network:
    """A network of the given architecture with these parameters.

    Raises:
        ValueError: names are missing or not known, or shapes differ; all of them are listed.
    """
    abstract = _abstract(config)
    expected = _shapes(abstract)
    problems = compare_shapes(expected, {name: np.shape(value) for name, value in values.items()})
    if problems:
        raise ValueError("Parameters do not fit the architecture:\n" + indented(problems))
    graphdef, state = nnx.split(abstract)
    flat = nnx.to_flat_state(state)
    # Not jnp.asarray, which compiles a copy for each shape of a NumPy array: half a second for a network. Copied all
    # the same: on a CPU, a device may share a caller's memory.
    given = [values[_name(path)] for path, _ in flat]
    arrays = jax.device_put([value if isinstance(value, jax.Array) else np.array(value) for value in given])
    filled = [(path, variable.replace(array)) for (path, variable), array in zip(flat, arrays, strict=True)]
    return nnx.merge(graphdef, nnx.from_flat_state(filled))


def select_units(network: Network, rows: np.ndarray) -> Network:
    """A network of these units, in this order; what does not belong to single units is shared."""
    config = NetworkConfig.from_dict(network.config.to_dict() | {"num_units": len(rows)})
    arrays = named_parameters(network)
    for name, array in arrays.items():
        if (axis := unit_axis(name)) is not None:
            arrays[name] = array.take(rows, axis)
    return network_from_parameters(config, arrays)


def replace_parameters(network: Network, values: Mapping[str, Any]) -> Network:
    """The network with these arrays instead of those of the same names; shapes are not checked."""
    graphdef, state = nnx.split(network)
    flat = nnx.to_flat_state(state)
    filled = [(path, variable.replace(values.get(_name(path), variable.get_value()))) for path, variable in flat]
    return nnx.merge(graphdef, nnx.from_flat_state(filled))


def compare_shapes(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> list[str]:
    """One line for every name that is missing, extra or has another shape than expected."""
    problems = [f"missing: {name}" for name in sorted(expected.keys() - found.keys())]
    problems += [f"not known: {name}" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        if tuple(expected[name]) != tuple(found[name]):
            problems.append(f"shape of {name}: {list(found[name])}, expected {list(expected[name])}")
    return problems


def indented(problems: Iterable[str], most: int = 12) -> str:
    """Lines of a report under one another; of each kind (what stands before the colon) only the first ones."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(problem.split(" of ")[0].split(":")[0], []).append(problem)
    lines = []
    for kind, those in kinds.items():
        lines += those[:most] + ([f"{kind}: ... and {len(those) - most} more"] if len(those) > most else [])
    return "\n".join("  " + line for line in lines)


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _shapes(network: Network) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in named_parameters(network).items()}


def _abstract(config: NetworkConfig) -> Network:
    return nnx.eval_shape(lambda: Network(config, rngs=nnx.Rngs(0)))
