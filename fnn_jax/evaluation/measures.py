"""A twin beside recordings of repeated presentations, video by video, on all devices."""

import dataclasses
import functools
import hashlib
import io
import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.checks import boolean, integer
from fnn_jax.common.files import file_digest, refuse_existing, whole_directory
from fnn_jax.common.progress import Bar, checked_progress, progress_bar
from fnn_jax.common.records import read_record, write_record
from fnn_jax.data.evaluation import EvaluationData, Repeat
from fnn_jax.evaluation import figures, report
from fnn_jax.evaluation.metrics import format_responses
from fnn_jax.evaluation.statistics import Statistics
from fnn_jax.screen import Screen, Stimulus
from fnn_jax.twin import sizes
from fnn_jax.twin.twin import Twin
from fnn_jax.version import __version__
from fnn_jax.weights.units import KEY

MEASURES = ("cc_abs", "cc_max", "cc_norm", "feve", "fev", "single_trial", "oracle")
FILES = ("units.csv", "videos.csv", "settings.json", "summary.png", "summary.pdf", "report.html")
TABLES, SETTINGS = ("units.csv", "videos.csv"), "settings.json"
REMEDY = "Evaluate again, with the same twin and data, and overwrite the folder."
LEAST_FEV = 0.15  # a usual criterion: below it feve divides by what is nearly nothing
BURN_IN = 10  # frames; the network's state starts anew with each video


class EvaluationError(ValueError):
    """A folder that does not hold an evaluation, or a damaged one; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` finds.

    Attributes:
        table: a row for each unit, by ``readout_id``: ``cc_abs, cc_max, cc_norm, feve, fev, single_trial, oracle``, and
            ``num_frames, num_repeats`` (their mean) that they are from; ``animal_id, session, scan_idx, unit_id``
            first, where the twin's table has them. NaN is what is not defined.
        per_video: the same measures of each video alone, a row for each video and unit.
        settings: what was evaluated and how; JSON can hold it.
        statistics: of all videos; those of several evaluations of the same units, of other videos, add up.
            None: they were loaded from a folder, which does not hold them.
    """

    table: pd.DataFrame
    per_video: pd.DataFrame
    settings: dict[str, Any]
    statistics: Statistics | None

    def __repr__(self) -> str:
        medians = ", ".join(f"{name} {value:.3f}" for name, value in self.medians().items())
        return f"Evaluation({self.settings['twin']}, {len(self.table)} units; medians: {medians})"

    def medians(self) -> pd.Series:
        """Median of each measure over the units for which it is defined."""
        return self.table[list(MEASURES)].median()

    def explainable(self) -> pd.Series:
        """Which units have ``fev`` above 0.15, so that ``feve`` says something of them; a row for each unit."""
        return self.table["fev"] > LEAST_FEV

    def remarks(self) -> list[str]:
        """Sentences about measures that mean little for some units, and what to read instead; empty where none do."""
        table, kept, remarks = self.table, self.explainable(), []
        few = int((table["feve"].notna() & ~kept).sum())
        if few:
            there = f"feve of the {kept.sum()} above: median {table.loc[kept, 'feve'].median():.3f}"
            remarks.append(
                f"feve means nothing for {few} of {len(table)} units: fev, what is explainable of their responses, is "
                f"{LEAST_FEV} or less; {there if kept.any() else 'no unit is left'}"
            )
        few_repeats = (
            f"as happens with few repeats or frames ({table['num_repeats'].median():.3g} and "
            f"{table['num_frames'].median():.0f} here); compare cc_abs, which does without"
        )
        if high := int((kept & (table["feve"] > 1)).sum()):
            remarks.append(
                f"feve is above 1 for {high} of the {kept.sum()} units with fev above {LEAST_FEV}: their noise is "
                f"estimated too high, {few_repeats}"
            )
        if high := int((table["cc_norm"] > 1).sum()):
            remarks.append(
                f"cc_norm is above 1 for {high} of {len(table)} units: their cc_max is estimated too low, {few_repeats}"
            )
        return remarks

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Write a folder: ``units.csv``, ``videos.csv`` (each video and unit), ``settings.json``, ``summary.png``
        and ``.pdf``, ``report.html`` with all of it. The settings hold the SHA-256 of both tables, and their own, which
        ``load`` compares.

        Raises:
            FileExistsError: something is at ``path``, and ``overwrite`` is not set, or it is no folder of results.
        """
        path = check_output(path, overwrite)
        settings = self.settings
        behaviour = "own behaviour of each repeat" if settings["behaviour"] else "without behaviour"
        title = f"{settings['twin']}: {len(self.table)} units, {len(settings['videos'])} videos, {behaviour}"
        with whole_directory(path, overwrite) as folder:
            self.table.to_csv(folder / "units.csv")
            self.per_video.to_csv(folder / "videos.csv", index=False)
            write_record(
                folder / SETTINGS, {**settings, "sha256": {name: file_digest(folder / name) for name in TABLES}}
            )
            for suffix in (".png", ".pdf"):
                figures.summary(self.table, folder / f"summary{suffix}", title=title)
            report.write(self, folder, title, self.remarks())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Evaluation":
        """An evaluation from the folder that ``save`` wrote, every number as it was; without ``statistics``.

        Raises:
            EvaluationError: there is none, or it is damaged; the file is named.
        """
        path = Path(path).expanduser().absolute()
        if not (path / SETTINGS).exists():
            raise EvaluationError(
                f"{path} holds no evaluation: there is no {SETTINGS}. Give a folder that Evaluation.save, or "
                "`fnn-jax evaluate`, wrote."
            )
        settings = read_record(path / SETTINGS, "evaluation", EvaluationError, REMEDY)
        digests = settings.pop("sha256", {})
        table, per_video = (_read_table(path / name, digests.get(name)) for name in TABLES)
        return cls(table.set_index("readout_id"), per_video, settings, None)


def _read_table(path: Path, sha256: str | None) -> pd.DataFrame:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror or error}. {REMEDY}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EvaluationError(f"{path} differs from its SHA-256: it was changed or is damaged. {REMEDY}")
    # Names of videos stay text, and Python reads numbers as they were, which pandas does in some versions alone.
    numbers = dict.fromkeys((*MEASURES, "num_repeats"), lambda text: float(text or "nan"))
    return pd.read_csv(io.BytesIO(content), converters={"video": str, **numbers})


def check_output(path: str | os.PathLike, overwrite: bool = False) -> Path:
    """Where results may be written.

    Raises:
        FileExistsError: something is there that nobody asked to replace, or that is no folder of results.
    """
    path = Path(path).expanduser()
    refuse_existing(path, overwrite)
    others = sorted({each.name for each in path.iterdir()} - {*FILES}) if path.is_dir() else []
    if others or path.is_file():
        inside = f", with {', '.join(others[:3])}" if others else ""
        raise FileExistsError(f"{path} is no folder of an evaluation{inside}, and is kept. Choose another name.")
    return path


def evaluate(
    twin: Twin,
    data: EvaluationData | str | os.PathLike,
    *,
    units: Any = None,
    burn_in: int = BURN_IN,
    behaviour: bool = True,
    periphery: str = "dark",
    precision: str = "float32",
    batch_size: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: bool | None = None,
) -> Evaluation:
    """Predict every repeat from its own frames and behaviour, and compare with what was recorded.

    Memory is bounded by one video: its responses, and predictions of all of its repeats.

    Args:
        twin: column ``j`` of the recorded responses is of the unit whose ``readout_id`` is ``j``.
        data: or the folder of it.
        units: of the twin, if not all of them are wanted, as for ``Twin.select``.
        burn_in: frames at the beginning of each video that do not count.
        behaviour: pupil and treadmill as recorded; False: all zeros, their means, so that the repeats of one video have
            one prediction.
        periphery, precision: as for ``Twin.predict``. batch_size, devices: as for ``Screen``.
        progress: show a progress bar; None: in terminals and notebooks.

    Raises:
        DataError: the folder is not as it should be; see ``EvaluationData``.
        ValueError: another number of units than recorded, another size of frames, videos that are no longer than the
            burn-in, predictions that are not finite.

    Where nothing was repeated, a warning says so, and only ``cc_abs`` and ``single_trial`` are defined.
    """
    if not isinstance(twin, Twin):
        raise TypeError(f"twin is {type(twin).__name__}; expected Twin, such as Twin.load(folder).")
    data = data if isinstance(data, EvaluationData) else EvaluationData(checks.path("data", data))
    burn_in = integer("burn_in", burn_in, 0)
    behaviour = boolean("behaviour", behaviour)
    devices = None if devices is None else checks.devices("devices", devices)
    progress = checked_progress(progress)
    columns = _columns(twin, data)
    _check(twin, data, burn_in)
    if units is not None:
        twin = twin.select(units)
        columns = twin.units.index.to_numpy()
    if batch_size is None:
        size = _batch_size(twin, max(map(len, data.videos.values())), devices)
    else:
        size = integer("batch_size", batch_size)
    options: dict[str, Any] = {"periphery": periphery, "precision": precision}
    screen = Screen(twin, errors="raise", batch_size=size, devices=devices, progress=False, **options)
    total, tables, replaced = None, [], 0
    with progress_bar(progress, "evaluate", "repeat", data.num_repeats, compiles=True) as bar:
        for video in data.videos:
            repeats = list(data.repeats(video))
            replaced += sum(repeat.missing for repeat in repeats) if behaviour else 0
            predict = functools.partial(_predict, screen, repeats, behaviour, data.same_frames[video], size, bar)
            statistics = _compare(predict, repeats, columns, burn_in)
            tables.append(_table(twin, statistics).reset_index().assign(video=video))
            total = statistics if total is None else total.add(statistics)
    per_video = pd.concat(tables, ignore_index=True)
    per_video = per_video[["video", *(name for name in per_video if name != "video")]]
    settings = {
        "twin": twin.name,
        "fingerprint": twin.fingerprint(),
        "label": twin.label,
        "provenance": twin.record(),
        "data": str(data.directory),
        "videos": {
            video: {"repeats": len(names), "frames": data.num_frames[video]} for video, names in data.videos.items()
        },
        "burn_in": burn_in,
        "behaviour": behaviour,
        "missing": data.missing,
        "missing_behaviour_replaced": replaced,
        "missing_responses": data.num_missing_responses,
        **options,
        "computed_with": f"fnn_jax {__version__}, jax {jax.__version__}, {jax.default_backend()}",
    }
    return Evaluation(_table(twin, total), per_video, settings, total)


def _compare(
    predict: Callable[[], np.ndarray], repeats: Sequence[Repeat], columns: np.ndarray | None, burn_in: int
) -> Statistics:
    """Of one video, whose arrays are let go before the next one's are made."""
    responses = format_responses([[_units(repeat, columns) for repeat in repeats]], burn_in)
    return Statistics.of(predict()[..., burn_in:], responses)


def _predict(
    screen: Screen, repeats: Sequence[Repeat], behaviour: bool, same_frames: bool, size: int, bar: Bar
) -> np.ndarray:
    """``[U, repeat, frame]``; what is the same for all repeats is predicted once."""
    once = same_frames and not behaviour
    stimuli = [
        Stimulus(
            repeat.stimuli,
            id=repeat.name,
            perspectives=repeat.perspectives if behaviour else None,
            modulations=repeat.modulations if behaviour else None,
        )
        for repeat in (repeats[:1] if once else repeats)
    ]
    parts = []
    for start in range(0, len(stimuli), size):
        some = stimuli[start : start + size]
        parts.append(screen(some).responses.values)  # [repeat, frame, unit]
        bar.update(len(repeats) if once else len(some))
    predictions = np.concatenate(parts)
    if not np.isfinite(predictions).all():
        raise ValueError(
            "the twin's predictions are not finite, so that nothing can be said of them. Its weights are damaged, or "
            "its training went astray."
        )
    predictions = predictions.transpose(2, 0, 1)
    return np.broadcast_to(predictions, (predictions.shape[0], len(repeats), predictions.shape[2]))


def _batch_size(twin: Twin, repeats: int, devices: Sequence[jax.Device] | None) -> int:
    """Repeats at once: as many as fit, in batches of about one size, because batches are filled up."""
    devices = jax.local_devices() if devices is None else devices
    fit = sizes.batch_size(twin.config, devices[0]) * len(devices)
    even = math.ceil(repeats / math.ceil(repeats / fit))
    return math.ceil(even / len(devices)) * len(devices)


def _units(repeat: Repeat, columns: np.ndarray | None) -> np.ndarray:
    return repeat.units if columns is None else repeat.units[:, columns]


def _table(twin: Twin, statistics: Statistics) -> pd.DataFrame:
    names = [name for name in ("animal_id", *KEY) if name in twin.units]
    return twin.units[names].assign(**statistics.measures())


def _columns(twin: Twin, data: EvaluationData) -> np.ndarray | None:
    """Which of the recorded units the twin's are: None for all, in order."""
    numbers = twin.units.index.to_numpy()
    whole = np.array_equal(numbers, np.arange(len(numbers)))
    if (whole and len(numbers) != data.num_units) or numbers.max() >= data.num_units:
        raise ValueError(
            f"the twin {twin.name} has {len(numbers)} units (readout_id {numbers.min()} to {numbers.max()}), and "
            f"{data.directory} responses of {data.num_units}: they are of another animal or scan. For some of the "
            "units, give the twin of all of them, and units=."
        )
    return None if whole else numbers


def _check(twin: Twin, data: EvaluationData, burn_in: int) -> None:
    size = (twin.config.stimulus_height, twin.config.stimulus_width)
    if data.frame_size != size:
        raise ValueError(
            f"{data.directory} has frames of {data.frame_size[0]} x {data.frame_size[1]} pixels, and the twin "
            f"{twin.name} sees {size[0]} x {size[1]}. Give the videos as they were shown, in this size."
        )
    short = [f"{video} ({frames} frames)" for video, frames in data.num_frames.items() if frames < burn_in + 2]
    if short:
        raise ValueError(
            f"burn_in is {burn_in}, and {', '.join(short[:5])} of {data.directory} would have less than 2 frames left; "
            "expected longer videos, or a shorter burn-in."
        )
    if max(map(len, data.videos.values())) < 2:
        warnings.warn(
            f"{data.directory} has one repeat of each video. What repeats are needed for (cc_max, cc_norm, feve, fev, "
            "oracle) is NaN; cc_abs and single_trial are correlations with single responses.",
            stacklevel=3,
        )
