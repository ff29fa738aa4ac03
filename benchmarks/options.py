"""Options of the scripts."""

import argparse
import sys

HELP = {
    "repeats": "turns of each side",
    "units": "units of the network",
    "frames": "frames of a clip",
    "clips": "clips of a batch",
    "quick": "tiny sizes, to see that it runs",
    "alone": "leave the released package out",
    "compile": "one more column: the released package with torch.compile of what compiles",
    "large": "the whole size also on a CPU",
    "limit_s": "seconds that one case may take",
    "json": "file to write the results to, raw times included",
}


def parse(description, quick, **defaults):
    """Options of a script: a list, a switch or a number by their default; ``quick`` are the defaults of --quick."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    for name, default in {"repeats": 5, **defaults, "quick": False, "alone": False, "json": None}.items():
        kind = {"action": "store_true"} if default is False else {"default": default}
        if isinstance(default, list | int) and default is not False:
            kind |= {"type": int, "nargs": "+" if isinstance(default, list) else None}
        parser.add_argument("--" + name.replace("_", "-"), help=HELP[name], **kind)
    if "--quick" in sys.argv:
        parser.set_defaults(**{"repeats": 1, **quick})
    return parser.parse_args()
