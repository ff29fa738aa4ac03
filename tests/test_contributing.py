"""What CONTRIBUTING, CHANGELOG, CITATION and the files of GitHub say is so."""

import fnmatch
import importlib
import re
from pathlib import Path

import pytest
import yaml

from fnn_jax.version import __version__

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
PROSE = re.sub(r"```.*?```", "", GUIDE, flags=re.DOTALL)
NAMES = sorted(set(re.findall(r"`([^`\n]+)`", PROSE)))
MADE = {".venv", "dist/", "site/"}  # by make
PATHS = [n for n in NAMES if re.fullmatch(r"[\w.*-]+(/[\w.*-]*)+|[\w-]*\.\w+|Makefile", n) and n not in MADE]
DOTTED = [name for name in NAMES if re.fullmatch(r"(fnn_jax|convert)(\.\w+)+", name)]
YAML = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff")
)


def resolved(name):
    """What a dotted name is; raises where there is nothing of the name."""
    module, *rest = name.split(".")
    found = importlib.import_module(module)
    for part in rest:
        if not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


def test_there_are_names_to_look_at():
    assert len(PATHS) > 50 and len(DOTTED) > 8 and len(YAML) > 7


@pytest.mark.parametrize("path", PATHS)
def test_paths_exist(path):
    assert any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()


@pytest.mark.parametrize("name", DOTTED)
def test_dotted_names_exist(name):
    resolved(name)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", GUIDE + (ROOT / "CHANGELOG.md").read_text()))
def test_links_lead_somewhere(target):
    assert target.startswith("https://") or (ROOT / target).exists()


def test_other_names_stand_where_the_guide_says():
    """Constants and tests, of which it names the file in the same step."""
    files = {
        "fnn_jax/physiology/protocols/__init__.py": ["PROTOCOLS"],
        "fnn_jax/model/config.py": ["RECURRENTS", "MODULATIONS", "_choice"],
        "fnn_jax/cli/tune.py": ["--protocol"],
        "tests/test_stimuli.py": ["DIGESTS"],
        "tests/test_fuzz_stimuli.py": ["MOVIES"],
        "tests/test_protocols.py": ["SHORT"],
        "tests/test_fuzz_command_line.py": ["VERBS"],
        "benchmarks/run.py": ["SCRIPTS"],
        "benchmarks/options.py": ["def parse", "--quick"],
        "benchmarks/turns.py": ["def compare"],
        "Makefile": ["QUICKLY"],
    }
    names = re.findall(r"`(test_\w+)`", PROSE)
    assert len(names) == 3
    files["tests/test_synthesis.py"] = [f"def {name}(" for name in names]
    for path, parts in files.items():
        text = (ROOT / path).read_text()
        assert [part for part in parts if part not in text] == [], path


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ((?:test|check|wheel|demo|faults)[\w-]*)", GUIDE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_examples_define_what_they_show(code, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # where the scripts are run
    exec(compile(code, "CONTRIBUTING.md", "exec"), {"__name__": "example"})


def test_the_first_entry_of_the_changelog_is_this_version():
    first = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert first in (__version__, "Unreleased")


@pytest.mark.parametrize("path", YAML)
def test_yaml(path):
    assert isinstance(yaml.safe_load((ROOT / path).read_text()), dict)


def test_citation():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation.keys() >= {"cff-version", "message", "title", "authors", "version", "license", "preferred-citation"}
    assert citation["cff-version"] == "1.2.0" and citation["version"] == __version__
    paper = citation["preferred-citation"]
    assert paper.keys() >= {"type", "title", "authors", "doi", "journal", "year"}
    readme = (ROOT / "README.md").read_text()
    assert paper["doi"] in readme and paper["title"] in " ".join(readme.split())
    for author in citation["authors"] + paper["authors"]:
        assert author.keys() in ({"name"}, {"family-names", "given-names"}) or "name-particle" in author


def test_hooks_run_what_make_check_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = " ".join(hook["entry"] for repository in hooks for hook in repository["hooks"])
    check = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    for tool in ("ruff check", "ruff format", "mypy", "lint-imports"):
        assert tool in entries and tool in check
    assert all(repository["repo"] == "local" for repository in hooks)  # with the versions of constraints.txt


def test_workflows_ask_for_little():
    for path in fnmatch.filter(YAML, ".github/workflows/*"):
        text = (ROOT / path).read_text()
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {"contents": "read"} and "concurrency" in workflow
        for action in re.findall(r"uses: (\S+)", text):
            assert re.fullmatch(r"[\w./-]+@(v\d+|release/v1)", action), action
