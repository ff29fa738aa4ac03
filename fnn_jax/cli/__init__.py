"""The command line: ``fnn-jax VERB``, one file a verb. What a verb needs is imported when it is called."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from fnn_jax.cli.interruption import exit_code, explained_termination, how_to_resume
from fnn_jax.version import __version__

VERBS = {
    "download": "get the published weights and tables",
    "demo": "predict responses to two short videos, and draw them",
    "info": "what is in a folder of weights",
    "verify": "check everything in a folder of weights",
    "convert": "PyTorch weights to Orbax checkpoints",
    "export": "back to PyTorch, or to ONNX",
    "predict": "responses of a twin's units to videos",
    "screen": "many stimuli, on every device, to disk",
    "tune": "tuning and receptive fields of units: tables and figures",
    "synthesize": "the stimuli that units respond to most",
    "explore": "look around among units, in the browser",
    "data": "recordings: check them, or make an example",
    "train": "a twin of your own recording",
    "evaluate": "how well a twin predicts repeated presentations",
    "reproduce": "published numbers of the real mouse, computed again and compared",
}
EPILOG = """\
examples:
  fnn-jax demo                              see it work, without any download
  fnn-jax download                          the published weights (222 MB), verified and converted
  fnn-jax demo --scan 8-5                   the same demo with published weights
  fnn-jax predict clip.mp4 --scan 8-5 -o responses.npz
                                            responses of all units to a video of yours
  fnn-jax screen videos/ --scan 8-5 6-4 --reduce mean -o screen.zarr
                                            a folder of videos, two scans; killed, it resumes
  fnn-jax tune --protocol direction --scan 8-5 --units reliable -o out/
                                            OSI, DSI, preferred directions: tables and figures
  fnn-jax synthesize --scan 8-5 --units 12 40 --frames 60 -o exciting/
                                            the videos that excite two units most
  fnn-jax explore direction/                maps, filters and a table of units in the browser
  fnn-jax train config.toml                 a twin of your own mouse; killed, it resumes
  fnn-jax evaluate my_twin evaluation_data/ -o results/
                                            cc_abs, cc_max, cc_norm ... on videos that were shown repeatedly
  fnn-jax info                              what is here
  fnn-jax verify                            is it whole?
  fnn-jax reproduce responses               does it predict what the released model predicted?
  fnn-jax convert my_twin.pt -o my_twin     a twin you trained with the released package
  fnn-jax export my_twin -o back.pt         and back to PyTorch

documentation: the folder docs/ of the project
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0, 1 for an error that is explained in one message, 2 for wrong usage."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser(arguments).parse_args(arguments)
    try:
        with explained_termination():
            code = options.run(options) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whom it was piped to, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"fnn-jax {options.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interruption:
        print(f"\nfnn-jax {options.verb}: {how_to_resume(options, arguments)}", file=sys.stderr)
        return exit_code(interruption)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; of the verbs, only the one that is called has its options."""
    parser = argparse.ArgumentParser(
        prog="fnn-jax",
        description="The Foundation Neural Network of mouse visual cortex (Wang et al., Nature 2025) in JAX.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fnn_jax {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary)
        if name == called:
            module = importlib.import_module(f"fnn_jax.cli.{name}")
            module.add(verb)
    return parser
