"""What do the programs that users run take on this device, and what does the model of accelerators.py say?

The same programs as there, on arrays of random numbers. Counted are the kernels and bytes of what this device's own
compiler made of them.
"""

import time

import accelerators
import jax
import numpy as np
import programs
from machine import on_cpu
from options import parse
from table import Results
from turns import short, spread

from fnn_jax import NetworkConfig

CALLS = 5  # that are dispatched one after the other, as users do, in a turn
# As many as fit into some minutes, the most used first.
CASES = [
    ("predict, 8 videos of 8 frames", accelerators.PRECISIONS),
    ("predict, 1 video of 32 frames", accelerators.PRECISIONS),
    ("predict, 32 videos of 8 frames", accelerators.PRECISIONS),
    ("gradient on pixels, 8 videos of 8 frames", ("tensorfloat32", "float32", "bfloat16")),
    ("training, every parameter, 4 windows of 30 frames", ("tensorfloat32",)),
    ("training, released recipe, 4 windows of 30 frames", ("tensorfloat32",)),
    ("synthesis step, 32 targets of 30 frames", ("tensorfloat32",)),
    ("screen, 13 scans, 8 videos of 8 frames", ("tensorfloat32",)),
]


def random_arrays(shapes):
    """On the device; small numbers around zero, so that nothing overflows."""
    random = np.random.default_rng(0)

    def one(a):
        if a.dtype == bool:
            return jax.numpy.ones(a.shape, bool)
        if np.issubdtype(a.dtype, np.integer):
            return jax.numpy.asarray(random.integers(0, 200 if a.dtype == np.uint8 else 2, a.shape), a.dtype)
        return jax.numpy.asarray(random.standard_normal(a.shape, dtype=np.float32) * 0.1 + 0.5, a.dtype)

    return jax.tree.map(one, shapes)


def main():
    options = parse(__doc__, {"units": 60}, units=9941)
    results = Results(__doc__, options)
    config = NetworkConfig.tiny(options.units) if options.quick else NetworkConfig.microns(options.units)
    device = accelerators.DEVICES["h100"]
    for name, precisions in CASES:
        for precision in precisions:
            try:
                measure(results, f"{name}, {precision}", programs.PROGRAMS[name](config, precision), device, precision)
            except Exception as error:  # the others are wanted, too
                results.add(f"{name}, {precision}", {"ms a frame": f"failed: {str(error).splitlines()[0][:200]}"})


def measure(results, name, program, device, precision):
    arguments = random_arrays(program.arguments)
    start = time.perf_counter()
    executable = jax.jit(program.function).lower(*arguments).compile()
    compile_s = time.perf_counter() - start
    jax.block_until_ready(executable(*arguments))
    seconds = []
    for _ in range(results.repeats):
        start = time.perf_counter()
        for _ in range(CALLS):
            out = executable(*arguments)
        jax.block_until_ready(out)
        seconds.append((time.perf_counter() - start) / CALLS)
    cells = {"ms a frame": spread(s / program.frames * 1e3 for s in seconds)}
    raw = {"seconds": seconds, "compile_s": compile_s}
    if not on_cpu():
        found = accelerators.counted(executable, device.platform)
        flops = (executable.cost_analysis() or {}).get("flops", 0.0)
        modelled_s = accelerators.modelled_s(found, flops, device, precision)
        cells["modelled for an H100"] = short(modelled_s / program.frames * 1e3)
        cells["MB a frame"] = short(found.bytes / program.frames / 1e6)
        cells["kernels a frame"] = short(found.kernels / program.frames)
        raw |= {"modelled_s": modelled_s, "bytes": found.bytes, "kernels": found.kernels}
    temporaries = executable.memory_analysis().temp_size_in_bytes
    cells |= {"temporaries, GB": short(temporaries / 1e9), "compiling, s": short(compile_s)}
    results.add(name, cells, temporaries=temporaries, **raw)


if __name__ == "__main__":
    main()
