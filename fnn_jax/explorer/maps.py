"""A map of units in the browser: an image that the server draws, and a shape that the user draws on it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.events import Reset, SelectionGeometry
from bokeh.models import BoxSelectTool, ColumnDataSource, LassoSelectTool, LinearColorMapper, Range1d, ResetTool
from bokeh.models.annotations.legends import ColorBar
from bokeh.plotting import figure
from matplotlib.colors import to_hex

from fnn_jax.common.figures import REFERENCE
from fnn_jax.explorer.raster import color_map, raster
from fnn_jax.explorer.selection import Brush, box
from fnn_jax.explorer.state import State
from fnn_jax.explorer.views import MONITOR, Colors, View, limits_of

SHAPE = (360, 400)  # rows and columns of the image, until the browser says how much room it has
MOST_COLUMNS = 1200
STEPS = 256  # of a colour scale


class UnitMap:
    """A figure of Bokeh, ``figure``, of two columns of a state's table.

    Args:
        brushed: is called with the shape that was drawn, or None when it was cleared.
    """

    def __init__(self, state: State, view: View, brushed: Callable[[Brush | None], None]):
        self._state, self._view, self._brushed = state, view, brushed
        units = state.table.units
        self._x, self._y = units[view.x].to_numpy(float), units[view.y].to_numpy(float)
        self._limits = limits_of(units, view)
        (left, right), (low, high) = self._limits
        self.figure = figure(
            title=view.name,
            x_range=Range1d(start=left, end=right),
            y_range=Range1d(start=high, end=low) if view.y_down else Range1d(start=low, end=high),
            x_axis_label=view.x_label,
            y_axis_label=view.y_label,
            tools=[BoxSelectTool(), LassoSelectTool(continuous=False), ResetTool()],
            sizing_mode="stretch_width",
            height=380,
            min_width=280,
        )
        self.figure.toolbar.logo = None
        self.figure.grid.visible = False
        self._shape = SHAPE
        self._room: dict[str, int] = {}
        self._source = ColumnDataSource({"image": [np.zeros(SHAPE, np.uint32)]})
        self.figure.image_rgba("image", x=left, y=low, dw=right - left, dh=high - low, source=self._source)
        if view.edges:
            self.figure.line(*MONITOR, color=REFERENCE, line_dash="dashed")
        if view.is_same_measure:
            self.figure.line([left, right], [left, right], color=REFERENCE)  # where both agree
        self._mapper, self._color = LinearColorMapper(palette=_palette(state.colors())), None
        self._bar = ColorBar(color_mapper=self._mapper, width=10, title="")
        self.figure.add_layout(self._bar, "right")
        self.figure.on_event(SelectionGeometry, self._drawn)
        self.figure.on_change("inner_height", self._sized)
        self.figure.on_change("inner_width", self._sized)
        self.figure.on_event(Reset, lambda event: self._brushed(None))
        self.draw(state.chosen())

    def draw(self, chosen: np.ndarray) -> None:
        """Show which units are chosen, in the colours of the state."""
        colors = self._state.colors()
        image = raster(self._x, self._y, colors, chosen, self._limits, self._shape)
        self._source.data = {"image": [image.view(np.uint32).reshape(self._shape)]}
        if self._color != self._state.color:  # a palette takes longer than the image
            self._color, (low, high) = self._state.color, colors.limits
            self._bar.visible = not colors.kinds
            self._mapper.update(palette=_palette(colors), low=low, high=high)

    def _sized(self, name: str, before: Any, now: Any) -> None:
        """An image of the browser's pixels, in which dots are round."""
        self._room[name] = now
        height, width = (self._room.get(each, 0) for each in ("inner_height", "inner_width"))  # one after the other
        shape = (height, min(width, MOST_COLUMNS))
        if height and width and shape != self._shape:
            self._shape = shape
            self.draw(self._state.chosen())

    def _drawn(self, event: Any) -> None:
        shape, x, y = event.geometry, self._view.x, self._view.y
        if not event.final:
            return
        if shape["type"] == "rect":
            across, up = sorted((shape["x0"], shape["x1"])), sorted((shape["y0"], shape["y1"]))
            self._brushed(box(x, y, *across, *up))
        elif shape["type"] == "poly" and len(shape["x"]) > 2:
            self._brushed(Brush(x, y, tuple(zip(map(float, shape["x"]), map(float, shape["y"]), strict=True))))


def _palette(colors: Colors) -> list[str]:
    if colors.kinds:
        return [to_hex(color_map(colors)(kind)) for kind in range(len(colors.kinds))]
    return [to_hex(color_map(colors)(step / (STEPS - 1))) for step in range(STEPS)]
