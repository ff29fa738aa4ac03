"""Drawings to compose figures of one's own: each takes axes of matplotlib, draws on them, and returns them.

>>> from fnn_jax import figures
>>> with figures.journal_style():
...     figure = figures.new_figure(figures.SINGLE, 60)
...     figures.draw_population(figure.subplots(), responses)
...     figures.save_figure(figure, "responses.pdf")

Any axes will do, also those of ``plt.subplots``. Whole figures are made by ``physiology.figures``,
``evaluation.figures`` and ``stimuli.contact_sheet``.
"""

from fnn_jax.common.drawing import draw_cortex, draw_frames, draw_population, draw_relation, draw_traces
from fnn_jax.common.figures import DOUBLE, MIDDLE, SINGLE, journal_style, new_figure, panel_letters, save_figure
from fnn_jax.physiology.field_panels import draw_field_centers, draw_receptive_field
from fnn_jax.physiology.panels import draw_polar_tuning, draw_tuning_curve
from fnn_jax.stimuli.outline import draw_monitor, draw_retina
from fnn_jax.training.figures import draw_objectives

__all__ = [
    "DOUBLE",
    "MIDDLE",
    "SINGLE",
    "draw_cortex",
    "draw_field_centers",
    "draw_frames",
    "draw_monitor",
    "draw_objectives",
    "draw_polar_tuning",
    "draw_population",
    "draw_receptive_field",
    "draw_relation",
    "draw_retina",
    "draw_traces",
    "draw_tuning_curve",
    "journal_style",
    "new_figure",
    "panel_letters",
    "save_figure",
]
