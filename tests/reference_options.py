"""Two pages of the reference, from the code: ``python tests/reference_options.py`` writes them.

``docs/command_line.md`` is that of the parsers, ``docs/configuration.md`` that of the dataclasses.
"""

import argparse
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from fnn_jax import cli
from fnn_jax.model import config
from fnn_jax.training import Recipe

DOCS = Path(__file__).parents[1] / "docs"
HIDDEN = (argparse._HelpAction, argparse._SubParsersAction, argparse._VersionAction)
CONFIGURATIONS = (
    config.NetworkConfig,
    config.PerspectiveConfig,
    config.ModulationConfig,
    config.FeedforwardConfig,
    config.RecurrentConfig,
    config.ReadoutConfig,
    config.UnitConfig,
)
COMMAND_LINE = """\
# The command line

Every verb of `fnn-jax`, as `fnn-jax VERB --help` shows it. Written by `python tests/reference_options.py`; a test compares.
Options may stand anywhere; a verb ends with 0, with 1 for an error that it explains, with 2 where it was called wrongly.
"""
CONFIGURATION = """\
# The configuration

Every field of the network and of the training, with its default: the published architecture, and the released recipe.
Written by `python tests/reference_options.py`; a test compares.

In Python `dataclasses.replace` changes fields (the example of [other modules](modules.md)). In the file of `fnn-jax train`
([training](training.md)) the fields of the network stand in `[network]`, `[network.recurrent]` and so on, those of the
training in `[recipe]`.
"""


def command_line() -> str:
    lines = [COMMAND_LINE]
    for verb in cli.VERBS:
        lines += list(_verb(f"fnn-jax {verb}", _below(cli._parser([verb]))[verb], cli.VERBS[verb], "##"))
    return "\n".join(lines).rstrip() + "\n"


def _verb(name: str, parser: argparse.ArgumentParser, summary: str, heading: str) -> Iterator[str]:
    yield f"{heading} {name}\n"
    yield _sentences(parser.description or f"{summary[:1].upper()}{summary[1:]}.") + "\n"
    shown = [action for action in parser._actions if not isinstance(action, HIDDEN)]
    if shown:
        yield "| | |\n|---|---|"
        for action in sorted(shown, key=lambda action: bool(action.option_strings)):
            yield f"| {_call(action)} | {_meaning(action)} |"
        yield ""
    helps = {choice.dest: choice.help for group in _groups(parser) for choice in group._choices_actions}
    for verb, below in _below(parser).items():
        yield from _verb(f"{name} {verb}", below, helps[verb], heading + "#")


def _groups(parser: argparse.ArgumentParser) -> list[argparse._SubParsersAction]:
    return [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {name: below for group in _groups(parser) for name, below in group.choices.items()}


def _call(action: argparse.Action) -> str:
    """How an argument is written, and whether it must be."""
    if action.choices is not None:
        value = "{" + ", ".join(map(str, action.choices)) + "}"
    else:
        given = action.metavar or action.dest.upper()
        value = " ".join(given) if isinstance(given, tuple) else given
    value += {"+": " ...", "*": " ..."}.get(str(action.nargs), "")
    if not action.option_strings:
        return f"`{value}`" + (" (may be left out)" if action.nargs in ("?", "*") else "")
    value = "" if action.nargs == 0 else f" {value}"
    names = ", ".join(f"`{name}`" for name in action.option_strings[:-1])
    last = f"`{action.option_strings[-1]}{value}`"
    return (f"{names}, {last}" if names else last) + (" (required)" if action.required else "")


def _meaning(action: argparse.Action) -> str:
    known = {**vars(action), "choices": ", ".join(map(str, action.choices or ()))}
    text = (action.help or "") % known
    return _sentences(text).replace("|", "\\|")


def _sentences(text: str) -> str:
    """Of several lines one; what looks like an option or a file is set as code."""
    text = re.sub(
        r"(?<![\w`/.-])(--?[a-z][\w-]*|docs/\w+\.md|[\w/*{},]*\.(?:csv|npy|npz|zarr|pt|onnx|toml))",
        r"`\1`",
        " ".join(text.split()),
    )
    return re.sub(r"`docs/(\w+)\.md`", r"[\1](\1.md)", text)


def configuration() -> str:
    lines = [CONFIGURATION, "## The network", ""]
    for kind in CONFIGURATIONS:
        lines += [f"### {kind.__name__}", "", *_fields(kind)]
    lines += ["## The training", "", "### Recipe", "", *_fields(Recipe)]
    return "\n".join(lines).rstrip() + "\n"


def _fields(kind: type) -> Iterator[str]:
    """A table: fields as the docstring describes them, alone or together, with their defaults."""
    head, _, attributes = (inspect.getdoc(kind) or "").partition("Attributes:")
    yield _markdown(head) + ".\n"
    yield "| field | default | meaning |\n|---|---|---|"
    fields = {field.name: field for field in dataclasses.fields(kind)}
    described = re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    for together, meaning in described:
        names = together.split(", ")
        defaults = [_default(fields.pop(name).default) for name in names]
        yield f"| {', '.join(f'`{name}`' for name in names)} | {', '.join(filter(None, defaults))} | {_markdown(meaning)} |"
    assert not fields, f"{kind.__name__} says nothing of {', '.join(fields)}"
    yield ""


def _default(value: object) -> str:
    if value is dataclasses.MISSING:
        return ""
    return f"`{type(value).__name__}()`" if dataclasses.is_dataclass(value) else f"`{value!r}`"


def _markdown(text: str) -> str:
    text = re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", " ".join(text.split()))
    return text.replace("``", "`").replace("|", "\\|").rstrip(".")


PAGES = {"command_line.md": command_line, "configuration.md": configuration}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
