"""Memory, in GB, as Linux counts it."""

import os
import re
from pathlib import Path


def available_gb():
    """Memory that a program can still have, or infinity where the system does not say."""
    return _proc("/proc/meminfo", r"MemAvailable:\s+(\d+) kB", float("inf"))


def peak_gb():
    """The most memory that this process had. Not ``ru_maxrss``: that counts the process that started this one."""
    return _proc("/proc/self/status", r"VmHWM:\s+(\d+) kB", float("nan"))


def total_gb():
    """Memory of the machine, or NaN where the system does not say."""
    return _proc("/proc/meminfo", r"MemTotal:\s+(\d+) kB", float("nan"))


def _proc(path, pattern, otherwise):
    if not os.path.exists(path):
        return otherwise
    return int(re.search(pattern, Path(path).read_text())[1]) * 1024 / 1e9
