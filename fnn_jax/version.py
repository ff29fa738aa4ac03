"""The version, in a file of its own so that it can be read without importing jax."""

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Versions of what decides numbers to the last bit, for records of work that is resumed."""
    import jax
    import jaxlib
    import optax

    return {"fnn_jax": __version__, "jax": jax.__version__, "jaxlib": jaxlib.__version__, "optax": optax.__version__}
