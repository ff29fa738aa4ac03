"""A digital twin: a network, its units, and what one does with them."""

from fnn_jax.twin import tree  # noqa: F401  registers the twin as a pytree
from fnn_jax.twin.twin import Twin

__all__ = ["Twin"]
