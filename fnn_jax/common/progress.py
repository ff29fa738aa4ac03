"""Progress bars: who sees them is decided here."""

from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm as Bar

from fnn_jax.common.checks import boolean
from fnn_jax.common.rate import HZ

SHORT_FRAMES = 20 * HZ  # videos below are over before a bar says much


def checked_progress(progress: Any) -> bool | None:
    """The argument ``progress`` of public functions, before any work: True, False or None.

    Raises:
        TypeError: it is something else.
    """
    return None if progress is None else boolean("progress", progress)


def progress_bar(
    progress: bool | None,
    description: str,
    unit: str,
    total: int | None = None,
    *,
    over: Iterable[Any] | None = None,
    done: int = 0,
    least: int = 0,
    scaled: bool = False,
) -> Bar:
    """A bar of ``total`` units, or over the items of ``over``, of which some are done.

    Args:
        progress: show it; None: in terminals and notebooks, where there are ``least`` units or more.
        unit: a word, such as ``"frame"``. scaled: numbers as 1.2M.
    """
    progress = checked_progress(progress)
    if progress is None and total is not None and total < least:
        progress = False
    return Bar(
        over,
        description,
        total,
        initial=done,
        unit=unit,
        unit_scale=scaled,
        disable=None if progress is None else not progress,  # None: tqdm sees whether anybody looks
    )
