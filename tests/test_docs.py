"""Every Python example of README and docs, and every notebook, runs; the table of errors is the tests' own."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import reader
import reference
import reference_options
from tolerances import TOLERANCES

from fnn_jax import stimuli, synthesis
from fnn_jax.physiology import protocols

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
GALLERIES = sorted((ROOT / "docs").glob("gallery*.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# Four minutes of nothing but compilers: run when its pictures are drawn; test_synthesis.py tries all that it calls.
DRAWN = ("gallery_synthesis",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return reader.furnish(tmp_path_factory.mktemp("reader"), reader.thin(6))


@pytest.mark.slow  # they compile a lot
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", [page for page in PAGES if page.stem not in DRAWN], ids=lambda path: path.name)
def test_examples_run(page, folder, monkeypatch):
    run(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), page, folder, monkeypatch)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(notebook):
    """The site's build runs them."""
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells), "clear the outputs before committing"


def run(examples, source, folder, monkeypatch):
    """Execute pieces of code one after the other, as a reader would."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FNN_JAX_CACHE", str(folder / "cache"))
    monkeypatch.setenv("FNN_JAX_OFFLINE", "1")
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        namespace = {}
        for example in examples:
            exec(compile(example, str(source), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_every_notebook_runs(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "--fail-on-warning",
        "--keep-going",
        "--quiet",
        "-c",
        "docs",
        ".",
        tmp_path,
    ]
    done = subprocess.run([*command, "-d", tmp_path / "doctrees"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "docs/index.html" in (tmp_path / "index.html").read_text()
    names = (tmp_path / "docs" / "api" / "fnn_jax.html").read_text()
    assert "Responses of all units to a video" in names and "Alias for field" not in names
    for notebook in NOTEBOOKS:
        page = (tmp_path / "examples" / f"{notebook.stem}.html").read_text()
        assert "cell_output" in page and "_images/" in page, notebook


def test_every_public_name_is_in_the_reference():
    """And none that does not exist; with the docstrings of today."""
    assert reference.PAGE.read_text() == reference.page(), "run python tests/reference.py"


@pytest.mark.parametrize("name", reference_options.PAGES)
def test_the_command_line_and_the_configuration_are_those_of_the_code(name):
    page = (ROOT / "docs" / name).read_text()
    assert page == reference_options.PAGES[name](), "run python tests/reference_options.py"


def test_every_public_argument_is_annotated():
    """And what functions return: type checkers and editors of whoever calls them see it."""
    bare = []
    for module in reference.MODULES:
        for name in importlib.import_module(module).__all__:
            thing = getattr(importlib.import_module(module), name)
            members = (
                [getattr(each, "__func__", each) for each in vars(thing).values()] if isinstance(thing, type) else []
            )
            for each in (thing, *members):
                if not inspect.isfunction(each) or not each.__module__.startswith("fnn_jax"):
                    continue
                if each.__name__.startswith("_") and each.__name__ != "__init__":
                    continue
                parts = inspect.signature(each)
                found = [p.name for p in parts.parameters.values() if p.annotation is p.empty]
                found += ["return"] * (parts.return_annotation is parts.empty and each.__name__ != "__init__")
                bare += [f"{module}.{each.__qualname__}: {part}" for part in found if part not in ("self", "cls")]
    assert not bare


def test_published_errors_are_the_ones_of_the_tests():
    rows = [f"| {name} | {t.kind} | {t.allowed:.0e} | {t.measured:.1e} |" for name, t in TOLERANCES.items()]
    table = "\n".join(["| | error | allowed | measured |", "|---|---|---|---|", *rows])
    page = (ROOT / "docs" / "numbers.md").read_text()
    assert table in page, f"docs/numbers.md must hold:\n{table}"
    readme = (ROOT / "README.md").read_text()
    for name in ("exact response", "response", "live response", "gradient on pixels", "gradient on eye and monitor"):
        assert f"| {TOLERANCES[name].measured:.1e} |" in readme, name


def test_quoted_messages_are_those_of_the_code():
    """Of a message in quotes, what stands between the places that differ occurs in the code."""
    files = [path for folder in ("fnn_jax", "convert") for path in (ROOT / folder).rglob("*.py")]
    code = "\n".join(re.sub(r'"\n\s*f?"', "", path.read_text()) for path in files)  # strings on several lines
    messages = re.findall(r'\*"(.*?)"\*', (ROOT / "docs" / "errors.md").read_text())
    assert len(messages) > 40
    for message in messages:
        parts = [part.strip() for part in message.split("\N{HORIZONTAL ELLIPSIS}")]
        assert max(map(len, parts)) > 10, message
        assert not [part for part in parts if part not in code], message


def test_every_tolerance_has_room_and_a_measurement():
    for name, tolerance in TOLERANCES.items():
        assert tolerance.measured <= tolerance.allowed, name
        assert tolerance.measured > 0 or tolerance.allowed == 0, f"{name} was not measured"


def test_the_gallery_shows_every_stimulus():
    page = (ROOT / "docs" / "gallery.md").read_text()
    helpers = {"gaussian_mask", "grid_positions", "one_after_another"}
    functions = {name: getattr(stimuli, name) for name in set(stimuli.__all__) - helpers}
    shown = [name for name, thing in functions.items() if "display" in getattr(thing, "__annotations__", {})]
    assert len(shown) > 15 and not [name for name in shown if f"stimuli.{name}(" not in page]


def test_the_galleries_show_every_protocol_parameterisation_and_objective():
    page = (ROOT / "docs" / "gallery_protocols.md").read_text()
    assert not [name for name in protocols.__all__ if f"protocols.{name}(" not in page and name != "PROTOCOLS"]
    page = (ROOT / "docs" / "gallery_synthesis.md").read_text()
    made = (synthesis.Parameterisation, synthesis.Objective)
    functions = {name: getattr(synthesis, name) for name in synthesis.__all__}
    shown = [name for name, thing in functions.items() if getattr(thing, "__annotations__", {}).get("return") in made]
    assert len(shown) > 15 and not [name for name in shown if f"synthesis.{name}(" not in page]


@pytest.mark.parametrize("page", GALLERIES, ids=lambda path: path.stem)
def test_pictures_of_galleries_have_their_code(page):
    shown = re.findall(r"figures/gallery/(\w+)\.webp", page.read_text())
    assert shown and len(set(shown)) == len(shown)
    for name in shown:
        assert re.search(rf"^(    )?{name} = ", page.read_text(), re.MULTILINE), name
