"""A penalty of training: channels of the core should not respond alike."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fnn_jax.common.checks import integer


def decorrelation(
    maps: Float[Array, "time batch stream height width channels"],
    *,
    length: int,
    weight: float = 1.0,
    rate: float = 0.0,
    key: Array | None = None,
    eps: float = 1e-5,
) -> Float[Array, ""]:
    """Sum over streams and pairs of channels of the absolute correlation of their responses, which are not centred.

    With ``m_ij = mean(r_i r_j)`` and ``v_i = mean(r_i ** 2)`` over frames, videos and positions, a pair adds
    ``|m_ij / sqrt(v_i v_j + eps)|``.

    Args:
        maps: the feature ``"core"`` of a rollout.
        length: the last frames that count; fewer, where there are fewer.
        weight: the factor of the sum.
        rate: the part of the samples that counts, drawn anew for each frame, with a ``key``; 0, as in the released
            code, for all of them.

    Raises:
        ValueError: ``length`` is no positive integer, ``rate`` outside [0, 1), or there is a rate but no key.
    """
    length = integer("length", length)
    if not 0 <= rate < 1:
        raise ValueError(f"rate is {rate!r}; expected a part of the samples in [0, 1), 0 for all.")
    if rate and key is None:
        raise ValueError(f"key is None, and rate is {rate!r}; expected a key to draw the samples with.")
    samples = jnp.moveaxis(maps[-length:], 2, 0)  # [stream, time, batch, height, width, channel]
    counts = jnp.ones((), maps.dtype)
    if key is not None and rate:
        counts = (jax.random.uniform(key, samples.shape[1:-1]) > 1 - rate).astype(
            maps.dtype
        )  # for all streams the same
        samples = samples * counts[None, ..., None]
    total = jnp.maximum(jnp.broadcast_to(counts, samples.shape[1:-1]).sum(), 1)
    samples = samples.reshape(samples.shape[0], -1, samples.shape[-1])
    means = jnp.einsum("sni,snj->sij", samples, samples, precision="highest") / total
    power = jnp.diagonal(means, axis1=1, axis2=2)
    correlation = means * jax.lax.rsqrt(power[:, :, None] * power[:, None, :] + eps)
    return weight * jnp.triu(jnp.abs(correlation), 1).sum()
