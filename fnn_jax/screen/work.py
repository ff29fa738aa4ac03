"""What there is to do in a screen: blocks of stimuli, claimed and loaded while the devices work on others."""

import collections
import concurrent.futures
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from fnn_jax.common.progress import Bar
from fnn_jax.model.chunks import CHUNK_FRAMES
from fnn_jax.screen.results import DONE, WAITING, InMemory, Row, ScreenError
from fnn_jax.screen.source import Loaded, Source
from fnn_jax.screen.store import ScreenStore

BLOCKS_AHEAD = 2
LOADERS = 4  # threads that read stimuli


class Block:
    """Stimuli that are written together."""

    def __init__(self, number: int, stimuli: Sequence[Loaded], digests: Sequence[bytes]):
        self.number, self.stimuli, self.digests = number, stimuli, digests
        self.arrays: dict[int, dict[str, np.ndarray]] = {}

    def batches(self, batch_size: int) -> list[list[Loaded]]:
        """Those that can be shown, in batches of one dtype and about one length."""

        def kind(loaded):
            return str(loaded.inputs.stimuli.dtype), math.ceil(loaded.inputs.frames / CHUNK_FRAMES)

        shown = sorted((loaded for loaded in self.stimuli if not loaded.error), key=kind)
        of_one_dtype = itertools.groupby(shown, key=lambda loaded: kind(loaded)[0])
        return [batch for _, same in of_one_dtype for batch in _batched(same, batch_size)]

    def rows(self) -> list[Row]:
        return [
            Row(
                loaded.index,
                loaded.id,
                0 if loaded.error else loaded.inputs.frames,
                digest,
                self.arrays.get(loaded.index),
                loaded.error,
            )
            for loaded, digest in zip(self.stimuli, self.digests, strict=True)
        ]


class Work:
    """Blocks with something to do.

    Args:
        source: the stimuli.
        sink: the results; it says what is done, and gives each block to one process.
        errors: ``"raise"`` for a stimulus that cannot be shown, or ``"record"`` it.
        salt: of a stimulus, what decides its results besides itself.
    """

    def __init__(
        self, source: Source, sink: ScreenStore | InMemory, errors: str, salt: Callable[[Loaded], bytes] | None = None
    ):
        self._source, self._sink, self._errors, self._salt = source, sink, errors, salt
        self.count = source.count
        sink.verify()
        self.num_done = int((sink.done() == DONE).sum())
        self.busy: list[int] | None = None  # blocks that other processes had, the last time
        self.left = 0  # stimuli of a generator that other processes had
        self._ahead = concurrent.futures.ThreadPoolExecutor(1, "next-block")
        self._loaders = concurrent.futures.ThreadPoolExecutor(LOADERS, "load-stimulus")
        self._claims: dict[int, Any] = {}

    def __enter__(self) -> "Work":
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            for pool in (self._ahead, self._loaders):
                pool.shutdown(cancel_futures=True)
        finally:  # also when interrupted once more
            for number in list(self._claims):
                self._release(number)

    def blocks(self) -> Iterator[Block]:
        """Blocks that no other process has, loaded by another thread while this one works."""
        blocks = self._in_order() if self.count is None else self._by_number()
        end = object()
        pending = collections.deque(self._ahead.submit(next, blocks, end) for _ in range(BLOCKS_AHEAD))
        while (block := pending.popleft().result()) is not end:
            pending.append(self._ahead.submit(next, blocks, end))
            yield block

    def write(self, block: Block) -> None:
        self._sink.write(block.number, block.rows())
        self._release(block.number)

    def verify_done(self, bar: Bar) -> None:
        """Refuse stimuli that are others than those that are done.

        Those of a generator are compared when their turn comes.

        Raises:
            ScreenError: one of them is another one.
        """
        if not self._sink.verifies or self.count is None or not self.num_done:
            return
        bar.set_description("comparing with what is done")
        for numbers in _batched(np.flatnonzero(self._sink.done(0, self.count) == DONE), self._sink.block):
            self._compare(self._loaders.map(self._source.load, map(int, numbers)))
        bar.set_description("screen")

    def _compare(self, stimuli: Iterable[Loaded]) -> None:
        for loaded in stimuli:
            if loaded.error or self._digest(loaded) != self._sink.digest(loaded.index):  # type: ignore[union-attr]  # on disk
                reason = f" ({loaded.error})" if loaded.error else ""
                raise ScreenError(
                    f"Stimulus {loaded.id} is not the one that is done in {self._sink.path}{reason}. Go on with the "
                    "same stimuli, or choose another name."
                )
            if self.count is None and loaded.id != self._sink.id(loaded.index):  # type: ignore[union-attr]
                raise ScreenError(
                    f"Stimulus {loaded.index} is called {loaded.id}, and {self._sink.id(loaded.index)} in "  # type: ignore[union-attr]
                    f"{self._sink.path}. Go on with the same names, or choose another one."
                )

    def _by_number(self) -> Iterator[Block]:
        numbers = self._waiting() if self.busy is None else self.busy
        self.busy = []
        for number in numbers:
            if not self._claim(number):
                self.busy.append(number)
                continue
            start = number * self._sink.block
            flags = self._sink.done(start, min(start + self._sink.block, self.count))  # now that nobody else writes it
            waiting = [start + int(i) for i in np.flatnonzero(flags != DONE)]
            if waiting:
                yield self._block(number, list(self._loaders.map(self._source.load, waiting)))
            else:
                self._release(number)

    def _waiting(self) -> list[int]:
        """Blocks with something to do; several processes begin at different places."""
        flags, size = self._sink.done(0, self.count), self._sink.block
        numbers = [n for n in range(math.ceil(self.count / size)) if (flags[n * size : (n + 1) * size] != DONE).any()]
        begin = len(numbers) * jax.process_index() // jax.process_count()
        return numbers[begin:] + numbers[:begin]

    def _in_order(self) -> Iterator[Block]:
        """Of a generator, which cannot be asked again: what other processes have is theirs."""
        self.busy, given = [], 0
        for number, stimuli in enumerate(_batched(self._source, self._sink.block)):
            given += len(stimuli)
            if not self._claim(number):
                self.left += len(stimuli)
                continue
            flags = self._sink.done(stimuli[0].index, stimuli[-1].index + 1)
            self._compare(loaded for loaded, flag in zip(stimuli, flags, strict=True) if flag == DONE)
            waiting = [loaded for loaded, flag in zip(stimuli, flags, strict=True) if flag != DONE]
            if waiting:
                yield self._block(number, waiting)
            else:
                self._release(number)
        more = np.flatnonzero(self._sink.done(given) != WAITING)
        if self._sink.verifies and len(more):
            raise ScreenError(
                f"The generator ended after {given} stimuli, and {self._sink.path} holds {given + int(more[-1]) + 1}. "
                "Go on with the same generator, or choose another name."
            )

    def _block(self, number: int, stimuli: Sequence[Loaded]) -> Block:
        for loaded in stimuli:
            if loaded.error and self._errors == "raise":
                raise ValueError(f"stimulus {loaded.id}: {loaded.error}")
        digests = [b"" if loaded.error or not self._sink.verifies else self._digest(loaded) for loaded in stimuli]
        return Block(number, stimuli, digests)

    def _digest(self, loaded: Loaded) -> bytes:
        return loaded.digest(b"" if self._salt is None else self._salt(loaded))

    def _claim(self, number: int) -> bool:
        claim = self._sink.claim(number)
        if claim is not None:
            self._claims[number] = claim
        return claim is not None

    def _release(self, number: int) -> None:
        self._sink.release(self._claims.pop(number))


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
