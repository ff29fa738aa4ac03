"""What training makes small: the Poisson loss of windows, averaged over what was recorded."""

from collections.abc import Collection
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from fnn_jax.model.network import Inputs, Network, Noise
from fnn_jax.model.readout import poisson_loss
from fnn_jax.training.windows import Batch


class Loss(NamedTuple):
    """The sum of a loss over frames, windows and units, and the number of responses that it is the sum of."""

    total: Float[Array, ""]
    count: Float[Array, ""]


def window_loss(
    network: Network,
    batch: Batch,
    *,
    burn_in: int,
    keys: Array | None = None,
    trained: Collection[str] = (),
    stream: Array | None = None,
    precision: str = "float32",
    remat: bool = True,
) -> Loss:
    """Loss of the windows of a batch, each from a new state.

    Args:
        batch: arrays ``[T, N, ...]``; responses that are NaN do not count.
        burn_in: frames at the start that do not count.
        keys: one for each window, for the draws of training; None: nothing is drawn.
        trained: names of the trained parameters: what is frozen behaves as in prediction, as in the released code.
        stream: one stream, traced; None: the mean of the streams' readouts.
    """
    responses = batch.responses[burn_in:]
    present = ~jnp.isnan(responses)
    state = network.init_state(batch.responses.shape[1], keys)
    if state.noise is not None:
        state = state._replace(noise=noise_of(state.noise, trained))
    if batch.features is None:
        inputs = Inputs(batch.stimuli, batch.eye, batch.behaviour)
        _, output = network.rollout(state, inputs, stream=stream, precision=precision, remat=remat)
        readout = output.readout
    else:
        readout = network.read(
            batch.features, stream=stream, noise=None if state.noise is None else state.noise.readout
        )
    losses = poisson_loss(readout[burn_in:], jnp.where(present, responses, 0))
    return Loss(jnp.where(present, losses, 0).sum(), present.sum(dtype=losses.dtype))


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
