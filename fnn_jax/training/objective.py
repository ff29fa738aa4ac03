"""What training makes small: the Poisson loss of windows, averaged over what was recorded."""

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fnn_jax.model.decorrelation import decorrelation
from fnn_jax.model.network import Inputs, Network, Noise
from fnn_jax.training.recipe import Recipe
from fnn_jax.training.windows import Batch


class Loss(NamedTuple):
    """The sum of a loss over frames, windows and units, the number of responses that it sums over, and a penalty."""

    total: Float[Array, ""]
    count: Float[Array, ""]  # type: ignore[assignment]  # not the method of a tuple
    penalty: Float[Array, ""] | float


def window_loss(
    network: Network,
    batch: Batch,
    recipe: Recipe,
    *,
    keys: Array | None = None,
    trained: Collection[str] = (),
    stream: Array | None = None,
    remat: bool = True,
) -> Loss:
    """Loss of the windows of a batch, each from a new state.

    Args:
        batch: arrays ``[T, N, ...]``; responses that are NaN do not count.
        recipe: its burn-in, its precision, and, in training, its penalty on correlated channels.
        keys: one for each window, for the draws of training; None: nothing is drawn, and there is no penalty.
        trained: names of the trained parameters: what is frozen behaves as in prediction, as in the released code.
        stream: one stream, traced; None: the mean of the streams' readouts.
    """
    responses = batch.responses[recipe.burn_in :]
    present = ~jnp.isnan(responses)
    state = network.init_state(batch.responses.shape[1], keys)
    if state.noise is not None:
        state = state._replace(noise=noise_of(state.noise, trained))
    if batch.features is None:
        inputs = Inputs(batch.stimuli, batch.eye, batch.behaviour)  # type: ignore[arg-type]  # traced
        names = ("core",) if recipe.decorrelation and keys is not None else ()
        options: dict[str, Any] = {"features": names, "precision": recipe.precision, "remat": remat}
        _, output = network.rollout(state, inputs, stream=stream, **options)
        readout, maps = output.readout, output.features.get("core")
    else:
        maps = None
        readout = network.read(
            batch.features,  # type: ignore[arg-type]  # traced
            stream=stream,
            noise=None if state.noise is None else state.noise.readout,
        )
    losses = network.loss(readout[recipe.burn_in :], jnp.where(present, responses, 0))
    penalty = 0.0
    if maps is not None:
        penalty = decorrelation(
            maps,
            length=recipe.decorrelation_frames,
            weight=recipe.decorrelation,
            rate=recipe.decorrelation_rate,
            key=jax.random.fold_in(keys[0], 1),
        )
    return Loss(jnp.where(present, losses, 0).sum(), present.sum(dtype=losses.dtype), penalty)


def noise_of(noise: Noise, trained: Collection[str]) -> Noise:
    """The draws of the stages that are trained; the others are deterministic."""
    parts = {
        "perspective": "perspective.monitor.",
        "modulation": "modulation.lstm.",
        "core": "core.",
        "readout": "readout.position.",
    }
    frozen = [stage for stage, prefix in parts.items() if not any(name.startswith(prefix) for name in trained)]
    return noise._replace(**dict.fromkeys(frozen))
