"""Maps within groups of channels: 1 x 1, convolutions, and attention over positions.

They lie as ``[group, height, width, channel in group]``, so that each is one batched matrix product.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fnn_jax.model import winograd
from fnn_jax.model.formulation import formulation
from fnn_jax.model.numerics import asked_precision, product

MAX_LOGIT = 40  # the exponential of any smaller number, and of its negative, is a float32, and so is their sum


def split_groups(maps: Float[Array, "time height width channels"], groups: int) -> Float[Array, "time groups h w c"]:
    return jnp.moveaxis(maps.reshape(*maps.shape[:-1], groups, -1), -2, 1)


def join_groups(maps: Float[Array, "time groups height width c"]) -> Float[Array, "time height width channels"]:
    maps = jnp.moveaxis(maps, 1, -2)
    return maps.reshape(*maps.shape[:-2], -1)


def map_groups(
    x: Float[Array, "groups height width in_channels"], kernel: Float[Array, "groups 1 1 in_channels out_channels"]
) -> Float[Array, "groups height width out_channels"]:
    """A 1 x 1 map inside each group."""
    return product("ghwi,gio->ghwo", x, kernel[:, 0, 0])


def convolution(
    kernel: Float[Array, "groups size size in_channels out_channels"], height: int, width: int
) -> Callable[[Array], Array]:
    """Convolution inside each group, zero-padded, as a function of maps ``[group, height, width, channel]``."""
    size = kernel.shape[1]
    made = len(winograd.TWO.outputs)
    fits = size == winograd.TAPS and height % made == width % made == 0
    if fits and formulation() == "cpu" and asked_precision() == "float32":
        return functools.partial(_convolve_tiles, kernels=_tile_kernels(kernel))
    return functools.partial(_convolve_groups, kernel=kernel)


def _convolve_groups(x, kernel):
    """The formula: the sum over taps of shifted 1 x 1 maps."""
    _, height, width, _ = x.shape
    size = kernel.shape[1]
    x = jnp.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    return sum(
        product("ghwi,gio->ghwo", x[:, i : i + height, j : j + width], kernel[:, i, j])
        for i in range(size)
        for j in range(size)
    )


def _tile_kernels(kernel):
    """Kernels ``[group, 3, 3, in, out]`` as ``_convolve_tiles`` wants them, ``[4 x 4, group, in, out]``."""
    rows = winograd.transform(winograd.TWO.kernel, [kernel[:, i] for i in range(winograd.TAPS)])
    tiles = [winograd.transform(winograd.TWO.kernel, [row[:, j] for j in range(winograd.TAPS)]) for row in rows]
    return jnp.stack([tile for row in tiles for tile in row])


def _convolve_tiles(x, kernels):
    """The same for 3 x 3 kernels, by products of transformed tiles of 4 x 4 pixels; see ``winograd``."""
    made = len(winograd.TWO.outputs)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    tiles = []
    for row in winograd.transform(winograd.TWO.inputs, winograd.windows(x, 1, made)):
        tiles += winograd.transform(winograd.TWO.inputs, winograd.windows(row, 2, made))
    products = product("kghwi,kgio->kghwo", jnp.stack(tiles), kernels)
    size = len(winograd.TWO.inputs)
    rows = winograd.transform(winograd.TWO.outputs, [products[i * size : (i + 1) * size] for i in range(size)])
    columns = [winograd.transform(winograd.TWO.outputs, list(row)) for row in rows]
    return winograd.interleave([winograd.interleave(row, 2) for row in columns], 1)


def attend(
    query: Float[Array, "groups height width channels"],
    key: Float[Array, "groups height width channels"],
    value: Float[Array, "groups height width channels"],
    scale: Float[Array, "groups channels"],
) -> Float[Array, "groups height width channels"]:
    """Attention over positions inside each group, of queries and keys on the unit sphere, queries scaled."""
    groups, height, width, channels = query.shape
    query, key = _on_unit_sphere(query, key, scale)
    value = value.reshape(groups, height * width, channels)

    def maximum():
        return product("gpc,gqc->gpq", query, key).max(-1, keepdims=True)

    # On the unit sphere no logit exceeds the largest scale: unless that is huge, there is no maximum to look for.
    zeros = jnp.zeros((*query.shape[:-1], 1), query.dtype)
    shift = jax.lax.cond(jnp.abs(scale).max() < MAX_LOGIT, lambda: zeros, maximum)
    attended = average_by_similarity(query, key, value, jax.lax.stop_gradient(shift))
    return attended.reshape(groups, height, width, channels)


def attention(
    query: Float[Array, "groups height width channels"],
    key: Float[Array, "groups height width channels"],
    scale: Float[Array, "groups channels"],
) -> Float[Array, "groups positions positions"]:
    """The weights with which ``attend`` averages: each position's add up to 1."""
    query, key = _on_unit_sphere(query, key, scale)
    return jax.nn.softmax(product("gpc,gqc->gpq", query, key), axis=-1)


def _on_unit_sphere(query, key, scale):
    """Queries, scaled, and keys of length 1, ``[groups, positions, channels]``."""
    query, key = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (query, key))
    query = query * scale[:, None, None]
    return (x.reshape(x.shape[0], -1, x.shape[-1]) for x in (query, key))


def average_by_similarity(
    query: Float[Array, "groups positions channels"],
    key: Float[Array, "groups positions channels"],
    value: Float[Array, "groups positions channels"],
    shift: Float[Array, "groups positions 1"],
) -> Float[Array, "groups positions channels"]:
    """Averages of the values with the weights ``exp(query . key - shift)``; any shift gives the same."""
    if formulation() == "plain":
        return _average_forward(asked_precision(), query, key, value, shift)[0]
    return _average_by_similarity(asked_precision(), query, key, value, shift)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _average_by_similarity(precision, query, key, value, shift):
    return _average_forward(precision, query, key, value, shift)[0]


def _similarity(precision, query, key, shift):
    return jnp.exp(product("gpc,gqc->gpq", query, key, precision) - shift)


def _with_ones(value):
    return jnp.concatenate([value, jnp.ones((*value.shape[:-1], 1), value.dtype)], axis=-1)


def _average_forward(precision, query, key, value, shift):
    # The sum of the weights is made as one more column of the values.
    sums = product("gpq,gqc->gpc", _similarity(precision, query, key, shift), _with_ones(value), precision)
    average = sums[..., :-1] / sums[..., -1:]
    return average, (query, key, value, shift, average, sums[..., -1:])


def _average_backward(precision, saved, g):
    # The weights, by far the largest array, are computed anew instead of being kept for every frame.
    query, key, value, shift, average, total = saved
    weights = _similarity(precision, query, key, shift)
    on_sums = jnp.concatenate([g, -(g * average).sum(-1, keepdims=True)], axis=-1) / total
    on_logits = product("gpc,gqc->gpq", on_sums, _with_ones(value), precision) * weights
    on_query = product("gpq,gqc->gpc", on_logits, key, precision)
    # In this order the small operand is transposed and not the weights: half the time.
    on_key, on_value = (
        product("gpc,gpq->gcq", a, b, precision).swapaxes(-1, -2)
        for a, b in ((query, on_logits), (on_sums[..., :-1], weights))
    )
    return on_query, on_key, on_value, jnp.zeros_like(shift)


_average_by_similarity.defvjp(_average_forward, _average_backward)
