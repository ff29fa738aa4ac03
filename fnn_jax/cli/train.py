"""``fnn-jax train``: a twin of your own recording."""

import argparse
import contextlib
import importlib.util
import json

import jax
import pandas as pd

from fnn_jax import microns
from fnn_jax.cli.options import path_name, use_all_cores
from fnn_jax.data.training import TrainingData
from fnn_jax.training.config import Job, read_job
from fnn_jax.training.loop import train
from fnn_jax.training.result import BEST, LAST, Training
from fnn_jax.twin.compilation import enable_compilation_cache


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains a twin as CONFIG says: a .toml file (docs/training.md), or the config.yaml of the released "
        "package as it is. Writes OUT/best and OUT/last, twins like any other, metrics.csv, objectives.png and "
        "report.html. Killed at any moment and started again, it resumes from its last checkpoint, to the same result."
    )
    parser.add_argument("config", metavar="CONFIG", type=path_name, help=".toml, or a released .yaml")
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=path_name, help="folder to write; default: that of CONFIG"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="entries of the recipe, such as epochs=20 precision=bfloat16; a name that does not exist lists them",
    )
    parser.add_argument(
        "--accept-scaling", action="store_true", help="traces need not be z-scored, nor responses divided by their mean"
    )
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=10, metavar="M", help="besides after each epoch (%(default)s)"
    )
    parser.add_argument("--distributed", action="store_true", help="one of several processes that train together")
    parser.add_argument("--keep-compiled", action="store_true", help="keep what is compiled, for the next time")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Train as a file says, and say what came out."""
    job = read_job(options.config, _changes(options.set), options.output)
    if options.keep_compiled:
        enable_compilation_cache()
    if options.distributed:
        jax.distributed.initialize()
    else:
        use_all_cores()
    start = None if job.start is None else microns.load(**job.start)
    data = {scan: TrainingData(folder, job.max_items) for scan, folder in job.training.items()}
    units = None if job.units is None else pd.read_csv(job.units, index_col="readout_id")
    print(*data.values(), sep="\n")
    if start is not None:
        print(f"starting from {start!r}: {', '.join(job.recipe.transfer)}")
    training = train(
        data,
        job.out,
        start,
        job.recipe,
        config=job.architecture(None if start is None else start.config),
        units=units,
        accept_scaling=job.accept_scaling or options.accept_scaling,
        checkpoint_minutes=options.checkpoint_minutes,
    )
    if jax.process_index() == 0:
        _report(training, job)


def _report(training: Training, job: Job) -> None:
    table = training.metrics
    print(table.tail(5).to_string(index=False, float_format="{:.4f}".format))
    written = f"{BEST}/, {LAST}/, metrics.csv, objectives.png, report.html"
    print(f"best epoch: {training.best_epoch}\nin {training.directory}: {written}")
    if job.state_dict is not None:
        path = training.directory / job.state_dict
        if importlib.util.find_spec("torch") is None:
            print(
                f"PyTorch is not installed, so {path.name} was not written: "
                f"fnn-jax export {training.directory / LAST} -o {path}"
            )
        elif not path.exists():
            from fnn_jax.convert import export

            export(training.twin(LAST), path)
            print(f"{path.name}: the last weights for the released package")
    if job.evaluation is not None:
        print(f"next: fnn-jax evaluate {training.directory / BEST} {job.evaluation}")


def _changes(texts: list[str]) -> dict:
    """Entries of a recipe as ``NAME=VALUE``; values as in TOML or plain text."""
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set has {text!r}; expected NAME=VALUE, such as epochs=20.")
        changes[name] = value
        with contextlib.suppress(ValueError, RecursionError):  # such as that of an integer of many digits
            changes[name] = json.loads(value)
    return changes
