"""Videos with their traces and responses, one or several, checked before anything is computed."""

from typing import Any, NamedTuple

import numpy as np

from fnn_jax.common.checks import numeric, shown
from fnn_jax.encoding.labelled import plain, plain_video, shared
from fnn_jax.model.config import NetworkConfig
from fnn_jax.twin.inputs import NAMES, CheckedInputs, check_inputs

FORM = "[T, units], a row for each frame of the video at 30 Hz"


class Video(NamedTuple):
    """A sequence that starts anew, and the responses to it, ``[T, units]``, where there are some."""

    inputs: CheckedInputs
    responses: np.ndarray | None


def checked_videos(
    config: NetworkConfig, stimuli: Any, perspectives: Any, modulations: Any, responses: Any = None
) -> tuple[list[Video], bool]:
    """The videos, and whether they came as a list.

    Raises:
        TypeError, ValueError: what does not fit, by argument and number of the video.
    """
    several = isinstance(stimuli, list | tuple)
    given = dict(zip(NAMES, (stimuli, perspectives, modulations), strict=True)) | {"responses": responses}
    if not several:
        columns = {name: [value] for name, value in given.items()}
    else:
        if not stimuli:
            raise ValueError("stimuli is empty; expected a video, or a list of them.")
        columns = {name: _for_each(name, value, len(stimuli)) for name, value in given.items()}
    videos = []
    for index in range(len(columns["stimuli"])):
        names = {name: f"{name}[{index}]" if several else name for name in given}
        one = {name: values[index] for name, values in columns.items()}
        video = plain_video(names["stimuli"], one["stimuli"])
        eye, behaviour = (plain(names[name], one[name], ("time", None)) for name in NAMES[1:])
        asked: dict[str, Any] = {"traceable": False, "names": tuple(names[name] for name in NAMES)}
        inputs = check_inputs(video, eye, behaviour, config, **asked)
        if inputs.is_batch:
            raise ValueError(
                f"{names['stimuli']} or its traces have a batch axis; expected one video, [T, H, W] or [T, H, W, C]. "
                "Give several videos as a list."
            )
        found = None
        if responses is not None:
            found = _checked_responses(names["responses"], one["responses"], inputs.frames)
        shared("time", {names[name]: value for name, value in one.items()})
        videos.append(Video(inputs, found))
    counts = [video.responses.shape[1] for video in videos if video.responses is not None]
    if len(set(counts)) > 1:
        raise ValueError(f"responses has {shown(counts)} units in its videos; expected the same units in each.")
    unit_labels(responses)
    return videos, several


def unit_labels(responses: Any) -> np.ndarray | None:
    """The coordinate ``unit`` of responses that are DataArrays, the same for all videos; None: they have none.

    Raises:
        ValueError: two of them have others.
    """
    several = isinstance(responses, list | tuple)
    given = (
        {f"responses[{index}]": each for index, each in enumerate(responses)} if several else {"responses": responses}
    )
    return shared("unit", given)


def _for_each(name: str, values: Any, count: int) -> list[Any]:
    if values is None:
        return [None] * count
    if not isinstance(values, list | tuple):
        raise TypeError(f"{name} is {type(values).__name__}, and stimuli a list; expected a list of {count}, too.")
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} items, and stimuli {count}; expected one for each video.")
    return list(values)


def _checked_responses(name: str, responses: Any, frames: int) -> np.ndarray:
    found = numeric(name, plain(name, responses, ("time", "unit")), FORM)
    if found.ndim != 2 or 0 in found.shape:
        remedy = f" Of one unit: {name}[:, None]." if found.ndim == 1 else ""
        raise ValueError(f"{name} has the shape {list(found.shape)}; expected {FORM}.{remedy}")
    if len(found) != frames:
        raise ValueError(f"{name} has {len(found)} frames, and its video {frames}; expected {FORM}.")
    bad = ~np.isfinite(found)
    if bad.any():
        units = np.flatnonzero(bad.any(0))
        raise ValueError(
            f"{name} is NaN or infinite in {bad.any(1).sum()} of {frames} frames, in the units "
            f"{shown(units.tolist())}; expected finite values. Interpolate them, or leave these units out."
        )
    return found
