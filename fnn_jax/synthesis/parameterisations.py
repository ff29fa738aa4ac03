"""Ways to write a stimulus as numbers that can be optimised: pairs of pure functions, as in optax.

``init(key)`` draws parameters, a pytree of arrays; ``frames(parameters)`` makes frames of them, ``[T, H, W]`` in [0,
1]. Any other pair of such functions will do, of a flax module for instance.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.common import checks
from fnn_jax.common.checks import boolean, fraction, integer, number, one_of, shown
from fnn_jax.stimuli.movie import TIE

EPS = 1e-12


class Parameterisation(NamedTuple):
    """Parameters of a stimulus, and the stimulus of parameters.

    ``init``: key -> parameters. ``frames``: parameters -> ``[T, H, W]`` in [0, 1]. ``pixels``: parameters -> ``[T, H,
    W]`` before they are squashed to [0, 1], on which the released penalty is defined; by default the frames.
    ``project``: parameters -> parameters that are allowed, applied after each step.
    """

    init: Callable[[jax.Array], Any]
    frames: Callable[[Any], jax.Array]
    pixels: Callable[[Any], jax.Array] | None = None
    project: Callable[[Any], Any] | None = None

    def unsquashed(self, parameters: Any) -> jax.Array:
        """``pixels``, or the frames where there is no such thing."""
        return (self.pixels or self.frames)(parameters)


def nlm(
    num_frames: int,
    height: int,
    width: int,
    *,
    start: str = "noise",
    gain: float = 0.1,
    static: bool = False,
    learn_gain: bool = False,
) -> Parameterisation:
    """The released parameterisation: ``sigmoid(gain raw sqrt(n) / |raw| + bias)``, n values in ``raw``.

    Args:
        start: of ``raw``: ``"noise"``, standard normal, or ``"zeros"``, as released (a uniform gray).
        static: one image for all frames, whose gradient is the mean over frames.
        learn_gain: whether gain and bias are parameters, too, as released. (There they move n times more slowly; an
            optimiser that scales its steps, such as Adam, raises the contrast to black and white at once.)

    Raises:
        TypeError, ValueError: an argument is of another kind, or out of range.
    """
    _check_size(num_frames, height, width)
    one_of("start", start, ("noise", "zeros"))
    number("gain", gain)
    boolean("static", static)
    boolean("learn_gain", learn_gain)
    shape = (1 if static else num_frames, height, width)

    def init(key):
        raw = jax.random.normal(key, shape) if start == "noise" else jnp.zeros(shape)
        return {"raw": raw} | ({"gain": jnp.float32(gain), "bias": jnp.float32(0)} if learn_gain else {})

    def pixels(parameters):
        raw = parameters["raw"]
        squares = (raw**2).sum()
        # Where raw is zero it is returned as it is, and so is its gradient; the root has none there.
        length = jnp.sqrt(jnp.where(squares > 0, squares, 1))
        scaled = jnp.where(squares > 0, raw / length * np.sqrt(raw.size), raw)
        return _repeated(scaled, num_frames) if static else scaled

    def frames(parameters):
        scale, bias = (parameters.get(name, default) for name, default in (("gain", gain), ("bias", 0.0)))
        return jax.nn.sigmoid(pixels(parameters) * scale + bias)

    return Parameterisation(init, frames, pixels)


def pixels(num_frames: int, height: int, width: int, *, start: float = 0.5, noise: float = 0.05) -> Parameterisation:
    """The pixels themselves, kept in [0, 1] after each step; at first ``start`` and normal noise of this deviation.

    Raises:
        TypeError, ValueError: an argument is of another kind, or out of range.
    """
    _check_size(num_frames, height, width)
    number("start", start, 0, most=1)
    number("noise", noise, 0)

    def init(key):
        return jnp.clip(start + noise * jax.random.normal(key, (num_frames, height, width)), 0, 1)

    return Parameterisation(init, lambda frames: frames, project=lambda frames: jnp.clip(frames, 0, 1))


def fourier(
    num_frames: int,
    height: int,
    width: int,
    *,
    exponent: float = 1.0,
    contrast: float = 0.1,
    phases_only: bool = False,
) -> Parameterisation:
    """A spectrum over space and, with several frames, time, whose amplitudes fall as ``1 / frequency ** exponent``.

    Args:
        contrast: standard deviation of the frames at the start, before they are squashed to [0, 1].
        phases_only: the amplitudes stay as they are, and only phases are learned.

    Raises:
        TypeError, ValueError: an argument is of another kind, or out of range.
    """
    _check_size(num_frames, height, width)
    number("exponent", exponent)
    number("contrast", contrast, above=0)
    boolean("phases_only", phases_only)
    if num_frames == height == width == 1:
        raise ValueError("num_frames, height and width are 1; expected more of one: a pixel has no spectrum.")
    shape = (num_frames, height, width)
    time, down, across = np.meshgrid(
        *(np.fft.fftfreq(n) * n for n in shape[:2]), np.arange(width // 2 + 1), indexing="ij"
    )
    frequency = np.sqrt((time / num_frames) ** 2 + (down / height) ** 2 + (across / width) ** 2)
    amplitude = np.maximum(frequency, 1 / max(shape)) ** -exponent
    amplitude[0, 0, 0] = 0  # gray is a parameter of its own
    # A wave counts twice but for those that are their own conjugate: so a unit spectrum has this deviation.
    twice = np.where((across == 0) | ((width % 2 == 0) & (across == width // 2)), 1, 2)
    amplitude = jnp.asarray(amplitude * contrast * 4 / np.sqrt((twice * amplitude**2).sum()), jnp.float32)
    count = num_frames * height * width

    def init(key):
        real, imaginary = jax.random.normal(key, (2, *amplitude.shape)) / np.sqrt(2)
        angle = jnp.arctan2(imaginary, real)
        spectrum = {"phase": angle} if phases_only else {"real": real, "imaginary": imaginary}
        return {**spectrum, "bias": jnp.float32(0)}

    def unsquashed(parameters):
        if phases_only:
            phase = parameters["phase"]
            spectrum = jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
        else:
            spectrum = jax.lax.complex(parameters["real"], parameters["imaginary"])
        return jnp.fft.irfftn(spectrum * amplitude.astype(spectrum.dtype), shape) * count

    def frames(parameters):
        return jax.nn.sigmoid(unsquashed(parameters) + parameters["bias"])

    return Parameterisation(init, frames, unsquashed)


def low_rank(num_frames: int, height: int, width: int, *, rank: int = 4, contrast: float = 0.1) -> Parameterisation:
    """A sum of ``rank`` products of a time course and an image, squashed to [0, 1].

    Raises:
        TypeError, ValueError: an argument is of another kind, or out of range.
    """
    _check_size(num_frames, height, width)
    integer("rank", rank, 1, int(num_frames))
    number("contrast", contrast, above=0)

    def init(key):
        time, space = jax.random.split(key)
        return {
            "time": jax.random.normal(time, (num_frames, rank)),
            "space": jax.random.normal(space, (rank, height, width)) * (4 * contrast / np.sqrt(rank)),
        }

    def unsquashed(parameters):
        return jnp.einsum("tr,rhw->thw", parameters["time"], parameters["space"], precision="highest")

    return Parameterisation(init, lambda parameters: jax.nn.sigmoid(unsquashed(parameters)), unsquashed)


def masked(inner: Parameterisation, mask: Any, outside: Any = 0.5) -> Parameterisation:
    """Only what lies inside a mask is learned; the rest shows ``outside``: a level, an image or frames.

    Args:
        mask: ``[H, W]`` or ``[T, H, W]``, 1 inside and 0 outside; ``stimuli.aperture`` makes discs and rings.

    Raises:
        TypeError, ValueError: an argument is something else; and, once frames are made, of another size than these.
    """
    _check_inner(inner)
    expected = "[H, W] or [T, H, W], 1 inside and 0 outside"
    mask = jnp.asarray(checks.array("mask", mask, expected, {2, 3}, -TIE, 1 + TIE, kinds="biuf"), jnp.float32)
    outside = _levels("outside", outside, "a level, [H, W] or [T, H, W]", {0, 2, 3})

    def frames(parameters):
        inside = inner.frames(parameters)
        for name, each in (("mask", mask), ("outside", outside)):
            if any(size not in (1, of) for size, of in zip(each.shape[::-1], inside.shape[::-1], strict=False)):
                raise ValueError(f"{name} has the shape {list(each.shape)}; the frames are {list(inside.shape)}.")
        weight, rest = (jnp.broadcast_to(each, inside.shape) for each in (_with_time(mask), _with_time(outside)))
        return weight * inside + (1 - weight) * rest

    return inner._replace(frames=frames)


def between(inner: Parameterisation, before: Any = None, after: Any = None) -> Parameterisation:
    """Fixed frames, ``[T, H, W]``, before and after those that are learned.

    Raises:
        TypeError, ValueError: an argument is something else; and, once frames are made, of another size than these.
    """
    _check_inner(inner)
    given = {"before": before, "after": after}
    fixed = {name: _levels(name, each, "[T, H, W]", {3}) for name, each in given.items() if each is not None}

    def frames(parameters):
        learned = inner.frames(parameters)
        for name, each in fixed.items():
            if each.shape[1:] != learned.shape[1:]:
                raise ValueError(f"{name} has the shape {list(each.shape)}; the frames are {list(learned.shape)}.")
        parts = (fixed.get("before"), learned, fixed.get("after"))
        return jnp.concatenate([each for each in parts if each is not None])

    return inner._replace(frames=frames)


def normalised(
    inner: Parameterisation, *, mean: float | None = None, contrast: float | None = None
) -> Parameterisation:
    """The whole stimulus at a fixed mean luminance, or a fixed root-mean-square contrast, in [0, 1], or both.

    Values that leave [0, 1] are cut off, so a high contrast is not quite reached.

    Raises:
        TypeError, ValueError: an argument is of another kind, or out of range.
    """
    _check_inner(inner)
    if mean is not None:
        fraction("mean", mean)
    if contrast is not None:
        number("contrast", contrast, above=0, most=0.5)

    def frames(parameters):
        shown = inner.frames(parameters)
        middle = shown.mean()
        varied = shown - middle
        if contrast is not None:
            varied = varied * (contrast / jnp.sqrt((varied**2).mean() + EPS))
        return jnp.clip(varied + (middle if mean is None else mean), 0, 1)

    return inner._replace(frames=frames)


@jax.custom_vjp
def _mean_gradient(image, like):
    return jnp.broadcast_to(image, like.shape)


def _mean_gradient_forwards(image, like):
    return jnp.broadcast_to(image, like.shape), like


def _mean_gradient_backwards(like, gradient):
    return gradient.mean(0, keepdims=True), jnp.zeros_like(like)


_mean_gradient.defvjp(_mean_gradient_forwards, _mean_gradient_backwards)


def _repeated(image: jax.Array, num_frames: int) -> jax.Array:
    """An image ``[1, H, W]`` as frames; its gradient is their mean, as in the released code."""
    return _mean_gradient(image, jnp.zeros((num_frames, *image.shape[1:]), image.dtype))


def _levels(name: str, values: Any, of: str, axes: set[int]) -> jax.Array:
    of = f"{of}, in uint8 or floats in [0, 1]"
    found = checks.array(name, values, of, axes)
    if found.ndim and found.dtype != np.uint8 and found.dtype.kind in "iu":
        raise TypeError(f"{name} has the dtype {found.dtype}; expected {of}.")
    levels = found / 255 if found.dtype == np.uint8 else found
    return jnp.asarray(checks.array(name, levels, of, axes, -TIE, 1 + TIE), jnp.float32)


def _with_time(array: jax.Array) -> jax.Array:
    return array.reshape((1,) * (3 - array.ndim) + array.shape)


def _check_size(num_frames: int, height: int, width: int) -> None:
    for name, size in (("num_frames", num_frames), ("height", height), ("width", width)):
        integer(name, size)


def _check_inner(inner: Any) -> None:
    if not isinstance(inner, Parameterisation):
        raise TypeError(f"inner is {shown(inner)}; expected a parameterisation, such as nlm(30, 144, 256).")
