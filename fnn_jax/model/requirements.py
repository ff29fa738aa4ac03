"""What the fields of a configuration must be: errors that name the field, what came, and what was expected."""

import difflib
from typing import Any

import numpy as np


def require(condition: bool, argument: str, got: Any, expected: str) -> None:
    if not condition:
        raise ValueError(f"{argument} is {got!r}; expected {expected}.")


def require_positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if isinstance(value, np.integer):
            value = int(value)
            object.__setattr__(config, name, value)  # a NumPy integer is no JSON
        label = f"{type(config).__name__}.{name}"
        require(
            isinstance(value, int) and not isinstance(value, bool) and value > 0, label, value, "a positive integer"
        )


def require_one_of(config: Any, field: str, names: tuple[str, ...]) -> None:
    value = getattr(config, field)
    near = difflib.get_close_matches(value, names, n=1) if isinstance(value, str) else []
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    require(value in names, f"{type(config).__name__}.{field}", value, f"one of {names}{hint}")


def require_above_zero(config: Any, field: str) -> None:
    value = getattr(config, field)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    require(is_number and 0 < value < float("inf"), f"{type(config).__name__}.{field}", value, "a positive number")
    object.__setattr__(config, field, float(value))


def require_dropout(config: Any) -> None:
    require(0 <= config.dropout < 1, f"{type(config).__name__}.dropout", config.dropout, "a probability in [0, 1)")
