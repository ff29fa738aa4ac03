"""Buttons that give files to the browser."""

import io
from collections.abc import Callable

import panel as pn

from fnn_jax.explorer.drawing import FORMATS


def picture_buttons(make: Callable[[str], bytes], stem: str, label: str) -> list[pn.widgets.FileDownload]:
    """One for each of ``FORMATS``: ``make(kind)`` is asked for the file when it is clicked."""

    def button(kind: str) -> pn.widgets.FileDownload:
        return pn.widgets.FileDownload(
            callback=lambda: io.BytesIO(make(kind)), filename=f"{stem}.{kind}", label=f"{label} as {kind.upper()}"
        )

    return [button(kind) for kind in FORMATS]
