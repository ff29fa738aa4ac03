"""One part of a large screen, by its number: a job of an array. Called again, it goes on where it was killed."""

import argparse
from pathlib import Path

import worker


def screen_part(index, *, directory, scans, stimuli, parts, out):
    """``index`` counts the parts of the first scan, then those of the second, and so on."""
    scan, part = scans[index // parts], index % parts
    path = Path(out) / scan / f"part-{part:04}.zarr"
    path.parent.mkdir(parents=True, exist_ok=True)
    worker.show(worker.identity(directory, scan), worker.cut(stimuli, parts)[part], path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=int, help="SLURM_ARRAY_TASK_ID, from 0")
    parser.add_argument("--directory", required=True, help="folder of weights")
    parser.add_argument("--scans", nargs="+", required=True)
    parser.add_argument("--stimuli", type=int, required=True, help="how many for each scan")
    parser.add_argument("--parts", type=int, required=True, help="of each scan")
    parser.add_argument("--out", required=True, help="folder for the parts, SCAN/part-0000.zarr")
    print(screen_part(**vars(parser.parse_args())))
