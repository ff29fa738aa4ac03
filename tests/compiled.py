"""Compiled programs are kept from run to run: what the tests do most is to compile."""

import hashlib
import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

MOST_COMPILED = 4 * 2**30  # bytes
# jax 0.11 has the option no more, and ends a process that names it.
_HAS_EMITTERS = importlib.metadata.version("jax").startswith("0.10.")


def compiled_programs() -> Path:
    """A folder for compiled programs of processors like this one, which is kept from run to run.

    The keys of JAX change with the program, the versions and the options.
    """
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else platform.processor()
    kind = "\n".join(sorted({line for line in cpu.splitlines() if line.startswith(("model name", "flags"))})) or cpu
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fnn_jax-tests"
    folder = base / hashlib.sha256(kind.encode()).hexdigest()[:12]
    if "PYTEST_XDIST_WORKER" not in os.environ and folder.exists():
        if sum(path.stat().st_size for path in folder.iterdir()) > MOST_COMPILED:
            shutil.rmtree(folder, ignore_errors=True)
    return folder


# Set before JAX is imported; workers and processes that tests begin inherit it.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiled_programs()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def quickly() -> dict[str, int | bool]:
    """Options of programs whose numbers do not depend on the optimisations: a fifth of the time to compile."""
    import jax

    if jax.default_backend() != "cpu":  # the compilers of others do not know them
        return {}
    return {"xla_backend_optimization_level": 0} | ({"xla_cpu_use_fusion_emitters": False} if _HAS_EMITTERS else {})


if __name__ == "__main__":  # for the Makefile
    print("--xla_cpu_use_fusion_emitters=false" if _HAS_EMITTERS else "")
