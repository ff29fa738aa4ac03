"""Actors of Ray: python with_ray.py WEIGHTS SCAN COUNT RESULT.npy"""

import sys

import numpy as np
import ray
import worker

WORKERS = 2  # as many as GPUs


@ray.remote
class Shower:
    def __init__(self, twin):
        self.twin = twin

    def responses(self, numbers):
        return worker.responses(self.twin, numbers)


def main(directory, scan, count):
    twin = worker.identity(directory, scan)
    gpus = int("GPU" in ray.cluster_resources())  # Ray shows each actor its own
    actors = [Shower.options(num_cpus=1, num_gpus=gpus).remote(twin) for _ in range(WORKERS)]
    pool = ray.util.ActorPool(actors)
    parts = pool.map(lambda actor, numbers: actor.responses.remote(numbers), worker.cut(count, 4 * WORKERS))
    return np.concatenate(list(parts))


if __name__ == "__main__":
    directory, scan, count, result = sys.argv[1:]
    ray.init(num_cpus=WORKERS, include_dashboard=False)
    np.save(result, main(directory, scan, int(count)))
    ray.shutdown()
