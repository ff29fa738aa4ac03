"""The pages of one unit or two: what is known of them, measured of them, and drawn; without widgets, as ``State``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fnn_jax.common.figures import MIDDLE, SINGLE
from fnn_jax.explorer.background import Work
from fnn_jax.explorer.drawing import ONE_FIGURE, file_of
from fnn_jax.explorer.measuring import direction_folder, discard, is_measured, measure_direction
from fnn_jax.explorer.results import IDENTITY, WEIGHTS, Opened, Panel, Tuned, place_of, unit_name, whole
from fnn_jax.explorer.state import State
from fnn_jax.explorer.unit_figure import MOST, draw_panel, draw_units, played_panel, unit_panels
from fnn_jax.physiology.columns import KNOWN

MEASURED = "measured here"
MOST_DRAWN = 200  # panels that are kept, of some 30 kB


class Picture(NamedTuple):
    """A panel as PNG."""

    title: str
    png: bytes


class Pages(NamedTuple):
    """What is drawn of units: ``pictures`` of each, and one of both ``together``. ``code``: lines of Python that make
    the same figure. ``drawn_of``: what it depends on."""

    pictures: list[list[Picture]]
    together: Picture | None
    code: str
    drawn_of: tuple


class Comparison:
    """The first units that are picked in a state, at most two.

    Attributes:
        work: direction tuning that is measured in the background. drawing: pages that are drawn there.
    """

    def __init__(self, state: State):
        self._state, self._table, self.work, self.drawing = state, state.table, Work(), Work()
        self._begun: tuple = ()
        self._folders: dict[int, Path] = {}
        self._measured: dict[int, Tuned] = {}
        self._drawn: dict[tuple[int, str], bytes] = {}

    @property
    def rows(self) -> list[int]:
        """Of the table."""
        return self._state.picked[:MOST]

    @property
    def names(self) -> list[str]:
        """Of the units."""
        return [unit_name(self._table.units.loc[row]) for row in self.rows]

    def facts(self) -> pd.DataFrame:
        """What is known in numbers and words: a row for each column of the table, and for what was measured besides;
        a column for each unit.
        """
        units = [self._table.units.loc[row] for row in self.rows]
        columns = [name for name in IDENTITY if name in self._table.units]
        columns += [name for name in self._table.units if name not in columns]
        facts = {name: [_text(unit[name]) for unit in units] for name in columns}
        for measured in (self._measured[number] for number in self._twins() if number in self._measured):
            for name in (name for name in KNOWN if name in measured.units):
                places = [place_of(unit, measured.units) for unit in units]
                values = ["" if place is None else _text(measured.units[name].iloc[place]) for place in places]
                before = facts.get(f"measured {name}", [""] * len(units))
                facts[f"measured {name}"] = [new or old for new, old in zip(values, before, strict=True)]
        known = {name: values for name, values in facts.items() if any(values)}
        return pd.DataFrame.from_dict(known, orient="index", columns=self.names)

    def panels(self, rows: Sequence[int] | None = None) -> list[list[Panel]]:
        """Of each unit: where it lies, and what was measured of it. ``rows``: default those that are picked."""
        rows = self.rows if rows is None else rows
        results = self.results(rows)
        return [unit_panels(self._table.units, row, results) for row in rows]

    def pages(self) -> Pages | None:
        """The pages of the units, as drawn; None: not yet. Then drawing begins in the background, unless it has failed
        for these.
        """
        wanted, drawn = self._drawn_of(), self.drawing.result
        if drawn is not None and drawn.drawn_of == wanted:
            return drawn
        if not self.drawing.is_busy and self._begun != wanted:
            self.drawing.start(self._draw)
        return None

    def _drawn_of(self) -> tuple:
        return (*self.rows, self._state.playing.finished, self.work.finished)

    def _draw(self, say: Callable[[str], None]) -> Pages:
        """Of the units that are wanted in the end: others may be picked while these are drawn."""
        while True:
            self._begun, rows = self._drawn_of(), self.rows
            panels, together, code = self.panels(rows), self.together(rows), self.code(rows)
            count, number = sum(map(len, panels)) + (together is not None), 0
            pictures: list[list[Picture]] = [[] for _ in panels]
            for row, of_unit, into in zip(rows, panels, pictures, strict=True):
                for panel in of_unit:
                    if self._begun == self._drawn_of():
                        say(f"{number} of {count} pictures")
                        into.append(Picture(panel.title, self._picture_of(row, panel)))
                        number += 1
            both = None if together is None else Picture(together.title, _png(together, MIDDLE))
            if self._begun == self._drawn_of():
                return Pages(pictures, both, code, self._begun)

    def _picture_of(self, row: int, panel: Panel) -> bytes:
        """Drawn once."""
        key = (row, panel.title)
        if key not in self._drawn:
            if len(self._drawn) >= MOST_DRAWN:
                self._drawn.pop(next(iter(self._drawn)))
            self._drawn[key] = _png(panel)
        return self._drawn[key]

    def together(self, rows: Sequence[int] | None = None) -> Panel | None:
        """Responses to what was played last, one unit over the other; None: it was played to neither."""
        return played_panel(self._table.units, self.rows if rows is None else rows, self._played())

    def results(self, rows: Sequence[int] | None = None) -> list[Opened]:
        """Folders that were opened, and what was measured of the units' twins, now or before; damaged, it is left out,
        and can be measured again.
        """
        numbers = self._twins(rows)
        for number in numbers:
            if number not in self._measured and is_measured(self._folder(number)):
                try:
                    self._open(number)
                except ValueError:
                    discard(self._folder(number))
        return [*self._table.results, *(self._measured[number] for number in numbers if number in self._measured)]

    def unmeasured(self) -> list[int]:
        """Numbers of the units' twins whose direction tuning is not known."""
        self.results()
        return [number for number in self._twins() if number not in self._measured]

    def measure(self) -> None:
        """Begin to measure the direction tuning of the ``unmeasured`` twins, in the background; it is kept.

        Raises:
            RuntimeError: something is measured already.
        """
        numbers = self.unmeasured()

        def act(say: Callable[[str], None]) -> None:
            for number in numbers:
                measure_direction(self._table.twins[number], say=say)
                self._open(number)

        self.work.start(act)

    def picture(self, kind: str) -> bytes:
        """All of it as a file, ``kind``: png, svg or pdf.

        Raises:
            ValueError: no unit is picked.
        """
        with ONE_FIGURE:
            return file_of(draw_units(self._table.units, self.rows, self.results(), self._played()), kind)

    def code(self, rows: Sequence[int] | None = None) -> str:
        """Lines of Python that make the same figure."""
        rows = self.rows if rows is None else list(rows)
        results, together = self.results(rows), self.together(rows) is not None
        lines = ["import numpy as np", "from fnn_jax import stimuli"] if together else []
        names = ["draw_units"]
        names += ["measure_direction"] * any(number in self._measured for number in self._twins(rows))
        names += ["open_result"] * bool(results)
        lines += [f"from fnn_jax.explorer import {', '.join(names)}", self._table.code]
        if together:
            lines += [self._state.playing.result.code.rstrip(), "played = dict(zip(names, responses.T))"]
        opened = ", ".join(result.code for result in results)
        lines.append(f'draw_units(units, {rows}, [{opened}]{", played" * together}, path="units.png")')
        return "\n".join(lines) + "\n"

    def _played(self) -> dict[str, np.ndarray]:
        """Responses to what was played last, ``[T]``, by the units' names."""
        result = self._state.playing.result
        return {} if result is None else dict(zip(result.names, result.responses.T, strict=True))

    def _twins(self, rows: Sequence[int] | None = None) -> list[int]:
        """Numbers of the twins of the units."""
        rows = self.rows if rows is None else rows
        return sorted(set(self._table.twin_numbers[list(rows)].tolist())) if self._table.twins else []

    def _folder(self, number: int) -> Path:
        if number not in self._folders:
            self._folders[number] = direction_folder(self._table.twins[number])
        return self._folders[number]

    def _open(self, number: int) -> None:
        weights = self._weights(number)
        of_weights = "" if weights is None else f", {WEIGHTS}={weights!r}"
        code = f"open_result(measure_direction(twins[{number}]), {MEASURED!r}{of_weights})"
        self._measured[number] = Tuned(self._folder(number), MEASURED, code, weights)

    def _weights(self, number: int) -> str | None:
        """What the weights of a twin are called; None: there is one kind."""
        if WEIGHTS not in self._table.units:
            return None
        return str(self._table.units[WEIGHTS][int(np.argmax(self._table.twin_numbers == number))])


def _png(panel: Panel, width: float = SINGLE) -> bytes:
    with ONE_FIGURE:
        return file_of(draw_panel(panel, width), "png")


def _text(value: Any) -> str:
    if pd.isna(value):
        return ""
    value = whole(value)  # such as the number of an animal
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
