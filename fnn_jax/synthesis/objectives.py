"""What a stimulus is made for: functions of what the network does, to be minimised.

An objective sees, for one target, the responses of its units, after burn-in, to the stimulus under one or several
trials of behaviour, ``[T, trial, unit]``, and the named features that it asks for. It returns a number.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.common import checks
from fnn_jax.common.checks import integer, number, shown
from fnn_jax.model.readout import poisson_loss

ENTRIES = "arrays with an entry for each target"


class Seen(NamedTuple):
    """What an objective sees: ``responses`` and ``readout`` (their logarithm), ``[T, trial, unit]``, and ``features``
    by name, ``[T, trial, stream, ...]``; all without the frames of the burn-in."""

    responses: jax.Array
    readout: jax.Array
    features: dict[str, jax.Array]


class Objective(NamedTuple):
    """``loss``: ``Seen``, and this target's own data (or None) -> a number, smaller is better. ``features``: names of
    the features it sees. ``data``: arrays with an entry for each target, such as recorded responses. ``check``: of the
    numbers of frames, trials and units of a target, raises ``ValueError`` where the data do not fit them."""

    loss: Callable[[Seen, Any], jax.Array]
    features: tuple[str, ...] = ()
    data: Any = None
    check: Callable[[int, int, int], None] | None = None


def excitation(temperature: float = 0.1) -> Objective:
    """Stimuli that excite all units of a target: the released form, ``sum over frames of mean(response ^
    -temperature)``.

    With several units, a higher temperature cares more for those that respond least.

    Raises:
        TypeError, ValueError: temperature is no number above 0.
    """
    temperature = number("temperature", temperature, above=0)

    # Through the readout, which is the logarithm: a response to the power of -temperature.
    return Objective(lambda seen, _: jnp.exp(-temperature * seen.readout).mean((1, 2)).sum())


def log_excitation() -> Objective:
    """Minus the logarithm of the response, summed over frames, mean over the units of a target: the limit of
    ``excitation`` for low temperatures."""
    return Objective(lambda seen, _: -seen.readout.mean((1, 2)).sum())


def mean_excitation() -> Objective:
    """Minus the response itself, mean over frames and units."""
    return Objective(lambda seen, _: -seen.responses.mean())


def soft_minimum(sharpness: float = 5.0) -> Objective:
    """Excites the unit of a target that responds least: minus the soft minimum of log-mean responses over units.

    Raises:
        TypeError, ValueError: sharpness is no number above 0.
    """
    number("sharpness", sharpness, above=0)

    def loss(seen, _):
        levels = jnp.log(seen.responses.mean((0, 1)) + 1e-6)
        return jax.nn.logsumexp(-sharpness * levels) / sharpness

    return Objective(loss)


def inhibition() -> Objective:
    """Stimuli that silence the units of a target: the logarithm of the response, mean over frames and units."""
    return Objective(lambda seen, _: seen.readout.mean())


def contrast(first: int) -> Objective:
    """Excites the first ``first`` units of a target, and none of the others: the difference of mean log responses.

    Raises:
        TypeError, ValueError: first is no positive integer; and, once the targets are known, not less than their units.
    """
    integer("first", first)

    def loss(seen, _):
        if first >= seen.readout.shape[-1]:
            raise ValueError(
                f"first is {first}; expected 1 to {seen.readout.shape[-1] - 1}, with units in both groups."
            )
        return seen.readout[..., first:].mean() - seen.readout[..., :first].mean()

    return Objective(loss)


def pattern(patterns: Any) -> Objective:
    """Stimuli after which the units of a target respond with a given pattern: 1 - correlation over units.

    Args:
        patterns: ``[target, unit]``, at least two units.

    Raises:
        TypeError, ValueError: patterns is something else, or not finite.
    """
    patterns = jnp.asarray(checks.array("patterns", patterns, "finite numbers [target, unit]", {2}), jnp.float32)
    if patterns.shape[1] < 2:
        raise ValueError(f"patterns has the shape {list(patterns.shape)}; expected [target, unit], at least two units.")

    def loss(seen, wanted):
        mean = seen.responses.mean((0, 1))
        return 1 - _correlation(mean, wanted)

    def check(frames, trials, units):
        if patterns.shape[1] != units:
            raise ValueError(f"patterns has {patterns.shape[1]} units a target, which has {units}.")

    return Objective(loss, data=patterns, check=check)


def reconstruction(recorded: Any) -> Objective:
    """The video that responses came from: the released form, the Poisson loss ``predicted - recorded log(predicted)``,
    mean over trials and units, summed over frames.

    Args:
        recorded: ``[target, T, trial, unit]``, with the frames of the burn-in, recorded or predicted.

    Raises:
        TypeError, ValueError: recorded is something else, or not finite.
    """
    recorded = checks.array("recorded", recorded, "finite numbers [target, T, trial, unit]", {4})
    recorded = jnp.asarray(recorded, jnp.float32)

    def loss(seen, wanted):
        wanted = wanted[len(wanted) - len(seen.readout) :]
        return poisson_loss(seen.readout, wanted).mean((1, 2)).sum()

    def check(frames, trials, units):
        if recorded.shape[1:] != (frames, trials, units):
            raise ValueError(
                f"recorded has {recorded.shape[1]} frames, {recorded.shape[2]} trials and {recorded.shape[3]} units a "
                f"target; expected {frames}, {trials} and {units}: those of the stimulus, of perspectives and "
                "modulations, and of the targets."
            )

    return Objective(loss, data=recorded, check=check)


def feature(name: str, channel: int, *, stream: int | None = None, position: Sequence[int] | None = None) -> Objective:
    """Excites a channel inside the network: minus its mean over frames, and over space unless a position is given.

    Args:
        name: of a feature, such as ``"feedforward.block1"`` or ``"core"``; channels come last.
        stream: one stream; default the mean over streams. position: (row, column) in the map.

    Raises:
        TypeError, ValueError: an argument is of another kind, or negative; and, once the network is known, beyond it.
    """
    checks.text("name", name)
    integer("channel", channel, 0)
    if stream is not None:
        integer("stream", stream, 0)
    if position is not None:
        position = checks.numbers("position", position)
        for index, each in enumerate(position):
            integer(f"position[{index}]", each, 0)
        if len(position) != 2:
            raise ValueError(f"position is {shown(position)}; expected two integers, (row, column).")

    def loss(seen, _):
        values = seen.features[name]  # [T, trial, stream, ..., channel]; the retina has no streams
        if channel >= values.shape[-1]:
            raise ValueError(f"channel is {channel}; {name} has {values.shape[-1]}, counted from 0.")
        values = values[..., channel]
        is_map = values.ndim == (4 if name == "retina" else 5)
        if name != "retina" and stream is not None:
            if stream >= values.shape[2]:
                raise ValueError(f"stream is {stream}; {name} has {values.shape[2]} here, counted from 0.")
            values = values[:, :, stream]
        if position is not None:
            if not is_map:
                raise ValueError(f"position is {tuple(position)}; {name} is no map, and has no positions.")
            height, width = values.shape[-2:]
            if position[0] >= height or position[1] >= width:
                raise ValueError(f"position is {tuple(position)}; {name} has {height} rows and {width} columns.")
            values = values[..., position[0], position[1]]
        return -values.mean()

    return Objective(loss, (name,))


def custom(loss: Callable[..., jax.Array], features: Sequence[str] = (), data: Any = None) -> Objective:
    """A function of ``Seen`` and a target's data; see ``Objective``.

    ``data`` are arrays with an entry for each target, of any shape, or a tree of such arrays.

    Raises:
        TypeError, ValueError: loss is no function, features no names, or data no arrays.
    """
    if not callable(loss):
        raise TypeError(f"loss is {type(loss).__name__}; expected a function of Seen and a target's data.")
    if isinstance(features, str):
        features = (features,)
    names = checks.sequence("features", features, "names of features", empty=True)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"features is {shown(features)}; expected names of features, such as ['core'].")
    for leaf in jax.tree.leaves(data):
        if not checks.numeric("data", leaf, ENTRIES, "biufc").ndim:
            raise ValueError(f"data holds {shown(leaf)}; expected {ENTRIES}.")
    return Objective(loss, tuple(names), data)


def _correlation(first: jax.Array, second: jax.Array) -> jax.Array:
    first, second = first - first.mean(), second - second.mean()
    return (first * second).sum() / jnp.sqrt((first**2).sum() * (second**2).sum() + np.float32(1e-12))
