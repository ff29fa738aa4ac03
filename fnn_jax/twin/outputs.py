"""What a prediction returns: NumPy arrays, or JAX arrays that stay on their device.

What is done with the latter is done now, also where somebody calls it while JAX is tracing.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.common.checks import one_of
from fnn_jax.common.progress import SHORT_FRAMES, progress_bar
from fnn_jax.twin.inputs import CheckedInputs
from fnn_jax.twin.prediction import arrays_of, chunks, collect
from fnn_jax.twin.rollout import Options

if TYPE_CHECKING:
    from fnn_jax.twin.network_calls import NetworkCalls

OUTPUTS = ("numpy", "jax")


def check_output(output: Any) -> str:
    """Raise ``ValueError`` for what is no kind of output."""
    return one_of("output", output, OUTPUTS)


def gather(
    twin: "NetworkCalls", checked: CheckedInputs, options: Options, progress: bool | None, output: str
) -> list[Any]:
    """What ``arrays_of`` lists, of all frames."""
    if check_output(output) == "numpy":
        return collect(twin, checked, options, progress)
    parts = []
    with progress_bar(progress, "predict", "frame", checked.frames, least=SHORT_FRAMES, compiles=True) as bar:
        for frames, found in chunks(twin, checked, options):
            count = frames.stop - frames.start
            with jax.ensure_compile_time_eval():
                parts.append([_first_frames(array, count) for array in arrays_of(found, options)])
            bar.update(count)
    with jax.ensure_compile_time_eval():
        return [each[0] if len(each) == 1 else jnp.concatenate(each) for each in zip(*parts, strict=True)]


def without_axes(array: Any, *axes: int) -> Any:
    """Without axes of length 1; nothing leaves the device, nor is an index sent to it."""
    if isinstance(array, np.ndarray):
        return array.squeeze(axes)
    with jax.ensure_compile_time_eval():
        return jax.lax.squeeze(array, axes)


def are_finite(array: Any) -> bool:
    """Of a JAX array the answer alone leaves the device."""
    if isinstance(array, np.ndarray):
        return bool(np.isfinite(array).all())
    with jax.ensure_compile_time_eval():
        return bool(jax.device_get(jnp.isfinite(array).all()))


def _first_frames(array: jax.Array, count: int) -> jax.Array:
    return array if len(array) == count else jax.lax.slice_in_dim(array, 0, count)
