"""The published example recording, downloaded from a server on this machine: a tiny one, in the published layout."""

import dataclasses
import shutil
import time

import bucket
import numpy as np
import pytest
from processes import READY, Process
from recordings import arrays, write_recording

from fnn_jax import cli, microns
from fnn_jax.data import EvaluationData, TrainingData
from fnn_jax.microns import downloads, example, release
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.microns.listing import NotListed, listed
from fnn_jax.weights.checkpoint import CheckpointError

UNITS = 5
EXAMPLE = dataclasses.replace(bucket.REAL.example, num_units=UNITS)
TRIAL = f"{EXAMPLE.training}/stimuli/trial 1+.npy"  # a name that addresses quote
FILES = 5 * 6 + 2 * 3 * 4


def write_published(folder):
    """Both folders, and what else lies in such places."""
    write_recording(folder / EXAMPLE.training, units=UNITS, frames=120)
    for kind in folder.glob(f"{EXAMPLE.training}/*"):
        (kind / "trial1.npy").rename(kind / "trial 1+.npy")
    for video in range(2):
        frames = arrays(seed=video)["stimuli"]
        for repeat in range(3):
            for kind, array in {**arrays(seed=repeat, units=UNITS), "stimuli": frames}.items():
                path = folder / EXAMPLE.evaluation / kind / f"video{video}" / f"repeat{repeat}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
    for name in (".DS_Store", "readme.md", "stimuli/.trial.npy"):
        (folder / EXAMPLE.training / name).write_text("no array")
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("example"))


@pytest.fixture
def published(written, tmp_path, monkeypatch):
    """The server of a copy that may be changed."""
    monkeypatch.setattr(downloads, "WAITS_S", (0.01,) * 5)
    with bucket.Server.serving(shutil.copytree(written, tmp_path / "served")) as server:
        monkeypatch.setattr(
            release, "MICRONS", dataclasses.replace(bucket.REAL, base_url=server.base_url, example=EXAMPLE)
        )
        yield server


IN_ANOTHER = f"""
import dataclasses
from fnn_jax import microns
from fnn_jax.microns import release
example = dataclasses.replace(release.MICRONS.example, num_units=int(sys.argv[3]))
release.MICRONS = dataclasses.replace(release.MICRONS, base_url=sys.argv[1], example=example)
{READY}
microns.example_recording(directory=sys.argv[2], progress=False)
"""


def came(server):
    return sorted(name for name in server.requested if name != bucket.LIST)


def test_it_comes_once_and_is_read_as_it_is(published, own_cache, capsys):
    published.page_size = 7
    recording = microns.example_recording()
    assert (recording.training, recording.evaluation) == (own_cache / EXAMPLE.training, own_cache / EXAMPLE.evaluation)
    shown = capsys.readouterr().err
    assert f"(animal 27203, scan 4-7) has {FILES} files, " in shown and f"to download: {FILES} files, " in shown
    data, repeats = TrainingData(recording.training), EvaluationData(recording.evaluation)
    assert len(data.trials) == 5 and data.num_units == repeats.num_units == UNITS and repeats.num_repeats == 6
    assert len(came(published)) == len(set(came(published))) == FILES
    tokens = [token for name, token, _ in published.log if name == bucket.LIST]
    assert tokens == [None, "7", "14", "21", "28", None, "7", "14", "21"]  # pages of either folder
    assert not (own_cache / downloads.INCOMING).exists()
    for path in own_cache.rglob("*.npy"):
        assert path.read_bytes() == (published.folder / path.relative_to(own_cache)).read_bytes()
        assert path.stat().st_mode & 0o777 == 0o666 & ~downloads.umask()
    published.log.clear()
    assert microns.example_recording() == microns.example_recording(offline=True) == recording
    assert published.log == [] and capsys.readouterr().err == ""


@pytest.mark.parametrize("pieces", [(), (TRIAL,)])
def test_a_damaged_file_is_fetched_anew(published, own_cache, pieces, capsys):
    """Also one whose MD5 the server does not tell: its SHA-256 is known from when it came."""
    published.pieces = pieces
    microns.example_recording(progress=False)
    path = own_cache / TRIAL
    whole = path.read_bytes()
    assert ("trial 1+" in (own_cache / downloads.CHECKSUMS).read_text()) if pieces else True
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DownloadError, match=r"1 of the 54 files .* \(the first: .*trial 1\+.npy\), and nothing may be"):
        microns.example_recording(offline=True)
    published.log.clear()
    microns.example_recording()
    assert path.read_bytes() == whole and came(published) == [TRIAL]
    assert "to download: 1 files, 0.1 MB, 1 of them in the place of damaged ones" in capsys.readouterr().err


@pytest.mark.parametrize("fault", [("cut", 5000), ("status", 503), ("instead", b"<html>log in</html>"), ("longer", 9)])
def test_what_fails_once_comes_the_second_time(published, own_cache, fault):
    published.faults[TRIAL] = [fault]
    microns.example_recording(progress=False)
    assert (own_cache / TRIAL).read_bytes() == (published.folder / TRIAL).read_bytes()
    assert came(published).count(TRIAL) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>log in</html>", r"19 bytes came, which begin with b'<html>log in</html>'; expected \d+ of an array"),
        (None, "Its MD5 is not [0-9a-f]{32}, which the server lists: it was damaged on the way"),
    ],
)
def test_what_is_no_array_is_refused(published, own_cache, data, message):
    if data is None:
        data = (published.folder / TRIAL).read_bytes()[:-1] + b"!"
    published.faults[TRIAL] = [("instead", data)] * 2
    with pytest.raises(DownloadError, match=f"trial%201%2B.npy is not what it should be, and was not kept. {message}"):
        microns.example_recording(progress=False)
    assert not (own_cache / TRIAL).exists()
    published.log.clear()
    microns.example_recording(progress=False)
    assert TRIAL in came(published)


def test_a_file_that_is_gone_ends_it_and_the_rest_is_kept(published, own_cache):
    published.faults[TRIAL] = [("status", 404)]
    with pytest.raises(DownloadError, match=r"cannot be had: the server answers 404 .* put it at .*trial 1\+.npy"):
        microns.example_recording(progress=False)
    here = len(list(own_cache.rglob("*.npy")))
    published.log.clear()
    microns.example_recording(progress=False)
    assert len(came(published)) == FILES - here


def test_killed_it_goes_on(published, own_cache, tmp_path):
    published.faults[TRIAL] = [("stall", 30)]
    with Process(IN_ANOTHER, published.base_url, own_cache, UNITS) as process:
        process.go()
        end = time.monotonic() + 60
        while len(list(own_cache.rglob("*.npy"))) < FILES - 1 and time.monotonic() < end:
            time.sleep(0.05)
        process.kill()
    assert not (own_cache / TRIAL).exists() and list(own_cache.rglob(".trial 1+.npy.partial"))
    published.log.clear()
    microns.example_recording(progress=False)
    (request,) = published.log
    assert request[0] == TRIAL and request[1].startswith("bytes=") and request[2] == 206
    assert (own_cache / TRIAL).read_bytes() == (published.folder / TRIAL).read_bytes()


def test_a_full_disk_is_told_before_anything_comes(published, own_cache, monkeypatch):
    free = shutil.disk_usage(own_cache.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(DownloadError, match="The disk is full: the example recording takes 0 MB in .*, 0 MB are free"):
        microns.example_recording(progress=False)
    assert came(published) == []


@pytest.mark.parametrize("fault", [("status", 403), ("instead", b"<html>log in</html>"), ("instead", b"no xml")])
def test_a_server_that_lists_nothing(published, own_cache, fault, written, capsys):
    published.faults[bucket.LIST] = [fault, fault]
    with pytest.raises(
        NotListed, match=r"(403|begins with b').*\nBy hand: copy the folders training_data_27203_4_7 and"
    ):
        microns.example_recording()
    shutil.copytree(written / "foundation_model", own_cache / "foundation_model")
    assert len(TrainingData(microns.example_recording().training).trials) == 5
    assert "holds the recording, taken as it is" in capsys.readouterr().err
    assert came(published) == []


def test_files_put_there_by_hand_are_recorded(published, own_cache, written):
    published.pieces = (TRIAL,)
    shutil.copytree(written / "foundation_model", own_cache / "foundation_model")
    microns.example_recording(progress=False)
    assert came(published) == []
    (own_cache / TRIAL).write_bytes((own_cache / TRIAL).read_bytes()[::-1])
    microns.example_recording(progress=False)
    assert came(published) == [TRIAL]


def test_a_busy_server_is_asked_again_and_nobody_there(published, monkeypatch):
    published.faults[bucket.LIST] = [("status", 503), ("status", 429)]
    assert len(listed(published.base_url, EXAMPLE.evaluation)) == 24
    with pytest.raises(DownloadError, match="could not be read, 6 tries in a row: ConnectionError.*Check the connec"):
        listed("http://127.0.0.1:9/data/", EXAMPLE.evaluation)


def test_another_layout_and_a_damaged_list(published, own_cache):
    microns.example_recording(progress=False)
    path = example.listing_path(microns._cache(None), EXAMPLE)
    path.write_text(path.read_text().replace("trial0", "trial9"))
    with pytest.raises(CheckpointError, match=r"files_27203.json is damaged.*Delete it, and it is asked for again"):
        microns.example_recording(progress=False)
    path.unlink()
    shutil.rmtree(own_cache / EXAMPLE.training)
    (published.folder / EXAMPLE.training).rename(published.folder / EXAMPLE.training.replace("_data", ""))
    with pytest.raises(NotListed, match="has no files of the layout .*: there is nothing"):
        microns.example_recording(progress=False)


def test_the_verb(published, own_cache, capsys):
    assert cli.main(["download", "--example-recording", "--offline"]) == 1
    assert "the list of its files is not here" in capsys.readouterr().err and published.log == []
    assert cli.main(["download", "--example-recording"]) == 0
    assert f"training data in {own_cache / EXAMPLE.training}\n" in capsys.readouterr().out
    assert cli.main(["download", "--example-recording", "--weights", "none", "--scan", "8-5"]) == 1
    assert "--example-recording comes alone; --weights, --scan is for another call" in capsys.readouterr().err
