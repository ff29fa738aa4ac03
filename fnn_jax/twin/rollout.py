"""The compiled rollout of a twin: weights normalised once, one program for every chunk of frames."""

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from fnn_jax.model.layers import fold_weight_norm
from fnn_jax.model.network import Network, NetworkState
from fnn_jax.twin.finite import warn_of_weights


class Options(NamedTuple):
    """What a prediction is asked for beside its inputs; see ``Twin.predict``."""

    periphery: str = "dark"
    stream: int | None = None
    features: tuple[str, ...] = ()
    precision: str = "float32"
    chunk_frames: int | None = None
    interventions: Mapping[str, Callable] = MappingProxyType({})
    start: str = "stimulus"
    end: str = "responses"


class _FoldedCore:
    """A core with its weights normalised, for as long as a twin uses it; it keeps the arrays that it was made from."""

    def __init__(self, core: nnx.Module):
        self.leaves = jax.tree.leaves(core)
        self.folded = jax.jit(fold_weight_norm)(core)


_folded_cores: weakref.WeakValueDictionary[tuple[int, ...], _FoldedCore] = weakref.WeakValueDictionary()
_folded_cores_lock = threading.Lock()


def _fold_core(core: nnx.Module) -> _FoldedCore:
    """The same one for all twins that share the arrays of their core."""
    key = tuple(map(id, jax.tree.leaves(core)))
    with _folded_cores_lock:
        folded = _folded_cores.get(key)
        if folded is None:
            folded = _folded_cores[key] = _FoldedCore(core)
    return folded


def fold(network: Network) -> tuple[Network, _FoldedCore]:
    """The network with its weights normalised, and the core to hold on to, which twins share.

    The readout's arrays stay the same ones: those of published twins have no weights to normalise.
    """
    warn_of_weights(network)
    network = jax.tree.map(lambda array: array, network)  # another object, with the same arrays
    network.perspective, network.modulation = jax.jit(fold_weight_norm)((network.perspective, network.modulation))
    core = _fold_core(network.core)
    network.core = core.folded
    return network, core


@functools.partial(jax.jit, static_argnames=("structure", "periphery", "features", "precision", "start", "end"))
def compiled_rollout(leaves, state, inputs, stream, changes=None, first_frame=0, *, structure, **options):
    """``Network.rollout`` of one chunk of frames, whatever their number.

    It takes flat parameters, because dispatching a module costs ten times more, and is compiled once for all twins of
    one shape.
    """
    network = jax.tree.unflatten(structure, leaves)
    options |= {"interventions": changes, "first_frame": first_frame}
    return network.rollout(state, inputs, stream=stream, chunk_frames=inputs.stimuli.shape[0], **options)


def outside_traces() -> contextlib.AbstractContextManager:
    """For what is to be computed now, also where somebody calls it while JAX is tracing.

    Elsewhere nothing changes: inside, JAX evaluates the constants of a program that it traces one by one, which takes a
    second, and rounds differently.
    """
    tracing = isinstance(jnp.zeros(()), jax.core.Tracer)
    return jax.ensure_compile_time_eval() if tracing else contextlib.nullcontext()


def compiled(function: Callable, *arguments: Any, **static: Any) -> Callable:
    """The program of a function for arguments of these shapes, made once for all threads.

    What JAX knows of the thread that calls it, settings and what is being traced, does not count when it runs.
    """
    arrays, structure = jax.tree.flatten(arguments)
    described = tuple((array.shape, array.dtype, array.sharding) for array in arrays)
    settings = jax.config.jax_enable_x64, jax.config.jax_disable_jit  # type: ignore[attr-defined]
    return _compiled(function, described, structure, tuple(static.items()), settings)


@functools.lru_cache(maxsize=64)
def _compiled(function, described, structure, static, settings):
    arrays = [jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for shape, dtype, sharding in described]
    arguments, options = jax.tree.unflatten(structure, arrays), dict(static)
    with jax.disable_jit(False):
        return jax.jit(function, static_argnames=tuple(options)).lower(*arguments, **options).compile()


def initial_state(network: Network, batch: int) -> NetworkState:
    """``Network.init_state`` as one program, where nothing is traced: operation by operation, each is compiled."""
    arrays = jax.tree.leaves(network)
    if any(isinstance(array, jax.core.Tracer) for array in arrays):
        return network.init_state(batch)
    if any(len(array.devices()) > 1 for array in arrays):
        with outside_traces():
            return network.init_state(batch)
    return compiled(_initial_state, network, batch=batch)(network)


def _initial_state(network, batch):
    return network.init_state(batch)
