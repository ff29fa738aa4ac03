"""The released optimiser in optax: gradient descent with adaptive clipping, and what it does to which parameter."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from fnn_jax.common import checks
from fnn_jax.common.tracing import traced_digest
from fnn_jax.model.layers import WeightNormed
from fnn_jax.model.network import Network
from fnn_jax.training.recipe import Recipe


class Rule(NamedTuple):
    """How one parameter is trained.

    Attributes:
        scale: its gradient is multiplied by this.
        axes: over which norms are taken, counted from the last one: one norm for each index of the others; None: all.
        decay: whether weight decay applies.
        by_stream: whether its first axis counts the streams.
    """

    scale: float = 1.0
    axes: tuple[int, ...] | None = None
    decay: bool = True
    by_stream: bool = False


def rules(network: Network) -> dict[str, Rule]:
    """The rule of every trainable parameter, by name, as in the released model."""
    found = {}
    for path, node in jax.tree_util.tree_flatten_with_path(network, is_leaf=lambda n: isinstance(n, WeightNormed))[0]:
        name = ".".join(str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in path)
        if isinstance(node, WeightNormed):
            found[f"{name}.weight"] = Rule(axes=node.input_axes)
            found |= {f"{name}.{part}": Rule(axes=(-1,), decay=False) for part in ("gain", "bias")}
        else:
            found[name.removesuffix(".value")] = Rule(decay=False)  # monitor and pixels
    units = float(network.config.num_units)
    found |= {
        "core.recurrent.scale": Rule(axes=(-1,), decay=False),
        "readout.position.mean": Rule(units, None, False),
        "readout.position.spread": Rule(units, None, False),
        "readout.feature.weight": Rule(units, (-1,), True),
        "readout.feature.bias": Rule(units, (-1,), False),
        "readout.feature.gain": Rule(units, (-2,), False),
        "modulation.input_gain": Rule(1.0, (), False),
        "modulation.input_bias": Rule(1.0, (), False),
    }
    by_stream = ("modulation.", "core.", "readout.feature.")
    return {name: found[name]._replace(by_stream=name.startswith(by_stream)) for name in trainable(network)}


def trainable(network: Network) -> dict[str, jax.Array]:
    """Parameters by name, without the buffers, which are never trained."""
    flat = nnx.to_flat_state(nnx.state(network, nnx.Param))
    return {".".join(map(str, path)): variable.get_value() for path, variable in flat}


def released_sgd(
    schedule: optax.ScalarOrSchedule,
    rules: Mapping[str, Rule],
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clip: float = math.inf,
    clip_floor: float = 1e-3,
) -> optax.GradientTransformation:
    """Stochastic gradient descent as in the released package, for parameters by name.

    Gradients are scaled, clipped against the norm of their parameter, go through momentum, get weight decay (after the
    momentum, so that it is not accumulated), and are multiplied by the learning rate.
    """

    def scale(updates, params):
        return {name: update * rules[name].scale for name, update in updates.items()}

    parts = [optax.stateless(scale)]
    if clip < math.inf:
        parts.append(optax.stateless(lambda updates, params: _clip(updates, params, rules, clip, clip_floor)))
    if momentum:
        parts.append(optax.trace(momentum, nesterov))
    if weight_decay:
        decays = {name: rule.decay for name, rule in rules.items()}
        parts.append(optax.add_decayed_weights(weight_decay, lambda params: {name: decays[name] for name in params}))
    return optax.chain(*parts, optax.scale_by_learning_rate(schedule))


def _clip(updates, params, rules, clip, floor):
    """A gradient is at most ``clip`` times as long as its parameter; see Brock et al. 2021, arXiv:2102.06171."""

    def one(name, update):
        param, rule = params[name], rules[name]
        axes = tuple(range(-param.ndim, 0)) if rule.axes is None else rule.axes
        least = floor * math.sqrt(math.prod(param.shape[1:] if rule.by_stream else param.shape))
        longest = jnp.maximum(clip * _norm(param, axes), least)
        return update * (longest / jnp.maximum(_norm(update, axes), longest))

    return {name: one(name, update) for name, update in updates.items()}


def _norm(array, axes):
    return jnp.sqrt(jnp.square(array).sum(axes, keepdims=True))


def from_recipe(recipe: Recipe, rules: Mapping[str, Rule]) -> optax.GradientTransformation:
    """The optimiser of a recipe; its learning rate changes from epoch to epoch.

    Raises:
        ValueError: optax has no such optimiser.
    """
    if recipe.optimizer != "released":
        try:
            made = getattr(optax, recipe.optimizer)(epoch_schedule(recipe))
        except (AttributeError, TypeError):
            made = None
        if not checks.is_optimizer(made):
            raise ValueError(
                f"optimizer is {recipe.optimizer!r}; expected 'released', or one of optax that needs no more than a "
                "learning rate, such as 'adam'."
            )
        return made
    return released_sgd(
        epoch_schedule(recipe),
        rules,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        clip=recipe.clip,
        clip_floor=recipe.clip_floor,
    )


def epoch_schedule(recipe: Recipe) -> optax.Schedule:
    """The learning rate as a function of the number of updates."""
    rates = jnp.asarray([recipe.learning_rate_at(epoch) for epoch in range(recipe.num_epochs)], jnp.float32)
    updates = recipe.training_batches // recipe.accumulate
    return lambda count: rates[jnp.minimum(count // updates, len(rates) - 1)]


def check_optimizer(optimizer: Any, parameters: Mapping[str, jax.Array]) -> None:
    """Raise ``TypeError`` or ``ValueError`` for what is no optimiser, or one that parameters by name do not suit."""
    checks.optimizer("optimizer", optimizer)
    try:
        tuple(_traced(optimizer, parameters))
    except Exception as error:  # whatever a caller's function raises
        raise ValueError(
            f"optimizer cannot be used: {type(error).__name__}: {error}. Expected one of optax that needs gradients "
            "and parameters by name, and nothing else."
        ) from error
    with jax.numpy_dtype_promotion("standard"):
        state = jax.eval_shape(optimizer.init, dict(parameters))
    kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(state) if not _is_kept_by_files(leaf.dtype)}
    if kinds:
        raise ValueError(
            f"optimizer keeps a state of {', '.join(sorted(kinds))}, which checkpoints of a training cannot hold; "
            "expected types of NumPy's own. In optax: mu_dtype='float32', or none."
        )


def _is_kept_by_files(dtype: Any) -> bool:
    return jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) or dtype.kind in "biufc"


def optimizer_digest(optimizer: optax.GradientTransformation, parameters: Mapping[str, jax.Array]) -> str:
    """A hash of what an optimiser computes: two with equal hashes do the same to these parameters."""
    digests = [traced_digest(each) for each in _traced(optimizer, parameters)]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _traced(optimizer, parameters):
    """Its two functions, traced."""
    with jax.numpy_dtype_promotion("standard"):  # optax counts steps in integers
        state = jax.eval_shape(optimizer.init, dict(parameters))
        yield jax.make_jaxpr(optimizer.init)(dict(parameters))
        yield jax.make_jaxpr(optimizer.update)(dict(parameters), state, dict(parameters))
