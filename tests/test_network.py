"""The network as pure functions: state in, state out, under plain JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from disturbed import disturb
from flax import nnx
from traced import equations

from fnn_jax import Inputs, Network, NetworkConfig
from fnn_jax.demo import random_network
from fnn_jax.model import formulation
from fnn_jax.model.chunks import CHUNK_FRAMES, chunk_length
from fnn_jax.model.formulation import formulated
from fnn_jax.model.layers import fold_weight_norm

FRAMES, BATCH = CHUNK_FRAMES, 2


def make_inputs(frames=FRAMES, batch=BATCH, seed=0):
    random = np.random.default_rng(seed)
    return Inputs(
        jnp.asarray(random.integers(0, 256, (frames, batch, 18, 32, 1), dtype=np.uint8)),
        jnp.asarray(random.standard_normal((frames, batch, 2)), jnp.float32),
        jnp.asarray(random.standard_normal((frames, batch, 2)), jnp.float32),
    )


def as_pixels(stimulus):
    return stimulus.astype(jnp.float32) / 255


def frames_of(inputs, start, stop):
    return jax.tree.map(lambda a: a[start:stop], inputs)


def every_connection() -> Network:
    """Two blocks of two layers, one of them in groups."""
    return disturb(random_network(NetworkConfig.tiny(7)))


@pytest.fixture(scope="module")
def network() -> Network:
    return every_connection()


@pytest.fixture(scope="module")
def rollout():
    return jax.jit(lambda network, state, inputs: network.rollout(state, inputs, features=network.feature_names))


@pytest.fixture(scope="module")
def whole(network, rollout):
    inputs = make_inputs()
    return inputs, *rollout(network, network.init_state(BATCH), inputs)


def assert_same(ours, theirs, tolerance=5e-5):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_no_frames_and_no_chunk_are_refused(network):
    inputs, state = make_inputs(2, 1), network.init_state(1)
    with pytest.raises(ValueError, match="inputs has no frames; expected at least one"):
        network.rollout(state, frames_of(inputs, 0, 0))
    with pytest.raises(ValueError, match="chunk_frames is 0; expected a positive integer"):
        network.rollout(state, inputs, chunk_frames=0)
    for batch in (0, -1):
        with pytest.raises(ValueError, match=f"batch is {batch}; expected a positive integer"):
            network.init_state(batch)


def test_the_inputs_matter(network, rollout, whole):
    """Every input moves the responses, so that the comparisons here compare something."""
    inputs, _, output = whole
    for name in Inputs._fields:
        other = inputs._replace(**{name: jnp.roll(getattr(inputs, name), 1, axis=0)})
        _, changed = rollout(network, network.init_state(BATCH), other)
        assert np.abs(changed.responses - output.responses).max() > 1e-4, name


def test_split_rollout_equals_the_whole(network, rollout, whole):
    split = 3
    inputs, final_state, output = whole
    state, first = rollout(network, network.init_state(BATCH), frames_of(inputs, 0, split))
    state, second = rollout(network, state, frames_of(inputs, split, FRAMES))
    assert_same(state, final_state)
    assert_same(jax.tree.map(lambda a, b: np.concatenate([a, b]), first, second), output)


def test_rollout_equals_repeated_step(network, whole):
    inputs, final_state, output = whole
    step = jax.jit(lambda network, state, inputs: network.step(state, inputs, features=network.feature_names))
    state, outputs = network.init_state(BATCH), []
    for frame in range(FRAMES):
        state, one = step(network, state, jax.tree.map(lambda a, t=frame: a[t], inputs))
        outputs.append(one)
    assert_same(state, final_state)
    assert_same(jax.tree.map(lambda *a: np.stack(a), *outputs), output)


@pytest.mark.slow
def test_whole_chunks_and_a_remainder(network):
    inputs = make_inputs(2 * CHUNK_FRAMES + 3, BATCH)
    final_state, output = jax.jit(network.rollout)(network.init_state(BATCH), inputs)
    state, steps = jax.jit(lambda inputs: jax.lax.scan(network.step, network.init_state(BATCH), inputs))(inputs)
    assert_same(state, final_state)
    assert_same(output.responses, steps.responses, tolerance=1e-5)


@pytest.mark.parametrize(
    ("frames", "length"), [(1, 1), (5, 5), (8, 8), (13, 13), (16, 16), (30, 15), (90, 15), (300, 12), (89, 16)]
)
def test_chunks_divide_the_frames_where_they_can(frames, length):
    assert chunk_length(frames) == length


def test_a_batch_is_its_videos(network, rollout, whole):
    inputs, final_state, output = whole
    for video in range(BATCH):
        one = jax.tree.map(lambda a, n=video: a[:, n : n + 1], inputs)
        state, alone = rollout(network, network.init_state(1), one)
        assert_same(state, jax.tree.map(lambda a, n=video: a[n : n + 1], final_state))
        assert_same(alone, jax.tree.map(lambda a, n=video: a[:, n : n + 1], output))


def test_vmap_over_videos_equals_a_batch(network, whole):
    inputs, _, output = whole

    def one(video):
        return network.rollout(network.init_state(1), jax.tree.map(lambda a: a[:, None], video))[1].responses[:, 0]

    assert_same(jax.jit(jax.vmap(one, in_axes=1, out_axes=1))(inputs), output.responses)


@pytest.mark.parametrize("stream", [pytest.param(None, marks=pytest.mark.slow), 1])
def test_formulations_give_the_same(network, stream):
    """Responses, every feature, the state, and gradients on pixels and parameters; with the draws of training."""
    inputs = frames_of(make_inputs(), 0, 3)
    noise = jax.random.key(1)

    def run(name):
        def loss(network, pixels):
            with formulated(name):
                state, output = network.rollout(
                    network.init_state(BATCH, noise),
                    inputs._replace(stimuli=pixels),
                    features=network.feature_names,
                    stream=stream,
                )
            return output.responses.sum(), (state._replace(noise=None), output)

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(network, as_pixels(inputs.stimuli))

    plain = run("plain")
    for name in ("cpu", "gpu", "tpu"):
        assert_same(run(name), plain, tolerance=1e-4)


@pytest.mark.slow
def test_the_compiler_takes_the_formulation_of_its_platform(network, monkeypatch):
    """In a process with an accelerator a program may still run on the CPU: nobody knows while it is traced."""
    inputs = frames_of(make_inputs(), 0, 2)

    def run(network):
        return network.rollout(network.init_state(BATCH), inputs)[1].responses

    def lowered(platform):
        return jax.jit(lambda network: run(network)).trace(network).lower(lowering_platforms=(platform,)).as_text()

    alone = lowered("cpu")
    with formulated("gpu"):
        accelerated = lowered("cuda")
    monkeypatch.setattr(formulation, "_has_only_cpus", lambda: False)
    here, there = lowered("cpu"), lowered("cuda")
    # On a CPU there is a loop for the videos, the streams, and each LSTM; elsewhere for each LSTM alone.
    loops = [text.count("stablehlo.while") for text in (alone, accelerated, here, there)]
    assert loops[0] == loops[2] > loops[1] == loops[3]
    np.testing.assert_allclose(jax.jit(lambda n: run(n))(network), run(network), rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda network: run(network).sum()))(network)
    monkeypatch.undo()
    assert_same(gradient, jax.jit(jax.grad(lambda network: run(network).sum()))(network), tolerance=1e-5)


@pytest.mark.slow
def test_derivatives_in_forward_mode(network):
    """Pushed forward, the derivative along a direction is what the gradient gives; second derivatives exist, too."""
    inputs = frames_of(make_inputs(), 0, 2)
    pixels = as_pixels(inputs.stimuli)
    direction = np.random.default_rng(0).standard_normal(pixels.shape).astype(np.float32)

    def loss(pixels, derivatives="forward"):
        state = network.init_state(BATCH)
        return network.rollout(state, inputs._replace(stimuli=pixels), derivatives=derivatives)[1].responses.sum()

    _, forward = jax.jit(lambda x, v: jax.jvp(loss, (x,), (v,)))(pixels, direction)
    gradient = jax.jit(jax.grad(lambda pixels: loss(pixels, "reverse")))(pixels)
    np.testing.assert_allclose(forward, (gradient * direction).sum(), rtol=1e-4)
    gray = np.clip(pixels, 0.05, 1)  # of black, the second derivative of the monitor's power is infinite
    product = jax.jit(lambda x, v: jax.jvp(jax.grad(loss), (x,), (v,))[1])(gray, direction)
    assert np.isfinite(product).all() and np.any(product)
    with pytest.raises(ValueError, match="derivatives is 'both'; expected one of 'reverse', 'forward'"):
        loss(pixels, "both")


def test_streams(network, whole):
    inputs, _, output = whole
    runs = 0

    def one(network, stream):
        nonlocal runs
        runs += 1
        return network.rollout(network.init_state(BATCH), inputs, stream=stream, features=("readout", "core"))[1]

    one = jax.jit(one)
    for stream in range(network.config.num_streams):
        alone = one(network, stream)
        assert_same(alone.features["readout"][:, :, 0], output.features["readout"][:, :, stream])
        assert_same(alone.features["core"][:, :, 0], output.features["core"][:, :, stream])
        assert_same(alone.responses, np.exp(output.features["readout"][:, :, stream]))
    assert runs == 1  # a traced index compiles once
    assert_same(np.exp(output.features["readout"].mean(2)), output.responses)


def test_one_stream_moves_only_its_own_state(network):
    state = network.init_state(1)
    after, _ = jax.jit(lambda s: network.rollout(s, make_inputs(2, 1), stream=1))(state)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(old[:, 0], new[:, 0])
    assert np.any(after.core.recurrent.hidden[:, 1] != 0)


def test_folded_network_computes_the_same(network, rollout, whole):
    inputs, final_state, output = whole
    folded = jax.jit(fold_weight_norm)(network)
    assert folded.core.recurrent.query.weight_norm is False and folded.core.recurrent.conv.gain is None
    assert_same(rollout(folded, network.init_state(BATCH), inputs), (final_state, output))
    again = fold_weight_norm(folded)
    assert_same(jax.tree.leaves(again), jax.tree.leaves(folded), tolerance=0)


def test_periphery(network):
    """Dark and extended differ just where the monitor ends; unknown names are refused."""
    inputs = make_inputs(2, 1)
    dark, extend = (
        np.asarray(network.perspective(inputs.stimuli[:, 0], inputs.perspectives[:, 0], None, name))
        for name in ("dark", "extend")
    )
    black = dark.min()  # the response to no light
    differs = dark != extend
    assert differs.any() and not differs.all()
    assert np.isclose(dark[differs], black).mean() > 0.5
    with pytest.raises(ValueError, match=r"periphery is 'bright'; expected one of 'dark', 'extend'"):
        network.rollout(network.init_state(1), inputs, periphery="bright")


def test_options_are_checked(network):
    inputs = make_inputs(1, 1)
    for stream in (2, -1, np.int64(2), np.int32(-1), jnp.int32(2)):
        with pytest.raises(ValueError, match=f"stream is {int(stream)}; expected None or an index from 0 to 1"):
            network.rollout(network.init_state(1), inputs, stream=stream)
    for stream in (True, 1.0, "1"):
        with pytest.raises(TypeError, match=r"stream is .*; expected None or an index"):
            network.check_options(stream, "dark", ())
    with pytest.raises(ValueError, match=r"unknown names \['cores'\]; expected names.*Did you mean 'core'"):
        network.rollout(network.init_state(1), inputs, features=("cores",))


@pytest.mark.slow
def test_noise_is_drawn_once_a_sequence_from_the_key_alone(network, rollout, whole):
    """The draws stay in the state, so a split rollout sees the same; the videos of a batch see different ones."""
    inputs = jax.tree.map(lambda a: jnp.repeat(a[:, :1], BATCH, axis=1), make_inputs())
    state = network.init_state(BATCH, jax.random.key(1))
    final, output = rollout(network, state, inputs)
    assert_same(final.noise, state.noise, tolerance=0)
    middle, first = rollout(network, state, frames_of(inputs, 0, 3))
    _, second = rollout(network, middle, frames_of(inputs, 3, FRAMES))
    assert_same(np.concatenate([first.responses, second.responses]), output.responses)
    assert np.abs(output.responses[:, 0] - output.responses[:, 1]).max() > 1e-3
    same, other = (rollout(network, network.init_state(BATCH, jax.random.key(k)), inputs)[1] for k in (1, 2))
    np.testing.assert_array_equal(same.responses, output.responses)
    assert np.abs(other.responses - output.responses).max() > 1e-3
    quiet = rollout(network, network.init_state(BATCH), inputs)[1]
    assert np.abs(quiet.responses - output.responses).max() > 1e-3


def test_monitor_and_position_noise_have_the_stated_spread(network):
    noise = network.init_state(4000, jax.random.key(0)).noise
    for draws in (noise.perspective.center, noise.perspective.angle, noise.readout.position):
        assert abs(float(draws.mean())) < 0.05 and abs(float(draws.std()) - 1) < 0.05
    center, _ = network.perspective.monitor.placement(jax.tree.map(lambda a: a[0], noise.perspective))
    expected = (
        network.perspective.monitor.center[...]
        + noise.perspective.center[0] * network.perspective.monitor.center_std[...]
    )
    np.testing.assert_allclose(center, expected, rtol=1e-6)
    position = network.readout.position
    moved = position(jax.tree.map(lambda a: a[0], noise.readout))
    shift = np.einsum("uij,uj->ui", position.spread[...], noise.readout.position[0])
    np.testing.assert_allclose(moved, np.tanh(np.asarray(position.mean[...]) + shift), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def dropout_network():
    values = NetworkConfig.tiny(4).to_dict()
    for stage in ("modulation", "feedforward", "recurrent"):
        values[stage]["dropout"] = 0.5
    return disturb(random_network(NetworkConfig.from_dict(values)))


@pytest.mark.slow
def test_dropout_masks_channels_for_a_sequence(dropout_network):
    inputs = make_inputs(4, 1)
    state = dropout_network.init_state(1, jax.random.key(0))
    masks = jax.tree.leaves((state.noise.modulation, state.noise.core))
    assert len(masks) == 2 + 4 + 2
    assert {float(v) for mask in masks for v in np.unique(mask)} == {0.0, 2.0}
    run = jax.jit(lambda state: dropout_network.rollout(state, inputs, features=("recurrent.hidden", "modulation"))[1])
    output = run(state)
    hidden = np.asarray(output.features["recurrent.hidden"])  # [time, 1, stream, height, width, channel]
    dropped = np.asarray(state.noise.core.recurrent.hidden[0]).reshape(2, -1) == 0
    for stream in range(2):
        silent = (hidden[:, 0, stream] == 0).all((0, 1, 2))
        np.testing.assert_array_equal(silent, dropped[stream])
    np.testing.assert_array_equal(
        (np.asarray(output.features["modulation"])[:, 0] == 0).all(0), np.asarray(state.noise.modulation.hidden[0]) == 0
    )
    quiet = run(dropout_network.init_state(1))
    assert np.abs(quiet.responses - output.responses).max() > 1e-4
    assert dropout_network.init_state(1).noise is None


def test_no_dropout_draws_no_masks(network):
    noise = network.init_state(1, jax.random.key(0)).noise
    assert noise.modulation is None and noise.core == (None, None)


@pytest.mark.slow
def test_gradients_against_finite_differences(network):
    """On the pixels and on every parameter, in float64."""
    with jax.enable_x64(True):
        network = jax.tree.map(lambda a: a.astype(np.float64), network)
        inputs = make_inputs(3, 2)
        traces = [a.astype(jnp.float64) for a in (inputs.perspectives, inputs.modulations)]
        state = network.init_state(2, jax.random.key(0))

        @jax.jit
        def loss(network, pixels):
            _, output = network.rollout(state, Inputs(pixels, *traces))
            return jnp.sum(jnp.sin(3 * output.readout))

        arguments = network, 0.1 + 0.8 * inputs.stimuli.astype(jnp.float64) / 255
        gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))(*arguments)
        random, epsilon, checked = np.random.default_rng(0), 1e-7, 0
        paths = jax.tree_util.tree_flatten_with_path(arguments)[0]
        leaves, structure = jax.tree.flatten(arguments)
        for index, (path, leaf) in enumerate(paths):
            name = jax.tree_util.keystr(path)
            if "luminance" in name or "perspective.retina" in name:
                continue  # constants
            direction = jnp.asarray(random.standard_normal(leaf.shape))
            moved = [
                structure.unflatten([*leaves[:index], leaf + step * direction, *leaves[index + 1 :]])
                for step in (epsilon, -epsilon)
            ]
            numeric = (loss(*moved[0]) - loss(*moved[1])) / (2 * epsilon)
            analytic = jnp.vdot(jax.tree.leaves(gradient)[index], direction)
            scale = max(1e-4, abs(float(numeric)))
            assert abs(float(numeric - analytic)) < 1e-5 * scale + 1e-7, (name, float(numeric), float(analytic))
            checked += 1
    assert checked > 60


@pytest.mark.slow
def test_gradients_reach_pixels_of_every_frame_that_can_matter(network):
    inputs = make_inputs(5, 1)
    pixels = as_pixels(inputs.stimuli)

    def last(pixels):
        return network.rollout(network.init_state(1), inputs._replace(stimuli=pixels))[1].responses[3].sum()

    gradient = np.abs(jax.jit(jax.grad(last))(pixels)).max((1, 2, 3, 4))
    assert (gradient[:4] > 0).all() and gradient[4] == 0  # nothing comes from the future


def test_new_network_starts_as_the_released_one():
    """Uniform within the bounds of each layer; eye and behaviour without effect; responses 1."""
    network = Network(NetworkConfig.tiny(3), rngs=nnx.Rngs(0))
    weight = np.asarray(network.core.recurrent.conv.weight[...])
    bound = (9 * weight.shape[-2]) ** -0.5
    assert 0.9 * bound < np.abs(weight).max() <= bound
    assert not network.perspective.eye.layers[0].weight[...].any() and not network.modulation.linear.weight[...].any()
    assert np.all(network.core.recurrent.input_gate.bias[...] == -1) and np.all(
        network.modulation.lstm.forget_gate.bias[...] == 1
    )
    first = np.asarray(network.core.feedforward.inputs[0].weight[...])
    assert 0.9 * (3 / 16) ** 0.5 < np.abs(first).max() <= (3 / 16) ** 0.5
    responses = jax.jit(network.rollout)(network.init_state(1), make_inputs(2, 1))[1].responses
    np.testing.assert_array_equal(responses, 1)
    same = Network(NetworkConfig.tiny(3), rngs=nnx.Rngs(0))
    assert_same(jax.tree.leaves(same), jax.tree.leaves(network), tolerance=0)


def test_everything_runs_in_full_precision(network):
    """Forward, gradient, and the perspective by itself: on an accelerator the default would be TF32 or bfloat16."""
    inputs = make_inputs(2, 1)

    def loss(network, pixels):
        _, output = network.rollout(network.init_state(1), inputs._replace(stimuli=pixels))
        return output.responses.sum()

    pixels, eye = as_pixels(inputs.stimuli), inputs.perspectives[:, 0]
    programs = [
        jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(network, pixels),
        jax.make_jaxpr(lambda p: p.inverse(jnp.ones((2, 16, 24, 1)), eye))(network.perspective),
        jax.make_jaxpr(lambda p: p(pixels[:, 0], eye))(network.perspective),
    ]
    with formulated("gpu"):
        programs.append(jax.make_jaxpr(lambda *a: jax.grad(loss, argnums=(0, 1))(*a))(network, pixels))
    highest, found = jax.lax.Precision.HIGHEST, {"dot_general": 0, "conv_general_dilated": 0}
    for program in programs:
        for equation in equations(program.jaxpr):
            if equation.primitive.name in found:
                found[equation.primitive.name] += 1
                assert equation.params["precision"] in (highest, (highest, highest)), equation
    assert found["dot_general"] > 50 and found["conv_general_dilated"] > 20


def test_a_new_network_runs_where_float64_is_the_default():
    with jax.enable_x64(True):
        network = Network(NetworkConfig.tiny(np.int64(3)), rngs=nnx.Rngs(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(network)} == {np.dtype(np.float32)}
        output = jax.jit(network.rollout)(network.init_state(1), make_inputs(2, 1))[1]
        assert output.responses.dtype == np.float32


def test_inverse_perspective_of_darkness_is_black(network):
    """Responses that no light evokes are black, where the formula alone gives NaN."""
    eye = jnp.zeros((1, 2))
    perspective = network.perspective
    retinal = perspective(jnp.zeros((1, 18, 32, 1), jnp.uint8), eye)
    image = perspective.inverse(retinal - 0.01, eye)
    assert image.shape == (1, 18, 32, 1) and np.isfinite(image).all() and image.max() < 0.01
