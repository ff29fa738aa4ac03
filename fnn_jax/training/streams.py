"""Updates of one stream alone, while what belongs to the others rests: no momentum, no decay, no count.

Any optimiser of optax will do. What its state keeps for each stream is found by asking it for the state of parameters
with one stream only: arrays that differ do so in the axis of the streams.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnn_jax.training.optimizer import Rule

# Their counts say where in its schedule the training is: that of all updates, whichever stream they were of.
SCHEDULED = ("ScaleByScheduleState", "WrappedScheduleState", "InjectHyperparamsState", "InjectStatefulHyperparamsState")


class StreamState(NamedTuple):
    """State of an optimiser whose updates are of one stream each.

    Attributes:
        whole: the optimiser's own, over all streams; its counts are of all updates.
        counts: those counts again, of the updates of each stream, ``[stream]``: bias corrections need them.
    """

    whole: Any
    counts: list[jax.Array]


class StreamOptimizer:
    """An optimiser for parameters of which every update sees one stream.

    Args:
        optimizer: of optax.
        parameters: by name, or their shapes.
        rules: say which of them have an axis of streams, their first.

    Raises:
        ValueError: the state of the optimiser cannot be told apart by stream.
    """

    def __init__(
        self, optimizer: optax.GradientTransformation, parameters: Mapping[str, Any], rules: Mapping[str, Rule]
    ):
        self._optimizer = optimizer
        self._by_stream = {name: rules[name].by_stream for name in parameters}
        shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in parameters.items()}
        self._num_streams = max((shape.shape[0] for name, shape in shapes.items() if self._by_stream[name]), default=1)
        one = {
            name: jax.ShapeDtypeStruct((1, *shape.shape[1:]), shape.dtype) if self._by_stream[name] else shape
            for name, shape in shapes.items()
        }
        whole, part = jax.eval_shape(optimizer.init, shapes), jax.eval_shape(optimizer.init, one)
        if jax.tree.structure(whole) != jax.tree.structure(part):  # type: ignore[operator]
            raise ValueError(
                "optimizer keeps a state that depends on the number of streams, so that one of them cannot be trained "
                "alone. Set sample_stream to false in the recipe, or choose another optimiser."
            )
        self._axes = list(map(self._axis, jax.tree.leaves(whole), jax.tree.leaves(part)))
        self._counts = _count_positions(whole) if self._num_streams > 1 else []

    def _axis(self, whole: jax.ShapeDtypeStruct, part: jax.ShapeDtypeStruct) -> int | None:
        """The axis of the streams in an array of the state; None where it has none."""
        if whole.shape == part.shape:
            return None
        differ = [axis for axis, sizes in enumerate(zip(whole.shape, part.shape, strict=False)) if len(set(sizes)) > 1]
        told_apart = len(whole.shape) == len(part.shape) and len(differ) == 1
        if not told_apart or (whole.shape[differ[0]], part.shape[differ[0]]) != (self._num_streams, 1):
            raise ValueError(
                f"optimizer keeps an array {list(whole.shape)} that would be {list(part.shape)} for one stream alone, "
                "so that it cannot be told apart by stream. Set sample_stream to false in the recipe, or choose "
                "another optimiser."
            )
        return differ[0]

    def init(self, parameters: Mapping[str, jax.Array]) -> StreamState:
        whole = self._optimizer.init(dict(parameters))
        leaves = jax.tree.leaves(whole)
        counts = [jnp.broadcast_to(leaves[at], (self._num_streams,)) for at in self._counts]
        return StreamState(whole, jax.tree.map(jnp.array, counts))

    def update(
        self, gradients: Mapping[str, jax.Array], state: StreamState, parameters: Mapping[str, jax.Array], stream: Any
    ) -> tuple[dict[str, jax.Array], StreamState]:
        """New parameters and state after an update of one stream, whose number may be traced."""
        leaves, structure = jax.tree.flatten(state.whole)
        part = [_take(leaf, axis, stream) for leaf, axis in zip(leaves, self._axes, strict=True)]
        gradients, one = self._parts(gradients, stream), self._parts(parameters, stream)
        updates, moved = self._optimizer.update(gradients, jax.tree.unflatten(structure, part), one)
        moved = jax.tree.leaves(moved)
        counts = state.counts
        if counts:  # the same once more, as the stream's own counts want it
            for at, count in zip(self._counts, counts, strict=True):
                part[at] = count[stream]
            own_updates, own = self._optimizer.update(gradients, jax.tree.unflatten(structure, part), one)
            own = jax.tree.leaves(own)
            updates = {name: own_updates[name] if by else updates[name] for name, by in self._by_stream.items()}
            counts = [count.at[stream].set(own[at]) for at, count in zip(self._counts, counts, strict=True)]
            moved = [
                shared if axis is None else stream_s
                for shared, stream_s, axis in zip(moved, own, self._axes, strict=True)
            ]
        new = optax.apply_updates(one, updates)
        new = {
            name: _put(array, new[name], 0 if self._by_stream[name] else None, stream)
            for name, array in parameters.items()
        }
        whole = [_put(*each, stream) for each in zip(leaves, moved, self._axes, strict=True)]
        return new, StreamState(jax.tree.unflatten(structure, whole), counts)

    def _parts(self, tree: Mapping[str, jax.Array], stream: Any) -> dict[str, jax.Array]:
        """Of every parameter by stream the part of one, whose axis stays, with length 1."""
        return {name: _take(array, 0 if self._by_stream[name] else None, stream) for name, array in tree.items()}


def _count_positions(state: Any) -> list[int]:
    """Which leaves of an optimiser's state count updates, other than those that a schedule follows."""
    positions, number = [], 0

    def visit(node, scheduled):
        nonlocal number
        if type(node).__name__ in SCHEDULED:
            for field, value in zip(node._fields, node, strict=True):
                visit(value, field in ("count", "hyperparams", "hyperparams_states"))
            return
        children = jax.tree.flatten(node, is_leaf=lambda inner: inner is not node)[0]
        if len(children) == 1 and children[0] is node:
            if not scheduled and node.shape == () and jnp.issubdtype(node.dtype, jnp.integer):
                positions.append(number)
            number += 1
            return
        for child in children:
            visit(child, scheduled)

    visit(state, False)
    if number != len(jax.tree.leaves(state)):
        raise RuntimeError("the state of the optimiser was not walked through in the order of its leaves")
    return positions


def _take(array: jax.Array, axis: int | None, stream: Any) -> jax.Array:
    return array if axis is None else jax.lax.dynamic_slice_in_dim(array, stream, 1, axis)


def _put(array: jax.Array, part: jax.Array, axis: int | None, stream: Any) -> jax.Array:
    """The inverse of ``_take``: the other streams stay as they are."""
    return part if axis is None else jax.lax.dynamic_update_slice_in_dim(array, part, stream, axis)
