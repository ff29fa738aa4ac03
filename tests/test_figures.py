"""Figures look alike: their colours stand in one file."""

import re
from pathlib import Path

import fnn_jax

PACKAGE = Path(fnn_jax.__file__).parent
PALETTE = PACKAGE / "common" / "figures.py"
OF_PAGES = PACKAGE / "common" / "page.py"  # of text and ground, light and dark; tests/test_page.py has their contrast


def test_colours_are_those_of_the_palette():
    # "primary" is the role of a button, whose colour is the page's.
    written = re.compile(r"""#[0-9a-fA-F]{6}\b|\b(?:color|facecolor|cmap)=["'](?!primary")""")
    found = {
        path.name: written.findall(path.read_text())
        for path in PACKAGE.rglob("*.py")
        if path not in (PALETTE, OF_PAGES)
    }
    assert {name: colours for name, colours in found.items() if colours} == {}
    assert written.search(PALETTE.read_text())
