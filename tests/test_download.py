"""Downloads over connections that fail in every way, from a server on this machine."""

import hashlib
import json
import shutil
import time
import types

import bucket
import numpy as np
import pytest
import unwritable
from processes import READY, Process

from fnn_jax.microns import downloads
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.microns.release import RemoteFile
from fnn_jax.weights.checkpoint import CheckpointError

DATA = np.random.default_rng(0).bytes(3_000_000)
MD5 = "md5:" + hashlib.md5(DATA).hexdigest()
NAME = "some/data.bin"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(downloads, "WAITS_S", (0.01,) * 5)
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served" / "some").mkdir(parents=True)
    (tmp_path / "served" / NAME).write_bytes(DATA)
    with bucket.Server.serving(tmp_path / "served") as server:
        yield server


@pytest.fixture
def local(tmp_path):
    return tmp_path / "local"


def fetch(server, local, checksum=MD5, check=lambda path: None, **options):
    return downloads.fetch(RemoteFile(NAME, checksum), local, server.base_url, check=check, **options)


def assert_only(local, *names):
    """The file is there, and nothing that was left by the way to it."""
    found = sorted(p.relative_to(local).as_posix() for p in local.rglob("*") if p.is_file())
    assert found == sorted([".lock", *names])


def partial_of(local):
    return (local / downloads.INCOMING / NAME).with_name(".data.bin.partial")


def codes(server):
    return [code for _, _, code in server.log]


def test_a_file_comes_once(server, local, capsys):
    path = fetch(server, local)
    assert path == local / NAME and path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o666 & ~downloads.umask()
    assert "downloading" in capsys.readouterr().err
    assert fetch(server, local) == path and fetch(server, local, offline=True) == path
    assert codes(server) == [200] and capsys.readouterr().err == ""
    assert_only(local, NAME)


def test_it_can_be_quiet(server, local, capsys):
    fetch(server, local, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("at", [0, 1, 1_500_000, len(DATA) - 1])
def test_a_cut_connection_is_resumed(server, local, at):
    server.faults[NAME] = [("cut", at)]
    assert fetch(server, local).read_bytes() == DATA
    kept = at - at % downloads.PIECE_BYTES
    assert codes(server) == [200, 206 if kept else 200]
    assert server.log[1][1] == (f"bytes={kept}-" if kept else None)
    assert_only(local, NAME)


def test_many_cuts_are_no_failure_while_something_comes(server, local):
    server.faults[NAME] = [("cut", 250_000)] * 11
    assert fetch(server, local).read_bytes() == DATA
    assert codes(server) == [200, *[206] * 11]


def test_another_process_goes_on_where_one_gave_up(server, local, monkeypatch):
    monkeypatch.setattr(downloads, "WAITS_S", ())
    server.faults[NAME] = [("cut", 1_000_000)]
    with pytest.raises(DownloadError, match=r"1 tries in a row: .*it goes on after the 1\.0 MB that have come"):
        fetch(server, local)
    assert fetch(server, local).read_bytes() == DATA
    assert server.log[1] == (NAME, f"bytes={1_000_000 - 1_000_000 % downloads.PIECE_BYTES}-", 206)


def test_a_part_of_an_older_version_is_thrown_away(server, local, monkeypatch):
    monkeypatch.setattr(downloads, "WAITS_S", ())
    server.faults[NAME] = [("cut", 1_000_000)]
    with pytest.raises(DownloadError):
        fetch(server, local)
    newer = DATA[::-1]
    (server.folder / NAME).write_bytes(newer)
    path = fetch(server, local, checksum="md5:" + hashlib.md5(newer).hexdigest())
    assert path.read_bytes() == newer and codes(server) == [200, 200]  # If-Range made the server start over


@pytest.mark.parametrize("fault", [("stale",), ("no range",)])
def test_servers_that_do_not_keep_to_ranges(server, local, fault):
    server.faults[NAME] = [("cut", 1_000_000), fault]
    assert fetch(server, local).read_bytes() == DATA
    assert_only(local, NAME)


def test_a_server_that_is_busy(server, local):
    server.faults[NAME] = [("status", 503), ("status", 429), ("status", 500)]
    assert fetch(server, local).read_bytes() == DATA
    server.faults[NAME] = [("status", 503)] * 6
    with pytest.raises(DownloadError, match="6 tries in a row: the server answers 503"):
        fetch(server, local / "again")
    assert not (local / "again" / NAME).exists()


@pytest.mark.parametrize("code", [404, 403, 301 + 109])
def test_what_is_not_there_is_not_tried_again(server, local, code):
    server.faults[NAME] = [("status", code)]
    with pytest.raises(DownloadError, match=f"the server answers {code} .* put it at .*data.bin"):
        fetch(server, local)
    assert codes(server) == [code]
    assert_only(local)


def test_nobody_there(local):
    with pytest.raises(DownloadError, match="6 tries in a row: ConnectionError.*Check the connection"):
        downloads.fetch(RemoteFile(NAME, MD5), local, "http://127.0.0.1:9/", check=lambda path: None)


def test_wrong_lengths(server, local):
    server.faults[NAME] = [("longer", 1000)]
    assert fetch(server, local).read_bytes() == DATA
    server.faults[NAME] = [("longer", 1000)] * 50
    with pytest.raises(DownloadError, match="6 tries in a row"):  # and not for ever
        fetch(server, local / "again")
    server.faults[NAME] = [("no length",)]
    assert fetch(server, local / "unknown").read_bytes() == DATA


def test_slow_and_stalling_bodies(server, local, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT_S", (1, 0.3))
    server.faults[NAME] = [("slow", 0.05)]
    assert fetch(server, local).read_bytes() == DATA
    server.faults[NAME] = [("stall", 1.0)]
    assert fetch(server, local / "again").read_bytes() == DATA
    assert codes(server) == [200, 200, 206]


def test_a_wrong_checksum_is_tried_once_more_and_never_kept(server, local):
    server.faults[NAME] = [("instead", b"x" * 5000)]
    assert fetch(server, local).read_bytes() == DATA
    server.faults[NAME] = [("instead", b"x" * 5000)] * 2
    with pytest.raises(DownloadError, match="another checksum than the one published .*It was not kept"):
        fetch(server, local / "again")
    assert_only(local / "again")


def test_a_damaged_copy_is_replaced(server, local):
    fetch(server, local).write_bytes(DATA[:-1] + b"?")
    with pytest.raises(DownloadError, match=r"data.bin is damaged, and nothing may be downloaded. It comes from http"):
        fetch(server, local, offline=True)
    assert fetch(server, local).read_bytes() == DATA


def test_offline_says_what_is_missing_and_where_it_was_looked_for(server, local):
    with pytest.raises(DownloadError) as error:
        fetch(server, local, offline=True)
    assert f"{local / NAME} is not there" in str(error.value) and server.base_url + NAME in str(error.value)
    assert not server.log and not local.exists()


def test_a_checksum_that_nobody_published_is_recorded(server, local):
    fetch(server, local, checksum=None)
    record = json.loads((local / downloads.CHECKSUMS).read_text())
    assert record == {NAME: hashlib.sha256(DATA).hexdigest()}
    (local / NAME).write_bytes(b"damaged")
    assert fetch(server, local, checksum=None).read_bytes() == DATA
    (local / NAME).unlink()
    (server.folder / NAME).write_bytes(b"another release")
    with pytest.raises(
        DownloadError, match="than the one recorded when it first came .*delete its line in .*checksums.json"
    ):
        fetch(server, local, checksum=None)
    (local / downloads.CHECKSUMS).write_text("{")  # unreadable: as if nothing were recorded
    assert fetch(server, local, checksum=None).read_bytes() == b"another release"
    assert_only(local, NAME, downloads.CHECKSUMS)


def test_a_file_that_somebody_carried_here(server, local):
    """Offline, by hand: it is looked at once, and its checksum is recorded then."""

    def check(path):
        if path.read_bytes()[:1] == b"<":
            raise CheckpointError("It is a web page.")

    (local / "some").mkdir(parents=True)
    (local / "some" / "tmp_notes.txt").write_text("mine")
    (local / NAME).write_bytes(b"<html>")
    with pytest.raises(DownloadError, match="data.bin is not what it should be. It is a web page. Delete it"):
        fetch(server, local, checksum=None, check=check, offline=True)
    assert not (local / downloads.CHECKSUMS).exists()
    (local / NAME).write_bytes(b"by hand")
    fetch(server, local, checksum=None, check=check, offline=True)
    assert json.loads((local / downloads.CHECKSUMS).read_text()) == {NAME: hashlib.sha256(b"by hand").hexdigest()}
    assert not server.log
    (local / NAME).unlink()
    fetch(server, local)
    assert_only(local, NAME, downloads.CHECKSUMS, "some/tmp_notes.txt")  # nobody else's file is touched


def test_what_is_not_what_it_should_be(server, local):
    def check(path):
        raise CheckpointError(f"It is no zip, it begins with {path.read_bytes()[:4]!r}.")

    server.faults[NAME] = [("instead", b"<html>Please log in</html>")]
    with pytest.raises(DownloadError, match="is not what it should be, and was not kept. .*b'<htm'"):
        fetch(server, local, check=check)
    assert codes(server) == [200]
    assert_only(local)


def test_a_process_killed_before_the_last_step(server, local):
    """The whole file had come under its hidden name: it only takes its place."""
    folder = partial_of(local).parent
    folder.mkdir(parents=True)
    (folder / ".data.bin.partial").write_bytes(DATA)
    record = {"url": server.base_url + NAME, "etag": '"x"', "total": len(DATA)}
    (folder / ".data.bin.partial.json").write_text(json.dumps(record))
    (folder / "tmpabcdefgh").write_bytes(b"")  # what pooch leaves
    assert fetch(server, local).read_bytes() == DATA
    assert not server.log
    assert_only(local, NAME)


def test_a_disk_without_room_is_noticed_first(server, local, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(DownloadError, match=r"disk is full: data.bin takes 3 MB in .* 1 MB are free.*FNN_JAX_CACHE"):
        fetch(server, local)
    assert_only(local)


FETCH = (
    """
import resource
from pathlib import Path
import filelock, pooch, requests
from fnn_jax.microns import downloads
from fnn_jax.microns.release import RemoteFile
url, local, name, checksum, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
"""
    + READY
    + """
try:
    downloads.fetch(RemoteFile(name, checksum), Path(local), url, check=lambda path: None)
except OSError as error:
    sys.exit(str(error))
"""
)


def start(server, local, limit=0, before=""):
    return Process(before + FETCH, server.base_url, local, NAME, MD5, limit)


def test_a_disk_that_fills_up_on_the_way(server, local):
    """A limit on the size of files stands for it: the write fails in the same place. What has come is kept."""
    process = start(server, local, limit=1_000_000)
    process.go()
    error = process.end()
    assert process.returncode == 1 and "The disk is full" in error and "Traceback" not in error
    assert partial_of(local).stat().st_size == 1_000_000
    assert fetch(server, local).read_bytes() == DATA
    assert server.log[-1] == (NAME, "bytes=1000000-", 206)


@pytest.mark.slow
def test_killed_at_many_moments(server, local):
    server.faults[NAME] = [("slow", 0.03)] * 20
    partial = partial_of(local)
    resumed = []
    for more in (1, 300_000, 900_000, 1_000_000):
        process = start(server, local)
        had = partial.stat().st_size if partial.exists() else 0
        process.go()
        while process.poll() is None and (not partial.exists() or partial.stat().st_size < had + more):
            time.sleep(0.001)
        process.kill()
        assert not (local / NAME).exists() and partial.stat().st_size > had
        resumed.append(partial.stat().st_size)
    assert fetch(server, local).read_bytes() == DATA
    assert [wanted for _, wanted, _ in server.log] == [None, *(f"bytes={size}-" for size in resumed)]
    assert_only(local, NAME)


@pytest.mark.slow
def test_processes_that_want_the_same_file(server, local):
    server.faults[NAME] = [("slow", 0.1)]
    processes = [start(server, local) for _ in range(3)]
    for process in processes:
        process.go()
    errors = [process.end() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum("waiting for another process that writes to" in error for error in errors) == 2
    assert codes(server) == [200] and (local / NAME).read_bytes() == DATA
    assert_only(local, NAME)


def test_a_folder_that_cannot_be_written(server):
    with unwritable.folder() as local:
        process = start(server, local, before=unwritable.AS_NOBODY)
        process.go()
        error = process.end()
    assert process.returncode == 1 and "cannot be written (Permission denied). Name another folder" in error
    assert "Traceback" not in error and not server.log
