"""Measures of predictions on arrays ``[unit, repeat, frame]``, all units at once; NaN is missing.

The frames of all videos stand in a row, as ``format_responses`` makes them. The same measures of data that do not fit
into memory come from ``fnn_jax.evaluation.Statistics``, which these functions use.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fnn_jax.common.checks import integer
from fnn_jax.evaluation.statistics import PredictionStatistics, ResponseStatistics, Statistics


def format_responses(responses: Sequence[Sequence[Any]], burnin_frames: int = 0) -> np.ndarray:
    """Responses, or predictions, of several videos as one array.

    Args:
        responses: for each video a list of its repeats, ``[n, U]`` each. Videos may differ in their numbers of frames
            and of repeats; the repeats of one video have the same ``n``.
        burnin_frames: frames that are left out at the beginning of each video.

    Returns:
        ``[U, repeat, frame]``, videos one after the other; NaN where a video has fewer repeats than another.

    Raises:
        TypeError: the burn-in is no integer.
        ValueError: no videos, repeats of unequal shape, or a video that is not longer than the burn-in.
    """
    videos = [[np.asarray(repeat) for repeat in video] for video in responses]
    if not videos or not all(videos):
        raise ValueError("responses holds no video, or one without repeats; expected a list of lists of [n, U].")
    burnin_frames = integer("burnin_frames", burnin_frames, 0)
    units = {repeat.shape[-1:] for video in videos for repeat in video}
    for number, video in enumerate(videos):
        shapes = sorted({repeat.shape for repeat in video})
        if len(shapes) > 1 or len(shapes[0]) != 2 or len(units) > 1:
            raise ValueError(
                f"responses has the shapes {list(map(list, shapes))} in video {number}, and numbers of units "
                f"{sorted(units)}; expected [n, U] with one U, and one n in each video."
            )
        if shapes[0][0] <= burnin_frames:
            raise ValueError(
                f"responses has {shapes[0][0]} frames in video {number}, and burnin_frames is {burnin_frames}; "
                "expected longer videos, or a shorter burn-in."
            )
    lengths = [video[0].shape[0] - burnin_frames for video in videos]
    most = max(map(len, videos))
    dtype = np.result_type(np.float32, *(repeat.dtype for video in videos for repeat in video))
    formatted = np.full((videos[0][0].shape[1], most, sum(lengths)), np.nan, dtype)
    start = 0
    for video, length in zip(videos, lengths, strict=True):
        for index, repeat in enumerate(video):
            formatted[:, index, start : start + length] = repeat[burnin_frames:].T
        start += length
    return formatted


def cc_abs(predictions: Any, responses: Any) -> np.ndarray:
    """Correlation of the mean over repeats of the predictions with that of the responses, over frames, ``[U]``.

    Each mean is over what is present of it; frames without any response do not count. NaN where a mean is constant.
    ``fnn.evaluate.compute_cc_abs`` of the released package.
    """
    return PredictionStatistics.of(*_pair(predictions, responses)).cc_abs()


def cc_max(responses: Any) -> np.ndarray:
    """The largest correlation with the mean response that a perfect prediction can be expected to have, ``[U]``.

    With ``y`` the mean over the ``t`` repeats present at each frame: ``n = sqrt(sum(t - 1) / sum((t - 1) / t^2))``,
    ``P`` the variance of ``y`` over frames (ddof 1), ``TP`` the mean over repeats of their variances (ddof 1), ``SP =
    (n P - TP) / (n - 1)``, and ``cc_max = sqrt(SP / variance of y (ddof 0))``. NaN where ``SP`` is negative, that is
    where there is no more than noise, and where nothing was repeated.

    Source: Schoppe et al. 2016, *Measuring the performance of neural models*, doi:10.3389/fncom.2016.00010, for unequal
    repeats as in ``fnn.evaluate.compute_cc_max`` of the released package. Frames without any response, and repeats with
    less than two, do not count here.
    """
    return ResponseStatistics.of(_checked(responses, "responses")).cc_max()


def cc_norm(predictions: Any, responses: Any) -> np.ndarray:
    """``cc_abs / cc_max``, ``[U]``: 1 is as good as the noise allows; it may exceed 1. NaN where ``cc_max`` is."""
    return Statistics.of(*_pair(predictions, responses)).measures()["cc_norm"]


def feve(predictions: Any, responses: Any) -> np.ndarray:
    """Fraction of the explainable variance that is explained, ``[U]``: 1 is best, and it may be negative.

    ``1 - (mean squared error - noise variance) / (total variance - noise variance)``: the error and the total variance
    (ddof 1) over all frames of all repeats, the noise variance the mean over frames of the variance over repeats (ddof
    1). Unlike a correlation it needs predictions of the right size. NaN where the noise is the larger variance.

    Source: Cadena et al. 2019, *Deep convolutional models improve predictions of macaque V1 responses to natural
    images*, doi:10.1371/journal.pcbi.1006897, there called FEV. Units with a small ``fev`` have a wild one: it is usual
    to look at ``fev > 0.15`` alone.
    """
    return Statistics.of(*_pair(predictions, responses)).feve()


def fev(responses: Any) -> np.ndarray:
    """Fraction of the variance that is explainable, ``1 - noise variance / total variance``, ``[U]``; see ``feve``."""
    responses = _checked(responses, "responses")
    return Statistics.of(responses, responses).fev()


def single_trial_correlation(predictions: Any, responses: Any) -> np.ndarray:
    """Correlation of predictions and responses over all frames of all repeats, none of them averaged, ``[U]``.

    The score of the Sensorium competitions (Willeke et al. 2022, arXiv:2206.08666).
    """
    return PredictionStatistics.of(*_pair(predictions, responses)).single_trial_correlation()


def oracle(responses: Any) -> np.ndarray:
    """How well the other repeats predict one, ``[U]``.

    Of each repeat the correlation, over frames, with the mean of the others that are present; then the mean over
    repeats. A repeat that is constant, or never has another beside it, does not count. Source: the oracle of Walker et
    al. 2019, doi:10.1038/s41593-019-0517-x, by repeat instead of over all repeats in a row.
    """
    return ResponseStatistics.of(_checked(responses, "responses")).oracle()


def _pair(predictions: Any, responses: Any) -> tuple[np.ndarray, np.ndarray]:
    predictions, responses = _checked(predictions, "predictions"), _checked(responses, "responses")
    if predictions.shape != responses.shape:
        shapes = f"{list(predictions.shape)}, responses {list(responses.shape)}"
        raise ValueError(f"predictions has the shape {shapes}; expected the same one.")
    return predictions, responses


def _checked(array: Any, argument: str) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"{argument} has the shape {list(array.shape)}; expected [unit, repeat, frame], at least one each. "
            "format_responses makes it from lists."
        )
    return array
