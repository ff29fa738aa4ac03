"""Do several devices, or several processes, get a screen done sooner?

On a CPU the devices are forced ones, which share its cores; elsewhere they are the first ones of this machine.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from machine import on_cpu
from options import parse
from sides import Ours
from table import Results
from turns import spread

BATCH = 8


class Case(NamedTuple):
    devices: int = 1
    processes: int = 1
    disk: bool = False


CASES = {
    "1 device": Case(),
    "2 devices": Case(devices=2),
    "4 devices": Case(devices=4),
    "2 processes, half of the clips each": Case(processes=2),
    "1 device, to disk": Case(disk=True),
    "2 processes, one folder on disk": Case(processes=2, disk=True),
}


def work(folder, rank, devices, processes, disk, units, clips, frames):
    """A process of a case: makes everything ready, then does its part for each line that it reads."""
    import jax

    from fnn_jax import Screen

    assert len(jax.local_devices()) == devices, jax.local_devices()
    stimuli = np.random.default_rng(0).integers(0, 256, (clips, frames, 144, 256), dtype=np.uint8)
    part = slice(None) if disk else slice(rank, None, processes)  # on disk they share the work by themselves
    screen = Screen(Ours(units).twin, reduce="mean", batch_size=BATCH, progress=False)
    responses = screen(stimuli[part])
    print("ready", flush=True)
    for turn, _ in enumerate(sys.stdin):
        responses = screen(stimuli[part], *([f"{folder}/{turn}.zarr"] if disk else []))
        print("done", flush=True)
    whole = np.full((clips, units), np.nan, np.float32)
    whole[part] = responses.responses.transpose("stimulus", "unit").values
    np.save(f"{folder}/{rank}.npy", whole)


class Workers:
    """The processes of a case, ready and waiting."""

    def __init__(self, case, folder, options):
        folder.mkdir()
        self.case, self.folder, self.processes = case, folder, []
        for rank in range(case.processes):
            sizes = (case.devices, case.processes, case.disk, options.units, options.clips, options.frames)
            code = f"import devices; devices.work({str(folder)!r}, {rank}, *{sizes!r})"
            cache = {"JAX_COMPILATION_CACHE_DIR": str(folder.parent / "cache")}  # compiling is not the question here
            environment = os.environ | cache | environment_of(case.devices, rank)
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", code],
                    cwd=Path(__file__).parent,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        self._wait("ready")

    def _wait(self, word):
        for process in self.processes:
            while (line := process.stdout.readline()).strip() != word:
                if not line:
                    raise SystemExit(f"{self.case} stopped; see above.")

    def seconds(self):
        start = time.perf_counter()
        for process in self.processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        self._wait("done")
        return time.perf_counter() - start

    def finish(self):
        """The responses of all of them."""
        for process in self.processes:
            process.stdin.close()
            process.wait()
        parts = np.stack([np.load(self.folder / f"{rank}.npy") for rank in range(self.case.processes)])
        return np.nanmean(parts, axis=0)


def environment_of(devices, rank):
    if on_cpu():
        flags = os.environ.get("XLA_FLAGS", "")
        return {"XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    return {"CUDA_VISIBLE_DEVICES": ",".join(str(rank * devices + i) for i in range(devices))}


def cases():
    import jax

    if on_cpu():
        return CASES
    return {name: case for name, case in CASES.items() if case.devices * case.processes <= jax.device_count()}


def main():
    quick = {"units": 60, "clips": 16, "frames": 8}
    options = parse(__doc__, quick, units=9941, clips=16, frames=24, repeats=3)
    results = Results(__doc__, options)
    import fnn_jax

    if not hasattr(fnn_jax, "Screen"):
        results.note("fnn_jax.Screen is not there.")
        return
    with tempfile.TemporaryDirectory() as folder:
        workers = {}
        try:
            for number, (name, case) in enumerate(cases().items()):
                workers[name] = Workers(case, Path(folder) / str(number), options)
            seconds = {name: [] for name in workers}
            for turn in range(options.repeats):
                for name in list(workers) if turn % 2 == 0 else reversed(workers):
                    seconds[name].append(workers[name].seconds())
            responses = {name: each.finish() for name, each in workers.items()}
        finally:
            for each in workers.values():
                for process in each.processes:
                    process.kill()

    first = next(iter(seconds))
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(seconds[first], values, strict=True)]
        difference = np.max(np.abs(responses[name] - responses[first])) / np.max(np.abs(responses[first]))
        cells = {"ms a frame": spread(s / options.clips / options.frames * 1e3 for s in values)}
        cells |= {f"times faster than {first}": spread(ratios), "difference": f"{difference:.0e}"}
        results.add(name, cells, seconds=values)
    size = f"{options.clips} clips of {options.frames} frames, {options.units} units"
    results.note(f"{size}, batches of {BATCH}; the means of their responses are kept.")


if __name__ == "__main__":
    main()
