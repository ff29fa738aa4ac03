"""A digital twin: a network, its units, and what one does with them."""

from fnn_jax.twin.twin import FRAMES_PER_SECOND, Twin

__all__ = ["FRAMES_PER_SECOND", "Twin"]
