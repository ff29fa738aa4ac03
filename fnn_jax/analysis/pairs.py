"""Pairs of units: all of a scan, or a sample of them; and what permutations of units say by chance."""

from typing import Any

import numpy as np

from fnn_jax.common.checks import integer, shown
from fnn_jax.common.checks import seed as checked_seed


def check_labels(name: str, labels: Any, num_units: int) -> np.ndarray:
    """A label for each unit, numbered from 0 in sorted order, ``[unit]``; None: all alike.

    Raises:
        ValueError: another number of labels, or some that are missing.
    """
    if labels is None:
        return np.zeros(num_units, int)
    found = np.asarray(labels, object)
    if found.shape != (num_units,):
        raise ValueError(f"{name} has the shape {list(found.shape)}; expected a label for each of {num_units} units.")
    missing = [label is None or label != label for label in found]
    if any(missing):
        raise ValueError(f"{name} is missing for {sum(missing)} of {num_units} units; leave these units out before.")
    try:
        return np.unique(found, return_inverse=True)[1]
    except TypeError as error:  # such as text beside numbers
        raise TypeError(f"{name} holds labels of several kinds: {shown(labels)}; expected one kind.") from error


def unit_pairs(num_units: int, scans: Any = None, *, most: int = 100_000, seed: int = 0) -> np.ndarray:
    """Pairs of different units of the same scan, ``[pair, 2]``, rows of units; each pair once, the lower row first.

    Args:
        scans: a label for each unit; None: all are of one.
        most: where there are more pairs, so many are drawn, all with the same probability.
        seed: of what is drawn.

    Raises:
        TypeError, ValueError: wrong arguments, or no two units of one scan.
    """
    most, random = integer("most", most), np.random.default_rng(checked_seed("seed", seed))
    labels = check_labels("scans", scans, integer("num_units", num_units))
    members = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    ends = np.cumsum([len(rows) * (len(rows) - 1) // 2 for rows in members])
    if not ends[-1]:
        raise ValueError(f"scans has no two of the {num_units} units in one scan; expected pairs of units.")
    few = ends[-1] <= most
    numbers = np.arange(ends[-1]) if few else np.sort(random.choice(ends[-1], most, replace=False, shuffle=False))
    found = np.empty((len(numbers), 2), int)
    scan = np.searchsorted(ends, numbers, side="right")
    for label, rows in enumerate(members):
        here = scan == label
        start = ends[label - 1] if label else 0
        found[here] = rows[_triangle(numbers[here] - start)]
    return found


def _triangle(numbers: np.ndarray) -> np.ndarray:
    """The pair ``i < j`` of each number ``j (j - 1) / 2 + i``, ``[pair, 2]``."""
    j = ((1 + np.sqrt(1 + 8 * numbers.astype(float))) / 2).astype(int)
    j -= j * (j - 1) // 2 > numbers  # the root is rounded
    j += j * (j + 1) // 2 <= numbers
    return np.stack([numbers - j * (j - 1) // 2, j], axis=1)


def shuffled(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows in a random order, each in the place of one with the same label."""
    return_to = np.argsort(labels, kind="stable")
    drawn = np.lexsort([random.random(len(labels)), labels])
    order = np.empty(len(labels), int)
    order[return_to] = drawn
    return order


def p_value(observed: float, by_chance: np.ndarray) -> float:
    """Two-sided p of a permutation test: how many are as far from the middle, the observed one among them.

    The middle is the mean of all: where scans differ, correlations by chance need not lie around 0.
    """
    every = np.append(by_chance, observed)
    far = np.abs(every - every.mean())
    return float(np.mean(far >= far[-1] - 1e-12))  # sums in another order are equal but for rounding
