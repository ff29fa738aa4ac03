"""``fnn-jax demo``: from weights on disk to predicted responses and their picture."""

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from fnn_jax import microns
from fnn_jax.common.drawing import draw_frames, draw_population, draw_traces
from fnn_jax.common.figures import (
    DOUBLE,
    LARGE,
    WARNING,
    color_bar,
    journal_style,
    new_figure,
    panel_letters,
    save_figure,
    style,
)
from fnn_jax.common.files import whole_file
from fnn_jax.common.progress import terminal_or_lines
from fnn_jax.common.rate import HZ
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.parameters import parameter_arrays
from fnn_jax.twin.heads import RANDOM, random_network
from fnn_jax.twin.twin import Twin
from fnn_jax.weights.store import save_network

NUM_UNITS = 60
SCAN = (0, 0)  # no published scan has this name
NUM_TRACES = 4
NEXT_STEP = """\
Next, without a download: responses of the same units to a video of yours
    fnn-jax predict VIDEO --directory {folder} -o responses.npz
To look around among units, in the browser
    fnn-jax explore --random 500
Or the real weights, 222 MB
    fnn-jax download
    fnn-jax demo --scan 8-5"""


def run_demo(
    output: str | os.PathLike,
    directory: str | os.PathLike | None = None,
    scan: str | None = None,
    weights: str | None = None,
) -> None:
    """Predict and draw; writes ``responses.npz`` and ``responses.png`` into ``output``.

    Args:
        output: folder to write.
        directory, scan, weights: the twin, as for ``microns.load``; without all three, a scan with random weights is
            made in ``output``.
    """
    output = Path(output).expanduser().absolute()
    output.mkdir(parents=True, exist_ok=True)
    random = directory is None and scan is None and weights is None
    if random:
        folder = _write_random_scan(output / "random_weights")
        twin, ids = microns.scan(*SCAN, directory=folder)
    else:
        twin = microns.load(directory, scan, weights=weights)
        ids = twin.units
    print(f"Loaded {twin}; its table of units:\n{ids.head(3)}\n")

    videos = {"black, gray, white": black_gray_white(), "photograph": panned_photograph()}
    responses = {}
    for name, video in videos.items():
        print(f"Predicting {len(video)} frames: {name}")
        responses[name] = twin.predict(video, progress=terminal_or_lines())
    with whole_file(output / "responses.npz") as path:
        arrays = {name.replace(", ", "_"): array for name, array in responses.items()}
        np.savez_compressed(path, **arrays, unit_table_rows=ids.index.to_numpy(), label=twin.label)  # type: ignore[arg-type]
    draw_responses(output / "responses.png", twin, videos, responses)
    for name, array in responses.items():
        print(f"{name}: responses {array.shape[0]} frames x {array.shape[1]} units, mean {array.mean():.3f}")
    label = f" ({twin.label})" if twin.label else ""
    print(f"Wrote {output / 'responses.npz'} and {output / 'responses.png'}{label}.")
    if random:
        print("\n" + NEXT_STEP.format(folder=folder))


def black_gray_white() -> np.ndarray:
    """A second each of black, gray and white, uint8 ``[90, 144, 256]``: the example of the released package."""
    levels = np.repeat(np.array([0, 128, 255], np.uint8), HZ)
    return np.broadcast_to(levels[:, None, None], (len(levels), 144, 256))


def panned_photograph(seconds: int = 3) -> np.ndarray:
    """A window that moves across the photograph that matplotlib ships, uint8 ``[frames, 144, 256]``."""
    from matplotlib import cbook, image

    with cbook.get_sample_data("grace_hopper.jpg") as file:  # type: ignore[union-attr]
        colour = image.imread(file, format="jpg")  # type: ignore[arg-type]
    photograph = (colour @ [0.299, 0.587, 0.114])[:500, 40:440].round().astype(np.uint8)
    frames = seconds * HZ
    across = np.linspace(0, photograph.shape[1] - 256, frames).round().astype(int)
    down = np.linspace(0, photograph.shape[0] - 144, frames).round().astype(int)
    return np.stack([photograph[y : y + 144, x : x + 256] for x, y in zip(across, down, strict=True)])


@journal_style()
def draw_responses(path: Path, twin: Twin, videos: dict[str, np.ndarray], responses: dict[str, np.ndarray]) -> None:
    """A column for each video, on the same scales: frames, what the retina sees of them, responses of some units, and
    those of all."""
    figure = new_figure(DOUBLE, 150)
    title = f"Scan {twin.name}, {twin.num_units} units" + (f": {twin.label}" if twin.label else "")
    figure.suptitle(title, color=WARNING if twin.label else None, fontsize=LARGE)
    axes = figure.subplots(4, len(videos), height_ratios=[1.1, 1.1, 3, 3.4])
    units = np.linspace(0, twin.num_units - 1, min(NUM_TRACES, twin.num_units)).round().astype(int)
    retinas = {name: twin.features(video, ["retina"])["retina"] for name, video in videos.items()}
    brightest = max(float(retina.max()) for retina in retinas.values())
    largest = np.max([array.max(0) for array in responses.values()], axis=0)
    for (clip, eye, traces, population), (name, video) in zip(axes.T, videos.items(), strict=True):
        style(draw_frames(clip, video, num_frames=5), name).set_xlabel("")
        retina = retinas[name].reshape(len(video), *retinas[name].shape[-3:-1])
        style(draw_frames(eye, retina, num_frames=5, limits=(0, brightest)), "retinal image")
        for strip in (clip, eye):
            strip.spines[:].set_visible(False)
        array = responses[name]
        draw_traces(traces, array[:, units], [f"unit {unit}" for unit in units], mean=array.mean(1))
        traces.set_ylim(0, 1.05 * max(each[:, units].max() for each in responses.values()))
        traces.set_xlabel("")
        draw_population(population, array / np.maximum(largest, 1e-12), normalise=False, bar=False)
        traces.get_legend().remove()
    legend = {"ncols": NUM_TRACES + 1, "handlelength": 1, "columnspacing": 1, "borderaxespad": 0}
    axes[2, 0].legend(loc="lower left", bbox_to_anchor=(0.02, 1.02), **legend)
    color_bar(axes[3], axes[3, -1].images[0], "response / unit's largest", location="bottom", aspect=40, shrink=0.4)
    panel_letters(axes[:, 0])
    save_figure(figure, path)


def _write_random_scan(directory: Path) -> Path:
    """A folder that ``microns.scan`` reads: published files where torch can write them, else a converted store."""
    if directory.exists():
        if not {path.name for path in directory.iterdir()} <= {"published", "converted", "core", "scans"}:
            raise FileExistsError(f"{directory} is not of an earlier demo and is kept. Choose another folder with -o.")
        shutil.rmtree(directory)
    config = NetworkConfig.microns(NUM_UNITS)
    network = random_network(config)
    session, scan_idx = SCAN
    units = pd.DataFrame(
        {"session": session, "scan_idx": scan_idx, "unit_id": np.arange(NUM_UNITS) + 1000},
        index=pd.RangeIndex(NUM_UNITS, name="readout_id"),
    )
    if importlib.util.find_spec("torch") is None:
        print(f"Writing a scan with {RANDOM}, as the converter would, to {directory}")
        save_network(directory, network, scan=f"{session}-{scan_idx}", units=units, label=RANDOM)
        return directory

    from fnn_jax.convert import convert, write_published_scan

    published = directory / "published"
    print(f"Writing a scan with {RANDOM} in the published layout to {published}, and converting it")
    write_published_scan(published, config, parameter_arrays(network), units)
    return convert(published, directory / "converted", label=RANDOM).directory
