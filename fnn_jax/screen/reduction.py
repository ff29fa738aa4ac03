"""What is kept of the responses to a stimulus: computed on the device, chunk by chunk.

The mean and the maximum over intervals keep a running value. A function of the user sees all responses of an interval.
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.common.checks import shown
from fnn_jax.common.files import json_digest
from fnn_jax.common.tracing import traced_digest

LENGTHS = (16, 256, 4096)  # frames


class Running(NamedTuple):
    """A reduction that goes along with the video.

    ``start(shape)`` makes the value for ``shape = [videos, intervals, units]``; ``add(value, responses, inside)`` takes
    responses ``[frames, videos, units]`` and, ``[frames, videos, intervals]``, which frames are inside;
    ``finish(value, counts)`` gives the result, with the number of frames of each interval, ``[videos, intervals]``.
    """

    start: Callable
    add: Callable
    finish: Callable


def _add_to_sum(total, responses, inside):
    inside = inside.astype(responses.dtype)

    def of_interval(values):
        return jnp.einsum("tnu,tnk->nku", values, inside, precision=jax.lax.Precision.HIGHEST)

    # Infinity times the 0 of a frame outside would be NaN: what is not finite is counted instead.
    total = total + of_interval(jnp.where(jnp.isfinite(responses), responses, 0))
    for value in (jnp.inf, -jnp.inf):
        inside_too = of_interval((responses == value).astype(responses.dtype)) > 0
        total = total + jnp.where(inside_too, value, 0)
    return jnp.where(of_interval(jnp.isnan(responses).astype(responses.dtype)) > 0, jnp.nan, total)


def _add_to_maximum(maximum, responses, inside):
    def one(inside):
        return jnp.where(inside[..., None], responses, -jnp.inf).max(0)

    return jnp.maximum(maximum, jnp.moveaxis(jax.lax.map(one, jnp.moveaxis(inside, -1, 0)), 0, 1))


RUNNING = {
    "mean": Running(np.zeros, _add_to_sum, lambda total, counts: total / counts[..., None]),
    "max": Running(
        lambda shape, dtype: np.full(shape, -np.inf, dtype), _add_to_maximum, lambda maximum, counts: maximum
    ),
}


def check_reduction(reduce: Any) -> None:
    """Raise ``TypeError`` or ``ValueError`` for what is no reduction."""
    expected = (
        f"expected None (every frame), {', '.join(map(repr, RUNNING))}, or a function of responses [frames, units]"
    )
    if isinstance(reduce, str):
        if reduce not in RUNNING:
            raise ValueError(f"reduce is {shown(reduce)}; {expected}.")
    elif reduce is not None and not callable(reduce):
        raise TypeError(f"reduce is {shown(reduce)}; {expected}.")


def result_shape(reduce: Callable, span: tuple[int, int], dtype: Any) -> tuple[int, ...]:
    """Shape that a user's function makes of an interval's responses, without its last axis, the units.

    Raises:
        ValueError: the function cannot be traced, or its last axis does not count the units.
    """
    frames = span[1] - span[0]
    shapes = [_traced(reduce, frames, units, dtype).out_avals for units in (3, 5)]
    if any(len(each) != 1 for each in shapes):
        raise ValueError(f"reduce returns {len(shapes[0])} arrays; expected one, [..., units].")
    (three,), (five,) = shapes
    if three.shape[-1:] != (3,) or five.shape[-1:] != (5,) or three.shape[:-1] != five.shape[:-1]:
        raise ValueError(
            f"reduce makes {list(three.shape)} of responses [{frames}, 3]; expected [..., 3]: units as its last axis."
        )
    if not jnp.issubdtype(three.dtype, jnp.floating):
        raise ValueError(f"reduce returns {three.dtype}; expected floats. Use .astype(responses.dtype).")
    return three.shape[:-1]


def describe(reduce: Any, frames: int, dtype: Any) -> str:
    """A name that tells reductions apart; of a function also by what it computes of so many frames."""
    if not callable(reduce):
        return "frames" if reduce is None else reduce
    return f"{_name(reduce)} {traced_digest(_traced(reduce, frames, 3, dtype))[:16]}"


def identity(reduce: Any, frames: int, dtype: Any) -> str:
    """The same whatever the stimuli: of a function by what it computes of some lengths, of those that it takes.

    ``frames`` is the length that counts where it takes none of them.
    """
    if not callable(reduce):
        return describe(reduce, frames, dtype)
    found = []
    for length in LENGTHS:
        with contextlib.suppress(ValueError):
            found.append(describe(reduce, length, dtype))
    return f"{_name(reduce)} {json_digest(found or describe(reduce, frames, dtype))[:16]}"


def _name(function: Any) -> str:
    return getattr(function, "__name__", "function")


def _traced(reduce, frames, units, dtype):
    try:
        return jax.make_jaxpr(reduce)(jax.ShapeDtypeStruct((frames, units), dtype))
    except Exception as error:  # whatever a user's function raises
        raise ValueError(
            f"reduce cannot be traced by JAX for responses [{frames}, {units}]: {type(error).__name__}: {error}. "
            "Expected a function written with jax.numpy, of a JAX array [frames, units]."
        ) from error
