"""What ``fnn-jax evaluate`` does."""

import argparse
import sys

from fnn_jax import microns
from fnn_jax.cli.prediction import use_all_cores
from fnn_jax.data.evaluation import EvaluationData
from fnn_jax.evaluation.measures import FILES, MEASURES, check_output, evaluate
from fnn_jax.twin.compilation import enable_compilation_cache


def evaluate_twin(options: argparse.Namespace) -> None:
    """Evaluate, print medians, write the folder of results."""
    output = check_output(options.output, options.overwrite)
    use_all_cores()
    if options.keep_compiled:
        enable_compilation_cache()
    data = EvaluationData(options.data, missing=options.missing)
    twin = microns.load(options.twin, options.scan, weights=options.weights)
    print(f"{twin!r}\n{data!r}")
    if data.num_missing and options.behaviour:
        print(
            f"{data.num_missing} of {data.num_behaviour} numbers of behaviour are missing (NaN): 0, their mean, is put"
        )
    evaluation = evaluate(
        twin,
        data,
        units=options.units,
        burn_in=options.burn_in,
        behaviour=options.behaviour,
        periphery=options.periphery,
        precision=options.precision,
        batch_size=options.batch_size,
        progress=sys.stderr.isatty() or None,
    )
    evaluation.save(output, overwrite=options.overwrite)
    shown = evaluation.table[list(MEASURES)].describe().loc[["count", "25%", "50%", "75%"]].T
    shown["count"] = shown["count"].astype(int)
    print(shown.rename(columns={"count": "units", "50%": "median"}).to_string(float_format="{:.3f}".format))
    print(f"written to {output}: {', '.join(FILES)}")
