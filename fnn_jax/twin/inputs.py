"""What users pass in, checked and brought to ``[time, batch, ...]`` before any computation.

The rules are those of the released package, made strict: it reads other frame sizes, cuts a video and a trace of
different length to the shorter one, and lets NaN through, all without a word.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.extent import MAPS, allowed_shapes

FRAMES_PER_CHECK = 256
NAMES = ("stimuli", "perspectives", "modulations")


class CheckedInputs(NamedTuple):
    """Stimulus and traces as ``[time, 1 or batch, ...]``; a missing trace is None."""

    stimuli: Any
    perspectives: Any | None
    modulations: Any | None
    frames: int
    batch: int
    is_batch: bool  # whether any input came with a batch axis

    def chunk(self, start: int, stop: int, length: int, config: NetworkConfig, dtype: Any) -> tuple[Any, Any, Any]:
        """Frames ``start`` to ``stop``, broadcast to the batch and filled up to ``length`` with the last frame.

        Floats come in ``dtype``.
        """
        traces = (
            (self.perspectives, config.perspective.eye_features),
            (self.modulations, config.modulation.behaviour_features),
        )
        arrays = [self.stimuli[start:stop]]
        for trace, features in traces:
            zeros = np.zeros((stop - start, 1, features), dtype)
            arrays.append(zeros if trace is None else np.asarray(trace[start:stop], dtype))
        if arrays[0].dtype != np.uint8:
            arrays[0] = np.asarray(arrays[0], dtype)
        fill = length - (stop - start)
        if fill:
            arrays = [np.concatenate([a, np.repeat(a[-1:], fill, axis=0)]) for a in arrays]
        stimulus, eye, behaviour = (np.broadcast_to(a, (length, self.batch, *a.shape[2:])) for a in arrays)
        return stimulus, eye, behaviour


def check_inputs(
    stimuli: Any,
    perspectives: Any,
    modulations: Any,
    config: NetworkConfig,
    traceable: bool = True,
    values: bool = True,
    names: tuple[str, str, str] = NAMES,
    start: str = "stimulus",
    stream: Any = None,
) -> CheckedInputs:
    """Check shapes and values of the inputs of ``predict``; without ``values``, shapes and types alone.

    ``names`` are those of the arguments, for messages. ``start`` and ``stream`` are those of ``Network.rollout``: of a
    rollout that starts inside the network, ``stimuli`` are the values there.

    Arrays that JAX is tracing have no values yet; only their shapes and types are checked, where ``traceable``.

    Raises:
        TypeError: a dtype that is not understood.
        ValueError: a shape or value that is not; the message names the argument, what came and what to do.
    """
    if not traceable and any(isinstance(a, jax.core.Tracer) for a in (stimuli, perspectives, modulations)):
        raise TypeError(
            "predict, features and step work on values, not inside jax.jit, grad or vmap. Use twin.rollout there."
        )
    stimuli = _as_array(names[0], stimuli)
    if start == "stimulus":
        stimuli, stimuli_batch = _check_stimuli(names[0], stimuli, config)
    else:
        stimuli, stimuli_batch = _check_inner(names[0], stimuli, config, start, stream is not None)
    if values:
        (_check_pixels if start == "stimulus" else _check_finite)(names[0], stimuli)
    frames = stimuli.shape[0]
    eye_features, behaviour_features = config.perspective.eye_features, config.modulation.behaviour_features
    perspectives, eye_batch = _check_trace(names[1], perspectives, frames, eye_features, values)
    modulations, behaviour_batch = _check_trace(names[2], modulations, frames, behaviour_features, values)

    arrays = zip(names, (stimuli, perspectives, modulations), strict=True)
    sizes = {name: array.shape[1] for name, array in arrays if array is not None}
    batch = max(sizes.values())
    if any(size not in (1, batch) for size in sizes.values()):
        raise ValueError(
            f"The batch sizes differ: {', '.join(f'{name} {size}' for name, size in sizes.items())}. "
            "Expected the same number in each, or 1 (or no batch axis) where one is shared by the batch."
        )
    is_batch = stimuli_batch or eye_batch or behaviour_batch
    return CheckedInputs(stimuli, perspectives, modulations, frames, batch, is_batch)


def check_frame(
    frame: Any,
    perspective: Any,
    modulation: Any,
    config: NetworkConfig,
    start: str = "stimulus",
    stream: Any = None,
) -> CheckedInputs:
    """Check one frame and its traces, as ``check_inputs`` does for a video.

    Raises:
        TypeError, ValueError: as ``check_inputs``.
    """
    named = {"frame": frame, "perspective": perspective, "modulation": modulation}
    arrays = {name: None if value is None else _as_array(name, value) for name, value in named.items()}
    array = arrays["frame"]
    shape = () if array is None else array.shape
    size, channels = (config.stimulus_height, config.stimulus_width), config.stimulus_channels
    good = shape in (size, (*size, channels), (*shape[:1], *size, channels)) and 0 not in shape
    if (start == "stimulus" and not good) or not shape:
        one = f"[{size[0]}, {size[1]}] or [{size[0]}, {size[1]}, {config.stimulus_channels}]"
        raise ValueError(
            f"frame has the shape {None if frame is None else list(shape)}; expected one frame, {one}, or for a batch "
            f"[N, {size[0]}, {size[1]}, {config.stimulus_channels}]. Of a video, pass one frame at a time: video[t]."
        )
    features = {"perspective": config.perspective.eye_features, "modulation": config.modulation.behaviour_features}
    for name, count in features.items():
        array = arrays[name]
        if array is not None and (array.ndim not in (1, 2) or array.shape[-1] != count or not array.size):
            raise ValueError(
                f"{name} has the shape {list(array.shape)}; expected [{count}] or [N, {count}], those of one frame."
            )
    stimuli, perspectives, modulations = (None if a is None else a[None] for a in arrays.values())
    names = ("frame", "perspective", "modulation")
    options: dict[str, Any] = {"names": names, "start": start, "stream": stream}
    return check_inputs(stimuli, perspectives, modulations, config, traceable=False, **options)


def constant_trace(name: str, trace: Any, frames: int) -> Any:
    """A trace, for every frame where it is one row of numbers."""
    if trace is None:
        return None
    trace = _as_array(name, trace)
    return np.broadcast_to(trace, (frames, len(trace))) if trace.ndim == 1 else trace


def _as_array(name: str, values: Any) -> Any:
    if isinstance(values, jax.Array):
        return values
    if not hasattr(values, "__array__") and not hasattr(values, "__len__") and hasattr(values, "__iter__"):
        values = list(values)  # a generator of frames
    try:
        array = values if isinstance(values, np.ndarray) else np.asarray(values)  # a memory map stays one
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as one array: {error}. Give frames of equal shape.") from error
    if array.dtype == object:
        raise TypeError(f"{name} holds Python objects, expected numbers. Give an array, or frames of equal shape.")
    return array


def _check_stimuli(name: str, stimuli: Any, config: NetworkConfig) -> tuple[Any, bool]:
    height, width, channels = config.stimulus_height, config.stimulus_width, config.stimulus_channels
    forms = f"[T, {height}, {width}], [T, {height}, {width}, {channels}] or [T, N, {height}, {width}, {channels}]"
    got = f"{name} has the shape {list(stimuli.shape)}; expected {forms}"
    shape = stimuli.shape
    if stimuli.ndim not in (3, 4, 5):
        remedy = "; one frame needs a time axis: stimuli[None]" if stimuli.ndim == 2 else ""
        raise ValueError(f"{got}{remedy}.")
    if stimuli.ndim == 3 and shape == (height, width, channels):
        raise ValueError(f"{got}. It looks like one frame without a time axis: use stimuli[None].")
    if stimuli.ndim == 4 and shape[2:] == (height, width):
        raise ValueError(f"{got}. It looks like a batch without a channel axis: use stimuli[..., None].")
    is_batch = stimuli.ndim == 5
    if stimuli.ndim == 3:
        stimuli = stimuli[..., None]
    if not is_batch:
        stimuli = stimuli[:, None]
    size = stimuli.shape[2:4]
    if size != (height, width):
        transposed = " Height comes before width." if size == (width, height) else ""
        raise ValueError(f"{got}. Frames of {size[0]} x {size[1]} are not read: resize them first.{transposed}")
    if stimuli.shape[4] != channels:
        raise ValueError(f"{got}. The network reads {channels} channel: convert colour to gray first.")
    if 0 in stimuli.shape:
        raise ValueError(f"{got}, with at least one frame and one video.")
    if stimuli.dtype != np.uint8 and not jnp.issubdtype(stimuli.dtype, jnp.floating):
        raise TypeError(
            f"{name} has the dtype {stimuli.dtype}; expected uint8, or floats in [0, 1]. "
            f"Where its values run from 0 to 255: {name}.astype(np.uint8)."
        )
    return stimuli, is_batch


def _check_pixels(name: str, stimuli: Any) -> None:
    if stimuli.dtype == np.uint8 or isinstance(stimuli, jax.core.Tracer):
        return
    for start in range(0, len(stimuli), FRAMES_PER_CHECK):
        block = np.asarray(stimuli[start : start + FRAMES_PER_CHECK], np.float32)
        good = (block >= 0) & (block <= 1)  # false for NaN
        if not good.all():
            frame = start + int(np.argmin(good.reshape(len(block), -1).all(1)))
            value = block.reshape(-1)[np.argmin(good)]
            if value > 2:
                remedy = f" Where its values run from 0 to 255: {name} / 255."
            else:
                remedy = "" if np.isnan(value) else f" Where that comes from resizing: np.clip({name}, 0, 1)."
            raise ValueError(
                f"{name} holds the value {value!s} in frame {frame}; floats are expected to be in [0, 1].{remedy}"
            )


def _check_inner(name: str, values: Any, config: NetworkConfig, start: str, one_stream: bool) -> tuple[Any, bool]:
    """Values at which a rollout starts, as ``[time, 1 or batch, ...]``, and whether they came with a batch axis."""
    allowed, of_streams = allowed_shapes(config, start, one_stream), ""
    if start in MAPS:
        of_streams = ", of every stream" if not one_stream else ", of every stream or the chosen one"
    sides = ", ".join(map(str, allowed[0]))
    expected = f"what start={start!r} says{of_streams}, [T, {sides}] or [T, N, {sides}]"
    given, is_batch = list(values.shape), values.ndim == len(allowed[0]) + 2
    if not is_batch and values.ndim:
        values = values[:, None]
    if tuple(values.shape[2:]) not in allowed or 0 in values.shape:
        raise ValueError(f"{name} has the shape {given}; expected {expected}.")
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"{name} has the dtype {values.dtype}; expected floats, {expected}.")
    return values, is_batch


def _check_finite(name: str, values: Any) -> None:
    if isinstance(values, jax.core.Tracer):
        return
    for start in range(0, len(values), FRAMES_PER_CHECK):
        good = np.isfinite(np.asarray(values[start : start + FRAMES_PER_CHECK], np.float32))
        if not good.all():
            frame = start + int(np.argmin(good.reshape(len(good), -1).all(1)))
            raise ValueError(f"{name} is NaN or infinite in frame {frame}; expected finite values.")


def _check_trace(name: str, trace: Any, frames: int, features: int, values: bool) -> tuple[Any, bool]:
    if trace is None:
        return None, False
    trace = _as_array(name, trace)
    if not (jnp.issubdtype(trace.dtype, jnp.floating) or jnp.issubdtype(trace.dtype, jnp.integer)):
        raise TypeError(f"{name} has the dtype {trace.dtype}; expected floats.")
    got = f"{name} has the shape {list(trace.shape)}; expected [T, {features}] or [T, N, {features}]"
    if trace.ndim not in (2, 3):
        raise ValueError(f"{got}.")
    if trace.shape[-1] != features:
        raise ValueError(f"{got}: {features} features in the last axis.")
    if trace.shape[0] != frames:
        raise ValueError(
            f"{name} has {trace.shape[0]} frames and stimuli has {frames}; expected one row per frame of the stimulus. "
            "Cut or resample one of them."
        )
    is_batch = trace.ndim == 3
    trace = trace if is_batch else trace[:, None]
    if trace.shape[1] == 0:
        raise ValueError(f"{got}, with at least one trace.")
    if values and not isinstance(trace, jax.core.Tracer):
        bad = np.flatnonzero(~np.isfinite(np.asarray(trace, np.float32)).all((1, 2)))
        if bad.size:
            shown = ", ".join(map(str, bad[:10])) + (", ..." if bad.size > 10 else "")
            raise ValueError(
                f"{name} is NaN or infinite in {bad.size} of {frames} frames ({shown}). "
                "Leave these frames out, interpolate them, or set them to 0, the mean of a z-scored trace."
            )
    return trace, is_batch
