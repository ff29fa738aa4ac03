"""Folders of downloads: what is there, and what damage, full disks, kills and other processes do to them."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import bucket
import pandas as pd
import pytest
import unwritable
from disturbed import damage
from processes import READY, Process

from fnn_jax import CheckpointError, Twin, cli, microns
from fnn_jax.common.directories import cache_directory
from fnn_jax.convert import convert
from fnn_jax.microns import downloads
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.weights.store import Store

# --- where things are


def test_the_table_is_that_of_the_release():
    real = bucket.REAL
    assert sum(real.num_units.values()) == 104_171 and len(real.num_units) == 13 and real.animal_id == 17797
    assert real.weights["default"].checksum == "md5:58fcac4b31ad2902c81e339432cec787"
    for file in [*real.weights.values(), *(f for g in real.properties.values() for f in g.values())]:
        assert not file.path.startswith("/") and file.name
    assert real.base_url.startswith("https://") and real.base_url.endswith("/")
    assert set(real.property_weights.values()) <= set(real.weights)


def test_where_things_go(monkeypatch, tmp_path):
    assert cache_directory() == Path(os.environ["FNN_JAX_CACHE"])
    assert cache_directory(tmp_path / "x") == tmp_path / "x"
    monkeypatch.delenv("FNN_JAX_CACHE")
    assert cache_directory().name == "fnn_jax" and cache_directory().is_absolute()


def test_the_zip_goes_when_all_of_it_is_converted(full_cache):
    assert not (full_cache / bucket.ZIP).exists()
    assert (full_cache / bucket.REAL.weights["ori-trained"].path).exists()  # of these, two scans are
    assert Store(full_cache / "weights" / "default").scans() == list(bucket.NUM_UNITS)


def test_download_again_causes_no_traffic(here, capsys):
    assert cli.main(["download", "--properties", "performance", "readout"]) == 0
    shown = capsys.readouterr()
    assert not here.log and "9-6" in shown.out and f"in {cache_directory()}" in shown.out and shown.err == ""


def test_a_named_folder_is_not_filled_by_mistake(server, tmp_path):
    with pytest.raises(CheckpointError, match="weihgts does not exist.* fnn-jax download --directory .*weihgts"):
        microns.scan(8, 5, directory=tmp_path / "weihgts")
    assert not server.log


def test_folders_that_are_something_else(here, full_cache, bucket_folder, tmp_path, monkeypatch):
    store = full_cache / "weights" / "default"
    for call in (
        lambda: microns.units(directory=store),
        lambda: microns.scans(directory=store),
        lambda: microns.download(directory=store),
    ):
        with pytest.raises(ValueError, match="is a folder of converted weights; expected a folder for downloads"):
            call()
    for call in (
        lambda: microns.units(directory=tmp_path / "tpyo"),
        lambda: microns.scans(directory=tmp_path / "tpyo"),
    ):
        with pytest.raises(CheckpointError, match="tpyo is no folder of downloads. Fill it: fnn-jax download --dir"):
            call()
    assert not (tmp_path / "tpyo").exists()
    shutil.copytree(store, tmp_path / "work" / "weights")  # as the documentation has it
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(CheckpointError, match="holds no weights"):
        microns.scan(8, 5, directory=".")
    assert microns.scan(8, 5, directory="weights")[0].num_units == 29
    assert sorted(p.name for p in (tmp_path / "work" / "weights").iterdir()) == sorted(p.name for p in store.iterdir())
    files = shutil.copytree(bucket_folder / "default", tmp_path / "files")
    (files / "foundation_model").mkdir()
    assert "unnamed" in repr(microns.scan(8, 5, directory=files)[0])
    assert not here.log


# --- what can go wrong on the disk


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine .* was never awaited")
def test_damage_is_named_and_repaired(full_cache, server, tmp_path, capsys):
    folder = shutil.copytree(full_cache, tmp_path / "copy")
    good = Twin.load(folder / "weights" / "default", "8-5")
    damage(folder / "weights" / "default" / "scans" / "8-5")
    with pytest.raises(CheckpointError, match=f"(?s)is damaged.*fnn-jax download .* --directory {folder}"):
        microns.scan(8, 5, directory=folder)
    table = folder / "weights" / "default" / "scans" / "4-7" / "units.csv"
    table.write_text(table.read_text()[:-3])
    assert cli.main(["download", "--directory", str(folder), "--properties"]) == 0
    said = capsys.readouterr().err
    assert said.count("is damaged, and is replaced") == 2 and "converting 4-7, 8-5" in said
    assert microns.scan(8, 5, directory=folder)[0].network.core is not good.network.core
    damage(folder / "weights" / "default" / "core")
    before = {p: p.stat().st_mtime for p in (folder / "weights" / "default" / "scans").iterdir()}
    microns.download(directory=folder, properties=())
    assert {p: p.stat().st_mtime for p in before} == before  # only the core was replaced
    del good
    assert microns.scan(8, 5, directory=folder)[0].num_units == 29


@pytest.mark.slow
def test_nothing_is_removed_before_it_can_be_replaced(full_cache, server, tmp_path):
    folder = shutil.copytree(full_cache, tmp_path / "copy")
    damage(folder / "weights" / "default" / "scans" / "8-5")
    (folder / "weights" / "default" / "units.csv").unlink()
    with pytest.raises(DownloadError, match="nothing may be downloaded"):
        microns.download(directory=folder, offline=True, progress=False)
    assert (folder / "weights" / "default" / "scans" / "8-5").is_dir()
    with pytest.raises(CheckpointError, match="units.csv is missing. Run fnn-jax download --weights default"):
        microns.units(directory=folder)
    microns.download(directory=folder, progress=False)
    assert contents(folder) == contents(full_cache) and len(microns.units(directory=folder)) == 338
    assert not (folder / bucket.ZIP).exists()
    shutil.copy(server.folder / bucket.ZIP, folder / bucket.ZIP)  # left by a process that was killed, say
    microns.download(directory=folder, progress=False)
    assert not (folder / bucket.ZIP).exists()


def test_a_changed_table_of_readout_ids(full_cache, server, tmp_path):
    folder = shutil.copytree(full_cache, tmp_path / "copy")
    path = folder / "weights" / "default" / "units.csv"
    table = pd.read_csv(path)
    table.assign(readout_id=table.readout_id.to_numpy()[::-1]).to_csv(path, index=False)
    with pytest.raises(CheckpointError, match="units.csv was changed or is damaged. Run fnn-jax download"):
        microns.units(directory=folder)
    microns.download(directory=folder, progress=False)
    pd.testing.assert_frame_equal(pd.read_csv(path), table)


def test_a_damaged_member_of_a_zip(bucket_folder, server, tmp_path):
    path = shutil.copy(bucket_folder / bucket.ZIP, tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("params_8_5.pt")
    data = bytearray(Path(path).read_bytes())
    data[info.header_offset + 500] ^= 8
    Path(path).write_bytes(data)
    with pytest.raises(CheckpointError, match="params_8_5.pt is damaged .*Get the archive again"):
        convert(path, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_a_read_only_folder_is_read(full_cache, server, bucket_folder):
    code = unwritable.AS_NOBODY + (
        "import sys; sys.path.insert(0, sys.argv[1]); import bucket; bucket.use(sys.argv[2], sys.argv[3])\n"
        "from fnn_jax import microns\n"
        "print(microns.scan(8, 5, directory=sys.argv[4])[0], len(microns.units(directory=sys.argv[4])))\n"
        "microns.scan(9, 3, weights='ori-trained', directory=sys.argv[4])"
    )
    with unwritable.folder(full_cache) as folder, unwritable.folder(bucket_folder) as source:
        command = [sys.executable, "-c", code, Path(__file__).parent, source, server.base_url, folder]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert "Twin(8-5: 29 units, 2 streams, default weights) 338" in done.stdout, done.stderr
    assert "cannot be written (Permission denied). Name another folder" in done.stderr.splitlines()[-1]


DOWNLOAD = (
    """
import resource
sys.path.insert(0, sys.argv[1])
import bucket, torch
from orbax.checkpoint import v1
from fnn_jax import cli
bucket.use(sys.argv[2], sys.argv[3])
if sys.argv[4] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
"""
    + READY
    + """
sys.exit(cli.main(["download", "--properties", "performance"]))
"""
)


def start(bucket_folder, server, limit=0):
    return Process(DOWNLOAD, Path(__file__).parent, bucket_folder, server.base_url, limit)


def contents(folder):
    """What a folder of downloads holds: hashes of all arrays, and of the tables."""
    store = Store(folder / "weights" / "default")
    return {scan: (store.metadata(scan)["sha256"], store.load(scan).units.to_csv()) for scan in store.scans()}


@pytest.mark.slow
def test_a_conversion_on_a_disk_that_is_full(bucket_folder, server, own_cache):
    """A limit on the size of files stands for it: the zip fits, what is made of it does not."""
    microns.download(scans=["8-5"], properties=(), progress=False)
    shutil.rmtree(own_cache / "weights")
    before = sorted(p.name for p in own_cache.rglob("*") if p.is_file())
    process = start(bucket_folder, server, limit=4000)
    process.go()
    error = process.end()
    assert process.returncode != 0
    assert not [p for p in (own_cache / "weights").rglob("*") if "incomplete" in p.name], error
    assert not (own_cache / "weights" / "default" / "scans" / "8-5").exists()
    assert set(before) <= {p.name for p in own_cache.rglob("*") if p.is_file()}
    assert microns.scan(8, 5, offline=True)[0].num_units == 29  # with room, it goes on from the zip


@pytest.mark.slow
def test_killed_at_many_moments(bucket_folder, server, own_cache, full_cache):
    """While the zip comes and while it is converted: what is there loads, and the next run completes it."""
    server.faults[bucket.ZIP] = [("slow", 0.05)] * 3
    partial = own_cache / downloads.INCOMING / Path(bucket.ZIP).parent / f".{Path(bucket.ZIP).name}.partial"
    scans = own_cache / "weights" / "default" / "scans"
    moments = [
        lambda: partial.exists() and partial.stat().st_size > 20_000,
        lambda: any(own_cache.glob("weights/default/.core.*")),
        lambda: scans.exists() and any(p.name.startswith(".") for p in scans.iterdir()),
        lambda: scans.exists() and len([p for p in scans.iterdir() if not p.name.startswith(".")]) >= 4,
        lambda: not (own_cache / bucket.ZIP).exists() and scans.exists() and len(list(scans.iterdir())) >= 13,
    ]
    killed = 0
    for moment in moments:
        process = start(bucket_folder, server)
        process.go()
        while process.poll() is None and not moment():
            time.sleep(0.0005)
        killed += process.poll() is None
        process.kill()
        done = microns.scans()
        for scan in done.index[done.local]:
            Store(scans.parent).load(scan)  # whatever has its name is whole
    assert killed >= 4
    process = start(bucket_folder, server)
    process.go()
    error = process.end()
    assert process.returncode == 0, error
    assert contents(own_cache) == contents(full_cache)
    left = [p for p in own_cache.rglob("*") if p.name.startswith((".", "tmp")) and p.name != ".lock"]
    assert left == []


@pytest.mark.slow
def test_processes_that_ask_at_once(bucket_folder, server, own_cache, full_cache):
    processes = [start(bucket_folder, server) for _ in range(2)]
    for process in processes:
        process.go()
    errors = [process.end() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert sorted(server.requested) == sorted([bucket.ZIP, bucket.TABLES[0]])  # one of them did the work
    assert contents(own_cache) == contents(full_cache)
