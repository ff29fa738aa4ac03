"""A recording in the released layout from arrays in memory, each on a clock of its own."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.files import refuse_existing, whole_directory
from fnn_jax.common.progress import checked_progress, progress_bar
from fnn_jax.common.rate import HZ
from fnn_jax.data.presentations import Stimulus, checked_stimulus
from fnn_jax.data.recordings import BEHAVIOUR, EYE, RESPONSES, STIMULI, DataError, require
from fnn_jax.data.resampling import Signal, Spikes, at_frames, checked_responses, checked_signal, counts, num_units
from fnn_jax.data.splits import REPEATED, TRAINING, checked_trials, folder_name, split
from fnn_jax.videos import FITS
from fnn_jax.weights.units import in_readout_order

# The traces in the order of their columns: name, folder, number of columns.
TRACES = (("pupil_position", EYE, 2), ("pupil_radius", BEHAVIOUR, 1), ("treadmill_velocity", BEHAVIOUR, 1))
NEGATIVE = ("error", "zero")
MOST_VALIDATION = 0.9
MOST_CUT = 2  # frames, by which repeats of a clip may differ


def from_arrays(
    directory: str | os.PathLike,
    *,
    responses: Signal | Spikes | Sequence[Signal | Spikes],
    stimulus: Signal | Mapping[str, Any],
    trials: pd.DataFrame,
    pupil_position: Signal | None = None,
    pupil_radius: Signal | None = None,
    treadmill_velocity: Signal | None = None,
    absent: Collection[str] = (),
    units: pd.DataFrame | None = None,
    size: tuple[int, int] = (144, 256),
    fit: str = "crop",
    response_lag_s: float = 0.0,
    negative: str = "error",
    drop_silent: bool = False,
    validation: float = 0.1,
    repeated: Collection[str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Path:
    """Write a recording to train on and to evaluate with from signals, each with times of its own.

    All times are seconds on one clock. In ``directory``: ``training_data``; ``evaluation_data``, where clips are
    repeated; ``units.csv``, ``trials.csv`` and ``scaling.csv``, which say what became of what. See docs/nwb.md for the
    filter, the split and the scales.

    Args:
        responses: values ``[n, units]``, 0 or more; or spike times, counted for each frame; or several of these, whose
            units are joined in this order, such as planes of imaging with times of their own.
        stimulus: frames ``[n, H, W]`` (uint8, or floats in [0, 1]) with the times when each appeared; or for the name
            of each clip its frames at 30 Hz, or the path of a movie, which begins at the start of a trial.
        trials: a row for each: ``start, stop`` in seconds; ``clip``, the name of what was shown (without it every trial
            is a clip of its own); and, instead of the rule, ``split``: training, validation, repeated.
        pupil_position: values ``[n, 2]``, x and y, in any unit; NaN where the eye was lost.
        pupil_radius, treadmill_velocity: values ``[n]``, in any unit.
        absent: names of traces that were not recorded, which become 0, the mean of z-scored ones.
        units: a row for each unit: areas, positions, ids; written with ``readout_id`` to ``units.csv``. If it has a
            ``readout_id``, as the index or a column, that is the column of the responses; else rows are in order.
        size, fit: of frames, as ``fnn_jax.videos.fit_frames`` takes them.
        response_lag_s: the response to a frame is that of so many seconds after the frame's time.
        negative: ``"zero"``: responses below 0, which no loss of the model can have, become 0; else they are refused.
        drop_silent: leave out the units that never respond in the training set; else they are refused.
        validation: share of the clips, not of those that are repeated, that are for validation.
        repeated: names of the clips to evaluate with; None: those that were shown more than once.
        seed: of the draw of the clips for validation.
        overwrite: replace what is in ``directory``, when all is written.
        progress: show a progress bar; None: in terminals and notebooks.

    Raises:
        TypeError, ValueError: an argument is not as described.
        DataError: a ValueError: clocks that do not overlap, trials without frames or responses, traces that are
            missing or constant, negative responses, units that never respond.
        FileExistsError: something is at ``directory``.
    """
    checked_progress(progress)
    directory = checks.path("directory", directory)
    refuse_existing(directory.absolute(), checks.boolean("overwrite", overwrite))
    fit, negative = checks.one_of("fit", fit, FITS), checks.one_of("negative", negative, NEGATIVE)
    drop_silent, lag = checks.boolean("drop_silent", drop_silent), checks.number("response_lag_s", response_lag_s)
    validation, seed = checks.number("validation", validation, 0, most=MOST_VALIDATION), checks.seed("seed", seed)
    if repeated is not None:
        repeated = [
            checks.text("repeated", clip) for clip in checks.sequence("repeated", repeated, "names", empty=True)
        ]
    trials = checked_trials(trials)
    trials["split"] = split(trials, validation, repeated, seed)
    _name_files(trials)
    given = {
        "pupil_position": pupil_position,
        "pupil_radius": pupil_radius,
        "treadmill_velocity": treadmill_velocity,
    }
    traces = _checked_traces(given, absent)
    sources = checked_responses(responses)
    table = _checked_units(units, sum(map(num_units, sources)))
    shown = checked_stimulus(stimulus, trials, size, fit)
    _require_one_clock({**traces, **{f"responses[{i}]": source for i, source in enumerate(sources)}}, shown, trials)
    signals = _Signals(shown, sources, traces, lag, negative)
    with whole_directory(directory, overwrite) as folder:
        _write(folder, signals, trials, table, drop_silent, progress)
    return directory


class _Signals(NamedTuple):
    stimulus: Stimulus
    responses: list[Signal | Spikes]
    traces: dict[str, Signal]
    lag: float
    negative: str

    def of_trial(self, row: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        """Arrays of a trial before they are scaled, and what is wrong with them."""
        frames, times = self.stimulus.of_trial(row)
        later = times + self.lag
        parts = [counts(s, later) if isinstance(s, Spikes) else at_frames(s, later) for s in self.responses]
        found, problems = np.concatenate(parts, axis=1), []
        name = f"trial {row.Index} ({row.start:.3f} to {row.stop:.3f} s)"
        for number, part in enumerate(parts):
            if np.isnan(part).all():
                problems.append(f"{name}: responses[{number}] have no value in it. Leave it out of trials.")
        below = int((found < 0).sum())
        if self.negative == "zero":
            found = np.where(found < 0, 0, found)
        elif below:
            lowest = np.nanmin(found)
            problems.append(
                f"{name}: {below} of {found.size} responses are negative (down to {lowest:.3g}). Give deconvolved "
                "activity, or ask for negative = 'zero'."
            )
        columns: dict[str, list[np.ndarray]] = {EYE: [], BEHAVIOUR: []}
        for trace, kind, width in TRACES:
            signal = self.traces.get(trace)
            columns[kind].append(np.zeros((len(times), width)) if signal is None else at_frames(signal, times))
        behaviour = {kind: np.concatenate(parts, axis=1) for kind, parts in columns.items()}
        return {STIMULI: frames[..., None], **behaviour, RESPONSES: found}, problems


class _Sums:
    """Of each column over the training set: how many numbers there are, their sum, their sum of squares."""

    def __init__(self) -> None:
        self.sums: np.ndarray | float = 0.0

    def add(self, values: np.ndarray) -> None:
        known = np.nan_to_num(values, nan=0.0)
        self.sums = self.sums + np.stack([np.isfinite(values).sum(0), known.sum(0), np.square(known).sum(0)])

    def mean_and_std(self) -> tuple[np.ndarray, np.ndarray]:
        count, total, squares = np.asarray(self.sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / count
            return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))


def _write(folder, signals, trials, table, drop_silent, progress):
    sums = {kind: _Sums() for kind in (EYE, BEHAVIOUR, RESPONSES)}
    frames, times, problems = [], [], []
    for row in progress_bar(progress, "resample", "trial", total=len(trials), over=trials.itertuples()):
        arrays, wrong = signals.of_trial(row)
        problems += wrong
        frames.append(len(arrays[STIMULI]))
        times.append(len(arrays[STIMULI]) / HZ)
        if row.split == TRAINING:
            for kind, sum_ in sums.items():
                sum_.add(arrays[kind])
        for kind, array in arrays.items():
            path = folder / row.part / kind / f"{row.file}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array if kind == STIMULI else array.astype(np.float32))
    require(problems, Path("These signals"), "Nothing was written.")
    trials["frames"] = _common_lengths(trials, frames)
    means, _ = sums[RESPONSES].mean_and_std()
    kept = _responding(means, drop_silent)
    scales = _scales(sums, set(signals.traces))
    for row in progress_bar(progress, "scale", "trial", total=len(trials), over=trials.itertuples()):
        for kind in (STIMULI, EYE, BEHAVIOUR, RESPONSES):
            path = folder / row.part / kind / f"{row.file}.npy"
            array = np.load(path, allow_pickle=False)
            scaled = array[: row.frames]
            if kind == RESPONSES:
                scaled = scaled[:, kept] / means[kept]
            elif kind != STIMULI:
                mean, std = scales[kind]
                scaled = (scaled - mean) / std
            if kind != STIMULI or len(scaled) < len(array):
                np.save(path, scaled if kind == STIMULI else scaled.astype(np.float32))
        if row.split != REPEATED:
            for kind, value in (("training", np.array(row.split == TRAINING)), ("samples", np.array(row.frames))):
                (folder / row.part / kind).mkdir(parents=True, exist_ok=True)
                np.save(folder / row.part / kind / f"{row.file}.npy", value)
    table = table.assign(mean_response=means).iloc[kept].reset_index(drop=True)
    table.rename_axis("readout_id").to_csv(folder / "units.csv")
    trials.to_csv(folder / "trials.csv", index=False)
    labels = ["pupil x", "pupil y", "pupil radius", "treadmill velocity"]
    mean, std = np.concatenate([scales[EYE], scales[BEHAVIOUR]], axis=1)
    pd.DataFrame({"trace": labels, "mean": mean, "std": std}).to_csv(folder / "scaling.csv", index=False)


def _scales(sums, recorded):
    """Mean and standard deviation of the columns of eye and behaviour, ``[2, 2]`` each; 0 and 1 of what is absent."""
    scales = {kind: np.stack(sums[kind].mean_and_std()) for kind in (EYE, BEHAVIOUR)}
    start = {EYE: 0, BEHAVIOUR: 0}
    for trace, kind, width in TRACES:
        columns = slice(start[kind], start[kind] + width)
        start[kind] += width
        if trace not in recorded:
            scales[kind][:, columns] = [[0.0], [1.0]]
            continue
        mean, std = scales[kind][:, columns]
        if not (np.isfinite(mean).all() and (std > 1e-12 * (1 + abs(mean))).all()):
            raise DataError(
                f"{trace} has the mean {mean.tolist()} and standard deviation {std.tolist()} over the training set, "
                f"and cannot be z-scored; expected a trace that varies. If it was not recorded: absent = ['{trace}']."
            )
    return scales


def _responding(means, drop_silent):
    silent = ~(means > 0)
    if silent.all() or (silent.any() and not drop_silent):
        numbers = np.flatnonzero(silent)
        raise DataError(
            f"{len(numbers)} of {len(means)} units are 0 or missing in all training trials "
            f"({checks.shown(numbers.tolist())}). Leave them out, or ask for drop_silent = True."
        )
    return np.flatnonzero(~silent)


def _common_lengths(trials, frames):
    """Frames of each trial; repeats of a clip are cut to the shortest."""
    lengths = pd.Series(frames, index=trials.index)
    for clip, found in lengths[trials["split"] == REPEATED].groupby(trials["clip"]):
        if found.max() - found.min() > MOST_CUT:
            raise DataError(
                f"The repeats of the clip {clip} have {found.min()} to {found.max()} frames; expected lengths that "
                f"differ by {MOST_CUT} at most. Correct stop in trials, or give clips of other lengths other names."
            )
        lengths[found.index] = found.min()
    return lengths


def _name_files(trials: pd.DataFrame) -> None:
    """Folder and file of each trial: ``part``, ``file``."""
    names = {clip: folder_name(clip) for clip in trials["clip"].unique()}
    if len(set(names.values())) < len(names):
        first = next(clip for clip in names if list(names.values()).count(names[clip]) > 1)
        raise ValueError(f"trials['clip'] has {first!r} and another name, which make the same folder {names[first]!r}.")
    is_repeated = trials["split"] == REPEATED
    repeat = trials.groupby("clip").cumcount()
    trials["part"] = np.where(is_repeated, "evaluation_data", "training_data")
    trials["file"] = [
        f"{names[clip]}/repeat{number:03d}" if again else f"trial{row:05d}"
        for row, (clip, number, again) in enumerate(zip(trials["clip"], repeat, is_repeated, strict=True))
    ]


def _checked_traces(given: Mapping[str, Any], absent: Collection[str]) -> dict[str, Signal]:
    absent = [
        checks.one_of("absent", name, list(given)) for name in checks.sequence("absent", absent, "names", empty=True)
    ]
    found = {}
    for name, _, columns in TRACES:
        if given[name] is None and name not in absent:
            raise DataError(
                f"{name} is missing. If it was not recorded, say so: absent = ['{name}']; its trace is then 0, the "
                "mean of a z-scored one, and the twin cannot learn from it."
            )
        if given[name] is not None and name in absent:
            raise ValueError(f"{name} is given, and absent names it, too; expected one of them.")
        if given[name] is not None:
            found[name] = checked_signal(name, given[name], columns)
    return found


def _checked_units(units: Any, count: int) -> pd.DataFrame:
    if units is None:
        return pd.DataFrame(index=range(count))
    if not isinstance(units, pd.DataFrame):
        raise TypeError(f"units is {checks.shown(units)}; expected a pandas table with a row for each unit.")
    if len(units) != count:
        raise ValueError(f"units has {len(units)} rows, and responses {count} units; expected a row for each unit.")
    return in_readout_order(units, count).drop(columns="mean_response", errors="ignore")


def _require_one_clock(signals: Mapping[str, Any], stimulus: Stimulus, trials: pd.DataFrame) -> None:
    begin, end = trials["start"].min(), trials["stop"].max()
    problems = []
    for name, signal in [*signals.items(), *stimulus.signals()]:
        times = np.concatenate(signal.times) if isinstance(signal, Spikes) else signal.times
        if not len(times) or times.max() < begin or times.min() > end:
            run = f"run from {times.min():.3f} to {times.max():.3f} s" if len(times) else "are none"
            problems.append(f"times of {name} {run}, trials from {begin:.3f} to {end:.3f} s")
    require(problems, Path("These signals"), "Their clocks do not overlap. Give all times in seconds on one clock.")
