"""A stimulus whose numbers are those of a drifting Gabor."""

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.common.checks import fraction, integer, number
from fnn_jax.common.rate import HZ
from fnn_jax.stimuli.display import Display, require_display
from fnn_jax.stimuli.gratings import gabor
from fnn_jax.synthesis.parameterisations import Parameterisation


def drifting_gabor(display: Display, num_frames: int, **start: float) -> Parameterisation:
    """A drifting Gabor with learned parameters: ``direction, spatial_frequency, temporal_frequency, phase, x, y,
    sigma`` and ``contrast``.

    Args:
        start: where they start; those not given are drawn: directions and phases from all, positions from the middle of
            the monitor, frequencies and sizes around 0.04 cycles per degree, 2 Hz and 12 degrees.

    Frequencies and sigma are learned as logarithms, contrast as a logit, and all so that steps of one size suit them.

    Raises:
        TypeError, ValueError: an argument is of another kind, or out of range.
    """
    require_display(display)
    integer("num_frames", num_frames)
    across, down = display.extent
    scales = {"direction": 60.0, "phase": 60.0, "x": across / 8, "y": down / 8}
    if display.unit == "deg":
        typical = {"spatial_frequency": 0.04, "temporal_frequency": 2.0, "sigma": 12.0}
    else:
        typical = {"spatial_frequency": 8 / display.width, "temporal_frequency": 2.0, "sigma": display.width / 12}
    names = (*scales, *typical, "contrast")
    unknown = set(start) - set(names)
    if unknown:
        raise ValueError(f"start has {sorted(unknown)}; expected {names}.")
    for name, value in start.items():
        if name == "contrast":
            fraction(name, value)
        else:
            number(name, value, **({"above": 0} if name in typical else {}))

    def init(key):
        draws = dict(zip(names, jax.random.normal(key, (len(names),)), strict=True))
        raw = {name: draws[name] for name in ("x", "y")}
        raw |= {
            name: 6 * jax.random.uniform(jax.random.fold_in(key, i)) for i, name in enumerate(("direction", "phase"))
        }
        raw |= {name: 0.3 * draws[name] for name in typical} | {"contrast": jnp.float32(1.0)}
        given = {name: value / scales[name] for name, value in start.items() if name in scales}
        given |= {name: np.log(value / typical[name]) for name, value in start.items() if name in typical}
        given |= {name: np.log(value / (1 - value)) for name, value in start.items() if name == "contrast"}
        return {**raw, **{name: jnp.float32(value) for name, value in given.items()}}

    def frames(parameters):
        values = gabor_parameters(parameters)
        center = (values.pop("x"), values.pop("y"))
        return gabor(display, **values, center=center, num_frames=num_frames)

    def gabor_parameters(parameters):
        values = {name: parameters[name] * scale for name, scale in scales.items()}
        values |= {name: jnp.exp(parameters[name]) * value for name, value in typical.items()}
        nyquist = 0.5 / display.unit_per_pixel
        values["spatial_frequency"] = jnp.minimum(values["spatial_frequency"], 0.9 * nyquist)
        values["temporal_frequency"] = jnp.minimum(values["temporal_frequency"], 0.45 * HZ)
        return values | {"contrast": jax.nn.sigmoid(parameters["contrast"])}

    return Parameterisation(init, frames)
