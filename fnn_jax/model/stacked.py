"""The CvT-LSTM of all streams side by side, as GPUs take it.

Maps lie as ``[height, width, n, channel]``, where ``n`` counts the groups of all streams: nothing but the map between
groups mixes them, so that a step is a handful of batched products. ``recurrent`` has the same for one stream.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from fnn_jax.model.convolution import convolution_2d
from fnn_jax.model.grouped import average_by_similarity
from fnn_jax.model.numerics import asked_precision, product

# The largest scale of attention up to which the exponential of every logit, and the sum over a map, is a float32 with
# all its digits, so that no maximum has to be subtracted: that would take two more passes over the weights.
MOST_SCALE = 70.0


def stack(state: Float[Array, "streams groups height width c"]) -> Float[Array, "height width n c"]:
    """A state, as ``recurrent`` keeps it, side by side."""
    streams, groups, height, width, channels = state.shape
    return state.transpose(2, 3, 0, 1, 4).reshape(height, width, streams * groups, channels)


def unstack(state: Float[Array, "height width n c"], streams: int) -> Float[Array, "streams groups height width c"]:
    height, width, _, channels = state.shape
    return state.reshape(height, width, streams, -1, channels).transpose(2, 3, 0, 1, 4)


def stack_frames(
    maps: Float[Array, "streams time height width channels"], groups: int
) -> Float[Array, "time height width n c"]:
    streams, time, height, width, channels = maps.shape
    return maps.transpose(1, 2, 3, 0, 4).reshape(time, height, width, streams * groups, channels // groups)


def unstack_frames(
    maps: Float[Array, "time height width n c"], streams: int
) -> Float[Array, "streams time height width channels"]:
    time, height, width, _, _ = maps.shape
    return maps.reshape(time, height, width, streams, -1).transpose(3, 0, 1, 2, 4)


def per_group(array: Float[Array, "streams groups *shape"]) -> Float[Array, "n *shape"]:
    return array.reshape(-1, *array.shape[2:])


def map_groups(
    x: Float[Array, "height width n in_channels"], kernel: Float[Array, "n in_channels out_channels"]
) -> Float[Array, "height width n out_channels"]:
    """A 1 x 1 map inside each group."""
    return product("hwni,nio->hwno", x, kernel)


def convolve(
    x: Float[Array, "height width n in_channels"], kernel: Float[Array, "n size size in_channels out_channels"]
) -> Float[Array, "height width n out_channels"]:
    """Convolution inside each group, zero-padded."""
    height, width, n, inner = x.shape
    size, outer = kernel.shape[1], kernel.shape[-1]
    precision = asked_precision()
    if precision != "float32":
        as_one = kernel.transpose(1, 2, 3, 0, 4).reshape(size, size, inner, n * outer)
        y = convolution_2d(precision, x.reshape(1, height, width, -1), as_one, size // 2, groups=n)
        return y.reshape(height, width, n, outer)
    # In float32 GPUs have no fast code for groups: 712 us a frame of 8 videos, where the window's product takes 286.
    x = jnp.pad(x, ((size // 2, size // 2), (size // 2, size // 2), (0, 0), (0, 0)))
    taps = [x[i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return map_groups(jnp.concatenate(taps, axis=-1), kernel.reshape(n, -1, outer))


def safe_scale(scale: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """The scale of attention, or not a number where it is beyond ``MOST_SCALE``."""
    return jnp.where(jnp.abs(scale).max() < MOST_SCALE, scale, jnp.nan)


def attend(
    maps: Float[Array, "height width n three_c"], scale: Float[Array, "n c"]
) -> Float[Array, "height width n c"]:
    """Attention over positions inside each group, of queries, keys and values side by side; see ``grouped.attend``.

    The scale is that of ``safe_scale``.
    """
    height, width, n, channels = maps.shape
    maps = maps.reshape(height * width, n, 3, channels // 3)
    # Of queries and keys together: that is one pass.
    length = jnp.sqrt(jnp.square(maps[:, :, :2]).sum(-1, keepdims=True))
    query, key = maps[:, :, 0] / length[:, :, 0] * scale[None], maps[:, :, 1] / length[:, :, 1]
    query, key, value = (x.swapaxes(0, 1) for x in (query, key, maps[:, :, 2]))
    attended = average_by_similarity(query, key, value, jnp.zeros((1, 1, 1), maps.dtype))
    return attended.swapaxes(0, 1).reshape(height, width, n, -1)
