"""How alike two units are, of any pairs of units: in responses, preferred orientation, readout weights, locations.

Each measure is a vector for each unit, and of a pair the product of the two vectors or the angle between them; so a
million pairs need no matrix of all units, and units of several scans can be compared.
"""

from typing import Any, NamedTuple

import numpy as np

from fnn_jax.common.checks import numeric, shown
from fnn_jax.physiology.similarity import readout_rays, unit_vectors
from fnn_jax.twin.twin import Twin

BLOCK = 2**22  # numbers of vectors that are gathered at once: 32 MB


class Measure(NamedTuple):
    """A similarity, or a distance, of two units.

    ``label``: what figures call it. ``vectors``: ``[unit, k]``, of length 1, float64; NaN where the unit's are unknown.
    ``is_angle``: the value of a pair is the angle between its vectors in degrees, instead of their product.
    """

    label: str
    vectors: np.ndarray
    is_angle: bool = False

    @property
    def num_units(self) -> int:
        return len(self.vectors)

    def known(self) -> np.ndarray:
        """Of which units there is a value, ``[unit]``."""
        return np.isfinite(self.vectors).all(1)

    def values(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Of pairs of units, given as rows ``[pair]``; memory is bounded, whatever their number."""
        found = np.empty(len(first))
        step = max(1, BLOCK // self.vectors.shape[1])
        for start in range(0, len(first), step):
            block = slice(start, start + step)
            one, other = self.vectors[first[block]], self.vectors[second[block]]
            if self.is_angle:  # by the chord, which is exact for small angles, too
                chord = np.linalg.norm(one - other, axis=1)
                found[block] = np.rad2deg(2 * np.arcsin(np.minimum(chord / 2, 1)))
            else:
                found[block] = np.clip(np.einsum("pk,pk->p", one, other), -1, 1)
        return found


def tuning_similarity(responses: Any) -> Measure:
    """Signal correlation: of mean responses over conditions.

    Args:
        responses: ``[condition, unit]``, recorded or of ``predict`` or a screen: of stimuli, or of frames.

    Units that do not vary, or whose responses are not all known, are unknown.

    Raises:
        TypeError, ValueError: no numbers, infinite ones, another shape, or fewer than 3 conditions.
    """
    responses = _rows("responses", responses, "responses [condition, unit]")
    if len(responses) < 3:
        raise ValueError(
            f"responses has {len(responses)} conditions; expected at least 3 (of 2 every correlation is 1 or -1)."
        )
    return Measure("signal correlation", unit_vectors(responses.T, centred=True))


def orientation_similarity(pref_ori: Any) -> Measure:
    """``cos(2 d)`` of the difference ``d`` of preferred orientations: 1 equal, -1 orthogonal, 0 by chance.

    Args:
        pref_ori: ``[unit]``, in degrees; NaN is unknown. ``pref_ori`` of ``microns.units`` or of a tuning protocol.

    Raises:
        TypeError, ValueError: no numbers, infinite ones, or another shape.
    """
    angle = 2 * np.deg2rad(_finite("pref_ori", pref_ori, "degrees [unit]", 1))
    return Measure("similarity of preferred orientation", np.stack([np.cos(angle), np.sin(angle)], axis=1))


def feature_similarity(weights: Any) -> Measure:
    """Cosine of readout weights.

    Args:
        weights: ``[unit, feature]``: ``twin.readout_weights()``, rows of the published ``readout_weights.npy``, or of
            several scans one after the other.

    Raises:
        TypeError, ValueError: no numbers, infinite ones, or another shape.
    """
    return Measure("feature similarity", unit_vectors(_rows("weights", weights, "readout weights [unit, feature]")))


def location_distance(*twins: Twin) -> Measure:
    """Visual angle in degrees between the readout locations, of the units of one twin or of several in turn.

    Raises:
        TypeError: what is no twin.
    """
    if not twins or not all(isinstance(twin, Twin) for twin in twins):
        raise TypeError(f"twins is {shown(twins)}; expected one twin or more: location_distance(twin).")
    return Measure("distance of receptive fields (deg)", np.concatenate([readout_rays(twin) for twin in twins]), True)


def check_measure(name: str, measure: Any, num_units: int | None = None) -> Measure:
    """A measure, of so many units.

    Raises:
        TypeError, ValueError: it is something else, or of another number of units.
    """
    if not isinstance(measure, Measure):
        raise TypeError(f"{name} is {shown(measure)}; expected a measure, such as feature_similarity(weights).")
    if num_units is not None and measure.num_units != num_units:
        raise ValueError(f"{name} is of {measure.num_units} units; expected {num_units}, as of the other arguments.")
    return measure


def _rows(name: str, values: Any, of: str) -> np.ndarray:
    return _finite(name, values, of, 2)


def _finite(name: str, values: Any, of: str, axes: int) -> np.ndarray:
    """Float64 numbers with so many axes, of which some may be NaN, but none infinite."""
    found = np.asarray(numeric(name, values, of), np.float64)
    if found.ndim != axes or not found.size:
        raise ValueError(f"{name} has the shape {list(found.shape)}; expected {of}.")
    if np.isinf(found).any():
        raise ValueError(f"{name} has infinite values; expected {of}, finite, or NaN where unknown.")
    return found
