"""Sums over frames from which the measures of an evaluation are made: they add up over videos and over processes.

Everything is float64, one number for each unit. Means and variances are kept as a count, a mean and sums of squared
deviations, which merge without cancellation (Chan, Golub and LeVeque 1983).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

BLOCK = 2**17  # numbers of an array that are worked on at once: they stay in the cache
ROUNDING = 1e-12  # of the mean: a trace that varies less is constant


class Moments(NamedTuple):
    """Count, means and sums of products of deviations of ``k`` variables, over the samples where all are present.

    ``count [...]``, ``mean [..., k]``, ``products [..., k, k]``; the mean is 0 where the count is.
    """

    count: np.ndarray  # type: ignore[assignment]  # not the method of a tuple
    mean: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, *variables: np.ndarray, present: np.ndarray, axes: int = 1) -> "Moments":
        """Of arrays of one shape, over so many of their last axes, where ``present``."""
        arrays = [_flat(_only(variable, present), axes) for variable in variables]
        present = _flat(present, axes)
        count = _count(present)
        means = [array.sum(-1) / np.maximum(count, 1) for array in arrays]
        deviations = [_only(array - mean[..., None], present) for array, mean in zip(arrays, means, strict=True)]
        products = np.empty((*count.shape, len(arrays), len(arrays)))
        for i, first in enumerate(deviations):
            for j, second in enumerate(deviations[: i + 1]):
                products[..., i, j] = products[..., j, i] = np.einsum("...n,...n->...", first, second)
        return cls(count, np.stack(means, axis=-1), products)

    def add(self, other: "Moments") -> "Moments":
        """Those of all samples together."""
        count = self.count + other.count
        safe = np.maximum(count, 1)
        step = other.mean - self.mean
        mean = self.mean + step * (other.count / safe)[..., None]
        weight = (self.count * other.count / safe)[..., None, None]
        products = self.products + other.products + weight * step[..., None] * step[..., None, :]
        return Moments(count, mean, products)

    def variance(self, variable: int = 0, ddof: int = 1) -> np.ndarray:
        """NaN where there are not more than ``ddof`` samples."""
        return _ratio(self.products[..., variable, variable], self.count - ddof)

    def correlation(self) -> np.ndarray:
        """Pearson correlation of two variables; NaN where one of them does not vary."""
        squares = np.diagonal(self.products, axis1=-2, axis2=-1)
        # The mean of a constant trace is rounded, so its deviations are not quite 0.
        varies = (squares > self.count[..., None] * np.square(ROUNDING * self.mean)).all(-1)
        denominator = np.where(varies, np.sqrt(squares).prod(-1), 0)
        return np.clip(_ratio(self.products[..., 0, 1], denominator), -1, 1)


class ResponseStatistics(NamedTuple):
    """What recorded responses say by themselves, of ``U`` units and at most ``R`` repeats.

    ``means [U]``: of the mean over repeats, over frames. ``repeats [U, R]``: of each repeat, over frames.
    ``leave_one_out [U, R]``: of a repeat and the mean of the others. With ``t`` repeats present at a frame,
    ``spare [U]``: sum of ``t - 1``; ``weighted_spare [U]``: sum of ``(t - 1) / t^2``; ``noise [U]``: sum of the
    variance over repeats (ddof 1) over the ``repeated [U]`` frames with ``t >= 2``.
    """

    means: Moments
    repeats: Moments
    leave_one_out: Moments
    spare: np.ndarray
    weighted_spare: np.ndarray
    noise: np.ndarray
    repeated: np.ndarray

    @classmethod
    def of(cls, responses: np.ndarray) -> "ResponseStatistics":
        """Of responses ``[unit, repeat, frame]``; NaN is missing."""
        return _in_blocks(cls._of_block, responses)

    @classmethod
    def _of_block(cls, responses: np.ndarray) -> "ResponseStatistics":
        present, times, mean = _mean_over_repeats(responses)
        spare = np.maximum(times - 1, 0)
        deviations = _only(responses - mean[:, None], present)
        others = times[:, None] - present
        rest = mean[:, None] - deviations / np.maximum(others, 1)  # the mean of the other repeats
        return cls(
            means=Moments.of(mean, present=times > 0),
            repeats=Moments.of(responses, present=present),
            leave_one_out=Moments.of(responses, rest, present=present & (others > 0)),
            spare=spare.sum(-1),
            weighted_spare=(spare / np.square(np.maximum(times, 1))).sum(-1),
            noise=(np.square(deviations).sum(1) / np.maximum(spare, 1)).sum(-1),
            repeated=_count(times > 1),
        )

    def add(self, other: "ResponseStatistics") -> "ResponseStatistics":
        """Those of all frames together. The k-th repeats of both are one repeat."""
        return _add(self, other)

    def cc_max(self) -> np.ndarray:
        """See ``fnn_jax.evaluation.cc_max``."""
        effective = np.sqrt(_ratio(self.spare, self.weighted_spare))
        repeats = self.repeats.variance()
        counted = np.isfinite(repeats)
        total_power = _ratio(np.where(counted, repeats, 0).sum(-1), counted.sum(-1))
        signal_power = _ratio(effective * self.means.variance() - total_power, effective - 1)
        squared = _ratio(signal_power, self.means.variance(ddof=0))
        return np.sqrt(np.where(squared >= 0, squared, np.nan))

    def noise_variance(self) -> np.ndarray:
        """Mean over frames of the variance over repeats; NaN without repeats."""
        return _ratio(self.noise, self.repeated)

    def oracle(self) -> np.ndarray:
        """See ``fnn_jax.evaluation.oracle``."""
        correlations = self.leave_one_out.correlation()
        counted = np.isfinite(correlations)
        return _ratio(np.where(counted, correlations, 0).sum(-1), counted.sum(-1))

    def num_frames(self) -> np.ndarray:
        """Frames with a response in at least one repeat, ``[U]``."""
        return self.means.count.astype(int)

    def num_repeats(self) -> np.ndarray:
        """Mean number of repeats present at those frames, ``[U]``."""
        return _ratio(self.repeats.count.sum(-1), self.means.count)


class PredictionStatistics(NamedTuple):
    """What predictions and responses say together, of ``U`` units.

    ``means [U]``: of prediction and response, each averaged over its repeats, over frames. ``trials [U]``: of
    prediction and response of single repeats. ``squared_error [U]``: sum over these.
    """

    means: Moments
    trials: Moments
    squared_error: np.ndarray

    @classmethod
    def of(cls, predictions: np.ndarray, responses: np.ndarray) -> "PredictionStatistics":
        """Of arrays ``[unit, repeat, frame]``; NaN is missing."""
        return _in_blocks(cls._of_block, predictions, responses)

    @classmethod
    def _of_block(cls, predictions: np.ndarray, responses: np.ndarray) -> "PredictionStatistics":
        recorded, recorded_times, mean_response = _mean_over_repeats(responses)
        predicted, predicted_times, mean_prediction = _mean_over_repeats(predictions)
        both = recorded & predicted
        error = _only(responses - predictions, both)
        return cls(
            means=Moments.of(mean_prediction, mean_response, present=(recorded_times > 0) & (predicted_times > 0)),
            trials=Moments.of(predictions, responses, present=both, axes=2),
            squared_error=np.square(error).sum((1, 2)),
        )

    def add(self, other: "PredictionStatistics") -> "PredictionStatistics":
        """Those of all frames together."""
        return _add(self, other)

    def cc_abs(self) -> np.ndarray:
        """See ``fnn_jax.evaluation.cc_abs``."""
        return self.means.correlation()

    def single_trial_correlation(self) -> np.ndarray:
        """See ``fnn_jax.evaluation.single_trial_correlation``."""
        return self.trials.correlation()

    def mean_squared_error(self) -> np.ndarray:
        """Over all frames of all repeats."""
        return _ratio(self.squared_error, self.trials.count)


class Statistics(NamedTuple):
    """Both: everything that the measures need."""

    responses: ResponseStatistics
    predictions: PredictionStatistics

    @classmethod
    def of(cls, predictions: np.ndarray, responses: np.ndarray) -> "Statistics":
        """Of arrays ``[unit, repeat, frame]``; NaN is missing."""
        return cls(ResponseStatistics.of(responses), PredictionStatistics.of(predictions, responses))

    def add(self, other: "Statistics") -> "Statistics":
        """Those of all frames together, whatever process they come from; the order does not matter.

        Raises:
            ValueError: they are not of the same number of units.
        """
        ours, theirs = (each.responses.spare.shape[0] for each in (self, other))
        if ours != theirs:
            raise ValueError(f"statistics of {ours} and of {theirs} units cannot be added; expected the same units.")
        return Statistics(self.responses.add(other.responses), self.predictions.add(other.predictions))

    def fev(self) -> np.ndarray:
        """See ``fnn_jax.evaluation.fev``."""
        total = self.predictions.trials.variance(1)
        return _ratio(total - self.responses.noise_variance(), total)

    def feve(self) -> np.ndarray:
        """See ``fnn_jax.evaluation.feve``."""
        noise = self.responses.noise_variance()
        explainable = self.predictions.trials.variance(1) - noise
        unexplained = self.predictions.mean_squared_error() - noise
        return 1 - _ratio(unexplained, np.where(explainable > 0, explainable, 0))

    def measures(self) -> dict[str, np.ndarray]:
        """All measures by name, ``[U]`` each; NaN where one is not defined."""
        cc_abs, cc_max = self.predictions.cc_abs(), self.responses.cc_max()
        return {
            "cc_abs": cc_abs,
            "cc_max": cc_max,
            "cc_norm": _ratio(cc_abs, cc_max),
            "feve": self.feve(),
            "fev": self.fev(),
            "single_trial": self.predictions.single_trial_correlation(),
            "oracle": self.responses.oracle(),
            "num_frames": self.responses.num_frames(),
            "num_repeats": self.responses.num_repeats(),
        }


def _mean_over_repeats(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of ``[unit, repeat, frame]`` are present; at each frame their number, and their mean or else 0."""
    present = ~np.isnan(values)
    times = present.sum(1, dtype=np.float64)
    return present, times, _only(values, present).sum(1) / np.maximum(times, 1)


def _only(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The values, with 0 for those that are not present."""
    return values if present.all() else np.where(present, values, 0)


def _count(present: np.ndarray) -> np.ndarray:
    return np.count_nonzero(present, axis=-1).astype(np.float64)


def _flat(array: np.ndarray, axes: int) -> np.ndarray:
    return array.reshape(*array.shape[: array.ndim - axes], -1)


def _in_blocks(statistics: Callable, *arrays: np.ndarray):
    """Statistics of arrays ``[unit, repeat, frame]``, computed for some units at a time."""
    units, repeats, frames = arrays[0].shape
    size = max(1, BLOCK // max(1, repeats * frames))

    def block(start):
        return statistics(*(np.ascontiguousarray(array[start : start + size], np.float64) for array in arrays))

    return _concatenate([block(start) for start in range(0, units, size)])


def _concatenate(parts: list):
    """Statistics of several groups of units as one: the units are the first axis of every array."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return type(parts[0])(*(_concatenate(list(each)) for each in zip(*parts, strict=True)))


def _add(first, second):
    """Arrays are sums; moments merge, those of fewer repeats filled up with empty ones."""
    if isinstance(first, np.ndarray):
        return first + second
    if not isinstance(first, Moments):
        return type(first)(*map(_add, first, second))
    if first.count.ndim == 2:
        repeats = max(first.count.shape[1], second.count.shape[1])
        first, second = (_with_repeats(each, repeats) for each in (first, second))
    return first.add(second)


def _with_repeats(moments: Moments, repeats: int) -> Moments:
    missing = repeats - moments.count.shape[1]
    return Moments(*(np.pad(array, [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2)) for array in moments))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where the denominator is not above 0."""
    positive = denominator > 0
    return np.where(positive, numerator, np.nan) / np.where(positive, denominator, 1)
