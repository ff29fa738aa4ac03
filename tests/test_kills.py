"""Processes killed at every call: the old or the new is there, and whoever comes next goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import writers

from fnn_jax.common.files import recover

HERE = Path(__file__).parent


def killed(writer, folder):
    """Folders in which a writer was killed at each of its calls; in the last it came to its end."""
    command = [sys.executable, str(HERE / "killed.py"), f"writers:{writer.__name__}", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    copies = list(map(Path, done.stdout.split()))
    assert len(copies) > 5
    return copies


def texts(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("writer", [writers.replace_folder, writers.replace_folder_by_renames])
def test_a_folder_is_the_old_or_the_new(writer, tmp_path):
    begin = tmp_path / "begin"
    begin.mkdir()
    writers.write(begin / "store", "old")
    seen, missing = [], 0
    for copy in killed(writer, begin):
        missing += not (copy / "store").exists()
        recover(copy / "store")
        (text,) = set(texts(copy / "store").values())
        assert texts(copy / "store").keys() == {"a", "b"}
        seen.append(text)
        writer(copy)  # whoever comes next clears up
        assert set(texts(copy / "store").values()) == {"new"} and os.listdir(copy) == ["store"]
    assert seen == sorted(seen, reverse=True) and set(seen) == {"old", "new"}
    assert missing == (1 if writer is writers.replace_folder_by_renames else 0)


def test_a_file_is_the_old_or_the_new(tmp_path):
    begin = tmp_path / "begin"
    begin.mkdir()
    (begin / "result.txt").write_text("old")
    seen = []
    for copy in killed(writers.replace_file, begin):
        seen.append((copy / "result.txt").read_text())
        writers.replace_file(copy)
        assert texts(copy) == {"result.txt": "new"}
    assert seen == sorted(seen, reverse=True) and set(seen) == {"old", "new"}


def test_a_claimed_folder_is_gone_on_with(tmp_path):
    """A temporary that a kill leaves as the first file of a folder made the folder somebody else's before."""
    begin = tmp_path / "begin"
    begin.mkdir()
    for copy in killed(writers.claim, begin):
        writers.claim(copy)
        assert texts(copy / "work").keys() == {"work.json", "result.json"}


def test_a_folder_is_claimed_by_one_at_a_time(tmp_path):
    from fnn_jax.common.records import claimed

    with claimed(tmp_path / "work", "work.json", {"seed": 1}, "work", ValueError):
        with pytest.raises(ValueError, match="is in use: another process is at work on it"):
            writers.claim(tmp_path)
    writers.claim(tmp_path)
    with pytest.raises(ValueError, match="holds another work, which is kept .seed: there 1, here 2"):
        with claimed(tmp_path / "work", "work.json", {"seed": 2}, "work", ValueError):
            pass
    record = tmp_path / "work" / "work.json"
    record.write_text(record.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(ValueError, match="work.json is damaged, .*it differs from its SHA-256"):
        writers.claim(tmp_path)
