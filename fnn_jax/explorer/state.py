"""What somebody looks at: it belongs to no page, so that it survives a reload and is tested without a browser."""

from collections.abc import Mapping

import numpy as np

from fnn_jax.explorer.background import Work
from fnn_jax.explorer.drawing import ONE_FIGURE, file_of, map_file
from fnn_jax.explorer.dropping import DroppedFiles
from fnn_jax.explorer.inner import InnerMap, shapes
from fnn_jax.explorer.joining import SOURCE
from fnn_jax.explorer.playing import MOST_UNITS, VIDEO, Behaviour, Listeners, play
from fnn_jax.explorer.results import WEIGHTS, unit_name
from fnn_jax.explorer.selection import Brush, Selection, chosen, selection_code
from fnn_jax.explorer.tables import UnitTable
from fnn_jax.explorer.unit_figure import draw_played
from fnn_jax.explorer.views import (
    TWO_COLUMNS,
    Colors,
    View,
    colors_of,
    first_pair,
    is_kind,
    is_whole,
    measure_of,
    views_of,
)

MOST_KINDS = 20  # of a column that can be a colour or a filter
FIRST = (
    "brain_area",
    "field",
    "scan",
    WEIGHTS,
    SOURCE,
    "session",
    "cc_abs",
    "cc_max",
    "gOSI",
    "OSI",
    "DSI",
    "pref_ori",
    "unit_z",
)
FIRST_FILTERS, FIRST_VIEWS = 5, 2


class State:
    """A table, its maps, what they are coloured by, and which units are chosen.

    Attributes:
        table: what is explored; it does not change.
        views: maps that the table has the columns for, by name; ``TWO_COLUMNS`` is that of ``axes``.
        numbers: names of columns of numbers. axes: two of them, the horizontal one first; None: there are no two.
        columns: names of columns that can be a colour or a filter, the usual ones first.
        color, shown, filtered, selection: what was chosen last: a column, names of two maps, columns that have a
            filter, units.
        picked: rows of the table, in their order, whose responses are wanted; none: the first of those chosen.
        playing: what is computed for the player; its result is what was played last.
        dropped: files that were dropped into the page.
    """

    def __init__(self, table: UnitTable):
        self.table = table
        self.views = {view.name: view for view in views_of(table.units)}
        usable = [name for name in table.units if self._is_usable(name)]
        self.columns = [name for first in FIRST for name in usable if measure_of(name) == first]
        self.columns += [name for name in usable if name not in self.columns]
        self.numbers = [name for name in self.columns if not is_kind(table.units[name])]
        self.axes = first_pair(self.numbers)
        self.color = self.columns[0] if self.columns else None
        self.shown = self._first_views()
        if self.axes is not None:
            self.show_columns(*self.axes)
        self.filtered = self.columns[:FIRST_FILTERS]
        self.selection = Selection()
        self.picked: list[int] = []
        self.playing = Work()
        self.dropped = DroppedFiles()
        self._colors: dict[str, Colors] = {}
        self._inner_shapes: dict[str, tuple[int, ...]] = {}

    def _is_usable(self, name: str) -> bool:
        count = self.table.units[name].nunique()
        return count > 1 and (count <= MOST_KINDS or not is_kind(self.table.units[name]))

    def _first_views(self) -> list[str]:
        """The first map of the cortex and the first of visual space, or what there is."""
        last = [name for name, view in self.views.items() if view.edges]
        return list(dict.fromkeys([*list(self.views)[:1], *last[:1], *self.views]))[:FIRST_VIEWS]

    def show_columns(self, x: str, y: str) -> None:
        """What the map ``TWO_COLUMNS`` shows."""
        self.axes = (x, y)
        self.views[TWO_COLUMNS] = View(f"{y} over {x}", x, y, x, y)

    def colors(self) -> Colors:
        """How the column ``color`` is shown; computed once for each."""
        if self.color is None:
            return Colors(np.zeros(len(self.table.units)), ("unit",), (0, 1), False)
        if self.color not in self._colors:
            self._colors[self.color] = colors_of(self.table.units[self.color])
        return self._colors[self.color]

    def filter_by(self, name: str, value: tuple | list | None) -> None:
        """Two numbers: a range, both ends included. A list: values of a column of kinds. None: no filter."""
        ranges = {key: each for key, each in self.selection.ranges.items() if key != name}
        kinds = {key: each for key, each in self.selection.kinds.items() if key != name}
        if isinstance(value, tuple):
            ranges[name] = value
        elif value:
            kinds[name] = value
        self.selection = self.selection._replace(ranges=ranges, kinds=kinds)

    def brush(self, brush: Brush | None) -> None:
        """Only the units in a shape on a map; None: all of them again."""
        self.selection = self.selection._replace(brush=brush)

    def clear(self) -> None:
        """All units again."""
        self.selection = Selection()

    def extent(self, name: str) -> tuple[float, float]:
        """Least and greatest finite value of a column."""
        values = self.table.units[name].to_numpy(float)
        values = values[np.isfinite(values)]
        return float(values.min()), float(values.max())

    def chosen(self) -> np.ndarray:
        """A truth value for each unit."""
        return chosen(self.table.units, self.selection)

    def listeners(self) -> list[int]:
        """Rows of the units to which a stimulus is played: the first that are picked, or chosen, those of one twin
        together.

        Raises:
            ValueError: no unit is chosen.
        """
        rows = (self.picked or np.flatnonzero(self.chosen()).tolist())[:MOST_UNITS]
        if not rows:
            raise ValueError("No unit is chosen; expected at least one to play to. Take a filter away.")
        numbers = self.table.twin_numbers[rows].tolist()
        return [row for number in dict.fromkeys(numbers) for row in rows if self.table.twin_numbers[row] == number]

    def inner_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each map inside the first twin ``(stream, h, w, channel)``; the first time takes a second."""
        if not self._inner_shapes:
            self._inner_shapes = shapes(self.table.twins[0])
        return self._inner_shapes

    def play(
        self,
        name: str,
        values: Mapping[str, float],
        path: str,
        behaviour: Behaviour,
        inner: InnerMap | None = None,
    ) -> None:
        """Begin to play a stimulus to the ``listeners``, in the background; see ``fnn_jax.explorer.playing.play``.

        Raises:
            ValueError: no unit is chosen. RuntimeError: another one is computed still.
        """
        rows, table, is_dropped = self.listeners(), self.table, name == VIDEO and path in self.dropped
        listeners = []
        for number in dict.fromkeys(table.twin_numbers[rows].tolist()):
            of_twin = [row for row in rows if table.twin_numbers[row] == number]
            units = table.units["readout_id"].loc[of_twin].tolist()
            names = [unit_name(table.units.loc[row]) for row in of_twin]
            listeners.append(Listeners(table.twins[number], units, names, f"twins[{number}]"))
        self.playing.start(lambda say: play(listeners, name, values, path, behaviour, say, inner, is_dropped))

    def played_code(self, frame: int = 0) -> str:
        """Lines of Python that make what was played, and the figure of it at a frame."""
        played = self.playing.result
        inner = "" if played.inner is None else f"inner=inner, inner_label={played.inner_label!r}, "
        return (
            f"import numpy as np\nfrom fnn_jax import stimuli\nfrom fnn_jax.explorer import draw_played\n"
            f"{self.table.twins_code}\n{played.code}"
            f'draw_played(frames, retina, responses, names, {inner}frame={frame}, path="played.png")\n'
        )

    def played_picture(self, kind: str, frame: int) -> bytes:
        """What was played, at a frame, as a file, ``kind``: png, svg or pdf."""
        played = self.playing.result
        inner = {"inner": played.inner, "inner_label": played.inner_label}
        with ONE_FIGURE:
            figure = draw_played(played.frames, played.retina, played.responses, played.names, frame, **inner)
            return file_of(figure, kind)

    def csv(self) -> bytes:
        """The rows of the chosen units."""
        chosen = self.table.units[self.chosen()]
        whole = {name: chosen[name].astype("Int64") for name in chosen if is_whole(chosen[name])}
        return chosen.assign(**whole).to_csv(index=False).encode()

    def picture(self, kind: str) -> bytes:
        """The maps that are shown as a file, ``kind``: png, svg or pdf.

        Raises:
            ValueError: there is no map.
        """
        views = self.maps()
        if not views:
            raise ValueError("There is no map to export: the table has no two columns of numbers.")
        with ONE_FIGURE:
            return map_file(self.table.units, views, self.colors(), self.chosen(), self.color or "", kind)

    def maps(self) -> list[View]:
        """The maps that are shown."""
        return [self.views[name] for name in dict.fromkeys(self.shown)]

    def code(self) -> str:
        """Lines of Python that make the table of the chosen units."""
        return "\n".join(filter(None, [self.table.code, selection_code(self.selection)])) + "\n"
