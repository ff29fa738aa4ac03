"""Every Python example of README and docs runs, in order, page by page; the table of errors is the tests' own."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import TOLERANCES

from fnn_jax import NetworkConfig
from fnn_jax.cache import COLUMNS
from fnn_jax.demo import random_network
from fnn_jax.download import record_checksum
from fnn_jax.release import MICRONS
from fnn_jax.store import save_network

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader would be: with weights, random ones of six units, in the folder ``weights``, and in the cache."""
    folder = tmp_path_factory.mktemp("reader")
    key = {"session": 8, "scan_idx": 5, "unit_id": np.arange(6)}
    units = pd.DataFrame(key | {"animal_id": 17797}, index=pd.RangeIndex(6, name="readout_id"))
    save_network(folder / "weights", random_network(NetworkConfig.microns(6)), scan="8-5", units=units)
    store = folder / "cache" / "weights" / "default"
    shutil.copytree(folder / "weights", store)
    units[[*key]].reset_index().to_csv(store / "units.csv", index=False)
    for group in ("performance", "tuning", "anatomy"):
        path = folder / "cache" / MICRONS.properties[group]["units.csv"].path
        path.parent.mkdir(parents=True)
        columns = {name: np.linspace(0, 1, 6) for name in COLUMNS[group]} | {"brain_area": ["V1", "LM"] * 3, "field": 1}
        pd.DataFrame(key | {name: columns[name] for name in COLUMNS[group]}).to_csv(path, index=False)
        record_checksum(folder / "cache", MICRONS.properties[group]["units.csv"].path)
    return folder


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_examples_run(page, folder, monkeypatch):
    import jax

    monkeypatch.chdir(folder)
    monkeypatch.setenv("FNN_JAX_CACHE", str(folder / "cache"))
    monkeypatch.setenv("FNN_JAX_OFFLINE", "1")
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # as a reader has it
        namespace = {}
        for example in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            exec(compile(example, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_published_errors_are_the_ones_of_the_tests():
    rows = [f"| {name} | {t.kind} | {t.allowed:.0e} | {t.measured:.1e} |" for name, t in TOLERANCES.items()]
    table = "\n".join(["| | error | allowed | measured |", "|---|---|---|---|", *rows])
    page = (ROOT / "docs" / "numbers.md").read_text()
    assert table in page, f"docs/numbers.md must hold:\n{table}"
    readme = (ROOT / "README.md").read_text()
    for name in ("exact response", "response", "live response", "gradient on pixels", "gradient on eye and monitor"):
        assert f"| {TOLERANCES[name].measured:.1e} |" in readme, name


def test_every_tolerance_has_room_and_a_measurement():
    for name, tolerance in TOLERANCES.items():
        assert tolerance.measured <= tolerance.allowed, name
        assert tolerance.measured > 0 or tolerance.allowed == 0, f"{name} was not measured"
