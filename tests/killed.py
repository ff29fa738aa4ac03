"""Kills at every call by which a process looks at, or changes, the file system.

>>> python tests/killed.py MODULE:FUNCTION FOLDER

runs ``FUNCTION(folder)`` in one child after the other. Each gets a copy of the folder and is killed one call later than
the one before, until one lives to the end. Of each copy a line is printed: the name of the copy.
"""

import importlib
import os
import shutil
import sys
import warnings
from pathlib import Path

CALLS = ("open", "os.", "shutil.", "tempfile.", "fcntl.")


def kill_at(number):
    """Let this process die at its so-many-th call, without a chance to clear up."""
    left = number

    def hook(event, arguments):
        nonlocal left
        if event.startswith(CALLS):
            left -= 1
            if left == 0:
                os._exit(137)

    sys.addaudithook(hook)


def main(name, folder):
    module, _, function = name.partition(":")
    run = getattr(importlib.import_module(module), function)
    warnings.simplefilter("ignore")  # JAX is loaded, and has not begun any thread
    for number in range(1, 10_000):
        copy = Path(folder).with_name(f"killed-{number}")
        shutil.copytree(folder, copy, symlinks=True)
        process = os.fork()
        if process == 0:
            try:
                kill_at(number)
                run(copy)
            except BaseException as error:
                print(error, file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if code not in (0, 137):
            sys.exit(code)
        print(copy, flush=True)
        if code == 0:
            return
    sys.exit("it never came to an end")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(*sys.argv[1:])
