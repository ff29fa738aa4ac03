"""Convolutions over three frames, or 3 x 3 pixels, with half the multiplications.

Winograd's minimal filtering (Lavin & Gray 2016, arXiv:1509.09308): along an axis, ``m`` outputs take ``m + 2`` products
of transformed inputs with transformed kernels, where the formula takes ``3 m``. The transforms are sums.

The finite points of the transform decide the rounding error. For four outputs they are 0, +-3/4 and +-3/2: twice the
error of the plain sum, where the textbook's integers 0, +-1, +-2 give three times. For two outputs the textbook's
0, +-1 round like the plain sum.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TAPS = 3


class Minimal(NamedTuple):
    """Matrices for inputs ``[m + 2, m + 2]``, kernel ``[m + 2, 3]`` and outputs ``[m, m + 2]``."""

    inputs: np.ndarray
    kernel: np.ndarray
    outputs: np.ndarray


def _minimal(*points: float) -> Minimal:
    """The transforms for these points and infinity (Toom-Cook)."""
    points = np.array(points)
    products = len(points) + 1
    made = products - TAPS + 1
    inputs, kernel, outputs = np.zeros((products, products)), np.zeros((products, TAPS)), np.zeros((made, products))
    for index, point in enumerate(points):
        others = np.delete(points, index)
        inputs[index, :-1] = np.poly(others)[::-1]
        kernel[index] = point ** np.arange(TAPS) / np.prod(point - others)
        outputs[:, index] = point ** np.arange(made)
    inputs[-1] = np.poly(points)[::-1]
    kernel[-1, -1] = outputs[-1, -1] = 1
    return Minimal(inputs, kernel, outputs)


FOUR = _minimal(0.0, 0.75, -0.75, 1.5, -1.5)
TWO = _minimal(0.0, 1.0, -1.0)


def transform(matrix: np.ndarray, parts) -> list:
    """Sums of the parts, one for each row of the matrix; zeros cost nothing."""
    return [sum(float(c) * part for c, part in zip(row, parts, strict=True) if abs(c) > 1e-12) for row in matrix]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def windows(x: jax.Array, axis: int, made: int) -> list[jax.Array]:
    """The inputs of every ``made`` neighbouring outputs: array ``i`` of the list holds the ``i``-th of each.

    The axis has two more entries than a multiple of ``made``.
    """
    last = x.shape[axis] - TAPS - made + 2
    return [jax.lax.slice_in_dim(x, i, i + last, made, axis) for i in range(made + TAPS - 1)]


def _windows_forward(x, axis, made):
    return windows(x, axis, made), None


def _windows_backward(axis, made, _, on_windows):
    # XLA's own transpose of the overlapping slices takes many times as long.
    own, shared = list(on_windows[:made]), on_windows[made:]
    zero = jnp.zeros_like(jax.lax.slice_in_dim(own[0], 0, 1, axis=axis))
    ends = []
    for i, late in enumerate(shared):  # the first entries of a window are the last of the window before
        own[i] = own[i] + jnp.concatenate([zero, jax.lax.slice_in_dim(late, 0, late.shape[axis] - 1, axis=axis)], axis)
        ends.append(jax.lax.slice_in_dim(late, late.shape[axis] - 1, late.shape[axis], axis=axis))
    return (jnp.concatenate([interleave(own, axis), *ends], axis),)


windows.defvjp(_windows_forward, _windows_backward)


def interleave(parts: list[jax.Array], axis: int) -> jax.Array:
    """One axis out of arrays that hold every first, every second ... entry of it."""
    stacked = jnp.stack(parts, axis=axis + 1)
    shape = list(parts[0].shape)
    shape[axis] *= len(parts)
    return stacked.reshape(shape)
