"""Place the built site beside those of earlier releases: python docs/publish.py SITE PAGES VERSION

PAGES is a checkout of the branch that GitHub Pages shows: a folder for each version, versions.json, which the pages
read for their list of versions, and a first page that leads to the newest. Of a version that is published again its own
folder is replaced, and no other. .github/workflows/docs.yml commits what comes out.
"""

import json
import re
import shutil
import sys
from pathlib import Path

VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?")
FIRST_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>fnn_jax</title>
<meta http-equiv="refresh" content="0; url=VERSION/docs/index.html"></head>
<body><a href="VERSION/docs/index.html">fnn_jax VERSION</a></body>
</html>
"""


def order(version: str) -> tuple:
    """A key by which versions follow one another: 0.9.0, 0.10.0rc1, 0.10.0."""
    major, minor, patch, stage, number = VERSION.fullmatch(version).groups()
    return int(major), int(minor), int(patch), stage is None, stage or "", int(number or 0)


def publish(site: Path, pages: Path, version: str) -> None:
    if not VERSION.fullmatch(version):
        raise SystemExit(f"VERSION is {version!r}, not a version such as 0.2.0 or 0.2.0rc1")
    if not pages.is_dir():
        raise SystemExit(f"there is no folder {pages}: check out the branch gh-pages there")
    options = site / "_static" / "documentation_options.js"
    if not options.exists():
        raise SystemExit(f"{site} holds no site: build it with make docs")
    if f"VERSION: '{version}'" not in options.read_text():
        raise SystemExit(f"the site in {site} is not of version {version}: build it from the tag v{version}")
    shutil.rmtree(pages / version, ignore_errors=True)
    shutil.copytree(site, pages / version, ignore=shutil.ignore_patterns(".*"))
    found = [folder.name for folder in pages.iterdir() if folder.is_dir() and VERSION.fullmatch(folder.name)]
    newest_first = sorted(found, key=order, reverse=True)
    released = [version for version in newest_first if order(version)[3]]
    newest = (released or newest_first)[0]
    (pages / "versions.json").write_text(json.dumps({"newest": newest, "versions": newest_first}, indent=1) + "\n")
    (pages / "index.html").write_text(FIRST_PAGE.replace("VERSION", newest))
    (pages / ".nojekyll").touch()  # GitHub Pages would leave out folders such as _static


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    publish(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
