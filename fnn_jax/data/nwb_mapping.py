"""Which objects of NWB files are what: a table in TOML, proposed from what is there."""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from fnn_jax.common import checks
from fnn_jax.data.nwb_objects import EXPECTED, ROLES, Item, candidates, listing
from fnn_jax.data.recordings import DataError

CLIP_COLUMNS = ("clip", "stimulus_name", "stimulus", "movie", "video", "condition", "image")
ENTRIES = {
    "responses": {"object"},
    "stimulus": {"object", "axes"},
    "trials": {"object", "clip", "split", "where"},
    "pupil_position": {"object", "columns"},
    "pupil_radius": {"object", "columns"},
    "treadmill_velocity": {"object", "columns"},
}
AXES = ("yx", "xy")  # of a frame: rows first, or columns
TRACES = ROLES[3:]


def read_mapping(mapping: str | os.PathLike | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A mapping from a TOML file, or as a dictionary, whose names are all known.

    Raises:
        DataError: a name is not, or a section names no object.
    """
    where = "mapping"
    if not isinstance(mapping, Mapping):
        path = checks.path("mapping", mapping)
        where = str(path)
        try:
            mapping = tomllib.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:  # of TOML and of UTF-8
            raise DataError(f"{path} is no TOML: {error}. fnn-jax data from-nwb --show proposes a mapping.") from error
    found = {}
    for role, section in mapping.items():
        _known(f"{where} has a section", role, ROLES)
        if not isinstance(section, Mapping):
            raise DataError(f"{where}: {role} is {checks.shown(section)}; expected a section [{role}] with an object.")
        for entry in section:
            _known(f"{where}: [{role}] has an entry", entry, sorted(ENTRIES[role]))
        if "object" not in section:
            raise DataError(f"{where}: [{role}] names no object; expected the path of {EXPECTED[role]}.")
        found[role] = dict(section)
    return found


def _known(what: str, name: Any, names: Sequence[str]) -> None:
    if name not in names:
        near = difflib.get_close_matches(str(name), names, 1, 0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise DataError(f"{what} {name}; expected {', '.join(names)}.{hint}")


def find(items: Sequence[Item], name: Any, role: str) -> Item:
    """The object of a path, ``FILE.nwb:path`` where several files have it.

    Raises:
        DataError: there is none, or several; what is alike is named.
    """
    if not isinstance(name, str):
        raise DataError(f"object of [{role}] is {checks.shown(name)}; expected the path of an object.")
    path = name.strip("/")
    found = [item for item in items if path in (item.path, f"{item.file.name}:{item.path}")]
    if len(found) > 1:
        files = ", ".join(f"{item.file.name}:{item.path}" for item in found)
        raise DataError(f"[{role}] names {name}, which is in several files. Name one: {files}.")
    if not found:
        near = difflib.get_close_matches(path, [item.path for item in items], 1, 0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise DataError(f"[{role}] names {name}, which is not there.{hint} There is:\n{listing(items)}")
    return found[0]


def unambiguous(items: Sequence[Item], absent: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The mapping of files in which each role has one candidate.

    Raises:
        DataError: a role has none, or several; they are named.
    """
    found: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for role, choices in candidates(items).items():
        if role in absent:
            continue
        if len(choices) == 1:
            found[role] = {"object": _name(choices[0], items), **_defaults(role, choices[0], problems)}
        elif choices:
            names = ", ".join(_name(item, items) for item in choices)
            problems.append(f"{role} is ambiguous: {names}. Name one in a mapping")
        else:
            instead = f", or say that it was not recorded: absent = ['{role}']" if role in TRACES else ""
            problems.append(f"{role} is missing: expected {EXPECTED[role]}; name another in a mapping{instead}")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise DataError(
            f"It is not clear what is what:\n{lines}\nThere is:\n{listing(items)}\nfnn-jax data from-nwb "
            "--show proposes a mapping."
        )
    return found


def _name(item: Item, items: Sequence[Item]) -> str:
    is_alone = sum(other.path == item.path for other in items) == 1
    return item.path if is_alone else f"{item.file.name}:{item.path}"


def _defaults(role: str, item: Item, problems: list[str]) -> dict[str, Any]:
    if role == "stimulus" and len(item.shape) > 2:
        return {"axes": "xy" if item.shape[1] > item.shape[2] else "yx"}  # no monitor is higher than wide
    if role == "trials":
        named = [column for column in CLIP_COLUMNS if column in item.thing.colnames]
        if len(named) > 1:
            problems.append(f"trials is ambiguous: clip may be the column {' or '.join(named)}. Name one in a mapping")
        return {"clip": named[0]} if len(named) == 1 else {}
    return {}


def propose(items: Sequence[Item]) -> str:
    """A mapping in TOML: what is ambiguous stands there to be chosen from, what is missing to be filled in."""
    lines = ["# Which objects are what, for fnn-jax data from-nwb --mapping: docs/nwb.md"]
    for role, choices in candidates(items).items():
        lines += ["", f"[{role}]" if choices else f"# [{role}]"]
        if not choices:
            lines += [f"# nothing is like {EXPECTED[role]}", '# object = ""']
            continue
        if len(choices) > 1:
            joined = "; or a list of them, whose units are joined" if role == "responses" else ""
            lines.append(f"# choose one of these{joined}")
        problems: list[str] = []
        for item in choices:
            mark = "# " if len(choices) > 1 else ""
            lines.append(f"{mark}object = {json.dumps(_name(item, items))}  # {item.words()}")
        for name, value in _defaults(role, choices[0], problems).items():
            lines.append(f"{name} = {json.dumps(value)}")
        lines += [f"# {problem}" for problem in problems]
    return "\n".join(lines)
