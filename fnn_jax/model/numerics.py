"""In which precision products are computed."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fnn_jax.model.formulation import formulation

# What products of the core may be computed in, by the names that JAX has for it. Sums are float32 in all of them.
PRECISIONS = {
    "float32": jax.lax.Precision.HIGHEST,
    "tensorfloat32": jax.lax.Precision.HIGH,  # 10 binary digits on NVIDIA GPUs, some 16 on TPUs
    "bfloat16": jax.lax.Precision.DEFAULT,  # 7: the operands are bfloat16
}
# A CPU has no TF32. Rounded by hand, and slower than float32, it shows what an accelerator would give.
_BY_HAND = "tensorfloat32 by hand"
_OF_JAX = PRECISIONS | {_BY_HAND: PRECISIONS["tensorfloat32"]}


def full_precision(function: Callable) -> Callable:
    """Trace a function with matrix products and convolutions in full float32, whatever JAX's default on this device."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return wrapped


def asked_precision() -> str:
    """The one of ``PRECISIONS`` that is set around the trace; float32 unless JAX's setting names another.

    It is JAX's own setting because whatever JAX keeps of earlier traces is kept apart by it.
    """
    name = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    if name not in PRECISIONS:
        return "float32"
    return _BY_HAND if name == "tensorfloat32" and formulation() in ("plain", "cpu") else name


def of_jax(precision: str) -> jax.lax.Precision:
    """What JAX calls a precision that ``asked_precision`` gave."""
    return _OF_JAX[precision]


def product(spec: str, a: Array, b: Array, precision: str | None = None) -> Array:
    """``jnp.einsum`` of two arrays in a precision of ``asked_precision``, by default the one that is asked for now.

    Rules for gradients name it: they are traced later, outside of what surrounded the forward pass.
    """
    precision = asked_precision() if precision is None else precision
    if precision == "float32":
        return jnp.einsum(spec, a, b, precision=of_jax(precision))
    if formulation() == "plain":
        return _product_of_operands(precision, spec, a, b)
    return _fast_product(precision, spec, a, b)


def _product_of_operands(precision, spec, a, b):
    a, b = as_operands(precision, a, b)
    return jnp.einsum(spec, a, b, precision=of_jax(precision), preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _fast_product(precision, spec, a, b):
    return _product_of_operands(precision, spec, a, b)


def _fast_product_forward(precision, spec, a, b):
    return _fast_product(precision, spec, a, b), as_operands(precision, a, b)


def _fast_product_backward(precision, spec, saved, g):
    # The gradients are products in the same precision. By JAX's own rules g would stay as it is, and a product of
    # float32 and bfloat16 is a slow one.
    a, b = (operand.astype(g.dtype) for operand in saved)
    inputs, out = spec.split("->")
    first, second = inputs.split(",")
    return (
        _fast_product(precision, f"{out},{second}->{first}", g, b),
        _fast_product(precision, f"{first},{out}->{second}", a, g),
    )


_fast_product.defvjp(_fast_product_forward, _fast_product_backward)


def as_operands(precision, *arrays):
    if precision == "bfloat16":
        return tuple(array.astype(jnp.bfloat16) for array in arrays)
    if precision == _BY_HAND:
        return tuple(jax.lax.reduce_precision(array, exponent_bits=8, mantissa_bits=10) for array in arrays)
    return arrays
