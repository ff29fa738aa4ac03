"""Workers of dask: python with_dask.py WEIGHTS SCAN COUNT RESULT.npy"""

import sys

import distributed
import numpy as np
from worker import cut, identity, responses, take_gpu

WORKERS = 2  # as many as GPUs


class OneGpu(distributed.WorkerPlugin):
    """For every worker, also for one that takes the place of one that died."""

    def setup(self, worker):
        take_gpu(int(worker.name))


def main(client, directory, scan, count):
    twin = identity(directory, scan)
    parts = cut(count, 4 * WORKERS)
    return np.concatenate(client.gather(client.map(responses, [twin] * len(parts), parts)))


if __name__ == "__main__":
    directory, scan, count, result = sys.argv[1:]
    with (
        distributed.LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.register_plugin(OneGpu())
        np.save(result, main(client, directory, scan, int(count)))
