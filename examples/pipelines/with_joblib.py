"""joblib, all workers in one folder: python with_joblib.py WEIGHTS SCAN COUNT RESULT.zarr"""

import sys

import joblib
import worker

WORKERS = 2  # as many as GPUs


def help_with(number, twin, count, out):
    worker.take_gpu(number)
    worker.show(twin, range(count), out)  # each takes the blocks that no other has


if __name__ == "__main__":
    directory, scan, count, out = sys.argv[1:]
    twin = worker.identity(directory, scan)
    joblib.Parallel(WORKERS)(joblib.delayed(help_with)(number, twin, int(count), out) for number in range(WORKERS))
