"""A convolution over three frames with half the multiplications.

Winograd's minimal filtering (Lavin & Gray 2016, arXiv:1509.09308) along time: four output frames take six products of
transformed frames with transformed kernels, where the formula takes twelve. The transforms are sums of frames.

The five finite points of the transform are 0, +-3/4 and +-3/2. With them the rounding error is twice that of the plain
sum, with the textbook's integers 0, +-1, +-2 three times.
"""

import numpy as np

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
TAPS, OUTPUTS = 3, 4  # frames of the kernel, and output frames that are made together
PRODUCTS = TAPS + OUTPUTS - 1


def _transforms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices for inputs ``[6, 6]``, kernel ``[6, 3]`` and outputs ``[4, 6]`` (Toom-Cook, the last point infinity)."""
    points = np.array(POINTS)
    inputs, kernel, outputs = np.zeros((PRODUCTS, PRODUCTS)), np.zeros((PRODUCTS, TAPS)), np.zeros((OUTPUTS, PRODUCTS))
    for index, point in enumerate(points):
        others = np.delete(points, index)
        inputs[index, :-1] = np.poly(others)[::-1]
        kernel[index] = point ** np.arange(TAPS) / np.prod(point - others)
        outputs[:, index] = point ** np.arange(OUTPUTS)
    inputs[-1] = np.poly(points)[::-1]
    kernel[-1, -1] = outputs[-1, -1] = 1
    return inputs, kernel, outputs


INPUTS, KERNEL, OUTPUT = _transforms()


def transform(matrix: np.ndarray, parts) -> list:
    """Sums of the parts, one for each row of the matrix; zeros cost nothing."""
    return [sum(float(c) * part for c, part in zip(row, parts, strict=True) if abs(c) > 1e-12) for row in matrix]
