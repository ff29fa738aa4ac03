"""Chunks of frames: what goes through the stages together, and one chunk after the other."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fnn_jax.model import inside
from fnn_jax.model.extent import MAPS
from fnn_jax.model.formulation import formulation
from fnn_jax.model.values import NetworkState, Output

# Frames that go through the feedforward part together: they bound the memory, and the work that a last, filled-up chunk
# wastes. On two CPU cores a frame took 45 ms in chunks of 4, and 40 to 42 ms in chunks of 8, 12 and 16.
CHUNK_FRAMES = 8


def advance(network, state, inputs, *, stream, periphery, names, precision, remat, probe, extent):
    """A chunk of frames through a network: videos one by one, inside each its streams one by one.

    Arguments are those of ``Network.rollout``; ``names`` are the features, ``probe`` knows who taps or changes values.
    """
    position = network.readout.position
    streams = (network.modulation, network.core, network.readout.feature)
    noise = None if state.noise is None else (state.noise.modulation, state.noise.core)
    stream_state = (state.modulation, state.core, noise)
    if stream is not None:
        streams = select(streams, stream, axis=0)
        stream_state = select(stream_state, stream, axis=1)
        if extent.start in MAPS and inputs.stimuli.shape[2] > 1:
            inputs = inputs._replace(stimuli=select(inputs.stimuli, stream, axis=2))
    dtype = network.perspective.monitor.center.dtype

    def at(video, stream):
        """A probe of one video and stream, with nothing found yet."""
        return probe and probe._replace(place=probe.place._replace(video=video, stream=stream), found={})

    def video(args):
        inputs, stream_state, noise, index = args
        retina = given = None
        with inside.probing(at(index, jnp.int32(-1))) as seen:
            if extent.covers("stimulus"):
                retina = network.perspective(
                    inputs.stimuli if inputs.stimuli.dtype == jnp.uint8 else inputs.stimuli.astype(dtype),
                    inputs.perspectives.astype(dtype),
                    None if noise is None else noise.perspective,
                    periphery,
                )
            elif extent.covers("retina"):
                retina = inside.tap("retina", inputs.stimuli.astype(dtype))
            else:
                given = jnp.moveaxis(inputs.stimuli.astype(dtype), 1, 0)
        positions = position(None if noise is None else noise.readout)

        # What is tapped is that of one stream, in the order in which people see it.
        at_once = formulation() in ("gpu", "tpu") and probe is None

        def run(args):
            """One stream; with ``at_once`` all of them, in arrays with a leading axis."""
            (modulation, core, feature), state, stream, given = args
            modulation_state, core_state, noise = state
            modulation_noise, core_noise = (None, None) if noise is None else noise
            vector = readout = None
            maps, features = given, {}
            each = jax.vmap if at_once else (lambda function: function)
            with inside.probing(at(index, stream)) as found:
                if extent.covers("feedforward"):
                    modulate = each(lambda layer, state, noise: layer(state, behaviour, noise))
                    modulation_state, vector = modulate(modulation, modulation_state, modulation_noise)
                    features["modulation"] = vector = inside.tap("modulation", vector)
                if extent.covers("retina") or extent.covers("feedforward"):
                    with jax.default_matmul_precision(precision):
                        through = core.all_streams if at_once else core
                        core_state, maps, more = through(core_state, retina, vector, core_noise, given)
                    features |= more
                elif extent.start == "core":
                    features["core"] = maps = inside.tap("core", maps)
                if extent.covers("core"):
                    readout = each(lambda layer, maps: layer(maps, positions))(feature, maps)
                    features["readout"] = readout = inside.tap("readout", readout)
            features |= found
            return (modulation_state, core_state), readout, {n: features[n] for n in by_stream_names}

        behaviour = inputs.modulations.astype(dtype)
        # On a CPU computing a stream's chunk once more is faster than writing what is inside to memory.
        run = jax.checkpoint(run, prevent_cse=False) if remat else run
        by_stream = (streams, stream_state, stream_indices, given)
        new_state, readout, features = run(by_stream) if at_once else map_over(run, by_stream)
        if retina is not None:
            seen["retina"] = retina
        features |= {name: seen[name] for name in names if name in inside.WITHOUT_STREAMS}
        return new_state, None if readout is None else readout.mean(0), features

    by_stream_names = [name for name in names if name not in inside.WITHOUT_STREAMS]
    video_indices = stream_indices = None
    if probe is not None:
        video_indices = jnp.arange(inputs.stimuli.shape[1], dtype=jnp.int32)
        chosen = jnp.arange(network.config.num_streams) if stream is None else jnp.asarray(stream)[None]
        stream_indices = chosen.astype(jnp.int32)
    by_video = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), inputs)
    new_state, readout, features = map_over(video, (by_video, stream_state, state.noise, video_indices))
    if stream is not None:
        old = (state.modulation, state.core)
        new_state = jax.tree.map(
            lambda whole, part: jax.lax.dynamic_update_slice_in_dim(whole, part, stream, axis=1), old, new_state
        )
    # [batch, stream, time] and [batch, time] to time first.
    features = {n: jnp.moveaxis(a, 1 if n in inside.WITHOUT_STREAMS else 2, 0) for n, a in features.items()}
    modulation_state, core_state = new_state
    new_state = NetworkState(modulation_state, core_state, state.noise)
    if readout is None:
        return new_state, Output(None, None, features)  # type: ignore[arg-type]
    readout = jnp.moveaxis(readout, 1, 0)
    return new_state, Output(network.responses(readout), readout, features)


def select(tree, index, axis):
    """One entry of every array along an axis, which stays, with length 1."""
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, index, 1, axis), tree)


def map_over(function: Callable, arguments):
    """Map over the leading axis: one after the other on a CPU, where that stays in the cache, else all at once."""
    if formulation() == "cpu":
        return jax.lax.map(function, arguments)
    return jax.vmap(function)(arguments)


def chunk_length(frames: int) -> int:
    """The length of equal chunks, or one that leaves a remainder, where that wastes the least."""

    def cost(length):
        # Four frames are the least that the convolutions over time make; a remainder is compiled anew.
        whole, rest = divmod(frames, length)
        return whole * math.ceil(length / 4) + (math.ceil(rest / 4) + CHUNK_FRAMES if rest else 0)

    return min(range(min(2 * CHUNK_FRAMES, frames), 0, -1), key=cost)


def over_chunks(advance, state, inputs, length):
    frames = jax.tree.leaves(inputs)[0].shape[0]
    if frames <= length:
        return advance(state, inputs)
    whole = frames - frames % length
    chunks = jax.tree.map(lambda a: a[:whole].reshape(-1, length, *a.shape[1:]), inputs)
    state, output = jax.lax.scan(advance, state, chunks)
    output = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), output)
    if whole == frames:
        return state, output
    state, rest = advance(state, jax.tree.map(lambda a: a[whole:], inputs))
    return state, jax.tree.map(lambda *parts: jnp.concatenate(parts), output, rest)
