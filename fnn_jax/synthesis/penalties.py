"""What a stimulus should not be, and how it is moved about while it is optimised.

A penalty is a function of unsquashed pixels and frames, both ``[T, H, W]``; ``weighted`` adds several up. A transform
is a function of a key and frames.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.common.checks import integer, number, shown

Penalty = Callable[[jax.Array, jax.Array], jax.Array]
Transform = Callable[[jax.Array, jax.Array], jax.Array]
CUTOFF = 4.0  # standard deviations of the blur's kernels


def blur(values: jax.Array, spatial_std: float = 1.0, temporal_std: float = 1.0, cutoff: float = CUTOFF) -> jax.Array:
    """A Gaussian over time and space of ``[T, H, W]``: separable, borders repeated, ``2 ceil(cutoff std) + 1`` taps.

    Raises:
        TypeError, ValueError: values is no such array of floats, or another argument is no number from 0 on.
    """
    if not isinstance(values, jax.Array | np.ndarray) or not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"values is {shown(values)}; expected an array of floats, [T, H, W].")
    if values.ndim != 3 or not values.size:
        raise ValueError(f"values has the shape {list(values.shape)}; expected [T, H, W].")
    for name, given in (("spatial_std", spatial_std), ("temporal_std", temporal_std), ("cutoff", cutoff)):
        number(name, given, 0)
    for axis, std in enumerate((temporal_std, spatial_std, spatial_std)):
        reach = math.ceil(cutoff * std)
        if not reach:
            continue
        kernel = np.exp(-((np.arange(-reach, reach + 1) / std) ** 2) / 2)
        kernel = kernel / kernel.sum()
        length = values.shape[axis]
        # As a matrix, which also says where a border pixel is repeated.
        matrix = np.zeros((length, length), np.float64)
        for offset, weight in zip(range(-reach, reach + 1), kernel, strict=True):
            rows = np.arange(length)
            np.add.at(matrix, (rows, np.clip(rows + offset, 0, length - 1)), weight)
        product = jnp.tensordot(jnp.asarray(matrix, values.dtype), values, (1, axis), precision="highest")
        values = jnp.moveaxis(product, 0, axis)
    return values


def roughness(spatial_std: float = 1.0, temporal_std: float = 1.0) -> Penalty:
    """The released penalty: the sum of squares of what a blur takes away from the unsquashed pixels.

    Raises:
        TypeError, ValueError: a standard deviation is no number from 0 on.
    """
    number("spatial_std", spatial_std, 0)
    number("temporal_std", temporal_std, 0)
    return lambda pixels, frames: ((pixels - blur(pixels, spatial_std, temporal_std)) ** 2).sum()


def total_variation(space: float = 1.0, time: float = 1.0) -> Penalty:
    """Mean absolute difference of neighbours in the frames, in space and in time, each with its weight.

    Raises:
        TypeError, ValueError: a weight is no number from 0 on.
    """
    number("space", space, 0)
    number("time", time, 0)

    def penalty(pixels, frames):
        down, across = (jnp.abs(jnp.diff(frames, axis=axis)).mean() for axis in (1, 2))
        change = jnp.abs(jnp.diff(frames, axis=0)).mean() if len(frames) > 1 else 0.0
        return space * (down + across) + time * change

    return penalty


def norm(gray: float = 0.5) -> Penalty:
    """Root-mean-square distance of the frames from a gray.

    Raises:
        TypeError, ValueError: gray is no number from 0 to 1.
    """
    number("gray", gray, 0, most=1)
    return lambda pixels, frames: jnp.sqrt(((frames - gray) ** 2).mean() + 1e-12)


def range_(low: float = 0.05, high: float = 0.95) -> Penalty:
    """Mean square by which frames leave a range of levels.

    Raises:
        TypeError, ValueError: low and high are no numbers from 0 to 1, in this order.
    """
    number("low", low, 0, most=1)
    number("high", high, 0, most=1)
    if low > high:
        raise ValueError(f"low is {low} and high {high}; expected low <= high.")
    return lambda pixels, frames: (jnp.maximum(low - frames, 0) ** 2 + jnp.maximum(frames - high, 0) ** 2).mean()


def spectral_slope(exponent: float = 1.0) -> Penalty:
    """How far the amplitude spectrum over space is from ``1 / frequency ** exponent``: the squared error of the slope
    of its logarithm.

    Raises:
        TypeError, ValueError: exponent is no finite number.
    """
    number("exponent", exponent)

    def penalty(pixels, frames):
        height, width = frames.shape[1:]
        down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
        frequency = np.hypot(down, across)
        inside = (frequency > 2 / min(height, width)) & (frequency < 0.4)
        x = np.log(np.where(inside, frequency, 1))
        x = np.where(inside, x - x[inside].mean(), 0).astype(np.float32)
        spectrum = jnp.fft.rfft2(frames - frames.mean((1, 2), keepdims=True))
        power = (spectrum.real**2 + spectrum.imag**2).mean(0)
        slope = (x * 0.5 * jnp.log(power + 1e-10)).sum() / (x**2).sum()
        return (slope + exponent) ** 2

    return penalty


def weighted(penalties: Mapping[Penalty, float] | Iterable[tuple[float, Penalty]]) -> Penalty:
    """The sum of penalties by weight: pairs ``(weight, penalty)``, or a mapping from penalties to their weights.

    Raises:
        TypeError: it is something else, or holds no functions.
        ValueError: a weight is negative, or not finite.
    """
    if isinstance(penalties, Mapping):
        penalties = [(weight, penalty) for penalty, weight in penalties.items()]
    try:
        pairs = None if isinstance(penalties, str | bytes) else [(weight, penalty) for weight, penalty in penalties]
    except (TypeError, ValueError):
        pairs = None
    if pairs is None:
        raise TypeError(f"penalties is {shown(penalties)}; expected pairs (weight, penalty).")
    for weight, penalty in pairs:
        number("the weight in penalties", weight, 0)
        if not callable(penalty):
            raise TypeError(f"penalties holds {shown(penalty)}; expected functions of pixels and frames.")

    def total(pixels, frames):
        return sum((weight * penalty(pixels, frames) for weight, penalty in pairs), jnp.zeros((), frames.dtype))

    return total


def jitter(pixels: int = 4) -> Transform:
    """Frames moved together by up to so many pixels in each direction; what leaves comes in on the other side.

    Raises:
        TypeError, ValueError: pixels is no integer from 0 on.
    """
    integer("pixels", pixels, 0)

    def transform(key, frames):
        shift = jax.random.randint(key, (2,), -pixels, pixels + 1)
        return jnp.roll(frames, shift, axis=(1, 2))

    return transform


def scaling(least: float = 0.9, most: float = 1.1) -> Transform:
    """Frames enlarged around their centre by a random factor.

    Raises:
        TypeError, ValueError: least and most are no numbers above 0, in this order.
    """
    number("least", least, above=0)
    number("most", most, above=0)
    if least > most:
        raise ValueError(f"least is {least} and most {most}; expected 0 < least <= most.")

    def transform(key, frames):
        factor = jax.random.uniform(key, (), minval=least, maxval=most)
        size = jnp.array(frames.shape[1:], frames.dtype)
        scale = jnp.full(2, factor, frames.dtype)
        moved = (1 - scale) * size / 2
        return jax.image.scale_and_translate(frames, frames.shape, (1, 2), scale, moved, "linear", antialias=False)

    return transform


def noise(std: float = 0.02) -> Transform:
    """Normal noise added to the frames, which stay in [0, 1].

    Raises:
        TypeError, ValueError: std is no number from 0 on.
    """
    number("std", std, 0)
    return lambda key, frames: jnp.clip(frames + std * jax.random.normal(key, frames.shape, frames.dtype), 0, 1)
