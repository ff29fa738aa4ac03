"""What a unit reads: the maps at its position, weighted and added up."""

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float

from fnn_jax.model.formulation import formulation
from fnn_jax.model.geometry import bilinear_corners, sample_bilinear
from fnn_jax.model.inside import asked, tap


def weighted_samples(
    maps: Float[Array, "time height width channels"],
    points: Float[Array, "units 2"],
    weights: Float[Array, "units channels"],
) -> Float[Array, "time units"]:
    """Bilinear samples of the maps, one point for each unit, times the unit's weights, summed over channels."""
    if asked("readout.samples"):
        samples = tap("readout.samples", sample_bilinear(maps, points, "edge"))
        return jnp.einsum("tuc,uc->tu", samples, weights)
    if formulation() == "tpu":  # the compiler writes what it gathers to memory: not of all frames at once

        @jax.checkpoint
        def read(frame):
            return (sample_bilinear(frame[None], points, "edge")[0] * weights).sum(-1)

        return jax.lax.map(read, maps)
    if formulation() == "plain":
        return jnp.einsum("tuc,uc->tu", sample_bilinear(maps, points, "edge"), weights)
    corners = bilinear_corners(points, maps.shape[1], maps.shape[2], "edge")
    index, corner_weights = (jnp.stack(parts) for parts in list(zip(*corners, strict=True))[:2])
    read = _read if formulation() == "cpu" else _read_at_once
    return read(maps.reshape(maps.shape[0], -1, maps.shape[-1]), index, corner_weights, weights)


def _corner_values(flat, index):
    """The maps ``[time, pixels, channels]`` at each corner of each unit."""
    return [jnp.take(flat, i, axis=1, mode="clip") for i in index]


@jax.custom_vjp
def _read_at_once(flat, index, corner_weights, weights):
    samples = sum(v * w[None, :, None] for v, w in zip(_corner_values(flat, index), corner_weights, strict=True))
    return jnp.einsum("tuc,uc->tu", samples, weights)


def _in_order(array):
    """An array whose last axis is the one along memory, where each device has its own part of a program, or is alone.

    A constraint of layout cannot be cut by XLA: under plain sharding each device would ask the others for all of it.
    """
    if jax.device_count() > 1 and not jax.sharding.get_abstract_mesh().are_all_axes_manual:
        return array
    return with_layout_constraint(array, Layout(tuple(range(array.ndim))))


def _read_at_once_forward(flat, index, corner_weights, weights):
    return _read_at_once(flat, index, corner_weights, weights), (flat, index, corner_weights, weights)


def _read_at_once_backward(saved, g):
    # As derived, the sum over frames ran along the last axis, across memory, and where everything is trained units were
    # spread over maps whose channels lay apart: 24 of 271 us a frame on an H200, and 320 of 1280.
    flat, index, corner_weights, weights = saved
    values = _corner_values(flat, index)
    samples = sum(value * w[None, :, None] for value, w in zip(values, corner_weights, strict=True))
    on_weights = _in_order(g[:, :, None] * samples).sum(0)
    on_corners = jnp.stack([((value * weights[None]).sum(-1) * g).sum(0) for value in values])
    on_samples = g[:, :, None] * weights[None]
    on_flat = _in_order(jnp.zeros_like(flat))
    for i, w in zip(index, corner_weights, strict=True):
        on_flat = on_flat.at[:, i].add(on_samples * w[None, :, None])
    return _in_order(on_flat), None, on_corners, on_weights


_read_at_once.defvjp(_read_at_once_forward, _read_at_once_backward)


# Units whose samples are in the cache together. All at once they took eight times as long: 42 ms for 9941 units and 8
# frames on one core, where blocks of 16 to 256 took 5 to 7.
BLOCK = 64


def _blocks(size, *arrays):
    """Arrays ``[units, ...]`` in blocks of so many units, filled up with zeros."""
    fill = -arrays[0].shape[0] % size

    def cut(array):
        filled = jnp.pad(array, ((0, fill), (0, 0))) if fill else array
        return filled.reshape(-1, size, *array.shape[1:])

    return tuple(map(cut, arrays))


@jax.custom_vjp
def _read(flat, index, corner_weights, weights):
    frames, pixels, channels = flat.shape
    units = weights.shape[0]
    rows = flat.swapaxes(0, 1).reshape(pixels, -1)
    size = min(BLOCK, units)

    def read(block):
        index, corner_weights, weights = block
        corners = zip(index.T, corner_weights.T, strict=True)
        samples = sum(jnp.take(rows, i, axis=0, mode="clip") * w[:, None] for i, w in corners)
        samples = samples.reshape(size, frames, channels)
        return jnp.einsum("utc,uc->ut", samples, weights, precision="highest")  # a gradient traces it anew

    by_block = jax.lax.map(read, _blocks(size, index.T, corner_weights.T, weights))
    return by_block.reshape(-1, frames)[:units].T


def _read_forward(flat, index, corner_weights, weights):
    return _read(flat, index, corner_weights, weights), (flat, index, corner_weights, weights)


def _read_backward(saved, g):
    # The derived gradient writes arrays [time, unit, channel] several times, and takes three times as long on a CPU:
    # 15 ms a frame for 8509 units. Here a frame at a time, or a block of units, stays in the cache. Spread over the
    # maps by one product instead of in blocks, units took five times as long: 111 ms for 9941 units and 8 frames.
    flat, index, corner_weights, weights = saved
    frames, pixels, channels = flat.shape
    size = min(BLOCK, weights.shape[0])

    def frame(on_weights, inputs):
        pixels, g = inputs
        values = [jnp.take(pixels, i, axis=0, mode="clip") for i in index]
        sample = sum(value * w[:, None] for value, w in zip(values, corner_weights, strict=True))
        on_corners = jnp.stack([(value * weights).sum(-1) for value in values]) * g[None]
        return on_weights + g[:, None] * sample, on_corners

    def spread(rows, block):
        index, corner_weights, weights, g = block
        samples = (g[:, :, None] * weights[:, None, :]).reshape(size, -1)
        return rows.at[index.T].add(corner_weights.T[:, :, None] * samples[None]), None

    on_weights, on_corners = jax.lax.scan(frame, jnp.zeros_like(weights), (flat, g))
    start = jnp.zeros((pixels, frames * channels), flat.dtype)
    rows, _ = jax.lax.scan(spread, start, _blocks(size, index.T, corner_weights.T, weights, g.T))
    return rows.reshape(pixels, frames, channels).swapaxes(0, 1), None, on_corners.sum(0), on_weights


_read.defvjp(_read_forward, _read_backward)
