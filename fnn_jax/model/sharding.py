"""How a network and its videos lie on the devices of a mesh, and the rollout there.

Videos, streams and units can have an axis of the mesh each. The stages are written for one stream of one video, and
units read by themselves: a device computes its own as if it were alone, and only the mean over streams needs the
others. Where the axes of a mesh are explicit, the types of arrays say how they lie, and the rollout is mapped over the
devices. Left to itself, JAX's partitioner gathers what goes into convolutions in groups, and streams that are written
out one after the other.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fnn_jax.common.checks import shown
from fnn_jax.model.inside import WITHOUT_STREAMS
from fnn_jax.model.values import NetworkState, Output


class Axes(NamedTuple):
    """The axis of a mesh over which each is spread; None: every device has all of them."""

    videos: Any = None
    streams: Any = None
    units: Any = None

    def of_network(self, network):
        def spec(path, _):
            stage, part, *_ = jax.tree_util.keystr(path, simple=True, separator=".").split(".")
            if stage == "readout":
                return P(self.units) if part == "position" else P(self.streams, self.units)
            return P() if stage == "perspective" else P(self.streams)

        return jax.tree_util.tree_map_with_path(spec, network)

    def of_state(self, state):
        by_stream: Any = P(self.videos, self.streams)
        noise = state.noise
        if noise is not None:
            noise = type(noise)(P(self.videos), by_stream, by_stream, P(self.videos, self.units))
        return NetworkState(by_stream, by_stream, noise)

    def of_inputs(self, inputs, by_stream):
        along = P(None, self.videos)
        return type(inputs)(P(None, self.videos, self.streams) if by_stream else along, along, along)

    def of_output(self, features, has_responses):
        others: dict[str, Any] = dict.fromkeys(WITHOUT_STREAMS, P(None, self.videos))
        by_unit_and_stream: Any = P(None, self.videos, self.streams, self.units)
        others |= {"readout": by_unit_and_stream, "readout.samples": by_unit_and_stream}
        by_name = {name: others.get(name, P(None, self.videos, self.streams)) for name in features}
        by_unit: Any = P(None, self.videos, self.units) if has_responses else None
        return Output(by_unit, by_unit, by_name)


def shardings(network, mesh):
    """See ``Network.shardings``."""
    expected = f"a mesh of devices with axes out of {Axes._fields}"
    if not isinstance(mesh, Mesh | AbstractMesh):
        raise TypeError(f"mesh is {shown(mesh)}; expected {expected}.")
    if not set(mesh.axis_names) <= set(Axes._fields):
        raise ValueError(f"mesh has the axes {shown(mesh.axis_names)}; expected {expected}.")
    for axis, count in (("streams", network.config.num_streams), ("units", network.config.num_units)):
        if count % mesh.shape.get(axis, 1):
            raise ValueError(f"mesh has {mesh.shape[axis]} devices along {axis!r}; expected a divisor of {count}.")
    axes = Axes(*(name if name in mesh.axis_names else None for name in Axes._fields))
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), axes.of_network(network))


def over_devices(
    rollout: Callable,
    network,
    state,
    inputs,
    features: Sequence[str],
    *,
    one_stream: bool,
    changed: bool,
    by_stream: bool,
    has_responses: bool,
):
    """Call a rollout, which returns a state and an output with these features, on the devices where its arguments lie.

    Of one stream alone every device has the whole. ``by_stream``: the inputs are maps of every stream.

    Raises:
        ValueError: values are ``changed``, and lie on several devices.
    """
    types = [jax.typeof(array).sharding for array in jax.tree.leaves((network, state, inputs))]
    meshes = [sharding.mesh for sharding in types if any(sharding.spec)]
    if not meshes:
        return rollout(network, state, inputs)
    if changed:
        raise ValueError("interventions is given, and arrays are spread over a mesh; expected all on one device each.")

    def axis(array, index):
        return jax.typeof(array).sharding.spec[index]

    axes = Axes(
        axis(inputs.stimuli, 1),
        None if one_stream else axis(jax.tree.leaves(network.core)[0], 0),
        axis(network.readout.position.mean[...], 0),
    )

    def on_device(network, state, inputs):
        state, output = rollout(network, state, inputs)
        if axes.streams is None or not has_responses:
            return state, output
        readout = jax.lax.pmean(output.readout, axes.streams)
        return state, Output(network.responses(readout), readout, output.features)

    specs = (axes.of_network(network), axes.of_state(state), axes.of_inputs(inputs, by_stream))
    placed = jax.tree.map(
        lambda spec, tree: jax.tree.map(lambda array: jax.reshard(array, NamedSharding(meshes[0], spec)), tree),
        specs,
        (network, state, inputs),
    )
    out_specs = (specs[1], axes.of_output(features, has_responses))
    return jax.shard_map(on_device, mesh=meshes[0], in_specs=specs, out_specs=out_specs, check_vma=False)(*placed)
