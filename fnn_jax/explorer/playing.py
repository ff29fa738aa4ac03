"""A stimulus that is played to some units of a twin: what there is to choose from, and what is seen and answered."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fnn_jax import stimuli
from fnn_jax.explorer.inner import InnerMap
from fnn_jax.stimuli.movie import as_levels
from fnn_jax.twin.twin import Twin

MOST_FRAMES, MOST_UNITS = 150, 6  # that are played; as many units as colours can be told apart
VIDEO = "video, image or array"


class Parameter(NamedTuple):
    """A number that a slider sets: the keyword of a function of ``fnn_jax.stimuli``, which may want a list of it."""

    keyword: str
    label: str
    low: float
    high: float
    step: float
    value: float
    is_list: bool = False


class Choice(NamedTuple):
    """``function`` of ``fnn_jax.stimuli``, which makes a movie; ``fixed``: keywords that no slider sets."""

    function: str
    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Any] = {}


DIRECTION = Parameter("direction", "direction (deg)", 0, 345, 15, 0)
DIRECTIONS = DIRECTION._replace(keyword="directions", is_list=True)
CONTRAST = Parameter("contrast", "contrast", 0, 1, 0.05, 1)
DURATION = Parameter("duration_s", "duration (s)", 0.5, 5, 0.5, 2)
ON = DURATION._replace(keyword="on_s")
CHOICES = {
    "drifting grating": Choice(
        "gratings",
        (
            DIRECTIONS,
            Parameter("spatial_frequencies", "spatial frequency (cycles/deg)", 0.01, 0.3, 0.01, 0.04, True),
            Parameter("temporal_frequencies", "temporal frequency (Hz)", 0, 8, 0.5, 2, True),
            CONTRAST._replace(keyword="contrasts", is_list=True),
            ON,
        ),
        {"off_s": 0.5},
    ),
    "moving bar": Choice(
        "moving_bars",
        (
            DIRECTIONS,
            Parameter("width", "width (deg)", 2, 40, 1, 10),
            Parameter("speed", "speed (deg/s)", 10, 120, 5, 60),
            Parameter("contrast", "contrast", -1, 1, 0.1, 1),
        ),
        {"off_s": 0.5},
    ),
    "moving dots": Choice(
        "dot_kinematogram",
        (
            DIRECTION,
            Parameter("speed", "speed (deg/s)", 5, 100, 5, 30),
            Parameter("coherence", "coherence", 0, 1, 0.1, 1),
            Parameter("diameter", "diameter (deg)", 1, 20, 1, 6),
            DURATION,
        ),
    ),
    "flash": Choice("flashes", (Parameter("levels", "level", 0, 1, 0.05, 1, True), ON), {"off_s": 0.5}),
    "looming disc": Choice(
        "looming_discs", (Parameter("ratios_s", "size / speed (s)", 0.02, 0.16, 0.02, 0.08, True),), {"off_s": 0.5}
    ),
    "Monet2": Choice("monet2", (DIRECTIONS, Parameter("speed", "speed (monitors/s)", 0.05, 0.5, 0.05, 0.25), DURATION)),
    "white noise": Choice("white_noise", (Parameter("check", "check (deg)", 1, 20, 1, 8), CONTRAST, DURATION)),
    "pink noise": Choice(
        "pink_noise", (Parameter("contrast", "contrast", 0.05, 0.5, 0.05, 0.2), DURATION), {"seed": 0}
    ),
}


class Behaviour(NamedTuple):
    """Constant, z-scored: pupil position (x, y), pupil radius, treadmill velocity."""

    eye_x: float = 0.0
    eye_y: float = 0.0
    pupil: float = 0.0
    running: float = 0.0


class Listeners(NamedTuple):
    """Units of a twin.

    ``units``: ``readout_id`` of each. ``names``: what they are called. ``code``: the expression that makes the twin.
    """

    twin: Twin
    units: Sequence[int]
    names: Sequence[str]
    code: str


class Played(NamedTuple):
    """What was played.

    ``frames``: of the monitor, uint8 ``[T, H, W]``. ``retina``: the image there, uint8 ``[T, h, w]``, its least and
    largest value black and white. ``responses``: ``[T, unit]``. ``names``: of the units. ``code``: lines of Python that
    make ``frames``, ``retina``, ``responses`` and ``names`` of the list ``twins``, with ``numpy`` and ``stimuli``
    imported. ``remark``: what was left out. ``inner``: a map inside the network, ``[T, h, w]``; None: none was asked
    for. ``inner_label``: what its numbers are.
    """

    frames: np.ndarray
    retina: np.ndarray
    responses: np.ndarray
    names: tuple[str, ...]
    code: str
    remark: str
    inner: np.ndarray | None = None
    inner_label: str = ""

    def csv(self) -> bytes:
        """A row for each frame, a column for each unit."""
        table = pd.DataFrame(self.responses, columns=list(self.names)).rename_axis("frame")
        return table.to_csv().encode()

    def inner_file(self) -> bytes:
        """The inner map as ``.npy``."""
        file = io.BytesIO()
        np.save(file, np.asarray(self.inner))
        return file.getvalue()


def movie_code(name: str, values: Mapping[str, float], path: str = "") -> str:
    """The expression that makes the movie of a choice; ``values`` by keyword, ``path`` of a ``VIDEO``."""
    if name == VIDEO:
        return f"stimuli.video(display, {path!r})"
    return f"stimuli.{CHOICES[name].function}(display, " + (
        ", ".join(f"{key}={value!r}" for key, value in _keywords(name, values).items()) + ")"
    )


def _keywords(name: str, values: Mapping[str, float]) -> dict[str, Any]:
    choice = CHOICES[name]
    chosen = {each.keyword: values.get(each.keyword, each.value) for each in choice.parameters}
    lists = {each.keyword for each in choice.parameters if each.is_list}
    return {key: [value] if key in lists else value for key, value in chosen.items()} | dict(choice.fixed)


def play(
    listeners: Sequence[Listeners],
    name: str,
    values: Mapping[str, float],
    path: str,
    behaviour: Behaviour,
    say: Callable[[str], None],
    inner: InnerMap | None = None,
    is_dropped: bool = False,
) -> Played:
    """Play a stimulus, the first ``MOST_FRAMES`` frames of it, to units of twins.

    All see the same frames, those that the first twin's monitor has; its are also the retinal image and the inner map.

    Args:
        listeners: at most ``MOST_UNITS`` units in all, each twin once.
        name: of ``CHOICES``, or ``VIDEO``. values: of its parameters, by keyword. path: of a video.
        say: is told how far it is. inner: a map inside the network that is kept, too. is_dropped: the path is that of a
            copy, and the lines of Python say its name alone.

    Raises:
        ValueError: no unit, or too many; no such map; twins whose monitors have other sizes; or the stimulus refuses
            its parameters.
        FileNotFoundError: at ``path``.
    """
    path = path.strip()
    count = sum(len(each.units) for each in listeners)
    if not 1 <= count <= MOST_UNITS:
        raise ValueError(f"{count} units are chosen; expected 1 to {MOST_UNITS}.")
    if name == VIDEO and not path:
        raise ValueError("No path is given; expected that of a video, an image or an array on this computer.")
    twin = listeners[0].twin
    sizes = {(each.twin.config.stimulus_height, each.twin.config.stimulus_width) for each in listeners}
    if len(sizes) > 1:
        raise ValueError(f"The units' twins have monitors of {len(sizes)} sizes; expected units of one kind of twin.")
    if inner is not None:
        inner.check(twin)
    say("the stimulus is drawn")
    display = stimuli.Display.of(twin)
    if name == VIDEO:
        movie = stimuli.video(display, path)
    else:
        movie = getattr(stimuli, CHOICES[name].function)(display, **_keywords(name, values))
    frames = as_levels(movie.frames[:MOST_FRAMES])
    more = movie.num_frames - len(frames)
    eye, body = (np.tile(np.array(pair, np.float32), (len(frames), 1)) for pair in (behaviour[:2], behaviour[2:]))
    say(f"0 of {len(frames)} frames; compiling, which takes seconds to minutes, once for each inner map")
    responses, retina, maps = [], [], []
    names = ["retina"] if inner is None else ["retina", inner.name]
    for number, (each, units, _, _) in enumerate(listeners):
        answers = []
        for where, output in _with_others(each, units).chunks(frames, names, eye, body):
            length = where.stop - where.start
            answers.append(np.asarray(output.responses)[:length, 0, : len(units)])
            if number == 0:
                retina.append(np.asarray(output.features["retina"])[:length, 0, ..., 0])
                if inner is not None:  # one number of each place is kept, and not those of all streams and channels
                    maps.append(inner.read(output.features[inner.name][:length, 0]))
            of_twins = f", twin {number + 1} of {len(listeners)}" if len(listeners) > 1 else ""
            say(f"{where.stop} of {len(frames)} frames{of_twins}")
        responses.append(np.concatenate(answers))
    unit_names = tuple(name for each in listeners for name in each.names)
    heard = ", ".join(f"({each.code}, {[int(unit) for unit in each.units]})" for each in listeners)
    shown = Path(path).name if is_dropped else path
    lines = [
        f"listeners = [{heard}]",
        f"display = stimuli.Display.of({listeners[0].code})",
        *([f"# {shown!r} was dropped into the page: say where it lies."] if is_dropped else []),
        f"frames = stimuli.as_levels({movie_code(name, values, shown)}.frames[:{MOST_FRAMES}])",
        f"perspectives = np.tile([{behaviour.eye_x}, {behaviour.eye_y}], (len(frames), 1))",
        f"modulations = np.tile([{behaviour.pupil}, {behaviour.running}], (len(frames), 1))",
        "played = [twin.select(units).predict(frames, perspectives, modulations) for twin, units in listeners]",
        "responses = np.concatenate(played, axis=1)",
        f"inside = {listeners[0].code}.features(frames, {names}, perspectives, modulations)",
        'retina = inside["retina"][..., 0]',
        *([] if inner is None else [f"inner = {inner.code}"]),
        f"names = {list(unit_names)}",
    ]
    remarks = [f"the last {more} frames of the stimulus are left out"] if more else []
    if len(listeners) > 1:
        whose = "the retinal image is that" if inner is None else "retinal image and inner map are those"
        remarks.append(f"units of {len(listeners)} twins, of which {whose} of the first, {unit_names[0]}")
    return Played(
        frames,
        _gray(np.concatenate(retina)),
        np.concatenate(responses, axis=1),
        unit_names,
        "\n".join(lines) + "\n",
        "; ".join(remarks),
        None if inner is None else np.concatenate(maps),
        "" if inner is None else inner.label,
    )


def _with_others(twin: Twin, units: Sequence[int]) -> Twin:
    """These units first, and as many others that it is always the same program, which is compiled once."""
    others = [int(unit) for unit in twin.units.index[: 2 * MOST_UNITS] if int(unit) not in units]
    return twin.select([*units, *others[: MOST_UNITS - len(units)]])


def _gray(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return np.round(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8)
