"""What happens to everything that fnn_jax writes when files are damaged, processes killed, disks full, folders shared?

    python benchmarks/faults.py --out faults.md

After each fault the folder is read as a user reads it, and the same work is called again. Wrong results, unclear errors
and finished work that is lost must not be; each is listed, and the exit code is 1. Everything is written into a
temporary folder, which is removed.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

# For each kind of folder: damaged files, kills at calls, kills at moments, sizes of a disk, pairs of writers.
FULL, QUICK = (160, 16, 4, 8, 2), (8, 2, 0, 1, 1)


def parse():
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="a few of each, to see that it runs")
    parser.add_argument("--seed", type=int, default=0, help="of what is damaged, and when processes are killed")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="some kinds of folder, such as Weights")
    parser.add_argument("--log", help="file for what the processes print on standard error")
    parser.add_argument("--out", help="file to write the table to, as Markdown")
    return parser.parse_args()


def run(options, folder):
    """The tally of everything, and notes; ``folder`` is empty, and may be thrown away."""
    from injection import children, moments, tally, works
    from injection.inputs import write_inputs
    from tqdm.auto import tqdm

    inputs = folder / "inputs"
    write_inputs(inputs)
    counts = QUICK if options.quick else FULL
    chosen = [works.WORKS[name](inputs) for name in options.only or works.WORKS]
    result, notes = tally.Tally(), []
    forks = children.Children(folder / "children.log")
    with moments.small_disk(folder / "disk") as disk:
        if disk is None:
            notes.append("No disk could be mounted here, so none was full.")
        total = sum(sum(_counts(work, counts)) - (0 if disk else _counts(work, counts)[3]) for work in chosen)
        with tqdm(total=total, unit="fault", desc="faults") as bar:
            for work in chosen:
                bar.set_description(type(work).__name__)
                _inflict(work, _counts(work, counts), folder, disk, forks, options.seed, result, bar.update)
                if work.every > 1:
                    notes.append(f"{work.title}: finished ones were called again after one damage of {work.every}.")
    forks.close()
    said = (folder / "children.log").read_text(errors="replace")
    notes.append(f"Tracebacks that the processes printed on standard error: {said.count('Traceback')}.")
    if options.log:
        Path(options.log).write_text(said)
    return result, notes


def _counts(work, counts):
    """Half as many, where what is called again takes long."""
    return [(number + 1) // 2 if work.slow else number for number in counts]


def _inflict(work, counts, folder, disk, forks, seed, result, step):
    """All the faults of one kind of folder."""
    import numpy as np
    from injection import damage, moments

    damaged, calls, at_random, sizes, pairs = counts
    work.prepare()
    finished, begun, shared = (folder / name / "out" for name in ("finished", "begun", "shared"))
    for path in (finished, begun):
        path.parent.mkdir(exist_ok=True)
    work.make(finished)
    work.begin(begun)
    expected, older, folders = work.read(finished), None, {"finished": finished, "unfinished": begun}
    values = [expected]
    if not work.goes_on:
        older, values = begun, [expected, work.read(begun)]
        del folders["unfinished"]
    damage.damage(work, folders, expected, damaged, seed, result, step)
    moments.kills(work, forks, shared, older, values, (calls, at_random), np.random.default_rng(seed), result, step)
    if disk is not None:
        shares = moments.SHARES[:: len(moments.SHARES) // sizes]
        moments.no_room(work, forks, disk, older, values, shares, result, step)
    moments.two_at_once(work, forks, shared, [older, begun][:pairs], values, result, step)
    for path in (finished, begun):
        shutil.rmtree(path)


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that the disk and the folder are removed
    with tempfile.TemporaryDirectory(prefix="fnn_jax-faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))  # for all the processes
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
        warnings.simplefilter("ignore")
        result, notes = run(options, folder)
    kinds = ", ".join(f"{number} of {kind}" for kind, number in result.kinds.items())
    text = "\n".join([result.table(), f"{result.faults} faults: {kinds}.", *notes]) + "\n"
    print(text)
    if options.out:
        Path(options.out).write_text(text)
    for case in result.cases:
        print(case)
    return 1 if result.cases else 0


if __name__ == "__main__":
    sys.exit(main())
