"""Arguments of the usual kinds, looked at before any work is done with them."""

import difflib
import math
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LARGEST = 2**31 - 1  # JAX counts in 32 bits
NO_NUMBERS = (bool, np.bool_, np.timedelta64)  # which Python and NumPy count among the integers
MOST_SHOWN = 200  # characters of a value in a message


def shown(value: Any) -> str:
    """A value as a message says it: on one line, and not at any length."""
    try:
        text = repr(value)
    except Exception:  # such as that of an integer of ten thousand digits
        return f"of the type {type(value).__name__}"
    text = " ".join(text.splitlines())
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def integer(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A Python integer in a range, of 32 bits unless ``most`` says more; NumPy's are as good.

    Raises:
        TypeError: it is no integer.
        ValueError: it is outside the range.
    """
    if least == 1 and most is None:
        expected = "a positive integer"
    else:
        expected = f"an integer from {least} " + ("on" if most is None else f"to {most}")
    if isinstance(value, NO_NUMBERS) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is {shown(value)}; expected {expected}.")
    if value > LARGEST and most is None:
        raise ValueError(f"{name} is {shown(value)}; expected {expected}, at most {LARGEST}.")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} is {shown(value)}; expected {expected}.")
    return int(value)


def number(name: str, value: Any, least: float = -math.inf, above: float = -math.inf, most: float = math.inf) -> float:
    """A finite Python float; integers, NumPy's numbers and arrays without axes are as good.

    Raises:
        TypeError: it is no number.
        ValueError: it is below ``least``, not above ``above``, above ``most``, or not finite.
    """
    bounds = {"a finite number": True, f"a number from {least:g} on": least > -math.inf}
    bounds |= {f"a number above {above:g}": above > -math.inf}
    expected = [text for text, holds in bounds.items() if holds][-1]
    if most < math.inf:
        expected = f"{expected}, at most {most:g}" if above > -math.inf else f"a number from {least:g} to {most:g}"
    if isinstance(value, np.ndarray | jax.Array) and not isinstance(value, jax.core.Tracer) and value.ndim == 0:
        value = value.item()
    if not is_number(value):
        raise TypeError(f"{name} is {shown(value)}; expected {expected}.")
    try:
        found = float(value)
    except OverflowError:  # an integer that no float holds
        found = math.inf
    if not (math.isfinite(found) and least <= found <= most and found > above):
        raise ValueError(f"{name} is {shown(value)}; expected {expected}.")
    return found


def fraction(name: str, value: Any) -> float:
    """A number between 0 and 1, which is neither of them.

    Raises:
        TypeError, ValueError: it is something else.
    """
    found = number(name, value)
    if not 0 < found < 1:
        raise ValueError(f"{name} is {shown(value)}; expected a number above 0 and below 1.")
    return found


def is_number(value: Any) -> bool:
    """Whether something is an integer or a float, of Python or NumPy."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, NO_NUMBERS)


def numbers(name: str, values: Any, **limits: float) -> list[Any]:
    """One number or more, in a sequence, as they are given; see ``number`` for the limits.

    Raises:
        TypeError, ValueError: it is no sequence, it is empty, or one of them is no such number.
    """
    found = ordered(name, values, "numbers")
    for index, value in enumerate(found):
        number(f"{name}[{index}]", value, **limits)
    return found


def sequence(name: str, values: Any, of: str, empty: bool = False) -> list[Any]:
    """The items of lists, arrays, generators and the like, but not of text or mappings.

    Raises:
        TypeError: it is something else. ValueError: there are none, unless ``empty`` allows it.
    """
    no_list = isinstance(values, str | bytes | Mapping) or getattr(values, "ndim", 1) == 0
    if no_list or not isinstance(values, Iterable):
        raise TypeError(f"{name} is {shown(values)}; expected {of}, in a list.")
    if isinstance(values, jax.Array) and not isinstance(values, jax.core.Tracer):
        values = np.asarray(values)  # whose items have a hash
    found = list(values)
    if not found and not empty:
        raise ValueError(f"{name} is empty; expected {of}.")
    return found


def numeric(name: str, values: Any, of: str, kinds: str = "iuf") -> Any:
    """An array of numbers, whose dtype is of these kinds of NumPy's; what is being traced stays as it is.

    Raises:
        TypeError: it is something else.
    """
    try:
        found = values if isinstance(values, jax.core.Tracer) else np.asarray(values)
    except (TypeError, ValueError) as error:  # such as lists of several lengths
        raise TypeError(f"{name} is {shown(values)}; expected {of}.") from error
    if found.dtype.kind not in kinds and not jnp.issubdtype(found.dtype, jnp.floating):  # such as bfloat16
        raise TypeError(f"{name} is {shown(values)}, of the dtype {found.dtype}; expected {of}.")
    return found


def array(
    name: str,
    values: Any,
    of: str,
    axes: Collection[int],
    least: float = -math.inf,
    most: float = math.inf,
    kinds: str = "iuf",
) -> Any:
    """Finite numbers in an array with so many axes, and not empty; of what is being traced only the shape counts.

    Raises:
        TypeError: it holds no numbers. ValueError: it has another shape, or a value is out of range.
    """
    found = numeric(name, values, of, kinds)
    if found.ndim not in axes or not found.size:
        raise ValueError(f"{name} has the shape {list(found.shape)}; expected {of}.")
    if isinstance(found, jax.core.Tracer):
        return found
    if not (np.isfinite(found) & (found >= least) & (found <= most)).all():
        raise ValueError(f"{name} has values from {found.min()!s} to {found.max()!s}; expected {of}.")
    return found


def ordered(name: str, values: Any, of: str) -> list[Any]:
    """The items of a ``sequence`` whose order counts, at least one; a set has none.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if isinstance(values, set | frozenset):
        raise TypeError(f"{name} is {shown(values)}, which has no order; expected {of}, in a list.")
    return sequence(name, values, of)


def point(name: str, value: Any) -> tuple[float, float]:
    """Two numbers.

    Raises:
        TypeError, ValueError: it is something else.
    """
    found = numbers(name, value)
    if len(found) != 2:
        raise ValueError(f"{name} is {shown(value)}; expected two numbers, (x, y).")
    return float(found[0]), float(found[1])


def seed(name: str, value: Any) -> int:
    """What NumPy's random numbers start from: an integer from 0 on.

    Raises:
        TypeError, ValueError: it is something else.
    """
    return integer(name, value, 0, 2**63 - 1)


def boolean(name: str, value: Any) -> bool:
    """True or False, and nothing else.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {shown(value)}; expected True or False.")
    return bool(value)


def text(name: str, value: Any) -> str:
    """Text, which may be empty.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)}; expected text.")
    return value


def one_of(name: str, value: Any, choices: Collection[str]) -> str:
    """One of a few words.

    Raises:
        ValueError: it is another one, or no word.
    """
    if not isinstance(value, str) or value not in choices:
        near = difflib.get_close_matches(value, choices, 1, 0.5) if isinstance(value, str) else []
        suggestion = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name} is {shown(value)}; expected one of {', '.join(map(repr, choices))}.{suggestion}")
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


def path(name: str, value: Any) -> Path:
    """The path of a file or folder, which need not exist.

    Raises:
        TypeError: it is neither text nor a path. ValueError: no file can have this name.
    """
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise TypeError(f"{name} is {shown(value)}; expected a path.")
    if "\0" in os.fspath(value) or not os.fspath(value):
        raise ValueError(f"{name} is {shown(value)}; expected a path.")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{name} is {shown(value)}; there is no such user, or no home of it.") from error


def mapping(name: str, value: Any, of: str) -> dict[Any, Any]:
    """A mapping, as a dictionary.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is {shown(value)}; expected a mapping {of}.")
    return dict(value)


def devices(name: str, value: Any) -> list[jax.Device]:
    """Devices of JAX, at least one.

    Raises:
        TypeError, ValueError: it is something else.
    """
    found = sequence(name, value, "devices, as of jax.devices()")
    wrong = [each for each in found if not isinstance(each, jax.Device)]
    if wrong:
        raise TypeError(f"{name} holds {shown(wrong[0])}; expected devices, as of jax.devices().")
    if len(set(found)) < len(found):
        raise ValueError(f"{name} holds a device more than once: {shown(found)}.")
    return found
