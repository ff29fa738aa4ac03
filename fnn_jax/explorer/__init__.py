"""An explorer of units in the browser, ``fnn-jax explore``, and the figures that it exports; see docs/explorer.md."""

from fnn_jax.explorer.joining import join_results
from fnn_jax.explorer.measuring import measure_direction
from fnn_jax.explorer.results import open_result
from fnn_jax.explorer.unit_figure import draw_played, draw_units

__all__ = ["draw_played", "draw_units", "join_results", "measure_direction", "open_result"]
