"""The documentation as a site: ``make docs`` builds it into site/, and warnings are errors.

Sphinx, because pages stay the Markdown that people read in the repository (MyST), names come from the docstrings, and
the search needs no server. The source is the repository itself, so that links between pages, results and figures hold
in both places.
"""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import reference  # noqa: E402

from fnn_jax.version import __version__  # noqa: E402

project, release = "fnn_jax", __version__
project_copyright = "the contributors of fnn_jax; MIT licence"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "docs/api/*.rst", "benchmarks/results/*.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = ["benchmarks/results/*-quick.md"]  # what --quick measures is no result
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and units stand in the docstrings
napoleon_numpy_docstring, napoleon_use_ivar = False, True
html_theme = "furo"
html_title = f"fnn_jax {release}"
html_additional_pages = {"index": "to_first_page.html"}
templates_path = ["site"]
html_static_path, html_css_files, html_js_files = ["site/static"], ["width.css"], ["reachable.js"]
copybutton_prompt_text = ">>> "


def write_names(app):
    """A page for each module, with all its public names; they are made anew for each build."""
    folder = Path(app.srcdir) / "docs" / "api"
    folder.mkdir(exist_ok=True)
    written = {}
    for module in reference.MODULES:
        found = importlib.import_module(module)
        lines = [module, "=" * len(module), "", f".. py:currentmodule:: {module}", ""]
        for name in sorted(found.__all__, key=str.lower):
            thing = getattr(found, name)
            if id(thing) in written:
                lines += [f"- ``{name}``: :py:obj:`{written[id(thing)]}`", ""]
                continue
            written[id(thing)] = f"{module}.{name}"
            if isinstance(thing, type):
                # Of a class that others begin, such as Twin, the methods of those, too.
                begun = all(base.__module__.startswith("fnn_jax.") for base in thing.__mro__[1:-1])
                inherited = ["   :inherited-members:"] if begun else []
                lines += [f".. autoclass:: {module}.{name}", "   :members:", *inherited, ""]
            elif callable(thing):
                lines += [f".. autofunction:: {module}.{name}", ""]
        (folder / f"{module}.rst").write_text("\n".join(lines) + "\n")
    index = [
        "Every name, in full",
        "===================",
        "",
        ".. toctree::",
        "",
        *(f"   {m}" for m in reference.MODULES),
    ]
    (folder / "index.rst").write_text("\n".join(index) + "\n")


def skip(app, what, name, thing, skipped, options):
    """Docstrings not made by hand: of the fields of named tuples, and of what scikit-learn adds to estimators."""
    made = (getattr(thing, "__doc__", None) or "").startswith("Alias for field number")
    return True if made or name.endswith("_request") else None


def setup(app):
    app.connect("builder-inited", write_names)
    app.connect("autodoc-skip-member", skip)
