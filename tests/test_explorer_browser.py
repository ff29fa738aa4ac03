"""The explorer in a browser: as its users see it. ``FNN_JAX_PICTURES=docs/figures`` also writes the pictures of the page."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NUM_UNITS = 104_171  # of the published mouse
LONGEST_MS = 90_000  # that a test waits: machines may be busy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


def drawn_units(count: int) -> pd.DataFrame:
    """Units that look like those of a mouse from afar: areas side by side, each a map of visual space."""
    random = np.random.default_rng(0)
    across, along = random.uniform(0, 1, count), random.uniform(0, 1, count)
    border = 0.5 + 0.15 * np.sin(3 * along)
    area = np.where(across < border, np.where(along > 0.55, "RL", np.where(along > 0.35, "AL", "LM")), "V1")
    x, y = np.abs(across - border) * 3 - 0.8, (along - 0.5) * 2
    signal = random.beta(4, 3, count)
    table = pd.DataFrame(
        {
            "session": random.integers(4, 10, count),
            "unit_id": np.arange(count),
            "brain_area": area,
            "field": random.integers(1, 9, count),
            "cc_abs": signal * random.beta(5, 2, count),
            "cc_max": signal,
            "gOSI": random.beta(2, 4, count),
            "pref_ori": (90 * along + random.normal(0, 25, count)) % 180,
            "unit_x": 200 + 1100 * along,
            "unit_y": 100 + 1000 * across,
            "unit_z": random.uniform(100, 500, count),
            "readout_x": np.clip(x + random.normal(0, 0.12, count), -1, 1),
            "readout_y_down": np.clip(y + random.normal(0, 0.12, count), -1, 1),
        }
    )
    table.loc[random.random(count) < 0.1, ["gOSI", "pref_ori"]] = np.nan
    return table


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "units.parquet"
    drawn_units(NUM_UNITS).to_parquet(path)
    return path


@contextlib.contextmanager
def running(folder, log, *arguments):
    """A running ``fnn-jax explore``, and its address."""
    command = [sys.executable, "-m", "fnn_jax.cli", "explore", *arguments, "--no-browser"]
    with open(log, "w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=folder)
    try:
        until = time.monotonic() + LONGEST_MS / 1000
        while not (found := re.search(r"http://\S+", log.read_text())):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def explorer(table, tmp_path):
    with running(table.parent, tmp_path / "log", table.name) as found:
        yield found


@pytest.fixture
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def opened(browser, address, width=1280, height=1330):
    """A page that shows its first picture, and what it asked of other computers."""
    elsewhere = []
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(LONGEST_MS)
    page.on("request", lambda request: None if is_here(request.url) else elsewhere.append(request.url))
    page.goto(address)
    page.wait_for_selector(".tabulator-row")
    page.wait_for_timeout(1500)
    return page, elsewhere


def is_here(url: str) -> bool:
    return url.startswith(("http://localhost:", "ws://localhost:", "data:", "blob:"))


def units_chosen(page) -> int:
    return int(page.locator("text=/ of 104,171 units/").first.inner_text().split()[0].replace(",", ""))


def changed(page, before: int) -> int:
    """How many units are chosen, once it is another number."""
    until = time.monotonic() + LONGEST_MS / 1000
    while (count := units_chosen(page)) == before:
        assert time.monotonic() < until, "nothing changed"
        page.wait_for_timeout(5)
    return count


def box_on_map(page) -> None:
    """Draw a box on the first map."""
    page.locator(".bk-tool-icon-box-select").first.click()
    place = page.locator(".bk-Canvas").first.bounding_box()
    left, top = place["x"] + 0.35 * place["width"], place["y"] + 0.3 * place["height"]
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 60, top + 50)
    page.mouse.move(left + 120, top + 90)
    page.mouse.up()


def picture(page, name: str) -> None:
    if folder := os.environ.get("FNN_JAX_PICTURES"):
        page.wait_for_timeout(500)
        page.screenshot(path=str(Path(folder) / f"{name}.png"), scale="css")


def test_open_filter_brush_export_reload(explorer, browser, tmp_path):
    _, address = explorer
    page, elsewhere = opened(browser, address)
    assert units_chosen(page) == NUM_UNITS
    picture(page, "explorer")

    box_on_map(page)
    started = time.monotonic()
    brushed = changed(page, NUM_UNITS)
    print(f"a brush of {NUM_UNITS} units: {1000 * (time.monotonic() - started):.0f} ms until the page says how many")
    assert 0 < brushed < NUM_UNITS

    page.get_by_label("Colour of the maps").select_option("pref_ori")
    page.wait_for_selector("text=Colour: pref_ori")
    picture(page, "explorer_brush")

    with page.expect_download() as download:
        page.get_by_text("Table as CSV").click()
    download.value.save_as(tmp_path / "units.csv")
    assert len(pd.read_csv(tmp_path / "units.csv")) == brushed
    with page.expect_download() as download:
        page.get_by_text("Maps as SVG").click()
    download.value.save_as(tmp_path / "units.svg")
    assert "<svg" in (tmp_path / "units.svg").read_text()

    page.reload()
    page.wait_for_selector(".tabulator-row")
    assert units_chosen(page) == brushed
    page.get_by_text("All units again").click()
    assert changed(page, brushed) == NUM_UNITS
    assert elsewhere == []


def test_narrow_and_dark(explorer, browser):
    _, address = explorer
    page, _ = opened(browser, f"{address}?theme=dark", 390, 1800)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_server_that_is_gone(explorer, browser):
    process, address = explorer
    page, _ = opened(browser, address)
    process.send_signal(signal.SIGKILL)
    process.wait()
    page.wait_for_selector("text=The explorer was stopped")


def test_play(twin, browser, tmp_path):
    """A stimulus is computed in the background, its frames run in the browser, and errors are words. For the picture
    the random twin has as many pixels as the published ones."""
    twin.save(tmp_path / "mine")
    whose = ["--random", "12"] if os.environ.get("FNN_JAX_PICTURES") else ["--directory", "mine"]
    with running(tmp_path, tmp_path / "log", *whose) as (process, address):
        page, elsewhere = opened(browser, address)
        page.get_by_text("Play a stimulus").click()
        page.get_by_label("Stimulus", exact=True).select_option("moving bar")
        page.get_by_label("Inner map", exact=True).select_option("core")
        page.wait_for_selector("text=Channels of the map")
        page.get_by_text("Compute and play").click()
        page.wait_for_selector("text=/^[0-9]+ frames, /", timeout=3 * LONGEST_MS)
        page.wait_for_timeout(500)
        monitor = page.locator(".bk-Canvas:visible").first
        before, until = monitor.screenshot(), time.monotonic() + LONGEST_MS / 1000
        page.locator("button.play:visible").click()
        page.wait_for_timeout(1500)
        while monitor.screenshot() == before:  # the bar is not there yet, where the machine is busy
            assert time.monotonic() < until, "the frames do not run"
            page.wait_for_timeout(100)
        page.locator("button.pause:visible").click()
        page.wait_for_timeout(500)
        picture(page, "explorer_play")
        with page.expect_download() as download:
            page.get_by_text("Frame and traces as PNG").click()
        assert download.value.path().stat().st_size > 5000
        frame = re.search(r"draw_played.*frame=(\d+)", page.locator("code:visible").last.inner_text())
        assert int(frame[1]) > 0  # the one that is shown
        page.reload()
        page.get_by_text("Play a stimulus").click()
        page.wait_for_selector("text=/^[0-9]+ frames, /")  # it is still there
        page.get_by_label("Stimulus", exact=True).select_option("video, image or array")
        page.get_by_text("Compute and play").click()
        page.wait_for_selector("text=No path is given")
        np.save(tmp_path / "dropped.npy", np.random.default_rng(0).integers(0, 256, (30, 18, 32), np.uint8))
        page.locator("input[type=file]").set_input_files(tmp_path / "dropped.npy")
        path = page.get_by_label("Path of a file on this computer")
        while not path.input_value():
            page.wait_for_timeout(100)
        page.get_by_text("Compute and play").click()
        page.wait_for_selector("text=/^30 frames, /")
        page.wait_for_selector("text=/'dropped.npy' was dropped into the page/")
        assert elsewhere == []
        assert (kept := Path(path.input_value())).exists()
        process.send_signal(signal.SIGINT)
        process.wait(LONGEST_MS / 1000)
        assert not kept.parent.exists()


def test_two_units(twin, browser, tmp_path, monkeypatch):
    """Two rows that are clicked stand side by side with their responses, and direction tuning is measured on demand."""
    monkeypatch.setenv("FNN_JAX_CACHE", str(tmp_path / "cache"))
    twin.save(tmp_path / "mine")
    whose = ["--random", "12"] if os.environ.get("FNN_JAX_PICTURES") else ["--directory", "mine"]
    with running(tmp_path, tmp_path / "log", *whose) as (_, address):
        page, elsewhere = opened(browser, address, height=1500)
        page.get_by_text("One or two units").click()
        page.wait_for_selector("text=Click a row of the table")
        page.get_by_text("Units", exact=True).click()
        rows = page.locator(".tabulator-row")
        rows.nth(1).click()
        rows.nth(3).click(modifiers=["Control"])
        page.get_by_text("Play a stimulus").click()
        page.get_by_text("Compute and play").click()
        page.wait_for_selector("text=/^[0-9]+ frames, /", timeout=3 * LONGEST_MS)
        page.get_by_text("One or two units").click()
        page.wait_for_selector("img[alt*='responses to the played stimulus']")
        page.get_by_text("Measure direction tuning").click()
        page.wait_for_selector("text=/Measuring direction tuning/")
        page.wait_for_selector("img[alt*='direction, measured here']", timeout=6 * LONGEST_MS)
        assert page.locator("img[alt*='direction, measured here']").count() == 2
        picture(page, "explorer_units")
        with page.expect_download() as download:
            page.get_by_text("Page as PDF").click()
        assert download.value.path().read_bytes().startswith(b"%PDF")
        page.set_viewport_size({"width": 390, "height": 1500})
        page.wait_for_timeout(1000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert elsewhere == []
