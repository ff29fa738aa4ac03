"""Everything that ``fnn_jax`` writes into folders, small: how it is made, read as a user reads it, and gone on with."""

import contextlib
import dataclasses
import json
import unittest.mock
from pathlib import Path
from typing import Any

import numpy as np
import optax
from jax import export

from fnn_jax import Screen, Twin, open_screen, synthesis
from fnn_jax.data import TrainingData
from fnn_jax.evaluation import Evaluation
from fnn_jax.model.parameters import parameter_arrays
from fnn_jax.program import exporting, loading
from fnn_jax.screen import work as screen_work
from fnn_jax.synthesis import optimisation
from fnn_jax.training import Recipe, Training, train
from fnn_jax.training import features as training_features
from fnn_jax.training import loop as training_loop
from fnn_jax.training.features import KeptFeatures
from fnn_jax.training.step import Steps
from fnn_jax.training.windows import Windows
from fnn_jax.weights import store
from injection.inputs import SIZE

RECIPE = Recipe(
    epochs=1,
    warmup_epochs=0,
    training_batches=3,
    validation_batches=1,
    window_frames=8,
    burn_in=2,
    batch_size=2,
    learning_rate=0.3,
    clip=0.1,
)
SAME, PART, OTHER = "the same", "a part, and it says so", "something else"
Values = dict[str, np.ndarray]


class Work:
    """A kind of folder.

    Attributes:
        goes_on: the same call goes on with what is there. Else it replaces what is there: ``begin`` makes an older one.
        every: the same call is made after one damage of so many to what was finished, where it is slow.
        slow: it takes seconds: there are half as many faults of it.
        reading_is_not_going_on: there is a way to read what is there that computes nothing.
    """

    title: str
    goes_on = True
    every = 1
    slow = False
    reading_is_not_going_on = True

    def __init__(self, inputs: Path):
        self.inputs = inputs
        self._kept: dict[str, Any] = {}

    def once(self, owner: Any, name: str) -> Any:
        """In a block: what a function makes for the first call serves for all; nothing is traced again."""
        make = getattr(owner, name)

        def kept(*arguments: Any, **options: Any) -> Any:
            if name not in self._kept:
                self._kept[name] = make(*arguments, **options)
            return self._kept[name]

        return unittest.mock.patch.object(owner, name, kept)

    def prepare(self) -> None:
        """Read the inputs, before anything is killed."""
        self.twin = Twin.load(self.inputs / "twin")

    def make(self, out: Path) -> None:
        raise NotImplementedError

    def read(self, out: Path) -> Values:
        raise NotImplementedError

    def begin(self, out: Path) -> None:
        """Make what the call may find there: an older result, or unfinished work."""
        raise NotImplementedError

    def compare(self, found: Values, expected: Values) -> str:
        return SAME if _equal(found, expected) else OTHER


class Weights(Work):
    title, goes_on = "weights, `Twin.save`", False

    def make(self, out):
        self.twin.save(out, overwrite=True)

    def begin(self, out):
        Twin.load(self.inputs / "old").save(out)

    def read(self, out):
        return _of_twin(_load(out))


class Screening(Work):
    title = "screen, `Screen(...)(videos, out)`"

    def prepare(self):
        super().prepare()
        self._screen = Screen(self.twin, batch_size=2, progress=False)
        self._videos = {
            f"clip {i}": np.random.default_rng(i).integers(0, 256, (9 + i % 2, *SIZE), np.uint8) for i in range(6)
        }

    def make(self, out):
        self._screen(self._videos, out)

    def begin(self, out):
        with _stops(screen_work.Work, "write", 2):
            self.make(out)

    def read(self, out):
        opened = open_screen(out)
        names = ("responses", "stimulus", "frames", "done", "error", "readout_id", "scan", "area")
        return {name: opened[name].values.copy() for name in names} | {"settings": _text(opened.attrs["settings"])}

    def compare(self, found, expected):
        done = found["done"] == 1
        if done.all() or found["done"].shape != expected["done"].shape:
            return super().compare(found, expected)
        # There is no room yet for the last frames of stimuli that are longer than those that are done.
        frames = found["responses"].shape[1]
        shorter = expected | {"responses": expected["responses"][:, :frames]}
        by_row = ("responses", "stimulus", "frames", "error")
        same = _equal(*({name: values[name][done] for name in by_row} for values in (found, shorter)))
        return PART if same and np.isnan(expected["responses"][done][:, frames:]).all() else OTHER


class Synthesising(Work):
    title, slow = "synthesis, `synthesize(out=)`", True

    def make(self, out):
        options = {"num_frames": 6, "burn_in": 2, "steps": 12, "batch_size": 2, "progress": False}
        with self.once(optimisation, "Runner"), self.once(optimisation.Problem, "digest"):
            synthesis.synthesize(self.twin, [4, 1, 3], **options, optimizer=optax.adam(0.1), out=out)

    def begin(self, out):
        with _stops(optimisation.Folder, "save_batch", 2):
            self.make(out)

    def read(self, out):
        loaded = synthesis.Synthesis.load(out)
        return loaded.arrays() | {"record": _text(loaded.record)}


class TrainingWork(Work):
    title, every, slow = "training, `train(out=)`", 3, True

    def prepare(self):
        super().prepare()
        self._data = TrainingData(self.inputs / "training_data")

    def make(self, out):
        with self.once(training_loop, "Steps"):
            train(self._data, out, self.twin, RECIPE, checkpoint_minutes=0, progress=False)

    def begin(self, out):
        with _stops(Steps, "update", 3):
            self.make(out)

    def read(self, out):
        store._cores.clear()
        training = Training(out)
        table = training.metrics
        values = {f"metrics {name}": table[name].to_numpy(float) for name in table}
        for which in ("best", "last"):
            values |= {f"{which} {name}": array for name, array in _of_twin(training.twin(which)).items()}
        return values | {"record": _text(training.record)}


class Evaluating(Work):
    title, goes_on = "evaluation, `Evaluation.save`", False

    def prepare(self):
        self._found = Evaluation.load(self.inputs / "twin evaluation")

    def make(self, out):
        self._found.save(out, overwrite=True)

    def begin(self, out):
        Evaluation.load(self.inputs / "old evaluation").save(out)

    def read(self, out):
        loaded = Evaluation.load(out)
        tables = (loaded.table.reset_index(), loaded.per_video)
        values = {f"{i} {name}": table[name].to_numpy() for i, table in enumerate(tables) for name in table}
        return values | {"settings": _text(loaded.settings)}


class Exporting(Work):
    title, goes_on = "program, `Twin.export_program`", False

    def make(self, out):
        with unittest.mock.patch.object(exporting, "_export", self._exported):
            self.twin.export_program(out, overwrite=True)

    def begin(self, out):
        with unittest.mock.patch.object(exporting, "_export", self._exported):
            Twin.load(self.inputs / "old").export_program(out)

    def _exported(self, rollout, length, family, platforms, arguments):
        """Lowered once: it is of any weights, and of the one other thing that decides it, the dtype of stimuli."""
        path = self.inputs / f"exported {length} {family} {arguments[2].dtype}"
        if not path.exists():
            path.write_bytes(_EXPORT(rollout, length, family, platforms, arguments).serialize())
        return export.deserialize(bytearray(path.read_bytes()))

    def read(self, out):
        loaded = loading.load(out)
        video = np.random.default_rng(0).integers(0, 256, (3, *SIZE), np.uint8)
        about = {name: value for name, value in loaded.about.items() if name != "sha256"}
        return {"responses": loaded.predict(video), "units": _text(loaded.units), "about": _text(about)}


class Features(Work):
    title, slow = "kept features, `Recipe(keep_features=True)`", True
    reading_is_not_going_on = False

    def prepare(self):
        super().prepare()
        recipe = dataclasses.replace(RECIPE, train="readout", window_step=8, keep_features=True)
        self._windows = Windows(TrainingData(self.inputs / "training_data"), recipe, progress=False)

    def make(self, out):
        self._open(out)

    def _open(self, out):
        with self.once(training_features, "Twin"):
            return KeptFeatures(out, self._windows, self.twin.network, progress=False)

    def begin(self, out):
        with _stops(training_features, "array_digest", 3):
            self.make(out)

    def read(self, out):
        """As a training does: what is missing, or damaged, is computed at once."""
        return {"features": self._open(out).read(self._windows.all(), None).features}


WORKS = {
    work.__name__: work for work in (Weights, Screening, Synthesising, TrainingWork, Evaluating, Exporting, Features)
}


_EXPORT = exporting._export


class Stop(BaseException):
    pass


@contextlib.contextmanager
def _stops(owner: Any, name: str, number: int):
    """Let a function be called some times; so many times in all end everything."""
    whole, left = getattr(owner, name), number

    def stop(*arguments, **options):
        nonlocal left
        left -= 1
        if left == 0:
            raise Stop
        return whole(*arguments, **options)

    with contextlib.suppress(Stop), unittest.mock.patch.object(owner, name, stop):
        yield


def _load(out: Path) -> Twin:
    store._cores.clear()  # a core that is in memory would not be read
    return Twin.load(out)


def _of_twin(twin: Twin) -> Values:
    arrays = {name: np.asarray(array) for name, array in parameter_arrays(twin.network).items()}
    return arrays | {"units": _text(twin.units.to_csv()), "about": _text([twin.name, twin.label, twin.fingerprint()])}


def _text(value: Any) -> np.ndarray:
    return np.array(json.dumps(value, sort_keys=True, default=str))


def _equal(found: Values, expected: Values) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], array, equal_nan=np.issubdtype(np.asarray(array).dtype, np.floating))
        for name, array in expected.items()
    )
