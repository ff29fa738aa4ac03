"""Formulations that are fast on a CPU, against those that are plainly the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn_jax.model import convolution, grouped, layers, stacked, winograd
from fnn_jax.model.formulation import formulated
from fnn_jax.model.geometry import sample_bilinear
from fnn_jax.model.layers import Conv
from fnn_jax.model.reading import weighted_samples


@pytest.fixture
def doubles():
    with jax.enable_x64(True):
        yield


def filled(conv, random):
    conv.weight[...] = jnp.asarray(random.standard_normal(conv.weight.shape), jnp.float32)
    conv.gain[...] = jnp.asarray(random.standard_normal(conv.gain.shape), jnp.float32)
    conv.bias[...] = jnp.asarray(random.standard_normal(conv.bias.shape), jnp.float32)
    return conv


@pytest.mark.parametrize(("groups", "frames"), [(1, 4), (2, 8), (2, 5), (2, 3)])
def test_convolution_over_three_frames(doubles, monkeypatch, groups, frames):
    """Values, and gradients on input and kernel; five frames are filled up to eight, three go the plain way."""
    random = np.random.default_rng(0)
    conv = filled(Conv(6, 8, groups=groups, temporal=3, spatial=3), random)
    conv = jax.tree.map(lambda a: a.astype(jnp.float64), conv)
    x = jnp.asarray(random.standard_normal((frames + 2, 5, 7, 6)))
    weight = jnp.asarray(random.standard_normal((frames, 5, 7, 8)))

    def run(name):
        def loss(conv, x):
            with formulated(name):
                y = conv(x)
            return (y * weight).sum(), y

        (_, y), gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(conv, x)
        return [y, *jax.tree.leaves(gradients)]

    calls = []
    real = layers.convolve_frames
    monkeypatch.setattr(layers, "convolve_frames", lambda *args: calls.append(1) or real(*args))
    plain = run("plain")
    assert not calls
    monkeypatch.setattr(convolution, "LARGE_MAP", 1)
    for name in ("cpu", "gpu"):
        calls.clear()
        fast = run(name)
        assert len(calls) == groups * (frames >= 4)
        for ours, theirs in zip(fast, plain, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12 * np.abs(theirs).max())


@pytest.mark.parametrize(("height", "width"), [(6, 4), (5, 4)])
def test_convolution_of_the_recurrent_maps(doubles, monkeypatch, height, width):
    """Values and both gradients; an odd height goes the plain way."""
    random = np.random.default_rng(0)
    x = jnp.asarray(random.standard_normal((3, height, width, 4)))
    kernel = jnp.asarray(random.standard_normal((3, 3, 3, 4, 6)))
    weight = jnp.asarray(random.standard_normal((3, height, width, 6)))

    def run(convolve):
        def loss(x, kernel):
            y = convolve(x, kernel)
            return (y * weight).sum(), y

        (_, y), gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(x, kernel)
        return [y, *gradients]

    def side_by_side(x, kernel):
        return jnp.moveaxis(stacked.convolve(jnp.moveaxis(x, 0, 2), kernel), 2, 0)

    assert grouped.convolution(kernel, height, width).func is (
        grouped._convolve_groups if height % 2 else grouped._convolve_tiles
    )
    fast = [run(lambda x, kernel: grouped.convolution(kernel, height, width)(x)), run(side_by_side)]
    with jax.default_matmul_precision("tensorfloat32"):  # takes the grouped convolution; by hand, in float64, unrounded
        monkeypatch.setattr(convolution, "as_operands", lambda precision, *arrays: arrays)
        fast.append(run(side_by_side))
    plain = run(lambda x, kernel: grouped._convolve_groups(x, kernel))
    for ours in fast:
        for one, theirs in zip(ours, plain, strict=True):
            np.testing.assert_allclose(one, theirs, atol=1e-12 * np.abs(theirs).max())


@pytest.mark.parametrize(("minimal", "least", "most"), [(winograd.FOUR, 1, 3.5), (winograd.TWO, 0.5, 1.5)])
def test_rounding_of_the_transforms(minimal, least, most):
    """Twice the error of the plain sum in float32 for four outputs, the same for two."""
    random = np.random.default_rng(0)
    made, taken = minimal.outputs.shape
    frames, kernel = random.standard_normal((taken, 864, 300)), random.standard_normal((3, 864, 20)) / 30
    exact = np.stack([sum(kernel[i].T @ frames[t + i] for i in range(3)) for t in range(made)])
    frames, kernel = frames.astype(np.float32), kernel.astype(np.float32)
    plain = np.stack([sum(kernel[i].T @ frames[t + i] for i in range(3)) for t in range(made)])
    inputs, kernels = winograd.transform(minimal.inputs, frames), winograd.transform(minimal.kernel, kernel)
    fast = winograd.transform(minimal.outputs, [k.T @ x for x, k in zip(inputs, kernels, strict=True)])
    plain_error, error = (np.sqrt(np.mean((y - exact) ** 2)) for y in (plain, np.stack(fast)))
    assert least * plain_error < error < most * plain_error and error < 2e-6


@pytest.mark.parametrize("scale", [0.3, 5.0, 39.0, 41.0, 69.0, 300.0])
def test_attention_without_looking_for_the_maximum(scale):
    """Beside the formula, also where the scale is so large that the maximum must be subtracted; gradients too."""
    random = np.random.default_rng(0)
    query, key, value = (jnp.asarray(random.standard_normal((2, 4, 5, 8)), jnp.float32) for _ in range(3))
    scales = jnp.asarray(scale * random.choice([-1, 1], (2, 8)), jnp.float32)

    def formula(query, key, value, scale):
        query, key = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (query, key))
        logits = jnp.einsum("ghwc,gijc->ghwij", query * scale[:, None, None], key)
        weights = jax.nn.softmax(logits.reshape(*logits.shape[:3], -1)).reshape(logits.shape)
        return jnp.einsum("ghwij,gijc->ghwc", weights, value)

    def run(attend):
        def loss(*args):
            attended = attend(*args)
            return jnp.sin(attended).sum(), attended

        (_, attended), gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(
            query, key, value, scales
        )
        return [attended, *gradients]

    def side_by_side(query, key, value, scale):
        maps = jnp.moveaxis(jnp.concatenate([query, key, value], axis=-1), 0, 2)
        return jnp.moveaxis(stacked.attend(maps, stacked.safe_scale(scale)), 2, 0)

    plain = run(formula)
    for ours, theirs in zip(run(grouped.attend), plain, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, theirs, atol=3e-6 * max(1, scale) * np.abs(theirs).max())
    for ours, theirs in zip(run(side_by_side), plain, strict=True):
        if scale < stacked.MOST_SCALE:
            np.testing.assert_allclose(ours, theirs, atol=3e-6 * max(1, scale) * np.abs(theirs).max())
    if scale >= stacked.MOST_SCALE:  # no number rather than a wrong one
        assert np.isnan(run(side_by_side)[0]).all()


def test_reading_is_the_formula():
    """Values and all gradients, on the border and beyond, with points that share pixels."""
    random = np.random.default_rng(0)
    maps = jnp.asarray(random.standard_normal((3, 4, 6, 5)), jnp.float32)
    points = jnp.asarray(random.uniform(-1.2, 1.2, (40, 2)), jnp.float32)
    weights = jnp.asarray(random.standard_normal((40, 5)), jnp.float32)
    cotangent = jnp.asarray(random.standard_normal((3, 40)), jnp.float32)

    def formula(maps, points, weights):
        return (sample_bilinear(maps, points, "edge") * weights[None]).sum(-1)

    ours, ours_back = jax.vjp(weighted_samples, maps, points, weights)
    expected, expected_back = jax.vjp(formula, maps, points, weights)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    for one, other in zip(ours_back(cotangent), expected_back(cotangent), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
