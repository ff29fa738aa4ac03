"""``fnn-jax export``: back to PyTorch, or to ONNX."""

import argparse

from fnn_jax import microns
from fnn_jax.cli.options import TAG_HELP, TAGS, add_units, count, path_name, select_units

OF_ONNX = ("units", "num_frames", "periphery", "external_mb")


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes a twin for the released package: one .pt file with all keys, or, where OUT does not end in "
        ".pt, a folder in the published layout. Converting it again gives the same weights, bit for bit. "
        "With --format onnx, a model for onnxruntime, on CPUs and in browsers; see docs/onnx.md."
    )
    parser.add_argument("directory", metavar="DIR", type=path_name, help="folder of weights")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=path_name,
        required=True,
        help="file or folder to write, such as out.pt or out.onnx",
    )
    parser.add_argument("--scan", metavar="8-5", help="may be left out where DIR holds one scan")
    parser.add_argument("--weights", choices=TAGS, help=TAG_HELP)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    parser.add_argument("--format", choices=("pt", "onnx"), default="pt", help="(%(default)s)")
    onnx = parser.add_argument_group("of --format onnx")
    add_units(onnx)
    onnx.add_argument(
        "--frames", dest="num_frames", type=count, metavar="N", help="a chunk of so many frames instead of one step"
    )
    onnx.add_argument("--periphery", choices=("dark", "extend"), help="beyond the monitor (dark)")
    onnx.add_argument(
        "--external-mb",
        type=float,
        metavar="MB",
        help="weights in files of at most so many megabytes each; OUT is a folder",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    chosen = {name: getattr(options, name) for name in OF_ONNX if getattr(options, name) is not None}
    if options.format == "onnx":
        chosen.pop("units", None)
        twin = microns.load(options.directory, options.scan, weights=options.weights)
        (selected,) = select_units([twin], options, options.directory)
        if options.units is not None:
            chosen["units"] = selected.units.index.tolist()
        path = twin.export_onnx(options.output, overwrite=options.overwrite, **chosen)
        print(f"wrote {selected} to {path}")
        return
    for name, value in chosen.items():
        option = name.removeprefix("num_").replace("_", "-")
        raise ValueError(f"--{option} is {value}, but it is of --format onnx. Leave it out, or add that.")

    from fnn_jax.convert import export  # needs torch, which the help does not

    twin = microns.load(options.directory, options.scan, weights=options.weights)
    export(twin, options.output, overwrite=options.overwrite)
    print(f"wrote {twin} to {options.output}")
