"""Processes of the standard library: python with_multiprocessing.py WEIGHTS SCAN COUNT RESULT.npy"""

import concurrent.futures
import itertools
import multiprocessing
import sys

import numpy as np
import worker

WORKERS = 2  # as many as GPUs


def begin(numbers):
    worker.take_gpu(numbers.get())


def main(directory, scan, count):
    context = multiprocessing.get_context("spawn")  # JAX has threads, and a forked process would hang
    numbers = context.Queue()
    for number in range(WORKERS):
        numbers.put(number)
    twin = worker.identity(directory, scan)
    with concurrent.futures.ProcessPoolExecutor(WORKERS, context, begin, (numbers,)) as pool:
        parts = pool.map(worker.responses, itertools.repeat(twin), worker.cut(count, 4 * WORKERS))
        return np.concatenate(list(parts))


if __name__ == "__main__":
    directory, scan, count, result = sys.argv[1:]
    np.save(result, main(directory, scan, int(count)))
