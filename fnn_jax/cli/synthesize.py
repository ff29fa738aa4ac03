"""What ``fnn-jax synthesize`` does."""

import argparse
import sys
from pathlib import Path

import numpy as np
import optax

from fnn_jax import microns
from fnn_jax.cli.prediction import use_all_cores
from fnn_jax.common.checks import number
from fnn_jax.common.files import whole_file
from fnn_jax.demo import panned_photograph
from fnn_jax.stimuli.display import Display
from fnn_jax.stimuli.gratings import grating
from fnn_jax.stimuli.movie import as_levels, save_movie
from fnn_jax.stimuli.natural import video
from fnn_jax.synthesis import objectives, parameterisations, penalties
from fnn_jax.synthesis.figures import draw_target
from fnn_jax.synthesis.optimisation import synthesize as run
from fnn_jax.twin.twin import Twin

DIRECTIONS = range(0, 360, 45)


def synthesize(options: argparse.Namespace) -> None:
    """A video for each unit, its figure, and a table."""
    output = Path(options.output).expanduser()
    learning_rate = number("--learning-rate", options.learning_rate, above=0)
    use_all_cores()
    twin = microns.load(options.directory, options.scan, weights=options.weights)
    size = (twin.config.stimulus_height, twin.config.stimulus_width)
    parameterisation = parameterisations.nlm(options.frames, *size, static=options.static)
    if options.contrast is not None:
        parameterisation = parameterisations.normalised(parameterisation, mean=0.5, contrast=options.contrast)
    roughness = penalties.roughness(temporal_std=0.0 if options.static else 1.0)
    clips = {Path(path).name: video(Display.of(twin), path).frames for path in options.clips or ()}
    found = run(
        twin,
        options.units,
        {"excite": objectives.excitation, "inhibit": objectives.inhibition}[options.objective](),
        parameterisation,
        steps=options.steps,
        optimizer=optax.adam(learning_rate),
        penalties=[(options.smooth, roughness)],
        burn_in=options.burn_in,
        seed=options.seed,
        batch_size=options.batch_size,
        out=output,
        progress=sys.stderr.isatty() or None,
    )
    with whole_file(output / "table.csv") as path:
        found.table.to_csv(path, index=False)
    others = {} if options.no_comparison else _comparisons(twin.select(options.units), clips, options)
    for index, name in enumerate(found.names):
        for suffix in (".mp4", ".gif"):
            save_movie(found.frames[index, 0], output / f"{name}{suffix}")
        if not options.no_comparison:
            draw_target(
                found, index, output / f"{name}.png", others={key: each[:, index] for key, each in others.items()}
            )
    print(found.table.to_string(index=False, float_format="{:.4g}".format))
    print(f"written to {output}: result.npz, table.csv, and a video and a figure of each unit")


def _comparisons(twin: Twin, clips: dict[str, np.ndarray], options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Responses ``[T, unit]`` to gratings in eight directions and to natural clips, after the burn-in."""
    display = Display.of(twin)
    frequency = min(0.04, 0.25 / display.unit_per_pixel)  # cycles per degree; less where the pixels are large
    stimuli = {
        f"grating {direction}": as_levels(
            grating(display, direction=direction, spatial_frequency=frequency, num_frames=options.frames)
        )
        for direction in DIRECTIONS
    }
    if not clips and (display.height, display.width) == (144, 256):
        clips = {"photograph": panned_photograph()}
    stimuli |= {name: frames[: max(options.frames, options.burn_in + 1)] for name, frames in clips.items()}
    return {name: twin.predict(frames)[options.burn_in :] for name, frames in stimuli.items()}
