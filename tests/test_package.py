"""The package as a whole: who imports whom, what is loaded, what is shipped."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from fnn_jax.common.extras import PACKAGES, missing

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fnn_jax"


def test_every_package_is_shipped():
    """Searching for packages would leave out convert, which lies elsewhere: pyproject.toml lists them."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in PACKAGE.rglob("__init__.py")}
    assert sorted(listed) == sorted({*found, "fnn_jax.convert"})


def test_the_table_of_keys_needs_neither_torch_nor_jax():
    tree = ast.parse((ROOT / "convert" / "keys.py").read_text())
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert names and not {name.split(".")[0] for name in names} & {"torch", "jax"}


MAY_IMPORT_CONVERT_LAZILY = {"demo", "microns", "microns.cache", "microns.verification"}
MAY_IMPORT_CONVERT_LAZILY |= {"cli.convert", "cli.export", "cli.train"}
MAY_IMPORT_CONVERT_LAZILY |= {"released.microns", "released.values", "released.visual"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports(path):
    """Absolute ones; of what needs torch, inside functions only. The order of the packages is import-linter's."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert "torch" not in {imported.split(".")[0] for imported in names}, f"line {node.lineno}"
        if any(imported.startswith("fnn_jax.convert") for imported in names):
            assert node not in tree.body and name in MAY_IMPORT_CONVERT_LAZILY, f"line {node.lineno}"


def test_names_of_nonlinearities_agree():
    from fnn_jax.model.config import NONLINEARITIES
    from fnn_jax.model.layers import _NONLINEARITIES

    assert set(NONLINEARITIES) == set(_NONLINEARITIES)


def test_names_of_modules_agree():
    """What the configuration accepts is what there is."""
    from fnn_jax.model import config, core, modulation, perspective, readout

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
    assert {name for name in names if ".dist-info/" not in name} == sources | {"fnn_jax/py.typed"}
    assert any(name.endswith("LICENSE") for name in names)


def test_extras_hold_the_packages_that_errors_name():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    held = {extra: [re.match(r"[\w-]+", requirement)[0] for requirement in extras[extra]] for extra in PACKAGES}
    assert held == {extra: [package] for extra, package in PACKAGES.items()}
    assert {*extras} - {*PACKAGES} == {"docs", "test"}
    assert missing("Reading a.mp4", "video").endswith("pip install av, or the extra 'video' of fnn_jax")


def test_runtime_dependencies_are_light():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}
    allowed = {"jax", "flax", "optax", "numpy", "orbax-checkpoint", "pandas", "tqdm", "matplotlib", "jaxtyping"}
    allowed |= {
        "pooch",
        "filelock",
        "xarray",
        "zarr",
        "requests",
        "pillow",
        "flatbuffers",
        "scipy",
        "pyarrow",
        "pyyaml",
    }
    assert names == allowed


def test_the_map_of_the_architecture_is_that_of_the_code():
    """Its rows are the layers that import-linter holds the code to."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [set(layer.split(" | ")) - {"version"} for layer in contract["layers"]]
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\|.*\|$", page.split("| layer | folders |")[1].split("\n\n")[0], re.MULTILINE)[1:]
    assert [set(re.findall(r"`(\w+)`", row)) & set.union(*layers) for row in rows] == layers


def imported_folders(tree):
    """Folders of the package that a module imports, also inside functions; not for annotations alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body.clear()
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("fnn_jax.")}


def test_the_picture_of_the_architecture_is_that_of_the_code():
    """Each arrow is an import, and each import between folders has an arrow, or a chain of them."""
    apart = {"__init__", "cli", "common", "convert", "version"}
    edges = set()
    for path in PACKAGE.rglob("*.py"):
        folder = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        edges |= {(folder, other) for other in imported_folders(ast.parse(path.read_text())) - apart - {folder}}
    edges = {(one, other) for one, other in edges if one not in apart and (PACKAGE / other).is_dir()}
    picture = (ROOT / "docs" / "figures" / "wings.svg").read_text()
    arrows = set(re.findall(r'<path id="(\w+)-(\w+)"', picture))
    assert len(arrows) > 20 and not arrows - edges
    reached = set(arrows)
    while more := {(one, end) for one, middle in reached for start, end in arrows if start == middle} - reached:
        reached |= more
    assert not edges - reached
    assert all(f">{folder}</text>" in picture for edge in edges for folder in edge)


def test_the_oldest_versions_are_the_lower_bounds():
    """That the tests pass with these is what the bounds promise."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["video"]]
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "constraints-oldest.txt").read_text(), re.MULTILINE))
    for requirement in wanted:
        name, least = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
        assert f"{pinned[name]}.".startswith(f"{least}."), requirement
