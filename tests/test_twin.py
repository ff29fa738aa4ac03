import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from disturbed import small

from fnn_jax import CheckpointError, NetworkConfig, Twin, enable_compilation_cache
from fnn_jax.demo import random_network
from fnn_jax.model.chunks import CHUNK_FRAMES, chunk_length
from fnn_jax.model.parameters import network_from_parameters, parameter_arrays
from fnn_jax.twin import network_calls, rollout, sizes, threads
from fnn_jax.twin.inputs import CheckedInputs
from fnn_jax.weights.store import Store

FRAMES = 2 * CHUNK_FRAMES + 3


@pytest.fixture(scope="module")
def video():
    return np.random.default_rng(0).integers(0, 256, (FRAMES, 18, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def traces():
    return np.random.default_rng(1).standard_normal((2, FRAMES, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def responses(twin, video, traces):
    return twin.predict(video, *traces)


def test_predict_gives_numpy(responses, twin):
    assert isinstance(responses, np.ndarray) and responses.dtype == np.float32
    assert responses.shape == (FRAMES, twin.num_units) and (responses > 0).all()
    assert responses.std(0).min() > 1e-3


def test_input_forms_agree(twin, video, traces, responses):
    for stimuli in (video[..., None], list(video), jnp.asarray(video)):
        np.testing.assert_array_equal(twin.predict(stimuli, *traces), responses)
    np.testing.assert_allclose(twin.predict(video / 255, *traces), responses, rtol=1e-5)
    np.testing.assert_array_equal(twin.predict(video[:, None, ..., None], *traces)[:, 0], responses)
    np.testing.assert_array_equal(twin.predict(video, traces[0][:, None], traces[1]), responses[:, None])


def test_batch_is_broadcast(twin, video, traces, responses):
    batch = np.stack([traces[0], -traces[0]], axis=1)
    both = twin.predict(video, batch, traces[1])
    assert both.shape == (FRAMES, 2, twin.num_units)
    np.testing.assert_allclose(both[:, 0], responses, rtol=1e-5)
    assert np.abs(both[:, 1] - responses).max() > 1e-3


def test_rollout_is_predict_in_jax(twin, video, traces, responses):
    np.testing.assert_allclose(jax.jit(twin.rollout)(video, *traces), responses, rtol=1e-5)


@pytest.mark.slow
def test_gradient_with_plain_jax(twin, video):
    gradient = jax.grad(lambda video: twin.rollout(video).mean())(video[:2] / np.float32(255))
    assert gradient.shape == (2, 18, 32) and np.isfinite(gradient).all() and (gradient != 0).any()


def test_stream_and_periphery(twin, video, traces, responses):
    streams = [np.log(twin.predict(video, *traces, stream=s)) for s in range(twin.config.num_streams)]
    np.testing.assert_allclose(np.exp(np.mean(streams, 0)), responses, rtol=1e-5)
    assert np.abs(twin.predict(video, *traces, periphery="extend") - responses).max() > 1e-4
    for options, message in (({"stream": 2}, "stream is 2"), ({"periphery": "gray"}, "periphery is 'gray'")):
        with pytest.raises(ValueError, match=message):
            twin.predict(video, **options)


def test_features_by_name(twin, video, traces, responses):
    features = twin.features(video, ["retina", "readout", "feedforward.block0"], *traces)
    assert list(features) == ["retina", "readout", "feedforward.block0"]
    assert features["retina"].shape == (FRAMES, 16, 24, 1)
    assert features["feedforward.block0"].shape == (FRAMES, 2, 4, 6, 8)
    np.testing.assert_allclose(np.exp(features["readout"].mean(1)), responses, rtol=1e-5)
    with pytest.raises(ValueError, match=r"unknown names \['maps'\]"):
        twin.features(video, "maps")


def test_step_by_step_from_disk_equals_predict(twin, video, traces, responses, tmp_path):
    """A closed loop: the state is explicit, is saved in the middle, and continues."""
    state, before = twin.init_state(), twin.init_state()
    for frame in range(4):
        state, response = twin.step(state, video[frame], traces[0][frame], traces[1][frame])
        np.testing.assert_allclose(response, responses[frame], rtol=1e-5)
    leaves, structure = jax.tree.flatten(state)
    np.savez(tmp_path / "state.npz", *leaves)
    loaded = np.load(tmp_path / "state.npz")
    restored = structure.unflatten([jnp.asarray(loaded[name]) for name in loaded.files])
    for frame in range(4, 7):
        restored, response = twin.step(restored, video[frame], traces[0][frame], traces[1][frame])
        state, same = twin.step(state, video[frame], traces[0][frame], traces[1][frame])
        np.testing.assert_array_equal(response, same)
    for ours, untouched in zip(jax.tree.leaves(before), jax.tree.leaves(twin.init_state()), strict=True):
        np.testing.assert_array_equal(ours, untouched)


def test_step_of_a_batch(twin, video):
    state, one = twin.step(twin.init_state(2), video[0])
    assert one.shape == (2, twin.num_units)
    _, both = twin.step(state, np.stack([video[1], video[2]])[..., None])
    assert np.abs(both[0] - both[1]).max() > 1e-4
    with pytest.raises(ValueError, match=r"a batch of 3, the state one of 2. Make the state with init_state\(3\)"):
        twin.step(state, np.zeros((3, 18, 32, 1), np.uint8))


def programs_made():
    return network_calls.compiled_rollout._cache_size() + rollout._compiled.cache_info().misses


def test_one_compilation_for_every_length(twin, video):
    twin.predict(video[:3])
    compiled = programs_made()
    for frames in (1, 9, FRAMES):
        twin.predict(video[:frames])
    assert programs_made() == compiled


@pytest.mark.parametrize("batch", [1, 2])
def test_streams_in_threads_give_the_same(twin, video, monkeypatch, batch):
    """But for rounding: responses, every feature, and states, those of training with their draws, too."""
    videos = np.stack([video[::step] for step in (1, -1)[:batch]], 1)[..., None]
    names = twin.network.feature_names
    start = twin.network.init_state(batch, jax.random.key(0))

    def results():
        state, responses = twin.step(start, videos[0])
        return twin.predict(videos), twin.features(videos, names), responses, state

    monkeypatch.setattr(threads, "cores", lambda: 3)
    calls = []
    monkeypatch.setattr(threads, "join", lambda *a, real=threads.join, **k: calls.append(1) or real(*a, **k))
    in_threads = results()
    assert calls
    monkeypatch.setattr(threads, "cores", lambda: 1)
    calls.clear()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), in_threads, results())
    assert not calls


class Place(NamedTuple):
    platform: str
    id: int


GPU, CPUS = [Place("gpu", 0)], [Place("cpu", 0), Place("cpu", 1)]


@pytest.fixture
def loss(twin):
    """Of a video and its traces, for gradients."""
    return lambda video, *traces: (twin.rollout(video, *traces)[1:, :, :3] ** 2).sum()


@pytest.fixture
def in_threads(monkeypatch):
    """A list that grows when streams run in threads."""
    called, real = [], threads.in_threads
    monkeypatch.setattr(threads, "cores", lambda: 2)
    monkeypatch.setattr(threads, "in_threads", lambda *a: called.append(1) or real(*a))
    return called


def of_gradients(videos):
    random = np.random.default_rng(3)
    video = jnp.asarray(random.random((3, videos, 18, 32, 1), np.float32))
    return video, *(jnp.asarray(random.normal(size=(3, 1, 2)).astype(np.float32)) for _ in range(2))


def close_gradients(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def test_gradients_outside_of_jit_run_in_threads(loss, in_threads):
    """The streams' programs run beside one another, and give what one program under ``jax.jit`` gives."""
    inputs, of_all = of_gradients(1), jax.value_and_grad(loss, (0, 1, 2))
    found = of_all(*inputs)
    assert len(in_threads) == 2  # forward and backward
    jax.tree.map(close_gradients, found, jax.jit(of_all)(*inputs))
    assert len(in_threads) == 2


@pytest.mark.slow
def test_gradients_of_some_inputs_and_under_other_transformations(loss, in_threads, monkeypatch):
    video, *traces = of_gradients(2)
    expected = jax.jit(jax.value_and_grad(loss))(video, *traces)
    close_gradients(jax.grad(loss)(video, *traces), expected[1])
    eye_alone = jax.grad(loss, 1)((video * 255).astype(np.uint8), *traces)
    assert len(in_threads) == 4 and np.isfinite(eye_alone).all() and (eye_alone != 0).any()
    close_gradients(loss(video, *traces), expected[0])  # without a gradient, too
    assert len(in_threads) == 5
    mapped = jax.vmap(jax.grad(loss), (0, None, None))(video[None], *traces)  # one program
    close_gradients(mapped[0], expected[1])
    monkeypatch.setattr(threads, "cores", lambda: 1)
    close_gradients(jax.grad(loss)(video, *traces), expected[1])
    assert len(in_threads) == 5


def test_threads_are_for_one_cpu_device(twin, monkeypatch):
    leaves = jax.tree.leaves(twin.network)
    monkeypatch.setattr(threads, "cores", lambda: 8)
    assert threads.worthwhile(leaves, 4) and not threads.worthwhile(leaves, 1)
    accelerator, spread = (SimpleNamespace(devices=lambda found=found: set(found)) for found in (GPU, CPUS))
    assert not threads.worthwhile([accelerator], 4) and not threads.worthwhile([spread], 4)
    monkeypatch.setattr(threads, "cores", lambda: 1)
    assert not threads.worthwhile(leaves, 4)


def test_long_videos_are_read_in_chunks(twin, monkeypatch, tmp_path):
    """A video on disk is never read whole: at most one chunk at a time is asked for."""
    frames = 20 * CHUNK_FRAMES + 5
    on_disk = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.uint8, (frames, 18, 32))
    on_disk[:] = np.random.default_rng(0).integers(0, 256, on_disk.shape)
    asked = []
    chunk = CheckedInputs.chunk

    def spy(self, start, stop, *rest):
        asked.append(stop - start)
        assert isinstance(self.stimuli, np.memmap)
        return chunk(self, start, stop, *rest)

    monkeypatch.setattr(CheckedInputs, "chunk", spy)
    responses = twin.predict(np.load(tmp_path / "v.npy", mmap_mode="r"))
    assert max(asked) == CHUNK_FRAMES and sum(asked) == frames == len(responses)


def test_save_and_load(twin, video, tmp_path):
    twin.save(tmp_path / "saved")
    loaded = Twin.load(tmp_path / "saved")
    assert repr(loaded) == repr(twin) == "Twin(twin: 7 units, 2 streams, random weights)"
    np.testing.assert_array_equal(loaded.predict(video), twin.predict(video))
    with pytest.raises(FileExistsError, match="exists already and is kept"):
        twin.save(tmp_path / "saved")
    twin.save(tmp_path / "saved", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_changed_weights_are_seen(video):
    twin = Twin(random_network(small(3)))
    before = twin.predict(video[:2])
    twin.network.readout.feature.bias[...] += 1
    np.testing.assert_allclose(twin.predict(video[:2]), before * np.e, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(twin.rollout)(video[:2]), before * np.e, rtol=1e-5)
    twin.network = random_network(small(4))
    assert twin.predict(video[:2]).shape == (2, 4)


def test_predict_is_refused_inside_a_trace_and_survives_one(video):
    twin = Twin(random_network(small(3)))
    for function in (twin.predict, lambda v: twin.features(v, "core"), lambda v: twin.step(twin.init_state(), v[0])):
        with pytest.raises(TypeError, match="Use twin.rollout there"):
            jax.jit(function)(video[:2])
    expected = Twin(twin.network).predict(video[:2])
    jax.jit(lambda x: x * twin.predict(video[:2]).mean())(1.0)  # a constant of the program: that is fine
    np.testing.assert_array_equal(twin.predict(video[:2]), expected)


@pytest.mark.slow
def test_float64_twin(video, network):
    with jax.enable_x64(True):
        twin = Twin(jax.tree.map(lambda a: a.astype(np.float64), network))
        responses = twin.predict(video[:3] / 255)
        assert responses.dtype == np.float64
        np.testing.assert_allclose(responses, jax.jit(twin.rollout)(video[:3] / 255), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((5, 18, 32), np.uint8),), r"frame has the shape \[5, 18, 32\]; expected one frame, .*: video\[t\]"),
        ((None,), r"frame has the shape None; expected one frame"),
        ((np.zeros((18, 32), np.uint8), np.zeros((1, 1, 2))), r"perspective has the shape \[1, 1, 2\]; expected \[2\]"),
    ],
)
def test_step_speaks_of_frames(twin, arguments, message):
    with pytest.raises(ValueError, match=message):
        twin.step(twin.init_state(), *arguments)


def test_save_refuses_what_load_would(network, tmp_path, monkeypatch):
    for name in ("../out", "a/b", "", ".hidden"):
        with pytest.raises(ValueError, match="The name of the scan is"):
            Twin(network, name=name).save(tmp_path / "twin")
    with pytest.raises(CheckpointError, match="lists 3 units for a readout of 7"):
        Twin(network, pd.DataFrame({"unit_id": [1, 2, 3]})).save(tmp_path / "twin")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("HOME", str(tmp_path))
    Twin(network, pd.DataFrame({"unit_id": range(7)})).save("~/twin")  # its index has no name
    assert Twin.load("~/twin").units.unit_id.tolist() == list(range(7))


def test_overwriting_replaces_twins_only(network, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds other things than converted weights and is not overwritten"):
        Twin(network).save(tmp_path / "results", overwrite=True)
    assert (tmp_path / "results" / "thesis.txt").exists()


def test_provenance_survives_saving(network, tmp_path):
    source = {"file": "a.pt", "sha256": "0" * 64}
    Twin(network, provenance={"source": source, "converter": "fnn_jax 0"}).save(tmp_path / "a")
    Twin.load(tmp_path / "a").save(tmp_path / "b")
    metadata = Store(tmp_path / "b").metadata("twin")
    assert metadata["source"] == source and metadata["converter"] == "fnn_jax 0"
    assert metadata["written_by"].startswith("fnn_jax ")


def test_compiled_ahead(video):
    """What ``compile`` compiled, ``predict`` finds."""
    twin = Twin(random_network(small(6)))
    assert twin.compile(2) > 0
    compiled = programs_made()
    twin.predict(np.stack([video, video], 1)[..., None])
    assert programs_made() == compiled


def test_chunks_change_nothing(twin, video, responses, traces):
    for chunk_frames in (1, 5, 100):
        chunked = twin.predict(video, *traces, chunk_frames=chunk_frames)
        np.testing.assert_allclose(chunked, responses, rtol=1e-5)
    with pytest.raises(ValueError, match="chunk_frames is 0; expected a positive integer"):
        twin.predict(video, chunk_frames=0)


def test_sizes_come_from_the_memory_at_hand():
    def device(platform, gigabytes=None):
        statistics = None if gigabytes is None else {"bytes_limit": gigabytes * 1e9}
        return SimpleNamespace(platform=platform, memory_stats=lambda: statistics)

    config = NetworkConfig.microns(9941)
    assert sizes.batch_size(config, device("cpu")) == 4 and sizes.chunk_frames(config, device("cpu"), 64) == 8
    batches = [sizes.batch_size(config, device("gpu", memory)) for memory in (8, None, 24, 80)]
    assert batches == sorted(batches) and batches[0] >= 1 and batches[-1] <= 64
    assert (
        sizes.chunk_frames(config, device("gpu", 80), 1) == 32 and sizes.chunk_frames(config, device("gpu", 4), 64) == 8
    )
    # 32 targets of 30 frames take 34 GB, in chunks of 15: rollouts choose these.
    assert sizes.gradient_batch(config, device("gpu", 80), 30, remat=True) == 32
    assert sizes.gradient_batch(config, device("gpu", 80), 30, remat=False) == 16
    assert sizes.gradient_batch(config, device("gpu", 80), 8, remat=True) == 64
    # A TPU v5e has 16 GB, and takes more for the same.
    assert sizes.batch_size(config, device("tpu", 16)) == 32
    assert sizes.gradient_batch(config, device("tpu", 16), 8, remat=True) == 4


def test_sizes_are_what_the_compiler_counted():
    """Never less than the temporaries in the table of accelerators, and less than twice as much."""
    table = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "accelerators.json").read_text())
    bytes_a_frame, looked_at = sizes.frame_bytes(NetworkConfig.microns(9941)), set()
    for key, row in table["rows"].items():
        device, program, _, count = key.split(" | ")
        kinds = "predict|gradient on pixels|gradient that keeps all|synthesis step"
        parsed = re.match(rf"({kinds}), (\d+) (?:videos?|targets) of (\d+) frames", program)
        if parsed and count == "1":
            parts = sizes.FORWARD if parsed[1] == "predict" else sizes.GRADIENT
            part = parts["gpu" if device in ("h100", "a100") else "tpu"]
            frames = chunk_length(int(parsed[3])) if parsed[1] == "synthesis step" else int(parsed[3])
            assumed = part * bytes_a_frame * int(parsed[2]) * frames / 1e9
            if "error" in row:  # more than a TPU has, which the sizes know
                assert "Ran out of memory" in row["error"] and assumed > {"v5e": 16, "v6e": 32}[device], key
                continue
            assert row["temporaries_gb"] < assumed < 2 * row["temporaries_gb"], key
            looked_at.add(parsed[1])
    assert looked_at == set(kinds.split("|"))


def test_a_network_does_not_share_the_memory_of_a_caller(network):
    """On a CPU a device would take an aligned array as it is."""

    def aligned(array):
        room = np.empty(array.nbytes + 64, np.uint8)
        start = -room.ctypes.data % 64
        made = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        made[...] = array
        return made

    arrays = {name: aligned(array) for name, array in parameter_arrays(network).items()}
    made = network_from_parameters(network.config, arrays)
    for array in arrays.values():
        array[...] = 7
    for name, array in parameter_arrays(made).items():
        np.testing.assert_array_equal(array, parameter_arrays(network)[name])


def test_fingerprint(network):
    twin, same = Twin(network), Twin(jax.tree.map(jnp.copy, network), name="other")
    assert twin.fingerprint() == same.fingerprint() != twin.select([1, 0]).fingerprint()
    before = same.fingerprint()
    same.network.readout.feature.bias[...] += 1
    assert same.fingerprint() != before


@pytest.mark.slow
def test_compilation_cache(tmp_path):
    code = (
        "import sys, fnn_jax, numpy as np; from fnn_jax.demo import random_network\n"
        "folder = fnn_jax.enable_compilation_cache(sys.argv[1]); print(folder)\n"
        "fnn_jax.Twin(random_network(fnn_jax.NetworkConfig.tiny(2))).compile()"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}
    command = [sys.executable, "-c", code, str(tmp_path / "kept")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "kept")]
    assert any(re.search("compiled_rollout|one_stream_rollout", file.name) for file in (tmp_path / "kept").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        enable_compilation_cache(tmp_path / "file" / "kept")


def test_a_selection_of_a_changed_twin_says_so():
    twin = Twin(random_network(small(3)), provenance={"weights": "default", "animal_id": 17797})
    assert twin.select([0]).weights == "default"
    twin.network.readout.feature.bias[...] += 1
    assert twin.select([0]).weights is None and twin.select([0]).provenance["changed"]
