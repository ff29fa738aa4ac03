"""Weight-normalised layers and the nonlinearities that the stages are built of.

Every layer is written for one stream. Its parameters may carry leading axes (the streams are stacked in front), which
``jax.lax.map`` or ``jax.vmap`` over the layer take away before it is called. Activations are channels-last.

``fold_weight_norm`` turns a network into one that computes the same without normalising its weights again; calling a
layer that is not folded gives the same numbers.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.model import winograd
from fnn_jax.model.convolution import convolve, convolve_all_frames, convolve_frames, fast_over_frames
from fnn_jax.model.formulation import formulation
from fnn_jax.model.numerics import full_precision

WEIGHT_NORM_EPS = 1e-5
# Each nonlinearity with the gain that gives unit variance to a standard normal input.
_NONLINEARITIES = {
    # Not jax.nn.gelu, whose erfc takes twice the time on a CPU, and TPUs long to compile.
    "gelu": (lambda x: x * (0.5 + 0.5 * jax.lax.erf(x * 0.5**0.5)), 1.7015043497085571),
    "silu": (jax.nn.silu, 1.7881293296813965),
    "elu": (jax.nn.elu, 1.2716004848480225),
    "tanh": (jnp.tanh, 1.5939117670059204),
    "identity": (lambda x: x, 1.0),
}


class Buffer(nnx.Variable):
    """A constant that is stored with the parameters and never trained."""


def constant(shape: tuple[int, ...], value: float) -> Float[Array, "*shape"]:
    """A new float32 array of one value. NumPy makes it: XLA would compile a program for each shape."""
    return jax.device_put(np.full(shape, value, np.float32))


def nonlinearity(name: str, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The named nonlinearity times its variance-preserving gain."""
    function, gain = _NONLINEARITIES[name]
    return function(x) * gain


class WeightNormed(nnx.Module):
    """A layer whose weight is normalised over its inputs before it is applied.

    ``(W - mean) * gain / sqrt(var * fan_in + 1e-5)``, with mean and biased variance over ``input_axes`` of the weight
    and ``fan_in`` their size. ``gain`` may be missing; so may the normalisation, and then there is no gain either.
    """

    input_axes: tuple[int, ...]
    gain: Any  # a parameter, or None; so is the bias
    bias: Any

    def _initialise(self, weight_shape, per_output_shape, streams, weight_norm, gain, bias):
        """Weights start at zero: ``draw_weights`` fills those of a whole network."""
        shape = (*streams, *per_output_shape)
        self.weight_norm = weight_norm
        self.weight = nnx.Param(constant((*streams, *weight_shape), 0))
        self.gain = nnx.Param(constant(shape, gain)) if weight_norm and gain is not None else None
        self.bias = nnx.Param(constant(shape, bias)) if bias is not None else None

    def initial_bound(self) -> float:
        """Initial weights are uniform between plus and minus this bound."""
        fan_in = math.prod(self.weight.shape[axis] for axis in self.input_axes)
        return math.sqrt((1 if self.weight_norm else 3) / fan_in)

    def _gain_like(self, weight: Array) -> Array:
        """The gain in the shape that multiplies the weight."""
        ones = (1,) * len(self.input_axes)
        return self.gain[...].reshape(*weight.shape[: min(self.input_axes)], *ones, -1)

    def kernel(self) -> Float[Array, "..."]:
        """The weight as it is applied."""
        weight = self.weight[...]
        if not self.weight_norm:
            return weight
        fan_in = math.prod(weight.shape[axis] for axis in self.input_axes)
        mean = weight.mean(self.input_axes, keepdims=True)
        scale = jax.lax.rsqrt(weight.var(self.input_axes, keepdims=True) * fan_in + WEIGHT_NORM_EPS)
        if self.gain is not None:
            scale = scale * self._gain_like(weight)
        return (weight - mean) * scale

    def fold(self):
        """The same layer with the normalisation computed once and kept in its weight."""
        folded = nnx.clone(self)
        folded.weight = nnx.Param(self.kernel())
        folded.gain, folded.weight_norm = None, False
        return folded


def _is_layer(node) -> bool:
    return isinstance(node, WeightNormed)


def draw_weights(module: nnx.Module, key: Array) -> None:
    """Give every layer of a new module its random initial weights, in place.

    They are cut from one draw: a draw for each shape would take a third of a second each to compile.
    """
    layers = [node for node in jax.tree.leaves(module, is_leaf=_is_layer) if _is_layer(node)]
    layers = [layer for layer in layers if layer.initial_bound()]
    shapes = [layer.weight.shape for layer in layers]

    def draw(key):
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        parts = jnp.split(jax.random.uniform(key, (ends[-1],), jnp.float32, -1, 1), ends[:-1])
        bounds = (layer.initial_bound() for layer in layers)
        return [part.reshape(shape) * bound for part, shape, bound in zip(parts, shapes, bounds, strict=True)]

    for layer, weight in zip(layers, jax.jit(draw)(key), strict=True):
        layer.weight = nnx.Param(weight)


@full_precision
def fold_weight_norm(module):
    """A network (or any part of one) that computes the same from weights normalised once.

    For inference: the result has other parameters than the network it came from. Gradients reach the original
    parameters when the fold is part of the differentiated function.
    """

    return jax.tree.map(lambda node: node.fold() if _is_layer(node) else node, module, is_leaf=_is_layer)


class Conv(WeightNormed):
    """Grouped convolution over time and space, channels last.

    ``weight`` is ``[time, height, width, in_channels / groups, out_channels]``; ``gain`` and ``bias`` are
    ``[out_groups, out_channels / out_groups]``, row-major in channel order.

    ``padding`` is spatial, ``(spatial - stride) / 2`` on each side: ``"zero"`` (stride 1 and odd kernels only) or
    ``"edge"``, which repeats the border. There is no padding in time: the caller puts the frames of the past in front.
    """

    input_axes = (-5, -4, -3, -2)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        streams: tuple[int, ...] = (),
        groups: int = 1,
        out_groups: int | None = None,
        temporal: int = 1,
        spatial: int = 1,
        stride: int = 1,
        padding: str = "zero",
        weight_norm: bool = True,
        gain: float | None = 1.0,
        bias: float | None = 0.0,
    ):
        self.groups, self.stride, self.padding = groups, stride, padding
        out_groups = groups if out_groups is None else out_groups
        shape = (temporal, spatial, spatial, in_channels // groups, out_channels)
        per_output = (out_groups, out_channels // out_groups)
        self._initialise(shape, per_output, streams, weight_norm, gain, bias)

    def grouped_kernel(self) -> Float[Array, "groups height width in_channels out_channels"]:
        """The kernel of a layer without extent in time, one matrix per group and position."""
        kernel = self.kernel()[0]
        kernel = kernel.reshape(*kernel.shape[:-1], self.groups, -1)
        return jnp.moveaxis(kernel, -2, 0)

    def grouped_bias(self) -> Float[Array, "groups out_channels"]:
        return self.bias[...].reshape(self.groups, -1)

    def by_group(self) -> list["Conv"]:
        """A layer for each group, which sees the channels of that group alone."""
        if self.groups == 1:
            return [self]
        layers = []
        for index in range(self.groups):
            layer = nnx.clone(self)
            layer.groups = 1
            layer.weight = nnx.Param(jnp.split(self.weight[...], self.groups, axis=-1)[index])
            for name in ("gain", "bias"):
                if getattr(self, name) is not None:
                    setattr(layer, name, nnx.Param(getattr(self, name)[...].reshape(self.groups, 1, -1)[index]))
            layers.append(layer)
        return layers

    def __call__(self, x: Float[Array, "time height width channels"]) -> Float[Array, "frames h w out_channels"]:
        """Convolve; a kernel that spans ``k`` frames turns ``time`` frames into ``time - k + 1``."""
        if self.groups > 1:  # one by one: on a CPU 4 to 10 times faster than JAX's grouped convolution
            parts = zip(self.by_group(), jnp.split(x, self.groups, axis=-1), strict=True)
            return jnp.concatenate([layer(part) for layer, part in parts], axis=-1)
        kernel = self.kernel()
        temporal, spatial = kernel.shape[:2]
        frames = x.shape[0] - temporal + 1
        if self.padding == "edge":
            pad = (spatial - self.stride) // 2
            if pad:  # of none, the gradient would be the sum of nine arrays, eight of them zeros
                x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
        elif temporal == winograd.TAPS and fast_over_frames(x.shape[1], x.shape[2], frames):
            return self._add_bias(convolve_frames(x, kernel))
        elif temporal > 1 and formulation() == "tpu":
            return self._add_bias(convolve_all_frames(x, kernel))
        # The window of frames goes into the channels of a 2-D convolution: on a CPU that is 4 to 10 times faster than a
        # 3-D one, and on a GPU as fast or faster.
        kernel = jnp.moveaxis(kernel, 0, 2).reshape(spatial, spatial, -1, kernel.shape[-1])
        window = jnp.concatenate([x[t : t + frames] for t in range(temporal)], axis=-1)
        return self._add_bias(convolve(window, kernel, self.stride, self.padding))

    def _add_bias(self, y):
        return y if self.bias is None else y + self.bias[...].reshape(1, 1, 1, -1)


class Linear(WeightNormed):
    """Linear map of vectors: ``weight [in, out]``, ``gain`` and ``bias [out_groups, out / out_groups]``."""

    input_axes = (-2,)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        streams: tuple[int, ...] = (),
        out_groups: int = 1,
        weight_norm: bool = True,
        gain: float | None = 1.0,
        bias: float | None = 0.0,
        start_at_zero: bool = False,
    ):
        per_output = (out_groups, out_features // out_groups)
        self._initialise((in_features, out_features), per_output, streams, weight_norm, gain, bias)
        self.start_at_zero = start_at_zero

    def initial_bound(self) -> float:
        return 0.0 if self.start_at_zero else super().initial_bound()

    def row_bias(self) -> Float[Array, "1 out_features"]:
        return self.bias[...].reshape(1, -1)

    def __call__(self, x: Float[Array, "time in_features"]) -> Float[Array, "time out_features"]:
        return x @ self.kernel() + self.row_bias()


class InterGroup(WeightNormed):
    """A 1 x 1 map in which every group of channels reads all groups except itself.

    ``weight`` is ``[groups, groups - 1, group_out, group_in]``: for output group ``o``, the input groups in order,
    ``o`` left out. ``gain`` is ``[groups, group_out]``.
    """

    input_axes = (-3, -1)

    def __init__(self, channels: int, out_channels: int, *, groups: int, gain: float, streams: tuple[int, ...]):
        group_out = out_channels // groups
        shape = (groups, groups - 1, group_out, channels // groups)
        self._initialise(shape, (groups, group_out), streams, True, gain, None)

    def _gain_like(self, weight: Array) -> Array:
        return self.gain[...][..., None, :, None]

    def blocks(self) -> Float[Array, "groups_out groups_in group_out group_in"]:
        """The full map, with zeros on the diagonal."""
        kernel = self.kernel()
        groups = kernel.shape[0]
        out, into = np.indices((groups, groups))
        # Block (o, i) of the full map is block i of row o, or i - 1 past the diagonal.
        blocks = kernel[out, np.clip(np.where(into < out, into, into - 1), 0, groups - 2)]
        return jnp.where((out == into)[..., None, None], 0, blocks)


def dropout_mask(key: Array, rate: float, channels: int, dtype) -> Float[Array, "channels"]:
    """One factor per channel, constant over a sequence: 0 with probability ``rate``, else ``1 / (1 - rate)``."""
    return (jax.random.uniform(key, (channels,)) > rate).astype(dtype) / (1 - rate)
