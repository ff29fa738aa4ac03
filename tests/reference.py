"""The page of all public names, from their docstrings: ``python tests/reference.py`` writes docs/reference.md."""

import importlib
import inspect
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
MODULES = {
    "fnn_jax": "",
    "fnn_jax.microns": "[weights](weights.md), [units](units.md)",
    "fnn_jax.released": "[programs for the released package](released.md)",
    "fnn_jax.released.microns": "[programs for the released package](released.md)",
    "fnn_jax.videos": "[prediction](predict.md)",
    "fnn_jax.stimuli": "[stimuli](stimuli.md)",
    "fnn_jax.screen": "[screens](screens.md)",
    "fnn_jax.physiology": "[physiology](physiology.md)",
    "fnn_jax.synthesis": "[synthesis](synthesis.md)",
    "fnn_jax.data": "[training](training.md), [recordings](nwb.md)",
    "fnn_jax.training": "[training](training.md)",
    "fnn_jax.evaluation": "[evaluation](evaluation.md)",
    "fnn_jax.encoding": "[encoding](encoding.md)",
    "fnn_jax.encoding.labelled": "[encoding](encoding.md)",
    "fnn_jax.analysis": "[analysis](analysis.md)",
    "fnn_jax.explorer": "[explorer](explorer.md)",
    "fnn_jax.figures": "[figures](figures.md)",
    "fnn_jax.reproduction": "[reproduction](reproduce.md)",
    "fnn_jax.program.onnx": "[ONNX](onnx.md)",
    "fnn_jax.convert": "[weights](weights.md), [PyTorch](torch.md)",
}
HEAD = """\
# All public names

What can be imported, with the first sentence of its docstring; `help(name)` has the rest: shapes, units, errors. Written by
`python tests/reference.py`; a test compares. What is not here may change without a word.
"""


def page() -> str:
    lines = [HEAD]
    for module, pages in MODULES.items():
        found = importlib.import_module(module)
        lines += [f"## {module}", *([f"See {pages}."] if pages else []), "", "| | |", "|---|---|"]
        for name in sorted(found.__all__, key=str.lower):
            lines.append(f"| `{name}` | {sentence(getattr(found, name))} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def sentence(thing) -> str:
    """The first sentence of its own docstring; of a constant, its value's type."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing)):
        return f"{type(thing).__name__}: `{thing}`" if isinstance(thing, str | int | float) else type(thing).__name__
    text = " ".join((thing.__doc__ or "").split("\n\n")[0].split())
    assert text and not text.startswith(f"{getattr(thing, '__name__', '')}("), f"{thing} has no docstring of its own"
    first = re.split(r"(?<=[^.][^A-Z]\.) ", text)[0]
    return first.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
