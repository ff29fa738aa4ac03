"""``fnn-jax evaluate``: how well a twin predicts repeated presentations."""

import argparse

from fnn_jax import microns
from fnn_jax.cli.options import TAG_HELP, TAGS, add_rollout, add_units, count, path_name, select_units, use_all_cores
from fnn_jax.data.evaluation import EvaluationData
from fnn_jax.evaluation.measures import FILES, LEAST_FEV, MEASURES, check_output, evaluate
from fnn_jax.twin.compilation import enable_compilation_cache

EXPLAINABLE = f"feve, fev > {LEAST_FEV}"  # a row beside that of all units


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Predicts every repeat of every video from its own frames and behaviour, and compares with what "
        "was recorded: cc_abs, cc_max, cc_norm, FEVE, single-trial correlation, oracle. Writes OUT/units.csv (a row "
        "for each unit), videos.csv (each video and unit), settings.json, summary.png, .pdf and report.html: "
        "docs/evaluation.md."
    )
    parser.add_argument(
        "twin", metavar="TWIN", type=path_name, help="folder of weights, as --directory of the other verbs"
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        type=path_name,
        help="folder with {stimuli,perspectives,modulations,units}/VIDEO/REPEAT.npy",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=path_name,
        default="evaluation",
        help="folder to write (default: %(default)s)",
    )
    parser.add_argument("--scan", metavar="8-5", help="may be left out where TWIN holds one scan")
    parser.add_argument("--weights", choices=TAGS, help=TAG_HELP)
    add_units(parser)
    parser.add_argument(
        "--no-behaviour",
        dest="behaviour",
        action="store_false",
        help="zeros instead of the recorded pupil and treadmill",
    )
    parser.add_argument(
        "--burn-in",
        type=int,
        default=10,
        metavar="N",
        help="first frames of each video that do not count (%(default)s)",
    )
    parser.add_argument(
        "--missing",
        choices=("mean", "error"),
        default="mean",
        help="behaviour that is NaN: put 0, the mean of z-scored traces, or refuse it (%(default)s)",
    )
    add_rollout(parser)
    parser.add_argument("--batch-size", type=count, metavar="N", help="repeats at once (from the memory at hand)")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are in OUT")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Evaluate, print medians, write the folder of results."""
    output = check_output(options.output, options.overwrite)
    use_all_cores()
    if options.keep_compiled:
        enable_compilation_cache()
    data = EvaluationData(options.data, missing=options.missing)
    twin = microns.load(options.twin, options.scan, weights=options.weights)
    (selected,) = select_units([twin], options, options.twin)
    print(f"{twin!r}\n{data!r}")
    if data.num_missing and options.behaviour:
        print(
            f"{data.num_missing} of {data.num_behaviour} numbers of behaviour are missing (NaN): 0, their mean, is put"
        )
    evaluation = evaluate(
        twin,
        data,
        units=None if options.units is None else selected.units.index.tolist(),
        burn_in=options.burn_in,
        behaviour=options.behaviour,
        periphery=options.periphery,
        precision=options.precision,
        batch_size=options.batch_size,
    )
    evaluation.save(output, overwrite=options.overwrite)
    table = evaluation.table[list(MEASURES)]
    table.insert(MEASURES.index("feve") + 1, EXPLAINABLE, table["feve"].where(evaluation.explainable()))
    shown = table.describe().loc[["count", "25%", "50%", "75%"]].T
    shown["count"] = shown["count"].astype(int)
    print(shown.rename(columns={"count": "units", "50%": "median"}).to_string(float_format="{:.3f}".format))
    for remark in evaluation.remarks():
        print(f"note: {remark}")
    print(f"written to {output}: {', '.join(FILES)}")
