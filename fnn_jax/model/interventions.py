"""Ready interventions: what becomes of a value inside the network while it runs.

Each function returns one that ``interventions={name: ...}`` of ``predict``, ``features``, ``step`` and ``rollout``
takes: ``f(value, place)``, of one frame of one video and stream, channels last. All of them can be limited:

- ``channels``: indices along the last axis (of ``readout`` these are the units);
- ``region``: which pixels of the map, true or false, ``[height, width]``; of ``readout.samples`` which units;
- ``frames``: ``(start, stop)``, from the first frame of the video; ``streams``, ``videos``: indices.

They are pytrees whose leaves are these arrays: another factor, mask or recording compiles nothing anew.
"""

import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from fnn_jax.common.checks import shown
from fnn_jax.common.tracing import plain, traced_digest
from fnn_jax.model.inside import Place

__all__ = ["Partial", "Place", "add_noise", "clamp", "replace", "scale", "zero"]
AXES = ("frame", "video", "stream")
FEW = 8  # numbers that a description lists; of more it has a hash


def zero(**limits: Any) -> Partial:
    """Silence: zeros."""
    return _limited("zero", limits)


def scale(factor: Any, **limits: Any) -> Partial:
    """Times ``factor``, a number or an array that broadcasts to the value."""
    return _limited("scale", limits, _numbers("factor", factor))


def clamp(low: Any = -np.inf, high: Any = np.inf, **limits: Any) -> Partial:
    """Not below ``low`` nor above ``high``."""
    low, high = _numbers("low", low), _numbers("high", high)
    if (low > high).any():
        raise ValueError(f"low is {shown(low)}, above high, {shown(high)}.")
    return _limited("clamp", limits, low, high)


def add_noise(std: Any, key: jax.Array, **limits: Any) -> Partial:
    """Plus independent normal noise of this standard deviation: other draws in each frame, video and stream, and the
    same ones with the same key, of ``jax.random.key``.
    """
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.ndim:
        raise TypeError(f"key is {shown(key)}; expected one key of jax.random.key(seed).")
    return _limited("add_noise", limits, _numbers("std", std), key)


def replace(values: Any, *, first_frame: int = 0, axes: Sequence[str] | None = None, **limits: Any) -> Partial:
    """Recorded values in its place, such as ``twin.features`` returned.

    Args:
        values: ``[frame, ...]``, the first one that of ``first_frame``. Before it the first stays, and after the last
            one the last, so that ``values[t : t + 1]`` freezes the value at frame ``t``.
        axes: names of the leading axes, out of ``"frame"``, ``"video"`` and ``"stream"``. Default, by their number:
            frame; frame and stream (a video without a batch axis); frame, video and stream. Of the perspective, which
            has no streams, say ``("frame", "video")``.
    """
    values = _numbers("values", values)
    if axes is not None and (not set(axes) <= set(AXES) or len(set(axes)) < len(axes)):
        raise ValueError(f"axes is {shown(axes)}; expected names out of {AXES}, each once.")
    if not values.ndim or not values.shape[0]:
        raise ValueError(f"values has the shape {list(values.shape)}; expected at least one frame, [frame, ...].")
    kind = "replace" if axes is None else f"replace {' '.join(axes)}"
    return _limited(kind, limits, values, np.int32(first_frame))


def _zero(value, place):
    return jnp.zeros_like(value)


def _scale(value, place, factor):
    return value * factor.astype(value.dtype)


def _clamp(value, place, low, high):
    return jnp.clip(value, low.astype(value.dtype), high.astype(value.dtype))


def _add_noise(value, place, std, key):
    for index in place:
        key = jax.random.fold_in(key, index)
    return value + std.astype(value.dtype) * jax.random.normal(key, value.shape, value.dtype)


def _replace(value, place, values, first_frame, axes=None):
    by_number = {1: AXES[:1], 2: (AXES[0], AXES[2]), 3: AXES}
    axes = by_number.get(values.ndim - value.ndim) if axes is None else axes
    if axes is None or values.shape[len(axes) :] != value.shape:
        raise ValueError(
            f"replace was given values of the shape {list(values.shape)}; expected [frame, ...], [frame, stream, ...] "
            f"or [frame, video, stream, ...] in front of {list(value.shape)}, or other axes, named."
        )
    index = {"frame": place.frame - first_frame, "video": place.video, "stream": place.stream}
    for axis in axes:
        values = jax.lax.dynamic_index_in_dim(values, index[axis], keepdims=False)  # which stays within the axis
    return values.astype(value.dtype)


KINDS: dict[str, Callable] = {
    **{"zero": _zero, "scale": _scale, "clamp": _clamp, "add_noise": _add_noise, "replace": _replace}
}
LIMITS = ("channels", "region", "frames", "streams", "videos")


def _limited(kind, limits, *arrays):
    unknown = [name for name in limits if name not in LIMITS]
    if unknown:
        raise TypeError(f"{unknown[0]!r} is no limit of an intervention; expected some of {LIMITS}.")
    checked = {}
    for name, limit in limits.items():
        if limit is None:
            continue
        limit = _numbers(name, limit)
        wanted = {"region": "b", "frames": "iu"}.get(name, "iu")
        if limit.dtype.kind not in wanted or (name == "frames" and limit.shape != (2,)):
            expected = {"region": "true or false for each pixel", "frames": "(start, stop)"}.get(name, "indices")
            raise ValueError(f"{name} is {shown(limits[name])}; expected {expected}.")
        checked[name] = limit if name == "region" else np.atleast_1d(limit).astype(np.int32)
    return Partial(_function(kind), checked, *arrays)


@functools.cache
def _function(kind):
    """One function for each kind: programs are compiled anew for another one."""
    return functools.partial(_within, kind)


def _within(kind, limits, *rest):
    *arrays, value, place = rest
    name, *axes = kind.split(" ")
    options = {"axes": tuple(axes)} if axes else {}
    new = KINDS[name](value, place, *arrays, **options)
    inside = jnp.ones((), bool)
    if "frames" in limits:
        start, stop = limits["frames"]
        inside = (place.frame >= start) & (place.frame < stop)
    for limit, index in (("streams", place.stream), ("videos", place.video)):
        if limit in limits:
            inside = inside & (limits[limit] == index).any()
    if "channels" in limits:
        chosen = (jnp.arange(value.shape[-1])[:, None] == limits["channels"][None]).any(-1)
        inside = jnp.broadcast_to(inside & chosen, value.shape)
    if "region" in limits:
        region = jnp.asarray(limits["region"])
        if region.shape != value.shape[: region.ndim]:
            raise ValueError(
                f"region has the shape {list(region.shape)}; expected {list(value.shape[:-1])}, that of the value."
            )
        region = region.reshape(*region.shape, *[1] * (value.ndim - region.ndim))
        inside = jnp.broadcast_to(inside, value.shape) & jnp.broadcast_to(region, value.shape)
    return jnp.where(inside, new, value)


def _numbers(name, values):
    try:
        array = values if isinstance(values, jax.Array) else np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as one array: {error}.") from error
    if array.dtype.kind not in "biuf" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} is {shown(values)}; expected numbers.")
    return array


def as_pytree(change: Callable) -> Partial:
    """A function as a pytree without arrays, which a compiled program can be given; ready ones are pytrees."""
    return change if isinstance(change, Partial) else Partial(change)


def described(changes: Mapping[str, Callable], values: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """What the intervention on each name is, as text: two that compute different things have different texts.

    Ready ones are told by their names and numbers, such as ``"scale(factor=0.5, channels=[1, 2])"``; functions of a
    caller by what they compute, traced and hashed, of each of the values ``values[name]``: shape and dtype of one frame
    of one video and stream.

    Raises:
        ValueError: a function calls back to Python, so that what it computes cannot be told.
    """
    return {name: _described(name, as_pytree(change), values[name]) for name, change in changes.items()}


def _described(name, change, values):
    own = getattr(change.func, "fun", change.func)  # JAX wraps a partial once more
    if isinstance(own, functools.partial) and own.func is _within:
        kind, *axes = own.args[0].split(" ")
        limits, *numbers = change.args
        named = dict(zip(list(inspect.signature(KINDS[kind]).parameters)[2:], numbers, strict=False)) | limits
        listed = [f"{key}={_text(array)}" for key, array in named.items()] + ([f"axes={axes}"] if axes else [])
        return f"{kind}({', '.join(listed)})"
    index = jax.ShapeDtypeStruct((), jnp.int32)
    digest = hashlib.sha256()
    for value in values:
        traced = jax.make_jaxpr(lambda *arguments: change(*arguments))(value, Place(index, index, index))
        try:
            digest.update(traced_digest(traced).encode())
        except ValueError as error:
            raise ValueError(f"interventions[{name!r}]: {error}") from error
    return f"{getattr(own, '__name__', 'function')} {digest.hexdigest()[:16]}"


def _text(array):
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return f"{jax.random.key_impl(array)} {np.asarray(plain(array)).tolist()}"
    array = np.asarray(array)
    if array.size <= FEW:
        return str(array.tolist())
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return f"{array.dtype}{list(array.shape)} {digest[:16]}"
