"""Weights and responses that are NaN or infinite: said, with the first stage that is not finite."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.model.network import Network
from fnn_jax.model.parameters import named_parameters

STAGES = ("perspective", "modulation", "core", "readout")


def not_finite(network: Network) -> list[str]:
    """Names of the parameters that hold NaN or infinity, in the order of the stages."""
    named = named_parameters(network)
    if any(isinstance(array, jax.core.Tracer) for array in named.values()):
        return []
    on_cpu = all(device.platform == "cpu" for array in named.values() for device in array.devices())
    if on_cpu:  # nothing is copied, and nothing compiled: that took 2 seconds
        finite = {name: np.isfinite(np.asarray(array)).all() for name, array in named.items()}
    else:
        finite = jax.device_get(_are_finite(named))
    bad = [name for name in named if not finite[name]]
    return sorted(bad, key=lambda name: STAGES.index(name.split(".")[0]))


@jax.jit
def _are_finite(named):
    return {name: jnp.isfinite(array).all() for name, array in named.items()}


def describe_weights(network: Network) -> str | None:
    """What is wrong with the weights, as a sentence; None: all are finite."""
    bad = not_finite(network)
    if not bad:
        return None
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return f"The weights are NaN or infinite, first in the {bad[0].split('.')[0]}: {', '.join(bad[:3])}{more}."


def warn_of_weights(network: Network) -> None:
    """Warn where responses will not be finite because the weights are not."""
    problem = describe_weights(network)
    if problem is not None:
        warnings.warn(f"{problem} What the network makes of them is no number either.", stacklevel=4)


def warn_of_responses(what: str, stage: str | None) -> None:
    """Warn of responses that are not finite; ``stage`` is the first that is not."""
    first = "" if stage is None else f", first the output of {stage}"
    warnings.warn(f"The {what} are NaN or infinite{first}.", stacklevel=4)
