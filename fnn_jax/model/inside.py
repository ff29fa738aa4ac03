"""What is inside the network: each value has a name, by which it can be read and changed while the network runs.

The stages say ``tap(name, value)`` where a value arises. Nothing happens there unless somebody asked for that name.
Values are those of one video and one stream: of one frame inside the recurrence, else of all frames of a call.
"""

import contextlib
import contextvars
import difflib
import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jaxtyping import Array

from fnn_jax.common.checks import shown
from fnn_jax.model.config import NetworkConfig

WITHOUT_STREAMS = ("perspective.eye", "perspective.points", "perspective.luminance", "retina")
ONLY_READ = ("perspective.points", "recurrent.attention")


class Place(NamedTuple):
    """Where and when a value is: scalars, counted from 0, which may be traced.

    ``frame`` counts from the first frame of the video, whatever the chunks; in the perspective, ``stream`` is -1.
    """

    frame: Any
    video: Any
    stream: Any


Change = Callable[[Array, Place], Array]


class Probe(NamedTuple):
    """What is asked for, and where the network is at the moment."""

    names: frozenset[str]
    changes: Mapping[str, Change]
    place: Place  # its frame is an array where all frames of a call are there
    found: dict[str, Array]

    def asks(self, name: str) -> bool:
        return name in self.names or name in self.changes


_probe: contextvars.ContextVar[Probe | None] = contextvars.ContextVar("probe", default=None)


@contextlib.contextmanager
def probing(probe: Probe | None) -> Iterator[dict[str, Array]]:
    """Inside the block ``tap`` knows what is asked for; the dictionary fills with what was found."""
    token = _probe.set(probe)
    try:
        yield {} if probe is None else probe.found
    finally:
        _probe.reset(token)


def asked(name: str) -> bool:
    """Whether somebody wants to read or change this value, or, where the name ends in a dot, some of those below it."""
    probe = _probe.get()
    if probe is None:
        return False
    if name.endswith("."):
        return any(each.startswith(name) for each in (*probe.names, *probe.changes))
    return probe.asks(name)


def tap(name: str, value: Array, show: Callable | None = None, hide: Callable | None = None) -> Array:
    """The value, changed where that is asked for.

    ``show`` brings it into the form that people see, channels last, and ``hide`` back.
    """
    probe = _probe.get()
    if probe is None or not probe.asks(name):
        return value
    seen = value if show is None else show(value)
    if name in probe.changes:
        seen = _changed(name, probe.changes[name], seen, probe.place)
        value = seen if hide is None else hide(seen)
    if name in probe.names:
        probe.found[name] = seen
    return value


def scan(step: Callable, state: Any, inputs: Any) -> tuple[Any, Any]:
    """``jax.lax.scan`` over frames, in whose step values can be tapped."""
    probe = _probe.get()
    if probe is None:
        return jax.lax.scan(step, state, inputs)

    def probed(state, inputs):
        frame, inputs = inputs
        with probing(probe._replace(place=probe.place._replace(frame=frame), found={})) as found:
            state, out = step(state, inputs)
        return state, (out, found)

    state, (out, found) = jax.lax.scan(probed, state, (probe.place.frame, inputs))
    probe.found.update(found)
    return state, out


def _changed(name, change, value, place):
    of_frame = change if place.frame.ndim == 0 else _over_frames(change)
    changed = of_frame(value, place)
    if getattr(changed, "shape", None) != value.shape or changed.dtype != value.dtype:
        frames = "" if place.frame.ndim == 0 else ", of all frames"
        raise ValueError(
            f"interventions[{name!r}] returned {_kind(changed)}{frames}; expected {_kind(value)}, as it was given."
        )
    return changed


def _over_frames(change):
    def changed(value, place):
        return jax.vmap(lambda value, frame: change(value, place._replace(frame=frame)))(value, place.frame)

    return changed


def _kind(value):
    return f"{value.dtype}{list(value.shape)}" if hasattr(value, "shape") else shown(value)


def table(config: NetworkConfig) -> dict[str, str]:
    """The name of every value, in the order of the stages, and what it is."""
    rows = {
        "perspective.eye": "angles of the eye, radians",
        "perspective.points": "where on the monitor each pixel of the retina looks, (x, y) in [-1, 1]",
        "perspective.luminance": "luminance of the monitor",
        "retina": "the retinal image",
    }
    if config.modulation.kind == "mlp_lstm":
        rows |= {
            "modulation.linear": "behaviour behind its linear layer and nonlinearity",
            "modulation.cell": "cells of the LSTM",
            "modulation.hidden": "hidden state of the LSTM",
        }
    rows["modulation"] = "the vector that sets the state of the core"
    for index, layers in enumerate(config.feedforward.layers):
        block = f"feedforward.block{index}"
        rows[f"feedforward.input{index}"] = f"what goes into block {index}"
        for layer in range(layers):
            one = f"{block}.layer{layer}"
            rows[f"{one}.activation"] = "the layer's input behind the nonlinearity"
            rows[f"{one}.convolution"] = "the convolution over space and frames"
            if layer:
                rows[f"{one}.skip"] = "the map of the activations before"
            rows[one] = "output: the convolution" + (" and the skip connection" if layer else "")
        rows[block] = "the block's input and the outputs of its layers, pooled"
    rows["feedforward"] = "maps that go into the recurrent part"
    rows["recurrent.linear"] = "the sum of the maps of feedforward part, modulation and other groups"
    rows["recurrent.input"] = "its tanh"
    if config.recurrent.kind in ("cvt_lstm", "rvt"):
        rows |= {
            "recurrent.convolution": "the convolution of input and hidden state",
            "recurrent.query": "queries, as they come out of their map",
            "recurrent.key": "keys, likewise",
            "recurrent.value": "values",
            "recurrent.attention": "weights of attention, [group, position, position], each row adds up to 1",
            "recurrent.attended": "values, averaged by attention",
        }
    if config.recurrent.kind in ("cvt_lstm", "conv_lstm"):
        rows |= {
            "recurrent.input_gate": "sigmoid of the input gate",
            "recurrent.forget_gate": "sigmoid of the forget gate",
            "recurrent.candidate": "tanh of the candidate",
            "recurrent.output_gate": "sigmoid of the output gate",
            "recurrent.cell": "cells",
        }
    rows["recurrent.hidden"] = "hidden state"
    rows["core"] = "maps that the units read"
    rows["readout.samples"] = "what each unit reads: the maps at its position, [unit, channel]"
    rows["readout"] = "readout of each unit"
    return rows


def released_modules(config: NetworkConfig) -> dict[str, str]:
    """Of values that a module of the published network returns, too, when a hook listens to it: the module's path."""
    modules = {
        **{"perspective.eye": "perspective.mlp", "perspective.luminance": "perspective.monitor_pixel"},
        **{"retina": "perspective.retina_pixel", "modulation.linear": "modulation.mlp"},
        **{"modulation.hidden": "modulation.lstm.drop_h", "modulation": "modulation.lstm.drop_h"},
    }
    for index, layers in enumerate(config.feedforward.layers):
        modules[f"feedforward.input{index}"] = f"core.feedforward.inputs.{index}"
        block = modules[f"feedforward.block{index}"] = f"core.feedforward.blocks.{index}"
        for layer in range(layers):
            one = f"feedforward.block{index}.layer{layer}"
            modules[f"{one}.activation"] = f"{block}.drops.{layer}"
            modules[f"{one}.convolution"] = f"{block}.convs.{layer}"
            if layer:
                modules[f"{one}.skip"] = f"{block}.skips.{layer}"
    inner = {"linear": "proj_x", "input": "drop_x", "convolution": "conv", "hidden": "drop_h"}
    inner |= {"query": "proj_q", "key": "proj_k", "value": "proj_v"}
    modules |= {f"recurrent.{name}": f"core.recurrent.{module}" for name, module in inner.items()}
    modules |= {"feedforward": "core.feedforward.out", "core": "core.recurrent.out"}
    return {name: module for name, module in modules.items() if name in table(config)}


def choose(patterns: Iterable[str], known: Iterable[str], argument: str = "features") -> tuple[str, ...]:
    """The names that some patterns, such as ``"feedforward.block1.*"``, stand for, each once, in order.

    Raises:
        ValueError: a pattern fits no name; the nearest ones are suggested.
    """
    known = tuple(known)
    found = {pattern: [name for name in known if fnmatch.fnmatchcase(name, pattern)] for pattern in patterns}
    unknown = [pattern for pattern, names in found.items() if not names]
    if unknown:
        near = [name for pattern in unknown for name in difflib.get_close_matches(pattern, known, 3, 0.5)]
        hint = f" Did you mean {', '.join(map(repr, dict.fromkeys(near)))}?" if near else ""
        raise ValueError(
            f"{argument} has unknown names {shown(unknown)}; expected names, or patterns such as 'recurrent.*', of "
            f"twin.feature_table().{hint}"
        )
    return tuple(dict.fromkeys(name for names in found.values() for name in names))
