"""docs/publish.py: the sites of all versions stand beside one another."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "docs" / "publish.py"


def publish(folder, version, text="first", of=None):
    site = folder / "site"
    (site / "_static").mkdir(parents=True, exist_ok=True)
    (site / "_static" / "documentation_options.js").write_text(f"VERSION: '{of or version}',")
    (site / "index.html").write_text(text)
    command = [sys.executable, SCRIPT, site, folder / "pages", version]
    return subprocess.run(command, capture_output=True, text=True)


def test_versions_stand_beside_one_another_newest_first(tmp_path):
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / ".git").write_text("of the checkout")
    for version in ("0.10.0", "0.9.1", "0.11.0rc1"):
        assert publish(tmp_path, version).returncode == 0
    assert publish(tmp_path, "0.9.1", "again").returncode == 0
    known = json.loads((pages / "versions.json").read_text())
    assert known == {"newest": "0.10.0", "versions": ["0.11.0rc1", "0.10.0", "0.9.1"]}
    assert "url=0.10.0/docs/index.html" in (pages / "index.html").read_text()
    texts = {version: (pages / version / "index.html").read_text() for version in known["versions"]}
    assert texts == {"0.11.0rc1": "first", "0.10.0": "first", "0.9.1": "again"}
    assert (pages / ".git").exists() and (pages / ".nojekyll").exists()


def test_what_is_no_version_or_of_another_is_refused(tmp_path):
    assert "there is no folder" in publish(tmp_path, "0.1.0").stderr
    (tmp_path / "pages").mkdir()
    assert "not a version" in publish(tmp_path, "main").stderr
    assert "build it from the tag v0.2.0" in publish(tmp_path, "0.2.0", of="0.1.0").stderr
    assert not list((tmp_path / "pages").iterdir())
