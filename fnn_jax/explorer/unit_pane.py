"""The pages of one or two units: widgets around a ``Comparison``, which decides."""

import html
from collections.abc import Callable
from typing import Any

import panel as pn

from fnn_jax.explorer.buttons import picture_buttons
from fnn_jax.explorer.comparing import Comparison, Pages, Picture
from fnn_jax.explorer.markdown import fenced, went_wrong
from fnn_jax.explorer.reachable import code_pane

ASK_MS = 250  # between looks at what is drawn and measured
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
        self._comparison, self._stylesheet = comparison, stylesheet
        self._shown: Pages | None = None
        self._rows: list[int] = []  # whose pictures are on the page
        self.is_shown = False  # pages are drawn only where somebody looks
        self.status = pn.pane.Markdown()
        self.facts = pn.pane.HTML()
        self.pages = pn.FlexBox(gap="1rem", align_items="flex-start")
        self._together = pn.FlexBox()
        self._code = code_pane()
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
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self.look, ASK_MS)

    def show(self, is_shown: bool) -> None:
        """Somebody looks, or no longer."""
        self.is_shown = is_shown
        if is_shown:
            self._redraw(None)

    def draw(self) -> None:
        """What is known of the units that are picked now, and their pages as soon as they are drawn."""
        comparison = self._comparison
        rows = comparison.rows if self.is_shown else []
        self._shown = comparison.pages() if rows else None
        self._files.visible = bool(rows)
        self._say()
        self._draw_pages(rows, self._shown)
        if not rows:
            self.facts.object = ""
            return
        facts = comparison.facts()
        lines = [("unit", list(facts)), *((name, list(values)) for name, values in facts.iterrows())]
        self.facts.object = (
            f"<table style='font-size:13px'>{''.join(_line(str(name), values) for name, values in lines)}</table>"
        )

    def _draw_pages(self, rows: list[int], shown: Pages | None) -> None:
        """Pictures of the same units stay until there are newer ones."""
        if shown is None and rows and rows == self._rows:
            return
        self._rows = rows
        if shown is None:
            self._code.object = ""
            self.pages.objects = self._together.objects = []
            return
        names, together = self._comparison.names, shown.together
        self.pages.objects = [self._page(name, each) for name, each in zip(names, shown.pictures, strict=True)]
        self._together.objects = [] if together is None else [self._picture(together, " and ".join(names), WIDE)]
        self._code.object = f"### The same in Python\n\n{fenced(shown.code)}"

    def _page(self, name: str, pictures: list[Picture]) -> Any:
        drawn = [self._picture(each, name) for each in pictures]
        return pn.Column(
            f"### {html.escape(name)}", pn.FlexBox(*drawn), stylesheets=[self._stylesheet], sizing_mode="stretch_width"
        )

    def look(self) -> None:
        """Say how far the work is; show what is new."""
        if self.is_shown and self._comparison.rows and self._comparison.pages() is not self._shown:
            self._redraw(None)
        self._say()

    def _say(self) -> None:
        comparison, work, drawing = self._comparison, self._comparison.work, self._comparison.drawing
        is_left = bool(self._shown is not None and comparison.unmeasured())  # known at once where pages are drawn
        self.button.disabled = work.is_busy or not is_left
        error = work.error or (drawing.error if self._shown is None else "")
        if work.is_busy:
            words = f"Measuring direction tuning of all units of the scan, once: {work.said}"
        elif drawing.is_busy:
            words = f"Drawing: {drawing.said}"
        elif error:
            words = went_wrong(error)
        else:
            words = "" if comparison.rows else HINT
        self.status.param.update(object=words, visible=bool(words))

    def _measure(self) -> None:
        self._comparison.measure()
        self._say()

    def _picture(self, picture: Picture, name: str, width: str = NARROW) -> Any:
        return pn.pane.PNG(
            picture.png,
            alt_text=html.escape(f"{name}: {picture.title}"),
            stylesheets=[self._stylesheet],
            styles={"max-width": width},
            sizing_mode="scale_width",
            min_width=200,
        )


def _line(name: str, values: list[str]) -> str:
    cells = "".join(VALUE.format(value=html.escape(value)) for value in values)
    return ROWS.format(name=html.escape(name).replace("_", "_<wbr>"), values=cells)  # long names may break there
