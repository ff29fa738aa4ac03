"""Convolutions over space and frames, as formulated for a CPU and for accelerators; all give the same numbers."""

import functools

import jax
import jax.numpy as jnp

from fnn_jax.model import winograd
from fnn_jax.model.numerics import PRECISIONS, as_operands, asked_precision, product


def convolve_frames(x, kernel, groups):
    """Convolution over three frames, zero-padded in space, by products of transformed frames; see ``winograd``."""
    made = len(winograd.FOUR.outputs)
    frames = x.shape[0] - winograd.TAPS + 1
    if fill := -frames % made:
        x = jnp.concatenate([x, jnp.zeros((fill, *x.shape[1:]), x.dtype)])
    # Without the barriers XLA computes what leads to x anew for each transformed frame, and the kernels in an order for
    # which it has no fast code: 58 ms a frame instead of 23.
    x = jax.lax.optimization_barrier(x)
    inputs = jax.lax.optimization_barrier(winograd.transform(winograd.FOUR.inputs, winograd.windows(x, 0, made)))
    kernels = jax.lax.optimization_barrier(winograd.transform(winograd.FOUR.kernel, kernel))
    outputs = []
    for group in range(groups):
        products = [
            convolve(jnp.split(a, groups, axis=-1)[group], jnp.split(k, groups, axis=-1)[group], 1, "zero")
            for a, k in zip(inputs, kernels, strict=True)
        ]
        outputs.append(winograd.interleave(winograd.transform(winograd.FOUR.outputs, products), 0))
    return jax.lax.optimization_barrier(jnp.concatenate(outputs, axis=-1))[:frames]


def convolve(x, kernel, stride, padding):
    size = kernel.shape[0]
    if size == stride == 1:
        return product("thwi,io->thwo", x, kernel[0, 0])
    precision, pad = asked_precision(), size // 2 if padding == "zero" else 0
    if stride > 1 and precision == "float32":  # JAX's own rule for the gradient is as fast, once in the network
        return _convolution(precision, x, kernel, pad, stride=stride)
    return _convolve_2d(precision, stride, pad, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _convolve_2d(precision, stride, pad, x, kernel):
    """The steps fit the image: no rows or columns are left over."""
    return _convolution(precision, x, kernel, pad, stride=stride)


def _convolution(precision, x, kernel, pad, *, stride=1, input_spacing=1, kernel_spacing=1):
    dtype = x.dtype
    x, kernel = as_operands(precision, x, kernel)
    # Zeros are left to the convolution: padded by hand it runs 5 times slower on a CPU.
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad)] * 2,
        (input_spacing, input_spacing),
        (kernel_spacing, kernel_spacing),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=PRECISIONS[precision],
        preferred_element_type=dtype,
    )


def _convolve_2d_forward(precision, stride, pad, x, kernel):
    return _convolve_2d(precision, stride, pad, x, kernel), (x, kernel)


def _convolve_2d_backward(precision, stride, pad, saved, g):
    # The gradients are convolutions again. XLA derives the same ones, but inside a loop it leaves their operands in an
    # order for which it has no fast code on a CPU: 20 times slower. The barriers keep the order that is written here.
    x, kernel = saved
    flipped = jax.lax.optimization_barrier(jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2))
    x, g_as_kernel = jax.lax.optimization_barrier((x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)))
    on_kernel = _convolution(precision, x, g_as_kernel, pad, kernel_spacing=stride).transpose(1, 2, 0, 3)
    return _convolution(precision, g, flipped, kernel.shape[0] - 1 - pad, input_spacing=stride), on_kernel


_convolve_2d.defvjp(_convolve_2d_forward, _convolve_2d_backward)
