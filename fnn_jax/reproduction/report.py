"""What a comparison with published numbers found: parts, and the report that they make together."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from fnn_jax.common.files import whole_file
from fnn_jax.reproduction.page import page
from fnn_jax.version import __version__

WORDS = {True: "PASS", False: "FAIL", None: "NOT DONE"}
NOT_COMPARED = "NOT COMPARED"  # done, with figures that the published ones say nothing of


@dataclasses.dataclass(frozen=True)
class Part:
    """What one comparison found.

    Attributes:
        name: ``responses``, ``readout``, ``tuning``, ``performance`` or ``training``.
        passed: whether everything lies within the tolerance that ``facts`` state; None: it was not done, or, where
            there is a table, cannot be compared.
        verdict: one sentence.
        facts: what was compared and measured, by name, with units.
        table: a row for each unit, scan or measure.
        notes: what must be known beside it: what else was tried, what differs from how the published ones were made.
        draw: draws the figure; of a path, or None.
    """

    name: str
    passed: bool | None
    verdict: str
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    table: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()
    draw: Callable[[str | os.PathLike | None], Any] | None = None

    @property
    def word(self) -> str:
        """``PASS``, ``FAIL``, ``NOT DONE`` or ``NOT COMPARED``."""
        return NOT_COMPARED if self.passed is None and len(self.table) else WORDS[self.passed]

    def text(self) -> str:
        """Verdict, facts and notes, line by line."""
        width = max(map(len, self.facts), default=0)
        lines = [f"{self.name}: {self.word}. {self.verdict}"]
        lines += [f"  {name:<{width}}  {value}" for name, value in self.facts.items()]
        lines += [f"  - {note}" for note in self.notes]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Report:
    """Parts together; ``print`` shows the block of text that fits into an issue."""

    parts: tuple[Part, ...]

    @property
    def passed(self) -> bool:
        """Whether every part was done, and passed."""
        return all(part.passed is True for part in self.parts)

    @property
    def failed(self) -> bool:
        """Whether a part failed, or could not be done; one that was done and cannot be compared did not."""
        return any(part.word in (WORDS[False], WORDS[None]) for part in self.parts)

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """What to paste into an issue: versions, verdicts, facts and notes."""
        head = f"fnn-jax reproduce: fnn_jax {__version__}, jax {jax.__version__}, {jax.devices()[0].device_kind}"
        return "\n\n".join([head, *(part.text() for part in self.parts)]) + "\n"

    def save(self, folder: str | os.PathLike) -> list[Path]:
        """Write ``report.txt``, ``report.html`` (with its figures inside), and, for each part that was done,
        ``PART.csv`` and ``PART.png``; each whole or not at all, over those of an earlier report. Returns paths.

        Raises:
            DiskFullError, OSError: it cannot be written.
        """
        folder = Path(folder).expanduser()
        written, figures = [], {}
        for part in self.parts:
            if part.draw is not None:
                figures[part.name] = folder / f"{part.name}.png"
                part.draw(figures[part.name])
                written.append(figures[part.name])
            if len(part.table):
                with whole_file(folder / f"{part.name}.csv") as path:
                    part.table.to_csv(path, index=False)
                written.append(folder / f"{part.name}.csv")
        texts = {"report.txt": self.text(), "report.html": page(self, figures)}
        for name, text in texts.items():
            with whole_file(folder / name) as path:
                path.write_text(text, encoding="utf-8")
            written.append(folder / name)
        return written
