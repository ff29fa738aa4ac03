"""Text in the page's Markdown panes, which take HTML for HTML: names and paths come from other people's files."""

import html
import re


def fenced(code: str) -> str:
    """Lines of Python as a block that nothing in them ends."""
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{code}{fence}"


def went_wrong(error: str) -> str:
    return f"**It went wrong.** {html.escape(error, quote=False)}"
