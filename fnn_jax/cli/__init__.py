"""The command line: ``fnn-jax VERB``. What a verb needs (torch, matplotlib, Orbax) is imported when it is used."""

import argparse
import os
import sys
from collections.abc import Sequence

from fnn_jax.common import checks
from fnn_jax.microns.release import MICRONS
from fnn_jax.weights.units import QUALITY

EPILOG = """\
examples:
  fnn-jax demo                              see it work, without any download
  fnn-jax download                          the published weights (222 MB), verified and converted
  fnn-jax demo --scan 8-5                   the same demo with published weights
  fnn-jax predict clip.mp4 --scan 8-5 -o responses.npz
                                            responses of all units to a video of yours
  fnn-jax screen videos/ --scan 8-5 6-4 --reduce mean -o screen.zarr
                                            a folder of videos, two scans; killed, it goes on where it was
  fnn-jax tune --protocol direction --scan 8-5 --units reliable -o out/
                                            OSI, DSI, preferred directions: tables and figures
  fnn-jax synthesize --scan 8-5 --units 12 40 --frames 60 -o exciting/
                                            the videos that excite two units most
  fnn-jax train config.toml                 a twin of your own mouse; killed, it goes on where it was
  fnn-jax evaluate my_twin evaluation_data/ -o results/
                                            cc_abs, cc_max, cc_norm ... on videos that were shown repeatedly
  fnn-jax info                              what is here
  fnn-jax verify                            is it whole?
  fnn-jax convert my_twin.pt my_twin        a twin you trained with the released package
  fnn-jax export my_twin back.pt            and back to PyTorch

documentation: the folder docs/ of the project
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0, 1 for an error that is explained in one message, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        code = options.run(options) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whom it was piped to, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"fnn-jax {options.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"fnn-jax {options.verb}: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    from fnn_jax.version import __version__

    parser = argparse.ArgumentParser(
        prog="fnn-jax",
        description="The Foundation Neural Network of mouse visual cortex (Wang et al., Nature 2025) in JAX.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fnn_jax {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_download(verbs)
    _add_demo(verbs)
    _add_info(verbs)
    _add_verify(verbs)
    _add_convert(verbs)
    _add_export(verbs)
    _add_predict(verbs)
    _add_screen(verbs)
    _add_tune(verbs)
    _add_synthesize(verbs)
    _add_data(verbs)
    _add_train(verbs)
    _add_evaluate(verbs)
    return parser


def _path(text: str) -> str:
    """A name that a file can have; which ones there are, the verbs say."""
    try:
        checks.path("it", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


TAGS = tuple(MICRONS.weights)
TAG_HELP = "which published weights; ori-trained are those trained further on oriented stimuli"
CACHE_HELP = "default: the folder of the environment variable FNN_JAX_CACHE, or one in your cache"


def _add_weights(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """The options of every verb that needs weights."""
    parser.add_argument(
        "--directory",
        metavar="DIR",
        type=_path,
        help=f"folder of weights: of fnn-jax download or fnn-jax convert, or the published files ({CACHE_HELP})",
    )
    rest = ", several of them, or 'all' that are here" if several else ""
    parser.add_argument(
        "--scan",
        metavar="8-5",
        nargs="+" if several else None,
        help=f"session and scan{rest}; may be left out where the folder holds one scan",
    )
    parser.add_argument("--weights", choices=TAGS, help=TAG_HELP)


def _add_download(verbs) -> None:
    parser = verbs.add_parser(
        "download",
        help="get the published weights and tables",
        description="Download the published weights and tables of properties, verify them, and convert the weights. "
        "What is there already causes no traffic; what is damaged is replaced; what was cut off or killed goes on "
        "where it was. The conversion needs PyTorch.",
    )
    parser.add_argument(
        "--weights", choices=(*TAGS, "none"), default="default", help=f"{TAG_HELP} (default: %(default)s)"
    )
    parser.add_argument("--scans", nargs="+", metavar="8-5", help="convert only these scans (default: all 13)")
    parser.add_argument(
        "--properties",
        nargs="*",
        metavar="NAME",
        help="tables of the units: performance, tuning, anatomy (a few MB each; the default), readout (213 MB)",
    )
    parser.add_argument("--directory", metavar="DIR", type=_path, help=f"folder to fill ({CACHE_HELP})")
    parser.add_argument("--offline", action="store_true", help="download nothing; say what is missing")
    parser.set_defaults(run=_download)


def _download(options: argparse.Namespace) -> None:
    from fnn_jax import microns

    weights = None if options.weights == "none" else options.weights
    chosen = {} if options.properties is None else {"properties": options.properties}
    directory = microns.download(
        weights=weights, scans=options.scans, directory=options.directory, offline=options.offline or None, **chosen
    )
    if weights is not None:
        print(microns.scans(weights=weights, directory=directory).to_string())
    print(f"in {directory}")


def _add_info(verbs) -> None:
    parser = verbs.add_parser(
        "info",
        help="what is in a folder of weights",
        description="Lists what a folder of weights holds: sizes, numbers of units, and where everything came from.",
    )
    parser.add_argument("directory", metavar="DIR", type=_path, nargs="?", help=CACHE_HELP)
    parser.set_defaults(run=_info)


def _info(options: argparse.Namespace) -> None:
    from fnn_jax.common.directories import cache_directory
    from fnn_jax.microns.verification import info

    directory = cache_directory(options.directory)
    table = info(directory)
    for archive in filter(None, table["archive"].unique()):
        print(f"{', '.join(table['weights'][table['archive'] == archive].unique())} weights: from {archive}")
    print(table.drop(columns="archive").to_string(index=False))
    print(f"{table['MB'].sum():.1f} MB in {directory}")


def _add_verify(verbs) -> None:
    parser = verbs.add_parser(
        "verify",
        help="check everything in a folder of weights",
        description="Checks every hash, that cores and scans belong together, all shapes against the architecture, the "
        "readout against the published arrays where these were downloaded, and, where the released package (fnn) is "
        "importable, responses side by side. Exit code 0: all is well; 1: something is not.",
    )
    parser.add_argument("directory", metavar="DIR", type=_path, nargs="?", help=CACHE_HELP)
    parser.add_argument("--weights", choices=TAGS, help="only these")
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    from fnn_jax.common.directories import cache_directory
    from fnn_jax.microns.verification import verify

    directory = cache_directory(options.directory)
    table, problems = verify(directory, weights=options.weights)
    print(table.to_string(index=False))
    for problem in problems:
        print(f"FAILED: {problem}")
    if problems:
        print(
            f"To replace damaged downloads: fnn-jax download --directory {directory}, with the weights and properties "
            "that are damaged. Other weights must be converted again."
        )
    else:
        print(f"all is well in {directory}")
    return 1 if problems else 0


def _add_export(verbs) -> None:
    parser = verbs.add_parser(
        "export",
        help="back to PyTorch",
        description="Writes a twin for the released package: one .pt file with all keys, or, where OUT does not end in "
        ".pt, a folder in the published layout. Converting it again gives the same weights, bit for bit.",
    )
    parser.add_argument("directory", metavar="DIR", type=_path, help="folder of weights")
    parser.add_argument("output", metavar="OUT", type=_path, help="file or folder to write, such as out.pt")
    parser.add_argument("--scan", metavar="8-5", help="may be left out where DIR holds one scan")
    parser.add_argument("--weights", choices=TAGS, help=TAG_HELP)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from fnn_jax import microns
    from fnn_jax.convert import export

    twin = microns.load(options.directory, options.scan, weights=options.weights)
    export(twin, options.output, overwrite=options.overwrite)
    print(f"wrote {twin} to {options.output}")


def _add_convert(verbs) -> None:
    parser = verbs.add_parser(
        "convert",
        help="PyTorch weights to Orbax checkpoints",
        description="Convert published weights, or a twin trained with the released package, into a folder that loads "
        "without PyTorch. Everything is checked: keys, shapes, checksums. DEST appears when all of it is complete.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=_path,
        help="folder with params_core.pt, params_8_5.pt ..., the published zip, or one .pt file",
    )
    parser.add_argument("destination", metavar="DEST", type=_path, help="folder to write")
    parser.add_argument("--scans", nargs="+", metavar="8-5", help="only these scans of a folder (default: all)")
    parser.add_argument("--name", default="twin", help="name of the scan of a single .pt file (default: %(default)s)")
    parser.add_argument("--weights", choices=TAGS, help=f"{TAG_HELP} (default: told by the zip's checksum)")
    parser.add_argument("--overwrite", action="store_true", help="replace DEST, once the new one is complete")
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> None:
    from fnn_jax.convert import convert
    from fnn_jax.microns import scan_name

    scans = None if options.scans is None else [scan_name(name) for name in options.scans]
    store = convert(
        options.source,
        options.destination,
        scans=scans,
        name=options.name,
        weights=options.weights,
        overwrite=options.overwrite,
        progress=sys.stderr.isatty(),
    )
    for scan in store.scans():
        print(f"{scan}: {store.metadata(scan)['config']['num_units']} units")
    print(f"written to {store.directory}")


def _add_demo(verbs) -> None:
    parser = verbs.add_parser(
        "demo",
        help="predict responses to two short videos, and draw them",
        description="Predicts the responses of a twin to three seconds of black, gray and white and to a photograph "
        "that is panned across, and draws them. Without --directory, --scan and --weights it makes a small scan with "
        "RANDOM weights, saves and loads it as a published one, and needs no download; it takes about half a minute.",
    )
    _add_weights(parser)
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=_path, default="demo", help="folder to write (default: %(default)s)"
    )
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from fnn_jax.demo import run_demo

    run_demo(options.output, options.directory, options.scan, options.weights)


PRECISION = {
    "choices": ("float32", "tensorfloat32", "bfloat16"),
    "default": "float32",
    "help": "the others are faster on accelerators, and less exact; see docs/speed.md (%(default)s)",
}
FORMS = "mp4, avi, mov, mkv, webm, gif, npy, npz, zarr, or a folder of images"


def _unit(text: str) -> int | str:
    return text if text in QUALITY else int(text)


def _add_prediction(parser: argparse.ArgumentParser, videos: bool = True) -> None:
    """What predictions of all kinds understand; ``videos``: also those of videos of any size and length."""
    parser.add_argument(
        "--units",
        nargs="+",
        type=_unit,
        metavar="ID",
        help="only these units, by readout_id, or 'reliable', 'oriented': by published properties (docs/units.md)",
    )
    if videos:
        parser.add_argument(
            "--fit",
            choices=("crop", "pad", "stretch"),
            default="crop",
            help="how frames of another size become 144 x 256: cut to 16:9, gray borders, or distorted (%(default)s)",
        )
    parser.add_argument(
        "--perspectives", metavar="NPY", type=_path, help="z-scored pupil position (x, y), [T, 2] or [2]; default zeros"
    )
    parser.add_argument(
        "--modulations",
        metavar="NPY",
        type=_path,
        help="z-scored pupil radius and treadmill velocity, [T, 2] or [2]; default zeros",
    )
    parser.add_argument("--periphery", choices=("dark", "extend"), default="dark", help="beyond the monitor")
    parser.add_argument("--precision", **PRECISION)
    parser.add_argument("--keep-compiled", action="store_true", help="keep what is compiled, for the next time")


def _add_predict(verbs) -> None:
    parser = verbs.add_parser(
        "predict",
        help="responses of a twin's units to videos",
        description=f"Predicts the responses of all units to each frame of one or more videos ({FORMS}). Videos become "
        "gray, 144 x 256 pixels and 30 frames a second; what was done to each is printed. OUT decides the format: .npy "
        "(one video, [frames, units]), .npz (an array for each video, and the table of units) or .zarr (for xarray).",
    )
    parser.add_argument("videos", nargs="+", type=_path, metavar="VIDEO", help=FORMS)
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=_path, required=True, help="file to write: .npy, .npz or .zarr"
    )
    parser.add_argument("--frames-per-second", type=float, metavar="HZ", help="of the input, where it does not say")
    parser.add_argument("--overwrite", action="store_true", help="replace a file OUT that is there (not a .zarr)")
    _add_weights(parser)
    _add_prediction(parser)
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> None:
    from fnn_jax.cli.prediction import predict

    predict(options)


def _add_screen(verbs) -> None:
    parser = verbs.add_parser(
        "screen",
        help="many stimuli, on every device, to disk",
        description="Predicts the responses of one or several scans to many stimuli, and writes them to a zarr folder "
        "that xarray reads. Killed at any moment and started again with the same arguments, it goes on where it was. "
        "Several processes, also on several machines, may work on one OUT.",
    )
    parser.add_argument(
        "stimuli",
        nargs="+",
        type=_path,
        metavar="STIMULI",
        help=f"a folder of videos, a .npy [S, T, 144, 256], or videos ({FORMS})",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=_path, required=True, help="folder to write, such as screen.zarr"
    )
    _add_weights(parser, several=True)
    parser.add_argument(
        "--reduce",
        choices=("frames", "mean", "max"),
        default="frames",
        help="keep every frame, or the mean or maximum over each interval (%(default)s)",
    )
    parser.add_argument(
        "--intervals", nargs="+", metavar="START:STOP", help="frames, such as 15:45; default: the whole stimulus"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="stimuli at once; default: from the memory at hand")
    parser.add_argument(
        "--errors",
        choices=("record", "raise"),
        default="record",
        help="note a broken stimulus and go on, or stop (%(default)s)",
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="one of several processes under SLURM, OpenMPI, Kubernetes or on TPUs",
    )
    _add_prediction(parser)
    parser.set_defaults(run=_screen)


def _screen(options: argparse.Namespace) -> None:
    from fnn_jax.cli.prediction import screen

    screen(options)


def _add_tune(verbs) -> None:
    parser = verbs.add_parser(
        "tune",
        help="tuning and receptive fields of units: tables and figures",
        description="Shows the stimuli of a protocol to one or several scans and measures every unit. Writes "
        "OUT/units.csv and .parquet (a row for each unit, with the published names of columns), conditions.csv (what "
        "was shown), arrays.npz (curves or fields), figures as .png and .pdf, and screen.zarr, the responses: killed "
        "and started again, it goes on there. See docs/physiology.md.",
    )
    parser.add_argument(
        "--protocol",
        required=True,
        choices=("direction", "frequency", "size", "contrast", "surround", "dots", "noise"),
        help="direction: OSI, DSI, gOSI, gDSI; frequency: spatial x temporal; size, contrast, surround: of gratings; "
        "dots, noise: receptive fields",
    )
    _add_weights(parser, several=True)
    parser.add_argument("-o", "--output", metavar="OUT", type=_path, required=True, help="folder to write")
    parser.add_argument(
        "--set",
        nargs="+",
        metavar="NAME=VALUE",
        default=[],
        help="parameters of the protocol, such as movies=4 duration_s=15 center=[10,-5]; a name that does not exist "
        "lists them",
    )
    parser.add_argument(
        "--geometry",
        choices=("spherical", "flat"),
        default="spherical",
        help="degrees as the eye sees them (of the first scan), or as many to every pixel (%(default)s)",
    )
    parser.add_argument("--reports", type=int, metavar="N", default=6, help="pages of single units (%(default)s)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="movies at once; default: from the memory at hand")
    _add_prediction(parser, videos=False)
    parser.set_defaults(run=_tune)


def _tune(options: argparse.Namespace) -> None:
    from fnn_jax.cli.tune import tune

    tune(options)


def _add_synthesize(verbs) -> None:
    parser = verbs.add_parser(
        "synthesize",
        help="the stimuli that units respond to most",
        description="Optimises a video for each unit, by gradients to its pixels. Writes OUT/result.npz (frames, "
        "losses, responses), table.csv, and for each unit a .mp4, a .gif and a figure that compares it with gratings "
        "and natural clips. Killed and started again, it goes on where it was. See docs/synthesis.md.",
    )
    _add_weights(parser)
    parser.add_argument("--units", nargs="+", type=int, metavar="ID", required=True, help="readout_id of each")
    parser.add_argument("--frames", type=int, default=60, metavar="N", help="of each video (%(default)s)")
    parser.add_argument("--static", action="store_true", help="one image, shown for all frames")
    parser.add_argument("--steps", type=int, default=500, metavar="N", help="of the optimiser (%(default)s)")
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
    parser.add_argument("--batch-size", type=int, metavar="N", help="units at once; default: from the memory at hand")
    parser.add_argument(
        "--clips", nargs="+", type=_path, metavar="VIDEO", help=f"natural clips to compare with ({FORMS})"
    )
    parser.add_argument("--no-comparison", action="store_true", help="no figures")
    parser.add_argument("-o", "--output", metavar="OUT", type=_path, required=True, help="folder to write")
    parser.set_defaults(run=_synthesize)


def _synthesize(options: argparse.Namespace) -> None:
    from fnn_jax.cli.synthesize import synthesize

    synthesize(options)


def _add_data(verbs) -> None:
    parser = verbs.add_parser("data", help="recordings: check them, or make an example", description="Recordings.")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="is a recording fit to train on?",
        description="Looks at every number of a recording in the released layout: files, shapes, types, scales, what "
        "is missing. Exit code 0: no problems; 1: there are some, and each is said.",
    )
    check.add_argument(
        "directory", metavar="DIR", type=_path, help="training data, evaluation data, or a folder that holds them"
    )
    check.add_argument("--window-frames", type=int, default=100, metavar="N", help="of a training window (%(default)s)")
    check.set_defaults(run=_check_data)
    example = actions.add_parser(
        "make-example",
        help="a small recording of a hidden twin",
        description="Writes a recording of 18 x 32 pixels, whose responses come from a twin with random weights, a "
        "twin to start from, and a config.toml, so that fnn-jax train can be tried without a mouse or a download.",
    )
    example.add_argument("directory", metavar="DIR", type=_path, help="folder to write")
    example.add_argument("--num-units", type=int, default=40, metavar="N", help="%(default)s")
    example.add_argument("--trials", type=int, default=20, metavar="N", help="a fifth is for validation (%(default)s)")
    example.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of a trial (%(default)s)")
    example.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    example.set_defaults(run=_make_example)


def _check_data(options: argparse.Namespace) -> int:
    from fnn_jax.cli.data import check_data

    return check_data(options)


def _make_example(options: argparse.Namespace) -> None:
    from fnn_jax.cli.data import make_example_data

    make_example_data(options)


def _add_train(verbs) -> None:
    parser = verbs.add_parser(
        "train",
        help="a twin of your own recording",
        description="Trains a twin as CONFIG says: a .toml file (docs/training.md), or the config.yaml of the released "
        "package as it is. Writes OUT/best and OUT/last, twins like any other, metrics.csv and objectives.png. Killed "
        "at any moment and started again, it goes on from its last checkpoint, to the same result.",
    )
    parser.add_argument("config", metavar="CONFIG", type=_path, help=".toml, or a released .yaml")
    parser.add_argument("-o", "--out", metavar="OUT", type=_path, help="folder to write; default: that of CONFIG")
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
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    from fnn_jax.cli.train import train

    train(options)


def _add_evaluate(verbs) -> None:
    parser = verbs.add_parser(
        "evaluate",
        help="how well a twin predicts repeated presentations",
        description="Predicts every repeat of every video from its own frames and behaviour, and compares with what "
        "was recorded: cc_abs, cc_max, cc_norm, FEVE, single-trial correlation, oracle. Writes OUT/units.csv (a row "
        "for each unit), videos.csv (each video and unit), settings.json and summary.png, .pdf: docs/evaluation.md.",
    )
    parser.add_argument("twin", metavar="TWIN", type=_path, help="folder of weights, as --directory of the other verbs")
    parser.add_argument(
        "data", metavar="DATA", type=_path, help="folder with {stimuli,perspectives,modulations,units}/VIDEO/REPEAT.npy"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=_path, default="evaluation", help="folder to write (default: %(default)s)"
    )
    parser.add_argument("--scan", metavar="8-5", help="may be left out where TWIN holds one scan")
    parser.add_argument("--weights", choices=TAGS, help=TAG_HELP)
    parser.add_argument("--units", nargs="+", type=int, metavar="ID", help="only these units, by readout_id")
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
    parser.add_argument("--periphery", choices=("dark", "extend"), default="dark", help="beyond the monitor")
    parser.add_argument("--precision", **PRECISION)
    parser.add_argument("--batch-size", type=int, metavar="N", help="repeats at once; default: from the memory at hand")
    parser.add_argument("--keep-compiled", action="store_true", help="keep what is compiled, for the next time")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are in OUT")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from fnn_jax.cli.evaluate import evaluate_twin

    evaluate_twin(options)
