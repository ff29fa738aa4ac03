"""A twin as a pytree: an argument of jax.jit, jax.device_put, jax.tree.map, whose leaves are its parameters."""

import copy

import jax

from fnn_jax.model.network import Network
from fnn_jax.twin.twin import Twin


class _Static:
    """What is not traced of a twin that is an argument of a compiled function."""

    def __init__(self, twin: Twin):
        self.units, self.name, self.label, self.provenance = twin.units, twin.name, twin.label, twin.provenance
        self.given = twin._given

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static):
            return NotImplemented
        same = (self.name, self.label, self.provenance) == (other.name, other.label, other.provenance)
        return same and (self.units is other.units or self.units.equals(other.units))

    def __hash__(self) -> int:
        return hash((self.name, self.label, len(self.units)))


def _flatten(twin: Twin) -> tuple[tuple[Network], _Static]:
    if twin.provenance:
        twin._given.keep_digest(twin.network)
    return (twin.network,), _Static(twin)


def _unflatten(static: _Static, children: tuple[Network]) -> Twin:
    twin = object.__new__(Twin)
    (twin.network,), twin.units, twin.name, twin.label = children, static.units, static.name, static.label
    twin.provenance, twin._given, twin._folded = copy.deepcopy(static.provenance), static.given, None
    return twin


# So that a twin is an argument of jax.jit, jax.device_put, jax.tree.map: its parameters are the leaves.
jax.tree_util.register_pytree_node(Twin, _flatten, _unflatten)
