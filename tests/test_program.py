"""A twin as a folder that predicts without the package: the same numbers, and refusals that say what to do."""

import ast
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest

pytest.importorskip("flatbuffers", reason="JAX writes and reads exports with the package flatbuffers")

from jax import export

from fnn_jax import Twin
from fnn_jax.model import formulation
from fnn_jax.program import exporting, loading

FRAMES = 19


@pytest.fixture(scope="module")
def folder(twin, tmp_path_factory):
    return exporting.export_program(twin, tmp_path_factory.mktemp("export") / "twin")


@pytest.fixture(scope="module")
def loaded(folder):
    return loading.load(folder)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture(scope="module")
def video():
    return np.random.default_rng(0).integers(0, 256, (FRAMES, 18, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def traces():
    return np.random.default_rng(1).standard_normal((2, FRAMES, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def responses(twin, video, traces):
    return twin.predict(video, *traces)


@pytest.mark.parametrize("frames", [1, 7, 8, FRAMES])
def test_predicts_as_the_twin_does(twin, loaded, video, traces, frames):
    inputs = video[:frames], *traces[:, :frames]
    predicted = loaded.predict(*inputs)
    assert isinstance(predicted, np.ndarray) and predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, twin.predict(*inputs), rtol=1e-6)


def test_floats_and_other_forms(twin, loaded, video, traces, responses):
    floats = video[:, None, ..., None] / 255
    predicted = loaded.predict(floats, traces[0], traces[1][:, None])
    assert predicted.shape == (FRAMES, 1, twin.num_units)
    np.testing.assert_allclose(predicted, twin.predict(floats, *traces), rtol=1e-6)
    np.testing.assert_allclose(predicted[:, 0], responses, rtol=1e-5)
    np.testing.assert_array_equal(loaded.predict(list(video[:5])), loaded.predict(video[:5, ..., None]))
    np.testing.assert_array_equal(loaded.predict(video[:5]), loaded.predict(video[:5], *(0 * traces[:, :5])))


def test_split_rollout_equals_whole(twin, loaded, video, traces, responses):
    inputs = video[:, None, ..., None], traces[0][:, None], traces[1][:, None]
    first = loaded.init_state()
    for ours, other in zip(first, jax.tree.leaves(twin.init_state()), strict=True):
        np.testing.assert_array_equal(ours, other)
    end, whole = loaded.rollout(first, *inputs)
    np.testing.assert_allclose(whole[:, 0], responses, rtol=1e-5)
    state, parts = first, []
    for start, stop in ((0, 1), (1, 10), (10, FRAMES)):
        state, part = loaded.rollout(state, *(array[start:stop] for array in inputs))
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5)
    for ours, other, before in zip(state, end, first, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-6)
        assert not np.any(before)
    assert {function._cache_size() for function in loaded._functions.values()} <= {0, 1}, "compiled more than once"
    _, batch = jax.jit(loaded.rollout)(
        loaded.init_state(2), *(np.concatenate([array[::-1], array], axis=1)[-16:] for array in inputs)
    )
    again = loaded.predict(video[-16:], *traces[:, -16:])
    np.testing.assert_allclose(batch[:, 1], again, rtol=1e-5)
    assert np.abs(batch[:, 0] - again).max() > 1e-3


@pytest.mark.slow
def test_a_gpu_a_selection_and_the_other_periphery(twin, video, traces, tmp_path, monkeypatch):
    """The formulation for GPUs is exported for the CPU here, where it can run."""
    monkeypatch.setattr(exporting, "PLATFORMS", {"gpu": ("cpu",)})
    monkeypatch.setattr(exporting, "DTYPES", ("uint8",))
    path = exporting.export_program(twin.select([5, 2]), tmp_path / "twin", periphery="extend")
    loaded = loading.load(path)
    assert loaded.about["periphery"] == "extend"
    assert [unit["readout_id"] for unit in loaded.units] == ["5", "2"]
    predicted = loaded.predict(np.stack([video[::-1], video], axis=1)[..., None], *traces)
    expected = twin.predict(video, *traces, periphery="extend")[:, [5, 2]]
    np.testing.assert_allclose(predicted[:, 1], expected, rtol=1e-5)


def test_predicts_without_the_package(folder, video, traces, responses, tmp_path):
    np.savez(tmp_path / "inputs.npz", video=video, traces=traces)
    code = f"""
        import sys
        for name in ("fnn_jax", "flax", "orbax", "pandas", "jaxtyping", "optax", "tqdm"):
            sys.modules[name] = None  # importing it fails
        import numpy as np
        sys.path.insert(0, {str(folder)!r})
        import program

        twin = program.load({str(folder)!r})
        inputs = np.load("inputs.npz")
        np.save("responses.npy", twin.predict(inputs["video"], *inputs["traces"]))
        print(twin)
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "Program(twin: 7 units, random weights)"
    np.testing.assert_allclose(np.load(tmp_path / "responses.npy"), responses, rtol=1e-6)


def test_the_loader_imports_jax_and_numpy_alone():
    imported = set()
    for node in ast.walk(ast.parse(Path(loading.__file__).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names == {"jax", "numpy"}


def test_what_is_in_the_folder(twin, folder, loaded, video):
    platforms = set()
    for path in (folder / "programs").iterdir():
        exported = export.deserialize(bytearray(path.read_bytes()))
        platforms.update(exported.platforms)
        multiple_of = int(path.stem.split("_")[1])
        for dimension in exported.out_avals[-1].shape[:2]:
            assert export.is_symbolic_dim(dimension)
        assert str(exported.out_avals[-1].shape[0]) == ("count" if multiple_of == 1 else f"{multiple_of}*count")
        assert exported.in_avals[-3].dtype == path.stem.split("_")[2]
        assert str(Path(exporting.__file__).parent).encode() not in path.read_bytes()
    assert platforms == {"cpu", "cuda", "tpu"} == set(loaded.about["platforms"])
    assert loaded.about["periphery"] == "dark" and loaded.about["gradients"] is False
    assert loaded.about["provenance"] == twin.provenance
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix != ".pyc"}
    assert files - {"about.json", "programs", "__pycache__"} == set(loaded.about["sha256"])
    assert len(loaded.units) == loaded.num_units == twin.num_units and loaded.units[3] == {"readout_id": "3"}
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        assert {array.dtype for array in weights.values()} == {np.dtype("float32")}


def test_exporting_leaves_no_trace(folder, twin, video, responses):
    assert formulation.formulation() == formulation.for_platform(jax.default_backend())
    assert jax.config.jax_traceback_in_locations_limit != 0


def test_gradients_are_refused(loaded, video):
    def mean(stimulus):
        traces = np.zeros((8, 1, 2), np.float32)
        return loaded.rollout(loaded.init_state(), stimulus, traces, traces)[1].mean()

    with pytest.raises(ValueError, match="No VJP is available"):
        jax.make_jaxpr(jax.grad(mean))(video[:8, None, ..., None] / np.float32(255))


def test_a_changed_twin_says_so(twin):
    published = Twin(twin.network, provenance={"weights": "default", "animal_id": 1})
    assert published.record() == published.provenance
    published.network = jax.tree.map(lambda array: array + 0, published.network)
    assert published.record() == {"animal_id": 1, "changed": True}


def test_only_an_export_is_overwritten(twin, folder, copy, tmp_path, monkeypatch):
    with pytest.raises(FileExistsError, match="is kept as it is"):
        exporting.export_program(twin, folder)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "video.npy").touch()
    with pytest.raises(FileExistsError, match="holds other things than an exported twin"):
        exporting.export_program(twin, tmp_path / "data", overwrite=True)
    with pytest.raises(ValueError, match="periphery is 'gray'"):
        exporting.export_program(twin, tmp_path / "gray", periphery="gray")

    def fail(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", fail)
    monkeypatch.setattr(exporting, "PLATFORMS", {"cpu": ("cpu",)})
    for path, overwrite in ((tmp_path / "new", False), (copy, True)):
        with pytest.raises(OSError, match="no space left"):
            exporting.export_program(twin, path, overwrite=overwrite)
    assert {path.name for path in tmp_path.iterdir()} == {"copy", "data"}
    loading.load(copy)


@pytest.mark.parametrize("name", ["weights.npz", "units.csv", "program.py", "programs/gpu_8_uint8.bin"])
def test_damaged_and_missing_files_are_refused(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(loading.ProgramError, match=rf"{name} differs from its SHA-256.* Copy the folder again"):
        loading.load(copy)
    (copy / name).unlink()
    with pytest.raises(loading.ProgramError, match=rf"{name} cannot be read.* Copy the whole folder again"):
        loading.load(copy)


def _rewrite(folder, signed=True, **entries):
    about = json.loads((folder / "about.json").read_text()) | entries
    if signed:
        del about["about_sha256"]
        about["about_sha256"] = loading.about_sha256(about)
    (folder / "about.json").write_text(json.dumps(about))


def test_about_is_verified(copy, tmp_path):
    _rewrite(copy, signed=False, label="the real mouse")
    with pytest.raises(loading.ProgramError, match="was changed or is damaged"):
        loading.load(copy)
    _rewrite(copy, format_version=2)
    with pytest.raises(loading.ProgramError, match=r"format version 2; .* up to 1. Use the program.py in that folder"):
        loading.load(copy)
    for content, message in (("{", "is damaged"), ("[]", "is of something else"), ('{"a": 1}', "is of something else")):
        (copy / "about.json").write_text(content)
        with pytest.raises(loading.ProgramError, match=message):
            loading.load(copy)
    with pytest.raises(loading.ProgramError, match=r"cannot be read.* written by Twin.export_program"):
        loading.load(tmp_path)


def test_other_platforms_and_versions_are_refused(copy, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr(export, "default_export_platform", lambda: "rocm")
        with pytest.raises(loading.ProgramError, match=r"on 'rocm' here; .* for cpu, cuda, tpu.*JAX_PLATFORMS=cpu"):
            loading.load(copy)
    with monkeypatch.context() as context:
        context.setattr(export, "deserialize", lambda _: 1 / 0)
        with pytest.raises(loading.ProgramError, match="cannot read what JAX .* exported: ZeroDivisionError"):
            loading.load(copy)
    for version, remedy in ((1, "Install that version"), (1000, "Update JAX to that version")):
        _rewrite(copy, calling_convention_version=version)
        with pytest.raises(loading.ProgramError, match=f"calling convention {version}; .*{remedy}"):
            loading.load(copy)


VIDEO = np.zeros((4, 18, 32), np.uint8)
TRACE = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ((VIDEO[0],), ValueError, r"stimuli has the shape \[18, 32\]; .* stimuli\[None\]"),
        ((VIDEO[0, ..., None],), ValueError, r"\[18, 32, 1\]; .* stimuli\[None\]"),
        ((VIDEO[:, None],), ValueError, r"\[4, 1, 18, 32\]; expected .* stimuli\[..., None\]"),
        ((VIDEO.transpose(0, 2, 1),), ValueError, r"\[4, 32, 18\]; .* must be resized"),
        ((VIDEO[:0],), ValueError, "at least one frame"),
        ((VIDEO.astype(int),), TypeError, r"stimuli has the dtype int64; .* stimuli.astype\(np.uint8\)"),
        (([VIDEO, "a"],), ValueError, "stimuli cannot be read as one array"),
        ((VIDEO + 255.0,), ValueError, r"the value 255.0, in frames 0 to 3; .* stimuli / 255"),
        ((VIDEO * np.float32("nan"),), ValueError, "the value nan"),
        ((VIDEO, TRACE[:3]), ValueError, r"perspectives has the shape \[3, 2\]; expected \[4, 2\].* Cut or resample"),
        ((VIDEO, None, TRACE[:, :1]), ValueError, r"modulations has the shape \[4, 1\]; expected \[4, 2\]"),
        (
            (VIDEO, TRACE + np.float32("inf")),
            ValueError,
            "perspectives is NaN or infinite in 4 of 4 frames, the first 0",
        ),
        ((VIDEO, TRACE > 0), TypeError, "perspectives has the dtype bool"),
        (
            (VIDEO[:, None, ..., None].repeat(2, 1), TRACE[:, None].repeat(3, 1)),
            ValueError,
            r"batch sizes of stimuli, perspectives and modulations are \[2, 3, 1\]",
        ),
    ],
)
def test_wrong_inputs_are_refused(loaded, inputs, error, message):
    with pytest.raises(error, match=message):
        loaded.predict(*inputs)


def test_wrong_rollouts_are_refused(loaded):
    stimulus, trace = VIDEO[:, None, ..., None], TRACE[:, None]
    state = loaded.init_state()
    for arguments, error, message in (
        (
            (state, VIDEO, trace, trace),
            ValueError,
            r"stimuli has the shape \[4, 18, 32\]; expected \[T, N, 18, 32, 1\]",
        ),
        ((state, stimulus[:0], trace, trace), ValueError, "at least one frame"),
        (
            (state, stimulus, trace[:2], trace),
            ValueError,
            r"perspectives has the shape \[2, 1, 2\]; .* T and N of stimuli",
        ),
        ((state, stimulus, trace, TRACE), ValueError, r"modulations has the shape \[4, 2\]"),
        ((state, stimulus > 0, trace, trace), TypeError, "stimuli has the dtype bool"),
        ((loaded.init_state(2), stimulus, trace, trace), ValueError, r"Make it with init_state\(1\)"),
        (((), stimulus, trace, trace), ValueError, "state holds 0 arrays"),
    ):
        with pytest.raises(error, match=message):
            loaded.rollout(*arguments)
