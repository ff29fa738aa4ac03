"""What the scripts share: options, turns, peak memory, the machine, and the table that each of them fills.

Nothing heavy is imported here: ``startup.py`` measures imports, and ``peak.py`` the memory of one side alone.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import report

HERE = Path(__file__).parent
PACKAGES = ("fnn_jax", "jax", "jaxlib", "flax", "numpy", "torch")
HELP = {
    "repeats": "turns of each side",
    "units": "units of the network",
    "frames": "frames of a clip",
    "clips": "clips of a batch",
    "quick": "tiny sizes, to see that it runs",
    "alone": "leave the released package out",
    "compile": "one more column: the released package with torch.compile of what compiles",
    "large": "the whole size also on a CPU",
    "limit_s": "seconds that one case may take",
    "json": "file to write the results to, raw times included",
}

# The GPU is shared with PyTorch. Read by JAX when it first looks for devices.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")  # what is compiled is compiled anew: it is measured


def parse(description, quick, **defaults):
    """Options of a script: a list, a switch or a number by their default; ``quick`` are the defaults of --quick."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    for name, default in {"repeats": 5, **defaults, "quick": False, "alone": False, "json": None}.items():
        kind = {"action": "store_true"} if default is False else {"default": default}
        if isinstance(default, list | int) and default is not False:
            kind |= {"type": int, "nargs": "+" if isinstance(default, list) else None}
        parser.add_argument("--" + name.replace("_", "-"), help=HELP[name], **kind)
    if "--quick" in sys.argv:
        parser.set_defaults(**{"repeats": 1, **quick})
    return parser.parse_args()


def timed(function):
    """Seconds, and what the function returned; it returns what the device has finished, in NumPy arrays."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def in_turns(sides, repeats):
    """Seconds of each call of each side; the order turns round each time, so that a drift favours nobody."""
    seconds = {name: [] for name in sides}
    for repeat in range(repeats):
        for name in list(sides) if repeat % 2 == 0 else reversed(sides):
            seconds[name].append(timed(sides[name])[0])
    return seconds


def short(value):
    """Three digits, or all that stand before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values):
    """The median, and the quartiles where there are several values."""
    values = list(values)
    if len(values) == 1:
        return short(values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{short(middle)} ({short(low)}-{short(high)})"


def compare(results, name, sides, frames, repeats, peaks=None, tolerance=1e-3):
    """A row of the table: milliseconds a frame of each side. The results are compared before anything is timed.

    Args:
        sides: functions that return arrays, by name; the last one is ours, and is compared with each of the others.
        frames: how many frames a call computes, all clips together.
        peaks: what ``peak`` returned for each side.
    """
    import numpy as np

    *others, ours = sides
    firsts = {side: timed(function) for side, function in sides.items()}
    wanted = firsts[ours][1]
    differences = {side: float(np.max(np.abs(firsts[side][1] - wanted)) / np.max(np.abs(wanted))) for side in others}
    for side, difference in differences.items():
        if not difference < tolerance:
            raise SystemExit(f"{name}: {side} and {ours} differ by {difference:.1e} of the largest. Nothing is timed.")
    del wanted
    first_s = {side: first for side, (first, _) in firsts.items()}
    del firsts
    seconds = in_turns(sides, repeats)

    cells = {f"{side}, ms a frame": spread(s / frames * 1e3 for s in seconds[side]) for side in sides}
    for side in others:
        ratios = [a / b for a, b in zip(seconds[side], seconds[ours], strict=True)]
        cells["times faster" if side == others[0] else f"times faster than {side}"] = spread(ratios)
    for side in sides:
        if side != "released":
            compile_s = max(0.0, first_s[side] - statistics.median(seconds[side]))
            cells[f"{side}, compiling, s"] = short(compile_s)
    for side, peak in (peaks or {}).items():
        cells[f"{side}, GB"] = short(peak["peak_gb"]) if peak else "-"
    if others:
        cells["difference"] = f"{max(differences.values()):.0e}"
    raw = {"seconds": seconds, "frames": frames, "first_call_s": first_s, "peaks": peaks or {}}
    results.add(name, cells, differences=differences, **raw)


def peak(side, call, *, units, frames, clips=1):
    """Peak memory of a new process in which one side is called once; None where that process was killed."""
    arguments = [f"--{name}={value}" for name, value in (("units", units), ("frames", frames), ("clips", clips))]
    command = [sys.executable, str(HERE / "peak.py"), side, call, *arguments]
    done = subprocess.run([*command, f"--device={torch_device()}"], stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def peaks_of(sides, call, **sizes):
    """``peak`` of each side by name, those that are not a side of their own left out."""
    return {side: peak(side, call, **sizes) for side in sides if side in ("released", "fnn_jax")}


def threads():
    """The cores that this process may use: XLA takes that many, and PyTorch is given as many."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def on_cpu():
    import jax

    return jax.default_backend() == "cpu"


def torch_device():
    """Where the released model goes: beside ours."""
    import jax

    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def available_gb():
    """Memory that a program can still have, or infinity where the system does not say."""
    return _proc("/proc/meminfo", r"MemAvailable:\s+(\d+) kB", float("inf"))


def peak_gb():
    """The most memory that this process had. Not ``ru_maxrss``: that counts the process that started this one."""
    return _proc("/proc/self/status", r"VmHWM:\s+(\d+) kB", float("nan"))


def _proc(path, pattern, otherwise):
    if not os.path.exists(path):
        return otherwise
    return int(re.search(pattern, Path(path).read_text())[1]) * 1024 / 1e9


def machine():
    """What the times depend on: ``platform`` names the file of results."""
    import jax

    kind = jax.devices()[0].device_kind
    info = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    model = re.search(r"model name\s*: (.*)", info)
    total = _proc("/proc/meminfo", r"MemTotal:\s+(\d+) kB", float("nan"))
    return {
        "platform": "cpu" if on_cpu() else "gpu-" + re.sub(r"\W+", "-", kind.lower()),
        "device": None if on_cpu() else f"{jax.device_count()} x {kind}",
        "processor": (model[1] if model else platform.machine()) + (", AVX-512" if "avx512f" in info else ""),
        "cores": threads(),
        "memory_gb": round(total, 1),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }


def _others_s():
    """Seconds of all cores that did not go to this process, nor to those that it started and that have ended."""
    if not os.path.exists("/proc/stat"):
        return 0.0
    user, nice, system, _, _, _, _, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + stolen) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit():
    """The commit that is measured, with a plus where the package was changed since."""

    def git(*arguments):
        done = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "../fnn_jax") else "")


class Results:
    """The table of one script: printed, and written, row by row."""

    def __init__(self, question, options):
        arguments = [a for a in sys.argv[1:] if not a.startswith("--json") and a != options.json]
        self.path, self.repeats = options.json and Path(options.json), options.repeats
        self._start = time.monotonic(), _others_s()
        self.table = {
            "question": question.splitlines()[0],
            "command": " ".join([Path(sys.argv[0]).name, *arguments]),
            "date": date.today().isoformat(),
            "commit": commit(),
            "machine": machine(),
            "busy_cores": 0.0,
            "rows": [],
            "notes": [],
        }
        print(f"{self.table['question']}\n{report.describe(self.table['machine'])}\n", flush=True)
        if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            self.note("JAX_COMPILATION_CACHE_DIR is set: what was compiled before is read from there.")

    def add(self, name, cells, **raw):
        """A row: its cells, as text by column, and what they were made from."""
        self.table["rows"].append({"name": name, "cells": cells, "raw": raw})
        width = max(map(len, cells))
        print("\n".join([name, *(f"    {column:{width}}  {cell}" for column, cell in cells.items())]), flush=True)
        self._write()
        if warning := report.warning(self.table):
            print(f"    ({warning})", flush=True)

    def note(self, text):
        self.table["notes"].append(text)
        print(f"({text})", flush=True)
        self._write()

    def _write(self):
        start, others_s = self._start
        self.table["busy_cores"] = round((_others_s() - others_s) / (time.monotonic() - start), 2)
        if self.path:
            self.path.write_text(json.dumps(self.table, indent=1))
