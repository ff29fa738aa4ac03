"""What is on disk of single units: curves, fields and synthesised stimuli, as panels of figures."""

import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fnn_jax.common.arrays import header_read, load_members, load_row, member_names
from fnn_jax.common.checks import path as checked_path
from fnn_jax.common.drawing import draw_frames, draw_traces
from fnn_jax.common.figures import RESPONSES, color_bar, style
from fnn_jax.physiology.field_panels import draw_receptive_field
from fnn_jax.physiology.panels import RESPONSE, draw_polar_tuning, draw_tuning_curve
from fnn_jax.physiology.result import ARRAYS, CONDITIONS, DISPLAY, UNITS, require_whole
from fnn_jax.physiology.von_mises import PARAMETERS, von_mises_curve
from fnn_jax.stimuli.display import Display
from fnn_jax.synthesis.result import RECORD, Synthesis

NUMBERS = ("readout_id", "unit_id")
WEIGHTS = "weights"  # what the weights of a unit's twin are called, where there are several for one scan
IDENTITY = (WEIGHTS, "scan", "session", "scan_idx", *NUMBERS)
TARGET = "target"  # what the table of a synthesis calls a unit
HEIGHT, FLAT = 62, 30  # millimetres: of a panel, and of a strip of frames


class Panel(NamedTuple):
    """``draw(ax)``, axes of matplotlib, polar ones where ``is_polar`` is True. ``height``: in millimetres."""

    title: str
    draw: Callable[[Any], Any]
    is_polar: bool = False
    height: float = HEIGHT


def unit_name(unit: pd.Series) -> str:
    """What a row of a table of units is called."""
    known = {name: whole(unit[name]) for name in (*IDENTITY, TARGET) if name in unit and not pd.isna(unit[name])}
    scan = known.get("scan") or (f"{known['session']}-{known['scan_idx']}" if "scan_idx" in known else "")
    of_weights = f", {known[WEIGHTS]}" if WEIGHTS in known else ""
    for name, word in (("readout_id", "readout"), ("unit_id", "unit"), (TARGET, "target")):
        if name in known:
            return f"{scan} {word} {known[name]}{of_weights}".strip()
    return f"{scan} row {unit.name}{of_weights}".strip()


def whole(value: Any) -> Any:
    """Numbers of units come as floats where a column has gaps."""
    return int(value) if isinstance(value, float | np.floating) and float(value).is_integer() else value


def place_of(unit: pd.Series, units: pd.DataFrame) -> int | None:
    """The row of a table that is about a unit, by all columns of ``IDENTITY`` that both have; None: there is none."""
    # What a row does not have, others in its table do: that of a synthesis has a target beside an empty readout_id.
    one, all_of_them = identity(unit.dropna().to_frame().T), identity(units)
    shared = [name for name in one if name in all_of_them]
    if not set(shared) & set(NUMBERS):
        return None
    same = np.logical_and.reduce([all_of_them[name].to_numpy() == one[name].iloc[0] for name in shared])
    return int(np.argmax(same)) if same.any() else None


def identity(units: pd.DataFrame) -> pd.DataFrame:
    """Which units the rows of a table are about, as text: what it has of ``IDENTITY``, or says in other words."""
    found = {name: units[name].convert_dtypes().astype(str) for name in IDENTITY if name in units}
    if "scan" not in found and {"session", "scan_idx"} <= set(found):
        found["scan"] = found["session"] + "-" + found["scan_idx"]
    if "readout_id" not in found and TARGET in units:
        found["readout_id"] = units[TARGET].convert_dtypes().astype(str)
    return pd.DataFrame(found, index=units.index)


class Tuned:
    """A folder that ``fnn-jax tune`` or ``Result.save`` wrote.

    Attributes:
        name: what panels call it. code: the expression that makes it. units: its table, a row for each unit.

    Raises:
        ValueError: a file of it is damaged, missing, or of another result.
    """

    def __init__(self, path: Path, name: str, code: str, weights: str | None = None):
        self.path, self.name, self.code = path, name, code
        try:
            require_whole(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"results has a folder with a file missing or damaged: {error}") from error
        try:
            self.units = _of_weights(pd.read_parquet(path / UNITS), weights)
            self._names = member_names(path / ARRAYS)
            whole = [each for each in self._names if each == "curve" or each.startswith("axis/")]
            self._arrays = header_read(lambda: load_members(path / ARRAYS, whole))  # fields may not fit into memory
            self._display = Display.of_record(json.loads((path / DISPLAY).read_text(encoding="utf-8")))
        except Exception as error:  # pandas, zipfile, zlib and NumPy raise many kinds
            raise ValueError(
                f"results has {str(path)!r}, of which a file cannot be read ({error}). Measure it again in a new "
                "folder."
            ) from error

    def panels(self, unit: pd.Series) -> list[Panel]:
        """What it says of a unit; nothing where it does not know it."""
        place = place_of(unit, self.units)
        if place is None:
            return []
        found = [self._curve_panel(place)] if "curve" in self._arrays else []
        names = [name for name in self._names if name in ("on", "off", "field")]
        return found + [Panel(self._title(name), functools.partial(self._draw_field, name, place)) for name in names]

    def _title(self, what: str) -> str:
        return what if what == self.name else f"{what}, {self.name}"

    def _curve_panel(self, place: int) -> Panel:
        axes = {key.removeprefix("axis/"): each for key, each in self._arrays.items() if key.startswith("axis/")}
        curve = self._arrays["curve"][..., place]
        title = self._title(" and ".join(axes).replace("_", " ") or "curve")
        if list(axes) == ["direction"]:
            fitted = self._fitted(self.units.iloc[place])
            draw = functools.partial(draw_polar_tuning, directions=axes["direction"], responses=curve, fitted=fitted)
            return Panel(title, draw, is_polar=True)
        if curve.ndim == 2:
            return Panel(title, functools.partial(_draw_plane, axes=axes, curve=curve))
        name, values = next(iter(axes.items()), ("condition", np.arange(len(curve))))
        label = name.replace("_", " ")
        return Panel(title, functools.partial(draw_tuning_curve, values=values, responses=curve, label=label))

    @staticmethod
    def _fitted(row: pd.Series) -> Callable[[Any], np.ndarray] | None:
        if not set(PARAMETERS) <= set(row.index) or not np.isfinite(row["mu"]):
            return None
        parameters = row[[*PARAMETERS]].astype(float)
        return lambda directions: von_mises_curve(directions, *parameters)

    def _draw_field(self, name: str, place: int, ax: Any) -> None:
        field = load_row(self.path / ARRAYS, name, place)
        size = 1
        if field.ndim == 3:  # of noise: one for each lag, in checks
            field = field[int(self.units["best_lag"].iloc[place])]
            size = int(pd.read_csv(self.path / CONDITIONS)["check_px"].iloc[0])
        draw_receptive_field(ax, field, self._display.in_blocks(size), RESPONSE if size == 1 else "weighted level")


class Synthesized:
    """A folder that ``fnn-jax synthesize`` wrote; attributes as of ``Tuned``.

    Raises:
        SynthesisError: it is damaged, or not finished.
    """

    def __init__(self, path: Path, name: str, code: str, weights: str | None = None):
        self.name, self.code = name, code
        self._found = Synthesis.load(path)
        scan = self._found.record["twin"].rsplit(" ", 1)[0]
        units = self._found.table.rename(columns={TARGET: "readout_id"}).assign(scan=scan)
        self.units = _of_weights(units, weights)

    def panels(self, unit: pd.Series) -> list[Panel]:
        """The stimulus, and the responses to it; nothing of a unit that is no target."""
        place = place_of(unit, self.units)
        if place is None:
            return []
        found = self._found
        frames = functools.partial(draw_frames, frames=found.frames[place, 0], num_frames=3)
        return [
            Panel(f"stimulus, {self.name}", frames, height=FLAT),
            Panel(f"responses to it, {self.name}", functools.partial(self._draw_responses, place)),
        ]

    def _draw_responses(self, place: int, ax: Any) -> None:
        found = self._found
        burn_in = np.full(found.record["burn_in"], np.nan)
        both = [array[place, 0].mean((1, 2)) for array in (found.start_responses, found.responses)]
        traces = np.stack([np.concatenate([burn_in, each]) for each in both], axis=1)
        draw_traces(ax, traces, ["at the start", "at the end"])


Opened = Tuned | Synthesized


def open_result(path: str | os.PathLike, name: str | None = None, weights: str | None = None) -> Opened | None:
    """What a folder holds of single units; None: it is a table, or another thing without any.

    Args:
        path: of a folder of ``fnn-jax tune`` or ``fnn-jax synthesize``. name: what panels call it; default: the
            folder's. weights: what the column ``weights`` calls those that it was made with, where a table has units
            of several; default: it is about all of them.

    Raises:
        ValueError: it is damaged.
    """
    folder = checked_path("path", path).expanduser()
    more = ("" if name is None else f", {name!r}") + ("" if weights is None else f", weights={weights!r}")
    code = f"open_result({str(path)!r}{more})"
    if (folder / RECORD).exists():
        return Synthesized(folder, name or folder.name, code, weights)
    if (folder / ARRAYS).exists() and (folder / UNITS).exists():
        return Tuned(folder, name or folder.name, code, weights)
    return None


def _of_weights(units: pd.DataFrame, weights: str | None) -> pd.DataFrame:
    return units if weights is None else units.assign(**{WEIGHTS: weights})


def _draw_plane(ax: Any, axes: dict[str, np.ndarray], curve: np.ndarray) -> None:
    """Responses to two things that were changed together."""
    (first, across), (second, up) = ((name, np.unique(values)) for name, values in axes.items())
    image = ax.imshow(curve.T, origin="lower", cmap=RESPONSES, aspect="auto", vmin=0)
    ax.set_xticks(range(len(across)), [f"{value:g}" for value in across])
    ax.set_yticks(range(len(up)), [f"{value:g}" for value in up])
    ax.set(xlabel=first.replace("_", " "), ylabel=second.replace("_", " "))
    color_bar(ax, image, RESPONSE)
    style(ax)


def panels_of(unit: pd.Series, results: Sequence[Opened]) -> list[Panel]:
    """What all results say of a unit."""
    return [panel for result in results for panel in result.panels(unit)]
