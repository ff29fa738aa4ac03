"""What of the released package does torch.compile compile, and what is gained?

The parts are compiled as they are, with ``fullgraph=False``. In "the whole, convolutions over time left out" those six,
which keep past frames, are called as before, and ``recompile_limit`` is raised so that every shape is compiled.
"""

import json
import statistics
import subprocess
import sys

from machine import HERE, torch_device
from options import parse
from sides import COMPILED, has_released
from table import Results
from turns import short, spread, timed

CASES = {
    "the whole": [""],
    "feedforward": ["core.feedforward"],
    "recurrent": ["core.recurrent"],
    "readout": ["readout"],
    "perspective": ["perspective"],
    ", ".join(part.removeprefix("core.") for part in COMPILED): COMPILED,
    "the whole, convolutions over time left out": [""],
}
RECOMPILE_LIMIT = 64


def case(name, device, units, frames, repeats):
    """Print what happens as a line of JSON; in a process of its own."""
    import numpy as np
    import torch
    from sides import Released, random_video

    eager = Released(units, device=device)
    torch.manual_seed(0)
    for parameter in eager.model.readout.parameters():  # zeros, in a new model
        torch.nn.init.normal_(parameter, std=0.3)
    compiled = Released(units, eager.model.state_dict(), device=device)
    if name.endswith("left out"):
        torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
        for module in compiled.model.modules():
            if getattr(module, "temporal", 1) > 1:
                module.forward = torch.compiler.disable(module.forward)
    for part in CASES[name]:
        (compiled.model.module(part) if part else compiled.model).compile()
    video = random_video(frames)
    expected = eager.predict(video)
    try:
        first_s, responses = timed(lambda: compiled.predict(video))
    except Exception as error:  # whatever it raises is the answer
        print(json.dumps({"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}))
        return
    difference = float(np.max(np.abs(responses - expected)) / np.max(np.abs(expected)))
    turns = [[timed(lambda s=s: s.predict(video))[0] for s in (eager, compiled)] for _ in range(repeats)]
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    print(json.dumps({"first_s": first_s, "turns": turns, "difference": difference, "graphs": graphs}))


def main():
    quick = {"units": 60, "frames": 4}
    options = parse(__doc__, quick, units=9941, frames=30, limit_s=600)
    results = Results(__doc__, options)
    if options.alone or not has_released():
        results.note("The released package is not there.")
        return
    for name in CASES:
        sizes = (name, torch_device(), options.units, options.frames, options.repeats)
        command = [sys.executable, "-c", f"import torch_compile; torch_compile.case(*{sizes!r})"]
        try:
            done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, text=True, timeout=options.limit_s)
        except subprocess.TimeoutExpired:
            results.add(name, {"outcome": f"not done after {options.limit_s} s"})
            continue
        lines = done.stdout.splitlines()
        happened = json.loads(lines[-1]) if lines and not done.returncode else {"error": f"exit {done.returncode}"}
        if "error" in happened:
            results.add(name, {"outcome": happened["error"]}, **happened)
            continue
        eager_s, compiled_s = zip(*happened["turns"], strict=True)
        cells = {"outcome": f"{happened['graphs']} graphs"}
        for side, seconds in (("eager", eager_s), ("compiled", compiled_s)):
            cells[f"{side}, ms a frame"] = spread(s / options.frames * 1e3 for s in seconds)
        cells["times faster"] = spread(a / b for a, b in happened["turns"])
        cells["compiling, s"] = short(happened["first_s"] - statistics.median(compiled_s))
        results.add(name, cells | {"difference": f"{happened['difference']:.0e}"}, **happened)
    results.note(
        "The whole, and the feedforward part, fail where a full `deque(maxlen=3)` of past frames is appended to: in "
        f"compiled code it grows to 4 (torch {results.table['machine']['versions']['torch']})."
    )


if __name__ == "__main__":
    main()
