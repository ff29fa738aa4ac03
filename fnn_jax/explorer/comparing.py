"""The pages of one unit or two: what is known of them, measured of them, and drawn; without widgets, as ``State``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.explorer.background import Work
from fnn_jax.explorer.drawing import file_of
from fnn_jax.explorer.measuring import direction_folder, is_measured, measure_direction
from fnn_jax.explorer.results import IDENTITY, Opened, Panel, Tuned, place_of, unit_name
from fnn_jax.explorer.state import State
from fnn_jax.explorer.unit_figure import MOST, draw_panel, draw_units, played_panel, unit_panels
from fnn_jax.physiology.columns import KNOWN

MEASURED = "measured here"
MOST_DRAWN = 200  # panels that are kept, of some 30 kB


class Comparison:
    """The first units that are picked in a state, at most two.

    Attributes:
        work: direction tuning that is measured in the background.
    """

    def __init__(self, state: State):
        self._state, self._table, self.work = state, state.table, Work()
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

    def panels(self) -> list[list[Panel]]:
        """Of each unit: where it lies, and what was measured of it."""
        results = self.results()
        return [unit_panels(self._table.units, row, results) for row in self.rows]

    def drawn(self, row: int, panel: Panel) -> bytes:
        """A panel of a unit as PNG, drawn once."""
        key = (row, panel.title)
        if key not in self._drawn:
            if len(self._drawn) >= MOST_DRAWN:
                self._drawn.pop(next(iter(self._drawn)))
            self._drawn[key] = file_of(draw_panel(panel), "png")
        return self._drawn[key]

    def together(self) -> Panel | None:
        """Responses to what was played last, one unit over the other; None: it was played to neither."""
        return played_panel(self._table.units, self.rows, self._played())

    def results(self) -> list[Opened]:
        """Folders that were opened, and what was measured of the units' twins, now or before."""
        for number in self._twins():
            if number not in self._measured and is_measured(self._folder(number)):
                self._open(number)
        return [*self._table.results, *(self._measured[number] for number in self._twins() if number in self._measured)]

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
        return file_of(draw_units(self._table.units, self.rows, self.results(), self._played()), kind)

    def code(self) -> str:
        """Lines of Python that make the same figure."""
        results, together = self.results(), self.together() is not None
        lines = ["import numpy as np", "from fnn_jax import stimuli"] if together else []
        names = ["draw_units"]
        names += ["measure_direction"] * any(number in self._measured for number in self._twins())
        names += ["open_result"] * bool(results)
        lines += [f"from fnn_jax.explorer import {', '.join(names)}", self._table.code]
        if together:
            lines += [self._state.playing.result.code.rstrip(), "played = dict(zip(names, responses.T))"]
        opened = ", ".join(result.code for result in results)
        lines.append(f'draw_units(units, {self.rows}, [{opened}]{", played" * together}, path="units.png")')
        return "\n".join(lines) + "\n"

    def _played(self) -> dict[str, np.ndarray]:
        """Responses to what was played last, ``[T]``, by the units' names."""
        result = self._state.playing.result
        return {} if result is None else dict(zip(result.names, result.responses.T, strict=True))

    def _twins(self) -> list[int]:
        """Numbers of the twins of the units, of several with one name the first, to which stimuli are played, too."""
        names = [twin.name for twin in self._table.twins]
        return sorted({names.index(self._table.units["scan"][row]) for row in self.rows}) if names else []

    def _folder(self, number: int) -> Path:
        if number not in self._folders:
            self._folders[number] = direction_folder(self._table.twins[number])
        return self._folders[number]

    def _open(self, number: int) -> None:
        code = f"open_result(measure_direction(twins[{number}]), {MEASURED!r})"
        self._measured[number] = Tuned(self._folder(number), MEASURED, code)


def _text(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
