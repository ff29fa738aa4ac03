"""Trials, and which of them are for training, validation, and evaluation."""

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common import checks

TRAINING, VALIDATION, REPEATED = "training", "validation", "repeated"
SPLITS = (TRAINING, VALIDATION, REPEATED)


def checked_trials(trials: Any) -> pd.DataFrame:
    """Trials in the order of time: ``start, stop`` in seconds, ``clip`` as text, ``split`` if it was given.

    Raises:
        TypeError, ValueError: it is no table of intervals; what is wrong with which row.
    """
    if not isinstance(trials, pd.DataFrame):
        raise TypeError(f"trials is {checks.shown(trials)}; expected a pandas table with the columns start, stop.")
    missing = [name for name in ("start", "stop") if name not in trials]
    if missing:
        raise ValueError(
            f"trials lacks the columns {', '.join(missing)}; it has {', '.join(map(str, trials.columns)) or 'none'}. "
            "start and stop are seconds."
        )
    if not len(trials):
        raise ValueError("trials is empty; expected a row for each trial.")
    found = pd.DataFrame(
        {name: checks.array(f"trials[{name!r}]", trials[name], "finite seconds", (1,)) for name in ("start", "stop")}
    ).astype(np.float64)
    if "clip" in trials:
        if trials["clip"].isna().any():
            raise ValueError(
                f"trials['clip'] is empty in row {int(np.argmax(trials['clip'].isna()))}; expected a name."
            )
        found["clip"] = [_text(clip) for clip in trials["clip"]]
    else:
        found["clip"] = [f"trial{row:05d}" for row in range(len(trials))]
    if "split" in trials:
        found["split"] = [checks.one_of("trials['split']", split, SPLITS) for split in trials["split"]]
    for row, (start, stop) in enumerate(zip(found["start"], found["stop"], strict=True)):
        if not start < stop:
            raise ValueError(
                f"trials has a row {row} from {start:.6g} to {stop:.6g} s; expected a stop after the start."
            )
    return found.sort_values("start", kind="stable").reset_index(drop=True)


def _text(clip: Any) -> str:
    """2.0 is what pandas makes of 2 where another row is missing."""
    return str(int(clip)) if isinstance(clip, float | np.floating) and clip == int(clip) else str(clip)


def split(trials: pd.DataFrame, validation: float, repeated: Collection[str] | None, seed: int) -> pd.Series:
    """For each trial ``training``, ``validation`` or ``repeated``; a clip is in one of them alone.

    Repeated are the clips that ``repeated`` names, or, where it is None, those that were shown more than once. Of the
    other clips the share ``validation`` is drawn, at least one; of one clip, none.

    Raises:
        ValueError: a clip that was never shown, or nothing is left for training.
    """
    if "split" in trials:
        splits = trials["split"]
    else:
        clips = trials["clip"].unique()
        if repeated is None:
            shown = trials["clip"].value_counts()
            repeated = set(shown.index[shown > 1])
        unknown = sorted(set(repeated) - set(clips))
        if unknown:
            raise ValueError(
                f"repeated names {', '.join(unknown)}; expected clips of trials: {checks.shown(list(clips))}."
            )
        others = [clip for clip in clips if clip not in repeated]
        drawn = min(max(1, round(validation * len(others))), len(others) - 1) if validation and others else 0
        held_out = set(np.random.default_rng(seed).permutation(others)[:drawn])
        kind = {clip: VALIDATION if clip in held_out else TRAINING for clip in others}
        splits = trials["clip"].map(lambda clip: kind.get(clip, REPEATED))
    mixed = [clip for clip, found in splits.groupby(trials["clip"]) if found.nunique() > 1]
    if mixed:
        raise ValueError(f"trials['split'] differs between trials of the clip {mixed[0]}; expected one for each clip.")
    if not (splits == TRAINING).any():
        raise ValueError(
            "No trial is left for training: all show clips that are repeated or for validation. Name those to evaluate "
            "with in repeated, or give trials a column split."
        )
    return splits


def folder_name(clip: str) -> str:
    """A clip's name as that of a folder."""
    return re.sub(r"[^\w.-]+", "_", clip).strip(".") or "_"
