"""The report as one HTML file, with the figures inside it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fnn_jax.common import page as pages
from fnn_jax.version import __version__

if TYPE_CHECKING:
    from fnn_jax.reproduction.report import Part, Report

KINDS = {True: "good", False: "bad", None: "other"}


def page(report: "Report", figures: Mapping[str, Path]) -> str:
    """A whole HTML page; ``figures``: PNG files by the name of their part."""
    parts = [line for part in report.parts for line in _part(part, figures.get(part.name))]
    parts += [pages.heading("How it was made"), pages.provenance(__version__)]
    parts += [pages.heading("To paste into an issue"), pages.preformatted(report.text())]
    return pages.page("Published numbers, reproduced", parts)


def _part(part: "Part", figure: Path | None) -> Iterator[str]:
    yield pages.heading(part.name, part.word, KINDS[part.passed])
    yield pages.paragraph(part.verdict)
    if part.facts:
        yield pages.facts(part.facts)
    yield from map(pages.paragraph, part.notes)
    if figure is not None:
        yield pages.picture(figure, f"{part.name}: what was computed beside what was published. {part.verdict}")
    if len(part.table):
        yield pages.table(part.table, part.name, f"{part.name}.csv")
