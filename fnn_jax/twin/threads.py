"""On a CPU, the streams of a rollout in threads of their own.

XLA keeps one program on several cores busy for a part of the time only: most of its matrix products are too small to
be cut. Streams meet nowhere before the mean of their readouts, so each is a program that runs beside the others. What
comes out is the same but for rounding.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.model.extent import MAPS
from fnn_jax.model.inside import WITHOUT_STREAMS
from fnn_jax.model.values import Inputs, NetworkState, Output
from fnn_jax.twin.rollout import compiled, outside_traces


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worthwhile(leaves: list[jax.Array], streams: int) -> bool:
    """Whether the streams of a network with these arrays should run in threads: on one device, which is a CPU.

    It is that on which new arrays come to lie: a program does not fetch its inputs from another one.
    """
    devices = set().union(*(array.devices() for array in leaves))
    if min(streams, cores()) == 1 or devices != jnp.zeros(()).devices():
        return False
    return devices.pop().platform == "cpu"


def one_stream_rollout(leaves, state, inputs, stream, *, structure, **options):
    """``Network.rollout`` of one chunk of frames by one stream: its state, and its output."""
    chunk_frames = inputs.stimuli.shape[0]
    return stream_rollout(leaves, state, inputs, stream, structure=structure, chunk_frames=chunk_frames, **options)


def stream_rollout(leaves, state, inputs, stream, *, structure, **options):
    """``Network.rollout`` by one stream, whose index may be traced: its state, and its output."""
    network = jax.tree.unflatten(structure, leaves).one_stream(stream)
    if options["start"] in MAPS:
        inputs = inputs._replace(stimuli=jax.lax.dynamic_slice_in_dim(inputs.stimuli, stream, 1, axis=2))
    return network.rollout(_of_stream(state, stream), inputs, **options)


def _of_stream(state, stream):
    own = state.modulation, state.core
    if state.noise is not None:
        own = *own, state.noise.modulation, state.noise.core
    modulation, core, *noise = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, stream, 1, axis=1), own)
    if noise:
        noise = state.noise._replace(modulation=noise[0], core=noise[1])
    return NetworkState(modulation, core, noise or None)


def join(leaves, states, outputs, *, structure):
    """The state of all streams, and their output: readouts are averaged, features lie side by side."""
    network = jax.tree.unflatten(structure, leaves)
    parts = [(state.modulation, state.core) for state in states]
    modulation, core = jax.tree.map(lambda *arrays: jnp.concatenate(arrays, axis=1), *parts)
    features = {}
    for name, array in outputs[0].features.items():
        by_stream = [output.features[name] for output in outputs]
        features[name] = array if name in WITHOUT_STREAMS else jnp.concatenate(by_stream, axis=2)
    state = NetworkState(modulation, core, None)
    if outputs[0].readout is None:
        return state, Output(None, None, features)  # type: ignore[arg-type]
    readout = jnp.stack([output.readout for output in outputs]).mean(0)
    return state, Output(network.responses(readout), readout, features)


def stream_indices(leaves: list[jax.Array], structure: Any) -> list[jax.Array]:
    """The numbers of a network's streams, as programs take them."""
    count = jax.tree.unflatten(structure, leaves).config.num_streams
    return jax.device_put([np.int32(stream) for stream in range(count)])


def in_threads(call: Callable[[Any], Any], each: list[Any]) -> list[Any]:
    """What a program returns for each, when all is computed; as many at a time as there are cores."""
    with ThreadPoolExecutor(min(len(each), cores())) as pool:
        return list(pool.map(lambda one: jax.block_until_ready(call(one)), each))


def rollout(
    leaves: list[jax.Array], state: NetworkState, inputs: Inputs, *, structure: Any, **options: Any
) -> tuple[NetworkState, Output]:
    """``Network.rollout`` of one chunk of frames, of all streams; flat parameters, whose structure is given."""
    with outside_traces():
        arguments = leaves, state, jax.device_put(inputs)
        indices = stream_indices(leaves, structure)
    program = compiled(one_stream_rollout, *arguments, indices[0], structure=structure, **options)
    results = in_threads(lambda index: program(*arguments, index), indices)
    parts = tuple(zip(*results, strict=True))
    joined, output = compiled(join, leaves, *parts, structure=structure)(leaves, *parts)
    return joined._replace(noise=state.noise), output
