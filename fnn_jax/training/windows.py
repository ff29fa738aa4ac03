"""Which windows of which trials make up an epoch, and reading them ahead of time.

A plan is a function of seed and epoch alone, so a training goes on in the middle of an epoch with the same batches.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fnn_jax.data.recordings import ARRAYS, BEHAVIOUR, EYE, RESPONSES, DataError
from fnn_jax.data.training import TrainingData, behaviour_of, windows_without
from fnn_jax.training.recipe import Recipe

READERS = 4  # threads; they wait for the disk
AHEAD = 3  # batches

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batch(NamedTuple):
    """Windows side by side, time first: ``[T, N, ...]``. Missing responses are NaN.

    ``features`` are outputs of the core, ``[T, N, stream, H, W, C]``, which replace stimuli and traces where they were
    kept.
    """

    stimuli: np.ndarray | None
    eye: np.ndarray | None
    behaviour: np.ndarray | None
    responses: np.ndarray
    features: np.ndarray | None = None


class Window(NamedTuple):
    """Where a window lies."""

    trial: str
    start: int


class Windows:
    """The windows of one recording that a recipe allows.

    Raises:
        DataError: a trial is shorter than a window; behaviour is missing where the recipe allows none; no window is
            left; the scale of traces or responses is not that of the layout, unless ``accept_scaling``.
    """

    def __init__(self, data: TrainingData, recipe: Recipe, accept_scaling: bool = False, progress: bool | None = None):
        self.data, self.recipe = data, recipe
        short = data.trials.index[data.trials["frames"] < recipe.window_frames].tolist()
        if short:
            raise DataError(
                f"{data.directory}: {len(short)} trials have fewer than the {recipe.window_frames} frames of a window "
                f"({', '.join(short[:5])}; the shortest has {data.trials['frames'].min()}). Choose a smaller "
                "window_frames, or leave these trials out."
            )
        values = data.values(progress)
        wrong = values.scaling_problems()
        if wrong and not accept_scaling and not data.is_part:
            raise DataError(
                f"{data.directory} is not scaled as expected:\n  " + "\n  ".join(wrong) + "\nScale it, or set "
                "accept_scaling where this is meant: the recipe and the published cores are made for these scales."
            )
        bad = sum(int(missing.any()) for missing in values.missing.values())
        if recipe.missing == "error" and bad:
            names = [name for name, missing in values.missing.items() if missing.any()]
            raise DataError(
                f"{data.directory}: behaviour is NaN in {bad} trials ({', '.join(names[:5])}), and missing is 'error'. "
                "Choose 'mean' (NaN becomes 0) or 'drop' (such windows are left out), or fill the gaps."
            )
        self._starts: dict[bool, dict[str, Any]] = {True: {}, False: {}}
        for trial, row in data.trials.iterrows():
            missing = values.missing[trial]
            missing = missing if recipe.missing == "drop" else np.zeros_like(missing)
            starts = windows_without(missing, recipe.window_frames)
            starts = starts[starts % recipe.window_step == 0]
            if len(starts):
                self._starts[bool(row["training"])][trial] = starts
        if not self._starts[True]:
            raise DataError(
                f"{data.directory}: no window of {recipe.window_frames} frames of the training set is free of missing "
                "behaviour, and missing is 'drop'. Choose 'mean', or a smaller window_frames."
            )

    @property
    def has_validation(self) -> bool:
        return bool(self._starts[False])

    def all(self) -> list[Window]:
        """Every window there is."""
        return [
            Window(trial, int(start))
            for chosen in self._starts.values()
            for trial, starts in chosen.items()
            for start in starts
        ]

    def plan(self, epoch: int, training: bool) -> list[list[Window]]:
        """The batches of an epoch: trials are drawn with equal probability, then a window of each.

        Those of validation are the same in all epochs, which can so be compared.
        """
        recipe = self.recipe
        count = recipe.training_batches if training else recipe.validation_batches
        if not self._starts[training]:
            return []
        random = np.random.default_rng([recipe.seed, epoch, 1] if training else [recipe.seed, 0, 0])
        names = list(self._starts[training])
        windows = []
        for number in random.integers(len(names), size=count * recipe.batch_size):
            starts = self._starts[training][names[number]]
            windows.append(Window(names[number], int(starts[random.integers(len(starts))])))
        return [windows[i : i + recipe.batch_size] for i in range(0, len(windows), recipe.batch_size)]

    def read(self, windows: Sequence[Window], rows: Collection[int] | None = None) -> Batch:
        """The windows of a batch, without the traces that the recipe leaves out.

        With ``rows``, only those windows are read; in place of the others is a copy of one of them.
        """
        rows = range(len(windows)) if rows is None else rows
        read = {row: self._read(windows[row]) for row in rows}
        any_of_them = read[min(rows)]
        ordered = [read.get(row, any_of_them) for row in range(len(windows))]
        columns = (np.stack([arrays[name] for arrays in ordered], axis=1) for name in ARRAYS)
        return Batch(*columns)

    def _read(self, window: Window) -> dict[str, np.ndarray]:
        arrays = self.data.read(window.trial, window.start, window.start + self.recipe.window_frames)
        arrays |= behaviour_of(arrays)
        for stage, name in (("perspective", EYE), ("modulation", BEHAVIOUR)):
            if stage in self.recipe.without:
                arrays[name] = np.zeros_like(arrays[name])
        arrays[RESPONSES] = np.float32(arrays[RESPONSES])  # type: ignore[assignment]
        return arrays

    def read_responses(self, window: Window) -> np.ndarray:
        """Responses alone, ``[T, U]``."""
        stop = window.start + self.recipe.window_frames
        return np.float32(self.data.read(window.trial, window.start, stop, [RESPONSES])[RESPONSES])  # type: ignore[return-value]


def streams_of(recipe: Recipe, epoch: int, num_streams: int) -> np.ndarray:
    """The stream that each update of an epoch sees, where the recipe samples them."""
    updates = recipe.training_batches // recipe.accumulate
    return np.random.default_rng([recipe.seed, epoch, 2]).integers(num_streams, size=updates)


def read_ahead(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``map`` in order, in threads that are a few items ahead."""
    with ThreadPoolExecutor(READERS, "reader") as pool:
        waiting = deque(pool.submit(function, item) for item in items[:AHEAD])
        try:
            for item in [*items[AHEAD:], *[None] * min(AHEAD, len(items))]:
                result = waiting.popleft().result()
                if item is not None:
                    waiting.append(pool.submit(function, item))
                yield result
        finally:
            for future in waiting:
                future.cancel()
