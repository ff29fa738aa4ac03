"""What do the compilers of GPUs and TPUs make of the programs that users run?

    python benchmarks/accelerators.py --platforms h100 v5e --only "predict, 8" --precisions float32 bfloat16

No accelerator is needed: both compilers work for a described device, where JAX's plugin for it is on the path of Python
(``make accelerators`` sees to that). Kernels, bytes, temporaries and collectives are counted in what they compile. The
time is a model: the bytes over the bandwidth of the memory, or the operations over the rate of the arithmetic if that
is longer, and a launch for each kernel; of GPUs times what an H100 was found to take longer than that. Without a device
nothing can be tuned by timing: a real one may choose better. Results go to results/accelerators.json and .md, row by
row; what is there of other rows stays.
"""

import argparse
import collections
import contextlib
import json
import logging
import os
import re
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

RESULTS = Path(__file__).parent / "results"
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
COLLECTIVES = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
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
    "a100": _gpu(
        *("NVIDIA A100-SXM4-40GB", 8, 108, 166912, 1.555e12, 41943040, 42297786368, 1.41, 64),
        rates=(19.5e12, 156e12, 312e12),
    ),
    "v5e": Device("tpu", "v5e:2x2", 0.82e12, dict.fromkeys(PRECISIONS, 197e12) | {"float32": 197e12 / 6}, 0.0),
    "v6e": Device("tpu", "v6e:2x2", 1.64e12, dict.fromkeys(PRECISIONS, 918e12) | {"float32": 918e12 / 6}, 0.0),
}
# What predictions of 8 videos took on an H100 (results/gpu-nvidia-h100-80gb-hbm3.md), as multiples of the formula: with
# 32 channels convolutions are far from data sheets. Predictions of 1 and of 32 videos are within 30 % of it.
MEASURED = {"float32": 2.3, "tensorfloat32": 1.5, "bfloat16": 1.4}
BYTES = {
    **{"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "u16": 2},
    **{"pred": 1, "u8": 1, "s8": 1},
}
NOT_A_KERNEL = {"parameter", "get-tuple-element", "tuple", "constant", "bitcast", "while", "after-all"}
INSTRUCTION = re.compile(
    r"(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)"
)  # name, shape, operation, operands
NOT_A_KERNEL |= {"copy-done", "slice-done", "async-done"}


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
    with formulated(for_platform(device.platform)):
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


class Count(NamedTuple):
    """What an execution takes on one device."""

    kernels: int
    bytes: float
    collectives: dict[str, int]
    largest: list[tuple[float, str, str]]  # bytes, kind and origin of the kernels that move the most


def counted(executable, platform: str) -> Count:
    """Kernels, bytes that they read and write, and collectives, loops times their turns."""
    text = executable.as_text()
    collectives = dict(collections.Counter(re.findall(rf" ({COLLECTIVES})(?:-start)?\(", text)))
    parts = _computations(text)
    kernels, moved, rows = 0, 0.0, []
    for name, times in _turns(parts, re.search(r"^ENTRY %?([\w.\-]+) ", text, re.M)[1]).items():
        found = _kernels(parts.get(name, []), parts)
        kernels += times * len(found)
        moved += times * sum(row[0] for row in found)
        rows += [(times * row[0], *row[1:]) for row in found]
    if platform == "tpu":
        kernels = 0  # its programs launch none: they run as a whole
    return Count(kernels, moved, collectives, sorted(rows, reverse=True)[:5])


def _turns(parts, entry):
    """How often each computation that launches kernels is executed: loops, and calls, in one another."""
    turns, waiting = {entry: 1}, [entry]
    while waiting:
        name = waiting.pop()
        for line in parts.get(name, []):
            if loop := re.search(r" while\(.*body=%?([\w.\-]+)", line):
                known = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
                body, times = loop[1], int(known[1]) if known else _limit(parts, line)
            elif called := re.search(r" call\(.*to_apply=%?([\w.\-]+)", line):
                body, times = called[1], 1
            else:
                continue
            turns[body] = turns.get(body, 0) + turns[name] * times
            waiting.append(body)
    return turns


def _limit(parts, line):
    """The number that a loop counts to: the only one in its condition."""
    condition = parts.get(re.search(r"condition=%?([\w.\-]+)", line)[1], [])
    called = [name for text in condition for name in re.findall(r"calls=%?([\w.\-]+)", text)]
    lines = condition + [text for name in called for text in parts.get(name, [])]
    numbers = [int(number) for text in lines for number in re.findall(r" s32\[\]\S* constant\((\d+)\)", text)]
    return max(numbers, default=1)


def _computations(text):
    parts, name = {}, None
    for line in text.split("\n"):
        if start := re.match(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{", line):
            name = start[1]
            parts[name] = []
        elif line.startswith("}"):
            name = None
        elif name and "=" in line:
            parts[name].append(line.strip())
    return parts


def _kernels(lines, parts):
    """``(bytes, kind, origin)`` of each kernel of a computation."""
    shapes, rows = {}, []
    for line in lines:
        parsed = INSTRUCTION.match(line)
        if not parsed:
            continue
        name, shape, operation, operands = parsed.groups()
        shapes[name] = shape
        if operation in NOT_A_KERNEL or operation == "call" or "ConcatBitcast" in line:
            continue
        if operation.endswith("-start") and operation.split("-")[0] in ("copy", "slice"):
            rows.append((_copied(shape), operation, ""))
            continue
        target = re.search(r'custom_call_target="([^"]+)"', line)
        called = re.search(r"calls=%?([\w.\-]+)", line)
        inside = "\n".join(parts.get(called[1], [])) if called else line
        out = _size(shape)
        names = [o.strip().split(" ")[-1].lstrip("%") for o in operands.split(",")]
        read = [_size(shapes.get(o, "")) for o in names]
        if called:
            read = [min(size, _sliced(parts.get(called[1], []), i, size)) for i, size in enumerate(read)]
        if re.search(r"ROOT [^\n]*dynamic-update-slice\(", inside):  # in place: a slice is written
            moved = 2 * sum(size for size in read if size < out)
        else:
            moved = out + sum(read) - (_kept(parts.get(called[1], [])) if called else 0)
        origin = re.search(r'op_name="([^"]+)"', line)
        rows.append((moved, target[1] if target else operation, origin[1][-80:] if origin else ""))
    return rows


def _sliced(lines, index, size):
    """Bytes that a fused computation reads of an operand: where it takes slices of it alone, theirs."""
    own = next((re.match(r"%?([\w.\-]+) =", line)[1] for line in lines if f" parameter({index})" in line), None)
    total = 0
    for line in lines:
        parsed = re.match(r"(?:ROOT )?%?[\w.\-]+ = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)", line)
        if parsed and own is not None and re.search(rf"(?<![\w.\-]){re.escape(own)}(?![\w.\-])", parsed[3]):
            if parsed[2] not in ("slice", "dynamic-slice"):
                return size
            total += _size(parsed[1])
    return total or size


def _kept(lines):
    """Bytes that a fused computation neither reads nor writes of arrays of which it replaces a slice in place."""
    shapes, total = {}, 0
    for line in lines:
        parsed = INSTRUCTION.match(line)
        if parsed:
            name, shape, operation, operands = parsed.groups()
            shapes[name] = shape
            if operation == "dynamic-update-slice":
                update = operands.split(",")[1].strip().split(" ")[-1].lstrip("%")
                total += 2 * _size(shape) - _size(shapes.get(update, ""))
    return total


def _copied(shape):
    """Bytes of a copy into or out of the memory on the chip of a TPU, which is free to read and write."""
    kinds = [(_padded(*found), "S(" in found[2]) for found in _arrays(shape)]
    (one, one_on_chip), (other, other_on_chip), *_ = [found for found in kinds if found[0] > 4]
    return min(one, other) * (2 - one_on_chip - other_on_chip)


def _arrays(shape):
    """Kind, sides and layout of each array."""
    kinds = "|".join(BYTES)
    return re.findall(rf"\b({kinds})\[([\d,]*)\](\{{[^}}]*\}})?", shape)


def _size(shape):
    """Bytes in the main memory; a TPU also has memory on the chip, marked by S(1)."""
    return sum(_padded(kind, sides, layout) for kind, sides, layout in _arrays(shape) if "S(" not in layout)


def _padded(kind, sides, layout):
    """Bytes of an array, with what a TPU fills up to whole tiles of its two innermost sides, as ``{1,0:T(8,128)}``."""
    sides = [int(side) for side in sides.split(",") if side]
    tile = re.search(r":T\(([\d,]+)\)", layout)
    if tile and sides:
        order = [int(axis) for axis in layout[1 : layout.index(":")].split(",")]
        for axis, length in zip(order, reversed(tile[1].split(",")), strict=False):
            sides[axis] = -(-sides[axis] // int(length)) * int(length)
    return BYTES[kind] * int(np.prod(sides or [1]))


def row(program, name: str, precision: str, count: int) -> dict:
    """What is written of a program on a kind of device."""
    device = DEVICES[name]
    try:
        executable, trace_s, compile_s = compiled(program, device, count)
    except Unavailable:
        raise
    except Exception as error:  # a compiler that gives up is a result
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
    memory, found = executable.memory_analysis(), counted(executable, device.platform)
    flops = (executable.cost_analysis() or {}).get("flops", 0.0)
    frames = program.frames / count
    bound_s = modelled_s(found, flops, device, precision)
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


def modelled_s(found: Count, flops: float, device: Device, precision: str) -> float:
    """Seconds of a program by its bytes, or its operations if they take longer, and the launches of its kernels."""
    bound = max(found.bytes / device.bandwidth, flops / device.rates[precision]) + found.kernels * device.launch_s
    return bound * (MEASURED[precision] if device.platform == "cuda" else 1.0)


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
        "sheets of the devices and, for GPUs, from what an H100 was found to take."
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
            values = row(program, platform, precision, count)
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
