"""What do the programs that users run take on this device, and what does the model of accelerators.py say?

The same programs as there, on random weights and inputs. Counted are the kernels and bytes of what this device's own
compiler made of them. Programs of one row of CASES are compiled side by side; nothing else runs while one is timed.
"""

import collections
import functools
import glob
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import accelerators
import jax
import numpy as np
import programs
from counting import counted
from machine import on_cpu
from options import parse
from table import Results
from turns import short, spread

from fnn_jax import NetworkConfig
from fnn_jax.demo import random_network
from fnn_jax.model.layers import fold_weight_norm
from fnn_jax.model.parameters import named_parameters

CALLS = 5  # that are dispatched one after the other, as users do, in a turn
# In the order in which they are compiled, each row side by side: the most used first, if time runs out. An H100 with 16
# cores beside it compiled nine predictions in 195 s, and it is the compiling that takes the time.
CASES = [
    [
        *(("predict, 8 videos of 8 frames", precision) for precision in ("tensorfloat32", "bfloat16")),
        ("predict, 1 video of 32 frames", "tensorfloat32"),
        ("predict, 32 videos of 8 frames", "tensorfloat32"),
        ("gradient on pixels, 8 videos of 8 frames", "tensorfloat32"),
    ],
    [
        ("training, released recipe, 4 windows of 30 frames", "tensorfloat32"),
        ("synthesis step, 32 targets of 30 frames", "tensorfloat32"),
        ("training, every parameter, 4 windows of 30 frames", "tensorfloat32"),
    ],
    [
        ("predict, 8 videos of 8 frames", "float32"),
        ("gradient on pixels, 8 videos of 8 frames", "float32"),
        ("gradient on pixels, 8 videos of 8 frames", "bfloat16"),
    ],
]


@functools.cache
def weights(config):
    """Of a random network: as they are, by name, and normalised."""
    network = random_network(config)
    return named_parameters(network), jax.jit(fold_weight_norm)(network)


def values(arguments, config):
    """Arguments of a program, on the device: the weights of a random network, and small numbers for all else."""
    named, folded = weights(config)
    leaves, random = jax.tree.leaves(folded), np.random.default_rng(0)

    def one(a):
        if a.dtype == bool:
            return jax.numpy.ones(a.shape, bool)
        if np.issubdtype(a.dtype, np.integer):
            return jax.numpy.asarray(random.integers(0, 200 if a.dtype == np.uint8 else 2, a.shape), a.dtype)
        return jax.numpy.asarray(random.random(a.shape, dtype=np.float32) * 0.1, a.dtype)

    def filled(tree):
        if jax.tree.structure(tree) == jax.tree.structure(folded):
            return folded
        if isinstance(tree, dict) and tree.keys() <= named.keys():
            return {name: named[name] for name in tree}
        if isinstance(tree, list):
            same = [getattr(each, "shape", None) for each in tree] == [leaf.shape for leaf in leaves]
            return leaves if same else [filled(each) for each in tree]
        return jax.tree.map(one, tree)

    return tuple(map(filled, arguments))


def main():
    options = parse(__doc__, {"units": 60}, units=9941)
    results = Results(__doc__, options)
    config = NetworkConfig.tiny(options.units) if options.quick else NetworkConfig.microns(options.units)
    kind = jax.devices()[0].device_kind
    known = [one for name, one in accelerators.DEVICES.items() if name.upper() in kind]
    device = known[0] if known else accelerators.DEVICES["h100"]

    def attempt(function, name, precision, *arguments):
        try:
            return function(name, precision, *arguments)
        except Exception as error:  # the others are wanted, too
            results.add(f"{name}, {precision}", {"ms a frame": f"failed: {str(error).splitlines()[0][:200]}"})

    def compile_one(name, precision):
        return compiled(programs.PROGRAMS[name](config, precision))

    def measure_one(name, precision, made):
        program = made.program
        arguments = program.start() if program.start else values(program.arguments, config)
        measure(results, f"{name}, {precision}", made, arguments, device, precision)

    for row in CASES:
        with ThreadPoolExecutor(len(row)) as threads:
            made = list(threads.map(lambda case: attempt(compile_one, *case), row))
        for case, one in zip(row, made, strict=True):
            if one is not None:
                attempt(measure_one, *case, one)


class Compiled(NamedTuple):
    program: programs.Program
    executable: Any
    compile_s: float


def compiled(program):
    start = time.perf_counter()
    executable = jax.jit(program.function).lower(*program.arguments).compile()
    return Compiled(program, executable, time.perf_counter() - start)


def measure(results, name, made, arguments, device, precision):
    program, executable, compile_s = made
    first = jax.block_until_ready(executable(*arguments))
    finite = all(bool(jax.numpy.isfinite(a).all()) for a in jax.tree.leaves(first))
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
        found = counted(executable, device.platform)
        flops = (executable.cost_analysis() or {}).get("flops", 0.0)
        modelled_s = accelerators.modelled_s(found, flops, device, name, precision)
        cells["modelled"] = short(modelled_s / program.frames * 1e3)
        cells["MB a frame"] = short(found.bytes / program.frames / 1e6)
        cells["kernels a frame"] = short(found.kernels / program.frames)
        raw |= {"modelled_s": modelled_s, "bytes": found.bytes, "kernels": found.kernels}
        kernels = kernel_times(lambda: jax.block_until_ready(executable(*arguments)))
        busy_s = sum(took for _, took in kernels.values())
        cells["kernels alone, ms a frame"] = short(busy_s / program.frames * 1e3)
        raw["longest_kernels"] = sorted(([took, *key, n] for key, (n, took) in kernels.items()), reverse=True)[:60]
    temporaries = executable.memory_analysis().temp_size_in_bytes
    if not finite:
        cells["numbers"] = "not all finite"
    cells |= {"temporaries, GB": short(temporaries / 1e9), "compiling, s": short(compile_s)}
    results.add(name, cells, temporaries=temporaries, **raw)


def kernel_times(function):
    """How often each kernel ran, by its name and that of its operation, and the seconds that it took in all."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            function()
        [path] = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        planes = jax.profiler.ProfileData.from_file(path).planes
    found = collections.defaultdict(lambda: (0, 0.0))
    for plane in planes:
        if not plane.name.startswith("/device:GPU"):
            continue
        for line in plane.lines:
            if not line.name.startswith("Stream"):
                continue
            for event in line.events:
                key = event.name, str(dict(event.stats).get("hlo_op", ""))
                count, took = found[key]
                found[key] = count + 1, took + event.duration_ns / 1e9
    return found


if __name__ == "__main__":
    main()
