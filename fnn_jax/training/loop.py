"""``train``: a twin from recordings, resumable, with checkpoints, metrics and figures."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pandas as pd
from flax import nnx
from jax.experimental import multihost_utils

from fnn_jax.common import checks
from fnn_jax.common.checks import boolean, shown
from fnn_jax.common.progress import Bar, checked_progress, progress_bar, say_resumed
from fnn_jax.common.records import claimed
from fnn_jax.data.recordings import DataError
from fnn_jax.data.training import TrainingData
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.network import Network
from fnn_jax.model.parameters import named_parameters, replace_parameters
from fnn_jax.training import report
from fnn_jax.training.checkpoints import Checkpoints, Snapshot, TrainingError
from fnn_jax.training.features import KeptFeatures
from fnn_jax.training.recipe import Recipe
from fnn_jax.training.result import RECORD, Training, write_metrics, write_twins
from fnn_jax.training.step import Steps, in_part, require_part
from fnn_jax.training.windows import Batch, Windows, read_ahead, streams_of
from fnn_jax.twin.finite import describe_weights
from fnn_jax.twin.twin import Twin
from fnn_jax.version import versions
from fnn_jax.weights.store import SCAN_NAME, units_digest
from fnn_jax.weights.units import in_readout_order


def train(
    data: Any,
    out: str | os.PathLike,
    start: Twin | None = None,
    recipe: Recipe | None = None,
    *,
    config: NetworkConfig | None = None,
    name: str = "twin",
    units: pd.DataFrame | None = None,
    optimizer: optax.GradientTransformation | None = None,
    devices: Sequence[jax.Device] | None = None,
    accept_scaling: bool = False,
    checkpoint_minutes: float = 10,
    progress: bool | None = None,
) -> Training:
    """Train a twin of a recording, or of several that share a core.

    >>> foundation, _ = microns.scan(4, 7)
    >>> training = train("training_data", out="my_twin", start=foundation)
    >>> twin = training.twin()

    Args:
        data: a ``TrainingData`` or its folder; or several by the names of their scans.
        out: folder for everything. Killed and called again with the same arguments, it goes on there, to the same
            result, bit for bit on the same machine.
        start: a twin from which the recipe's ``transfer`` is taken, by default the core and the LSTM of the modulation.
            None: all weights start anew, and a ``recipe`` should train the core.
        recipe: default: the released one.
        config: the architecture, whatever its ``num_units``; default that of ``start``, else the published one.
        name: of the scan, where ``data`` is one.
        units: its table of units, one row per unit: ``readout_id``, as the index or a column, is the column of the
            responses; without it rows are in order.
        optimizer: of optax, instead of that of the recipe; it sees parameters by name.
        devices: over which batches are spread; default: as many as divide the batch, of all processes.
        accept_scaling: take traces that are not z-scored, and responses that are not divided by their mean.
        checkpoint_minutes: between checkpoints; there is one after every epoch, too.
        progress: show a progress bar; None: in terminals and notebooks.

    Raises:
        DataError: recordings that cannot be used, before anything is computed.
        TrainingError: another training is in ``out``; the objective is no longer a number (the batch is named); no
            room for a checkpoint.
        TypeError, ValueError: arguments that do not fit together.
    """
    out = checks.path("out", out)
    objects = (("start", start, Twin), ("recipe", recipe, Recipe), ("config", config, NetworkConfig))
    for argument, value, kind in objects:
        if not isinstance(value, kind | None):
            raise TypeError(f"{argument} is {shown(value)}; expected {kind.__name__}, or None.")
    optimizer = None if optimizer is None else checks.optimizer("optimizer", optimizer)
    devices = None if devices is None else checks.devices("devices", devices)
    accept_scaling = boolean("accept_scaling", accept_scaling)
    checkpoint_minutes = checks.number("checkpoint_minutes", checkpoint_minutes, 0)
    progress = checked_progress(progress)
    recipe = Recipe() if recipe is None else recipe
    recordings = _recordings(data, name)
    config = config if config is not None else (start.config if start is not None else NetworkConfig.microns(1))
    tables = _tables(units, recordings)
    for scan, recording in recordings.items():
        _check_size(config, recording, scan)
    networks = _networks(recordings, config, start, recipe)
    for scan, network in networks.items():
        problem = describe_weights(network)
        if problem is not None:
            raise TrainingError(f"{scan} cannot be trained. {problem} They are those of {start!r}.")
    devices = _devices(devices, recipe.batch_size)
    if recipe.keep_features and jax.process_count() > 1:
        raise ValueError("keep_features is set, and several processes train together; expected one.")
    steps = Steps(networks, recipe, devices, optimizer)
    windows = {scan: Windows(recording, recipe, accept_scaling, progress) for scan, recording in recordings.items()}
    record = {
        "recipe": recipe.to_dict(),
        "optimizer": "of the recipe" if optimizer is None else f"of the caller {steps.optimizer_digest()[:16]}",
        "data": {scan: recording.values().fingerprint for scan, recording in recordings.items()},
        "start": None if start is None else f"{start.name} {start.fingerprint()}",
        "config": {key: value for key, value in config.to_dict().items() if key != "num_units"},
        "num_units": {scan: recording.num_units for scan, recording in recordings.items()},
        "units": {scan: None if table is None else units_digest(table)[:16] for scan, table in tables.items()},
        "devices": len(devices),
        "versions": versions(),
    }
    directory = out.absolute()
    first = jax.process_index() == 0  # which writes for all
    with claimed(directory, RECORD, record, "training", TrainingError) if first else contextlib.nullcontext():
        kept = {}
        if recipe.keep_features:
            for scan, network in networks.items():
                kept[scan] = KeptFeatures(directory / "features" / scan, windows[scan], network, progress)
        loop = _Loop(steps, windows, kept, directory, checkpoint_minutes, progress)
        snapshot = loop.run()
        if first:
            write_twins(directory, steps, snapshot, tables, start)
            trained_on = {scan: repr(recording) for scan, recording in recordings.items()}
            remarks = [f"Weights: {start.label}."] if start is not None and start.label else []
            remarks += [f"Stopped early: {snapshot.stopped}."] if snapshot.stopped else []
            report.write(directory, snapshot.rows, trained_on, record, remarks)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("twins are written")
    return Training(directory)


class _Loop:
    """Epochs, validation and checkpoints."""

    def __init__(
        self,
        steps: Steps,
        windows: Mapping[str, Windows],
        kept: Mapping[str, KeptFeatures],
        directory: Path,
        checkpoint_minutes: float,
        progress: bool | None,
    ):
        self._steps, self._windows, self._kept, self._recipe = steps, windows, kept, steps.recipe
        self._directory = directory
        self._checkpoints = Checkpoints(directory / "checkpoints")
        self._seconds = 60 * checkpoint_minutes
        self._progress = progress
        self._rows = steps.rows()
        self._saved = time.monotonic()

    def run(self) -> Snapshot:
        weights = self._steps.start()
        snapshot = Snapshot(weights, weights.trained, 0, 0, [], [], None, "")
        saved = self._checkpoints.load(snapshot)
        if saved is not None:
            snapshot = saved._replace(
                weights=self._steps.replicate(saved.weights), best=self._steps.replicate(saved.best)
            )
        else:
            snapshot = snapshot._replace(best=self._steps.start().trained)  # updates use up the weights
        total = self._recipe.num_epochs * self._recipe.training_batches
        done = snapshot.update * self._recipe.accumulate
        with progress_bar(self._progress, "train", "batch", total, done=done, compiles=True) as bar:
            if done:
                say_resumed(bar)
            while snapshot.epoch < self._recipe.num_epochs and not snapshot.stopped:
                snapshot = self._finish_epoch(self._train_epoch(snapshot, bar), bar)
        return snapshot

    def _train_epoch(self, snapshot: Snapshot, bar: Bar) -> Snapshot:
        recipe, epoch = self._recipe, snapshot.epoch
        plans = {scan: windows.plan(epoch, True) for scan, windows in self._windows.items()}
        streams = streams_of(recipe, epoch, self._steps.num_streams) if recipe.sample_stream else None
        updates = recipe.training_batches // recipe.accumulate
        first = snapshot.update - epoch * updates
        numbers = [list(range(u * recipe.accumulate, (u + 1) * recipe.accumulate)) for u in range(first, updates)]
        waiting = None  # objectives that the device may still be computing
        objectives = list(snapshot.objectives)
        weights = snapshot.weights

        def collect():
            if waiting is not None:
                number, values = waiting
                values = np.asarray(values).tolist()
                self._require_finite(values, number, epoch, plans)
                objectives.extend(values)
                bar.set_postfix(epoch=epoch, objective=f"{np.mean(objectives):.4f}", refresh=False)

        def stream_of(number):
            return None if streams is None else int(streams[number[0] // recipe.accumulate])

        def read(number):
            return [self._read(plans, n, stream_of(number)) for n in number]

        for batches, number in zip(read_ahead(read, numbers), numbers, strict=True):
            stream = stream_of(number)
            stream = None if stream is None else np.int32(stream)  # traced, not compiled for each
            placed = [self._steps.put(batch) for batch in batches]
            weights, values = self._steps.update(weights, placed, snapshot.update, stream)
            collect()
            waiting = (number, values)
            snapshot = snapshot._replace(weights=weights, update=snapshot.update + 1)
            bar.update(recipe.accumulate)
            if time.monotonic() - self._saved > self._seconds and snapshot.update < (epoch + 1) * updates:
                collect()
                waiting = None
                snapshot = snapshot._replace(objectives=objectives)
                self._save(snapshot)
        collect()
        return snapshot._replace(objectives=objectives)

    def _finish_epoch(self, snapshot: Snapshot, bar: Bar) -> Snapshot:
        recipe, epoch = self._recipe, snapshot.epoch
        plans = {scan: windows.plan(epoch, False) for scan, windows in self._windows.items()}
        numbers = list(range(recipe.validation_batches)) if all(plans.values()) else []
        values = []
        for batches in read_ahead(lambda n: self._read(plans, n, None), numbers):
            values.append(np.asarray(self._steps.validate(snapshot.weights, self._steps.put(batches))))
        row = {
            "epoch": epoch,
            "seed": recipe.seed + epoch,
            "lr": recipe.learning_rate_at(epoch),
            "training_objective": float(np.mean(snapshot.objectives)),
            "validation_objective": float(np.mean(values)) if values else None,
        }
        rows = [*snapshot.rows, row]
        best, best_epoch, stopped = snapshot.best, snapshot.best_epoch, ""
        judged = [r["training_objective" if not values else "validation_objective"] for r in rows]
        if best_epoch is None or judged[-1] < judged[best_epoch]:
            best, best_epoch = jax.tree.map(jax.numpy.array, snapshot.weights.trained), epoch
        if recipe.patience is not None and epoch - best_epoch >= recipe.patience:
            stopped = f"no better validation objective for {recipe.patience} epochs"
        bar.write(_line(row)) if not bar.disable else None
        snapshot = Snapshot(snapshot.weights, best, snapshot.update, epoch + 1, [], rows, best_epoch, stopped)
        self._save(snapshot)
        return snapshot

    def _read(self, plans: Mapping[str, Any], number: int, stream: int | None) -> dict[str, Batch]:
        if self._kept:
            return {scan: kept.read(plans[scan][number], stream) for scan, kept in self._kept.items()}
        return {scan: windows.read(plans[scan][number], self._rows) for scan, windows in self._windows.items()}

    def _save(self, snapshot: Snapshot) -> None:
        self._saved = time.monotonic()
        if jax.process_index() == 0:
            self._checkpoints.save(snapshot)
            write_metrics(self._directory, snapshot)

    def _require_finite(self, values, number, epoch, plans):
        for value, batch in zip(values, number, strict=True):
            if not np.isfinite(value):
                where = "; ".join(
                    f"{scan}: " + ", ".join(f"{w.trial} from frame {w.start}" for w in plan[batch])
                    for scan, plan in plans.items()
                )
                raise TrainingError(
                    f"The training objective, or its gradient, is no longer a number at batch {batch} of epoch {epoch} "
                    f"({where}). Are there huge numbers in these windows? Else a smaller learning_rate may help. The "
                    f"last checkpoint, in {self._directory}, is from before."
                )


def _line(row: Mapping[str, Any]) -> str:
    validation = row["validation_objective"]
    shown = "none" if validation is None else f"{validation:.4f}"
    return f"epoch {row['epoch']}: training objective {row['training_objective']:.4f}, validation {shown}"


def _recordings(data: Any, name: str) -> dict[str, TrainingData]:
    if not isinstance(name, str):
        raise TypeError(f"name is {shown(name)}; expected that of a scan, such as 8-5.")
    recordings = dict(data) if isinstance(data, Mapping) else {name: data}
    if not recordings:
        raise ValueError("data is empty; expected at least one recording.")
    for scan in recordings:
        if not isinstance(scan, str) or not SCAN_NAME.fullmatch(scan):
            raise ValueError(
                f"name is {shown(scan)}, or a key of data is; expected letters, digits, '-', '_' and '.', such as 8-5."
            )
    return {
        scan: each if isinstance(each, TrainingData) else TrainingData(checks.path("data", each))
        for scan, each in recordings.items()
    }


def _tables(units: Any, recordings: Mapping[str, TrainingData]) -> dict[str, pd.DataFrame | None]:
    if units is None:
        return dict.fromkeys(recordings)
    if not isinstance(units, pd.DataFrame):
        raise TypeError(f"units is {shown(units)}; expected a table of units, or None.")
    if len(recordings) > 1:
        raise ValueError("units is given, and data has several scans; expected one.")
    ((scan, recording),) = recordings.items()
    if len(units) != recording.num_units:
        raise ValueError(
            f"units has {len(units)} rows, and {recording.directory} has {recording.num_units} units; expected one row "
            "per unit. Is the table of another scan or animal? Scans of different animals may have the same number."
        )
    return {scan: in_readout_order(units, recording.num_units)}


def _check_size(config: NetworkConfig, recording: TrainingData, scan: str) -> None:
    size = (config.stimulus_height, config.stimulus_width)
    if recording.size != size:
        raise DataError(
            f"{recording.directory} has frames of {recording.size[0]} x {recording.size[1]} pixels; the network reads "
            f"{size[0]} x {size[1]}. Resize them, for example with fnn_jax.videos.fit_frames."
        )


def _networks(
    recordings: Mapping[str, TrainingData], config: NetworkConfig, start: Twin | None, recipe: Recipe
) -> dict[str, Network]:
    """New networks, with what is transferred; they share the arrays of their core."""
    core: dict[str, Any]
    networks, core = {}, {}
    for index, (scan, recording) in enumerate(recordings.items()):
        own = NetworkConfig.from_dict(config.to_dict() | {"num_units": recording.num_units})
        network = Network(own, rngs=nnx.Rngs(np.random.SeedSequence([recipe.seed, index]).generate_state(1)[0].item()))
        taken = {} if start is None else _transferred(start, network, recipe, scan)
        core = core or {n: a for n, a in (named_parameters(network) | taken).items() if in_part(n, "core")}
        networks[scan] = replace_parameters(network, taken | core)
    return networks


def _transferred(start: Twin, network: Network, recipe: Recipe, scan: str) -> dict[str, Any]:
    given, wanted = named_parameters(start.network), named_parameters(network)
    for part in recipe.transfer:
        require_part("transfer", part, list(given))
    taken = {name: array for name, array in given.items() if any(in_part(name, part) for part in recipe.transfer)}
    for name, array in taken.items():
        if name not in wanted or wanted[name].shape != array.shape:
            there = list(wanted[name].shape) if name in wanted else "nothing of this name"
            raise ValueError(
                f"transfer names {name}, {list(array.shape)} in {start!r}; the network of {scan} has {there}. Transfer "
                "less, or train with the architecture of that twin (and, for its readout, with the same units)."
            )
    return taken


def _devices(devices: Sequence[jax.Device] | None, batch_size: int) -> Sequence[jax.Device]:
    if devices is not None:
        if batch_size % len(devices):
            raise ValueError(
                f"batch_size is {batch_size}, for {len(devices)} devices; expected a multiple of their number."
            )
        return devices
    available = jax.devices()
    if jax.process_count() > 1:
        if batch_size % len(available):
            raise ValueError(
                f"batch_size is {batch_size}, for {len(available)} devices of {jax.process_count()} processes; "
                "expected a multiple of their number."
            )
        return available
    return available[: max(n for n in range(1, len(available) + 1) if batch_size % n == 0)]
