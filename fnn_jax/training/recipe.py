"""What decides the result of a training: the recipe, and the schedule of its learning rate."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fnn_jax.common import checks
from fnn_jax.common.checks import boolean, integer, is_number, mapping, one_of, shown
from fnn_jax.model.numerics import PRECISIONS

MISSING = ("mean", "drop", "error")
TRACES = ("perspective", "modulation")


@dataclass(frozen=True)
class Recipe:
    """How a twin is trained. The defaults are the released recipe.

    Attributes:
        train: what is trained: names of parts of the network, such as ``"readout"`` or ``"perspective"``; the rest is
            frozen. Default: everything but the core and the LSTM of the modulation.
        transfer: parts that are taken over from a trained twin, where one is given; the rest starts anew.
        without: stages whose traces are replaced by zeros, out of ``"perspective"`` (eye) and ``"modulation"``.
        epochs, cycles: epochs of a cycle; cycles follow one another, each with its own cosine of the learning rate.
        warmup_epochs: at the start of the first cycle, in which the learning rate grows from zero.
        learning_rate, momentum, nesterov, weight_decay: of stochastic gradient descent.
        optimizer: ``"released"``, or the name of one in optax, such as ``"adam"``, which gets the learning rate alone.
        clip, clip_floor: each gradient is at most ``clip`` times as long as its parameter, or as a parameter whose
            numbers are ``clip_floor / clip`` (adaptive gradient clipping; the released ``eps`` is ``clip_floor``).
        window_frames, batch_size: windows of a recording and their number in a batch.
        window_step: windows start at multiples of this frame of a trial.
        training_batches, validation_batches: of an epoch.
        sample_stream: a training batch sees one stream, at random; validation sees all.
        burn_in: frames at the start of a window that the loss does not count.
        missing: what becomes of windows in which behaviour is NaN: ``"mean"``, they are 0, the mean of a z-scored
            trace; ``"drop"``, they are not used; ``"error"``, none may be.
        accumulate: batches whose gradients are averaged before an update.
        patience: epochs without a better validation objective after which training stops; None: never.
        decorrelation, decorrelation_frames, decorrelation_rate: weight of the penalty on correlated channels of the
            core; the frames at the end of a window, and the part of their samples (0: all), over which it is taken.
        precision: of the products in the core; see docs/speed.md.
        keep_features: outputs of the core are computed once and kept on disk, where only the readout is trained and
            nothing is drawn at random before it.
        seed: of everything random.
    """

    train: tuple[str, ...] = ("perspective", "modulation.linear", "readout")
    transfer: tuple[str, ...] = ("core", "modulation.lstm")
    without: tuple[str, ...] = ()
    epochs: int = 100
    cycles: int = 1
    warmup_epochs: int = 10
    optimizer: str = "released"
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    clip: float = 0.01
    clip_floor: float = 1e-3
    window_frames: int = 100
    window_step: int = 1
    batch_size: int = 4
    training_batches: int = 500
    validation_batches: int = 20
    sample_stream: bool = True
    burn_in: int = 10
    missing: str = "mean"
    accumulate: int = 1
    patience: int | None = None
    decorrelation: float = 0.0
    decorrelation_frames: int = 1
    decorrelation_rate: float = 0.0
    precision: str = "float32"
    keep_features: bool = False
    seed: int = 0

    def __post_init__(self):
        for name in ("train", "transfer", "without"):
            value = getattr(self, name)
            names = [value] if isinstance(value, str) else checks.sequence(name, value, "names", empty=True)
            wrong = [each for each in names if not isinstance(each, str)]
            if wrong:
                raise TypeError(f"{name} holds {shown(wrong[0])}; expected names.")
            object.__setattr__(self, name, tuple(names))
        _require_integers(
            self, 1, "epochs", "cycles", "window_frames", "window_step", "batch_size", "training_batches", "accumulate"
        )
        _require_integers(self, 0, "warmup_epochs", "validation_batches", "burn_in")
        object.__setattr__(self, "seed", checks.seed("seed", self.seed))
        _require_integers(self, 1, "decorrelation_frames")
        if self.patience is not None:
            _require_integers(self, 1, "patience")
        positive = ("learning_rate", "clip", "clip_floor")
        for name in (*positive, "momentum", "weight_decay", "decorrelation", "decorrelation_rate"):
            value = getattr(self, name)
            # An infinite ``clip`` is that of the released optimiser where it clips nothing.
            if not (name == "clip" and is_number(value) and value == math.inf):
                value = checks.number(name, value, **({"above": 0} if name in positive else {"least": 0}))
            if value >= 1 and name in ("momentum", "decorrelation_rate"):
                raise ValueError(f"{name} is {value:g}; expected a number from 0 on, below 1.")
            object.__setattr__(self, name, float(value))
        for name in ("nesterov", "sample_stream", "keep_features"):
            object.__setattr__(self, name, boolean(name, getattr(self, name)))
        if not isinstance(self.optimizer, str):
            raise TypeError(f"optimizer is {shown(self.optimizer)}; expected 'released' or a name in optax.")
        one_of("missing", self.missing, MISSING)
        one_of("precision", self.precision, PRECISIONS)
        for stage in self.without:
            one_of("without", stage, TRACES)
        if not self.train:
            raise ValueError("train names nothing; expected parts of the network, such as 'readout'.")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}; expected fewer than the {self.epochs} epochs.")
        if self.burn_in >= self.window_frames:
            raise ValueError(
                f"burn_in is {self.burn_in}; expected fewer than the {self.window_frames} frames of a window: nothing "
                "would be left to learn from."
            )
        if self.training_batches % self.accumulate:
            raise ValueError(f"accumulate is {self.accumulate}; expected a divisor of {self.training_batches} batches.")
        if self.patience is not None and not self.validation_batches:
            raise ValueError("patience is set, and validation_batches is 0: there is nothing to judge by.")
        if self.keep_features and self.train != ("readout",):
            raise ValueError(
                f"keep_features is set, and train is {list(self.train)}; expected ['readout']: what comes before must "
                "not change."
            )
        if self.decorrelation and self.keep_features:
            raise ValueError("decorrelation is set, and so is keep_features: the core, which it is about, is frozen.")
        if self.keep_features and self.window_step == 1:
            object.__setattr__(self, "window_step", self.window_frames)

    @property
    def num_epochs(self) -> int:
        return self.cycles * self.epochs

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted over all cycles: warm-up, then half a cosine per cycle."""
        cycle, epoch = divmod(epoch, self.epochs)
        warmup = self.warmup_epochs if cycle == 0 else 0
        if epoch < warmup:
            return self.learning_rate * (epoch + 0.5) / warmup
        done = (epoch - warmup) / (self.epochs - warmup)
        return self.learning_rate * (math.cos(math.pi * done) + 1) / 2

    def to_dict(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """A recipe of some entries, the others at their default.

        Raises:
            ValueError: an entry that does not exist; the nearest name is suggested.
        """
        values = mapping("values", values, "from names of entries of a recipe to their values")
        require_known("the recipe", values, [field.name for field in dataclasses.fields(cls)])
        return cls(**values)


def require_known(where: str, values: Mapping[str, Any], known: list[str]) -> None:
    """Raise ``ValueError`` for the first key that is not known, with the nearest name."""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.4)
            suggestion = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(f"{where} has the entry {key!r}; expected {', '.join(known)}.{suggestion}")


def _require_integers(recipe: Recipe, least: int, *names: str) -> None:
    for name in names:
        value = getattr(recipe, name)
        object.__setattr__(recipe, name, integer(name, value, least))
