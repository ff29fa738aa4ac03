"""Predict the responses of a digital twin with JAX and NumPy alone.

This file lies in the folder that it reads, beside the twin's weights and programs. Copy the folder, and::

    import sys
    sys.path.insert(0, "FOLDER")
    import program

    twin = program.load("FOLDER")
    responses = twin.predict(video)

``about.json`` says what the twin is, and which arrays go in and come out; ``units.csv`` lists its units. JAX reads the
programs with the small package ``flatbuffers``: ``pip install jax flatbuffers``. They give responses; gradients do not
pass through them. Such folders are written by ``Twin.export_program`` of the package ``fnn_jax``, not needed here.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

FORMAT = "fnn_jax program"
FORMAT_VERSION = 1
FRAMES_PER_CHECK = 256

State = tuple[jax.Array, ...]


class ProgramError(ValueError):
    """A folder cannot be used; the message says why and what to do."""


def load(folder: str | os.PathLike) -> "Program":
    """The twin in a folder, every file of which is verified.

    Raises:
        ProgramError: no twin there, or it is damaged, incomplete, of a newer format, or not for this JAX or platform.
    """
    folder = Path(folder).expanduser().absolute()
    about = _read_about(folder)
    _check_jax(about)
    platform = export.default_export_platform()
    programs = [program for program in about["programs"] if platform in program["platforms"]]
    if not programs:
        raise ProgramError(
            f"JAX runs on {platform!r} here; {folder} was exported for {', '.join(about['platforms'])}. "
            "To run it on the CPU set the environment variable JAX_PLATFORMS=cpu."
        )
    files = {name: _read_file(folder / name, sha256) for name, sha256 in about["sha256"].items()}
    weights = dict(np.load(io.BytesIO(files["weights.npz"]), allow_pickle=False))
    units = list(csv.DictReader(io.StringIO(files["units.csv"].decode())))
    functions = {
        (program["multiple_of"], program["stimuli"]): _function(files[program["file"]], about) for program in programs
    }
    return Program(about, units, weights, functions)


class Program:
    """A twin: responses of its units to videos. Frames come at 30 Hz.

    Attributes:
        about: what is known of it, and its inputs, outputs and state in detail; the content of ``about.json``.
        name, label: the scan, such as ``8-5``; what must be known of the weights, such as ``"random weights"``.
        num_units: how many units it has.
        units: what is known of each unit, as text by column; column ``j`` of the responses belongs to ``units[j]``.
    """

    def __init__(
        self,
        about: dict[str, Any],
        units: list[dict[str, str]],
        weights: Mapping[str, np.ndarray],
        functions: Mapping[tuple[int, str], Any],
    ):
        self.about = about
        self.name, self.label, self.num_units = about["name"], about["label"], about["num_units"]
        self.units = units
        (self._device,) = jnp.zeros(()).devices()
        # Bound to the device like all that the programs return: else each would be compiled once more for its results.
        self._weights = jax.device_put(dict(weights), self._device)
        self._functions = functions
        self._chunk = max(multiple_of for multiple_of, _ in functions)
        self._sizes = {name: tuple(record["shape"][2:]) for name, record in about["inputs"].items()}

    def __repr__(self) -> str:
        return f"Program({self.name}: {self.num_units} units{', ' + self.label if self.label else ''})"

    def predict(self, stimuli: Any, perspectives: Any = None, modulations: Any = None) -> np.ndarray:
        """Responses of all units to a video, or to a batch of videos; the state starts anew.

        Args:
            stimuli: ``[T, H, W]``, ``[T, H, W, C]`` or, for a batch, ``[T, N, H, W, C]``; uint8 or floats in [0, 1].
            perspectives: z-scored pupil position (x, y), ``[T, 2]`` or ``[T, N, 2]``; default zeros.
            modulations: z-scored pupil radius and treadmill velocity, likewise.

        Returns:
            Mean responses per frame, float32 ``[T, U]``, or ``[T, N, U]`` where any input had a batch axis.

        Raises:
            TypeError, ValueError: inputs that do not fit.

        Memory does not grow with the length of the video, but for inputs and result.
        """
        stimuli, *is_batch = self._check_stimuli(stimuli)
        frames, arrays = len(stimuli), [stimuli]
        for name, trace, size in (
            ("perspectives", perspectives, self._sizes["perspectives"][0]),
            ("modulations", modulations, self._sizes["modulations"][0]),
        ):
            if trace is None:
                trace = np.broadcast_to(np.float32(0), (frames, size))
            is_batch.append(np.ndim(trace) == 3)
            arrays.append(_check_trace(name, trace, frames, size))
        sizes = [array.shape[1] for array in arrays]
        batch = max(sizes)
        if not set(sizes) <= {1, batch}:
            raise ValueError(
                f"The batch sizes of stimuli, perspectives and modulations are {sizes}; "
                "expected the same number in each, or 1 (or no batch axis) where one is shared by the batch."
            )
        state = self.init_state(batch)
        responses = np.empty((frames, batch, self.num_units), np.float32)
        for start in range(0, frames, self._chunk):
            stop = min(start + self._chunk, frames)
            state, chunk = self._run(state, *(_cut(array, start, stop, self._chunk, batch) for array in arrays))
            responses[start:stop] = np.asarray(chunk)[: stop - start]
        return responses if any(is_batch) else responses[:, 0]

    def init_state(self, batch: int = 1) -> State:
        """State before the first frame of ``batch`` videos, for ``rollout``; what is what, says ``about["state"]``."""
        zeros = [jnp.zeros((batch, *array["shape"][1:]), array["dtype"]) for array in self.about["state"]]
        return tuple(jax.device_put(zeros, self._device))

    def rollout(
        self, state: Sequence[jax.Array], stimuli: Any, perspectives: Any, modulations: Any
    ) -> tuple[State, jax.Array]:
        """Responses to the next frames of videos, continuing from a state, which is not changed.

        Args:
            state: from ``init_state(N)``, or returned by the call before.
            stimuli: ``[T, N, H, W, C]``, uint8 or floats in [0, 1]; values are not checked here.
            perspectives: z-scored pupil position (x, y), ``[T, N, 2]``.
            modulations: z-scored pupil radius and treadmill velocity, ``[T, N, 2]``.

        Returns:
            The state after the last frame, and responses ``[T, N, U]``, on the device.

        Raises:
            TypeError, ValueError: inputs that do not fit.

        The first calls with a batch size compile; the number of frames does not matter. Inside ``jax.jit`` it does.
        """
        inputs = self._check_rollout(
            state, {"stimuli": stimuli, "perspectives": perspectives, "modulations": modulations}
        )
        frames = len(inputs[0])
        whole = frames - frames % self._chunk
        if any(isinstance(array, jax.core.Tracer) for array in (*state, *inputs)):
            # All is compiled as one: the fewer pieces, the better.
            state, lengths = tuple(state), (whole or 1, frames - whole or 1)
        else:  # pieces of two lengths, which are compiled once for all videos
            state, lengths = tuple(jax.device_put(list(state), self._device)), (self._chunk, 1)
        starts = [*range(0, whole, lengths[0]), *range(whole, frames, lengths[1])]
        responses = []
        for start, stop in zip(starts, [*starts[1:], frames], strict=True):
            state, piece = self._run(state, *(array[start:stop] for array in inputs))
            responses.append(piece)
        return state, responses[0] if len(responses) == 1 else jnp.concatenate(responses)

    def _run(self, state, stimuli, perspectives, modulations):
        multiple_of = 1 if len(stimuli) % self._chunk else self._chunk
        return self._functions[multiple_of, stimuli.dtype.name](
            self._weights, state, stimuli, perspectives, modulations
        )

    def _check_stimuli(self, stimuli: Any) -> tuple[np.ndarray, bool]:
        """The video as ``[T, N, H, W, C]``, and whether it came as a batch."""
        height, width, channels = self._sizes["stimuli"]
        stimuli = _as_array("stimuli", stimuli)
        shape = stimuli.shape
        forms = f"[T, {height}, {width}], [T, {height}, {width}, {channels}] or [T, N, {height}, {width}, {channels}]"
        expected = f"stimuli has the shape {list(shape)}; expected {forms}"
        if len(shape) == 3 and shape != (height, width, channels):
            stimuli = stimuli[..., None]
        if stimuli.ndim == 4:
            stimuli = stimuli[:, None]
        if stimuli.ndim != 5 or stimuli.shape[2:] != (height, width, channels):
            raise ValueError(
                f"{expected}. One frame needs a time axis: stimuli[None]; a batch needs a channel axis: "
                "stimuli[..., None]; frames of another size must be resized, and colours turned to gray."
            )
        if 0 in stimuli.shape:
            raise ValueError(f"{expected}, with at least one frame and one video.")
        _check_pixel_type("stimuli", stimuli)
        for start in range(0, len(stimuli) if stimuli.dtype != np.uint8 else 0, FRAMES_PER_CHECK):
            block = np.asarray(stimuli[start : start + FRAMES_PER_CHECK])
            wrong = block[~((block >= 0) & (block <= 1))]  # NaN, too
            if wrong.size:
                raise ValueError(
                    f"stimuli holds the value {wrong[0]!s}, in frames {start} to {start + len(block) - 1}; floats are "
                    "expected to be in [0, 1]. Where they run from 0 to 255: stimuli / 255; where resizing left a "
                    "little more: np.clip(stimuli, 0, 1)."
                )
        return stimuli, len(shape) == 5

    def _check_rollout(self, state: Sequence[jax.Array], inputs: Mapping[str, Any]) -> list[Any]:
        arrays = {name: _as_array(name, values) for name, values in inputs.items()}
        frames, batch = (*arrays["stimuli"].shape, 0, 0)[:2]
        for name, array in arrays.items():
            if array.ndim < 3 or 0 in array.shape or array.shape != (frames, batch, *self._sizes[name]):
                sizes = ", ".join(map(str, self._sizes[name]))
                raise ValueError(
                    f"{name} has the shape {list(array.shape)}; expected [T, N, {sizes}], with at least one frame and "
                    "one video, and the T and N of stimuli."
                )
        shapes = [(batch, *array["shape"][1:]) for array in self.about["state"]]
        if [np.shape(array) for array in state] != shapes:
            raise ValueError(
                f"state holds {len(state)} arrays, the first of the shape {list(np.shape(state[0])) if state else None}"
                f"; expected the {len(shapes)} of a batch of {batch}, that of stimuli, the first of the shape "
                f"{list(shapes[0])}. Make it with init_state({batch})."
            )
        _check_pixel_type("stimuli", arrays["stimuli"])
        _check_trace_type("perspectives", arrays["perspectives"])
        _check_trace_type("modulations", arrays["modulations"])
        return [array if array.dtype == np.uint8 else array.astype(np.float32) for array in arrays.values()]


def _as_array(name: str, values: Any) -> Any:
    try:
        array = values if isinstance(values, np.ndarray | jax.Array) else np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as one array: {error}. Give frames of equal shape.") from error
    return array


def _check_pixel_type(name: str, array: Any) -> None:
    if array.dtype != np.uint8 and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} has the dtype {array.dtype}; expected uint8, or floats in [0, 1]. "
            f"Where its values run from 0 to 255: {name}.astype(np.uint8)."
        )


def _check_trace_type(name: str, array: Any) -> None:
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise TypeError(f"{name} has the dtype {array.dtype}; expected floats.")


def _check_trace(name: str, trace: Any, frames: int, size: int) -> np.ndarray:
    """The trace as float32 ``[T, N, size]``."""
    trace = _as_array(name, trace)
    _check_trace_type(name, trace)
    expected = f"{name} has the shape {list(trace.shape)}; expected [{frames}, {size}] or [{frames}, N, {size}]"
    if trace.ndim not in (2, 3) or trace.shape[-1] != size or 0 in trace.shape:
        raise ValueError(f"{expected}.")
    if len(trace) != frames:
        raise ValueError(f"{expected}, one row per frame of stimuli. Cut or resample one of them.")
    trace = np.asarray(trace, np.float32).reshape(frames, -1, size)
    bad = np.flatnonzero(~np.isfinite(trace).all((1, 2)))
    if bad.size:
        raise ValueError(
            f"{name} is NaN or infinite in {bad.size} of {frames} frames, the first {bad[0]}. "
            "Leave these frames out, interpolate them, or set them to 0, the mean of a z-scored trace."
        )
    return trace


def _cut(array: np.ndarray, start: int, stop: int, length: int, batch: int) -> np.ndarray:
    """Frames of an array, filled up with the last one, of which there is one for each video."""
    cut = np.asarray(array[start:stop])
    cut = cut if cut.dtype == np.uint8 else cut.astype(np.float32)
    cut = np.concatenate([cut, np.repeat(cut[-1:], length - len(cut), axis=0)])
    return np.broadcast_to(cut, (length, batch, *cut.shape[2:]))


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "about.json"
    try:
        about = json.loads(path.read_bytes())
    except OSError as error:
        raise ProgramError(f"{path} cannot be read: {error}. Give a folder written by Twin.export_program.") from error
    except ValueError as error:
        raise ProgramError(f"{path} is damaged: {error}. Copy the folder again.") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ProgramError(f"{path} is of something else. Give a folder written by Twin.export_program.")
    if about["format_version"] > FORMAT_VERSION:
        raise ProgramError(
            f"{folder} has the format version {about['format_version']}; this program.py reads versions up to "
            f"{FORMAT_VERSION}. Use the program.py in that folder."
        )
    if about.pop("about_sha256", None) != about_sha256(about):
        raise ProgramError(f"{path} differs from its SHA-256: it was changed or is damaged. Copy the folder again.")
    return about


def about_sha256(about: Mapping[str, Any]) -> str:
    """SHA-256 of what ``about.json`` says, but for this line of it."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _read_file(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProgramError(f"{path} cannot be read: {error}. Copy the whole folder again.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ProgramError(f"{path} differs from its SHA-256: it was changed or is damaged. Copy the folder again.")
    return content


def _check_jax(about: Mapping[str, Any]) -> None:
    version = about["calling_convention_version"]
    oldest, newest = (
        export.minimum_supported_calling_convention_version,
        export.maximum_supported_calling_convention_version,
    )
    if not oldest <= version <= newest:
        remedy = "Update JAX to that version" if version > newest else "Install that version, or export the twin anew"
        raise ProgramError(
            f"The twin was exported by JAX {about['jax_version']} with the calling convention {version}; "
            f"JAX {jax.__version__}, installed here, reads {oldest} to {newest}. {remedy}."
        )


def _function(content: bytes, about: Mapping[str, Any]) -> Any:
    try:
        exported = export.deserialize(bytearray(content))
        if exported.nr_devices != 1:  # what JAX before 0.8 makes of later exports
            raise ValueError(f"exported for {exported.nr_devices} devices, expected 1")
        return jax.jit(exported.call)
    except ImportError:
        raise  # it says what to install
    except Exception as error:
        raise ProgramError(
            f"JAX {jax.__version__} cannot read what JAX {about['jax_version']} exported: {error!r}. "
            "Install that version, or export the twin anew."
        ) from error
