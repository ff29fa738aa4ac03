"""A protocol: movies, what their intervals show, and how to read units' properties off the responses."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import xarray

from fnn_jax.common.checks import boolean, sequence, shown, text
from fnn_jax.common.rate import HZ
from fnn_jax.physiology.columns import Column, column_of
from fnn_jax.physiology.panels import Panel, checked_panel
from fnn_jax.physiology.result import Measured, Result
from fnn_jax.screen import Screen, Stimulus
from fnn_jax.screen.screen import checked_twins
from fnn_jax.stimuli.display import Display, require_display
from fnn_jax.stimuli.movie import Movie, frame_spans
from fnn_jax.twin.twin import Twin

BURN_IN = 10  # frames; the network's state starts anew with each movie


class Protocol:
    """Stimuli with intervals, ready to be shown; made by the functions of ``fnn_jax.physiology.protocols``.

    >>> result = protocols.direction_tuning(Display.of(twin)).run(twin)
    >>> result.table

    Args:
        name: of the protocol.
        movies: all with the same number of intervals. Their frames are made when they are shown.
        measure: of this protocol and the responses: ``[interval, unit]``, or, with ``every_frame``, an iterator of
            pairs of a movie's frames and their responses ``[T, unit]``.
        every_frame: the responses to all frames are needed.
        panels: what the page of a unit shows; default the array ``curve``, or the responses to the intervals.
        summary: columns of the table that the page of a scan shows, by name where ``Column`` has no more to say;
            default all numbers.
        best_by: the column that is largest for the units of which ``fnn-jax tune`` draws pages; default how much their
            responses differ.

    Raises:
        TypeError, ValueError: an argument is something else; movies have different numbers of intervals, or one that
            begins within the burn-in.
    """

    def __init__(
        self,
        name: str,
        display: Display,
        movies: Sequence[Callable[[], Movie]],
        measure: Callable[["Protocol", Any], Measured],
        *,
        every_frame: bool = False,
        panels: Sequence[Panel] = (),
        summary: Sequence[str | Column] = (),
        best_by: str | None = None,
    ):
        require_display(display)
        self.name, self.display = text("name", name), display
        self._make = sequence("movies", movies, "functions that make movies")
        if not callable(measure):
            raise TypeError(f"measure is {shown(measure)}; expected a function of the protocol and responses.")
        self._measure, self.every_frame = measure, boolean("every_frame", every_frame)
        self.panels = tuple(map(checked_panel, sequence("panels", panels, "panels", empty=True)))
        self.summary = tuple(map(column_of, sequence("summary", summary, "names of columns", empty=True)))
        self.best_by = None if best_by is None else text("best_by", best_by)
        tables, self._frames = [], []
        for number, make in enumerate(self._make):
            movie = make() if callable(make) else None
            if not isinstance(movie, Movie):
                raise TypeError(f"movies has {shown(make)}; expected functions that make movies.")
            self._frames.append(movie.num_frames)
            tables.append(movie.intervals.assign(movie=number, interval=range(len(movie.intervals))))
        counts = {len(table) for table in tables}
        if len(counts) > 1:
            raise ValueError(f"movies have {sorted(counts)} intervals; expected as many in each.")
        self.conditions = pd.concat(tables, ignore_index=True)
        early = (frame_spans(self.conditions)[:, 0] < BURN_IN).any()
        if early and not every_frame:
            raise ValueError(f"movies has an interval within the first {BURN_IN} frames of a movie, the burn-in.")

    def __repr__(self) -> str:
        seconds = self.num_frames / HZ
        return f"Protocol({self.name}: {len(self)} movies, {len(self.conditions)} intervals, {seconds:.4g} s in all)"

    @property
    def num_frames(self) -> int:
        """Of all movies together."""
        return sum(self._frames)

    def __len__(self) -> int:
        return len(self._make)

    def movie(self, number: int) -> Movie:
        """A movie; its frames are made when they are asked for."""
        return self._make[number]()

    def __getitem__(self, number: int) -> Stimulus:
        """A movie as a stimulus of a screen."""
        movie = self.movie(number)
        intervals = None if self.every_frame else frame_spans(movie.intervals).tolist()
        return Stimulus(movie.frames, id=self._id(number), intervals=intervals)

    def run(
        self,
        twins: Twin | Sequence[Twin],
        out: str | os.PathLike | None = None,
        *,
        perspectives: Any = None,
        modulations: Any = None,
        **screen: Any,
    ) -> Result:
        """Show it to a twin, or to the twins of several scans, and measure their units.

        Args:
            out: folder of the screen, ``something.zarr``; killed and called again, it goes on there.
            perspectives, modulations: behaviour, constant ``[2]``, or ``[T, 2]`` for every movie; default zeros.
            screen: other arguments of ``fnn_jax.Screen``: ``batch_size``, ``precision``, ``progress`` ...

        Raises:
            TypeError, ValueError: the display does not fit the twin; and what ``Screen`` raises.
        """
        twins = checked_twins(twins)
        for twin in twins:
            size = (twin.config.stimulus_height, twin.config.stimulus_width)
            if (self.display.height, self.display.width) != size:
                raise ValueError(
                    f"the protocol was made for {self.display.height} x {self.display.width} pixels, and {twin!r} sees "
                    f"{size[0]} x {size[1]}. Make it with Display.of(twin)."
                )
        reduced: dict[str, Any]
        reduced = {} if self.every_frame else {"reduce": "mean", "intervals": frame_spans(self.movie(0).intervals)}
        runner = Screen(twins, **reduced, **screen)
        dataset = runner(self, out, perspectives=perspectives, modulations=modulations)
        return self.measure(dataset, runner.units)

    def measure(self, dataset: xarray.Dataset, units: pd.DataFrame) -> Result:
        """Properties of the units from the dataset of a screen of this protocol.

        Args:
            units: the table of the screen's units, ``Screen.units``, in the order of the dataset.

        Raises:
            ValueError: the dataset is not of this protocol, or of other units, or not finished.
        """
        if dataset.sizes["stimulus"] != len(self) or not (dataset["done"] == 1).all():
            raise ValueError(
                f"the screen holds {int((dataset['done'] == 1).sum())} finished stimuli; expected the {len(self)} "
                "movies of this protocol. Finish it first."
            )
        self._require_own(dataset)
        _require_units(dataset, units)
        responses = None
        if self.every_frame:
            measured = self._measure(self, self._frame_by_frame(dataset))
        else:
            values = dataset["responses"].values  # [movie, interval, unit]
            responses = values.reshape(-1, values.shape[-1])
            measured = self._measure(self, responses)
        table = pd.concat([units.reset_index(drop=True), measured.table.reset_index(drop=True)], axis=1)
        return Result(self, table, self.conditions, responses, measured.arrays, measured.values, dataset)

    def _require_own(self, dataset: xarray.Dataset) -> None:
        """Raise ``ValueError`` where movies, their frames or their intervals are not those of this protocol."""
        shape = ("time",) if self.every_frame else ("interval",)
        found = dataset["responses"].dims[1:-1]
        if found != shape:
            raise ValueError(
                f"the screen holds responses over {', '.join(map(str, found)) or 'nothing'}; expected them over "
                f"{shape[0]}, as {self!r} is shown. Show it by its method run."
            )
        wanted: dict[str, Any] = {"stimulus": [self._id(number) for number in range(len(self))], "frames": self._frames}
        if not self.every_frame:
            wanted["interval"] = [*range(len(self.conditions) // len(self))]
        for name, values in wanted.items():
            there = range(dataset.sizes[name]) if name == "interval" else dataset[name].values
            if [*map(str, there)] != [*map(str, values)]:
                raise ValueError(
                    f"the screen is of another protocol than {self!r}: of its movies, {name} is {shown([*there])}; "
                    f"expected {shown(values)}. Measure it with the protocol that it is of."
                )

    def _id(self, number: int) -> str:
        return f"{self.name} {number}"

    def _frame_by_frame(self, dataset: xarray.Dataset):
        for number in range(len(self)):
            movie = self.movie(number)
            yield movie.frames, dataset["responses"][number, : movie.num_frames].values


def _require_units(dataset: xarray.Dataset, units: pd.DataFrame) -> None:
    if len(units) != dataset.sizes["unit"]:
        raise ValueError(
            f"units has {len(units)} rows, and the screen {dataset.sizes['unit']} units; expected as many."
        )
    for name in ("scan", "readout_id"):
        if name not in dataset.coords or name not in units:
            continue
        pairs = zip(map(str, dataset[name].values), map(str, units[name]), strict=True)
        different = [row for row, (there, here) in enumerate(pairs) if there != here]
        if different:
            row = different[0]
            raise ValueError(
                f"units has the {name} {units[name].iloc[row]} in row {row}, and the screen "
                f"{dataset[name].values[row]}; expected the units of the screen, in its order."
            )
