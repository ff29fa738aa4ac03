"""What times depend on: processor, device, versions, the commit, and what else ran meanwhile.

Nothing heavy is imported here: ``startup.py`` measures imports.
"""

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

from memory import total_gb

HERE = Path(__file__).parent
PACKAGES = ("fnn_jax", "jax", "jaxlib", "flax", "numpy", "torch")

# The GPU is shared with PyTorch. Read by JAX when it first looks for devices.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")  # what is compiled is compiled anew: it is measured


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


def machine():
    """What the times depend on: ``platform`` names the file of results."""
    import jax

    kind = jax.devices()[0].device_kind
    info = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    model = re.search(r"model name\s*: (.*)", info)
    return {
        "platform": "cpu" if on_cpu() else "gpu-" + re.sub(r"\W+", "-", kind.lower()),
        "device": None if on_cpu() else f"{jax.device_count()} x {kind}",
        "processor": (model[1] if model else platform.machine()) + (", AVX-512" if "avx512f" in info else ""),
        "cores": threads(),
        "memory_gb": round(total_gb(), 1),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }


def others_s():
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

    found = git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "../fnn_jax") else "")
    return found or os.environ.get("GIT_COMMIT", "")  # where a copy without its history runs
