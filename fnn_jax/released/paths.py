"""Tables of the released network: its modules by path, what comes out of them, and the sizes that they hold."""

import functools
from typing import Any

import numpy as np

from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.inside import WITHOUT_STREAMS, released_modules, table
from fnn_jax.model.network import Output

# Two values that are no features: what the units make of their readout, and its mean over the streams.
RESPONSES, MEAN_READOUT = "responses", "mean readout"
ALIASES = {"readout.position.mean": "readout.position.mu"}
_MODULATION = {
    "mlp_lstm": ("modulation.lstm",),
    "flat_lstm": ("modulation.out",),
    "sigmoid_lstm": ("modulation.lstm.out", "modulation.lstm"),
}


@functools.cache  # it is looked up for every frame
def outputs(config: NetworkConfig) -> dict[str, str]:
    """Paths of the modules that can have forward hooks, and the feature of the twin that comes out of each.

    In the order in which the modules return; the path of the whole network is empty. To add one, add its row here or to
    ``inside.released_modules``, and its layout to ``released_layout``, if it is another one.
    """
    rows = {"perspective.retina_pixel": "retina", "perspective": "retina"}
    rows |= dict.fromkeys((*_MODULATION[config.modulation.kind], "modulation"), "modulation")
    rows |= {f"core.feedforward.blocks.{i}": f"feedforward.block{i}" for i in range(len(config.feedforward.channels))}
    rows |= dict.fromkeys(("core.feedforward.out", "core.feedforward"), "feedforward")
    rows["core.recurrent.drop_x"] = "recurrent.input"
    if config.recurrent.kind != "rvt":  # whose drop_h gives the candidate
        rows["core.recurrent.drop_h"] = "recurrent.hidden"
    rows |= dict.fromkeys(("core.recurrent.out", "core.recurrent", "core"), "core")
    waiting, order = _inner(config), list(table(config))
    found: dict[str, str] = {}
    for path, name in rows.items():
        before = {inner: each for inner, each in waiting.items() if order.index(each) <= order.index(name)}
        found |= before | {path: name}
        waiting = {inner: each for inner, each in waiting.items() if inner not in before}
    return found | {"readout": "readout", "reduce": MEAN_READOUT, "unit": RESPONSES, "": RESPONSES}


def _inner(config):
    """Of the published kinds, the modules inside the stages, in the order of the values."""
    if (config.modulation.kind, config.recurrent.kind) != ("mlp_lstm", "cvt_lstm"):
        return {}
    modules = released_modules(config)
    return {modules[name]: name for name in table(config) if name in modules}


def released_layout(name: str, output: Output, frame: int, one_stream: bool) -> np.ndarray:
    """A value of one frame as the released module returns it.

    Args:
        name: a value of ``outputs``.
        output: of several frames, NumPy arrays ``[T, N, S, ...]``, channels last.
        frame: which of them.
        one_stream: whether one stream alone was computed.

    Returns:
        ``[N, S * C, H, W]``, or ``[N, S * C]`` of vectors; in the perspective ``[N, C, H, W]`` or ``[N, C]``; of the
        readout ``[N, S, U, 1]`` (``[N, U, 1]`` of one stream), of its mean ``[N, U, 1]``, of responses ``[N, U]``.
    """
    if name == RESPONSES:
        return output.responses[frame]  # type: ignore[return-value]
    if name == MEAN_READOUT:
        return output.readout[frame][..., None]  # type: ignore[return-value]
    value = np.asarray(output.features[name][frame])
    if name in WITHOUT_STREAMS:
        return np.moveaxis(value, -1, 1)
    if name == "readout":
        return value[:, 0, :, None] if one_stream else value[..., None]
    value = np.moveaxis(value, -1, 2)
    return value.reshape(len(value), -1, *value.shape[3:])


def modules_without_values(config: NetworkConfig) -> list[str]:
    """Paths of modules that hold neither parameters nor buffers, below which the state dict has no keys."""
    paths = ["readout.bound", "reduce", "unit", "core.recurrent.drop_x", "core.recurrent.drop_h"]
    paths += ["unit.elu"] if config.unit.kind == "elu_mse" else []
    paths += ["perspective.monitor_pixel", "perspective.retina_pixel"]
    if config.perspective.kind == "mlp_monitor_retina":
        paths += _numbered("perspective.mlp.nonlinears", config.perspective.mlp_layers + 1)
    kind = config.modulation.kind
    if kind == "mlp_lstm":
        paths += _numbered("modulation.mlp.nonlinears", config.modulation.mlp_layers)
    lstm = "modulation" if kind == "flat_lstm" else "modulation.lstm"
    paths += [f"{lstm}.drop_x", f"{lstm}.drop_h"]
    for block, layers in enumerate(config.feedforward.layers):
        path = f"core.feedforward.blocks.{block}"
        paths += [f"{path}.nonlinear", f"{path}.skips", *_numbered(f"{path}.drops", layers)]
    return paths


def _numbered(path: str, count: int) -> list[str]:
    return [path, *(f"{path}.{i}" for i in range(count))]


def sizes(config: NetworkConfig) -> dict[str, Any]:
    """What people read of the released modules beside weights: integers, and lists of one for each block."""
    features, behaviour = config.perspective.eye_features, config.modulation.behaviour_features
    feedforward, recurrent, channels = config.feedforward, config.recurrent, config.stimulus_channels
    vector, streams = config.modulation.features, config.num_streams
    rows: dict[str, dict[str, Any]] = {
        "": {"stimuli": channels, "perspectives": features, "modulations": behaviour, "units": config.num_units},
        "perspective": {"channels": channels, "perspectives": features}
        | {"height": config.perspective.height, "width": config.perspective.width},
        "perspective.retina": {"degrees": config.perspective.max_angle_deg},
        "modulation": {"features": vector, "modulations": behaviour},
        "core": {"channels": recurrent.out_channels, "perspectives": channels, "modulations": vector},
        "core.feedforward": {"channels": feedforward.out_channels, "out_channels": feedforward.out_channels}
        | {"block_channels": list(feedforward.channels), "block_groups": list(feedforward.groups)}
        | {"block_layers": list(feedforward.layers), "block_pools": list(feedforward.pools)},
        "core.recurrent": {"channels": recurrent.out_channels, "out_channels": recurrent.out_channels}
        | {"in_channels": recurrent.in_channels, "hidden_channels": recurrent.hidden_channels}
        | {"common_channels": recurrent.common_channels, "groups": recurrent.groups, "spatial": recurrent.kernel},
        "readout": {"cores": recurrent.out_channels, "readouts": 1, "units": config.num_units},
        "readout.position": {"units": config.num_units},
        "readout.feature": {"inputs": recurrent.out_channels, "outputs": 1, "units": config.num_units},
        "unit": {"readouts": 1},
    }
    for path in ("", "modulation", "core", "core.feedforward", "core.recurrent", "readout", "readout.feature"):
        rows[path]["streams"] = streams
    return {f"{path}.{name}".lstrip("."): value for path, row in rows.items() for name, value in row.items()}


def is_buffer(key: str, config: NetworkConfig) -> bool:
    """Whether a key of the state dict is a buffer of the released network; the others are its parameters."""
    fixed = {"monitor_pixel": config.perspective.monitor_pixels, "retina_pixel": config.perspective.retina_pixels}
    buffers = [f"perspective.{name}." for name, kind in fixed.items() if kind == "static_power"]
    return key.endswith((".mask", ".zero", "retina.grid")) or key.startswith(tuple(buffers))
