"""What a training leaves behind: twins, metrics, figures."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.files import whole_directory, whole_file
from fnn_jax.common.records import read_record
from fnn_jax.model.parameters import parameter_arrays, split_core
from fnn_jax.training.checkpoints import Checkpoints, Snapshot, TrainingError
from fnn_jax.training.figures import draw_metrics
from fnn_jax.training.step import Steps
from fnn_jax.twin.twin import Twin
from fnn_jax.weights.store import default_units, is_store, write_core, write_scan

RECORD = "training.json"
BEST, LAST = "best", "last"


class Training:
    """A finished or interrupted training, from its folder.

    Attributes:
        record: what decided the result: recipe, fingerprints of data and start, architecture.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory).expanduser().absolute()
        if not (self.directory / RECORD).exists():
            raise TrainingError(f"{self.directory} holds no training: there is no {RECORD}.")
        self.record = read_record(self.directory / RECORD, "training", TrainingError)

    def __repr__(self) -> str:
        state = "finished" if self.is_finished else "not finished"
        try:
            epochs = f"{len(self.metrics)} epochs"
        except TrainingError:
            epochs = "last checkpoint damaged"
        return f"Training({str(self.directory)!r}: {epochs}, {state})"

    @property
    def is_finished(self) -> bool:
        return is_store(self.directory / LAST)

    @property
    def metrics(self) -> pd.DataFrame:
        """One row for each epoch: ``epoch, seed, lr, training_objective, validation_objective``.

        They are those of the last checkpoint, whose hash is verified; ``metrics.csv`` is a copy for other programs.

        Raises:
            TrainingError: that checkpoint is damaged.
        """
        rows = Checkpoints(self.directory / "checkpoints").rows()
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["epoch"])

    @property
    def best_epoch(self) -> int:
        """The epoch of the smallest validation objective, or training objective where there is no validation."""
        table = self.metrics
        column = "validation_objective" if table["validation_objective"].notna().any() else "training_objective"
        return int(table["epoch"][table[column].idxmin()])

    def twin(self, which: str = BEST, scan: str | None = None) -> Twin:
        """The twin of the best epoch, or of the last one.

        Raises:
            ValueError, TrainingError: another word, or the training is not finished.
        """
        if which not in (BEST, LAST):
            raise ValueError(f"which is {which!r}; expected {BEST!r} or {LAST!r}.")
        if not self.is_finished:
            raise TrainingError(f"The training in {self.directory} is not finished: start it again, and it goes on.")
        return Twin.load(self.directory / which, scan)


def write_twins(
    directory: Path,
    steps: Steps,
    snapshot: Snapshot,
    tables: Mapping[str, pd.DataFrame | None],
    start: Twin | None,
) -> None:
    """Write the best and the last twin, metrics and their figure, where they are not there yet, or are damaged."""
    write_metrics(directory, snapshot)
    draw_metrics(pd.DataFrame(snapshot.rows), directory / "objectives.png")
    for which, trained in ((BEST, snapshot.best), (LAST, snapshot.weights.trained)):
        if _is_whole(directory / which, steps.scans):
            continue
        with whole_directory(directory / which, overwrite=True) as temporary:
            for scan, network in steps.networks({name: np.asarray(array) for name, array in trained.items()}).items():
                core, rest = split_core(parameter_arrays(network))
                core_sha256 = write_core(temporary, network.config, core)
                units = default_units(network.config.num_units) if tables[scan] is None else tables[scan]
                write_scan(
                    temporary, scan, network.config, rest, units, core_sha256, **_provenance(steps, start, snapshot)
                )


def write_metrics(directory: Path, snapshot: Snapshot) -> None:
    """Write the table of the epochs that are over, where it is not there yet."""
    table = pd.DataFrame(snapshot.rows).to_csv(index=False).encode()
    path = directory / "metrics.csv"
    if snapshot.rows and not (path.is_file() and path.read_bytes() == table):
        with whole_file(path) as temporary:
            temporary.write_bytes(table)


def _is_whole(directory: Path, scans: Sequence[str]) -> bool:
    """Whether the twins are there; damaged ones are written again, and a warning says so."""
    if not directory.exists():
        return False
    try:
        for scan in scans:
            Twin.load(directory, scan)
    except ValueError as error:
        warnings.warn(f"{error}\nThe twins in {directory} are written again.", stacklevel=2)
        return False
    return True


def _provenance(steps: Steps, start: Twin | None, snapshot: Snapshot) -> dict[str, Any]:
    source: dict[str, Any] = {"trained": f"{len(snapshot.rows)} epochs", "recipe": steps.recipe.to_dict()}
    if start is not None:
        source["start"] = {"name": start.name, "label": start.label, **start.record()}
        source["start"].pop("weights", None)
    return {"source": source, "label": start.label if start is not None and start.label else ""}
