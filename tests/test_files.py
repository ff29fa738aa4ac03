import errno
import os
import platform

import pytest

from fnn_jax.common.files import DiskFullError, explained_full_disk, whole_directory, whole_file


def test_directory_appears_at_the_end(tmp_path):
    with whole_directory(tmp_path / "a" / "b") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "x").read_text() == "1" and os.listdir(tmp_path / "a") == ["b"]


def test_an_error_leaves_nothing_and_keeps_what_was_there(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "x").write_text("old")
    (tmp_path / "file.txt").write_text("old")
    with pytest.raises(RuntimeError), whole_directory(tmp_path / "kept", overwrite=True) as folder:
        (folder / "x").write_text("new")
        raise RuntimeError
    with pytest.raises(RuntimeError), whole_file(tmp_path / "file.txt") as path:
        path.write_text("new")
        raise RuntimeError
    assert (tmp_path / "kept" / "x").read_text() == (tmp_path / "file.txt").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["file.txt", "kept"]


def test_a_file_is_replaced_whole(tmp_path):
    (tmp_path / "file.txt").write_text("old")
    with whole_file(tmp_path / "file.txt") as path:
        path.write_text("new")
        assert (tmp_path / "file.txt").read_text() == "old" and path.suffix == ".txt"
    assert (tmp_path / "file.txt").read_text() == "new" and os.listdir(tmp_path) == ["file.txt"]


def test_only_what_dead_processes_of_this_machine_left_is_cleared(tmp_path):
    dead = 2**22 + 1  # above the largest process number of Linux
    names = {
        "dead": f".store.incomplete-{platform.node()}-{dead}-abc",
        "alive": f".store.incomplete-{platform.node()}-{os.getpid()}-abc",
        "elsewhere": f".store.incomplete-other-{dead}-abc",
        "another": f".storehouse.incomplete-{platform.node()}-{dead}-abc",
    }
    for name in names.values():
        (tmp_path / name).mkdir()
    with whole_directory(tmp_path / "store"):
        pass
    assert {key for key, name in names.items() if (tmp_path / name).exists()} == {"alive", "elsewhere", "another"}


def test_a_link_is_followed_and_the_current_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with whole_directory(tmp_path / "link") as folder:
        (folder / "x").write_text("1")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target" / "x").exists()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileExistsError, match="is the current folder"), whole_directory("."):
        pass


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    with whole_directory(tmp_path / "empty") as folder:
        (folder / "x").write_text("1")
    assert (tmp_path / "empty" / "x").exists()


def test_somebody_else_was_quicker(tmp_path):
    with pytest.raises(FileExistsError), whole_directory(tmp_path / "store") as folder:
        (folder / "x").write_text("mine")
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "x").write_text("theirs")
    assert (tmp_path / "store" / "x").read_text() == "theirs" and os.listdir(tmp_path) == ["store"]


def test_killed_between_old_and_new_the_old_one_returns(tmp_path):
    old = tmp_path / f".store.old-{platform.node()}-{2**22 + 1}-0"
    old.mkdir()
    (old / "x").write_text("old")
    with pytest.raises(FileExistsError), whole_directory(tmp_path / "store"):
        pass
    assert (tmp_path / "store" / "x").read_text() == "old" and os.listdir(tmp_path) == ["store"]


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (ValueError("RESOURCE_EXHAUSTED: Error writing a file: No space left on device"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes"), False),  # of a GPU
        (ValueError("another"), False),
    ],
)
def test_what_a_full_disk_is_called(tmp_path, error, is_full):
    with pytest.raises(DiskFullError if is_full else type(error)), explained_full_disk(tmp_path / "a"):
        raise error
