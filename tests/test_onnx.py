"""A twin as an ONNX model: the same numbers in onnxruntime, operators that browsers have, and refusals with remedies."""

import dataclasses
import json
import sys

import jax
import numpy as np
import pytest
from alternatives import ALTERNATIVES, tiny
from disturbed import disturb, small
from hypothesis import strategies as st
from wrong import JUNK, TEXTS, UNITS, booleans, check, floats, integers, paths, words

from fnn_jax import NetworkConfig, Twin, cli
from fnn_jax.demo import random_network
from fnn_jax.program.onnx import about, exporting, initial_state

onnx = pytest.importorskip("onnx", reason="onnx is not installed: it is part of the extra 'onnx'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: it is part of the extra 'test'")

FRAMES, CHUNK, BATCH = 20, 5, 2
# What onnxruntime-web has a kernel for in WebAssembly and in WebGPU, of what the formulas need.
OPERATORS = set(
    "Add AveragePool Cast Clip Concat Conv Cos Div Elu Exp Floor Gather GatherElements Gelu MatMul Mul Neg Pad Pow "
    "ReduceL2 ReduceMax ReduceSum Reshape Sigmoid Sin Slice Split Sub Tanh Transpose".split()
)
CONFIGS = {
    "small": small(7),
    "one stream": dataclasses.replace(small(4), num_streams=1),
    "three channels": dataclasses.replace(
        tiny(3, feedforward={"temporal_kernels": (1,), "pools": (1,)}), stimulus_channels=3
    ),
    "deep": tiny(3, feedforward={"layers": (3,), "temporal_kernels": (3,), "nonlinearity": "identity"}),
    **ALTERNATIVES,
}


def inputs_of(config, frames=FRAMES, batch=BATCH):
    random = np.random.default_rng(0)
    image = config.stimulus_height, config.stimulus_width, config.stimulus_channels
    video = random.integers(0, 256, (frames, batch, *image), dtype=np.uint8)
    return video, *random.standard_normal((2, frames, batch, 2)).astype(np.float32)


def run(path, video, eye, behaviour, chunk=None):
    """Responses of onnxruntime, frame by frame or chunk by chunk, whose state goes round."""
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    state, responses = initial_state(session, video.shape[1]), []
    for start in range(0, len(video), chunk or 1):
        now = start if chunk is None else slice(start, start + chunk)
        frame = {"stimuli": video[now], "perspectives": eye[now], "modulations": behaviour[now]}
        results = dict(zip(names, session.run(None, frame | state), strict=True))
        responses.append(results.pop("responses"))
        state = {name.removeprefix("new."): array for name, array in results.items()}
    return np.stack(responses) if chunk is None else np.concatenate(responses)


@pytest.fixture(scope="module")
def inputs(twin):
    return inputs_of(twin.config)


@pytest.fixture(scope="module")
def responses(twin, inputs):
    return twin.predict(*inputs)


@pytest.fixture(scope="module")
def model(twin, tmp_path_factory):
    return twin.export_onnx(tmp_path_factory.mktemp("onnx") / "twin.onnx")


SLOW = ("one stream", "three channels")  # which other tests have a part of
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in CONFIGS]


@pytest.mark.parametrize("name", NAMES)
def test_predicts_as_the_twin_does(name, tmp_path):
    twin = Twin(disturb(random_network(CONFIGS[name])))
    inputs = inputs_of(twin.config)
    expected = twin.predict(*inputs)
    assert expected.std() > 0.05
    for chunk in (None, CHUNK):
        path = twin.export_onnx(tmp_path / f"{chunk}.onnx", num_frames=chunk)
        onnx.checker.check_model(str(path), full_check=True)
        graph = onnx.load(path).graph
        assert {node.op_type for node in graph.node} <= OPERATORS
        weights = {tensor.name: tensor for tensor in graph.initializer}
        assert all(len(weights[node.input[1]].dims) == 4 for node in graph.node if node.op_type == "Conv")
        np.testing.assert_allclose(run(path, *inputs, chunk), expected, rtol=1e-5)


def test_a_parameter_off_by_a_percent_is_seen(model, inputs, responses, tmp_path):
    """The comparison would fail for every weight that is large enough to matter."""
    loaded = onnx.load(model)
    for name in ("perspective.eye.1.weight", "modulation.lstm.weight", "core.recurrent.out.weight"):
        (tensor,) = (tensor for tensor in loaded.graph.initializer if tensor.name == name)
        right = tensor.raw_data
        tensor.raw_data = (np.frombuffer(right, np.float32) * np.float32(1.01)).tobytes()
        onnx.save(loaded, tmp_path / "wrong.onnx")
        tensor.raw_data = right
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            np.testing.assert_allclose(run(tmp_path / "wrong.onnx", *inputs), responses, rtol=1e-5)


def test_periphery_stream_and_units(twin, inputs, tmp_path):
    path = twin.export_onnx(tmp_path / "a.onnx", units=[5, 2], periphery="extend", stream=1)
    expected = twin.predict(*inputs, periphery="extend", stream=1)[..., [5, 2]]
    np.testing.assert_allclose(run(path, *inputs), expected, rtol=1e-5)
    assert np.abs(expected - twin.predict(*inputs, stream=0)[..., [5, 2]]).max() > 1e-3
    found = about(path)
    assert (found["periphery"], found["stream"], found["num_frames"]) == ("extend", 1, None)
    assert found["unit_ids"] == {"readout_id": [5, 2]} and found["num_units"] == 2
    assert found["fingerprint"] == twin.fingerprint()


def test_similarities_of_any_size(twin, inputs, tmp_path):
    """The exponential of a large one would be infinite."""
    network = jax.tree.map(lambda array: array, twin.network)
    network.core.recurrent.scale = type(network.core.recurrent.scale)(network.core.recurrent.scale[...] * 200)
    large = Twin(network)
    path = large.export_onnx(tmp_path / "a.onnx")
    assert "ReduceMax" in {node.op_type for node in onnx.load(path).graph.node}
    np.testing.assert_allclose(run(path, *inputs), large.predict(*inputs), rtol=1e-5)


def test_what_a_model_says_of_itself(twin, model, tmp_path):
    found = about(model)
    assert found == about(onnxruntime.InferenceSession(str(model)))
    assert found["frame_rate_hz"] == 30 and found["label"] == twin.label and found["initial_state"] == "zeros"
    assert found["written_by"].startswith("fnn_jax ") and found["unit_ids"] == {"readout_id": list(range(7))}
    session = onnxruntime.InferenceSession(str(model))
    for described, values in (
        (found["inputs"] + found["state"], session.get_inputs()),
        (found["outputs"] + [entry | {"name": entry["new"]} for entry in found["state"]], session.get_outputs()),
    ):
        assert [entry["name"] for entry in described] == [value.name for value in values]
        assert [entry["shape"] for entry in described] == [value.shape for value in values]
    state = initial_state(model, 3)
    assert list(state) == [entry["name"] for entry in found["state"]]
    assert all(array.shape[0] == 3 and not array.any() and array.dtype == np.float32 for array in state.values())
    sizes = sum(array.size for array in jax.tree.leaves(twin.init_state(3)))
    assert sum(array.size for array in state.values()) == sizes

    units = twin.units.assign(unit_id=np.arange(7) + 100)
    path = Twin(twin.network, units, name="8-5").export_onnx(tmp_path / "a.onnx", units=[1], num_frames=2)
    found = about(path)
    assert found["unit_ids"] == {"readout_id": [1], "unit_id": [101]} and found["name"] == "8-5"
    assert found["inputs"][0]["shape"] == [2, "batch", 18, 32, 1] and found["num_frames"] == 2


def test_weights_in_other_files(twin, model, inputs, tmp_path):
    path = twin.export_onnx(tmp_path / "folder", external_mb=0.002)
    assert path == tmp_path / "folder" / "model.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    files = {file.name: file.stat().st_size for file in path.parent.iterdir()}
    assert files.pop("model.onnx") > 0
    assert list(sorted(files)) == [f"weights_{i}.bin" for i in range(len(files))] and len(files) > 2
    assert max(files.values()) <= 2000
    names = {tensor.name for tensor in onnx.load(path).graph.initializer}
    assert "perspective.retina.part2" in names and "perspective.retina" not in names
    np.testing.assert_array_equal(run(path, *inputs), run(model, *inputs))
    for least in (0.0002, 1e-9):
        with pytest.raises(
            ValueError, match=rf"external_mb is {least:g}, but one row of .* takes .* Give a larger number"
        ):
            twin.export_onnx(tmp_path / "other", external_mb=least)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("path", "options", "error", "message"),
    [
        (3, {}, TypeError, "path is 3; expected a path"),
        ("twin", {}, ValueError, r"expected a name that ends in .onnx, or external_mb for a folder"),
        ("a.onnx", {"external_mb": 25}, ValueError, "expected the name of a folder: external_mb is given"),
        ("a", {"external_mb": 0}, ValueError, "external_mb is 0; expected a number above 0, at most 1e\\+06"),
        ("a", {"external_mb": "25"}, TypeError, "external_mb is '25'; expected"),
        ("a.onnx", {"num_frames": 0}, ValueError, "num_frames is 0; expected an integer from 1 to 1000"),
        ("a.onnx", {"num_frames": 2.0}, TypeError, "num_frames is 2.0; expected an integer"),
        ("a.onnx", {"num_frames": True}, TypeError, "num_frames is True"),
        ("a.onnx", {"periphery": "gray"}, ValueError, "periphery is 'gray'; expected one of 'dark', 'extend'"),
        ("a.onnx", {"stream": 2}, ValueError, "stream is 2; expected None or an index from 0 to 1"),
        ("a.onnx", {"units": [99]}, ValueError, r"units holds 1 that this twin does not have: \[99\]"),
        ("a.onnx", {"units": []}, ValueError, "units selects no unit"),
        ("a.onnx", {"overwrite": "yes"}, TypeError, "overwrite is 'yes'; expected True or False"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(twin, tmp_path, monkeypatch, path, options, error, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(exporting, "network_graph", lambda *_: pytest.fail("a wrong argument got as far as the work"))
    with pytest.raises(error, match=message):
        twin.export_onnx(path, **options)
    assert not list(tmp_path.iterdir())


WRONG = {
    "path": paths(),
    "units": JUNK | TEXTS | st.integers(max_value=-1) | st.integers(min_value=UNITS) | st.just([0, 0]),
    "num_frames": integers(1, exporting.MOST_FRAMES, none=True),
    "periphery": words("dark", "extend"),
    "stream": integers(0, 1, none=True),
    "external_mb": floats(above=0, most=exporting.MOST_MB, none=True),
    "overwrite": booleans(),
}


@pytest.mark.parametrize("argument", WRONG)
def test_whatever_is_wrong_is_refused(twin, tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(exporting, "network_graph", lambda *_: pytest.fail("a wrong argument got as far as the work"))
    path = "folder" if argument == "external_mb" else "a.onnx"
    check(lambda **wrong: twin.export_onnx(**{"path": path, **wrong}), argument, WRONG[argument])
    assert not list(tmp_path.iterdir())


def test_what_onnx_cannot_hold_is_refused(twin, tmp_path, monkeypatch):
    half = jax.tree.map(lambda array: array.astype("bfloat16"), twin)
    with pytest.raises(TypeError, match=r"parameters are bfloat16; expected float32.*Convert them: jax.tree.map"):
        half.export_onnx(tmp_path / "a.onnx")
    monkeypatch.setattr(exporting, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="The twin's weights take .* GB, and a file of ONNX holds .* Give external_mb"):
        twin.export_onnx(tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_only_an_export_is_overwritten(twin, tmp_path, monkeypatch):
    file, folder, other = tmp_path / "twin.onnx", tmp_path / "folder", tmp_path / "other"
    file.write_bytes(b"earlier")
    with pytest.raises(FileExistsError, match="exists already and is kept as it is"):
        twin.export_onnx(file)
    other.mkdir()
    (other / "video.npy").touch()
    with pytest.raises(FileExistsError, match="holds other things than an exported twin"):
        twin.export_onnx(other, external_mb=1, overwrite=True)
    twin.export_onnx(folder, external_mb=0.01)

    def fail(*_, **__):
        raise OSError("no luck")

    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with monkeypatch.context() as context:
        context.setattr(onnx.ModelProto, "SerializeToString", fail, raising=False)
        for path, options in ((file, {}), (tmp_path / "new.onnx", {}), (folder, {"external_mb": 1})):
            with pytest.raises(OSError, match="no luck"):
                twin.export_onnx(path, overwrite=True, **options)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    twin.export_onnx(file, overwrite=True)
    twin.export_onnx(folder, external_mb=1, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "weights_0.bin"]


def test_a_missing_package_is_named(twin, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="Writing ONNX needs the package onnx: pip install onnx"):
        twin.export_onnx(tmp_path / "a.onnx")
    with pytest.raises(
        ImportError, match="needs the package onnx: pip install onnx, or .*; a session of onnxruntime does"
    ):
        about(model)
    assert initial_state(onnxruntime.InferenceSession(str(model)))


def test_other_models_are_refused(model, tmp_path):
    other = onnx.load(model)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model at all")
    with pytest.raises(ValueError, match="which is no ONNX model, or damaged"):
        about(damaged)
    found = json.loads(other.metadata_props[0].value)
    other.metadata_props[0].value = json.dumps(found | {"format_version": 2})
    onnx.save(other, tmp_path / "newer.onnx")
    with pytest.raises(ValueError, match="format version 2; expected 1 at most. Update fnn_jax"):
        initial_state(tmp_path / "newer.onnx")
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"was not written by Twin.export_onnx"):
        about(tmp_path / "other.onnx")
    with pytest.raises(FileNotFoundError):
        about(tmp_path / "none.onnx")


def test_command_line(twin, tmp_path, capsys):
    twin.save(tmp_path / "weights")
    weights, out = str(tmp_path / "weights"), tmp_path / "twin.onnx"
    options = ["--format", "onnx", "--units", "3", "1", "--frames", "2", "--periphery", "extend"]
    assert cli.main(["export", weights, "-o", str(out), *options]) == 0
    assert f"to {out}" in capsys.readouterr().out
    found = about(out)
    assert found["unit_ids"] == {"readout_id": [3, 1]}
    assert (found["num_frames"], found["periphery"]) == (2, "extend")
    folder = str(tmp_path / "folder")
    assert cli.main(["export", weights, "-o", folder, "--format", "onnx", "--external-mb", "25"]) == 0
    capsys.readouterr()
    assert cli.main(["export", weights, "-o", str(tmp_path / "a.pt"), "--frames", "2"]) == 1
    assert "--frames is 2, but it is of --format onnx" in capsys.readouterr().err


@pytest.mark.slow
def test_the_published_architecture(tmp_path):
    twin = Twin(disturb(random_network(NetworkConfig.microns(20))))
    inputs = inputs_of(twin.config, frames=6, batch=1)
    expected = twin.predict(*inputs)
    path = twin.export_onnx(tmp_path / "folder", external_mb=5)
    assert max(file.stat().st_size for file in path.parent.iterdir()) <= 5e6
    np.testing.assert_allclose(run(path, *inputs), expected, rtol=1e-5)
    path = twin.export_onnx(tmp_path / "chunk.onnx", num_frames=3)
    np.testing.assert_allclose(run(path, *inputs, 3), expected, rtol=1e-5)
