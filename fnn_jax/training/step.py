"""Compiled steps of a training: gradients on every device, updates of what is trained, validation."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fnn_jax.model.network import Network
from fnn_jax.model.parameters import is_core, named_parameters, replace_parameters
from fnn_jax.training.objective import window_loss
from fnn_jax.training.optimizer import check_optimizer, from_recipe, optimizer_digest, rules, trainable
from fnn_jax.training.recipe import Recipe
from fnn_jax.training.streams import StreamOptimizer
from fnn_jax.training.windows import Batch
from fnn_jax.twin import sizes

WINDOWS = PartitionSpec(None, "data")  # the second axis of a batch


class Weights(NamedTuple):
    """What changes in training: parameters by name, and the state of their optimiser.

    Those that scans do not share have names such as ``8-5/readout.feature.bias``.
    """

    trained: dict[str, Any]  # arrays, NumPy ones where they were read
    optimizer: Any


class Steps:
    """The steps for one or several scans that share a core.

    Each step shows every scan a batch. Gradients on the core are averaged over the scans; everything else belongs to
    one of them, and its gradient is that of the scan's own loss.

    Args:
        networks: by scan. Their cores have the same arrays.
        recipe: see ``Recipe``.
        optimizer: instead of that of the recipe.
        devices: over which the windows of a batch are spread; their number divides ``batch_size``.
    """

    def __init__(
        self,
        networks: Mapping[str, Network],
        recipe: Recipe,
        devices: Sequence[jax.Device],
        optimizer: optax.GradientTransformation | None = None,
    ):
        self.recipe, self.scans = recipe, list(networks)
        self._mesh = Mesh(np.array(devices), ("data",))
        self._networks = dict(networks)
        first = next(iter(networks.values()))
        self.num_streams = first.config.num_streams
        self._rules, trained, self._frozen = {}, {}, {}
        for scan, network in networks.items():
            arrays, rule_of = trainable(network), rules(network)
            chosen = trained_names(network, recipe.train)
            for name, array in named_parameters(network).items():
                key = _key(scan, name)
                if name in chosen:
                    trained[key], self._rules[key] = arrays[name], rule_of[name]
                else:
                    self._frozen[key] = array
        self._optimizer = from_recipe(recipe, self._rules) if optimizer is None else optimizer
        check_optimizer(self._optimizer, trained)
        with jax.numpy_dtype_promotion("standard"):  # optax counts steps in integers
            self._of_streams = StreamOptimizer(self._optimizer, trained, self._rules) if recipe.sample_stream else None
        self._frozen = self.replicate(self._frozen)
        through_core = any(not name.split("/")[-1].startswith("readout.") for name in trained)
        videos = recipe.batch_size // len(devices)
        self._remat = through_core and sizes.needs_remat(first.config, devices[0], recipe.window_frames, videos)
        self._start = trained
        self._update = jax.jit(self._updated, donate_argnums=0)
        self._validate = jax.jit(self._validated)

    @property
    def trained(self) -> list[str]:
        """Names of the trained parameters."""
        return list(self._start)

    def start(self) -> Weights:
        """Weights before the first step."""
        trained = jax.tree.map(jnp.array, self._start)  # a copy, because updates reuse the memory
        with jax.numpy_dtype_promotion("standard"):
            return self.replicate(Weights(trained, (self._of_streams or self._optimizer).init(trained)))

    def optimizer_digest(self) -> str:
        """A hash of what the optimiser computes."""
        return optimizer_digest(self._optimizer, self._start)

    def replicate(self, tree: Any) -> Any:
        """Arrays on every device."""
        sharding = NamedSharding(self._mesh, PartitionSpec())
        if jax.process_count() == 1:
            return jax.device_put(tree, sharding)

        def place(array):  # without asking the other processes, as device_put does
            array = np.asarray(array)
            return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

        return jax.tree.map(place, tree)

    def put(self, batches: Mapping[str, Batch]) -> dict[str, Batch]:
        """Batches on the devices, each with its own windows.

        Of windows that belong to devices of other processes nothing is looked at.
        """
        sharding = NamedSharding(self._mesh, WINDOWS)

        def place(array):
            return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

        return jax.tree.map(place, dict(batches))

    def rows(self) -> set[int]:
        """Which windows of a batch the devices of this process see."""
        sharding = NamedSharding(self._mesh, PartitionSpec("data"))
        indices = sharding.addressable_devices_indices_map((self.recipe.batch_size,)).values()
        return {row for (index,) in indices for row in range(*index.indices(self.recipe.batch_size))}

    def update(
        self, weights: Weights, batches: Sequence[Mapping[str, Batch]], number: int, stream: int | np.integer | None
    ) -> tuple[Weights, jax.Array]:
        """One update from one batch of every scan, or from several whose gradients are averaged.

        Args:
            weights: are used up.
            batches: on the devices; see ``put``.
            number: of the update; random draws follow from it and the seed of the recipe.
            stream: what the batches see; None: all.

        Returns:
            New weights, and the objective of each batch before the update; NaN also where a gradient is not finite.
        """
        return self._update(weights, self._frozen, list(batches), jnp.uint32(number), stream)

    def validate(self, weights: Weights, batches: Mapping[str, Batch]) -> jax.Array:
        """The objective of a batch in prediction: all streams, nothing drawn at random."""
        return self._validate(weights.trained, self._frozen, dict(batches))

    def networks(self, trained: Mapping[str, Any]) -> dict[str, Network]:
        """Networks by scan with these trained parameters."""
        return {scan: self._network(scan, trained, self._frozen) for scan in self.scans}

    def _network(self, scan, trained, frozen):
        network = self._networks[scan]
        arrays = {**frozen, **trained}
        return replace_parameters(network, {name: arrays[_key(scan, name)] for name in named_parameters(network)})

    def _updated(self, weights, frozen, batches, number, stream):
        trained = weights.trained
        key = jax.random.fold_in(jax.random.key(self.recipe.seed), number)
        total, objectives = None, []
        for index, batch in enumerate(batches):
            objective, gradient = self._gradient(trained, frozen, batch, jax.random.fold_in(key, index), stream)
            finite = jnp.stack([jnp.isfinite(array).all() for array in gradient.values()]).all()
            objectives.append(jnp.where(finite, objective, jnp.nan))
            total = gradient if total is None else jax.tree.map(jnp.add, total, gradient)
        gradient = jax.tree.map(lambda array: array / len(batches), total)
        with jax.numpy_dtype_promotion("standard"):
            if stream is not None:
                weights = Weights(*self._of_streams.update(gradient, weights.optimizer, trained, stream))
            else:
                updates, optimizer = self._optimizer.update(gradient, weights.optimizer, trained)
                weights = Weights(optax.apply_updates(trained, updates), optimizer)
        return weights, jnp.stack(objectives)

    def _gradient(self, trained, frozen, batches, key, stream):
        size = self.recipe.batch_size
        keys = {scan: jax.random.split(jax.random.fold_in(key, index), size) for index, scan in enumerate(self.scans)}

        def on_device(trained, frozen, batches, keys, stream):
            def share(trained):
                return self._share(trained, frozen, batches, keys, stream, self._remat)

            return _sum_over_devices(jax.value_and_grad(share)(trained))

        all_of_it = PartitionSpec()
        mapped = jax.shard_map(
            on_device,
            mesh=self._mesh,
            in_specs=(all_of_it, all_of_it, WINDOWS, PartitionSpec("data"), all_of_it),
            out_specs=all_of_it,
            check_vma=False,
        )
        objective, gradient = mapped(trained, frozen, batches, keys, stream)
        scans = float(len(self.scans))  # over which the objective is a mean; what belongs to one follows its own loss
        shared = {name for name in gradient if is_core(name) or scans == 1}
        return objective, {name: each if name in shared else each * scans for name, each in gradient.items()}

    def _validated(self, trained, frozen, batches):
        def on_device(trained, frozen, batches):
            return jax.lax.psum(self._share(trained, frozen, batches, None, None, False), "data")

        all_of_it = PartitionSpec()
        return jax.shard_map(
            on_device,
            mesh=self._mesh,
            in_specs=(all_of_it, all_of_it, WINDOWS),
            out_specs=all_of_it,
            check_vma=False,
        )(trained, frozen, batches)

    def _share(self, trained, frozen, batches, keys, stream, remat):
        """What the windows of one device add to the mean of the scans' losses."""
        losses = []
        for scan in self.scans:
            own = {name.removeprefix(f"{scan}/") for name in trained if name.startswith(f"{scan}/") or is_core(name)}
            losses.append(
                window_loss(
                    self._network(scan, trained, frozen),
                    batches[scan],
                    self.recipe,
                    keys=None if keys is None else keys[scan],
                    trained=own,
                    stream=stream,
                    remat=remat,
                )
            )
        counts = jax.lax.psum(jax.lax.stop_gradient(jnp.stack([loss.count for loss in losses])), "data")
        shares = [loss.total / jnp.maximum(count, 1) for loss, count in zip(losses, counts, strict=True)]
        penalties = [loss.penalty / self._mesh.size for loss in losses]
        return sum(shares + penalties) / len(losses)


def _sum_over_devices(tree: Any) -> Any:
    """``psum`` over the devices, as one operation where there are several processes.

    Processes on CPUs may begin several operations in different orders, and then fail.
    """
    if jax.process_count() == 1:
        return jax.lax.psum(tree, "data")
    flat, restore = ravel_pytree(tree)
    return restore(jax.lax.psum(flat, "data"))


def trained_names(network: Network, train: Sequence[str]) -> list[str]:
    """Names of the parameters in the parts that are trained.

    Raises:
        ValueError: the network has no such part; the parts that it has are listed.
    """
    names = list(trainable(network))
    for part in train:
        require_part("train", part, names)
    return [name for name in names if any(in_part(name, part) for part in train)]


def in_part(name: str, part: str) -> bool:
    """Whether a parameter belongs to a part of the network, such as ``modulation.lstm``."""
    return name == part or name.startswith(f"{part}.")


def require_part(argument: str, part: str, names: Sequence[str]) -> None:
    """Raise ``ValueError`` for a part that has no parameters."""
    if not any(in_part(name, part) for name in names):
        parts = sorted({".".join(name.split(".")[:depth]) for name in names for depth in (1, 2)})
        raise ValueError(f"{argument} names {part!r}; expected parts of the network: {', '.join(parts)}, or below.")


def _key(scan: str, name: str) -> str:
    return name if is_core(name) else f"{scan}/{name}"
