"""For what the network is formulated: the same formulas, arranged for the device that computes them.

- ``"cpu"``: videos and streams one after the other, so that what a step needs stays in the cache; convolutions as
  products of transformed frames; gradients by rules of our own, in layouts for which XLA has fast code.
- ``"gpu"``: all videos at once; the feedforward part of each stream by itself, as dense convolutions, and the recurrent
  parts of all streams side by side, as one batched product each (``stacked``).
- ``"tpu"``: all videos at once; the feedforward parts of all streams side by side in the channels (``wide``), groups
  one after the other, which its compiler is quicker with.
- ``"plain"``: the formulas as they stand, under JAX's own rules for derivatives. It is the reference of the others, and
  the one with derivatives in forward mode.

All give the same numbers, but for rounding.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import jax

FORMULATIONS = ("plain", "cpu", "gpu", "tpu")
_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("formulation", default=None)


@contextlib.contextmanager
def formulated(name: str) -> Iterator[None]:
    """Trace, inside the block, in one of ``FORMULATIONS``.

    What JAX traced before stays as it is: hand ``jax.jit`` a new function, or make the name a part of its key.
    """
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def for_platform(platform: str) -> str:
    """The formulation for devices of a platform such as ``"cpu"``, ``"gpu"``, ``"cuda"`` or ``"tpu"``."""
    return platform if platform in ("cpu", "tpu") else "gpu"


def formulation() -> str:
    """The one that is being traced; where nothing was chosen, that of the process's default device."""
    return _chosen.get() or for_platform(jax.default_backend())


def by_platform(function: Callable, *arguments: Any) -> Any:
    """Call a function in the formulation that was chosen, or else in that of the device that will run it.

    A process with an accelerator can also compute on its CPU, and while a program is traced nobody knows where it will
    run: both formulations are traced, and the compiler takes one.
    """
    if _chosen.get() is not None or _has_only_cpus():
        return function(*arguments)

    def in_formulation(name):
        def formulated_function(*arguments):
            with formulated(name):
                return function(*arguments)

        return formulated_function

    other = "tpu" if jax.default_backend() == "tpu" else "gpu"  # a process has one of them beside its CPU
    return jax.lax.platform_dependent(*arguments, cpu=in_formulation("cpu"), default=in_formulation(other))


def _has_only_cpus() -> bool:
    only = jax.config.jax_platforms  # type: ignore[attr-defined]
    return jax.default_backend() == "cpu" and only in (None, "", "cpu")
