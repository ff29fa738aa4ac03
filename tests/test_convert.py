"""Conversion: from published files to a store that loads, and everything that must be refused on the way."""

import os
import pickle
import re
import shutil
import time
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from alternatives import ALTERNATIVES
from processes import READY, Process

from fnn_jax import CheckpointError, NetworkConfig, Twin, microns
from fnn_jax.convert import convert, keys, read_state_dict, to_state_dict, write_published_scan, write_state_dict
from fnn_jax.demo import random_network
from fnn_jax.model.parameters import is_core, parameter_arrays, parameter_shapes
from fnn_jax.weights import checkpoint
from fnn_jax.weights.store import Store

torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is part of the extra 'export'")

SCANS = {"8-5": 4, "4-7": 3}
CONFIG = NetworkConfig.tiny(4)


def write_published(folder):
    """Two scans of one core, in the published layout and a tiny architecture."""
    core = {n: v for n, v in parameter_arrays(random_network(CONFIG)).items() if is_core(n)}
    for seed, (scan, units) in enumerate(SCANS.items()):
        config = NetworkConfig.tiny(units)
        session, scan_idx = map(int, scan.split("-"))
        table = pd.DataFrame({"session": session, "scan_idx": scan_idx, "unit_id": 100 + np.arange(units)})
        table.index.name = "readout_id"
        write_published_scan(folder, config, parameter_arrays(random_network(config, seed + 1)) | core, table)
    return folder


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """The published files and their store, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("templates")
    convert(write_published(folder / "published"), folder / "store", config=CONFIG)
    return folder


@pytest.fixture
def published(templates, tmp_path):
    return Path(shutil.copytree(templates / "published", tmp_path / "published"))


@pytest.fixture
def store(templates, tmp_path):
    return Store(shutil.copytree(templates / "store", tmp_path / "store"))


def rewrite(path, change):
    """Change the state dict in a file."""
    state = read_state_dict(path)
    change(state)
    write_state_dict(path, state)


# --- the table


@pytest.mark.parametrize(
    "config",
    [NetworkConfig.microns(5), NetworkConfig.tiny(5), *ALTERNATIVES.values()],
    ids=["microns", "tiny", *ALTERNATIVES],
)
def test_the_table_fills_every_parameter_once_and_uses_every_key_once(config):
    entries = keys.entries(config)
    paths, used = [entry.path for entry in entries], [key for entry in entries for key in entry.keys]
    assert len(set(paths)) == len(paths) and len(set(used)) == len(used)
    assert set(paths) == set(parameter_shapes(config))
    assert not set(used) & set(keys.constants(config))


def test_read_inverts_write():
    parameters = parameter_arrays(random_network(CONFIG))
    for entry in keys.entries(CONFIG):
        value = np.random.default_rng(0).standard_normal(parameters[entry.path].shape)
        written = entry.write(value)
        assert {array.shape for array in written.values()} == {entry.checkpoint_shape(value.shape)}
        np.testing.assert_array_equal(entry.read(written), value)


# --- what works


def test_folder_becomes_one_core_and_its_scans(store, published):
    assert store.scans() == ["4-7", "8-5"]
    core = checkpoint.load_metadata(store.directory / "core")
    assert core["part"] == "core" and core["source"]["file"] == "params_core.pt" and "num_units" not in core["config"]
    for scan, units in SCANS.items():
        metadata = store.metadata(scan)
        assert metadata["core_sha256"] == core["parameters_sha256"]
        assert metadata["config"]["num_units"] == units and metadata["converter"].startswith("fnn_jax ")
        assert len(metadata["source"]["sha256"]) == 64
        assert len(metadata["sha256"]) == len([p for p in parameter_shapes(CONFIG) if not is_core(p)])
        state = read_state_dict(published / "params_core.pt") | read_state_dict(
            published / f"params_{scan.replace('-', '_')}.pt"
        )
        back = to_state_dict(NetworkConfig.tiny(units), parameter_arrays(store.load(scan).network))
        assert set(back) == set(state)
        for key, value in state.items():
            np.testing.assert_array_equal(back[key], value, strict=True)


def test_one_file_of_a_trained_twin(published, tmp_path):
    state = read_state_dict(published / "params_core.pt") | read_state_dict(published / "params_8_5.pt")
    write_state_dict(tmp_path / "mine.pt", state)
    convert(tmp_path / "mine.pt", tmp_path / "mine", config=CONFIG, name="mouse-3")
    twin = Twin.load(tmp_path / "mine")
    assert (twin.name, twin.num_units, list(twin.units.columns)) == ("mouse-3", 4, [])
    convert(published, tmp_path / "store", config=CONFIG, scans=["8-5"])
    video = np.zeros((2, 18, 32), np.uint8)
    np.testing.assert_array_equal(twin.predict(video), Twin.load(tmp_path / "store").predict(video))


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_one_file_of_a_twin_with_other_modules(name, tmp_path):
    """The architecture is given; without it, keys that are missing and not known are listed."""
    config = ALTERNATIVES[name]
    parameters = {
        path: np.random.default_rng(0).random(shape, np.float32) for path, shape in parameter_shapes(config).items()
    }
    write_state_dict(tmp_path / "mine.pt", to_state_dict(config, parameters))
    twin = convert(tmp_path / "mine.pt", tmp_path / "mine", config=config).load("twin")
    assert twin.network.config == config
    for path, value in parameter_arrays(twin.network).items():
        np.testing.assert_array_equal(value, parameters[path])
    with pytest.raises(CheckpointError, match=r"missing: core.feedforward(.|\n)*not known: "):
        convert(tmp_path / "mine.pt", tmp_path / "other", config=CONFIG)


def test_files_in_a_folder_inside(published, tmp_path):
    (tmp_path / "outer").mkdir()
    published.rename(tmp_path / "outer" / "inner")
    assert convert(tmp_path / "outer", tmp_path / "store", config=CONFIG).scans() == ["4-7", "8-5"]


def test_microns_scan_reads_a_converted_folder(store):
    twin, ids = microns.scan(session=8, scan_idx=5, directory=store.directory)
    assert repr(twin) == "Twin(8-5: 4 units, 2 streams)"
    assert ids.index.name == "readout_id" and list(ids.columns) == ["session", "scan_idx", "unit_id"]
    assert ids.unit_id.tolist() == [100, 101, 102, 103]
    with pytest.raises(ValueError, match="scan is '9-3'; .* holds: 4-7, 8-5"):
        microns.scan(9, 3, directory=store.directory)
    with pytest.raises(ValueError, match="scan is not given, and .* holds 2 scans: 4-7, 8-5"):
        microns.load(store.directory)


def test_scan_names():
    assert microns.scan_name("8-5") == microns.scan_name("8_5") == "8-5" and microns.scan_name("mouse-3") == "mouse-3"
    for session in ("8-5", 8.7, None):
        with pytest.raises(TypeError, match="session and scan_idx are .*; expected integers"):
            microns.scan(session, 5)


# --- published architecture, first use


@pytest.fixture(scope="module")
def published_microns(tmp_path_factory):
    """One scan in the published architecture."""
    folder = tmp_path_factory.mktemp("microns")
    config = NetworkConfig.microns(3)
    table = pd.DataFrame({"session": 8, "scan_idx": 5, "unit_id": [7, 8, 9]}, index=pd.RangeIndex(3, name="readout_id"))
    write_published_scan(folder, config, parameter_arrays(random_network(config)), table)
    return folder


def test_microns_scan_converts_on_first_use_and_says_so(published_microns, capsys):
    with pytest.raises(ValueError, match="scan is '4-7'; .* holds: 8-5"):
        microns.scan(4, 7, directory=published_microns)
    twin, ids = microns.scan(8, 5, directory=published_microns)
    assert "converting params_8_5.pt and params_core.pt into" in capsys.readouterr().err
    assert ids.unit_id.tolist() == [7, 8, 9] and twin.num_units == 3
    again, _ = microns.scan(8, 5, directory=published_microns)
    assert capsys.readouterr().err == "" and again.num_units == 3
    rewrite(published_microns / "params_8_5.pt", lambda s: s.update({"readout.biases.0": s["readout.biases.0"] + 1}))
    with pytest.raises(CheckpointError, match="params_8_5.pt is not the file that was converted into"):
        microns.scan(8, 5, directory=published_microns)


def test_folder_without_weights(tmp_path):
    for folder, message in ((tmp_path, "holds no weights"), (tmp_path / "none", "does not exist")):
        with pytest.raises(CheckpointError, match=message):
            microns.scan(8, 5, directory=folder)
    with pytest.raises(CheckpointError, match="no converted weights"):
        Twin.load(tmp_path)


# --- files that are refused


class Attack:
    """Its pickle runs code when it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-2000])


def flip_bit(path):
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    data[largest.header_offset + 400] ^= 4
    path.write_bytes(data)


def foreign_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing|holds: 4-7"),
        (truncate, "is not a whole file written by torch.save"),
        (flip_bit, "is damaged: its part .* fails its checksum"),
        (lambda path: path.write_text("hello"), "is not a whole file"),
        (lambda path: path.write_bytes(b""), "is not a whole file"),
        (foreign_zip, "not written by torch.save: it is a zip of other files"),
        (lambda path: path.write_bytes(pickle.dumps(Attack())), "is not a whole file"),
        (lambda path: torch.save({"a": Attack()}, path), "holds more than tensors and was not opened"),
        (lambda path: torch.save([1, 2], path), "holds a list, expected a state dict"),
        (lambda path: torch.save({"a": 1}, path), "is no state dict"),
        (lambda path: torch.save({}, path), "expected a state dict"),
        (
            lambda path: torch.save({"a": torch.zeros(2, dtype=torch.bfloat16)}, path),
            r"not float32 \(a is torch.bfloat16\)",
        ),
        (lambda path: torch.save({"a": torch.zeros(2, dtype=torch.float64)}, path), "model.float"),
    ],
)
def test_files_that_are_no_weights(published, tmp_path, monkeypatch, damage, message):
    monkeypatch.chdir(tmp_path)
    damage(published / "params_8_5.pt")
    with pytest.raises((CheckpointError, ValueError), match=message):
        convert(published, tmp_path / "store", config=CONFIG, scans=["8-5"])
    assert not (tmp_path / "store").exists() and not (tmp_path / "pwned").exists()
    assert not [path for path in tmp_path.iterdir() if "incomplete" in path.name]


def test_all_wrong_keys_are_reported_together(published, tmp_path):
    def change(state):
        del state["readout.position.mu"]
        state["readout.extra"] = np.zeros(3, np.float32)
        state["readout.biases.1"] = np.zeros((4, 2), np.float32)
        state["modulation.lstm.proj_f.gains.0"][0, 0] = np.nan

    rewrite(published / "params_8_5.pt", change)
    with pytest.raises(CheckpointError) as error:
        convert(published, tmp_path / "store", config=CONFIG)
    for line in (
        "missing: readout.position.mu",
        "not known: readout.extra",
        "shape of readout.biases.1: [4, 2], expected [4, 1]",
        "values of modulation.lstm.proj_f.gains.0: 1 are NaN or infinite",
    ):
        assert line in str(error.value)


def test_constant_buffers_must_be_the_constants(published, tmp_path):
    rewrite(
        published / "params_core.pt",
        lambda s: s.update({"core.recurrent.proj_x.0.zero": s["core.recurrent.proj_x.0.zero"] + 1}),
    )
    with pytest.raises(CheckpointError, match="values of core.recurrent.proj_x.0.zero: this buffer is a constant"):
        convert(published, tmp_path / "store", config=CONFIG)


def test_core_keys_in_a_scan(published, tmp_path):
    rewrite(
        published / "params_8_5.pt", lambda s: s.update({"core.feedforward.out.biases.0": np.zeros((1, 6), np.float32)})
    )
    with pytest.raises(CheckpointError, match=r"params_8_5.pt holds core.feedforward.out.biases.0"):
        convert(published, tmp_path / "store", config=CONFIG)


def test_another_architecture(published, tmp_path):
    with pytest.raises(CheckpointError) as error:
        convert(published, tmp_path / "store")
    report = str(error.value)
    assert "does not hold the weights of this architecture" in report and len(report.splitlines()) < 50
    for kind in ("missing", "shape"):  # the first of each kind, and how many more
        assert re.search(rf"  {kind}: \.\.\. and \d+ more", report)


def test_no_readout(published, tmp_path):
    rewrite(published / "params_8_5.pt", lambda s: s.pop("readout.feature.weights.0"))
    with pytest.raises(CheckpointError, match="missing: readout.feature.weights.0"):
        convert(published, tmp_path / "store", config=CONFIG)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("scans.csv", lambda t: t.assign(units=5), "has 5 units for the scan 4-7, its weights have 3 units"),
        ("scans.csv", lambda t: t[t.session == 8], "has 0 rows for the scan 4-7"),
        ("units.csv", lambda t: t.iloc[:-1], "lists 2 units for a readout of 3"),
        ("units.csv", lambda t: t.assign(readout_id=0), "expected each readout_id from 0 to 2 once"),
        ("units.csv", lambda t: t.drop(columns="unit_id"), r"lacks the columns \['unit_id'\]"),
        ("units.csv", None, "cannot be read"),
    ],
)
def test_tables_that_do_not_fit(published, tmp_path, table, change, message):
    path = published / table
    if change is None:
        path.unlink()
    else:
        change(pd.read_csv(path)).to_csv(path, index=False)
    with pytest.raises(CheckpointError, match=message):
        convert(published, tmp_path / "store", config=CONFIG)


def test_sources_that_are_none(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        convert(tmp_path / "none", tmp_path / "store")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="is not in the published layout: one params_core.pt is expected"):
        convert(tmp_path / "empty", tmp_path / "store")


# --- destinations


def test_an_existing_destination_is_kept_unless_asked(published, store, tmp_path):
    with pytest.raises(FileExistsError, match="exists already and is kept as it is"):
        convert(published, store.directory, config=CONFIG)
    whole = (published / "params_4_7.pt").read_bytes()
    truncate(published / "params_4_7.pt")
    with pytest.raises(CheckpointError):
        convert(published, store.directory, config=CONFIG, overwrite=True)
    assert store.load("4-7")  # a failed conversion replaces nothing
    (published / "params_4_7.pt").write_bytes(whole)
    convert(published, store.directory, config=CONFIG, scans=["8-5", "8-5"], overwrite=True)
    assert store.scans() == ["8-5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published", "store"]


def test_what_is_no_store_is_never_overwritten(published, store, tmp_path):
    (store.directory / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other things than converted weights"):
        convert(published, store.directory, config=CONFIG, overwrite=True)
    for destination in (published, tmp_path, published / "params_core.pt"):
        with pytest.raises(FileExistsError):
            convert(published, destination, config=CONFIG, overwrite=True)
    assert (store.directory / "note.txt").exists() and (published / "params_8_5.pt").exists()


@pytest.mark.parametrize("scans", ["8-5", []])
def test_choices_that_are_none(published, tmp_path, scans):
    with pytest.raises(ValueError, match=r"expected a list of names such as \['8-5'\]"):
        convert(published, tmp_path / "store", config=CONFIG, scans=scans)


def test_unknown_scan_is_refused_before_work(published, tmp_path):
    with pytest.raises(ValueError, match="scan is '1-1'; .* holds: 4-7, 8-5"):
        convert(published, tmp_path / "store", config=CONFIG, scans=["8-5", "1-1"])


PROCESS = (
    """
import torch
from orbax.checkpoint import v1
from fnn_jax import NetworkConfig
from fnn_jax.convert import convert, convert_scans
"""
    + READY
)
CONVERT = PROCESS + "convert(sys.argv[1], sys.argv[2], config=NetworkConfig.tiny(4))"
CONVERT_SCAN = PROCESS + "convert_scans(sys.argv[1], sys.argv[2], ['8-5'], config=NetworkConfig.tiny(4))"


def has_begun(folder):
    try:
        return any(path.is_file() for path in folder.glob(".store.incomplete-*/**/*"))
    except FileNotFoundError:  # it was there, and is gone already
        return True


@pytest.mark.slow
def test_a_killed_conversion_leaves_nothing_that_loads(published, tmp_path):
    """Killed when it has begun to write: at the first file, and at moments after it."""
    destination = tmp_path / "store"
    killed = 0
    for delay in (0.0, 0.02, 0.05, 0.1, 0.2):
        process = Process(CONVERT, published, destination)
        process.go()
        while process.poll() is None and not has_begun(tmp_path):
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
        if destination.exists():  # it was quicker than the signal: then all of it is there
            assert [Store(destination).load(scan).metadata["scan"] for scan in SCANS] == list(SCANS)
            break
        killed += 1
        assert list(tmp_path.glob(".store.incomplete-*"))
    assert killed
    if not destination.exists():
        convert(published, destination, config=CONFIG)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published", "store"]  # what was left is cleared away


@pytest.mark.slow
def test_processes_that_convert_the_same_scan_at_once(published, tmp_path):
    """As the jobs of a cluster do, when all of them ask for a scan that is not converted yet."""
    store = tmp_path / "store"
    processes = [Process(CONVERT_SCAN, published, store) for _ in range(3)]
    for process in processes:
        process.go()
    errors = [process.end() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert Store(store).load("8-5").network.config.num_units == 4
    assert sorted(path.name for path in store.rglob("*") if path.parent in (store, store / "scans")) == [
        "8-5",
        "core",
        "scans",
    ]


# --- stores that are damaged


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine .* was never awaited")
def test_a_damaged_leaf_is_named(store):
    """Bits flipped anywhere in the data: nothing loads silently."""
    scan = store.directory / "scans" / "8-5" / "parameters"
    files = [
        path for path in scan.rglob("*") if path.is_file() and "/d/" in path.as_posix() and path.stat().st_size > 1000
    ]
    assert files
    random, named = np.random.default_rng(0), 0
    for path in files:
        whole = path.read_bytes()
        for position in random.integers(0, len(whole), 8):
            data = bytearray(whole)
            data[position] ^= 1 << int(random.integers(8))
            path.write_bytes(data)
            try:
                loaded = checkpoint.load(scan)[0]
            except CheckpointError as error:
                assert "is damaged" in str(error)
                named += "differs from its SHA-256" in str(error)
            else:  # the bit was in padding, or in a copy that is not read: the arrays are the right ones
                path.write_bytes(whole)
                right = checkpoint.load(scan)[0]
                assert all(np.array_equal(loaded[name], right[name]) for name in right)
        path.write_bytes(whole)
    checkpoint.load(scan)
    assert named  # flips that Orbax lets pass, found by the hashes


def test_a_renamed_scan_is_refused(store):
    shutil.copytree(store.directory / "scans" / "8-5", store.directory / "scans" / "9-3")
    with pytest.raises(CheckpointError, match="9-3 holds the scan 8-5: the folder was renamed or copied"):
        store.load("9-3")


def test_types_that_files_do_not_know_are_refused(tmp_path):
    weights = np.ones(3, jnp.bfloat16)
    with pytest.raises(ValueError, match=r"parameters\['c.d'\] are of type bfloat16; expected a type of NumPy's own"):
        checkpoint.save(tmp_path / "narrow", {"a": np.ones(2), "c.d": weights}, {})
    assert not any(tmp_path.iterdir())


def test_a_changed_array_or_record_is_noticed(tmp_path, monkeypatch):
    arrays = {"a.b": np.arange(6, dtype=np.float32), "c": np.asarray(1.5, np.float32)}
    checkpoint.save(tmp_path / "good", arrays, {"part": "x"})
    loaded, metadata = checkpoint.load(tmp_path / "good")
    assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays) and metadata["part"] == "x"
    real = checkpoint.array_sha256
    monkeypatch.setattr(checkpoint, "array_sha256", lambda a: real(a + 1) if a.size == 6 else real(a))
    with pytest.raises(CheckpointError, match="a.b differs from its SHA-256"):
        checkpoint.load(tmp_path / "good")
    monkeypatch.undo()
    monkeypatch.setattr(checkpoint, "json_digest", lambda value: "0")
    with pytest.raises(CheckpointError, match="its metadata differ from their SHA-256"):
        checkpoint.load(tmp_path / "good")


def test_a_foreign_orbax_folder(tmp_path):
    from orbax.checkpoint import v1 as ocp

    ocp.save(tmp_path / "foreign", {"a": np.zeros(3)})
    with pytest.raises(CheckpointError, match="its format is None, expected 'fnn_jax parameters 1'"):
        checkpoint.load(tmp_path / "foreign")


def test_missing_files_of_a_store(store):
    (store.directory / "scans" / "8-5" / "units.csv").write_text("readout_id\n0\n1\n2\n3\n")
    with pytest.raises(CheckpointError, match="units.csv differs from its SHA-256"):
        store.load("8-5")
    for path in (store.directory / "core").glob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(CheckpointError, match="core is damaged"):
        store.load("4-7")


def test_a_scan_with_another_core(store, published, tmp_path):
    rewrite(
        published / "params_core.pt",
        lambda s: s.update({"core.feedforward.out.biases.0": s["core.feedforward.out.biases.0"] + 1}),
    )
    other = convert(published, tmp_path / "other", config=CONFIG)
    (store.directory / "core").rename(tmp_path / "old")
    (other.directory / "core").rename(store.directory / "core")
    with pytest.raises(
        CheckpointError, match=r"was saved with another core: it names the core \w{12}, the store holds"
    ):
        store.load("8-5")
