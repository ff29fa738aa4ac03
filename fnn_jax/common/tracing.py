"""What a traced function computes, as a hash: two that differ do not go on with one another's work."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

CALLBACKS = ("pure_callback", "io_callback", "python_callback")


def traced_digest(traced: Any) -> str:
    """Of a ``ClosedJaxpr``: its operations and the arrays that it closes over.

    Raises:
        ValueError: it calls back to Python; what that computes cannot be told from outside.
    """
    called = {equation.primitive.name for equation in _equations(traced)} & {*CALLBACKS}
    if called:
        raise ValueError(
            f"a function calls back to Python ({', '.join(sorted(called))}), so that it cannot be compared with that "
            "of an earlier call. Write it with jax.numpy."
        )
    printed = traced.jaxpr.pretty_print(use_color=False)  # str() has colours in terminals and notebooks
    text = re.sub(r" at 0x[0-9a-f]+", "", printed)  # addresses of Python functions
    digest = hashlib.sha256(text.encode())
    for constant in _constants(traced):
        constant = np.asarray(plain(constant))
        digest.update(f"{constant.dtype} {constant.shape}".encode() + constant.tobytes())
    return digest.hexdigest()


def plain(array: Any) -> Any:
    """The numbers of an array; of random keys those that they hold."""
    is_key = isinstance(array, jax.Array) and jax.numpy.issubdtype(array.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(array) if is_key else array


def _constants(traced: Any) -> Iterator[Any]:
    """Arrays that a function closes over, also in the functions that it calls."""
    yield from getattr(traced, "consts", ())
    for equation in traced.eqns:
        for called in _called(equation):
            yield from _constants(called)


def _equations(traced: Any) -> Iterator[Any]:
    """Its operations, also of the functions that it calls."""
    for equation in traced.eqns:
        yield equation
        for called in _called(equation):
            yield from _equations(called)


def _called(equation: Any) -> Iterator[Any]:
    """Functions that an operation calls, traced."""
    inner = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda value: hasattr(value, "eqns"))
    yield from (value for value in inner if hasattr(value, "eqns"))
