"""Folders that say what they hold, so that work goes on only where it was begun."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fnn_jax.files import whole_file


def claim(directory: Path, file_name: str, record: Mapping[str, Any], what: str, error: type[ValueError]) -> None:
    """Take a new or empty folder for some work, or find the same work begun there.

    Args:
        record: all that decides the result, JSON-serialisable; it is written to ``file_name`` in the folder.
        what: the kind of work, for messages, such as ``"synthesis"``.

    Raises:
        ``error``: there is other work of this kind, or something else; it is kept.
    """
    if directory.exists() and not directory.is_dir():
        raise error(f"{directory} is a file; expected a folder.")
    described = directory / file_name
    if described.exists():
        found = json.loads(described.read_text())
        wanted = json.loads(json.dumps(record))
        different = [name for name in wanted if found.get(name) != wanted[name]]
        if different:
            shown = "; ".join(
                f"{name}: there {_brief(found.get(name))}, here {_brief(wanted[name])}" for name in different
            )
            raise error(f"{directory} holds another {what}, which is kept ({shown}). Give another folder.")
    elif directory.exists() and any(directory.iterdir()):
        raise error(f"{directory} holds something else, which is kept. Give another folder.")
    else:
        with whole_file(described) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n")


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."
