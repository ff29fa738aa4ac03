"""The array by submitit: python with_submitit.py [slurm | local | debug] WEIGHTS OUT STIMULI PARTS SCAN [SCAN ...]"""

import os
import sys
from pathlib import Path

import submitit
from screen_part import screen_part

FOLDER = str(Path(__file__).parent)  # the jobs import screen_part and worker from here
os.environ["PYTHONPATH"] = os.pathsep.join([FOLDER, *filter(None, [os.environ.get("PYTHONPATH")])])


class Part(submitit.helpers.Checkpointable):
    """Preempted or out of time, it is submitted again, and the screen goes on after its last finished block."""

    def __call__(self, index, settings):
        return screen_part(index, **settings)


def main(cluster, directory, out, stimuli, parts, *scans):
    settings = {"directory": directory, "scan": scans, "stimuli": int(stimuli), "parts": int(parts), "output": out}
    executor = submitit.AutoExecutor(Path(out) / "jobs", cluster=cluster)
    executor.update_parameters(timeout_min=120, cpus_per_task=4)
    if cluster == "slurm":
        executor.update_parameters(gpus_per_node=1, mem_gb=16, slurm_array_parallelism=32)
    count = len(scans) * int(parts)
    return [job.result() for job in executor.map_array(Part(), range(count), [settings] * count)]


if __name__ == "__main__":
    print(*main(*sys.argv[1:]), sep="\n")
