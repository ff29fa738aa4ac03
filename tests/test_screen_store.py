"""Screens on disk: killed and gone on with, shared by processes, refused where they are others'."""

import errno
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray
import zarr
from interrupted import interrupt_and_resume
from processes import READY, Process

from fnn_jax import Screen, ScreenError, Stimulus, Twin, open_screen
from fnn_jax.demo import random_network
from fnn_jax.screen import locks, predictor, source, store

COUNT, FRAMES, BATCH = 70, 9, 4  # blocks of 16 stimuli


def video(index, frames=FRAMES):
    return np.random.default_rng(index).integers(0, 256, (frames, 18, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def videos():
    return [video(index) for index in range(COUNT)]


@pytest.fixture(scope="module")
def screen(twin):
    return Screen(twin, reduce="mean", batch_size=BATCH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, twin, videos):
    """What other processes need: the twin, and the stimuli."""
    folder = tmp_path_factory.mktemp("screen")
    twin.save(folder / "twin")
    np.save(folder / "videos.npy", np.stack(videos))
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder, screen):
    screen(folder / "videos.npy", folder / "undisturbed.zarr")
    return contents(folder / "undisturbed.zarr")


def contents(path):
    """Every file's hash, whatever is inside."""
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


# Another process that does the screen of ``folder`` into the folder that it is given.
CODE = """
from fnn_jax import Screen, Twin
folder, out = sys.argv[1:3]
screen = Screen(Twin.load(folder + "/twin"), reduce="mean", batch_size=4)
import zarr, xarray, filelock
"""
RUN = 'screen(folder + "/videos.npy", out)'


def test_on_disk_as_in_memory(folder, screen, twin, videos, undisturbed):
    dataset = open_screen(folder / "undisturbed.zarr")
    in_memory = screen(videos)
    np.testing.assert_array_equal(dataset.responses, in_memory.responses)
    for name in ("frames", "done", "error", "stimulus", "scan", "readout_id"):
        np.testing.assert_array_equal(dataset[name], in_memory[name], err_msg=name)
    assert dataset.attrs["settings"]["reduce"] == "mean" and twin.fingerprint() in str(dataset.attrs["settings"])
    plain = xarray.open_zarr(folder / "undisturbed.zarr")  # without a warning
    assert plain.responses.dims == ("stimulus", "unit") and "meaning" in plain.responses.attrs
    assert [path.name for path in folder.glob(".*")] == []  # locks are cleared away


def test_what_is_done_is_not_done_again(folder, screen, undisturbed, monkeypatch):
    monkeypatch.setattr(predictor.Predictor, "_dispatch", lambda *_: pytest.fail("it predicts"))
    dataset = screen(folder / "videos.npy", folder / "undisturbed.zarr")
    assert (dataset.done == 1).all() and contents(folder / "undisturbed.zarr") == undisturbed


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_interrupted_and_gone_on_with(folder, screen, undisturbed, tmp_path, monkeypatch, blocks):
    """An error in the middle; what is done is not done again, and the end is the same, byte for byte."""
    predicted = interrupt_and_resume(monkeypatch, lambda: screen(folder / "videos.npy", tmp_path / "out.zarr"), blocks)
    assert len(predicted) == COUNT - 16 * blocks
    assert contents(tmp_path / "out.zarr") == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


@pytest.mark.slow
def test_killed_at_many_moments(folder, undisturbed, tmp_path):
    """The same process again and again, killed ever later, until one of them lives to the end."""
    out, slowly = tmp_path / "out.zarr", "import fnn_jax.screen.store as s, time; real = s.ScreenStore.write\n"
    slowly += "def write(*a):\n    time.sleep(0.1); real(*a)\ns.ScreenStore.write = write\n"
    kills = 0
    for delay in (0.01, 0.1, 0.3, 0.45, 0.6, 0.8, None):
        process = Process(CODE + "screen.twins[0].compile(4)\n" + slowly + READY + RUN, folder, out)
        process.go()
        if delay is None:
            error = process.end()
            assert process.returncode == 0, error
        else:
            time.sleep(delay)
            kills += process.poll() is None
            process.kill()
            if (out / "zarr.json").exists():
                flags = open_screen(out).done.values  # it can be read at any moment
                assert set(flags) <= {0, 1}
    assert kills >= 4
    assert contents(out) == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


@pytest.mark.slow
def test_processes_share_a_screen(folder, undisturbed, tmp_path):
    """Two begin at once; each block is predicted by one of them, and both see the whole at the end."""
    count = (
        "import fnn_jax.screen.store as s, time; real = s.ScreenStore.write\n"
        "def write(self, number, rows):\n    print('wrote', number, flush=True); time.sleep(0.2); real(self, number, rows)\n"
        "s.ScreenStore.write = write\n"
    )
    code = (
        CODE
        + "screen.twins[0].compile(4)\n"
        + count
        + READY
        + f"done = {RUN}.done\nprint('all', bool((done == 1).all()))"
    )
    both = [Process(code, folder, tmp_path / "out.zarr") for _ in range(2)]
    for process in both:
        process.go()
    outputs = [process.communicate() for process in both]
    assert all(process.returncode == 0 for process in both), outputs
    wrote = [line for out, _ in outputs for line in out.splitlines() if line.startswith("wrote")]
    assert sorted(wrote) == [f"wrote {n}" for n in range(5)], outputs
    assert all("wrote" in out and "all True" in out for out, _ in outputs), outputs
    assert contents(tmp_path / "out.zarr") == undisturbed


@pytest.mark.slow
def test_the_blocks_of_a_killed_process_are_taken_over(folder, undisturbed, tmp_path):
    """One process hangs with a block of its own while another waits for it; it is killed, and the other goes on."""
    hang = "import fnn_jax.screen.store as s, time\ns.ScreenStore.write = lambda *a: (print('has', flush=True), time.sleep(99))\n"
    hanging = Process(CODE + hang + READY + RUN, folder, tmp_path / "out.zarr")
    hanging.go()
    assert hanging.stdout.readline() == "has\n"
    other = Process(CODE + READY + RUN, folder, tmp_path / "out.zarr")
    other.go()
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(timeout=4)
    assert (open_screen(tmp_path / "out.zarr").done.values == 0).any()
    hanging.kill()
    error = other.end()
    assert other.returncode == 0, error
    assert contents(tmp_path / "out.zarr") == undisturbed


@pytest.mark.slow
def test_four_devices(folder, undisturbed, tmp_path):
    """Batches cut over four devices give the same numbers, and write the same file."""
    code = "import sys, jax; assert jax.local_device_count() == 4\n" + CODE + RUN
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-c", "import sys\n" + code, str(folder), str(tmp_path / "out.zarr")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours, theirs = (open_screen(path) for path in (tmp_path / "out.zarr", folder / "undisturbed.zarr"))
    assert ours.attrs["computed_with"].startswith("4 x ")
    np.testing.assert_allclose(ours.responses, theirs.responses, rtol=1e-5)


MEMORY = """
import resource, numpy as np
from fnn_jax import Screen, Twin
from fnn_jax.model.config import NetworkConfig
from fnn_jax.demo import random_network
folder, out, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
twin = Twin(random_network(NetworkConfig.tiny(5000)))
videos = (np.random.default_rng(i).integers(0, 256, (8, 18, 32), dtype=np.uint8) for i in range(count))
Screen(twin, reduce="mean", batch_size=8)(videos, out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_screen(folder, tmp_path):
    def peak(count):
        command = [
            sys.executable,
            "-c",
            "import sys" + MEMORY,
            str(folder),
            str(tmp_path / f"{count}.zarr"),
            str(count),
        ]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert peak(32_000) < 1.1 * peak(320)  # before 20 blocks the allocator has not taken what it will keep


def test_a_generator_grows_the_store(twin, videos, tmp_path, monkeypatch):
    """Numbers and lengths of stimuli need not be known; a second run compares, and predicts nothing again."""
    stimuli = [video(index, frames=5 + index) for index in range(20)]
    screen = Screen(twin, batch_size=BATCH)
    dataset = screen(iter(stimuli), tmp_path / "out.zarr")
    assert dataset.responses.shape == (20, 24, 7)
    (tmp_path / "disk").mkdir()
    (tmp_path / "link.zarr").symlink_to(tmp_path / "disk" / "linked.zarr", target_is_directory=True)
    assert locks.folder(tmp_path / "link.zarr").parent == tmp_path / "disk"  # where files can be moved into place
    for responses, each in zip(dataset.responses.values, stimuli, strict=True):
        np.testing.assert_allclose(responses[: len(each)], twin.predict(each), rtol=1e-5)
        assert np.isnan(responses[len(each) :]).all()
    assert dataset.stimulus.values.tolist() == [str(i) for i in range(20)]
    before = contents(tmp_path / "out.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(predictor.Predictor, "_dispatch", lambda *_: pytest.fail("it predicts"))
        screen(iter(stimuli), tmp_path / "out.zarr")
    assert contents(tmp_path / "out.zarr") == before
    with pytest.raises(ScreenError, match="The generator ended after 9 stimuli, and .* holds 20"):
        screen(iter(stimuli[:9]), tmp_path / "out.zarr")
    with pytest.raises(ScreenError, match="Stimulus 0 is called a, and 0 in"):
        screen(iter([Stimulus(stimuli[0], id="a")]), tmp_path / "out.zarr")
    stimuli[3] = stimuli[3][::-1]
    with pytest.raises(ScreenError, match="Stimulus 3 is not the one that is done"):
        screen(iter(stimuli), tmp_path / "out.zarr")


def test_another_screen_is_refused(folder, screen, twin, videos, undisturbed, tmp_path):
    out = folder / "undisturbed.zarr"
    changed = list(videos)
    changed[69] = changed[69][::-1]
    other = Twin(random_network(twin.config, seed=3))
    cases = [
        (Screen(other, reduce="mean"), videos, "twins: there .*twin .*, here .*twin "),
        (Screen(twin, reduce="max"), videos, 'reduce: there "mean", here "max"'),
        (Screen(twin, reduce="mean", intervals=(0, 5)), videos, r"intervals: there null, here \[\[0, 5\]\]"),
        (Screen(twin, reduce="mean", periphery="extend"), videos, 'periphery: there "dark", here "extend"'),
        (Screen(twin, reduce=lambda r: r.mean(0)), videos, 'reduce: there "mean", here "<lambda> '),
        (screen, videos[:-1], r"a screen of other stimuli \(70; here 69\)"),
        (screen, {f"clip{i}": v for i, v in enumerate(videos)}, "a screen of other stimuli"),
        (screen, changed, "Stimulus 69 is not the one that is done"),
        (screen, [*videos[:69], videos[69] / np.float32(255)], "Stimulus 69 is not the one that is done"),
    ]
    for theirs, stimuli, message in cases:
        with pytest.raises(ScreenError, match=message):
            theirs(stimuli, out)
    with pytest.raises(ScreenError, match="Stimulus 0 is not the one that is done"):
        screen(videos, out, perspectives=[0.1, 0.0])
    assert contents(out) == undisturbed
    for name, make in (("folder", lambda path: path.mkdir()), ("file", lambda path: path.touch())):
        make(tmp_path / name)
        (tmp_path / name / "thesis.txt").touch() if name == "folder" else None
        with pytest.raises((ScreenError, FileExistsError), match="kept"):
            screen(videos, tmp_path / name)
    with pytest.raises(ScreenError, match="holds no screen"):
        open_screen(tmp_path / "folder")


def test_a_function_that_computes_something_else_is_another_screen(twin, videos, tmp_path):
    def first(factor):
        return Screen(twin, reduce=lambda responses: factor * responses.mean(0), batch_size=BATCH)

    first(2.0)(videos[:3], tmp_path / "out.zarr")
    first(2.0)(videos[:3], tmp_path / "out.zarr")
    with pytest.raises(ScreenError, match="reduce: there"):
        first(3.0)(videos[:3], tmp_path / "out.zarr")


def test_a_mended_stimulus_is_done_later(twin, videos, tmp_path):
    """What could not be read is tried again, and the rest of its block is not."""
    paths = [tmp_path / f"{index}.npy" for index in range(3)]
    for path, each in zip(paths, videos, strict=False):
        np.save(path, each / np.float32(255))
    bad = (videos[1] / np.float32(255)).copy()
    bad[2] = 7
    np.save(paths[1], bad)
    screen = Screen(twin, batch_size=BATCH)
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 stimuli could not be shown"):
            dataset = screen(paths, tmp_path / "out.zarr")
        assert dataset.done.values.tolist() == [1, 2, 1] and "holds the value 7" in str(dataset.error.values[1])
    np.save(paths[1], videos[1] / np.float32(255))
    dataset = screen(paths, tmp_path / "out.zarr")
    assert dataset.done.values.tolist() == [1, 1, 1] and dataset.error.values.tolist() == [""] * 3
    # The first one, with a function that is told by what it computes of a length: whichever can be shown.
    screen = Screen(twin, batch_size=BATCH, reduce=lambda responses: responses.mean(0))
    np.save(paths[0], bad[:4])
    with pytest.warns(UserWarning, match="1 stimuli could not be shown"):
        screen(paths, tmp_path / "mean.zarr")
    np.save(paths[0], videos[0][:4] / np.float32(255))
    assert screen(paths, tmp_path / "mean.zarr").done.values.tolist() == [1, 1, 1]
    np.testing.assert_allclose(dataset.responses[1], twin.predict(videos[1] / np.float32(255)), rtol=1e-5)


def test_stimuli_are_loaded_while_others_are_predicted(twin, tmp_path, monkeypatch):
    """A slow disk costs nothing as long as a block takes longer to predict than to load."""
    loading = []
    real = source.Source.load
    monkeypatch.setattr(source.Source, "load", lambda self, i: loading.append(i) or real(self, i))
    screen = Screen(twin, reduce="mean", batch_size=16)
    seen = []
    dispatch = predictor.Predictor._dispatch
    monkeypatch.setattr(
        predictor.Predictor,
        "_dispatch",
        lambda self, b: time.sleep(0.3) or seen.append(max(loading)) or dispatch(self, b),
    )
    screen([video(index) for index in range(64)])
    assert seen[0] >= 31 and seen[1] >= 47  # one block ahead, and the one after it has begun
    assert seen[0] < 63


def test_a_full_or_read_only_disk_is_told(twin, videos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        Screen(twin)(videos[:2], tmp_path / "file" / "out.zarr")
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("writes", [0, 3])
def test_a_full_disk_is_told(twin, videos, tmp_path, monkeypatch, writes):
    """With the remedy, whichever array finds no room; then the same call goes on."""
    screen, out = Screen(twin, reduce="mean", batch_size=BATCH), tmp_path / "out.zarr"
    expected = screen(videos[:3]).responses
    write, count = store.ScreenStore._write, iter(range(100))
    assign = zarr.Array.__setitem__

    def full(array, where, values):
        if next(count) >= writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        assign(array, where, values)

    def of_a_block(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(zarr.Array, "__setitem__", full)
            write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(store.ScreenStore, "_write", of_a_block)
        with pytest.raises(OSError, match=f"^{out} cannot be written: the disk is full, or your quota. Make room, and"):
            screen(videos[:3], out)
    assert not (open_screen(out).done == 1).any()
    np.testing.assert_array_equal(screen(videos[:3], out).responses, expected)


@pytest.mark.slow
def test_processes_of_the_distributed_runtime(folder, undisturbed, tmp_path):
    """They begin at different places, need nothing of one another, and see the whole at the end."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    code = (
        f"import jax; jax.distributed.initialize('{address}', 2, int(sys.argv[3]))\n"
        "assert jax.process_count() == 2\n" + CODE + f"print(bool(({RUN}.done == 1).all()), flush=True)"
    )
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_proxy")}
    command = [sys.executable, "-c", "import sys\n" + code, str(folder), str(tmp_path / "out.zarr")]
    pipe = subprocess.PIPE
    both = [
        subprocess.Popen([*command, str(rank)], env=environment, stdout=pipe, stderr=pipe, text=True) for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=200) for process in both]
    assert [out for out, _ in outputs] == ["True\n", "True\n"], outputs
    ours, theirs = (open_screen(path) for path in (tmp_path / "out.zarr", folder / "undisturbed.zarr"))
    np.testing.assert_array_equal(ours.responses, theirs.responses)
