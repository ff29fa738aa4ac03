"""Two sets of responses beside one another, frame by frame."""

import numpy as np
import pandas as pd

SHIFTS = (-2, -1, 1, 2)  # frames by which responses may be shifted, when no other reason is found


def relative_errors(predicted: np.ndarray, published: np.ndarray) -> np.ndarray:
    """Absolute differences ``[frame, unit]``, as a fraction of each unit's largest published response."""
    finite = np.where(np.isfinite(published), published, 0)
    scale = np.maximum(np.abs(finite).max(0), np.finfo(np.float32).tiny)
    return np.abs(predicted.astype(np.float64) - published) / scale


def compare(predicted: np.ndarray, published: np.ndarray, tolerance: float) -> pd.DataFrame:
    """Each unit's differences between two arrays of responses ``[frame, unit]``.

    Returns:
        A row for each unit: ``largest`` and ``median`` difference, as a fraction of its largest published response,
        ``correlation`` over frames (NaN where either is constant), and ``first_frame``, counted from 0, at which the
        difference exceeds ``tolerance`` (missing: none does).
    """
    errors = relative_errors(predicted, published)
    beyond = ~(errors <= tolerance)  # what is not finite, too
    first = np.where(beyond.any(0), beyond.argmax(0), -1)
    table = pd.DataFrame(
        {
            "largest": errors.max(0),
            "median": np.median(errors, axis=0),
            "correlation": correlations(predicted, published),
            "first_frame": pd.array(first, dtype="Int64"),
        }
    )
    table["first_frame"] = table["first_frame"].mask(first < 0)
    return table


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson correlation over frames of every unit of one array with the same unit of the other."""
    first, second = (_standardised(each) for each in (first, second))
    return (first * second).sum(0)


def nearest(published: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """For each unit of ``published`` ``[frame, unit]`` the column of ``candidates`` that correlates best with it."""
    return np.nan_to_num(_standardised(published).T @ _standardised(candidates), nan=-2).argmax(1)


def _standardised(responses: np.ndarray) -> np.ndarray:
    centred = responses.astype(np.float64) - responses.mean(0, dtype=np.float64)
    length = np.sqrt((centred**2).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(length > 0, centred / length, np.nan)


def shifted(predicted: np.ndarray, published: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames that both have, where published responses are late by so many frames (early, if negative)."""
    if frames >= 0:
        return predicted[: len(predicted) - frames], published[frames:]
    return predicted[-frames:], published[:frames]


def is_float16(published: np.ndarray) -> bool:
    """Whether every number is one that float16 holds, so that they were rounded to it."""
    with np.errstate(over="ignore"):
        return bool((published.astype(np.float16).astype(np.float32) == published).all())


def as_rounded(predicted: np.ndarray, published: np.ndarray) -> np.ndarray:
    """The predictions, nearer to published ones by what rounding these to float16 may have moved them."""
    half = np.spacing(np.abs(published).astype(np.float16)).astype(np.float64) / 2
    difference = predicted.astype(np.float64) - published
    return published + np.sign(difference) * np.maximum(np.abs(difference) - half, 0)
