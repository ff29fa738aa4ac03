"""What a traced function computes, as a hash: two that differ do not go on with one another's work."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np


def traced_digest(traced: Any) -> str:
    """Of a ``ClosedJaxpr``: its operations and the arrays that it closes over."""
    text = re.sub(r" at 0x[0-9a-f]+", "", str(traced.jaxpr))  # addresses of Python functions
    digest = hashlib.sha256(text.encode())
    for constant in map(np.asarray, _constants(traced)):
        digest.update(f"{constant.dtype} {constant.shape}".encode() + constant.tobytes())
    return digest.hexdigest()


def _constants(traced: Any) -> Iterator[Any]:
    """Arrays that a function closes over, also in the functions that it calls."""
    yield from getattr(traced, "consts", ())
    for equation in traced.eqns:
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda value: hasattr(value, "eqns"))
        for value in inner:
            if hasattr(value, "eqns"):
                yield from _constants(value)
