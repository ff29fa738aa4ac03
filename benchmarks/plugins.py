"""Which plugins compile for GPUs and TPUs with the jax that is installed? Prints them as pip takes them.

They go to a folder of their own, outside the environment: where they are installed, JAX looks for the devices.
"""

import re
from importlib.metadata import requires, version

NAMES = ("jax-cuda13-plugin", "libtpu")


def main():
    wanted = [re.split(r"\s*;", line)[0] for line in requires("jax") if line.startswith(NAMES) and "[" not in line]
    print(*wanted, f"jax-cuda13-pjrt=={version('jax')}")


if __name__ == "__main__":
    main()
