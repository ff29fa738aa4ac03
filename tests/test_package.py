"""The package as a whole: who imports whom, what is loaded, what is shipped."""

import ast
import functools
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fnn_jax"

# Each module, and what of the package it may import: itself excepted, only what stands below it.
LAYERS = [
    {"checks", "config", "version", "files", "videos", "program", "tracing"},
    {"figures", "records", "arrays"},
    {"model.geometry", "model.winograd", "release", "units"},
    {"model.layers"},
    {"model.grouped", "model.pixels", "model.reading", "model.decorrelation"},
    {"model.recurrent"},
    {"model.alternatives.conv_lstm", "model.alternatives.rvt", "model.alternatives.flat_lstm"},
    {"model.alternatives.norm_features", "model.alternatives.elu_unit"},
    {"model.perspective", "model.modulation", "model.core", "model.readout"},
    {"model.network"},
    {"model.parameters", "sizes"},
    {"finite", "provenance"},
    {"data.recordings"},
    {"data.evaluation", "data.training"},
    {"data.report"},
    {"checkpoint", "exporting"},
    {"store", "inputs", "download"},
    {"twin", "cache"},
    {"screen.source", "screen.reduction", "screen.results"},
    {"screen.predictor", "screen.checksums"},
    {"screen.mending"},
    {"screen.store"},
    {"screen.work"},
    {"screen.run"},
    {"properties", "compilation"},
    {"microns"},
    {"stimuli.display"},
    {"stimuli.movie"},
    {"stimuli.gratings", "stimuli.noise", "stimuli.simple", "stimuli.sheet"},
    {"stimuli.dots", "stimuli.monet", "stimuli.natural"},
    {"physiology.least_squares", "physiology.similarity", "physiology.features", "physiology.tuning"},
    {"physiology.von_mises", "physiology.curves", "physiology.receptive_fields", "physiology.protocol"},
    {"physiology.protocols", "physiology.figures"},
    {"synthesis.parameterisations", "synthesis.objectives", "synthesis.penalties", "synthesis.result"},
    {"synthesis.problem", "synthesis.figures"},
    {"synthesis.run"},
    {"training.recipe", "training.figures"},
    {"training.config", "training.windows", "training.optimizer"},
    {"training.objective", "training.streams"},
    {"training.step"},
    {"training.checkpoints"},
    {"training.features", "training.result"},
    {"training.run"},
    {"evaluation.statistics", "evaluation.figures"},
    {"evaluation.metrics"},
    {"evaluation.run"},
    {"demo", "verify", "commands"},
    {"data.example"},
    {"physiology.command", "synthesis.command", "data.command", "training.command", "evaluation.command"},
    {"cli"},
]
MAY_IMPORT_CONVERT_LAZILY = {"cache", "microns", "demo", "verify", "training.command", "cli"}


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


def imports_of(path):
    """Names of the package's modules that a file imports, and whether inside a function."""
    tree = parsed(path)
    top_level = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            yield name, id(node) not in top_level


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if not name.endswith("__init__"):
            yield name, path


def test_every_module_has_its_place():
    assert {name for name, _ in modules()} == set().union(*LAYERS)


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_imports_point_downwards(name, path):
    rank = {module: index for index, layer in enumerate(LAYERS) for module in layer}
    for imported, lazy in imports_of(path):
        if not imported.startswith("fnn_jax."):
            continue
        imported = imported.removeprefix("fnn_jax.")
        if imported.split(".")[0] == "convert":
            assert lazy and name in MAY_IMPORT_CONVERT_LAZILY, f"{name} imports {imported}"
        elif imported in rank:
            assert rank[imported] < rank[name], f"{name} imports {imported}"


def test_only_the_converter_imports_torch():
    for name, path in modules():
        assert not any(imported.split(".")[0] == "torch" for imported, _ in imports_of(path)), name
    table = {imported.split(".")[0] for imported, _ in imports_of(ROOT / "convert" / "keys.py")}
    assert table and not table & {"torch", "jax"}


def test_names_of_nonlinearities_agree():
    from fnn_jax.config import NONLINEARITIES
    from fnn_jax.model.layers import _NONLINEARITIES

    assert set(NONLINEARITIES) == set(_NONLINEARITIES)


def test_names_of_modules_agree():
    """What the configuration accepts is what there is."""
    from fnn_jax import config
    from fnn_jax.model import core, modulation, perspective, readout

    for names, table in (
        (config.RECURRENTS, core.RECURRENT),
        (config.MODULATIONS, modulation.MODULATION),
        (config.PIXELS, perspective.PIXELS),
        (config.BOUNDS, readout.BOUNDS),
        (config.FEATURES, readout.FEATURES),
        (config.UNITS, readout.UNITS),
    ):
        assert names == tuple(table)


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_import_loads_neither_torch_nor_matplotlib():
    late = {"torch", "matplotlib", "PIL", "av", "zarr", "xarray"}
    code = f"import sys, fnn_jax, fnn_jax.microns; print(*{late} & set(sys.modules))"
    assert run(code) == []


def test_convert_has_one_name():
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\ntry: import convert\nexcept ImportError as error: print(error)"
    )
    assert "Import this package as fnn_jax.convert" in " ".join(run(code))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """As ``make wheel`` builds it: from the source distribution, so that what an earlier build left does not enter."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("fnn_jax", "convert"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    stale = source / "build" / "lib" / "fnn_jax" / "removed.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("# a module that is no longer there\n")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_package_and_its_converter_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    sources = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    sources |= {f"fnn_jax/convert/{path.name}" for path in (ROOT / "convert").glob("*.py")}
    assert {name for name in names if ".dist-info/" not in name} == sources
    assert any(name.endswith("LICENSE") for name in names)


def test_runtime_dependencies_are_light():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}
    allowed = {"jax", "flax", "optax", "numpy", "orbax-checkpoint", "pandas", "tqdm", "matplotlib", "jaxtyping"}
    allowed |= {"pooch", "filelock", "xarray", "zarr", "av", "pillow", "flatbuffers", "scipy", "pyarrow", "pyyaml"}
    assert names == allowed
