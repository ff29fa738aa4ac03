"""What do the compilers of GPUs and TPUs make of the programs that users run?

    python benchmarks/accelerators.py --platforms h100 v5e --only "predict, 8" --precisions float32 bfloat16

No accelerator is needed: both compilers work for a described device, where JAX's plugin for it is on the path of Python
(``make accelerators`` sees to that). Kernels, bytes, temporaries and collectives are counted in what they compile. The
time is a model: the bytes over the bandwidth of the memory, or the operations over the rate of the arithmetic if that
is longer, and a launch for each kernel; of GPUs times what they were found to take longer. Without a device
nothing can be tuned by timing: a real one may choose better. Results go to results/accelerators.json and .md, row by
row; what is there of other rows stays.
"""

import argparse
import contextlib
import json
import logging
import os
import time
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import jax
import numpy as np
from counting import Count, counted
from jax.sharding import Mesh, NamedSharding, PartitionSpec

RESULTS = Path(__file__).parent / "results"
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
# As XLA describes them; figures of the vendors' data sheets.
GPU = """gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: {shared_memory} threads_per_core_limit: 2048 core_count: {cores}
  fpus_per_core: {units_per_core} block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth} l2_cache_size: {cache} clock_rate_ghz: {clock} device_memory_size: {memory}
  shared_memory_per_block_optin: {optin} cuda_compute_capability {{ major: {major} minor: 0 }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{name}"
"""


class Device(NamedTuple):
    """A described device: its description or the name of its topology, bytes a second, operations a second by
    precision, and seconds that a kernel takes to begin.
    """

    platform: str
    description: str
    bandwidth: float
    rates: dict[str, float]
    launch_s: float


def _gpu(name, major, cores, shared, bandwidth, cache, memory, clock, units, rates):
    text = GPU.format(
        name=name,
        major=major,
        cores=cores,
        shared_memory=shared + 1024,
        optin=shared,
        bandwidth=int(bandwidth),
        cache=cache,
        memory=memory,
        clock=clock,
        units_per_core=units,
    )
    return Device("cuda", text, bandwidth, dict(zip(PRECISIONS, rates, strict=True)), 2.5e-6)


DEVICES = {
    "h100": _gpu(
        *("NVIDIA H100 80GB HBM3", 9, 132, 232448, 3.35e12, 52428800, 84978434048, 1.98, 128),
        rates=(67e12, 495e12, 989e12),
    ),
    "h200": _gpu(
        *("NVIDIA H200", 9, 132, 232448, 4.8e12, 62914560, 150754820096, 1.98, 128),
        rates=(67e12, 495e12, 989e12),
    ),
    "a100": _gpu(
        *("NVIDIA A100-SXM4-40GB", 8, 108, 166912, 1.555e12, 41943040, 42297786368, 1.41, 64),
        rates=(19.5e12, 156e12, 312e12),
    ),
    "v5e": Device("tpu", "v5e:2x2", 0.82e12, dict.fromkeys(PRECISIONS, 197e12) | {"float32": 197e12 / 6}, 0.0),
    "v6e": Device("tpu", "v6e:2x2", 1.64e12, dict.fromkeys(PRECISIONS, 918e12) | {"float32": 918e12 / 6}, 0.0),
}
# What GPUs took, as multiples of the formula. Predictions: of 8 videos on an H100, where convolutions to 32 channels
# are far from data sheets; those of 1 and of 32 videos are within 30 % of it. Gradients, syntheses and trainings: on
# an H200 1.1 to 1.25 in tensorfloat32; bfloat16 was not measured, and is taken for the same.
PREDICTIONS = {"float32": 2.3, "tensorfloat32": 1.5, "bfloat16": 1.4}
GRADIENTS = {"float32": 1.9, "tensorfloat32": 1.2, "bfloat16": 1.2}


class Unavailable(Exception):
    """There is no compiler for this platform here."""


def described(device: Device, count: int):
    """So many described devices. Raises ``Unavailable``."""
    from jax.experimental import topologies

    logging.disable(logging.CRITICAL)  # a plugin that is found twice says so at length
    try:
        if device.platform == "tpu":
            os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else libtpu asks the network where it is
            topology = topologies.get_topology_desc(topology_name=device.description, platform="tpu")
        else:
            from jax._src import xla_bridge  # where no GPU is, JAX does not look for its plugin by itself

            with contextlib.suppress(Exception):
                xla_bridge.discover_pjrt_plugins()
            topology = topologies.get_topology_desc(
                platform="cuda", topology_name="", target_config=device.description, topology=f"1x1x{count}"
            )
    except (NotImplementedError, RuntimeError, ValueError) as error:
        raise Unavailable(f"no compiler for {device.platform} here: {error}") from None
    finally:
        logging.disable(logging.NOTSET)
    return topology.devices[:count]


def compiled(program, device: Device, count: int = 1):
    """What the compiler makes of a program over so many devices, the videos spread over them by plain sharding, and the
    seconds that tracing and compiling took.
    """
    from fnn_jax.model.formulation import for_platform, formulated

    mesh = Mesh(np.array(described(device, count)), ("videos",))

    def placed(tree, axis):
        spec = PartitionSpec() if axis is None or count == 1 else PartitionSpec(*[None] * axis, "videos")
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree)

    arguments = [placed(tree, axis) for tree, axis in zip(program.arguments, program.axes, strict=True)]
    options = {"xla_gpu_autotune_level": 0} if device.platform == "cuda" else None
    start = time.perf_counter()
    with formulated(for_platform(device.platform)), mock.patch("jax.device_count", return_value=count):
        lowered = jax.jit(program.function).lower(*arguments)
    begun = time.perf_counter()
    try:
        executable = lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        # Untuned, some products find no code ("No supported config", "output tile sizes"); a device takes a library's.
        if device.platform != "cuda" or "dot" not in str(error):
            raise
        executable = lowered.compile(compiler_options=options | {"xla_gpu_enable_triton_gemm": False})
    return executable, begun - start, time.perf_counter() - begun


def row(program, platform: str, name: str, precision: str, count: int) -> dict:
    """What is written of a program on a kind of device."""
    device = DEVICES[platform]
    try:
        executable, trace_s, compile_s = compiled(program, device, count)
    except Unavailable:
        raise
    except Exception as error:  # a compiler that gives up is a result
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
    memory, found = executable.memory_analysis(), counted(executable, device.platform)
    flops = (executable.cost_analysis() or {}).get("flops", 0.0)
    frames = program.frames / count
    bound_s = modelled_s(found, flops, device, name, precision)
    return {
        "trace_s": round(trace_s, 1),
        "compile_s": round(compile_s, 1),
        "temporaries_gb": round(memory.temp_size_in_bytes / 1e9, 3),
        "kernels_a_frame": round(found.kernels / frames, 2),
        "megabytes_a_frame": round(found.bytes / frames / 1e6, 1),
        "collectives": found.collectives,
        "modelled_ms_a_frame": round(bound_s / frames * 1e3, 4),
        "largest": [[round(moved / frames / 1e6, 2), *rest] for moved, *rest in found.largest],
    }


def modelled_s(found: Count, flops: float, device: Device, name: str, precision: str) -> float:
    """Seconds of a program by its bytes, or its operations if they take longer, and the launches of its kernels."""
    bound = max(found.bytes / device.bandwidth, flops / device.rates[precision]) + found.kernels * device.launch_s
    measured = PREDICTIONS if name.startswith(("predict", "screen")) else GRADIENTS
    return bound * (measured[precision] if device.platform == "cuda" else 1.0)


HEADINGS = {
    "compile_s": "compile, s",
    "temporaries_gb": "temporaries, GB",
    "kernels_a_frame": "kernels a frame",
    "megabytes_a_frame": "MB a frame",
    "collectives": "collectives",
    "modelled_ms_a_frame": "modelled, ms a frame",
}


def written(rows: dict[str, dict], about: str) -> str:
    """The rows as tables, one for each kind of device."""
    lines = ["# What the compilers of accelerators make of the programs", "", about]
    for name in DEVICES:
        mine = {key: values for key, values in rows.items() if key.split(" | ")[0] == name}
        if not mine:
            continue
        columns = [key for key in HEADINGS if not (DEVICES[name].platform == "tpu" and key == "kernels_a_frame")]
        lines += ["", f"## {name}", "", "| program | precision | devices | " + " | ".join(map(HEADINGS.get, columns))]
        lines[-1] += " |"
        lines.append("|" + "---|" * (3 + len(columns)))
        for key, values in mine.items():
            cells = key.split(" | ")[1:]
            if "error" in values:
                cells.append(f"does not compile: {values['error']}")
            else:
                cells += [_cell(values[column]) for column in columns]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value):
    if isinstance(value, dict):
        return ", ".join(f"{count} {kind}" for kind, count in sorted(value.items())) or "none"
    return f"{value:g}"


def main():
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind, allow_abbrev=False)
    parser.add_argument("--platforms", nargs="+", choices=DEVICES, default=list(DEVICES))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--devices", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of the programs' names")
    parser.add_argument("--units", type=int, default=9941)
    parser.add_argument("--tiny", action="store_true", help="a reduced network, to see that everything compiles")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder to write")
    options = parser.parse_args()

    jax.config.update("jax_platforms", "cpu")  # nothing is executed
    import programs

    from fnn_jax import NetworkConfig

    config = NetworkConfig.tiny(options.units) if options.tiny else NetworkConfig.microns(options.units)
    path = options.output / f"accelerators{'-tiny' if options.tiny else ''}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    about = (
        f"Compiled with jax {jax.__version__} for described devices, {options.units} units; nothing was executed. "
        "Bytes, kernels, temporaries and collectives are counted in the compiled programs, for one device and one "
        "frame of one video; the time is modelled from them, from the data "
        "sheets of the devices and, for GPUs, from what an H100 and an H200 were found to take."
    )
    chosen = [name for name in programs.PROGRAMS if name.startswith(tuple(options.only))]
    cases = [
        (platform, name, precision, count)
        for platform in options.platforms
        for name in chosen
        for precision in options.precisions
        for count in options.devices
        # What is spread over devices is the videos: of those that have several.
        if count == 1 or "1 video" not in name
    ]
    unavailable = set()
    for platform, name, precision, count in cases:
        if DEVICES[platform].platform in unavailable:
            continue
        program = programs.PROGRAMS[name](config, precision)
        try:
            values = row(program, platform, name, precision, count)
        except Unavailable as error:
            unavailable.add(DEVICES[platform].platform)
            print(f"{platform}: {error}. Left out.", flush=True)
            continue
        rows[f"{platform} | {name} | {precision} | {count}"] = values
        print(platform, name, precision, count, values, flush=True)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"about": about, "rows": rows}, indent=1))
        path.with_suffix(".md").write_text(written(rows, about))


if __name__ == "__main__":
    main()
