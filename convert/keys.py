"""The table between the published checkpoints and the parameters of ``fnn_jax``.

An ``Entry`` says which keys of a PyTorch ``state_dict`` make up one parameter, and how. Each key is used once or named
as carrying no information, each parameter is filled once, and both directions come from the same table. Plain NumPy:
neither torch nor jax is needed here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fnn_jax.model.config import NetworkConfig

StateDict = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Layout:
    """How an array lies in the checkpoint and in the network: a transposition and the axes that are dropped."""

    to_network: Callable[[np.ndarray], np.ndarray]
    to_checkpoint: Callable[[np.ndarray], np.ndarray]
    checkpoint_shape: Callable[[tuple[int, ...]], tuple[int, ...]]


SAME = Layout(lambda a: a, lambda a: a, lambda s: s)
# [out, in, time, height, width] -> [time, height, width, in, out]
CONV = Layout(
    lambda a: a.transpose(2, 3, 4, 1, 0), lambda a: a.transpose(4, 3, 0, 1, 2), lambda s: (s[4], s[3], *s[:3])
)
# [out, in, 1, 1, 1] -> [in, out]
LINEAR = Layout(lambda a: a[:, :, 0, 0, 0].T, lambda a: a.T[:, :, None, None, None], lambda s: (s[1], s[0], 1, 1, 1))
# [1, input] -> [input]
ROW = Layout(lambda a: a[0], lambda a: a[None], lambda s: (1, *s))
# [unit, 1, channel] -> [unit, channel], and [unit, 1] -> [unit]: units have one readout each
ONE_READOUT = Layout(lambda a: a[:, 0], lambda a: a[:, None], lambda s: (s[0], 1, *s[1:]))


@dataclass(frozen=True)
class Entry:
    """One parameter of the network: its path, its keys (one, or one a stream), and its layout."""

    path: str
    keys: tuple[str, ...]
    layout: Layout = SAME
    stacked: bool = False

    def read(self, state: StateDict) -> np.ndarray:
        arrays = [np.asarray(self.layout.to_network(state[key]), order="C") for key in self.keys]
        return np.stack(arrays) if self.stacked else arrays[0]

    def write(self, value: np.ndarray) -> dict[str, np.ndarray]:
        arrays = list(value) if self.stacked else [value]
        arrays = [np.asarray(self.layout.to_checkpoint(array), order="C") for array in arrays]
        return dict(zip(self.keys, arrays, strict=True))

    def checkpoint_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape under each key, given the parameter's shape in the network."""
        return tuple(self.layout.checkpoint_shape(shape[1:] if self.stacked else shape))


def entries(config: NetworkConfig) -> list[Entry]:
    """The whole table for an architecture."""
    return [*_perspective(config), *_modulation(config), *_core(config), *_readout(config)]


def constants(config: NetworkConfig) -> dict[str, np.ndarray]:
    """Keys that carry no information, with the value they must have: two buffers of the map between groups."""
    groups = config.recurrent.groups
    if groups == 1:
        return {}
    group_out, group_in = config.recurrent.in_channels // groups, config.recurrent.hidden_channels // groups
    return {
        "core.recurrent.proj_x.0.mask": ~np.eye(groups, dtype=bool)[:, :, None, None],
        "core.recurrent.proj_x.0.zero": np.zeros((groups, groups, group_out, group_in), np.float32),
    }


def _layer(path: str, key: str, layout: Layout, streams: int | None, gain: bool = True, bias: bool = True):
    """Weight, gain and bias of a layer; ``streams`` is None where the streams share it."""
    parts = [("weight", "weights", layout)]
    parts += [("gain", "gains", SAME)] * gain + [("bias", "biases", SAME)] * bias
    for name, stem, part_layout in parts:
        keys = tuple(f"{key}.{stem}.{stream}" for stream in range(streams or 1))
        yield Entry(f"{path}.{name}", keys, part_layout, stacked=streams is not None)


PIXELS = {"raw": (), "static_power": ("power", "scale", "offset"), "sigmoid_power": ("logit", "scale", "offset")}


def _perspective(config: NetworkConfig) -> Iterator[Entry]:
    perspective = config.perspective
    if perspective.kind == "mlp_monitor_retina":
        keys = [f"mlp.linears.{layer}" for layer in range(perspective.mlp_layers + 1)]
    else:
        keys = [*(f"layers.{layer}" for layer in range(len(perspective.hidden_features))), "out"]
    for layer, key in enumerate(keys):
        gain = layer > 0 or perspective.kind == "monitor_retina"
        yield from _layer(f"perspective.eye.layers.{layer}", f"perspective.{key}", LINEAR, None, gain=gain)
    for name in ("center", "angle", "center_std", "angle_std"):
        yield Entry(f"perspective.monitor.{name}", (f"perspective.monitor.{name}",))
    for name in PIXELS[perspective.monitor_pixels]:
        yield Entry(f"perspective.luminance.{name}", (f"perspective.monitor_pixel.{name}",))
    for name in PIXELS[perspective.retina_pixels]:
        yield Entry(f"perspective.response.{name}", (f"perspective.retina_pixel.{name}",))
    yield Entry("perspective.retina", ("perspective.retina.grid",))


GATES = {"input_gate": "proj_i", "forget_gate": "proj_f", "candidate": "proj_g", "output_gate": "proj_o"}
RVT_GATES = {"update_gate": "proj_z", "candidate": "proj_n"}


def _modulation(config: NetworkConfig) -> Iterator[Entry]:
    kind = config.modulation.kind

    def linear(path, key, gain=True):
        return _layer(f"modulation.{path}", f"modulation.{key}", LINEAR, config.num_streams, gain)

    lstm = {"mlp_lstm": "lstm.", "flat_lstm": "", "sigmoid_lstm": "lstm."}[kind]
    if kind == "mlp_lstm":
        yield from linear("linear", "mlp.linears.0", gain=False)
        for layer in range(1, config.modulation.mlp_layers):
            yield from linear(f"more.{layer - 1}", f"mlp.linears.{layer}")
    else:
        yield from linear("linear", f"{lstm}proj_x")
        yield from linear("out", f"{lstm}out")
    if kind == "sigmoid_lstm":
        for name, stem in (("input_gain", "gains"), ("input_bias", "biases")):
            keys = tuple(f"modulation.sigmoid.{stem}.{stream}" for stream in range(config.num_streams))
            yield Entry(f"modulation.{name}", keys, ROW, stacked=True)
    for gate, key in GATES.items():
        yield from linear(f"lstm.{gate}", f"{lstm}{key}")


def _core(config: NetworkConfig) -> Iterator[Entry]:
    def conv(path, key, gain=True, bias=True):
        return _layer(f"core.{path}", f"core.{key}", CONV, config.num_streams, gain, bias)

    for block, layers in enumerate(config.feedforward.layers):
        gain = block > 0 or config.feedforward.input_weight_norm
        yield from conv(f"feedforward.inputs.{block}", f"feedforward.inputs.{block}", gain=gain)
        for layer in range(layers):
            yield from conv(f"feedforward.blocks.{block}.convs.{layer}", f"feedforward.blocks.{block}.convs.{layer}")
        for layer in range(1, layers):  # the released list of skips starts with an empty place
            path = f"feedforward.blocks.{block}.skips.{layer - 1}"
            yield from conv(path, f"feedforward.blocks.{block}.skips.{layer}", bias=False)
    yield from conv("feedforward.out", "feedforward.out")

    kind, first = config.recurrent.kind, 0  # the maps of the inputs are numbered
    if config.recurrent.groups > 1:
        first = 1
        path, key = "core.recurrent.hidden_map", "core.recurrent.proj_x.0"
        yield from _layer(path, key, SAME, config.num_streams, bias=False)
    yield from conv("recurrent.feedforward_map", f"recurrent.proj_x.{first}")
    yield from conv("recurrent.modulation_map", f"recurrent.proj_x.{first + 1}", bias=False)
    if kind != "conv_lstm":
        yield from conv("recurrent.conv", "recurrent.conv", gain=False, bias=False)
        scales = tuple(f"core.recurrent.scales.{stream}" for stream in range(config.num_streams))
        yield Entry("core.recurrent.scale", scales, stacked=True)
        for name, key in {"query": "proj_q", "key": "proj_k", "value": "proj_v"}.items():
            yield from conv(f"recurrent.{name}", f"recurrent.{key}", gain=False, bias=False)
    for gate, key in (RVT_GATES if kind == "rvt" else GATES).items():
        yield from conv(f"recurrent.{gate}", f"recurrent.{key}")
    yield from conv("recurrent.out", "recurrent.out")


def _readout(config: NetworkConfig) -> Iterator[Entry]:
    yield Entry("readout.position.mean", ("readout.position.mu",))
    yield Entry("readout.position.spread", ("readout.position.sigma",))
    stems = {"weight": "feature.weights", "bias": "biases"}
    if config.readout.features == "norm":
        stems["gain"] = "feature.gains"
    for name, key in stems.items():
        keys = tuple(f"readout.{key}.{stream}" for stream in range(config.num_streams))
        yield Entry(f"readout.feature.{name}", keys, ONE_READOUT, stacked=True)
