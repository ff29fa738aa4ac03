"""The released interface over a twin gives what the twin gives, in the released form; PyTorch only where it comes in."""

import copy
import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest

from fnn_jax import NetworkConfig, Twin
from fnn_jax.convert import to_state_dict
from fnn_jax.microns import release
from fnn_jax.model.inside import WITHOUT_STREAMS
from fnn_jax.model.parameters import parameter_arrays
from fnn_jax.released import NoEqualError, Visual, microns, paths
from fnn_jax.released.missing import NO_EQUAL

FRAMES = 11  # a chunk of 8, and 3 more
SIZE = (18, 32)
RANDOM = np.random.default_rng(0)
VIDEO = RANDOM.integers(0, 256, (FRAMES, *SIZE, 1), dtype=np.uint8)
EYE, BODY = RANDOM.standard_normal((2, FRAMES, 2))


@pytest.fixture
def model(twin):
    return Visual(twin)


@pytest.fixture(scope="module")
def expected(twin):
    return twin.predict(VIDEO, EYE, BODY)


def forward(model, frame, eye, body, **options):
    """A call in the form of the released ``forward``, of a video without a batch axis."""
    return model(np.moveaxis(frame, -1, 0)[None] / 255, eye[None], body[None], **options)


def close(found, expected, allowed=2e-6):
    np.testing.assert_allclose(found, expected, rtol=allowed, atol=allowed)


# Responses


def test_predict_takes_the_released_forms(model, twin, expected):
    assert type(expected) is type(model.predict(VIDEO, EYE, BODY)) is np.ndarray
    for video in (VIDEO, VIDEO[..., 0], [*VIDEO], (frame for frame in VIDEO)):
        assert np.array_equal(model.predict(stimuli=video, perspectives=EYE, modulations=BODY), expected)
    batch = np.stack([VIDEO, VIDEO[::-1]], axis=1)
    assert np.array_equal(model.predict(batch, EYE), twin.predict(batch, EYE))
    assert model.predict(VIDEO, modulations=np.stack([BODY, 0 * BODY], 1)).shape == (FRAMES, 2, 7)


def test_the_longer_series_is_cut_as_the_released_package_does_and_said(model, expected):
    with pytest.warns(UserWarning, match="stimuli 11, perspectives 5, modulations 11.* first 5 are predicted"):
        assert np.array_equal(model.predict(VIDEO, EYE[:5], BODY), expected[:5])
    assert len([*model.generate_response(VIDEO, EYE[:5])]) == 5


def test_frame_by_frame(model, twin, expected):
    close(np.array([*model.generate_response(VIDEO, EYE, BODY)]), expected)
    close(np.array([*model.generate_response(VIDEO, EYE, BODY)]), expected)  # it begins anew
    state = twin.init_state()
    model.reset()
    for frame, eye, body in zip(VIDEO[:4], EYE, BODY, strict=False):
        state, response = twin.step(state, frame, eye, body)
        found = forward(model, frame, eye, body)
        assert found.shape == (1, 7)
        close(found[0], response)


def test_the_state_advances_until_a_reset(model, expected):
    first = forward(model, VIDEO[0], EYE[0], BODY[0])
    assert not np.allclose(forward(model, VIDEO[0], EYE[0], BODY[0]), first, rtol=1e-3)
    assert np.array_equal(forward(model.reset(), VIDEO[0], EYE[0], BODY[0]), first)
    close(first[0], expected[0])


@pytest.mark.parametrize("frames", [3, 8, 9])
def test_the_state_after_predict_is_that_of_its_last_frame(model, expected, frames):
    video = VIDEO.copy()
    model.predict(video[:frames], EYE[:frames], BODY[:frames])
    video[:frames] = 0  # what is shown later does not matter
    rest = model.generate_response(VIDEO[frames:], EYE[frames:], BODY[frames:], reset=False)
    close(np.array([*rest]), expected[frames:])


def test_generate_response_closes_a_loop(model, twin):
    """The next frame depends on the response before."""
    shown = [VIDEO[0]]
    responses = []

    def stimuli():
        while len(shown) < 5:
            yield shown[-1]
            shown.append(np.uint8(VIDEO[len(shown)] * (responses[-1].mean() > 0)))

    for response in model.generate_response(stimuli()):
        responses.append(response)
    assert len(responses) == 4
    close(np.array(responses), twin.predict(np.stack(shown[:4])))


def test_peripheries_and_losses(model, twin, expected):
    found = [forward(model, *frame, periphery="extend")[0] for frame in zip(VIDEO, EYE, BODY, strict=True)]
    close(np.array(found), twin.predict(VIDEO, EYE, BODY, periphery="extend"))
    units = RANDOM.random((FRAMES, 7))
    close(np.array([*model.generate_loss(units, VIDEO, EYE, BODY)]), expected - np.log(expected) * units)
    one = model.reset().loss(*model.to_tensor(VIDEO[0], EYE[0], BODY[0])[:3], units[:1])
    close(one[0], (expected - np.log(expected) * units)[0])


@pytest.mark.parametrize(("name", "value"), [("stream", 1), ("batch", 2)])
def test_another_batch_or_stream_needs_a_reset(model, name, value):
    frame = np.zeros((1, 1, *SIZE)), np.zeros((1, 2)), np.zeros((1, 2))
    model(*frame)
    with pytest.raises(ValueError, match=r"Call reset\(\) first"):
        model(*frame, stream=1) if name == "stream" else model(np.zeros((value, 1, *SIZE)), *frame[1:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda model: model(np.zeros((1, *SIZE, 1)), np.zeros((1, 2)), np.zeros((1, 2))),
            r"expected one frame, \[N, 1, 18, 32\]",
        ),
        (lambda model: model(np.zeros((1, 1, *SIZE), np.uint8), np.zeros((1, 2)), np.zeros((1, 2))), "stimulus / 255"),
        (lambda model: model.predict(np.zeros((3, 9, 9), np.uint8)), "resize them first"),
        (lambda model: [*model.generate_loss(np.zeros((3, 6)), VIDEO)], r"expected \[7\]"),
        (lambda model: Visual(model), "expected a Twin"),
    ],
)
def test_wrong_input_is_refused(model, call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(model)


# Tensors


def test_tensors_come_out_where_they_go_in(model, twin, expected):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    video, eye, body = (torch.from_numpy(array) for array in (VIDEO, EYE, BODY))
    found = model.predict(video, eye, body)
    assert isinstance(found, torch.Tensor) and np.array_equal(found.numpy(), expected)
    assert isinstance(model.predict([*video], eye, body), torch.Tensor)
    response = next(model.generate_response(video, eye, body))
    assert isinstance(response, torch.Tensor) and response.shape == (7,)
    seen = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    *frame, squeeze = model.reset().to_tensor(video[0], eye[0], body[0])
    response = model(*frame)
    assert squeeze and isinstance(response, torch.Tensor) and torch.equal(seen[0], response)
    close(response.numpy()[0], expected[0])
    frame[0].requires_grad_()
    with torch.no_grad():
        model(*frame)
    with pytest.raises(NoEqualError, match=r"stimulus\.requires_grad.*twin\.rollout.*torch_module"):
        model(*frame)
    assert torch.equal(
        torch.tensor(model.readout.position.mu), torch.tensor(np.array(twin.network.readout.position.mean))
    )


def test_pytorch_is_not_imported():
    code = """
import sys, numpy as np
from flax import nnx
from fnn_jax import Network, NetworkConfig, Twin
from fnn_jax.released import Visual, microns
model = Visual(Twin(Network(NetworkConfig.tiny(2), rngs=nnx.Rngs(0))))
names = [name for name, _ in model.named_modules()]
print(model.readout.position.mean.shape, "core.recurrent" in names, "torch" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.split() == ["(2,", "2)", "True", "False"]


# Hooks


@pytest.mark.parametrize("how", ["predict", "frames"])
def test_hooks_see_the_features(model, twin, how):
    known = paths.outputs(twin.config)
    names = [name for name in dict.fromkeys(known.values()) if name in twin.network.value_names]
    features = twin.features(VIDEO, names, EYE, BODY)
    seen = {path: [] for path in known}
    for path in known:
        module = model.module(path) if path else model
        module.register_forward_hook(lambda module, inputs, output, path=path: seen[path].append((module, output)))
    run = model.predict if how == "predict" else lambda *args: np.array([*model.generate_response(*args)])
    responses = run(VIDEO, EYE, BODY)
    for path, name in known.items():
        assert all(module is (model.module(path) if path else model) for module, _ in seen[path])
        found = np.stack([output for _, output in seen[path]])
        if name == paths.RESPONSES:
            expected = responses[:, None]
        elif name == paths.MEAN_READOUT:
            expected = features["readout"].mean(1)[:, None, :, None]
        elif name in WITHOUT_STREAMS:
            expected = np.moveaxis(features[name][:, None], -1, 2)
        elif name == "readout":
            expected = features[name][:, None, ..., None]
        else:  # streams one after the other
            streams = [np.moveaxis(features[name][:, stream], -1, 1) for stream in range(2)]
            expected = np.concatenate(streams, axis=1)[:, None]
        assert found.shape == expected.shape, path
        close(found, expected, 1e-4 if name == "retina" else 2e-5)  # steep at the edges of pixels


def test_every_feature_that_twins_have_can_be_hooked(twin):
    hooked = paths.outputs(twin.config)
    assert set(twin.network.feature_names) <= set(hooked.values())
    table = twin.feature_table().released
    assert {path: name for name, path in table[table != ""].items()}.items() <= hooked.items()
    for kind, names in paths._MODULATION.items():
        assert names[-1].startswith("modulation"), kind


def test_hooks_of_one_stream_and_their_end(model, twin):
    seen = []
    with model.core.register_forward_hook(lambda *args: seen.append(args[2])):
        handle = model.readout.register_forward_hook(lambda *args: seen.append(args[2]))
        model.reduce.register_forward_hook(lambda *args: pytest.fail("there is no mean of one stream"))
        found = [forward(model, VIDEO[0], EYE[0], BODY[0], stream=1)[0]]
    handle.remove()
    found.append(forward(model, VIDEO[1], EYE[1], BODY[1], stream=1)[0])
    core, readout = seen
    features = twin.features(VIDEO[:2], ["core", "readout"], EYE[:2], BODY[:2], stream=1)
    close(core, np.moveaxis(features["core"][0], -1, 1))
    close(readout, features["readout"][0][..., None])
    close(np.array(found), np.exp(features["readout"][:, 0]))


def test_hooks_that_are_not_called(model):
    with pytest.raises(
        NoEqualError, match=r"core\.recurrent\.proj_i.*Modules that can have one: .*core\.recurrent\.drop_h"
    ):
        model.core.recurrent.proj_i.register_forward_hook(print)
    with pytest.raises(NoEqualError, match="with_kwargs"):
        model.core.register_forward_hook(print, with_kwargs=True)
    model.register_forward_hook(lambda module, inputs, output: output + 1)
    with pytest.raises(NoEqualError, match="returns another output"):
        model.predict(VIDEO)


# Weights and modules


def test_weights_have_the_released_names(model, twin):
    state = to_state_dict(twin.config, parameter_arrays(twin.network))
    assert model.state_dict().keys() == state.keys()
    assert all(np.array_equal(model.state_dict()[key], value) for key, value in state.items())
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    assert parameters.keys() | buffers.keys() == state.keys() and not parameters.keys() & buffers.keys()
    ends = {key.rpartition(".")[2] for key in buffers}
    assert (
        ends == {"mask", "zero", "grid", "power", "scale", "offset"} and "perspective.retina_pixel.scale" in parameters
    )
    assert sum(p.numel() for p in model.parameters()) == sum(state[key].size for key in parameters)
    below = model.module("core.recurrent")
    assert {f"core.recurrent.{key}" for key in below.state_dict()} == {key for key in state if "recurrent" in key}
    assert {f"x.{key}" for key in below.state_dict()} == {
        key for named in (below.named_parameters("x"), below.named_buffers("x")) for key, _ in named
    }


def test_attributes_that_people_read(model, twin):
    network = twin.network
    assert np.array_equal(model.readout.position.mean, network.readout.position.mean[...])
    assert np.array_equal(model.readout.bound(model.readout.position.mean), np.tanh(network.readout.position.mean[...]))
    weights = model.readout.feature.weights
    assert len(weights) == 2 and [w.shape for w in weights] == [(7, 1, 5)] * 2
    assert np.array_equal(weights[-1][:, 0], network.readout.feature.weight[1])
    assert np.array_equal(weights[:1][0], weights[0])
    kernel = model.core.feedforward.blocks[0].convs[0].weights[1]
    assert np.array_equal(np.moveaxis(kernel, (0, 1), (4, 3)), network.core.feedforward.blocks[0].convs[0].weight[1])
    assert model.core.feedforward.blocks[0].skips[0] is None
    assert model.core is model.module("core") and model.core.recurrent is model.module("core.recurrent")
    assert (model.units, model.streams, model.core.channels, model.modulation.features) == (7, 2, 5, 3)
    assert not hasattr(model.core, "something") and not model.training
    assert (model.default_perspective.shape, model.default_modulation.shape) == ((2,), (2,))
    with pytest.raises(IndexError):
        weights[2]
    with pytest.raises(TypeError, match=r"is no list: it has the parts \['feedforward', 'recurrent'\]"):
        model.core[0]


def test_modules_are_listed(model):
    named = dict(model.named_modules())
    assert next(iter(named)) == "" and named[""] is model and len(named) == len([*model.modules()])
    assert [name for name, _ in model.core.named_children()] == ["feedforward", "recurrent"]
    assert {"readout.feature.weights", "core.recurrent.drop_h", "reduce", "unit"} <= named.keys()
    assert len([*model.core.children()]) == 2 and model.core.feedforward in [*model.core.children()]


def test_values_go_to_numpy_as_tensors_do(model):
    values = model.readout.position.mu
    assert type(values.data.detach().cpu().to("cpu").cuda().numpy()) is np.ndarray
    assert (values.numel(), values.dim(), values.requires_grad) == (14, 2, False)
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1
    values.clone()[0] = 1
    assert values.double().dtype == np.float64 and values.double().float().dtype == np.float32
    with pytest.raises(NoEqualError, match="astype"):
        values.to("torch.float64")


def test_weights_that_are_loaded_are_used(model, twin, expected):
    changed = {key: value.clone() for key, value in model.state_dict().items()}
    changed["readout.biases.0"] += 1
    before = model.twin
    model.load_state_dict(changed)
    close(model.predict(VIDEO, EYE, BODY), expected * np.exp(0.5))
    assert np.array_equal(model.readout.biases[0], changed["readout.biases.0"])
    assert before is twin and model.twin.provenance["changed"]
    changed.pop("readout.biases.0")
    with pytest.raises(ValueError, match=r"missing: readout\.biases\.0"):
        model.load_state_dict(changed)


# Modes, devices, and what has no equal


def test_modes_and_devices(model, expected):
    assert model.eval() is model.train(False) is model.freeze() is model.requires_grad_(False) is model.float() is model
    assert model.to("cpu") is model.cpu() is model.cuda() is model.to(device="cuda:0") is model.to("cuda", "float32")
    with model.train_context(False):
        assert np.array_equal(model.predict(VIDEO, EYE, BODY), expected)
    assert model.core.eval() is model.core


def test_moving_takes_the_state_along(model, twin, expected):
    forward(model, VIDEO[0], EYE[0], BODY[0])
    model._running.move(jax.devices()[0])
    assert model.twin is not twin and model.twin.name == twin.name
    close(forward(model, VIDEO[1], EYE[1], BODY[1])[0], expected[1])


def test_copies_are_independent(model, expected):
    forward(model, VIDEO[0], EYE[0], BODY[0])
    other = copy.deepcopy(model)
    assert other.core._network is other
    close(forward(other, VIDEO[1], EYE[1], BODY[1])[0], expected[1])
    close(forward(model, VIDEO[1], EYE[1], BODY[1])[0], expected[1])


@pytest.mark.parametrize("name", NO_EQUAL)
def test_attributes_without_an_equal_name_the_way(model, name):
    with pytest.raises(NoEqualError, match=rf"^{name} has no equal here\. \w+"):
        getattr(model, name)
    assert not hasattr(model.core, name)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.train(), r"Training mode has no equal here.*fnn_jax\.training"),
        (lambda model: model.generate_response(VIDEO, training=True), r"Training mode.*twin\.rollout"),
        (lambda model: model.generate_loss(VIDEO, VIDEO, training=True), "Training mode"),
        (lambda model: model.train_context(), "Training mode"),
        (lambda model: model.requires_grad_(), r"jax\.grad.*torch_module"),
        (lambda model: model.to("float16"), r"predict\(\.\.\., precision="),
        (lambda model: model.core(1), r"register_forward_hook"),
        (lambda model: setattr(model.readout.position, "mu", 1), r"load_state_dict"),
        (lambda model: model.load_state_dict({}, strict=False), "all keys"),
        (lambda model: model.core.nothing, r"core\.nothing has no equal here.*docs/released\.md"),
    ],
)
def test_calls_without_an_equal_name_the_way(model, call, message):
    with pytest.raises(NoEqualError, match=message):
        call(model)


# Scans and files


@pytest.fixture(scope="module")
def store(twin, tmp_path_factory):
    """The small twin as the scan 8-5 in a converted folder."""
    folder = tmp_path_factory.mktemp("released") / "store"
    ids = {"session": 8, "scan_idx": 5, "unit_id": 3 * np.arange(7), "animal_id": 1}
    Twin(twin.network, pd.DataFrame(ids).rename_axis("readout_id"), name="8-5").save(folder)
    return folder


def test_scan(store, capsys, monkeypatch, expected):
    monkeypatch.setattr(microns, "_said", [])
    model, ids = microns.scan(8, 5, directory=store)
    assert "cuda=True means JAX's default device here" in capsys.readouterr().err
    assert [*ids.columns] == ["session", "scan_idx", "unit_id"] and ids.index.name == "readout_id"
    assert np.array_equal(model.predict(VIDEO, EYE, BODY), expected)
    again, _ = microns.scan(session=8, scan_idx=5, cuda=False, directory=store)
    microns.scan(8, 5, True, store, verbose=False)
    assert capsys.readouterr().err == "" and again.units == microns.units(8, 5, store) == 7
    assert microns.params(8, 5, store).keys() == model.state_dict().keys()
    with pytest.raises(ValueError, match="8-6"):
        microns.scan(8, 6, directory=store)


def test_one_file_with_all_keys(model, tmp_path, monkeypatch, expected):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from fnn_jax.convert import write_state_dict

    config = model.twin.config

    def architecture(units):
        return NetworkConfig.from_dict(config.to_dict() | {"num_units": units})

    monkeypatch.setattr(release, "MICRONS", dataclasses.replace(release.MICRONS, architecture=architecture))
    write_state_dict(tmp_path / "mine.pt", model.state_dict())
    loaded = microns.load_network_from_params(tmp_path / "mine.pt", cuda=False)
    assert loaded.twin.name == "mine" and np.array_equal(loaded.predict(VIDEO, EYE, BODY), expected)
    write_state_dict(tmp_path / "core.pt", model.core.state_dict())
    with pytest.raises(ValueError, match="has no readout"):
        microns.load_network_from_params(tmp_path / "core.pt")


def test_files_of_the_working_directory_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert microns._directory(None) is None
    (tmp_path / microns.CORE_FILE).touch()
    assert microns._directory(None) == tmp_path and microns._directory("x") == "x"
