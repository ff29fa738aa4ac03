"""The network: perspective, modulation, core and readout put together, and run over time.

A video goes through the stages alone, one stream at a time; batches and streams are mapped over. The stages see a chunk
of frames at once, so memory does not grow with the length of a video.

Everything here is a pure function of the network (a pytree of parameters), a state and inputs: use it under plain
``jax.jit``, ``jax.vmap``, ``jax.grad`` and ``jax.lax.scan``.
"""

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.common.checks import integer, one_of, shown
from fnn_jax.model import inside
from fnn_jax.model.chunks import advance, chunk_length, map_over, over_chunks, select
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.core import Core
from fnn_jax.model.extent import MAPS, check_values, checked_extent
from fnn_jax.model.formulation import by_platform, formulated
from fnn_jax.model.interventions import as_pytree
from fnn_jax.model.layers import draw_weights, fold_weight_norm
from fnn_jax.model.modulation import MODULATION
from fnn_jax.model.numerics import PRECISIONS, full_precision
from fnn_jax.model.perspective import PERIPHERIES, Perspective
from fnn_jax.model.readout import FEATURES, UNITS, Position, ReadoutNoise
from fnn_jax.model.sharding import over_devices, shardings
from fnn_jax.model.values import Inputs, NetworkState, Noise, Output

DERIVATIVES = ("reverse", "forward")


class Readout(nnx.Module):
    """Positions, shared by the streams, and feature weights of each stream."""

    feature: Any  # of a kind that the configuration names

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...]):
        self.position = Position(config)
        self.feature = FEATURES[config.readout.features](config, streams=streams)


class Network(nnx.Module):
    """The four stages. Parameters of modulation, core and readout features have the stream as first axis.

    A new network has the initial weights of the released model: drawn at random, the readout's zero.
    """

    modulation: Any  # of a kind that the configuration names

    def __init__(self, config: NetworkConfig, *, rngs: nnx.Rngs):
        self.config = config
        streams = (config.num_streams,)
        self.perspective = Perspective(config)
        self.modulation = MODULATION[config.modulation.kind](config, streams=streams)
        self.core = Core(config, streams=streams)
        self.readout = Readout(config, streams=streams)
        draw_weights(self, rngs.params())

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The outputs of the stages, in their order. ``features`` may name any of ``value_names``."""
        blocks = tuple(f"feedforward.block{i}" for i in range(len(self.config.feedforward.channels)))
        after = ("feedforward", "recurrent.input", "recurrent.hidden", "core", "readout")
        return ("retina", "modulation", *blocks, *after)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Every value that ``features`` of ``rollout`` and ``step`` can read, in the order of the stages."""
        return tuple(inside.table(self.config))

    def responses(self, readout: Float[Array, "*batch units"]) -> Float[Array, "*batch units"]:
        """What the units make of their readout, the mean over streams or one stream's: mean responses per frame."""
        return self._unit.response(readout)

    def loss(
        self,
        readout: Float[Array, "*batch units"],
        target: Float[Array, "*batch units"] | Float[np.ndarray, "*batch units"],
    ) -> Float[Array, "*batch units"]:
        """The loss that goes with the units, per unit and frame: of published ones ``fnn_jax.poisson_loss``."""
        return self._unit.loss(readout, target)

    @property
    def _unit(self):
        return UNITS[self.config.unit.kind](self.config.unit)

    def shardings(self, mesh: jax.sharding.Mesh) -> "Network":
        """How the network lies on a mesh of devices with axes named ``videos``, ``streams`` or ``units``.

        A network with a ``NamedSharding`` in place of each array: ``jax.device_put(network, network.shardings(mesh))``
        gives each device its streams and units. Of a mesh of ``jax.make_mesh``, whose axes are explicit, ``rollout``
        then runs on every device with what lies there, and only the mean over streams is computed together.

        Raises:
            TypeError, ValueError: ``mesh`` is none, has other axes, or does not divide the streams or units.
        """
        return shardings(self, mesh)

    def init_state(self, batch: int, key: Array | None = None) -> NetworkState:
        """State before the first frame of ``batch`` videos.

        With a key, the random draws of training (monitor, readout positions, dropout) are made here, once for the
        sequence, and stay in the state; without one the network is deterministic. ``key`` may also be one key for each
        video.
        """

        batch = integer("batch", batch)
        if key is not None:
            check_key(key, batch)

        def stack(tree):
            shape = (batch, self.config.num_streams)
            return jax.tree.map(lambda a: jnp.broadcast_to(a, (*shape, *a.shape)), tree)

        core = self.core.init_state(self.config.perspective.height, self.config.perspective.width)
        noise = None if key is None else self._draw_noise(batch, key)
        return NetworkState(stack(self.modulation.init_state()), stack(core), noise)

    def _draw_noise(self, batch, key):
        def video(key):
            perspective, readout, streams = jax.random.split(key, 3)
            modulation, core = jax.random.split(streams)
            return Noise(
                self.perspective.draw_noise(perspective),
                by_stream(self.modulation, modulation),
                by_stream(self.core, core),
                self.readout.position.draw_noise(readout),
            )

        def by_stream(stage, key):
            return jax.vmap(stage.draw_noise)(jax.random.split(key, self.config.num_streams))

        return jax.vmap(video)(key if key.ndim else jax.random.split(key, batch))

    @full_precision
    def rollout(
        self,
        state: NetworkState,
        inputs: Inputs,
        *,
        stream: int | np.integer | Array | None = None,
        periphery: str = "dark",
        features: Sequence[str] = (),
        chunk_frames: int | None = None,
        precision: str = "float32",
        remat: bool = True,
        derivatives: str = "reverse",
        interventions: Mapping[str, inside.Change] | None = None,
        first_frame: int | Array = 0,
        start: str = "stimulus",
        end: str = "responses",
    ) -> tuple[NetworkState, Output]:
        """Responses to all frames of ``inputs``, ``[time, batch, ...]``, continuing from ``state``.

        Args:
            state: from ``init_state``, or returned by an earlier call.
            inputs: see ``Inputs``; values are not checked here.
            stream: one stream alone, by an index that may be traced; only that stream's state moves on. Default: the
                mean over the streams' readouts.
            periphery: what lies outside the monitor, ``"dark"`` or ``"extend"`` (its border repeated).
            features: names out of ``value_names``; arrays come as ``[time, batch, stream, ...]``, channels last
                (``retina`` and the perspective's have no stream axis; with ``stream`` that axis has length 1).
            chunk_frames: how many frames go through the feedforward part together; more need more memory. Default:
                about as many as are fastest on a CPU.
            precision: of the products of the core: ``"float32"``, or ``"tensorfloat32"`` or ``"bfloat16"``, in which
                accelerators are faster (CPUs are not) and operands have 10 or 7 binary digits after the point. Sums
                and everything else are float32, and all of it where the core is not concerned.
            remat: for gradients, compute each chunk of frames once more instead of keeping what is inside: less memory
                and, on a CPU, less time. Nothing else changes.
            derivatives: ``"reverse"``: the program has rules of its own for gradients (``jax.grad``, ``jax.vjp``),
                which JAX cannot push forward. ``"forward"``: the plain formulas, of which ``jax.jvp``,
                ``jax.jacfwd``, ``jax.linearize`` and second derivatives exist, too (on black pixels the second is
                infinite, as that of the monitor's power is); the numbers are the same, and slower.
            interventions: functions by name of a value. ``f(value, place)`` is given the value of one frame of one
                video and stream, channels last, and ``fnn_jax.interventions.Place``, and returns what the network goes
                on with, of the same shape and dtype. Those of ``fnn_jax.interventions`` are ready.
            first_frame: which frame of its video the first one is, for ``place.frame``.
            start: what ``inputs.stimuli`` holds: the ``"stimulus"``, or values as features of these names come:
                ``"retina"``, or maps called ``"feedforward"`` or ``"core"``, of all streams or of the chosen one. Eye
                and behaviour matter where something follows from them.
            end: ``"responses"``, or the last value that is computed, ``"retina"``, ``"feedforward"`` or ``"core"``;
                then only features come out.

        Returns:
            The state after the last frame, and ``Output``. The state of what did not run stays as it was.

        Raises:
            TypeError, ValueError: no frames; a name, periphery, stream, precision or kind of derivatives that does not
                exist, or a precision below that of float64 parameters; names that do not lie between ``start`` and
                ``end``, or values that do not fit ``start``. A stream that is being traced is not checked; out of range
                it is clamped.
        """
        self.check_options(stream, periphery, features, precision)
        interventions = self.check_interventions(interventions)
        extent = checked_extent(start, end, features=features, interventions=interventions)
        check_values(self.config, start, inputs.stimuli, one_stream=stream is not None)
        one_of("derivatives", derivatives, DERIVATIVES)
        frames = inputs.stimuli.shape[0]
        if frames == 0:
            raise ValueError("inputs has no frames; expected at least one.")
        if chunk_frames is None:
            chunk_frames = chunk_length(frames)
        elif chunk_frames is not frames:  # which may be a symbol, where programs are exported
            chunk_frames = integer("chunk_frames", chunk_frames)

        # What no stage returns by itself has to be tapped.
        tapped = frozenset(name for name in features if name not in self.feature_names)
        is_probed = bool(tapped or interventions)
        options: dict[str, Any] = {"stream": stream, "periphery": periphery, "names": tuple(features), "extent": extent}
        options |= {"precision": precision, "remat": remat}

        def run(network, state, inputs):
            def one_chunk(state, inputs):
                probe = None
                if is_probed:
                    inputs, counted = inputs
                    place = inside.Place(counted, jnp.int32(0), jnp.int32(-1))
                    probe = inside.Probe(tapped, interventions, place, {})
                return advance(network, state, inputs, **options, probe=probe)

            if is_probed:
                inputs = inputs, jnp.arange(frames, dtype=jnp.int32) + jnp.asarray(first_frame, jnp.int32)
            return over_chunks(one_chunk, state, inputs, chunk_frames)

        def formulate(network, state, inputs):
            network = fold_weight_norm(network)
            if derivatives == "forward":
                with formulated("plain"):
                    return run(network, state, inputs)
            return by_platform(run, network, state, inputs)

        spread = {"one_stream": stream is not None, "changed": bool(interventions)}
        spread |= {"by_stream": start in MAPS, "has_responses": end == "responses"}
        return over_devices(formulate, self, state, inputs, features, **spread)

    def one_stream(self, stream: int | Array) -> "Network":
        """A network of one stream alone, by an index that may be traced; its arrays keep the axis of streams."""
        network = jax.tree.map(lambda array: array, self)  # another object, with the same arrays
        network.config = dataclasses.replace(self.config, num_streams=1)
        parts = self.modulation, self.core, self.readout.feature
        network.modulation, network.core, network.readout.feature = select(parts, stream, axis=0)
        return network

    def step(self, state: NetworkState, inputs: Inputs, **options: Any) -> tuple[NetworkState, Output]:
        """One frame: ``rollout`` (same options) of inputs without a time axis, ``[batch, ...]``."""
        state, output = self.rollout(state, jax.tree.map(lambda a: a[None], inputs), **options)
        return state, jax.tree.map(lambda a: a[0], output)

    def read(
        self,
        maps: Float[Array, "time batch stream height width channels"],
        *,
        stream: int | np.integer | Array | None = None,
        noise: ReadoutNoise | None = None,
    ) -> Float[Array, "time batch units"]:
        """The last stage alone: the readout of maps that ``rollout`` gave as its feature ``core``.

        ``maps`` hold all streams; or, with ``stream``, that one only. ``noise`` is that of a state.
        """
        feature = self.readout.feature if stream is None else select(self.readout.feature, stream, axis=0)

        def video(args):
            maps, noise = args
            positions = self.readout.position(noise)
            by_stream = map_over(lambda one: one[0](one[1], positions), (feature, jnp.moveaxis(maps, 1, 0)))
            return by_stream.mean(0)

        return jnp.moveaxis(map_over(video, (jnp.moveaxis(maps, 1, 0), noise)), 0, 1)

    def check_options(self, stream: Any, periphery: Any, features: Sequence[str], precision: Any = "float32") -> None:
        """Raise what ``rollout`` raises for these options."""
        one_of("periphery", periphery, PERIPHERIES)
        if stream is not None and not isinstance(stream, jax.core.Tracer):
            expected = f"expected None or an index from 0 to {self.config.num_streams - 1}"
            try:
                index = None if isinstance(stream, bool | np.bool_) else operator.index(stream)
            except TypeError:
                index = None
            if index is None:
                raise TypeError(f"stream is {shown(stream)}; {expected}.")
            if not 0 <= index < self.config.num_streams:
                raise ValueError(f"stream is {shown(index)}; {expected}.")
        known = self.value_names
        for name in features:
            if name not in known:
                inside.choose([name], known)
                raise ValueError(f"features has a pattern ({name!r}); expected names: see twin.feature_table().")
        one_of("precision", precision, PRECISIONS)
        dtype = self.perspective.monitor.center.dtype
        if precision != "float32" and dtype != jnp.float32:
            raise ValueError(f"precision is {precision!r}, but parameters are {dtype}; leave it at 'float32'.")

    def check_interventions(self, interventions: Any) -> dict[str, inside.Change]:
        """As pytrees by name, or raise ``TypeError`` or ``ValueError`` for what is no intervention on this network."""
        expected = "a dictionary from names of twin.feature_table() to functions of a value and its place"
        if interventions is None:
            return {}
        if not isinstance(interventions, Mapping) or not all(isinstance(name, str) for name in interventions):
            raise TypeError(f"interventions is {shown(interventions)}; expected {expected}.")
        for name, change in interventions.items():
            inside.choose([name], self.value_names, "interventions")
            if name not in self.value_names:
                raise ValueError(f"interventions has a pattern ({name!r}); expected names, one for each function.")
            if name in inside.ONLY_READ:
                raise ValueError(f"interventions changes {name!r}, which can only be read.")
            if not callable(change):
                raise TypeError(f"interventions[{name!r}] is {shown(change)}; expected a function of value and place.")
        return {name: as_pytree(change) for name, change in interventions.items()}


def check_key(key: Any, batch: int) -> None:
    """Raise ``TypeError`` or ``ValueError`` for what random draws of so many videos cannot be made of."""
    expected = f"expected None, a key of jax.random.key, or {batch} of them, one for each video"
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise TypeError(f"key is {shown(key)}; {expected}.")
    if key.shape not in ((), (batch,)):
        raise ValueError(f"key has the shape {list(key.shape)}; {expected}.")
