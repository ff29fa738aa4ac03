"""What a screen keeps of each stimulus: responses, and values inside the network; and those of several twins as one."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial

from fnn_jax.common import checks
from fnn_jax.common.checks import shown
from fnn_jax.model.inside import WITHOUT_STREAMS
from fnn_jax.model.interventions import described
from fnn_jax.screen.results import RESPONSES
from fnn_jax.twin.prediction import feature_names, value_of_stream, value_shapes
from fnn_jax.twin.twin import Twin

OWN_AXES = {  # of values that are no maps, without the stream
    "recurrent.attention": ("group", "position", "other"),
    "readout.samples": ("unit", "channel"),
    "readout": ("unit",),
}
BY_NUMBER = {1: ("feature",), 3: ("row", "column", "channel")}


class Value(NamedTuple):
    """One of them: the names of its axes in a frame, its shape for each twin, and its dtype."""

    name: str
    axes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: np.dtype

    def shape_of(self, twin: int, num_units: int) -> tuple[int, ...]:
        """Its shape for a twin, in a program of so many units."""
        sizes = zip(self.axes, self.shapes[twin], strict=True)
        return tuple(num_units if axis == "unit" else size for axis, size in sizes)

    def joined(self, parts: Sequence[Any], leading: int) -> Any:
        """Arrays of each twin, with so many axes before their own, as one: units in a row, or an axis of twins."""
        if "unit" in self.axes:
            return np.concatenate(parts, axis=leading + self.axes.index("unit"))
        return np.stack(parts, axis=leading) if len(parts) > 1 else parts[0]

    def only_units(self, array: Any, leading: int, num_units: int) -> Any:
        """Without the units that a program was filled up with."""
        if "unit" not in self.axes:
            return array
        return array[(slice(None),) * (leading + self.axes.index("unit")) + (slice(num_units),)]

    @property
    def joined_axes(self) -> tuple[str, ...]:
        """Names of the axes of what ``joined`` makes, without those before."""
        return self.axes if "unit" in self.axes or len(self.shapes) == 1 else ("twin", *self.axes)

    @property
    def joined_shape(self) -> tuple[int, ...]:
        return self.joined([np.broadcast_to(np.uint8(0), shape) for shape in self.shapes], 0).shape

    @property
    def num_bytes(self) -> int:
        """Of one frame, of all twins."""
        return self.dtype.itemsize * sum(map(math.prod, self.shapes))


class Asked(NamedTuple):
    """What a screen is asked for beside the stimuli: values, and interventions with what they are as text."""

    values: tuple[Value, ...]
    features: tuple[str, ...]
    interventions: dict[str, Callable]
    described: dict[str, str]

    @property
    def responses(self) -> bool:
        """Whether responses are kept."""
        return self.values[0].name == RESPONSES

    def settings(self) -> dict[str, Any]:
        """What decides the results, as JSON values; nothing where neither features nor interventions are given."""
        settings: dict[str, Any] = {"features": list(self.features)} if self.features else {}
        if not self.responses:
            settings["responses"] = False
        return settings | ({"interventions": self.described} if self.described else {})


def checked_values(twins: Sequence[Twin], features: Any, responses: Any, interventions: Any, stream: Any) -> Asked:
    """The arguments of ``Screen`` of these names, looked at; nothing is computed.

    Raises:
        TypeError, ValueError: names that do not exist, interventions that do not fit, or nothing to keep.
    """
    first = twins[0].network
    found = set(() if features is None else feature_names(first, features, "features"))
    names = tuple(name for name in first.value_names if name in found)
    if not checks.boolean("responses", responses) and not names:
        raise ValueError("responses is False, and features names nothing; expected one of them to be kept.")
    columns = sorted({str(column) for twin in twins for column in twin.units} & set(names))
    if columns:
        raise ValueError(f"features has {shown(columns)}, which the table of units has as columns; rename these.")
    changes = first.check_interventions(interventions)
    if not names and not changes:
        return Asked((_responses(twins),), (), {}, {})
    needed = dict.fromkeys((*names, *changes))
    shapes = [value_shapes(twin.network, needed, stream, changes) for twin in twins]
    values = tuple(_feature(name, [of_twin[name] for of_twin in shapes]) for name in names)
    seen = {name: [value_of_stream(name, of_twin[name]) for of_twin in shapes] for name in changes}
    texts = described(changes, {name: list(dict.fromkeys(each)) for name, each in seen.items()})
    return Asked(((_responses(twins),) if responses else ()) + values, names, changes, texts)


def change_units(interventions: Mapping[str, Callable]) -> bool:
    """Whether one of them is given units, whose number it may depend on."""
    return any("unit" in OWN_AXES.get(name, ()) for name in interventions)


def _responses(twins):
    dtype = np.dtype(twins[0].network.perspective.monitor.center.dtype)
    return Value(RESPONSES, ("unit",), tuple((twin.num_units,) for twin in twins), dtype)


def _feature(name: str, found: Sequence[jax.ShapeDtypeStruct]) -> Value:
    has_stream = name not in WITHOUT_STREAMS
    own = len(found[0].shape) - has_stream
    axes = OWN_AXES.get(name) or BY_NUMBER.get(own) or tuple(f"axis{i}" for i in range(own))
    axes = tuple(axis if axis == "unit" else f"{name}_{axis}" for axis in axes)
    axes = ("stream", *axes) if has_stream else axes
    return Value(name, axes, tuple(value.shape for value in found), np.dtype(found[0].dtype))


def of_stimuli(changes: Mapping[str, Callable], numbers: Any) -> dict[str, Callable]:
    """Interventions whose ``place.video`` is the number of the stimulus, whatever its place in a batch.

    ``numbers`` are those of the videos of the batch.
    """
    return {name: Partial(_numbered, numbers, change) for name, change in changes.items()}


def _numbered(numbers, change, value, place):
    return change(value, place._replace(video=numbers[place.video]))
