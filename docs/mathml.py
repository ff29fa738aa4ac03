"""Formulas as MathML, which browsers draw by themselves: no script, no font and no picture of them is loaded."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert


def visit_math(writer, node):
    writer.body.append(convert(node.astext()))
    raise SkipNode


def visit_display(writer, node):
    writer.body.append(f'<div class="formula" tabindex="0">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
