"""On a CPU, gradients outside of ``jax.jit``, each stream of the network in a thread of its own.

As in ``threads``, streams meet nowhere before the mean of their readouts: forward and backward, each is a program that
runs beside the others. What a stream keeps in between for its way back, JAX gives out as a pytree.
"""

from typing import Any

import jax
import jax.numpy as jnp

from fnn_jax.model.network import Network
from fnn_jax.model.values import Inputs
from fnn_jax.twin import threads
from fnn_jax.twin.rollout import compiled


def runs_in_threads(network: Network) -> bool:
    """Whether the streams should run in threads: where nothing is compiled, on one device, which is a CPU."""
    leaves = jax.tree.leaves(network)
    # Under jax.jit a constant is traced, too.
    if _any_traced((jnp.zeros(()), leaves)):
        return False
    return threads.worthwhile(leaves, network.config.num_streams)


def readout(leaves: list[jax.Array], inputs: Inputs, *, structure: Any, **options: Any) -> jax.Array:
    """The mean readout of all streams, ``[T, N, U]``, for ``jax.grad`` with respect to inputs.

    Other transformations than gradients get one program of all streams. ``leaves`` are not differentiated.
    """
    traced = {name: array for name, array in inputs._asdict().items() if isinstance(array, jax.core.Tracer)}
    fixed = Inputs(*(() if name in traced else array for name, array in inputs._asdict().items()))  # type: ignore[arg-type]
    static = {"structure": structure, "names": tuple(traced), **options}
    streams = threads.stream_indices(leaves, structure)
    if not all(jnp.issubdtype(array.dtype, jnp.inexact) for array in traced.values()):
        return _mean(leaves, fixed, traced.values(), **static)

    def alone(*values):
        if _any_traced(values):
            return _mean(leaves, fixed, values, **static)
        program = compiled(_of_stream, leaves, fixed, values, streams[0], **static)
        found = threads.in_threads(lambda stream: program(leaves, fixed, values, stream), streams)
        return compiled(_mean_of, found)(found)

    def forward(*values):
        if _any_traced(values):
            return jax.vjp(lambda *values: _mean(leaves, fixed, values, **static), *values)
        program = compiled(_with_way_back, leaves, fixed, values, streams[0], **static)
        found = threads.in_threads(lambda stream: program(leaves, fixed, values, stream), streams)
        readouts, ways_back = map(list, zip(*found, strict=True))
        return compiled(_mean_of, readouts)(readouts), ways_back

    def backward(ways_back, gradient):
        if not isinstance(ways_back, list):
            return ways_back(gradient)
        if _any_traced((ways_back, gradient)):
            return _sum_of([way_back(gradient / len(ways_back)) for way_back in ways_back])
        program = compiled(_back, ways_back[0], gradient, streams=len(ways_back))
        shares = threads.in_threads(lambda way_back: program(way_back, gradient), ways_back)
        return compiled(_sum_of, shares)(shares)

    mean = jax.custom_vjp(alone)
    mean.defvjp(forward, backward)
    return mean(*traced.values()) if traced else alone()


def _any_traced(tree):
    return any(isinstance(array, jax.core.Tracer) for array in jax.tree.leaves(tree))


def _with_way_back(leaves, fixed, values, stream, **static):
    """The readout of one stream, and the function from its gradient to those of the values."""
    return jax.vjp(lambda *values: _of_stream(leaves, fixed, values, stream, **static), *values)


def _of_stream(leaves, fixed, values, stream, *, names, structure, **options):
    inputs = fixed._replace(**dict(zip(names, values, strict=True)))
    state = jax.tree.unflatten(structure, leaves).init_state(inputs.stimuli.shape[1])
    return threads.stream_rollout(leaves, state, inputs, stream, structure=structure, **options)[1].readout


def _mean(leaves, fixed, values, **static):
    streams = threads.stream_indices(leaves, static["structure"])
    return _mean_of([_of_stream(leaves, fixed, values, stream, **static) for stream in streams])


def _mean_of(readouts):
    return jnp.stack(readouts).mean(0)


def _back(way_back, gradient, *, streams):
    return way_back(gradient / streams)


def _sum_of(shares):
    return jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *shares)
