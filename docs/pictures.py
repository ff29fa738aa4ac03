"""Draw the pictures of the pages: ``python docs/pictures.py`` all of them, ``python docs/pictures.py demo unit`` some.

Those of the galleries are drawn by ``gallery.py``, those of the explorer by its tests.
"""

import dataclasses
import re
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import optax
import pandas as pd
import stages
import xarray
from PIL import Image

from fnn_jax import NetworkConfig, Twin, cli, evaluation, physiology, stimuli, synthesis
from fnn_jax.common.files import whole_file
from fnn_jax.demo import run_demo
from fnn_jax.model.parameters import network_from_parameters, parameter_arrays
from fnn_jax.physiology import Protocol, Result, protocols
from fnn_jax.reproduction import comparison
from fnn_jax.reproduction import figures as reproduction_figures
from fnn_jax.synthesis.figures import draw_target
from fnn_jax.training.figures import draw_metrics

DOCS = Path(__file__).parent
SIMULATED = pd.DataFrame({"scan": ["simulated"], "readout_id": [0]})
PREFERRED = 240.0  # degrees
CENTER = (12.0, -2.0)  # degrees


def demo(path: Path) -> None:
    """The figure of ``fnn-jax demo``."""
    with tempfile.TemporaryDirectory() as folder:
        run_demo(folder)
        shutil.copyfile(Path(folder) / "responses.png", path)


def monet2(path: Path) -> None:
    movie = stimuli.monet2(stimuli.Display.of(), directions=8, duration_s=12)
    stimuli.contact_sheet(movie, path, num_frames=12)


def composed(path: Path) -> None:
    """The figure of figures.md, whose example writes it as PDF."""
    _run("figures.md", '"figure.pdf"', path)


def analysis(path: Path) -> None:
    """The figure that the examples of analysis.md write."""
    _run("analysis.md", '"analysis.png"', path)


def _run(page: str, name: str, path: Path) -> None:
    """The examples of a page, with the path in the place of the name that they write to."""
    examples = "".join(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL))
    exec(compile(examples.replace(name, "path"), page, "exec"), {"path": path})


def reproduction(path: Path) -> None:
    """Responses of 40 units with random weights, beside those of one number of one weight that is 1 % larger."""
    random = np.random.default_rng(0)
    twin = _random_units(random.normal, 40, random.uniform(-0.5, 0.5, (40, 2)))
    video = random.integers(0, 256, (120, 144, 256), np.uint8)
    parameters = {name: values.copy() for name, values in parameter_arrays(twin.network).items()}
    weight = parameters["core.feedforward.blocks.2.convs.1.weight"]
    weight.flat[np.abs(weight).argmax()] *= 1.01
    published = Twin(network_from_parameters(twin.config, parameters)).predict(video)
    predicted = twin.predict(video)
    table = comparison.compare(predicted, published, 1e-5)
    table = table.assign(scan="8-5", unit_id=table.index)
    worst = int(table["largest"].idxmax())
    reproduction_figures.responses(table, {"8-5": (predicted, published)}, worst, 1e-5, path)


def unit(path: Path) -> None:
    """A page of a simulated unit that prefers one direction of motion."""
    display = stimuli.Display.of()
    grating = {"directions": [PREFERRED]}
    size = {"center": CENTER, **grating}
    shown = [
        protocols.direction_tuning(display, stimulus="gratings"),
        protocols.frequency_tuning(display, **grating),
        protocols.size_tuning(display, **size),
        protocols.contrast_tuning(display, **grating),
        protocols.surround_tuning(display, **size),
        protocols.dot_receptive_field(display, repeats=1),
        protocols.noise_receptive_field(display, movies=3),
    ]
    physiology.figures.unit_report([_simulated(each) for each in shown], 0, path)


def _simulated(protocol: Protocol) -> Result:
    """What a protocol measures of two Gabor filters a quarter of a period apart, which follow 2 Hz and whose squares
    are added; and of a little light in the same place."""
    display = protocol.display
    envelope = np.exp(-(display.distance(CENTER) ** 2) / (2 * 8.0**2))
    phase = 2 * np.pi * 0.04 * display.along(PREFERRED, CENTER)
    filters = np.stack([envelope * np.cos(phase), envelope * np.sin(phase), envelope]).reshape(3, -1)
    filters[:2] -= filters[:2].mean(1, keepdims=True) * filters[2] / filters[2].mean()  # gray is nothing to them
    filters /= envelope.sum()
    responses = []
    for number in range(len(protocol)):
        movie = protocol.movie(number)
        seen = (movie.frames.reshape(movie.num_frames, -1) / np.float32(127.5) - 1) @ filters.T.astype(np.float32)
        state, trace = 0.0, []
        for even, odd, light in seen.astype(float):
            state = 0.85 * np.exp(2j * np.pi * 2 / 30) * state + 0.15 * (even + 1j * odd)
            trace.append(0.2 + 120 * abs(state) ** 2 + max(light, 0))
        trace = np.array(trace)[:, None]
        responses.append(trace if protocol.every_frame else physiology.interval_responses(trace, movie.intervals))
    data = {"responses": (("stimulus", "time", "unit"), np.stack(responses)), "done": ("stimulus", [1] * len(protocol))}
    return protocol.measure(xarray.Dataset(data), SIMULATED)


def evaluated(path: Path) -> None:
    """1000 simulated units: a signal each, recorded ten times with noise, and predicted more or less well."""
    random = np.random.default_rng(0)
    signal = random.normal(size=(1000, 1, 270)).cumsum(-1)
    signal = (signal - signal.mean(-1, keepdims=True)) / signal.std(-1, keepdims=True)
    noise, missed = random.uniform(1, 8, (1000, 1, 1)), random.gamma(1, 0.5, (1000, 1, 1))
    responses = signal + noise * random.normal(size=(1000, 10, 270))
    predictions = np.repeat(signal + missed * random.normal(size=(1000, 1, 270)), 10, axis=1)
    table = pd.DataFrame(evaluation.Statistics.of(predictions, responses).measures())
    evaluation.figures.summary(table, path, title="1000 simulated units, 10 repeats")


def synthesised(path: Path) -> None:
    """A unit with random weights, beside gratings."""
    twin = _random_units(np.random.default_rng(0).normal, 1, [[0, 0]], scale=2)
    found = synthesis.synthesize(
        twin,
        [0],
        parameterisation=synthesis.normalised(synthesis.nlm(16, 144, 256), mean=0.5, contrast=0.2),
        burn_in=5,
        steps=60,
        optimizer=optax.adam(0.05),
        penalties=[(1e-4, synthesis.roughness())],
    )
    display = stimuli.Display.of(twin)
    others = {}
    for angle in range(0, 180, 45):
        grating = stimuli.grating(display, direction=angle, num_frames=16)
        others[f"grating {angle}"] = twin.predict(grating)[5:, 0]
    draw_target(found, 0, path, others=others, influence=synthesis.influence(twin, found, 0))


def _random_units(draw, num_units: int, locations, scale: float = 1) -> Twin:
    """Units with random weights: the published sizes of frames and maps, with few channels."""
    whole = NetworkConfig.microns(1)
    small = dataclasses.replace(
        whole,
        feedforward=dataclasses.replace(whole.feedforward, channels=(4, 8, 8), out_channels=16),
        recurrent=dataclasses.replace(whole.recurrent, in_channels=16, hidden_channels=16, common_channels=16),
    )
    core = Twin.random(small)
    channels = core.network.readout.feature.weights().shape[-1]
    return core.with_readout(scale * draw(size=(num_units, channels)), locations)


def training(path: Path) -> None:
    """Of the training that training.md begins with."""
    with tempfile.TemporaryDirectory() as folder:
        cli.main(["data", "make-example", "-o", f"{folder}/example"])
        cli.main(["train", f"{folder}/example/config.toml"])
        draw_metrics(pd.read_csv(f"{folder}/example/twin/metrics.csv"), path)


def shrink(path: Path) -> None:
    """With 256 colours a picture has half the bytes, and looks the same."""
    with whole_file(path) as temporary:
        picture = Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        picture.save(temporary, format="PNG", optimize=True)


PICTURES = {
    "demo": demo,
    "monet2": monet2,
    "composed": composed,
    "analysis": analysis,
    "reproduction": reproduction,
    "unit": unit,
    "evaluation": evaluated,
    "synthesis": synthesised,
    "training": training,
    "stage_perspective": stages.perspective,
    "stage_modulation": stages.modulation,
    "stage_core": stages.core,
    "stage_readout": stages.readout,
}

SHRUNK = set(PICTURES) - {"demo"}  # whose photograph would show it

if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        path = DOCS / "figures" / f"{name}.png"
        PICTURES[name](path)
        if name in SHRUNK:
            shrink(path)
        print(f"{path.relative_to(DOCS)}: {path.stat().st_size / 1000:.0f} kB", flush=True)
