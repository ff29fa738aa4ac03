"""``fnn-jax synthesize``: the stimuli that units respond to most."""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import optax

from fnn_jax import microns
from fnn_jax.cli.options import (
    FORMS,
    add_behaviour,
    add_rollout,
    add_units,
    add_weights,
    behaviour,
    count,
    path_name,
    select_units,
    use_all_cores,
)
from fnn_jax.common import page
from fnn_jax.common.checks import number
from fnn_jax.common.extras import missing
from fnn_jax.demo import panned_photograph
from fnn_jax.stimuli.display import Display
from fnn_jax.stimuli.gratings import grating
from fnn_jax.stimuli.movie import as_levels
from fnn_jax.stimuli.natural import video
from fnn_jax.synthesis import objectives, parameterisations, penalties
from fnn_jax.synthesis.optimisation import synthesize
from fnn_jax.synthesis.report import write_report
from fnn_jax.synthesis.result import RESULT, Synthesis, SynthesisError
from fnn_jax.twin.compilation import enable_compilation_cache
from fnn_jax.twin.inputs import constant_trace
from fnn_jax.twin.twin import Twin

DIRECTIONS = range(0, 360, 45)
SETTINGS = ("objective", "static", "contrast", "smooth", "learning_rate", "clips")
SETTINGS += ("perspectives", "modulations", "periphery", "precision")  # that the report states


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Optimises a video for each unit, by gradients to its pixels. Writes OUT/result.npz (frames, "
        "losses, responses), table.csv, for each unit a .mp4, a .gif and a figure that compares it with gratings and "
        "natural clips, and report.html with all of it. Killed and started again, it resumes. See docs/synthesis.md."
    )
    add_weights(parser)
    add_units(parser, required=True)
    parser.add_argument("--frames", type=count, default=60, metavar="N", help="of each video (%(default)s)")
    parser.add_argument("--static", action="store_true", help="one image, shown for all frames")
    parser.add_argument("--steps", type=count, default=500, metavar="N", help="of the optimiser (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=0.05, metavar="X", help="of Adam (%(default)s)")
    parser.add_argument("--contrast", type=float, metavar="X", help="fixed root-mean-square contrast, such as 0.2")
    parser.add_argument("--smooth", type=float, default=1e-4, metavar="X", help="weight of roughness (%(default)s)")
    parser.add_argument("--burn-in", type=int, default=10, metavar="N", help="frames that do not count (%(default)s)")
    parser.add_argument(
        "--objective",
        choices=("excite", "inhibit"),
        default="excite",
        help="the largest or the smallest responses (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first stimulus (%(default)s)")
    parser.add_argument("--batch-size", type=count, metavar="N", help="units at once (from the memory at hand)")
    parser.add_argument(
        "--clips", nargs="+", type=path_name, metavar="VIDEO", help=f"natural clips to compare with ({FORMS})"
    )
    parser.add_argument("--no-comparison", action="store_true", help="no figures")
    parser.add_argument("-o", "--output", metavar="OUT", type=path_name, required=True, help="folder to write")
    add_behaviour(parser)
    add_rollout(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """A video for each unit, its figure, and a table."""
    output = Path(options.output).expanduser()
    learning_rate = number("--learning-rate", options.learning_rate, above=0)
    use_all_cores()
    if options.keep_compiled:
        enable_compilation_cache()
    twin = microns.load(options.directory, options.scan, weights=options.weights)
    (selected,) = select_units([twin], options, options.directory)
    traces = behaviour(options)
    size = (twin.config.stimulus_height, twin.config.stimulus_width)
    parameterisation = parameterisations.nlm(options.frames, *size, static=options.static)
    if options.contrast is not None:
        parameterisation = parameterisations.normalised(parameterisation, mean=0.5, contrast=options.contrast)
    roughness = penalties.roughness(temporal_std=0.0 if options.static else 1.0)
    clips = {Path(path).name: video(Display.of(twin), path).frames for path in options.clips or ()}
    was_finished = _is_finished(output)
    found = synthesize(
        twin,
        selected.units.index.tolist(),
        {"excite": objectives.excitation, "inhibit": objectives.inhibition}[options.objective](),
        parameterisation,
        steps=options.steps,
        optimizer=optax.adam(learning_rate),
        penalties=[(options.smooth, roughness)],
        burn_in=options.burn_in,
        seed=options.seed,
        batch_size=options.batch_size,
        out=output,
        periphery=options.periphery,
        precision=options.precision,
        **traces,
    )
    shown = found.table.to_string(index=False, float_format="{:.4g}".format)
    if was_finished:
        print(f"{shown}\nfinished before, and nothing was computed: the results are in {output}")
        print(f"to draw them again, remove {output / page.REPORT}")
        return
    written = write_report(
        found,
        output,
        twin=twin,
        others={} if options.no_comparison else _comparisons(selected, clips, traces, options),
        figures=not options.no_comparison,
        periphery=options.periphery,
        **traces,
        settings={name: value for name in SETTINGS if (value := getattr(options, name)) is not None},
    )
    print(f"{shown}\nwritten to {output}: {RESULT}, {', '.join(path.name for path in written)}")
    if importlib.util.find_spec("av") is None:
        print(missing("no .mp4: that", "video"))


def _is_finished(output: Path) -> bool:
    """Whether the result is there and whole, and the report, which is written last."""
    try:
        Synthesis.load(output)
    except SynthesisError:
        return False
    return (output / page.REPORT).exists()


def _comparisons(
    twin: Twin, clips: dict[str, np.ndarray], traces: dict[str, np.ndarray], options: argparse.Namespace
) -> dict[str, np.ndarray]:
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

    def responses(frames: np.ndarray) -> np.ndarray:
        cut: dict[str, Any] = {
            name: constant_trace(name, trace, len(frames))[: len(frames)] for name, trace in traces.items()
        }
        return twin.predict(frames, periphery=options.periphery, precision=options.precision, **cut)[options.burn_in :]

    return {name: responses(frames) for name, frames in stimuli.items()}
