"""Frames and traces in the forms that the released network takes."""

import warnings
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import numpy as np

from fnn_jax.model.config import NetworkConfig
from fnn_jax.released.values import is_tensor, to_numpy
from fnn_jax.twin.inputs import NAMES, CheckedInputs, check_frame


def series(stimuli: Any, perspectives: Any, modulations: Any) -> tuple[tuple[Any, Any, Any], bool]:
    """Whole series for ``predict``, as many frames of each as the shortest has, and whether stimuli are tensors.

    Iterables without a length are gone through until the first of them ends. A missing trace stays None.
    """
    given = {name: value for name, value in zip(NAMES, (stimuli, perspectives, modulations), strict=True)}
    given = {name: value for name, value in given.items() if value is not None}
    if all(hasattr(value, "__len__") for value in given.values()):
        lengths = {name: len(value) for name, value in given.items()}
        if len(set(lengths.values())) > 1:
            frames = min(lengths.values())
            said = ", ".join(f"{name} {length}" for name, length in lengths.items())
            warnings.warn(
                f"The numbers of frames differ ({said}): the first {frames} are predicted, as by the released package.",
                stacklevel=3,
            )
            given = {name: value[:frames] for name, value in given.items()}
    else:
        rows = list(zip(*given.values(), strict=False))
        given = {name: [row[index] for row in rows] for index, name in enumerate(given)}
    frames_given = given.get("stimuli")
    is_list = isinstance(frames_given, list | tuple) and len(frames_given) > 0
    tensor = is_tensor(frames_given[0] if is_list else frames_given)  # type: ignore[index]
    first, second, third = (_array(name, given.get(name)) for name in NAMES)
    return (first, second, third), tensor


def _array(name: str, values: Any) -> Any:
    if isinstance(values, list | tuple):
        return [to_numpy(name, each) for each in values]
    return to_numpy(name, values)


def frames(
    stimuli: Iterable[Any], perspectives: Iterable[Any] | None, modulations: Iterable[Any] | None
) -> Iterator[tuple[Any, Any, Any]]:
    """Frame by frame, each when it is asked for, until the shortest of the three ends."""
    traces = (repeat(None) if trace is None else trace for trace in (perspectives, modulations))
    return zip(stimuli, *traces, strict=False)


def one_frame(frame: Any, perspective: Any, modulation: Any, config: NetworkConfig) -> CheckedInputs:
    """A frame as ``generate_response`` takes it: ``[H, W]``, ``[H, W, C]`` or ``[N, H, W, C]``.

    Raises:
        TypeError, ValueError: see ``fnn_jax.twin.inputs.check_frame``.
    """
    frame, perspective = to_numpy("stimulus", frame), to_numpy("perspective", perspective)
    return check_frame(frame, perspective, to_numpy("modulation", modulation), config)


def forward_frame(stimulus: Any, perspective: Any, modulation: Any, config: NetworkConfig) -> CheckedInputs:
    """A frame as the released ``forward`` takes it: floats ``[N, C, H, W]``, ``[N, P]`` and ``[N, M]``.

    Raises:
        TypeError, ValueError: other dtypes or shapes.
    """
    pixels = np.asarray(to_numpy("stimulus", stimulus))
    channels, height, width = config.stimulus_channels, config.stimulus_height, config.stimulus_width
    if pixels.ndim != 4 or pixels.shape[1:] != (channels, height, width):
        raise ValueError(
            f"stimulus has the shape {list(pixels.shape)}; expected one frame, [N, {channels}, {height}, {width}]. "
            "predict and generate_response take frames with channels last."
        )
    if pixels.dtype.kind != "f":
        raise TypeError(
            f"stimulus has the dtype {pixels.dtype}; expected floats in [0, 1]: stimulus / 255. predict and "
            "generate_response take uint8."
        )
    return one_frame(np.moveaxis(pixels, 1, -1), perspective, modulation, config)


def forward_arrays(checked: CheckedInputs, config: NetworkConfig) -> list[np.ndarray]:
    """A checked frame in the form of ``forward_frame``, float32."""
    pixels, eye, behaviour = (array[0] for array in checked.chunk(0, 1, 1, config, np.float32))
    pixels = pixels / 255 if pixels.dtype == np.uint8 else pixels
    return [np.array(array, np.float32) for array in (np.moveaxis(pixels, -1, 1), eye, behaviour)]
