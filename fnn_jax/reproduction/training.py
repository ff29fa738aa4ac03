"""A twin trained on the published example recording, beside what the released demonstration reports of its own."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.data.evaluation import EvaluationData
from fnn_jax.data.recordings import DataError
from fnn_jax.data.training import TrainingData
from fnn_jax.evaluation.measures import BURN_IN
from fnn_jax.microns.cache import Cache
from fnn_jax.microns.example import Recording, example_recording
from fnn_jax.microns.release import ExampleRecording
from fnn_jax.reproduction import figures
from fnn_jax.reproduction.performance import evaluated
from fnn_jax.reproduction.report import Part
from fnn_jax.training.loop import train
from fnn_jax.training.recipe import Recipe
from fnn_jax.training.result import LAST
from fnn_jax.twin.twin import Twin

# How far ours may be from the released figures; guesses, which no measurement stands behind.
NEAR = {"training_objective": 0.02, "validation_objective": 0.02, "cc_norm": 0.03}
DIFFERENCES = (
    "known to differ: random numbers, so that windows, streams and draws are others",
    "known to differ: validation sees the same windows in every epoch; in the released training they are drawn anew, "
    "and the best of its epochs is better by that chance",
    "not known: which scan the released demonstration took the core and the LSTM of the modulation from; the cores of "
    "all scans are the same",
)


def compare_training(
    out: str | os.PathLike,
    *,
    epochs: int | None = None,
    precision: str = "float32",
    example: str | os.PathLike | None = None,
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
) -> Part:
    """Train on the published example recording by the released recipe, and evaluate on its repeated videos.

    Args:
        out: a folder; the training lies in ``OUT/work``, so that a call that was killed goes on there.
        epochs: default: those of the release, 100. Others make a schedule of their own: they are for a look, and
            neither pass nor fail.
        precision: of the products in the core, as in ``Recipe``.
        example: a folder with the recording, ``training_data`` and ``evaluation_data``, with ``_27203_4_7`` at the end
            of their names or without; default: downloaded, as by ``microns.example_recording``.
        directory, offline, progress: as for ``microns.download``.

    Returns:
        A part whose table has a row for each figure (best training and validation objective over the epochs, Poisson
        loss; median ``cc_norm`` of the last epoch's twin): ``ours``, ``released``, the ``epoch`` it is of, absolute
        ``difference``, and ``near``, what passes.

    Raises:
        DataError, ValueError: no recording, or another one. TrainingError: another training is in ``OUT/work``.
        DownloadError, CheckpointError: what is needed cannot be had, or is not what it should be.
    """
    out = checks.path("out", out)
    cache = Cache(directory, offline=offline, progress=progress)
    published = cache.release.example
    if published is None:
        raise ValueError("this release holds no example recording.")
    recipe = recipe_of(published.epochs if epochs is None else epochs, precision)
    if example is None:
        recording = example_recording(directory=directory, offline=offline, progress=progress)
    else:
        recording = recording_in(checks.path("example", example), published)
    data, repeats = TrainingData(recording.training), EvaluationData(recording.evaluation)
    for each in (data, repeats):
        if each.num_units != published.num_units:
            raise ValueError(
                f"{each.directory} has responses of {each.num_units} units, and the example recording (animal "
                f"{published.animal_id}, scan {published.scan}) has {published.num_units}: it is another recording. "
                "Train on it by fnn-jax train; there are no released figures for it."
            )
    start = Twin.load(cache.require_scans("default", [published.start]), published.start)
    work = out / "work" / f"training-{recipe.epochs}-{precision}"
    training = train(data, work / "training", start, recipe, name="example", progress=progress)
    twin = training.twin(LAST)
    cc_norm = evaluated(twin, repeats, work / "evaluation", progress).table["cc_norm"]
    table = beside(training.metrics, cc_norm, published)
    facts = {
        "trained": f"{recipe.epochs} epochs of {recipe.training_batches} batches of {recipe.batch_size} windows of "
        f"{recipe.window_frames} frames, {precision}, from {start.name}",
        "recording": f"animal {published.animal_id}, scan {published.scan}: {len(data.trials)} trials, "
        f"{data.num_units} units; {len(repeats)} repeated videos, {repeats.num_repeats} repeats, without the first "
        f"{BURN_IN} frames of each",
        "tolerance": ", ".join(f"{row.measure} {row.near:g}" for row in table.itertuples()),
        **{
            f"{row.measure}": f"{row.ours:.4f} in epoch {row.epoch}, released {row.released:g}"
            for row in table.itertuples()
        },
        "units with cc_norm": f"{int(np.isfinite(cc_norm).sum())} of {len(cc_norm)}",
    }
    passed, verdict = judged(table, recipe.epochs, published.epochs)
    metrics = training.metrics
    draw = lambda path=None: figures.training(metrics, cc_norm, table, path)  # noqa: E731
    return Part("training", passed, verdict, facts, table, DIFFERENCES, draw)


def recipe_of(epochs: int, precision: str = "float32") -> Recipe:
    """The released recipe; of fewer epochs a tenth of them warms up, as in the released 100."""
    epochs = checks.integer("epochs", epochs)
    return Recipe(epochs=epochs, warmup_epochs=min(Recipe.warmup_epochs, epochs // 10), precision=precision)


def recording_in(folder: Path, published: ExampleRecording) -> Recording:
    """The two folders of a recording inside another.

    Raises:
        DataError: they are not there.
    """
    found = []
    for path in (published.training, published.evaluation):
        name = Path(path).name
        short = name.removesuffix(f"_{published.animal_id}_{published.scan.replace('-', '_')}")
        there = [folder / each for each in (name, short) if (folder / each).is_dir()]
        if not there:
            raise DataError(
                f"{folder} holds neither {name} nor {short}; expected the example recording, training and evaluation "
                "data: docs/training.md. fnn-jax download --example-recording gets it."
            )
        found.append(there[0])
    return Recording(*found)


def beside(metrics: pd.DataFrame, cc_norm: pd.Series, published: ExampleRecording) -> pd.DataFrame:
    """Figures of a training beside the released ones: ``measure, ours, released, epoch, difference, near``.

    Args:
        metrics: of ``Training.metrics``. cc_norm: of each unit, of the last epoch's twin.
    """
    rows: list[dict[str, Any]] = []
    for measure, released in published.figures.items():
        if measure == "cc_norm":
            known = cc_norm.dropna()
            ours, epoch = float(known.median()) if len(known) else np.nan, int(metrics["epoch"].iloc[-1])
        else:
            best = metrics[measure].astype(float).idxmin()
            ours, epoch = float(metrics.loc[best, measure]), int(metrics.loc[best, "epoch"])
        row = {"measure": measure, "ours": ours, "released": released, "epoch": epoch}
        rows.append({**row, "difference": abs(ours - released), "near": NEAR[measure]})
    return pd.DataFrame(rows)


def judged(table: pd.DataFrame, epochs: int, released_epochs: int) -> tuple[bool | None, str]:
    """Whether a training passed, None where it cannot be compared, and why in a sentence."""
    if epochs != released_epochs:
        return None, (
            f"After {epochs} epochs figures are not comparable with the released ones, of {released_epochs}: this is a "
            "look, and neither passes nor fails."
        )
    far = table[~(table["difference"] <= table["near"])]
    if not len(far):
        return True, "The released figures of the training are met."
    return False, " ".join(
        f"{row.measure} is {row.ours:.4f}, and the released one {row.released:g}: {_side(row)}."
        for row in far.itertuples()
    )


def _side(row: Any) -> str:
    if not np.isfinite(row.ours):
        return "it is not defined"
    better = (row.ours > row.released) == (row.measure == "cc_norm")
    return f"{'better' if better else 'worse'} by {row.difference:.3f}, and {row.near:g} passes"
