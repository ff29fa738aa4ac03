"""Reports as one HTML file each: figures and tables inside it, nothing from elsewhere, so that it opens from a disk."""

import base64
import html
import io
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from fnn_jax.common.files import whole_file

REPORT = "report.html"
MOST_ROWS = 500  # of a table: with 10,000 units a page stays small, and a browser quick
MOST_BYTES = 8_000_000  # of videos and their figures: a page can be sent by mail
QUALITY = 60  # of videos, 0 to 100: noise without loss would be ten times as large
FEW_PIXELS = 200_000  # of all frames: such videos are kept without loss
TYPES = {".png": "image/png", ".gif": "image/gif", ".jpg": "image/jpeg"}
# Text on its background has a contrast of 4.5 or more (WCAG AA), in light and dark.
STYLE = """\
:root { color-scheme: light dark; --ink: #1f2328; --paper: #ffffff; --line: #d0d7de; --soft: #f3f5f7;
  --good: #116329; --bad: #a40e26; --other: #59636e }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #15191f; --line: #3d444d; --soft: #20262e;
  --good: #56d364; --bad: #ff8a80; --other: #9aa4af } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; color: var(--ink);
  background: var(--paper) }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2rem }
.scroll { overflow-x: auto } figure { margin: 1rem 0 } figure img { max-width: 100%; height: auto; background: #fff }
figure.video img { width: 24rem; image-rendering: pixelated }
figcaption, caption { color: var(--other); text-align: left; font-size: 0.9rem }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.85rem; font-variant-numeric: tabular-nums }
td, th { padding: 0.2rem 0.7rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }
th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  white-space: nowrap; text-decoration: underline dotted }
pre { background: var(--soft); padding: 1rem; overflow-x: auto; font-size: 0.8rem }
caption span { position: sticky; left: 0; display: inline-block; max-width: min(68rem, 100vw - 2rem) }
td.text { overflow-wrap: anywhere } summary { cursor: pointer } details pre { max-height: 30rem; overflow-y: auto }
.good { color: var(--good) } .bad { color: var(--bad) } .other { color: var(--other) }
"""
# Numbers by size, text by letters; what is no number comes last, both ways.
SCRIPT = """\
document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0];
  const up = head.getAttribute("aria-sort") !== "ascending", column = head.cellIndex;
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)], [p, q] = [Number(x), Number(y)];
    const known = [x, y].map(text => text !== "" && text !== "nan");
    if (!known[0] || !known[1]) return known[1] - known[0];
    return (up ? 1 : -1) * (isNaN(p) || isNaN(q) ? x.localeCompare(y) : p - q);
  };
  [...body.rows].sort(compare).forEach(row => body.append(row));
}));
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page of parts in HTML, such as those that the functions here make."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{STYLE}</style></head><body><main>\n"
        f"<h1>{html.escape(title)}</h1>\n{body}\n</main>\n<script>\n{SCRIPT}</script></body></html>\n"
    )


def write_page(path: str | os.PathLike, title: str, parts: Iterable[str]) -> Path:
    """Write a page, whole or not at all, over an earlier one.

    Raises:
        DiskFullError, OSError: it cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_text(page(title, parts), encoding="utf-8")
    return Path(path)


def heading(text: str, word: str = "", kind: str = "other") -> str:
    """A heading, and a word after it that is ``good``, ``bad`` or ``other``."""
    after = f': <span class="{kind}">{html.escape(word)}</span>' if word else ""
    return f"<h2>{html.escape(text)}{after}</h2>"


def paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def preformatted(text: str) -> str:
    return f'<pre tabindex="0">{html.escape(text)}</pre>'


def picture(path: str | os.PathLike, description: str) -> str:
    """A .png, .jpg or .gif, which moves, inside the page; ``description`` is for those who cannot see it, too."""
    path = Path(path)
    data = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(description, quote=True)
    source = f"data:{TYPES[path.suffix]};base64,{data}"
    return f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>'


def video(frames: np.ndarray, description: str) -> str:
    """Frames, uint8 ``[T, H, W]`` at 30 Hz, as a picture that moves without end; the first frame alone where the
    reader's system asks for less motion.
    """
    text, still, moving = html.escape(description, quote=True), _webp(frames[:1]), _webp(frames)
    return (
        f'<figure class="video"><picture><source media="(prefers-reduced-motion: reduce)" srcset="{still}">'
        f'<img alt="{text}" src="{moving}"></picture><figcaption>{text}</figcaption></figure>'
    )


def facts(values: Mapping[str, Any]) -> str:
    """Names and what they are, a row each; what has parts of its own, such as an architecture, opens on a click."""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(str(name))}</th><td class="text">{_value(value)}</td></tr>'
        for name, value in values.items()
    )
    return f'<div class="scroll" tabindex="0"><table>{rows}</table></div>'


def table(frame: pd.DataFrame, caption: str, file: str, units: Mapping[str, str] | None = None) -> str:
    """A table that a click on a column's name sorts, in its order until then; the first ``MOST_ROWS`` rows.

    Args:
        frame: without an index that matters.
        file: which holds all rows. units: of columns, such as ``{"size": "deg"}``.
    """
    names = "".join(_column(str(name), (units or {}).get(str(name))) for name in frame.columns)
    rows = "\n".join(
        f"<tr>{''.join(map(_cell, row))}</tr>" for row in frame.head(MOST_ROWS).itertuples(index=False, name=None)
    )
    shown = f"{min(MOST_ROWS, len(frame))} of {len(frame)} rows; all are in {file}"
    return (
        '<div class="scroll" tabindex="0"><table>'
        f"<caption><span>{html.escape(caption)} ({html.escape(shown)})</span></caption>"
        f"<thead><tr>{names}</tr></thead><tbody>\n{rows}\n</tbody></table></div>"
    )


def provenance(fnn_jax: str, **others: Any) -> str:
    """How results were made: what is given, versions (``fnn_jax``: its own), device, command and time."""
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return facts(
        {
            **others,
            "versions": f"fnn_jax {fnn_jax}, jax {jax.__version__}, Python {platform.python_version()}",
            "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            "command": shlex.join(command),
            "this page was written": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        }
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and any(isinstance(each, Mapping | list | tuple) for each in value.values()):
        text = html.escape(json.dumps(value, indent=1, default=str))
        return f'<details><summary>{len(value)} entries</summary><pre tabindex="0">{text}</pre></details>'
    if isinstance(value, Mapping):
        value = [f"{name}: {each}" for name, each in value.items()]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value)) or "none"
    return html.escape(str(value))


def _webp(frames: np.ndarray) -> str:
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    durations = [(33, 33, 34)[i % 3] for i in range(len(images))]
    file = io.BytesIO()
    options: dict[str, Any] = {"lossless": True} if frames.size < FEW_PIXELS else {"quality": QUALITY, "method": 2}
    images[0].save(file, "webp", save_all=True, append_images=images[1:], duration=durations, loop=0, **options)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _column(name: str, unit: str | None) -> str:
    shown = name if unit is None else f"{name} ({unit})"
    return f'<th scope="col"><button type="button">{html.escape(shown)}</button></th>'


def _cell(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f'<td data-value="{value}">{"" if np.isnan(value) else f"{value:.4g}"}</td>'
    return f"<td>{html.escape(str(value))}</td>"
