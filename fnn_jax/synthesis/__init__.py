"""Stimulus synthesis: gradients to the pixels, many targets at once.

>>> from fnn_jax import synthesis
>>> found = synthesis.synthesize(twin, targets=[12, 40], num_frames=30, penalties=[(1e-4, synthesis.roughness())])
>>> found.frames, found.table
"""

from fnn_jax.synthesis.gabors import drifting_gabor
from fnn_jax.synthesis.influence import influence
from fnn_jax.synthesis.objectives import (
    Objective,
    Seen,
    contrast,
    custom,
    excitation,
    feature,
    inhibition,
    log_excitation,
    mean_excitation,
    pattern,
    reconstruction,
    soft_minimum,
)
from fnn_jax.synthesis.optimisation import synthesize
from fnn_jax.synthesis.parameterisations import (
    Parameterisation,
    between,
    fourier,
    low_rank,
    masked,
    nlm,
    normalised,
    pixels,
)
from fnn_jax.synthesis.penalties import (
    blur,
    jitter,
    noise,
    norm,
    range_,
    roughness,
    scaling,
    spectral_slope,
    total_variation,
    weighted,
)
from fnn_jax.synthesis.report import write_report
from fnn_jax.synthesis.result import Synthesis, SynthesisError

__all__ = [
    "Objective",
    "Parameterisation",
    "Seen",
    "Synthesis",
    "SynthesisError",
    "between",
    "blur",
    "contrast",
    "custom",
    "drifting_gabor",
    "excitation",
    "feature",
    "fourier",
    "influence",
    "inhibition",
    "jitter",
    "log_excitation",
    "low_rank",
    "masked",
    "mean_excitation",
    "nlm",
    "noise",
    "norm",
    "normalised",
    "pattern",
    "pixels",
    "range_",
    "reconstruction",
    "roughness",
    "scaling",
    "soft_minimum",
    "spectral_slope",
    "synthesize",
    "total_variation",
    "weighted",
    "write_report",
]
