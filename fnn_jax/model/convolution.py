"""Convolutions over space and frames, as formulated for CPUs and GPUs; all give the same numbers."""

import functools

import jax
import jax.numpy as jnp

from fnn_jax.model import winograd
from fnn_jax.model.formulation import formulation
from fnn_jax.model.numerics import as_operands, asked_precision, of_jax, product

# Pixels of a map from which on products of transformed frames pay on a GPU. On an H200, in float32, they took a quarter
# less time than the plain convolution at 64 x 96 pixels, as much at 32 x 48 and three times as much at 16 x 24.
LARGE_MAP = 4096


def fast_over_frames(height: int, width: int, frames: int) -> bool:
    """Whether a convolution over three frames is to go by products of transformed frames: with half the arithmetic, but
    more passes over the maps.

    With another precision a CPU is to show the errors of the formulation that accelerators take.
    """
    large = formulation() == "cpu" or (formulation() == "gpu" and height * width >= LARGE_MAP)
    return large and frames >= len(winograd.FOUR.outputs) and asked_precision() == "float32"


def convolve_frames(x, kernel):
    """Convolution over three frames, zero-padded in space, by products of transformed frames; see ``winograd``."""
    made = len(winograd.FOUR.outputs)
    frames = x.shape[0] - winograd.TAPS + 1
    if fill := -frames % made:
        x = jnp.concatenate([x, jnp.zeros((fill, *x.shape[1:]), x.dtype)])
    # Without the barriers XLA computes what leads to x anew for each transformed frame, and the kernels in an order for
    # which it has no fast code on a CPU: 58 ms a frame instead of 23.
    x = jax.lax.optimization_barrier(x)
    inputs = jax.lax.optimization_barrier(winograd.transform(winograd.FOUR.inputs, winograd.windows(x, 0, made)))
    kernels = jax.lax.optimization_barrier(winograd.transform(winograd.FOUR.kernel, kernel))
    products = [convolve(a, k, 1, "zero") for a, k in zip(inputs, kernels, strict=True)]
    outputs = winograd.interleave(winograd.transform(winograd.FOUR.outputs, products), 0)
    return jax.lax.optimization_barrier(outputs)[:frames]


def convolve_all_frames(x, kernel):
    """Convolution over frames and space, zero-padded in space, as one of three dimensions: TPUs, which have them, need
    no copy of the window of frames, and compile them in a fifth of the time.
    """
    precision, pad = asked_precision(), kernel.shape[1] // 2
    return convolution(precision, x[None], kernel, [(0, 0), (pad, pad), (pad, pad)], layout="NTHWC")[0]


def convolve(x, kernel, stride, padding):
    size = kernel.shape[0]
    if size == stride == 1:
        return product("thwi,io->thwo", x, kernel[0, 0])
    precision, pad = asked_precision(), size // 2 if padding == "zero" else 0
    if formulation() != "cpu":  # where JAX's own rule for the gradient is as fast
        return convolution_2d(precision, x, kernel, pad, stride=stride)
    return _convolve_2d(precision, stride, pad, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _convolve_2d(precision, stride, pad, x, kernel):
    """The steps fit the image: no rows or columns are left over."""
    return convolution_2d(precision, x, kernel, pad, stride=stride)


def convolution_2d(precision, x, kernel, pad, *, stride=1, groups=1):
    """One of JAX, in a precision of ``asked_precision``."""
    # Zeros are left to the convolution: padded by hand it runs 5 times slower on a CPU.
    return convolution(precision, x, kernel, [(pad, pad)] * 2, stride=stride, groups=groups)


def convolution(precision, x, kernel, pads, *, stride=1, groups=1, layout="NHWC"):
    """One of JAX, in a precision of ``asked_precision``; in bfloat16 its result is rounded to that, too."""
    dtype, sides = x.dtype, len(pads)
    x, kernel = as_operands(precision, x, kernel)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride,) * sides,
        pads,
        dimension_numbers=(layout, layout[1:-1] + "IO", layout),
        feature_group_count=groups,
        precision=of_jax(precision),
        # With a wider result GPUs have no code for it, and the operands would be widened instead.
        preferred_element_type=jnp.bfloat16 if precision == "bfloat16" else dtype,
    ).astype(dtype)


def _convolve_2d_forward(precision, stride, pad, x, kernel):
    return _convolve_2d(precision, stride, pad, x, kernel), (x, kernel)


def _convolve_2d_backward(precision, stride, pad, saved, g):
    # The gradients are convolutions again. XLA derives the same ones, but inside a loop it leaves their operands in an
    # order for which it has no fast code on a CPU: 20 times slower. The barriers keep the order that is written here.
    x, kernel = saved
    if stride > 1:
        on_kernel = jax.vjp(lambda kernel: convolution_2d(precision, x, kernel, pad, stride=stride), kernel)[1](g)[0]
        return _on_every_pixel(precision, stride, pad, x.shape, kernel, g), on_kernel
    flipped = jax.lax.optimization_barrier(jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2))
    x, g_as_kernel = jax.lax.optimization_barrier((x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)))
    on_kernel = convolution_2d(precision, x, g_as_kernel, pad).transpose(1, 2, 0, 3)
    return convolution_2d(precision, g, flipped, kernel.shape[0] - 1 - pad), on_kernel


def _on_every_pixel(precision, stride, pad, shape, kernel, g):
    """The gradient on the input of a convolution with a stride: pixels ``stride`` apart see the same taps, so that each
    of those sets is a convolution without zeros in between, and all of them the channels of one.

    XLA's own, with zeros in between, took 7 times as long.
    """
    size, _, inner, outer = kernel.shape
    taps = -(-size // stride)
    fill = ((0, taps * stride - size),) * 2
    kernel = jnp.pad(kernel, (*fill, (0, 0), (0, 0))).reshape(taps, stride, taps, stride, inner, outer)
    sets = jnp.flip(kernel, (0, 2)).transpose(0, 2, 5, 1, 3, 4).reshape(taps, taps, outer, stride * stride * inner)
    frames, height, width, _ = g.shape
    y = convolution_2d(precision, g, sets, taps - 1)
    height, width = height + taps - 1, width + taps - 1
    y = y.reshape(frames, height, width, stride, stride, inner).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(frames, height * stride, width * stride, inner)
    return y[:, pad : pad + shape[1], pad : pad + shape[2]]


_convolve_2d.defvjp(_convolve_2d_forward, _convolve_2d_backward)
