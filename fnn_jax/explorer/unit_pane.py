"""The pages of one or two units: widgets around a ``Comparison``, which decides."""

import html
from collections.abc import Callable
from typing import Any

import panel as pn

from fnn_jax.common.figures import MIDDLE
from fnn_jax.explorer.buttons import picture_buttons
from fnn_jax.explorer.comparing import Comparison
from fnn_jax.explorer.drawing import file_of
from fnn_jax.explorer.results import Panel
from fnn_jax.explorer.unit_figure import draw_panel

ASK_MS = 500  # between looks at what is measured
HINT = "Click a row of the table of units to see its page here; with Ctrl a second one, beside it."
ROWS = '<tr><th scope="row" style="text-align:left;padding-right:1.5em">{name}</th>{values}</tr>'
VALUE = '<td style="padding-right:1.5em">{value}</td>'


class UnitPane:
    """Widgets of Panel, ``layout``, around the units that are compared.

    Args:
        tried: makes an action whose errors are said in the page.

    Attributes:
        status, facts, pages: what tests look at: what is to be said, what the table knows, pictures of each unit.
    """

    def __init__(self, comparison: Comparison, tried: Callable[[Any], Any], stylesheet: str, has_twins: bool):
        self._comparison, self._stylesheet, self._seen = comparison, stylesheet, comparison.work.finished
        self.is_shown = False  # pages are drawn only where somebody looks
        self.status = pn.pane.Markdown()
        self.facts = pn.pane.HTML()
        self.pages = pn.FlexBox(gap="1rem", align_items="flex-start")
        self._together = pn.Column(sizing_mode="stretch_width", max_width=760)
        self._code = pn.pane.Markdown()
        self.button = pn.widgets.Button(label="Measure direction tuning", color="primary", visible=has_twins)
        self.button.on_click(tried(lambda event: self._measure()))
        self._files = pn.Column(*picture_buttons(comparison.picture, "units", "Page"), visible=False)
        self._redraw = tried(lambda event: self.draw())
        self.layout = pn.FlexBox(
            pn.Column(self.button, self._files, styles={"flex": "0 1 18rem"}, width=280, margin=(0, 16, 0, 0)),
            pn.Column(
                self.status,
                self.facts,
                self.pages,
                self._together,
                self._code,
                stylesheets=[stylesheet],
                sizing_mode="stretch_width",
            ),
            align_items="flex-start",
            gap="1rem",
        )
        self.draw()
        if has_twins and pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self.look, ASK_MS)

    def show(self, is_shown: bool) -> None:
        """Somebody looks, or no longer."""
        self.is_shown = is_shown
        if is_shown:
            self._redraw(None)

    def draw(self) -> None:
        """The pages of the units that are picked now."""
        comparison = self._comparison
        rows = comparison.rows if self.is_shown else []
        self._files.visible = bool(rows)
        self._say()
        if not rows:
            self.facts.object, self._code.object = "", ""
            self.pages.objects = self._together.objects = []
            return
        facts = comparison.facts()
        lines = [("", list(facts)), *((name, list(values)) for name, values in facts.iterrows())]
        self.facts.object = f"<table>{''.join(_line(str(name), values) for name, values in lines)}</table>"
        self.pages.objects = [
            pn.Column(
                f"### {name}",
                pn.FlexBox(*(self._picture(panel, name) for panel in panels)),
                stylesheets=[self._stylesheet],
                sizing_mode="stretch_width",
            )
            for name, panels in zip(facts, comparison.panels(), strict=True)
        ]
        together = comparison.together()
        names = " and ".join(facts)
        self._together.objects = [] if together is None else [self._picture(together, names, MIDDLE)]
        self._code.object = f"### The same in Python\n\n```python\n{comparison.code()}```"

    def look(self) -> None:
        """Say how far the work is; draw what is new."""
        if self._seen != self._comparison.work.finished:
            self._seen = self._comparison.work.finished
            self._redraw(None)
        self._say()

    def _say(self) -> None:
        comparison, work = self._comparison, self._comparison.work
        is_left = bool(self.is_shown and comparison.rows and comparison.unmeasured())
        self.button.disabled = work.is_busy or not is_left
        if work.is_busy:
            self.status.object = f"Measuring direction tuning of all units of the scan, once: {work.said}"
        elif work.error:
            self.status.object = f"**It went wrong.** {work.error}"
        else:
            self.status.object = "" if comparison.rows else HINT

    def _measure(self) -> None:
        self._comparison.measure()
        self._say()

    def _picture(self, panel: Panel, name: str, width: float | None = None) -> Any:
        figure = draw_panel(panel) if width is None else draw_panel(panel, width)
        return pn.pane.PNG(
            file_of(figure, "png"),
            alt_text=f"{name}: {panel.title}",
            stylesheets=[self._stylesheet],
            styles={"max-width": "380px" if width is None else "100%"},
            sizing_mode="scale_width",
            min_width=200,
        )


def _line(name: str, values: list[str]) -> str:
    cells = "".join(VALUE.format(value=html.escape(value)) for value in values)
    return ROWS.format(name=html.escape(name), values=cells)
