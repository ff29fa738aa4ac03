"""Progress: a bar where somebody looks, a line now and then in a log; who sees what is decided here."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm.auto import tqdm as Bar

from fnn_jax.common.checks import boolean
from fnn_jax.common.rate import HZ

SHORT_FRAMES = 20 * HZ  # videos below are over before a bar says much
FIRST_S = 5.0  # without a word; what takes less needs none
EVERY_S = 30.0  # between lines of a log
COMPILING = "compiling"
EXPECTED = "which takes seconds to minutes, once"
PLURALS = {"stimulus": "stimuli"}


def checked_progress(progress: Any) -> bool | None:
    """The argument ``progress`` of public functions, before any work: True, False or None.

    Raises:
        TypeError: it is something else.
    """
    return None if progress is None else boolean("progress", progress)


def progress_bar(
    progress: bool | None,
    description: str,
    unit: str,
    total: int | None = None,
    *,
    over: Iterable[Any] | None = None,
    done: int = 0,
    least: int = 0,
    scaled: bool = False,
    compiles: bool = False,
) -> Bar:
    """A bar of ``total`` units, or over the items of ``over``, of which some are done.

    Args:
        progress: show it; None: in terminals and notebooks, where there are ``least`` units or more; elsewhere a line
            after ``FIRST_S`` and every ``EVERY_S`` seconds, on the standard error.
        unit: a word, such as ``"frame"``. scaled: numbers as 1.2M.
        compiles: before the first unit a program is compiled, which is said.
    """
    progress = checked_progress(progress)
    if progress is None and (not _somebody_looks() or (total is not None and total < least)):
        lines = _Lines(over, description, total, initial=done, unit=unit, unit_scale=scaled, delay=float("inf"))
        lines.begin(compiles)
        return lines
    bar = _Shown(over, description, total, initial=done, unit=unit, unit_scale=scaled, disable=progress is False)
    if compiles and not bar.disable:
        bar.set_postfix_str(COMPILING)
    return bar


def say_resumed(bar: Bar) -> None:
    """Say that work goes on where an earlier run ended: with the units that ``bar`` has counted so far."""
    if not bar.disable:
        of_all = "" if bar.total is None else f" of {bar.total}"
        done = f"{bar.n}{of_all} {_plural(bar.unit)} were done before"
        bar.write(f"{bar.desc.removesuffix(': ')}: resumed; {done}", file=sys.stderr)


def terminal_or_lines() -> bool | None:
    """``progress`` of a command: in a terminal a bar even for what is short; elsewhere lines, where it takes long."""
    return True if sys.stderr.isatty() else None


def _plural(unit: str) -> str:
    return PLURALS.get(unit, f"{unit}s")


def _somebody_looks() -> bool:
    """Whether the standard error is a terminal, or this is a notebook, whose bars are no text."""
    in_notebook = any(kind.__module__ == "tqdm.notebook" for kind in Bar.__mro__)
    return in_notebook or (hasattr(sys.stderr, "isatty") and sys.stderr.isatty())


class _Shown(Bar):
    """A bar that says that something is compiled until the first unit is done."""

    def update(self, n: float = 1) -> bool | None:
        if not self.disable and self.postfix == COMPILING:
            self.set_postfix_str("", refresh=False)
        return super().update(n)


class _Lines(Bar):
    """What ``Bar`` counts, as whole lines now and then: for pipes, logs, and what is short unless it takes long."""

    monitor_interval = 0  # no thread of tqdm's that looks after redrawing

    def begin(self, compiles: bool) -> None:
        """Speak from now on."""
        self._ended, self._compiles = threading.Event(), compiles
        self._started: tuple[float, float] | None = None  # when the first units were done, and how many
        threading.Thread(target=self._speak, name="progress", daemon=True).start()

    def _speak(self) -> None:
        wait = FIRST_S
        while not self._ended.wait(wait):
            print(self._line(), file=sys.stderr, flush=True)
            wait = EVERY_S

    def _line(self) -> str:
        of_all = "" if self.total is None else f" of {self._number(self.total)}"
        line = f"{self.desc.removesuffix(': ')}: {self._number(self.n)}{of_all} {_plural(self.unit)}"
        now = time.time()
        line += f", {self.format_interval(now - self.start_t)} elapsed"
        if self._started is None:
            return f"{line}; {COMPILING}, {EXPECTED}" if self._compiles else line
        since, first = self._started
        if self.total is not None and self.n > first:  # compilation is left out of the rate
            remaining = (self.total - self.n) * (now - since) / (self.n - first)
            line += f", about {self.format_interval(remaining)} remaining"
        return f"{line}, {self.postfix}" if self.postfix else line

    def _number(self, number: float) -> str:
        return self.format_sizeof(number) if self.unit_scale else str(number)

    def update(self, n: float = 1) -> bool | None:
        shown = super().update(n)
        if self._started is None:
            self._started = time.time(), self.n
        return shown

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self.iterable:
                yield item
                self.update()
        finally:
            self.close()

    def display(self, *args: Any, **options: Any) -> None:
        """Nothing is redrawn."""

    def close(self) -> None:
        if hasattr(self, "_ended"):
            self._ended.set()
        super().close()
