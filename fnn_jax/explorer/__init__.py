"""An explorer of units in the browser: ``fnn-jax explore``, see docs/explorer.md."""
