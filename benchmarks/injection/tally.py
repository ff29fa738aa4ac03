"""What became of each fault, and the table of it."""

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from injection.works import OTHER, PART, SAME, Values, Work

REFUSED, MENDED, HARMLESS = "refused", "mended", "harmless"
WRONG, UNCLEAR, LOST = "WRONG RESULT", "UNCLEAR ERROR", "WORK LOST"
BAD = (WRONG, UNCLEAR, LOST)
HEADER = (
    "folder",
    "faults",
    "refused, path named",
    "mended, or gone on, to the same result",
    "harmless: the same is read",
    "**wrong result loaded**",
    "**unclear error**",
    "**finished work lost**",
)
NO_ROOM = "Make room"


class Tally:
    """Counts by work; what must not be is listed."""

    def __init__(self):
        self.counts: dict[str, Counter[str]] = {}
        self.kinds: Counter[str] = Counter()
        self.cases: list[str] = []

    def add(self, work: Work, kind: str, outcome: str, what: str) -> None:
        self.counts.setdefault(work.title, Counter())[outcome] += 1
        self.kinds[kind] += 1
        if outcome.split(":")[0] in BAD:
            self.cases.append(f"{work.title}, {kind}, {what}: {outcome}")

    @property
    def faults(self) -> int:
        return sum(self.kinds.values())

    def table(self) -> str:
        def row(title: str, counts: Counter[str]) -> list[Any]:
            by_kind: Counter[str] = Counter()
            for outcome, number in counts.items():
                by_kind[outcome.split(":")[0]] += number
            return [title, counts.total(), *(by_kind[name] for name in (REFUSED, MENDED, HARMLESS, *BAD))]

        rows = [row(title, counts) for title, counts in self.counts.items()]
        rows.append(row("all", sum(self.counts.values(), Counter())))
        lines = [HEADER, ["---", *["---:"] * (len(HEADER) - 1)], *rows]
        return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def attempt(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Exception | None, bool]:
    """What it returns, what it raises, and whether it warned."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            return function(*arguments), None, bool(warned)
        except Exception as error:
            return None, error, bool(warned)


def refusal(error: Exception | dict[str, Any], path: Path, remedy: str = "") -> str:
    """Whether an error is one for users: of the kinds that they expect, with the path, and the remedy."""
    if not isinstance(error, dict):
        error = {"kind": type(error).__name__, "text": str(error), "expected": isinstance(error, ValueError | OSError)}
    if error["expected"] and str(path) in error["text"] and remedy in error["text"]:
        return REFUSED
    return f"{UNCLEAR}: {error['kind']}: {error['text'][:500]}"


def outcome_of_reading(work: Work, path: Path, *known: Values) -> str:
    """Of a folder that may hold any of some results."""
    found, error, warned = attempt(work.read, path)
    if error is not None:
        return refusal(error, path)
    compared = [work.compare(found, values) for values in known]
    if SAME in compared:
        return MENDED if warned else HARMLESS
    return PART if PART in compared else f"{WRONG}: {OTHER}"


def outcome_of_going_on(work: Work, path: Path, before: str, expected: Values) -> str:
    """After the same call, made again: the same in the end, or a refusal that took nothing away."""
    _, error, warned = attempt(work.make, path)
    if error is not None:
        if before == HARMLESS and outcome_of_reading(work, path, expected) != HARMLESS:
            return f"{LOST}: it could be read before {error}"
        return refusal(error, path)
    after = outcome_of_reading(work, path, expected)
    if after == HARMLESS:
        return HARMLESS if before == HARMLESS and not warned else MENDED
    return after if after.startswith(BAD) else f"{LOST}: after the same call, {after}"
