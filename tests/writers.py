"""What processes that are killed are writing; see ``killed``."""

import json

from fnn_jax.common import files, records


def write(folder, text):
    folder.mkdir(exist_ok=True)
    for name in ("a", "b"):
        (folder / name).write_text(text)


def replace_folder(folder):
    with files.whole_directory(folder / "store", overwrite=True) as temporary:
        write(temporary, "new")


def replace_folder_by_renames(folder):
    """Where the system cannot exchange two folders."""
    files._exchange = lambda first, second: False
    replace_folder(folder)


def replace_file(folder):
    with files.whole_file(folder / "result.txt") as temporary:
        temporary.write_text("new")


def claim(folder):
    with records.claimed(folder / "work", "work.json", {"seed": 1}, "work", ValueError):
        with files.whole_file(folder / "work" / "result.json") as temporary:
            temporary.write_text(json.dumps({"result": 1}))
