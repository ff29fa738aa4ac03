"""The page: widgets around a ``State``, which decides."""

import html
import io
import math
from collections.abc import Callable
from typing import Any

import panel as pn
from bokeh.models.widgets.tables import NumberFormatter
from matplotlib.colors import to_hex

from fnn_jax.explorer.buttons import picture_buttons
from fnn_jax.explorer.comparing import Comparison
from fnn_jax.explorer.maps import UnitMap
from fnn_jax.explorer.markdown import fenced
from fnn_jax.explorer.player import PlayerPane
from fnn_jax.explorer.raster import color_map
from fnn_jax.explorer.reachable import CHOICE, TABS, code_pane, script
from fnn_jax.explorer.selection import Brush
from fnn_jax.explorer.state import State
from fnn_jax.explorer.unit_pane import UnitPane
from fnn_jax.explorer.views import TWO_COLUMNS, is_kind, is_whole

# As wide as there is room for, two in a row where they fit, one below the other on a telephone.
SHARED = ":host { flex: 1 1 20rem; width: auto; min-width: 0; }"
DOT = (
    '<span style="white-space:nowrap;margin-right:1em"><span style="background:{color};display:inline-block;width:.8em;'
    'height:.8em;border-radius:50%"></span> {kind}</span>'
)
NO_FOOTER = ".tabulator-footer { display: none !important; }"
ROWS = 15  # of a page of the table
STEPS = 1000  # of a slider


def _formats(state: State) -> dict[str, NumberFormatter]:
    """Whole numbers without commas, others with three digits after the point."""
    units = state.table.units
    return {
        name: NumberFormatter(format="0" if is_whole(units[name]) else "0.000")
        for name in units.select_dtypes(["integer", "floating"])
    }


def _choice(label: str, options: list[Any], value: list[Any], **more: Any) -> pn.widgets.MultiChoice:
    return pn.widgets.MultiChoice(label=label, options=options, value=value, stylesheets=[CHOICE], **more)


class Page:
    """A page of Panel, ``template``, that shows a state and changes it.

    Args:
        comparison: of the state; default: a new one, which is gone after a reload.

    Attributes:
        count, table, units, error: what tests look at: how many units are chosen, their rows, the pages of some, and
            what went wrong.
    """

    def __init__(self, state: State, comparison: Comparison | None = None):
        self._state = state
        self.count = pn.pane.Markdown(css_classes=["count"])
        self.error = pn.pane.Alert(visible=False, alert_type="danger")
        self._code = code_pane()
        self._legend = pn.pane.HTML()
        self._filters = pn.Column()
        self._maps_row = pn.FlexBox()
        self.table = pn.widgets.Tabulator(
            state.table.units.iloc[:0],
            pagination="remote",
            page_size=ROWS,
            disabled=True,
            formatters=_formats(state),
            show_index=False,
            layout="fit_data",
            sizing_mode="stretch_width",
            stylesheets=[NO_FOOTER],
        )
        # Of its own: buttons of Tabulator stand where readers of the screen expect rows.
        self._turn = pn.widgets.IntInput(label="Page of the table", value=1, start=1, width=150)
        self._turn.link(self.table, value="page", bidirectional=True)
        self.table.param.watch(self.tried(lambda event: self._pick(event.new)), "selection")
        self.player = PlayerPane(state, self.tried, SHARED) if state.table.twins else None
        self.units = UnitPane(comparison or Comparison(state), self.tried, SHARED, bool(state.table.twins))
        self._build_maps()
        self._build_filters()
        results = [self.count, self._legend, self._maps_row, self.table, self._turn, "### The same in Python"]
        units = pn.FlexBox(
            pn.Column(*self._controls(), styles={"flex": "0 1 18rem"}, width=280, margin=(0, 16, 0, 0)),
            pn.Column(*results, self._code, stylesheets=[SHARED], sizing_mode="stretch_width"),
            align_items="flex-start",
            gap="1rem",
        )
        self.template = pn.template.FastListTemplate(
            title="fnn_jax explorer",
            main=[self.error, self._tabs(units)],
            header=[script()],
            main_layout=None,
            theme_toggle=True,
        )
        self._refresh()

    def _tabs(self, units: Any) -> pn.Tabs:
        """The player only where there are twins."""
        tabs = pn.Tabs(("Units", units), ("One or two units", self.units.layout), sizing_mode="stretch_width")
        tabs.stylesheets = [TABS]
        if self.player is not None:
            tabs.append(("Play a stimulus", self.player.layout))
        tabs.param.watch(self.tried(lambda event: self.units.show(event.new == 1)), "active")
        return tabs

    def _pick(self, places: list[int]) -> None:
        """Rows of the table were clicked."""
        self._state.picked = [int(self.table.value.index[place]) for place in places]

    def _controls(self) -> list[Any]:
        state = self._state
        color = pn.widgets.Select(label="Colour of the maps", options=state.columns, value=state.color)
        color.param.watch(self.tried(lambda event: self._set("color", event.new)), "value")
        shown = _choice("Maps", list(state.views), state.shown, max_items=4)
        shown.param.watch(self.tried(lambda event: self._show_maps(event.new)), "value")
        axes = state.axes or (None, None)
        labels = ("Of any two columns, across", "Of any two columns, up")
        self._axes = [
            pn.widgets.Select(label=label, options=state.numbers, value=value, visible=TWO_COLUMNS in state.shown)
            for label, value in zip(labels, axes, strict=True)
        ]
        for select in self._axes:
            select.param.watch(self.tried(lambda event: self._show_columns()), "value")
        filtered = _choice("Columns to filter by", state.columns, state.filtered)
        filtered.param.watch(self.tried(lambda event: self._filter_columns(event.new)), "value")
        clear = pn.widgets.Button(label="All units again")
        clear.on_click(self.tried(lambda event: self._clear()))
        files = [
            pn.widgets.FileDownload(
                callback=lambda: io.BytesIO(state.csv()), filename="units.csv", label="Table as CSV"
            )
        ]
        files += picture_buttons(state.picture, "maps", "Maps")
        return [color, shown, *self._axes, filtered, self._filters, clear, "### Export", *files]

    def tried(self, act: Callable[[Any], None]) -> Callable[[Any], None]:
        """What goes wrong is said in the page, and the page goes on."""

        def tried(event: Any) -> None:
            try:
                act(event)
                self.error.visible = False
            except Exception as error:
                self.error.param.update(
                    object=html.escape(f"{type(error).__name__}: {error}", quote=False), visible=True
                )

        return tried

    def _build_filters(self) -> None:
        self._filters.objects = [self._filter(name) for name in self._state.filtered]

    def _filter(self, name: str) -> Any:
        column, selection = self._state.table.units[name], self._state.selection
        if is_kind(column):
            options = sorted(column.dropna().unique().tolist())
            widget = _choice(name, options, list(selection.kinds.get(name, [])))
            take: Callable[[Any], Any] = list
        else:
            low, high = self._state.extent(name)
            # Whole numbers in whole steps.
            steps = {"step": 1, "format": "0"} if is_whole(column) else {"step": (high - low) / STEPS}
            value = selection.ranges.get(name, (low, high))
            widget = pn.widgets.RangeSlider(label=name, start=low, end=high, value=value, **steps)

            def take(value: Any) -> Any:  # at both ends it lets those pass, too, that have no value
                return None if tuple(value) == (low, high) else tuple(map(float, value))

        event_name = "value" if is_kind(column) else "value_throttled"
        widget.param.watch(self.tried(lambda event: self._filter_by(name, take(event.new))), event_name)
        return widget

    def _filter_by(self, name: str, value: Any) -> None:
        self._state.filter_by(name, value)
        self._refresh()

    def _filter_columns(self, names: list[str]) -> None:
        for name in set(self._state.filtered) - set(names):
            self._state.filter_by(name, None)
        self._state.filtered = list(names)
        self._build_filters()
        self._refresh()

    def _set(self, name: str, value: Any) -> None:
        setattr(self._state, name, value)
        self._refresh()

    def _show_maps(self, names: list[str]) -> None:
        self._state.shown = list(names)
        for select in self._axes:
            select.visible = TWO_COLUMNS in names
        self._build_maps()
        self._refresh()

    def _show_columns(self) -> None:
        """The shape that was drawn on other columns would be nowhere to be seen."""
        before = self._state.selection.brush
        if before is not None and {before.x, before.y} == set(self._state.axes or ()):
            self._state.brush(None)
        self._state.show_columns(*(select.value for select in self._axes))
        self._build_maps()
        self._refresh()

    def _clear(self) -> None:
        self._state.clear()
        self._build_filters()
        self._refresh()

    def brushed(self, brush: Brush | None) -> None:
        """A shape was drawn on a map; None: it was cleared."""
        self._state.brush(brush)
        self._refresh()

    def _build_maps(self) -> None:
        act = self.tried(self.brushed)
        self._maps = [UnitMap(self._state, view, act) for view in self._state.maps()]
        self._maps_row.objects = [
            pn.pane.Bokeh(each.figure, stylesheets=[SHARED], sizing_mode="stretch_width") for each in self._maps
        ]

    def _refresh(self) -> None:
        """Everything that depends on which units are chosen, or on the colour."""
        state = self._state
        chosen = state.chosen()
        for each in self._maps:
            each.draw(chosen)
        self.count.object = f"**{int(chosen.sum()):,} of {len(chosen):,} units** · {html.escape(state.table.title)}"
        self._legend.object = self._legend_text()
        self.table.selection = []  # places in rows that are no longer shown
        self.table.value = state.table.units[chosen]
        pages = max(1, math.ceil(len(self.table.value) / ROWS))
        self._turn.param.update(end=pages, value=1, label=f"Page of the table, 1 to {pages:,}")
        self._code.object = fenced(state.code())

    def _legend_text(self) -> str:
        colors = self._state.colors()
        color = html.escape(self._state.color or "")
        if not colors.kinds:
            return f"Colour: {color}. Draw a box or a shape on a map to choose units; the arrows bring all back."
        palette = [to_hex(color_map(colors)(place)) for place in range(len(colors.kinds))]
        dots = [
            DOT.format(color=each, kind=html.escape(kind)) for each, kind in zip(palette, colors.kinds, strict=True)
        ]
        return f"{color}: {''.join(dots)}"
