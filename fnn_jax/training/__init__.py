"""Twins of recordings: transfer a core, train the rest, go on where it was killed.

>>> from fnn_jax import microns, training
>>> foundation, _ = microns.scan(4, 7)
>>> result = training.train("training_data", out="my_twin", start=foundation)
>>> twin = result.twin()
"""

from fnn_jax.training.checkpoints import TrainingError
from fnn_jax.training.loop import train
from fnn_jax.training.optimizer import Rule, released_sgd
from fnn_jax.training.recipe import Recipe
from fnn_jax.training.result import Training

__all__ = ["Recipe", "Rule", "Training", "TrainingError", "released_sgd", "train"]
