"""What ``fnn-jax train`` reads: a TOML file, or the ``config.yaml`` of the released package as it is."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fnn_jax.common import checks
from fnn_jax.common.checks import shown
from fnn_jax.model.config import NetworkConfig
from fnn_jax.training.recipe import Recipe, require_known

# Released entries, by section, and what they are called in a recipe.
RELEASED_RECIPE = {
    "scheduler": {"cycle_size": "epochs", "warmup_epochs": "warmup_epochs"},
    "optimizer": {
        "lr": "learning_rate",
        "decay": "weight_decay",
        "momentum": "momentum",
        "nesterov": "nesterov",
        "clip": "clip",
        "eps": "clip_floor",
        "seed": "seed",
    },
    "loader": {
        "sample_size": "window_frames",
        "batch_size": "batch_size",
        "training_size": "training_batches",
        "validation_size": "validation_batches",
    },
    "objective": {"sample_stream": "sample_stream", "burnin_frames": "burn_in"},
}
# What the released optimiser takes where the file is silent; elsewhere its defaults are those of a recipe.
RELEASED_DEFAULTS = {
    "warmup_epochs": 0,
    "weight_decay": 0.0,
    "momentum": 0.0,
    "nesterov": False,
    "clip": float("inf"),
    "burn_in": 0,
    "seed": 42,
}


@dataclass(frozen=True)
class Job:
    """A training as a file describes it; paths are absolute.

    Attributes:
        out: folder to write. training: folders of recordings by the name of their scan. evaluation: or None.
        start: ``directory``, ``scan`` and ``weights`` of the twin to start from, as for ``microns.load``; or None.
        network: entries of the architecture that differ from the twin's, or from the published one.
        state_dict: file for the released package, written in ``out`` at the end; or None.
    """

    out: Path
    training: dict[str, Path]
    recipe: Recipe
    start: dict[str, Any] | None = None
    evaluation: Path | None = None
    max_items: int | None = None
    units: Path | None = None
    accept_scaling: bool = False
    network: dict[str, Any] = field(default_factory=dict)
    state_dict: str | None = None

    def architecture(self, base: NetworkConfig | None) -> NetworkConfig | None:
        """The architecture: that of the twin to start from, or the published one, with the file's changes."""
        if not self.network:
            return base
        base = NetworkConfig.microns(1) if base is None else base
        return NetworkConfig.from_dict(_merged(base.to_dict(), self.network, "network"))


def read_job(path: str | os.PathLike, changes: Mapping[str, Any] | None = None, out: str | None = None) -> Job:
    """Read a file.

    Args:
        path: ends in ``.toml``, ``.yaml`` or ``.yml``; paths in it are relative to it.
        changes: entries of the recipe that replace those of the file. out: replaces the folder to write.

    Raises:
        ValueError: not such a file, or entries that do not exist (the nearest name is suggested).
        OSError: it cannot be read.
    """
    path = checks.path("path", path).absolute()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"{path} {what}; expected a file that says what to train, such as config.toml (docs/training.md)."
        )
    if path.suffix == ".toml":
        with open(path, "rb") as file:
            try:
                values = tomllib.load(file)
            except (ValueError, RecursionError) as error:  # of TOML, of its text, of numbers of many digits
                raise ValueError(f"{path} is no TOML: {error}.") from error
        job = _own(values, path)
    elif path.suffix in (".yaml", ".yml"):
        job = _released(_read_yaml(path), path)
    else:
        raise ValueError(f"{path} is not known; expected a file that ends in .toml, or in .yaml as the released one.")
    values = dict(job)
    recipe = values.pop("recipe") | dict(changes or {})
    if out is not None:
        values["out"] = checks.path("out", out).absolute()
    if values["out"] is None:
        raise ValueError(f"{path} does not say where to write: give --output, or out = in the file.")
    return Job(recipe=Recipe.from_dict(recipe), **values)


def _own(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    require_known(str(path), values, ["out", "name", "data", "start", "network", "recipe"])
    data = _section(values, "data", ["training", "evaluation", "max_items", "units", "accept_scaling"], path)
    start = _section(values, "start", ["directory", "scan", "weights"], path)
    if "training" not in data:
        raise ValueError(f"{path} does not say what to train on: [data] needs training = a folder.")
    name = values.get("name", "twin")
    if not isinstance(name, str):
        raise TypeError(f"{path}: name is {shown(name)}; expected that of a scan, such as 8-5.")
    training = data["training"]
    training = training if isinstance(training, Mapping) else {name: training}
    if "directory" in start:
        start["directory"] = str(_beside(path, "directory", start["directory"]))
    for entry in ("scan", "weights"):
        if not isinstance(start.get(entry, ""), str):
            raise TypeError(f"{path}: {entry} is {shown(start[entry])}; expected a name.")
    return {
        "out": _beside(path, "out", values.get("out")),
        "training": {scan: _beside(path, "training", folder) for scan, folder in training.items()},
        "evaluation": _beside(path, "evaluation", data.get("evaluation")),
        "max_items": data.get("max_items"),
        "units": _beside(path, "units", data.get("units")),
        "accept_scaling": data.get("accept_scaling", False),
        "start": start or None,
        "network": checks.mapping(f"{path}: network", values.get("network", {}), "of entries of the architecture"),
        "recipe": checks.mapping(f"{path}: recipe", values.get("recipe", {}), "of entries of a recipe"),
    }


def _released(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    require_known(str(path), values, ["data-source", *RELEASED_RECIPE, "save-state"])
    source = _section(values, "data-source", ["foundation-core", "training", "evaluation"], path)
    core = _section(source, "foundation-core", ["session", "scan_idx", "directory"], path)
    training = _section(source, "training", ["directory", "max_items"], path)
    evaluation = _section(source, "evaluation", ["directory"], path)
    save = _section(values, "save-state", ["directory", "state_dict", "metrics_csv", "metrics_tensor"], path)
    if "directory" not in training:
        raise ValueError(f"{path} does not say what to train on: data-source, training needs a directory.")
    recipe = dict(RELEASED_DEFAULTS)
    for section, names in RELEASED_RECIPE.items():
        known = [*names, "warmup_cycles"] if section == "scheduler" else list(names)
        entries = _section(values, section, known, path)
        if entries.pop("warmup_cycles", None) not in (None, 0, 1):
            raise ValueError(f"{path}: warmup_cycles is above 1; expected 0 or 1: a training here warms up once.")
        recipe |= {names[key]: _number(value) for key, value in entries.items()}
    start = None
    if core:
        start = {"directory": core.get("directory"), "scan": f"{core.get('session')}-{core.get('scan_idx')}"}
        folder = _beside(path, "directory", start["directory"])
        start["directory"] = None if folder is None else str(folder)
    return {
        "out": _beside(path, "directory", save.get("directory")),
        "training": {"twin": _beside(path, "directory", training["directory"])},
        "evaluation": _beside(path, "directory", evaluation.get("directory")),
        "max_items": training.get("max_items"),
        "start": start,
        "state_dict": save.get("state_dict"),
        "recipe": recipe,
    }


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except Exception as error:  # of YAML, and of the many kinds of values in it
        raise ValueError(f"{path} is no YAML: {error}.") from error
    if not isinstance(values, Mapping):
        raise ValueError(f"{path} holds no sections; expected data-source, scheduler and so on.")
    return values


def _section(values: Mapping[str, Any], name: str, known: list[str], path: Path) -> dict[str, Any]:
    section = values.get(name) or {}
    if not isinstance(section, Mapping):
        raise ValueError(f"{path}: {name} is {section!r}; expected a section with {', '.join(known)}.")
    require_known(f"{path}, {name},", section, known)
    return dict(section)


def _number(value: Any) -> Any:
    """YAML reads ``1e-3`` as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _beside(path: Path, entry: str, name: Any) -> Path | None:
    return None if name is None else (path.parent / checks.path(f"{path}: {entry}", name)).absolute()


def _merged(base: dict[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    changes = checks.mapping(where, changes, "of entries of the architecture")
    require_known(where, changes, [name for name in base if name != "num_units"])
    merged = dict(base)
    for name, value in changes.items():
        merged[name] = _merged(base[name], value, f"{where}.{name}") if isinstance(base[name], dict) else value
    return merged
