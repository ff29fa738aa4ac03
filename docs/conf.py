"""The documentation as a site: ``make docs`` builds it into site/, and warnings are errors.

Sphinx, because pages stay the Markdown that people read in the repository (MyST), names come from the docstrings, and
the search needs no server. The source is the repository itself, so that links between pages, results and figures hold
in both places. Notebooks are run by the build (MyST-NB), where a reader would be who has a scan in the cache; those
that did not change since the last build are not run again.
"""

import importlib
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]

import compiled  # noqa: E402, F401  # what notebooks compile is kept for the next build
import reader  # noqa: E402
import reference  # noqa: E402

from fnn_jax import NetworkConfig  # noqa: E402
from fnn_jax.version import __version__  # noqa: E402

project, release = "fnn_jax", __version__
project_copyright = "the contributors of fnn_jax; MIT licence"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "mathml",
]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "docs/api/*.rst", "benchmarks/results/*.md"]
include_patterns += ["examples/*.ipynb", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = ["benchmarks/results/*-quick.md"]  # what --quick measures is no result
myst_heading_anchors = 3
nb_execution_mode, nb_execution_raise_on_error, nb_execution_in_temp = "force", True, True
nb_execution_timeout = 900  # seconds, for a cell
nb_execution_show_tb = True
nb_output_stderr, nb_merge_streams = "remove", True  # progress
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and units stand in the docstrings
napoleon_numpy_docstring, napoleon_use_ivar = False, True
html_theme = "furo"
html_title = f"fnn_jax {release}"
html_additional_pages = {"index": "to_first_page.html"}
templates_path = ["site"]
html_static_path, html_css_files, html_js_files = ["site/static"], ["width.css"], ["reachable.js", "versions.js"]
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


NOTE = """```{note}
This page is a notebook: {download}`download it <NAME>`.WEIGHTS
```"""
RANDOM = """ The outputs below were made without a download, by a
small network with random weights and six units, instead of the published scan: they show what you will see, and no
results."""


def say_where_outputs_come_from(app, name, content):
    """Below the title of a notebook."""
    if not name.startswith("examples/"):
        return
    notebook = json.loads(content[0])
    title, text = notebook["cells"][0]["source"][0], notebook["cells"][0]["source"][1:]
    weights = RANDOM if "microns.scan(8, 5)\n" in content[0].replace("\\n", "\n") else ""
    note = NOTE.replace("NAME", f"{name.partition('/')[2]}.ipynb").replace("WEIGHTS", weights)
    notebook["cells"][0]["source"] = [title.rstrip("\n") + "\n", "\n", note + "\n", *text]
    content[0] = json.dumps(notebook)


def furnish(app):
    """The scan in the cache that notebooks load."""
    for name in ("absl", "traitlets"):  # Sphinx would print what Orbax and nbclient tell their developers
        logging.getLogger(name).setLevel(logging.WARNING)
    folder = Path(tempfile.mkdtemp())
    app.connect("build-finished", lambda *_: shutil.rmtree(folder))
    reader.furnish(folder, NetworkConfig.tiny(6), gain=40)
    os.environ |= {"FNN_JAX_CACHE": str(folder / "cache"), "FNN_JAX_OFFLINE": "1"}


def setup(app):
    app.connect("builder-inited", furnish)
    app.connect("source-read", say_where_outputs_come_from)
    app.connect("builder-inited", write_names)
    app.connect("autodoc-skip-member", skip)
