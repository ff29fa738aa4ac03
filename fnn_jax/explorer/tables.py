"""Where the table of units that is explored comes from: published tables, twins, results on disk."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from fnn_jax import microns
from fnn_jax.common.checks import path as checked_path
from fnn_jax.explorer.joining import SOURCE, join_results, num_known
from fnn_jax.explorer.results import WEIGHTS, Opened, open_result
from fnn_jax.screen.store import open_screen
from fnn_jax.twin.twin import Twin
from fnn_jax.weights.units import flatten

TABLES = ("units.parquet", "table.csv")  # of the folders that fnn-jax tune and fnn-jax synthesize write
READERS = {".csv": "read_csv", ".parquet": "read_parquet"}
MEAN = "mean_response"


class Result(NamedTuple):
    """A table on disk, and the expression that reads it. ``name``: the folder's, or the path where two have the same;
    ``opened``: what it holds of single units."""

    name: str
    path: str
    table: pd.DataFrame
    code: str
    opened: Opened | None


class UnitTable(NamedTuple):
    """What is explored.

    ``units``: a row for each unit, numbered from 0. ``title``: where they come from. ``code``: lines of Python that
    make the same table, under the name ``units``. ``twins``: those of the units, which answer to what is played;
    ``twins_code`` makes the same list, under the name ``twins``. ``twin_numbers``: of each unit the place of its twin
    in that list. ``results``: what is on disk of single units.
    """

    units: pd.DataFrame
    title: str
    code: str
    twins: tuple[Twin, ...] = ()
    twins_code: str = ""
    twin_numbers: np.ndarray = np.zeros(0, int)
    results: tuple[Opened, ...] = ()


def published_table(scans: Sequence[str] | None = None, directory: str | os.PathLike | None = None) -> UnitTable:
    """The published units and those of their properties that are here; nothing is downloaded.

    Args:
        scans: names such as ``"8-5"``; default all.
        directory: folder of ``microns.download``; default: see ``microns.scan``.

    Raises:
        ValueError: a scan that is not published. DownloadError: neither tables nor weights are here.
    """
    scans = None if scans is None else [microns.scan_name(scan) for scan in scans]
    found = microns.units(scans, directory=directory, offline=True)
    arguments = [repr(scans)] * (scans is not None) + [f"directory={str(directory)!r}"] * (directory is not None)
    code = f"from fnn_jax import microns\n\nunits = microns.units({', '.join(arguments)}).reset_index()"
    return UnitTable(found.reset_index(), f"the published mouse, {', '.join(scans) if scans else 'all scans'}", code)


def twin_table(twins: Sequence[Twin], code: str, weights: Sequence[str] | None = None) -> UnitTable:
    """Units of twins, and where on the monitor each reads: ``monitor_x``, ``monitor_y_down``.

    Args:
        code: lines of Python that make the list ``twins``, and ``weights``, where it is given.
        weights: of each twin what its weights are called, the column ``weights``; None: they are all of one kind.
    """
    tables = [
        flatten(pd.concat([twin.units, twin.readout_locations()], axis=1)).assign(scan=twin.name) for twin in twins
    ]
    numbers = np.repeat(np.arange(len(twins)), [len(table) for table in tables])
    units = pd.concat(tables, ignore_index=True)
    names = ", ".join(dict.fromkeys(twin.label or twin.name or "a twin" for twin in twins))
    twins_code = code
    code += (
        "\ntables = [pd.concat([twin.units, twin.readout_locations()], axis=1) for twin in twins]"
        "\ntables = [table.reset_index().assign(scan=twin.name) for table, twin in zip(tables, twins)]"
        "\nunits = pd.concat(tables, ignore_index=True)"
    )
    if weights is not None:
        units[WEIGHTS] = np.array(weights, object)[numbers]
        names += f", weights {', '.join(dict.fromkeys(weights))}"
        code += f"\nunits[{WEIGHTS!r}] = [name for name, table in zip(weights, tables) for _ in range(len(table))]"
    return UnitTable(units, names, code, tuple(twins), twins_code, numbers)


def read_results(paths: Sequence[str | os.PathLike]) -> list[Result]:
    """Results on disk.

    Args:
        paths: folders of ``fnn-jax tune`` and ``fnn-jax synthesize``, ``.zarr`` of a screen, whose mean response to
            all stimuli is the column ``mean_response``, or tables of one's own, ``.csv`` and ``.parquet``.

    Raises:
        FileNotFoundError: nothing is there. ValueError: it is something else, or damaged, or is given twice.
    """
    folders = [checked_path("results", path).expanduser() for path in paths]
    twice = [str(path) for number, path in enumerate(folders) if path in folders[:number]]
    if twice:
        raise ValueError(f"results has {twice[0]!r} twice; expected each once.")
    names = [folder.resolve().name for folder in folders]
    found = []
    for path, folder, name in zip(paths, folders, names, strict=True):
        is_alone = names.count(name) == 1
        opened = open_result(path, None if is_alone else str(path))
        found.append(Result(name if is_alone else str(path), str(path), *_read(folder), opened))
    return found


def result_table(paths: Sequence[str | os.PathLike]) -> UnitTable:
    """Units of results on disk, each once, as ``join_results`` joins them; the column ``source`` says which know it.
    Of results that do not say in the same columns which units they are about, one below the other.

    Args:
        paths, errors: as of ``read_results``.
    """
    found = read_results(paths)
    results, code = _opened(found), "".join(each.code for each in found)
    imports = "import pandas as pd\n" + "from fnn_jax.screen import open_screen\n" * ("open_screen" in code)
    if len(found) == 1:
        return UnitTable(found[0].table, found[0].path, f"{imports}\nunits = {found[0].code}", results=results)
    title = ", ".join(each.path for each in found)
    tables, rows = _joined(found)
    with contextlib.suppress(ValueError):
        units = join_results(None, tables)
        code = f"{_imports(rows)}\nresults = {{\n{rows}}}\nunits = join_results(None, results)"
        return UnitTable(units, title, code, results=results)
    named = [each.table.assign(**{SOURCE: each.path}) for each in found]
    rows = ",\n    ".join(f"{each.code}.assign({SOURCE}={each.path!r})" for each in found)
    code = f"{imports}\ntables = [\n    {rows},\n]\nunits = pd.concat(tables, ignore_index=True)"
    return UnitTable(pd.concat(named, ignore_index=True), title, code, results=results)


def with_results(table: UnitTable, results: Sequence[Result]) -> UnitTable:
    """The same units with what results hold of them, as columns and on their pages; see ``join_results``.

    Raises:
        ValueError: a result is not about these units, or does not say which.
    """
    tables, rows = _joined(results)
    titles = [
        f"{name} ({num_known(table.units, units, name):,} of its {len(units):,} units)"
        for name, units in tables.items()
    ]
    imports = _imports(rows, "import pandas" in table.code)
    return table._replace(
        units=join_results(table.units, tables),
        title=f"{table.title}, with {', '.join(titles)}",
        code=f"{imports}{table.code}\nresults = {{\n{rows}}}\nunits = join_results(units, results)",
        results=_opened(results),
    )


def _joined(results: Sequence[Result]) -> tuple[dict[str, pd.DataFrame], str]:
    """Tables by name, for ``join_results``, and lines of Python that are the same."""
    tables, rows = {}, ""
    for each in results:
        # a synthesis says in another file than its table of which scan its units are
        table, code = each.table, each.code
        if each.opened is not None:
            table, code = each.opened.units, f"{each.opened.code}.units"
        tables[each.name] = table
        rows += f"    {each.name!r}: {code},\n"
    return tables, rows


def _imports(rows: str, has_pandas: bool = False) -> str:
    """What lines of Python with ``join_results`` need."""
    imports = "import pandas as pd\n" * ("pd." in rows and not has_pandas)
    imports += f"from fnn_jax.explorer import join_results{', open_result' * ('open_result' in rows)}\n"
    return imports + "from fnn_jax.screen import open_screen\n" * ("open_screen" in rows)


def _opened(results: Sequence[Result]) -> tuple[Opened, ...]:
    return tuple(each.opened for each in results if each.opened is not None)


def _read(path: Path) -> tuple[pd.DataFrame, str]:
    """A table, and the expression that reads it."""
    if path.suffix == ".zarr":
        responses = open_screen(path, verify=False).responses
        others = [dim for dim in responses.dims if dim != "unit"]
        table = responses.mean(others).to_dataframe(MEAN).reset_index(drop=True).sort_index(axis=1)
        code = f"open_screen({str(path)!r}).responses.mean({others}).to_dataframe({MEAN!r})"
        return table, f"{code}.reset_index(drop=True).sort_index(axis=1)"
    if path.is_dir():
        below = [path / name for name in TABLES if (path / name).exists()]
        if not below:
            raise ValueError(
                f"results has {str(path)!r}, a folder without {' or '.join(TABLES)}; expected one that fnn-jax tune or "
                "fnn-jax synthesize wrote, or a .zarr of fnn-jax screen."
            )
        path = below[0]
    if not path.exists():
        raise FileNotFoundError(f"results has {str(path)!r}, where nothing is.")
    if path.suffix not in READERS:
        raise ValueError(f"results has {str(path)!r}; expected a folder of results, .zarr, {' or '.join(READERS)}.")
    units = getattr(pd, READERS[path.suffix])(path)
    if not len(units):
        raise ValueError(f"results has {str(path)!r}, a table without rows; expected one with a row for each unit.")
    return units.reset_index(drop=True), f"pd.{READERS[path.suffix]}({str(path)!r})"
