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
NARROW, WIDE = "380px", "760px"  # at most
HINT = "Click a row of the table of units to see its page here; with Ctrl a second one, beside it."
MEASURING = "16 drifting gratings to all units of the scan, once: it takes minutes, and is kept."
ROWS = '<tr><th scope="row" style="text-align:left;padding-right:1em">{name}</th>{values}</tr>'
VALUE = '<td style="padding-right:1em">{value}</td>'


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
        self._together = pn.FlexBox()
        self._code = pn.pane.Markdown()
        self.button = pn.widgets.Button(label="Measure direction tuning", color="primary", visible=has_twins)
        self.button.on_click(tried(lambda event: self._measure()))
        self._files = pn.Column(*picture_buttons(comparison.picture, "units", "Page"), visible=False)
        self._redraw = tried(lambda event: self.draw())
        self.layout = pn.FlexBox(
            pn.Column(
                self.button,
                pn.pane.Markdown(MEASURING, visible=has_twins),
                self._files,
                self.facts,
                styles={"flex": "0 1 18rem"},
                width=280,
                margin=(0, 16, 0, 0),
            ),
            pn.Column(
                self.status,
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
        self.facts.object = (
            f"<table style='font-size:13px'>{''.join(_line(str(name), values) for name, values in lines)}</table>"
        )
        self.pages.objects = [
            self._page(row, name, panels) for row, name, panels in zip(rows, facts, comparison.panels(), strict=True)
        ]
        together = comparison.together()
        self._together.objects = []
        if together is not None:
            drawn = file_of(draw_panel(together, MIDDLE), "png")
            self._together.objects = [self._picture(drawn, f"{' and '.join(facts)}: {together.title}", WIDE)]
        self._code.object = f"### The same in Python\n\n```python\n{comparison.code()}```"

    def _page(self, row: int, name: str, panels: list[Panel]) -> Any:
        drawn = [self._picture(self._comparison.drawn(row, panel), f"{name}: {panel.title}") for panel in panels]
        return pn.Column(f"### {name}", pn.FlexBox(*drawn), stylesheets=[self._stylesheet], sizing_mode="stretch_width")

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
            words = f"Measuring direction tuning of all units of the scan, once: {work.said}"
        elif work.error:
            words = f"**It went wrong.** {work.error}"
        else:
            words = "" if comparison.rows else HINT
        self.status.param.update(object=words, visible=bool(words))

    def _measure(self) -> None:
        self._comparison.measure()
        self._say()

    def _picture(self, drawn: bytes, description: str, width: str = NARROW) -> Any:
        return pn.pane.PNG(
            drawn,
            alt_text=description,
            stylesheets=[self._stylesheet],
            styles={"max-width": width},
            sizing_mode="scale_width",
            min_width=200,
        )


def _line(name: str, values: list[str]) -> str:
    cells = "".join(VALUE.format(value=html.escape(value)) for value in values)
    return ROWS.format(name=html.escape(name).replace("_", "_<wbr>"), values=cells)  # long names may break there
