"""One part of a large screen, by its number: a job of an array. Called again, it goes on where it was killed."""

import argparse
from pathlib import Path

import worker


def screen_part(index, *, directory, scan, stimuli, parts, output):
    """``index`` counts the parts of the first scan, then those of the second, and so on."""
    name, part = scan[index // parts], index % parts
    path = Path(output) / name / f"part-{part:04}.zarr"
    path.parent.mkdir(parents=True, exist_ok=True)
    worker.show(worker.identity(directory, name), worker.cut(stimuli, parts)[part], path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=int, help="SLURM_ARRAY_TASK_ID, from 0")
    parser.add_argument("--directory", required=True, help="folder of weights")
    parser.add_argument("--scan", nargs="+", required=True)
    parser.add_argument("--stimuli", type=int, required=True, help="how many for each scan")
    parser.add_argument("--parts", type=int, required=True, help="of each scan")
    parser.add_argument("-o", "--output", required=True, help="folder for the parts, SCAN/part-0000.zarr")
    print(screen_part(**vars(parser.parse_args())))
