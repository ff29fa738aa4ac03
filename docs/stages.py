"""Pictures of the page of the model: what each stage makes of the photograph of ``fnn-jax demo``, with random weights.

The released initial weights of eye and behaviour are zero; here they are drawn, too, or nothing would follow them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax import Twin, stimuli
from fnn_jax.common.drawing import RESPONSE
from fnn_jax.common.figures import (
    DOUBLE,
    FRAMES,
    HIGHLIGHT,
    MAIN,
    ON_IMAGE,
    REFERENCE,
    RESPONSES,
    SIDE_BY_SIDE,
    SIGNED,
    color_bar,
    journal_style,
    new_figure,
    panel_letters,
    save_figure,
    style,
)
from fnn_jax.common.rate import HZ
from fnn_jax.demo import panned_photograph
from fnn_jax.model.parameters import network_from_parameters, parameter_arrays
from fnn_jax.stimuli.outline import draw_monitor, draw_retina

EYE = (1.5, 0.5)  # z-scored position of the pupil
TURN = np.deg2rad(25)  # by which it turns the eye here
FRAME, STREAM, UNITS = 45, 0, 3


def twin_that_follows_eye_and_behaviour() -> Twin:
    random = np.random.default_rng(0)
    twin = Twin.random(num_units=60)
    parameters = {name: values.copy() for name, values in parameter_arrays(twin.network).items()}
    for name in ("perspective.eye.layers.0.weight", "modulation.linear.weight"):
        parameters[name] = random.normal(size=parameters[name].shape).astype(np.float32)
    twin = Twin(network_from_parameters(twin.config, parameters))
    angles = np.asarray(twin.network.perspective.eye(np.float32([EYE])))[0]
    parameters["perspective.eye.layers.3.gain"] *= TURN / np.linalg.norm(angles)
    return Twin(network_from_parameters(twin.config, parameters))


@journal_style()
def perspective(path: Path) -> None:
    """The frame as it stands in front of the eye, and the retinal images of two positions of the eye."""
    twin, frame = twin_that_follows_eye_and_behaviour(), panned_photograph()[FRAME]
    figure = new_figure(DOUBLE, 55)
    monitor, *retinas = figure.subplots(1, 3, width_ratios=[1.25, 1, 1])
    display = stimuli.Display.of(twin)
    rows, columns = np.mgrid[: display.height, : display.width]
    monitor.pcolormesh(*display.positions(rows, columns), frame, cmap=FRAMES, vmin=0, vmax=255, rasterized=True)
    draw_monitor(monitor, display)
    for eye, label in (((0.0, 0.0), "pupil at its mean"), (EYE, "pupil at (1.5, 0.5)")):
        draw_retina(monitor, twin, eye, label=label)
    for line, color in zip(monitor.lines[-2:], (HIGHLIGHT, MAIN), strict=True):
        line.set_color(color)
    monitor.legend(loc="lower left", bbox_to_anchor=(0, 1.02), borderaxespad=0, ncols=1)
    for ax, eye, color in zip(retinas, ((0.0, 0.0), EYE), (HIGHLIGHT, MAIN), strict=True):
        eyes = np.float32([eye])
        image = twin.features(frame[None], ["retina"], eyes)["retina"][0, ..., 0]
        ax.imshow(image, cmap=FRAMES, vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(color=color, linewidth=1.5)
        ax.set_title("retinal image, pupil " + ("at its mean" if eye == (0.0, 0.0) else "at (1.5, 0.5)"))
    panel_letters([monitor, *retinas])
    save_figure(figure, path)


@journal_style()
def modulation(path: Path) -> None:
    """Behaviour, and the vectors that follow it."""
    twin = twin_that_follows_eye_and_behaviour()
    frames = 4 * HZ
    time = np.arange(frames) / HZ
    running = np.where((time > 1) & (time < 2.5), 1.5, -0.5)
    pupil = np.convolve(np.pad(running, (30, 0), mode="edge"), np.ones(31) / 31, mode="valid")
    behaviour = np.stack([pupil, running], axis=1).astype(np.float32)
    gray = np.full((frames, 144, 256), 128, np.uint8)
    vectors = twin.features(gray, ["modulation"], modulations=behaviour)["modulation"][:, STREAM]
    figure = new_figure(DOUBLE, 45)
    traces, image = figure.subplots(1, 2)
    for values, label, color in ((pupil, "pupil radius", SIDE_BY_SIDE[0]), (running, "running speed", SIDE_BY_SIDE[1])):
        traces.plot(time, values, label=label, color=color)
    style(traces).set(xlabel="time (s)", ylabel="z-scored", xlim=(0, frames / HZ))
    traces.legend(loc="lower left", bbox_to_anchor=(0, 1.02), borderaxespad=0, ncols=2)
    most = np.abs(vectors).max()
    extent = (0, frames / HZ, vectors.shape[1], 0)
    shown = image.imshow(vectors.T, cmap=SIGNED, vmin=-most, vmax=most, aspect="auto", extent=extent)
    style(image).set(xlabel="time (s)", ylabel="entry of the vector", yticks=[0, 8, 16])
    color_bar(image, shown, "modulation")
    panel_letters([traces, image])
    save_figure(figure, path)


MAPS = {
    "retina": "retinal image",
    "feedforward.input0": "first convolution",
    "feedforward.block0": "block 0",
    "feedforward.block1": "block 1",
    "feedforward.block2": "block 2",
    "feedforward": "feedforward output",
    "recurrent.input": "recurrent input",
    "recurrent.attention": "attention",
    "recurrent.hidden": "hidden state",
    "core": "core",
}


@journal_style()
def core(path: Path) -> None:
    """One channel of the maps on the way through the core, of one stream, in one frame."""
    twin, clip = twin_that_follows_eye_and_behaviour(), panned_photograph()[: FRAME + 1]
    names = list(MAPS)
    found: dict[str, Any] = {}
    for frames, output in twin.chunks(clip, names):
        if frames.stop > FRAME:
            found = {name: np.asarray(output.features[name])[FRAME - frames.start, 0] for name in names}
    figure = new_figure(DOUBLE, 62)
    axes = figure.subplots(2, 5)
    for ax, (name, title) in zip(axes.flat, MAPS.items(), strict=True):
        values = found[name]
        if name == "retina":
            ax.imshow(values[..., 0], cmap=FRAMES, vmin=0, vmax=1)
            channels = 1
        elif name == "recurrent.attention":
            height, width = found["core"].shape[1:3]
            row, column = height // 2, width // 2
            weights = values[STREAM, 0, row * width + column].reshape(height, width)
            ax.imshow(weights, cmap=RESPONSES)
            ax.plot(column, row, "+", color=ON_IMAGE, markersize=5)
            channels = values.shape[1]
        else:
            maps = values[STREAM]
            channels = maps.shape[-1]
            strongest = maps[..., maps.std(axis=(0, 1)).argmax()]
            most = np.abs(strongest).max()
            ax.imshow(strongest, cmap=SIGNED, vmin=-most, vmax=most)
            height, width = maps.shape[:2]
        size = (
            "128 x 192"
            if name == "retina"
            else f"{height} x {width}, {channels} " + ("groups" if name == "recurrent.attention" else "channels")
        )
        ax.set(xticks=[], yticks=[], title=title)
        ax.set_xlabel(size)
        ax.spines[:].set_visible(False)
    panel_letters(axes.flat)
    save_figure(figure, path)


@journal_style()
def readout(path: Path) -> None:
    """Where units read, and what becomes of what they read."""
    twin, clip = twin_that_follows_eye_and_behaviour(), panned_photograph()
    names = ["core", "readout"]
    values = twin.features(clip, names)
    responses = twin.predict(clip)
    maps = values["core"][FRAME, STREAM]
    most = np.abs(maps[..., 0]).max()
    figure = new_figure(DOUBLE, 50)
    where, streams, after = figure.subplots(1, 3)
    where.imshow(maps[..., 0], cmap=SIGNED, vmin=-most, vmax=most, extent=(-1, 1, 1, -1), aspect="auto")
    places = twin.readout_locations()
    where.scatter(places.core_x, places.core_y_down, s=4, color=REFERENCE, linewidths=0)
    for unit in range(UNITS):
        where.scatter(places.core_x[unit], places.core_y_down[unit], s=22, color=SIDE_BY_SIDE[unit], edgecolors="white")
    style(where, "a channel of the core").set(
        xlabel="core_x", ylabel="core_y_down", xticks=[-1, 0, 1], yticks=[-1, 0, 1]
    )
    time = np.arange(len(clip)) / HZ
    for stream in range(twin.config.num_streams):
        streams.plot(time, values["readout"][:, stream, 0], color=REFERENCE, linewidth=0.6)
    streams.plot(time, values["readout"][:, :, 0].mean(1), color=SIDE_BY_SIDE[0], linewidth=1.5)
    style(streams, "readout of a unit, by stream").set(xlabel="time (s)", ylabel="readout")
    for unit in range(UNITS):
        after.plot(time, responses[:, unit], color=SIDE_BY_SIDE[unit])
    style(after, "responses").set(xlabel="time (s)", ylabel=RESPONSE, ylim=(0, None))
    for ax in (streams, after):
        ax.set_xlim(0, len(clip) / HZ)
    panel_letters([where, streams, after])
    save_figure(figure, path)
