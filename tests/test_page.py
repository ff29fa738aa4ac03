"""Reports: one file, nothing from elsewhere, bounded, whole or not at all, and what is in them is escaped."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fnn_jax.common import page


class Tags(HTMLParser):
    """Every tag with its attributes; what is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_is_one_file_that_needs_nothing(tmp_path):
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    frames = [Image.new("L", (4, 3), level) for level in (0, 99)]
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[1:])
    frame = pd.DataFrame({"name": ["<b>", "x"], "size": [12.34567, np.nan]})
    parts = [
        page.heading("Part", "PASS", "good"),
        page.paragraph("a < b"),
        page.picture(tmp_path / "a.png", 'a "figure"'),
        page.picture(tmp_path / "b.gif", "a video"),
        page.video(np.arange(36, dtype=np.uint8).reshape(3, 3, 4), "another"),
        page.table(frame, "Units", "units.csv", {"size": "deg"}),
        page.provenance("0.1", weights="w", parts=["core", "readout"], without=[], config={"size": {"<": 3}}),
    ]
    path = page.write_page(tmp_path / "report.html", "R & D", parts)
    text = path.read_text()
    tags = Tags(text).found
    assert ("html", {"lang": "en"}) in tags and "<b>" not in text and "R &amp; D" in text and "a &lt; b" in text
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert [image["alt"] for image in images] == ['a "figure"', "a video", "another"]
    assert images[1]["src"].startswith("data:image/gif;base64,")
    assert not [
        a for _, a in tags for name in ("src", "srcset", "href") if not a.get(name, "data:").startswith("data:")
    ]
    with Image.open(io.BytesIO(base64.b64decode(images[2]["src"].split(",")[1]))) as moving:
        assert (moving.n_frames, moving.size) == (3, (4, 3))
    assert (
        "core, readout</td>" in text
        and ">none</td>" in text
        and "<summary>1 entries" in text
        and "&quot;&lt;&quot;" in text
    )
    assert "http" not in text and "@import" not in text and "url(" not in text
    assert ">size (deg)</button>" in text and '<td data-value="nan"></td>' in text and ">12.35<" in text
    assert "2 of 2 rows; all are in units.csv" in text
    assert "versions" in text and "command" in text


def test_large_tables_are_cut_and_the_file_is_named():
    frame = pd.DataFrame(np.random.default_rng(0).random((10_000, 40)))
    text = page.table(frame, "Units", "units.csv")
    assert text.count("<tr>") == page.MOST_ROWS + 1 and "500 of 10000 rows; all are in units.csv" in text
    assert len(page.page("t", [text])) < 2_000_000


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = page.write_page(tmp_path / "report.html", "first", [])

    def broken():
        yield "<p>a</p>"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        page.write_page(path, "second", broken())
    assert "first" in path.read_text() and [each.name for each in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_has_contrast(mode):
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", half)) for half in page.STYLE.split("@media", 1))
    colours = {**light, **(dark if mode == "dark" else {})}
    for name in ("ink", "good", "bad", "other"):
        assert _contrast(colours[name], colours["paper"]) >= 4.5, name
    assert _contrast(colours["ink"], colours["soft"]) >= 4.5


def _contrast(first, second):
    """Ratio of relative luminances, of WCAG 2."""

    def luminance(colour):
        levels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)
