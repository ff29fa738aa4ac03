"""How long does it take from starting Python to the first prediction?

Every figure comes from processes of their own. The cache is that of fnn_jax.enable_compilation_cache.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import torch_device
from options import parse
from table import Results
from turns import spread

STEPS = {
    "import_s": "import",
    "load_s": "load a saved twin",
    "first_s": "first prediction, nothing compiled",
    "total_s": "all of that, Python's own start included",
    "cached_first_s": "first prediction, compilation cache filled",
    "cached_total_s": "all of that, compilation cache filled",
    "second_s": "the same prediction again",
}


def start_ours(folder, frames, device, cache):
    start = time.perf_counter()
    import fnn_jax

    imported = time.perf_counter()
    loads_torch = "torch" in sys.modules
    if cache is not None:
        fnn_jax.enable_compilation_cache(cache)
    twin = fnn_jax.Twin.load(folder / "twin")
    return {"import_s": imported - start, "torch": loads_torch, **_load_and_predict(imported, twin, frames)}


def start_released(folder, frames, device, cache):
    start = time.perf_counter()
    import torch
    from fnn.microns.build import network

    imported = time.perf_counter()
    state = torch.load(folder / "released.pt", weights_only=True)
    model = network(state["readout.feature.weights.0"].shape[0])
    model.load_state_dict(state)
    return {"import_s": imported - start, **_load_and_predict(imported, model.to(device), frames)}


def _load_and_predict(imported, side, frames):
    loaded = time.perf_counter()
    import numpy as np

    video = np.random.default_rng(0).integers(0, 256, (frames, 144, 256, 1), dtype=np.uint8)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        side.predict(video)
        seconds.append(time.perf_counter() - start)
    return {"load_s": loaded - imported, "first_s": seconds[0], "second_s": seconds[1]}


def in_new_process(function, folder, frames, cache=None):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JAX_COMPILATION_CACHE")}
    cache = None if cache is None else str(cache)
    code = (
        f"import json, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import startup; "
        f"print(json.dumps(startup.{function}(startup.Path({str(folder)!r}), {frames}, {torch_device()!r}, {cache!r})))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    times = json.loads(done.stdout.splitlines()[-1])
    return times | {"total_s": time.perf_counter() - start - times["second_s"]}


def main():
    options = parse(__doc__, {"units": 60, "frames": 8}, units=9941, frames=30)
    results = Results(__doc__, options)
    with tempfile.TemporaryDirectory() as folder:
        measure(results, options, Path(folder))


def measure(results, options, folder):
    from sides import Ours, has_released

    ours = Ours(options.units)
    ours.twin.save(folder / "twin")
    functions = {"fnn_jax": "start_ours"}
    if has_released() and not options.alone:
        import torch

        torch.save({key: torch.tensor(value) for key, value in ours.state_dict().items()}, folder / "released.pt")
        functions = {"released": "start_released", **functions}

    def once(function, cache=None):
        return in_new_process(function, folder, options.frames, cache)

    for side, function in functions.items():  # the files are read once before, and the cache is filled
        once(function, folder / "cache" if side == "fnn_jax" else None)
    times = {side: {step: [] for step in STEPS} for side in functions}
    loads_torch = False
    for _ in range(options.repeats):
        for side, function in functions.items():
            new = once(function)
            loads_torch |= new.pop("torch", False)
            if side == "fnn_jax":
                cached = once(function, folder / "cache")
                new |= {f"cached_{step}": cached[step] for step in ("first_s", "total_s")}
            for step, value in new.items():
                times[side][step].append(value)
    for step, name in STEPS.items():
        cells = {f"{side}, s": spread(values[step]) if values[step] else "-" for side, values in times.items()}
        results.add(name, cells, seconds={side: values[step] for side, values in times.items()})
    results.note(f"A prediction is of {options.frames} frames for {options.units} units.")
    results.note(f"Importing fnn_jax {'LOADS' if loads_torch else 'does not load'} torch.")


if __name__ == "__main__":
    main()
