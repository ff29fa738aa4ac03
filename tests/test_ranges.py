"""Rows of a large file by HTTP range, over connections and from servers that fail in every way."""

import bucket
import numpy as np
import pytest

from fnn_jax.microns import downloads, ranges
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.microns.ranges import RemoteArray
from fnn_jax.microns.release import RemoteFile


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "WAITS_S", (0.01,) * 5)
    (tmp_path / "served").mkdir()
    with bucket.Server.serving(tmp_path / "served") as server:
        yield server


def array(server, tmp_path, values, **options):
    """A published array of any values, and the local end of it."""
    np.save(server.folder / "array.npy", values)
    return RemoteArray(RemoteFile("array.npy"), tmp_path / "local", server.base_url, **options)


def test_rows_come_by_range_once(server, tmp_path):
    values = np.arange(60 * 50, dtype=np.float32).reshape(60, 50)
    remote = array(server, tmp_path, values)
    assert remote.shape == (60, 50) and remote.dtype == np.float32
    np.testing.assert_array_equal(remote.rows(57, 3, 20), values[57:, :20])
    np.testing.assert_array_equal(remote.rows(1, 2), values[1:3])
    asked = [wanted for _, wanted, _ in server.log]
    assert asked == ["bytes=0-4095", f"bytes={128 + 57 * 200}-{128 + 59 * 200 + 79}", "bytes=328-727"]
    assert remote.requests == 3 and remote.has(57, 3, 20) and not remote.has(57, 3, 21)
    again = RemoteArray(RemoteFile("array.npy"), tmp_path / "local", "http://127.0.0.1:9/", offline=True)
    np.testing.assert_array_equal(again.rows(57, 3, 20), values[57:, :20])
    with pytest.raises(DownloadError, match=r"Bytes 128 to 328 of .* are not here .*put the complete file at"):
        again.rows(0, 1)
    np.save(tmp_path / "local" / "array.npy", values)  # carried here by hand
    np.testing.assert_array_equal(again.rows(0, 1), values[:1])


def test_cut_connections_go_on_where_they_were_cut(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PIECE_BYTES", 1000)
    values = np.random.default_rng(0).random((30, 1000), np.float32)
    remote = array(server, tmp_path, values)
    assert remote.shape == values.shape
    server.faults["array.npy"] = [("cut", 50_000), ("cut", 20_000), ("status", 503), ("slow", 0.001)]
    np.testing.assert_array_equal(remote.rows(0, 30), values)
    begins = [int(wanted.removeprefix("bytes=").partition("-")[0]) for _, wanted, _ in server.log[1:]]
    assert begins[0] == 128 and begins == sorted(begins) and begins[1] > 40_000 and begins[3] > 60_000
    server.faults["array.npy"] = [("status", 503)] * 6
    with pytest.raises(DownloadError, match="6 tries in a row: the server answers 503.*what has come is kept"):
        remote.rows(0, 2)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (("no range",), "does not give parts of files .*the whole file, 0 MB, was not downloaded"),
        (("instead", b"<!DOCTYPE html><html>Please log in</html>"), "A web page came instead: log in"),
        (("instead", b"something else" * 9), "is no .npy; it begins with b'something"),
        (("status", 404), "answers 404 .*put it at .*array.npy"),
        (("status", 302 + 99), "asked for bytes from 0 on, the server answers 401"),
    ],
)
def test_servers_that_cannot_be_used(server, tmp_path, fault, message):
    remote = array(server, tmp_path, np.zeros((30, 100), np.float32))
    server.faults["array.npy"] = [fault]
    with pytest.raises(DownloadError, match=message):
        remote.rows(0, 1)
    assert not (tmp_path / "local").exists() and len(server.log) == 1


def test_a_web_page_in_the_place_of_parts(server, tmp_path):
    remote = array(server, tmp_path, np.zeros((30, 100), np.float32))
    page = b"<html>" + b"x" * 9000
    server.faults["array.npy"] = [("no range",)]
    (server.folder / "array.npy").write_bytes(page)
    with pytest.raises(DownloadError, match=r"a web page came instead of the array, b'<html>x"):
        remote.rows(0, 1)


def test_wrong_lengths_and_other_versions(server, tmp_path):
    values = np.zeros((30, 100), np.float32)
    remote = array(server, tmp_path, values)
    path = server.folder / "array.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(DownloadError, match="has 12088 bytes, and its header promises 12128 .*it is cut"):
        remote.rows(0, 1)
    path.write_bytes(whole)
    assert remote.shape == (30, 100)
    server.faults["array.npy"] = [("longer", 1000)]
    assert remote.rows(0, 1).shape == (1, 100)
    np.save(path, values + 1)
    with pytest.raises(DownloadError, match="is not the file of which the first parts came .*Delete the folder"):
        remote.rows(5, 1)
    part = next(remote.parts.glob("rows-0-1.npz"))
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(ValueError, match="rows-0-1.npz is damaged .*Delete it, and run it again"):
        remote.rows(0, 1)
    np.save(path, np.asfortranarray(np.zeros((4, 3))))
    with pytest.raises(DownloadError, match="expected numbers in C order"):
        array_again = RemoteArray(RemoteFile("array.npy"), tmp_path / "other", server.base_url)
        array_again.rows(0, 1)


def test_the_server_says_how_long_to_wait(monkeypatch):
    waited = []
    monkeypatch.setattr(ranges.time, "sleep", waited.append)
    remote = RemoteArray(RemoteFile("a.npy"), None or downloads.Path("/nowhere"), "http://nobody/")
    replies = iter([ranges._TryAgain("busy", 7.0), ranges._TryAgain("busy", 999.0), None])

    def reply(start, stop, data, found):
        problem = next(replies)
        if problem:
            raise problem
        data += b"x" * (stop - start)

    monkeypatch.setattr(remote, "_try", reply)
    assert remote._get(0, 5) == b"xxxxx" and waited == [7.0, ranges.LONGEST_WAIT_S]
