"""What is inside the network: every value is read by name, and changed while it runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn_jax import Inputs, interventions
from fnn_jax.model import inside

# Programs that differ round differently; frames of white noise, whose edges are steep, show it most.
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(scope="module")
def video(twin):
    config = twin.config
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (11, config.stimulus_height, config.stimulus_width), dtype=np.uint8)
    return (
        frames,
        random.standard_normal((11, 2)).astype(np.float32),
        random.standard_normal((11, 2)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def responses(twin, video):
    return twin.predict(*video)


@pytest.fixture(scope="module")
def values(twin, video):
    frames, *traces = video
    return twin.features(frames, ["*"], *traces)


def test_the_table_names_every_value_and_its_shape(twin, values):
    table = twin.feature_table()
    assert list(values) == list(table.index) == list(twin.network.value_names)
    for name, array in values.items():
        assert array.shape[1:] == table.loc[name, "shape"], name
        assert np.isfinite(array).all() and array.std() > 0, name
    assert set(twin.network.feature_names) < set(values)


def test_values_are_those_of_the_stages_and_follow_from_one_another(twin, video, values):
    frames, *traces = video
    stages = twin.features(frames, twin.network.feature_names, *traces)
    for name, array in stages.items():
        np.testing.assert_allclose(values[name], array, **CLOSE, err_msg=name)
    np.testing.assert_allclose(values["recurrent.input"], np.tanh(values["recurrent.linear"]), atol=1e-6)
    np.testing.assert_allclose(
        values["recurrent.hidden"], values["recurrent.output_gate"] * np.tanh(values["recurrent.cell"]), atol=1e-6
    )
    np.testing.assert_allclose(values["recurrent.attention"].sum(-1), 1, atol=1e-5)
    weights = twin.network.readout.feature.weight[...][None]
    read = (values["readout.samples"] * weights).sum(-1) + twin.network.readout.feature.bias[...][None]
    np.testing.assert_allclose(values["readout"], read, atol=1e-5)
    before, after = values["recurrent.cell"][:-1], values["recurrent.cell"][1:]
    gates = {name: values[f"recurrent.{name}"][1:] for name in ("forget_gate", "input_gate", "candidate")}
    np.testing.assert_allclose(
        after, gates["forget_gate"] * before + gates["input_gate"] * gates["candidate"], atol=1e-6
    )


def test_attention_averages_the_values(twin, values):
    """``attended`` is the product of ``attention`` and ``value``, group by group."""
    weights, value, attended = (values[f"recurrent.{name}"] for name in ("attention", "value", "attended"))
    groups = weights.shape[2]

    def by_group(maps):
        maps = maps.reshape(*maps.shape[:2], -1, groups, maps.shape[-1] // groups)
        return np.moveaxis(maps, 3, 2)

    np.testing.assert_allclose(weights @ by_group(value), by_group(attended), atol=1e-5)


def test_chunks_streams_and_batches_give_the_same_values(twin, video, values):
    frames, *traces = video
    for name, array in twin.features(frames, ["*"], *traces, chunk_frames=3).items():
        np.testing.assert_allclose(array, values[name], **CLOSE, err_msg=name)
    for name, array in twin.features(frames, ["*"], *traces, stream=1).items():
        wanted = values[name] if name in inside.WITHOUT_STREAMS else values[name][:, 1:]
        np.testing.assert_allclose(array, wanted, **CLOSE, err_msg=name)
    batch = twin.features(np.stack([frames] * 2, 1)[..., None], ["recurrent.cell", "retina"], *traces)
    for name, array in batch.items():
        np.testing.assert_allclose(array[:, 1], values[name], **CLOSE, err_msg=name)


def test_an_intervention_that_changes_nothing_changes_rounding_alone(twin, video, values):
    frames, *traces = video
    same = {name: (lambda value, place: value) for name in twin.network.value_names if name not in inside.ONLY_READ}
    found = twin.features(frames, ["*"], *traces, interventions=same)
    for name, array in found.items():
        np.testing.assert_allclose(array, values[name], **CLOSE, err_msg=name)


# What queries and keys are multiplied by does not matter: their lengths are taken off.
@pytest.mark.parametrize(
    "name", ["retina", "modulation.cell", "feedforward.block0.layer0", "recurrent.value", "readout"]
)
def test_an_intervention_reaches_the_responses(twin, video, responses, name):
    changed = twin.predict(*video, interventions={name: interventions.scale(0.5)})
    assert np.abs(changed - responses).max() > 1e-3


def test_recorded_values_put_back_give_the_same_responses(twin, video, responses, values):
    frames, *traces = video
    for name in ("recurrent.hidden", "feedforward.block0", "readout.samples", "modulation"):
        recorded = interventions.replace(values[name])
        backward = frames[::-1], *(trace[::-1] for trace in traces)
        other = twin.predict(*backward, interventions={name: recorded})
        same = twin.predict(*video, interventions={name: recorded})
        np.testing.assert_allclose(same, responses, rtol=1e-5, err_msg=name)
        assert np.abs(other - twin.predict(*backward)).max() > 1e-3, name
    retina = interventions.replace(values["retina"], axes=("frame",))
    np.testing.assert_allclose(
        twin.predict(frames[::-1], *traces, interventions={"retina": retina}), responses, rtol=1e-5
    )


def test_limits(twin, video, values):
    frames, *traces = video
    height, width = values["core"].shape[2:4]
    region = np.zeros((height, width), bool)
    region[0] = True
    zero = interventions.zero(channels=[1, 2], region=region, frames=(3, 6), streams=[1])
    found = twin.features(frames, ["core"], *traces, interventions={"core": zero})["core"]
    wanted = values["core"].copy()
    wanted[3:6, 1, 0, :, 1:3] = 0
    assert not found[3:6, 1, 0, :, 1:3].any()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    batch = np.stack([frames] * 2, 1)[..., None]
    found = twin.features(batch, ["core"], *traces, interventions={"core": interventions.zero(videos=0)})["core"]
    assert not found[:, 0].any() and found[:, 1].any()


def test_ready_interventions(twin, video, values):
    frames, *traces = video

    def core(change):
        return twin.features(frames, ["core"], *traces, interventions={"core": change})["core"]

    np.testing.assert_allclose(core(interventions.scale(-2.0)), -2 * values["core"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(core(interventions.clamp(0, 0.1)), np.clip(values["core"], 0, 0.1), atol=1e-6)
    frozen = core(interventions.replace(values["core"][4:5], first_frame=4))
    np.testing.assert_array_equal(frozen, np.broadcast_to(values["core"][4], frozen.shape))
    noisy = core(interventions.add_noise(0.3, jax.random.key(1))) - values["core"]
    assert abs(noisy.std() - 0.3) < 0.02
    assert len(np.unique(noisy.round(5))) > 0.9 * noisy.size  # other draws in each frame and stream
    np.testing.assert_array_equal(
        core(interventions.add_noise(0.3, jax.random.key(1))), core(interventions.add_noise(0.3, jax.random.key(1)))
    )
    chunked = twin.features(
        frames,
        ["core"],
        *traces,
        interventions={"core": interventions.add_noise(0.3, jax.random.key(1))},
        chunk_frames=4,
    )
    np.testing.assert_allclose(chunked["core"] - values["core"], noisy, atol=1e-5)


def test_steps_are_the_whole(twin, video):
    frames, *traces = video
    change = {"recurrent.hidden": interventions.zero(frames=(4, 6))}
    whole = twin.predict(*video, interventions=change)
    assert np.abs(whole - twin.predict(*video)).max() > 1e-3
    state = twin.init_state()
    for index in range(len(frames)):
        state, response = twin.step(
            state, frames[index], *(trace[index] for trace in traces), interventions=change, frame_index=index
        )
        np.testing.assert_allclose(response, whole[index], rtol=1e-5, atol=1e-6)


def test_another_factor_compiles_nothing(twin, video):
    twin.predict(*video, interventions={"core": interventions.scale(0.5)})
    with jax.no_tracing():
        twin.predict(*video, interventions={"core": interventions.scale(0.25)})


def test_a_prediction_without_interventions_is_the_program_that_it_was(network):
    """What is not asked for costs nothing: the same program, to the letter."""
    inputs = Inputs(jnp.zeros((4, 1, 18, 32, 1)), jnp.zeros((4, 1, 2)), jnp.zeros((4, 1, 2)))

    def program(**options):
        run = lambda network: network.rollout(network.init_state(1), inputs, **options)[1].responses  # noqa: E731
        return str(jax.make_jaxpr(run)(network))

    assert program() == program(interventions={}, features=())
    assert program() != program(features=("recurrent.cell",))


@pytest.mark.slow
def test_gradients_go_through(twin, video, values):
    frames = jnp.asarray(video[0] / 255, jnp.float32)
    half = {"recurrent.hidden": interventions.scale(0.5)}

    def total(frames, factor):
        change = {"recurrent.hidden": interventions.scale(factor)}
        return twin.rollout(frames, interventions=change).sum()

    on_frames, on_factor = jax.grad(total, (0, 1))(frames, jnp.float32(0.5))
    step = 1e-2
    difference = (total(frames, jnp.float32(0.5 + step)) - total(frames, jnp.float32(0.5 - step))) / (2 * step)
    np.testing.assert_allclose(on_factor, difference, rtol=2e-3)
    assert np.abs(on_frames).max() > 0
    responses, features = twin.rollout(frames, features=["recurrent.cell"], interventions=half)
    assert features["recurrent.cell"].shape == values["recurrent.cell"].shape and responses.shape == (11, 7)
    tangent = jax.jvp(
        lambda factor: twin.rollout(
            frames, interventions={"recurrent.hidden": interventions.scale(factor)}, derivatives="forward"
        ).sum(),
        (jnp.float32(0.5),),
        (jnp.float32(1),),
    )[1]
    np.testing.assert_allclose(tangent, on_factor, rtol=1e-4)


WRONG = {
    "unknown": ({"recurrent.hiden": interventions.zero()}, ValueError, "Did you mean 'recurrent.hidden'"),
    "pattern": ({"recurrent.*": interventions.zero()}, ValueError, "one for each function"),
    "read only": ({"recurrent.attention": interventions.zero()}, ValueError, "can only be read"),
    "no function": ({"core": 3.0}, TypeError, "expected a function"),
    "no dictionary": ([interventions.zero()], TypeError, "expected a dictionary"),
    "shape": ({"core": lambda value, place: value[..., :1]}, ValueError, "as it was given"),
    "dtype": ({"core": lambda value, place: value.astype(jnp.bfloat16)}, ValueError, "as it was given"),
    "frames": ({"feedforward": lambda value, place: value[:1]}, ValueError, "as it was given"),
    "nothing": ({"core": lambda value, place: None}, ValueError, "as it was given"),
    "recording": ({"core": interventions.replace(np.zeros((3, 2, 2)))}, ValueError, "other axes, named"),
    "region": ({"core": interventions.zero(region=np.ones((2, 2), bool))}, ValueError, "that of the value"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_interventions_are_refused(twin, video, case):
    change, kind, words = WRONG[case]
    with pytest.raises(kind, match=words):
        twin.predict(*video, interventions=change)


def test_wrong_arguments_of_ready_interventions():
    with pytest.raises(TypeError, match="no limit"):
        interventions.zero(channel=3)
    with pytest.raises(ValueError, match="expected indices"):
        interventions.zero(channels=[0.5])
    with pytest.raises(ValueError, match="start, stop"):
        interventions.zero(frames=3)
    with pytest.raises(ValueError, match="above high"):
        interventions.clamp(1, 0)
    with pytest.raises(TypeError, match="expected numbers"):
        interventions.scale("half")
    with pytest.raises(TypeError, match="expected one key"):
        interventions.add_noise(1.0, 3)
    with pytest.raises(ValueError, match="at least one frame"):
        interventions.replace(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="each once"):
        interventions.replace(np.zeros((1, 3)), axes=("frame", "frame"))


def test_names_that_are_not_there(twin, video):
    with pytest.raises(ValueError, match=r"Did you mean.*feedforward\.block0"):
        twin.features(video[0], ["feedforward.block9"])
    with pytest.raises(ValueError, match="unknown names"):
        twin.features(video[0], ["cortex.*"])


@pytest.mark.parametrize("start", ["retina", "feedforward", "core"])
def test_a_rollout_starts_inside(twin, video, responses, values, start):
    """From the values there the network goes on as it did: whole, frame by frame, one stream, a batch, under jit."""
    given, behaviour = values[start], video[2]

    def same(found, wanted=responses):
        np.testing.assert_allclose(found, wanted, **CLOSE)

    same(twin.predict(given, None, behaviour, start=start))
    same(twin.rollout(given, None, behaviour, start=start))
    same(twin.predict(given, None, behaviour, start=start, stream=1), twin.predict(*video, stream=1))
    batch = twin.predict(np.stack([given, 0 * given], axis=1), None, behaviour, start=start)
    same(batch[:, 0])
    assert np.abs(batch[:, 1] - responses).max() > 1e-3
    state, found = twin.init_state(), []
    for frame, trace in zip(given[:4], behaviour, strict=False):
        state, one = twin.step(state, frame, None, trace, start=start)
        found.append(one)
    same(found, responses[:4])
    after = twin.features(given, ["core"], None, behaviour, start=start)["core"]
    same(after, values["core"])


def test_one_stream_of_maps_is_enough_for_one_stream(twin, video, values):
    behaviour = video[2]
    for start in ("feedforward", "core"):
        found = twin.predict(values[start][:, 1:], None, behaviour, start=start, stream=1)
        np.testing.assert_allclose(found, twin.predict(*video, stream=1), **CLOSE)


def test_a_rollout_ends_inside(twin, video, values):
    """Then nothing after that is computed, and its state stays as it was."""
    frames, *traces = video
    inputs = Inputs(frames[:, None, ..., None], *(trace[:, None] for trace in traces))
    begin = twin.network.init_state(1)
    for end, unchanged in (("retina", "core"), ("feedforward", "modulation")):
        state, output = twin.network.rollout(begin, inputs, features=(end,), end=end)
        assert output.responses is None and output.readout is None
        np.testing.assert_allclose(output.features[end][:, 0], values[end], **CLOSE)
        for one, other in zip(*(jax.tree.leaves(getattr(s, unchanged)) for s in (state, begin)), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda twin, v: twin.predict(v["core"], start="cor"), "start is 'cor'; expected one of 'stimulus', 'retina'"),
        (lambda twin, v: twin.predict(v["retina"], start="core"), "stimuli has the shape .* what start='core' says"),
        (lambda twin, v: twin.predict(v["core"] * np.nan, start="core"), "stimuli is NaN or infinite in frame 0"),
        (
            lambda twin, v: twin.step(twin.init_state(), v["core"], start="core"),
            "have a batch of 11, the state one of 1",
        ),
        (
            lambda twin, v: twin.features(v["core"], ["retina"], start="core"),
            "names has .'retina'., which do not arise",
        ),
        (
            lambda twin, v: twin.predict(v["core"], start="core", interventions={"retina": interventions.zero()}),
            "interventions has .'retina'., which do not arise from 'core'",
        ),
        (
            lambda twin, v: twin.network.rollout(twin.network.init_state(1), None, start="core", end="retina"),
            "start is 'core' and end is 'retina'; expected an end out of",
        ),
    ],
)
def test_parts_that_are_none_are_refused(twin, values, call, message):
    with pytest.raises(ValueError, match=message):
        call(twin, values)
