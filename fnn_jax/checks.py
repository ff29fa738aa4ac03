"""Arguments that are numbers, looked at before any work is done with them."""

import difflib
import math
from collections.abc import Collection
from typing import Any

import numpy as np


def integer(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A Python integer in a range; NumPy's are as good.

    Raises:
        TypeError: it is no integer.
        ValueError: it is outside the range.
    """
    if least == 1 and most is None:
        expected = "a positive integer"
    else:
        expected = f"an integer from {least} " + ("on" if most is None else f"to {most}")
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is {value!r}; expected {expected}.")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} is {value!r}; expected {expected}.")
    return int(value)


def number(name: str, value: Any, least: float = -math.inf, above: float = -math.inf) -> float:
    """A finite Python float; integers and NumPy's numbers are as good.

    Raises:
        TypeError: it is no number.
        ValueError: it is below ``least``, not above ``above``, or not finite.
    """
    bounds = {"a finite number": True, f"a number from {least:g} on": least > -math.inf}
    bounds |= {f"a number above {above:g}": above > -math.inf}
    expected = [text for text, holds in bounds.items() if holds][-1]
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} is {value!r}; expected {expected}.")
    if not (math.isfinite(value) and value >= least and value > above):
        raise ValueError(f"{name} is {value!r}; expected {expected}.")
    return float(value)


def boolean(name: str, value: Any) -> bool:
    """True or False, and nothing else.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}; expected True or False.")
    return bool(value)


def one_of(name: str, value: Any, choices: Collection[str]) -> str:
    """One of a few words.

    Raises:
        ValueError: it is another one, or no word.
    """
    if not isinstance(value, str) or value not in choices:
        near = difflib.get_close_matches(str(value), choices, 1, 0.5)
        suggestion = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}.{suggestion}")
    return value


def is_optimizer(value: Any) -> bool:
    """Whether something is an optimiser as optax makes them."""
    return callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))


def optimizer(name: str, value: Any) -> Any:
    """An optimiser of optax.

    Raises:
        TypeError: it is something else.
    """
    if not is_optimizer(value):
        raise TypeError(f"{name} is {type(value).__name__}; expected one of optax, such as optax.adam(1e-3).")
    return value
