"""Other processes that are told when to begin, so that a test knows what they are doing when it kills them."""

import subprocess
import sys

READY = """
print("ready", flush=True)
sys.stdin.readline()
"""


class Process(subprocess.Popen):
    """Python code that imports what it needs, says ready (``READY`` in the code), and waits for ``go``."""

    def __init__(self, code, *arguments):
        command = [sys.executable, "-c", "import sys\n" + code, *map(str, arguments)]
        pipe = subprocess.PIPE
        super().__init__(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        if self.stdout.readline() != "ready\n":
            raise RuntimeError(self.end())

    def go(self):
        self.stdin.write("go\n")
        self.stdin.flush()

    def end(self):
        """Waits for the end; what it wrote to standard error."""
        return self.communicate()[1]

    def kill(self):
        super().kill()
        self.end()
