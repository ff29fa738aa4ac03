"""A digital twin: a network, its units, and what one does with them."""

from fnn_jax.twin.twin import Twin

__all__ = ["Twin"]
