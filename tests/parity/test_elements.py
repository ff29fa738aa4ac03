"""The layers of the published network, over several frames, against outputs of the released code."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipe
from flax import nnx
from tolerances import assert_close

from fnn_jax.convert.keys import CONV, GATES, LINEAR, SAME
from fnn_jax.model.layers import Conv, InterGroup, Linear, fold_weight_norm, nonlinearity
from fnn_jax.model.lstm import Lstm, LstmState

SHAPES = json.loads((Path(__file__).parent / "golden" / "elements.json").read_text())


def fill(layer, element, prefix, stream, layout):
    """Parameters of one stream of a layer, from the recipe."""
    shapes = SHAPES[element]
    for name, stem, part_layout in (("weight", "weights", layout), ("gain", "gains", SAME), ("bias", "biases", SAME)):
        key = f"{prefix}{stem}.{stream}"
        if key in shapes:
            value = part_layout.to_network(recipe.weight(key, tuple(shapes[key])))
            assert getattr(layer, name).shape == value.shape, key
            setattr(layer, name, nnx.Param(jnp.asarray(value)))
        else:
            assert getattr(layer, name) is None, key
    return layer


def split_streams(x, streams):
    """[time, batch, stream * channel, ...] to [stream, batch, time, ..., channel]."""
    x = x.reshape(*x.shape[:2], streams, -1, *x.shape[3:])
    return jnp.asarray(np.moveaxis(x, (0, 1, 2, 3), (2, 1, 0, -1)))


def join_streams(y):
    """The inverse, of [stream][batch]."""
    y = np.moveaxis(np.stack(y), (2, 1, 0, -1), (0, 1, 2, 3))
    return y.reshape(*y.shape[:2], -1, *y.shape[4:])


CONVS = {
    "conv_temporal": dict(in_channels=8, out_channels=12, groups=2, out_groups=4, temporal=3, spatial=3),
    "conv_temporal_replicate": dict(in_channels=8, out_channels=8, temporal=3, spatial=3, padding="edge"),
    "conv_stride": dict(in_channels=3, out_channels=8, spatial=6, stride=2, padding="edge", weight_norm=False),
    "conv_nobias_nogain": dict(in_channels=8, out_channels=8, groups=4, spatial=3, gain=None, bias=None),
    "conv_stream1": dict(in_channels=8, out_channels=12, groups=2, temporal=3, spatial=3),
}


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", CONVS)
def test_conv(name, folded, golden):
    streams = [1] if name == "conv_stream1" else range(3 if name == "conv_temporal" else 2)
    batch, channels, height, width = SHAPES[name]["input"]
    x = np.stack([recipe.array(f"{name}.{t}", (batch, channels, height, width)) for t in range(4)])
    x = split_streams(x, len(streams))
    outputs = []
    with jax.default_matmul_precision("highest"):
        for index, stream in enumerate(streams):
            conv = fill(Conv(**CONVS[name]), name, "", stream, CONV)
            conv = fold_weight_norm(conv) if folded else conv
            past = conv.weight.shape[0] - 1
            edge = CONVS[name].get("padding") == "edge"  # such layers repeat the first frame, others see zeros
            pad = lambda v: jnp.concatenate([jnp.repeat(v[:1], past, 0) if edge else jnp.zeros_like(v[:past]), v])  # noqa: E731, B023
            outputs.append([np.asarray(conv(pad(video))) for video in x[index]])
    assert_close("layers", join_streams(outputs), golden("elements")[name])


def test_linear(golden):
    x = split_streams(np.stack([recipe.array(f"linear.{t}", (2, 12)) for t in range(4)]), 2)
    layers = [fill(Linear(6, 9, out_groups=3), "linear", "", stream, LINEAR) for stream in range(2)]
    with jax.default_matmul_precision("highest"):
        outputs = [[np.asarray(layer(video)) for video in x[stream]] for stream, layer in enumerate(layers)]
    assert_close("layers", join_streams(outputs), golden("elements")["linear"])


def test_intergroup(golden):
    x = split_streams(np.stack([recipe.array(f"intergroup.{t}", (2, 24, 3, 4)) for t in range(4)]), 2)
    outputs = []
    for stream in range(2):
        layer = fill(InterGroup(12, 8, groups=4, gain=1.0, streams=()), "intergroup", "", stream, SAME)
        blocks = np.asarray(layer.blocks())
        assert not blocks[np.arange(4), np.arange(4)].any()
        grouped = np.asarray(x[stream]).reshape(2, 4, 3, 4, 4, 3)
        outputs.append(np.einsum("nthwic,oidc->nthwod", grouped, blocks).reshape(2, 4, 3, 4, 8))
    assert_close("layers", join_streams(outputs), golden("elements")["intergroup"])


def test_lstm(golden):
    x = split_streams(np.stack([recipe.array(f"lstm.{t}", (2, 15)) for t in range(6)]), 3)
    outputs = []
    with jax.default_matmul_precision("highest"):
        for stream in range(3):
            lstm, zeros = Lstm(5, 7), jnp.zeros(7)
            for gate, key in GATES.items():
                fill(getattr(lstm, gate), "lstm", f"{key}.", stream, LINEAR)
            outputs.append([np.asarray(lstm(LstmState(zeros, zeros), video)[1]) for video in x[stream]])
    assert_close("layers", join_streams(outputs), golden("elements")["lstm"])


def test_multilayer_perceptron(golden):
    x = split_streams(np.stack([recipe.array(f"mlp.{t}", (2, 6)) for t in range(4)]), 2)
    outputs = []
    with jax.default_matmul_precision("highest"):
        for stream in range(2):
            y = x[stream].reshape(-1, 3)
            for index, (name, sizes) in enumerate([("gelu", (3, 8)), ("silu", (8, 8)), ("identity", (8, 2))]):
                layer = fill(Linear(*sizes, weight_norm=index > 0), "mlp", f"linears.{index}.", stream, LINEAR)
                y = nonlinearity(name, layer(y))
            outputs.append(np.asarray(y).reshape(2, 4, 2))
    assert_close("layers", join_streams(outputs), golden("elements")["mlp"])


@pytest.mark.parametrize("name", ["gelu", "silu", "elu", "tanh"])
def test_nonlinearity(name, golden):
    x = jnp.asarray(recipe.array(f"nonlinearity.{name}", (64,), scale=2))
    assert_close("layers", nonlinearity(name, x), golden("elements")[f"nonlinearity_{name}"])
