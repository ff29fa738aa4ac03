"""One step of synthesis for one target: what is minimised, and how its numbers move; pure functions."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnn_jax.common.tracing import traced_digest
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.interventions import described
from fnn_jax.model.network import Inputs, Network, Output
from fnn_jax.model.parameters import named_parameters, network_from_parameters, unit_axis
from fnn_jax.synthesis.objectives import Objective, Seen
from fnn_jax.synthesis.parameterisations import Parameterisation
from fnn_jax.twin import sizes
from fnn_jax.twin.prediction import value_of_stream, value_shapes
from fnn_jax.twin.rollout import fold
from fnn_jax.twin.twin import Twin

BEHAVIOUR_LIMIT = 2.0  # standard deviations, of behaviour that is learned


class Target(NamedTuple):
    """The readout of a target's units, its objective's data, and the number that its random draws come from."""

    readout: dict[str, jax.Array]
    data: Any
    number: jax.Array


class Progress(NamedTuple):
    """The state of a target: everything that the next step needs."""

    parameters: Any
    optimizer: Any
    best: Any  # parameters with the smallest loss so far
    best_loss: jax.Array
    step: jax.Array
    stopped: jax.Array  # no step is made any more


class Trace(NamedTuple):
    """What is noted of a step: the whole loss, the penalty in it, and the length of the gradient."""

    loss: jax.Array
    penalty: jax.Array
    gradient: jax.Array


def silent() -> Trace:
    """Of a target that has stopped."""
    return Trace(*[jnp.full((), jnp.nan, jnp.float32)] * 3)


class Problem:
    """Everything that the targets share.

    Args:
        units: of each target, positions in the twin's table, ``[target, unit]``.
        behaviour: eye and behaviour, each ``[T, trial, 2]``.
        num_stimuli: of a target, optimised together; ``diversity`` weighs how far apart they are.
        seed: of all random draws.
    """

    def __init__(
        self,
        twin: Twin,
        units: np.ndarray,
        objective: Objective,
        parameterisation: Parameterisation,
        *,
        penalty: Callable[[jax.Array, jax.Array], jax.Array],
        transforms: Sequence[Callable[[jax.Array, jax.Array], jax.Array]],
        optimizer: optax.GradientTransformation,
        burn_in: int,
        behaviour: tuple[np.ndarray, np.ndarray],
        learn_behaviour: bool,
        sample_stream: bool,
        num_stimuli: int,
        diversity: float,
        periphery: str,
        precision: str,
        remat: bool | None,
        device: jax.Device,
        seed: int,
        interventions: Mapping[str, Callable] | None = None,
    ):
        self.units, self.objective, self.parameterisation = units, objective, parameterisation
        self.penalty, self.transforms, self.optimizer = penalty, tuple(transforms), optimizer
        self.burn_in, self.learn_behaviour, self.sample_stream = burn_in, learn_behaviour, sample_stream
        self.num_stimuli, self.diversity, self.seed = num_stimuli, diversity, seed
        self.eye, self.behaviour = behaviour
        self.num_frames, self.num_trials = self.eye.shape[:2]
        self.is_random = sample_stream or bool(transforms)
        config = NetworkConfig.from_dict(twin.config.to_dict() | {"num_units": units.shape[1]})
        self.config = config
        if remat is None:
            remat = sizes.needs_remat(config, device, self.num_frames, num_stimuli * self.num_trials)
        self.remat = remat
        self.options = {"periphery": periphery, "precision": precision, "remat": remat}
        named = named_parameters(twin.network)
        self._readout = {name: value for name, value in named.items() if unit_axis(name) is not None}
        one = {name: self._rows(name, units[0]) for name in self._readout}
        network, self._core = fold(network_from_parameters(config, {**named, **one}))
        self.is_changed = bool(interventions)
        self.leaves, self._structure = jax.tree.flatten((network, dict(interventions or {})))

    def _rows(self, name: str, rows: np.ndarray) -> jax.Array:
        return jnp.take(self._readout[name], rows, axis=unit_axis(name))

    def shardings(self, mesh: jax.sharding.Mesh) -> list[jax.sharding.NamedSharding]:
        """How ``leaves`` lie on a mesh with an axis ``streams``, of whose devices each then computes its own."""
        network, _ = jax.tree.unflatten(self._structure, self.leaves)  # nothing is changed on such a mesh
        return jax.tree.leaves(network.shardings(mesh))

    def interventions(self) -> dict[str, str]:
        """What each of them is, as text that tells it from others.

        Raises:
            ValueError: one does not fit the value that it changes.
        """
        network, changes = jax.tree.unflatten(self._structure, self.leaves)
        values = value_shapes(network, changes, interventions=changes) if changes else {}
        return described(changes, {name: [value_of_stream(name, value)] for name, value in values.items()})

    def targets(self, numbers: np.ndarray) -> Target:
        """The targets of these numbers, with a leading axis."""
        readout = {name: jnp.stack([self._rows(name, self.units[n]) for n in numbers]) for name in self._readout}
        data = jax.tree.map(lambda array: jnp.asarray(array)[numbers], self.objective.data)
        return Target(readout, data, jnp.asarray(numbers, jnp.uint32))

    def start(self, target: Target) -> Progress:
        """Before the first step."""
        key = self.key(target, 0)
        stimulus = jax.vmap(self.parameterisation.init)(jax.random.split(key, self.num_stimuli))
        parameters = {"stimulus": stimulus}
        if self.learn_behaviour:
            parameters |= {
                "perspectives": jnp.zeros(self.eye.shape[-1]),
                "modulations": jnp.zeros(self.behaviour.shape[-1]),
            }
        infinite = jnp.full((), jnp.inf, jnp.float32)
        begin = (jnp.zeros((), jnp.int32), jnp.zeros((), bool))
        return Progress(parameters, self.optimizer.init(parameters), parameters, infinite, *begin)

    def advance(self, leaves: list[jax.Array], target: Target, progress: Progress) -> tuple[Progress, Trace]:
        """One step; nothing moves once it has stopped, and a loss that is no number stops it.

        Without a condition: mapped over targets, that would give each of them its own copy of the weights.
        """
        key = self.key(target, progress.step + 1)
        (loss, penalty), gradient = jax.value_and_grad(self.loss, argnums=1, has_aux=True)(
            leaves, progress.parameters, target, key
        )
        return self.moved(progress, loss, penalty, gradient)

    def moved(self, progress: Progress, loss: jax.Array, penalty: jax.Array, gradient: Any) -> tuple[Progress, Trace]:
        """After a step with this loss and gradient."""
        length = optax.tree.norm(gradient)
        is_number = jnp.isfinite(loss) & jnp.isfinite(length)
        with jax.numpy_dtype_promotion("standard"):  # optax counts steps in integers
            updates, optimizer = self.optimizer.update(gradient, progress.optimizer, progress.parameters)
            parameters = optax.apply_updates(progress.parameters, updates)
        if self.parameterisation.project is not None:
            parameters["stimulus"] = jax.vmap(self.parameterisation.project)(parameters["stimulus"])
        moves = is_number & ~progress.stopped
        better = moves & (loss < progress.best_loss)

        def choose(condition, new, old):
            return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)

        moved = Progress(
            choose(moves, parameters, progress.parameters),
            choose(moves, optimizer, progress.optimizer),
            choose(better, progress.parameters, progress.best),
            jnp.where(better, loss, progress.best_loss),
            progress.step + moves.astype(jnp.int32),
            progress.stopped | ~is_number,
        )
        return moved, choose(progress.stopped, silent(), Trace(loss, penalty, length))

    def loss(self, leaves, parameters, target, key):
        """The number to be minimised, and the penalty in it."""
        shown, inputs = self.shown(parameters, key)
        stream = None
        if self.sample_stream:
            stream = jax.random.randint(jax.random.fold_in(key, 1), (), 0, self.config.num_streams)
        return self.score(parameters, target, shown, self._see(leaves, target, inputs, stream))

    def evaluate(self, leaves, parameters, target):
        """Loss and penalty over every stream, without anything random; and the frames and responses."""
        shown = jax.vmap(self.parameterisation.frames)(parameters["stimulus"])
        seen = self._see(leaves, target, self._inputs(parameters, shown))
        return *self.score(parameters, target, shown, seen), shown, seen.responses

    def shown(self, parameters: Any, key: jax.Array) -> tuple[jax.Array, Inputs]:
        """The stimuli ``[stimulus, T, H, W]``, and what the network is given of them."""
        shown = jax.vmap(self.parameterisation.frames)(parameters["stimulus"])
        return shown, self._inputs(parameters, self._transformed(key, shown))

    def score(self, parameters: Any, target: Target, shown: jax.Array, seen: Seen) -> tuple[jax.Array, jax.Array]:
        """Loss and penalty, of what is shown and what is seen of it."""
        unsquashed = jax.vmap(self.parameterisation.unsquashed)(parameters["stimulus"])
        penalty = jax.vmap(self.penalty)(unsquashed, shown).mean()
        losses = jax.vmap(lambda one: self.objective.loss(one, target.data))(seen)
        if losses.shape != (self.num_stimuli,):
            raise ValueError(f"the objective returns the shape {list(losses.shape[1:])}; expected one number.")
        loss = losses.mean() + penalty
        if self.num_stimuli > 1:
            loss = loss - self.diversity * _distance(shown)
        return loss, penalty

    def network(self, leaves: list[jax.Array], target: Target) -> tuple[Network, Mapping[str, Callable]]:
        """The network that reads a target's units, and what changes it."""
        network, changes = jax.tree.unflatten(self._structure, leaves)
        for name, value in target.readout.items():
            _, part, variable = name.split(".")
            getattr(getattr(network.readout, part), variable)[...] = value
        return network, changes

    def _inputs(self, parameters, frames) -> Inputs:
        stimuli, trials = self.num_stimuli, self.num_trials
        video = jnp.repeat(jnp.moveaxis(frames, 0, 1), trials, axis=1)[..., None]
        traces = {}
        for name, given in (("perspectives", self.eye), ("modulations", self.behaviour)):
            trace = jnp.tile(jnp.asarray(given), (1, stimuli, 1))
            if self.learn_behaviour:
                trace = jnp.broadcast_to(BEHAVIOUR_LIMIT * jnp.tanh(parameters[name])[None, None], trace.shape)
            traces[name] = trace
        return Inputs(video, **traces)

    def _see(self, leaves, target, inputs, stream=None) -> Seen:
        network, changes = self.network(leaves, target)
        state = network.init_state(self.num_stimuli * self.num_trials)
        _, output = network.rollout(
            state, inputs, stream=stream, interventions=changes, features=self.objective.features, **self.options
        )
        return self.seen(output)

    def seen(self, output: Output) -> Seen:
        """What the objective sees: arrays ``[stimulus, T, trial, ...]``, without the frames of the burn-in."""

        def split(array):
            array = array[self.burn_in :]
            array = array.reshape(len(array), self.num_stimuli, self.num_trials, *array.shape[2:])
            return jnp.moveaxis(array, 1, 0)

        features = {name: split(array) for name, array in output.features.items()}
        return Seen(split(output.responses), split(output.readout), features)

    def _transformed(self, key, frames):
        for number, transform in enumerate(self.transforms):
            keys = jax.random.split(jax.random.fold_in(key, 2 + number), self.num_stimuli)
            frames = jax.vmap(transform)(keys, frames)
        return frames

    def key(self, target: Target, step: Any) -> jax.Array:
        """From which everything random of a step is drawn."""
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), target.number), step)

    def digest(self) -> str:
        """A hash of what a step computes: parameterisation, objective, penalties, transforms, optimiser and inputs."""
        target = jax.eval_shape(lambda: self.targets(np.arange(1)))
        target = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), target)
        progress = jax.eval_shape(self.start, target)
        leaves = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in self.leaves]
        digest = hashlib.sha256(traced_digest(jax.make_jaxpr(self.start)(target)).encode())
        digest.update(traced_digest(jax.make_jaxpr(self.advance)(leaves, target, progress)).encode())
        for array in (self.units, *jax.tree.leaves(self.objective.data)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _distance(frames: jax.Array) -> jax.Array:
    """Mean over pairs of stimuli of their root-mean-square difference."""
    flat = frames.reshape(len(frames), -1)
    first, second = np.triu_indices(len(frames), 1)
    return jnp.sqrt(((flat[first] - flat[second]) ** 2).mean(1) + 1e-12).mean()
