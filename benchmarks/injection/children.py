"""Processes that do a work, and are killed, or find no room. One process imports everything and forks them.

A line of standard input asks for some at the same time: ``{"work": ..., "inputs": ..., "jobs": [{"out": ..., "kill": n,
"after_s": s}]}``; a line of standard output answers for each: the code of its end, the calls to the file system in its
folder, its seconds, and its error.
"""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "tests")]
from killed import CALLS  # noqa: E402

KILLED = (137, -signal.SIGKILL)


class Children:
    """The process that forks them."""

    def __init__(self, log: Path):
        self._log = open(log, "wb")
        command = [sys.executable, str(HERE / "children.py")]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._log, text=True)

    def run(self, work, *jobs: dict) -> list[dict]:
        """Do a work so many times, all at the same time; see above."""
        request = {"work": type(work).__name__, "inputs": str(work.inputs), "jobs": jobs}
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that forks the others ended; see {self._log.name}")
        return json.loads(answer)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._log.close()


def _count_calls(folder: str, kill: int) -> list[int]:
    """Count the calls by which this process looks at, or changes, what is in a folder; die at one of them."""
    count = [0]

    def hook(event, arguments):
        if event.startswith(CALLS) and arguments and _is_in(arguments[0], folder):
            count[0] += 1
            if count[0] == kill:
                os._exit(137)

    sys.addaudithook(hook)
    return count


def _is_in(argument: object, folder: str) -> bool:
    """Names alone are in the folder that is open, which is one that is being removed."""
    if isinstance(argument, int) or argument is None:
        return False
    name = os.fsdecode(argument)
    return name.startswith(folder) or not name.startswith("/")


def _child(request: dict, job: dict, answer: int) -> None:
    from injection.works import WORKS

    work = WORKS[request["work"]](Path(request["inputs"]))
    work.prepare()
    said = {"calls": 0, "error": None}
    os.write(answer, b"\n")  # it begins
    begun = time.monotonic()
    count = _count_calls(str(Path(job["out"]).parent), job.get("kill", 0))
    try:
        work.make(Path(job["out"]))
    except Exception as error:
        expected = isinstance(error, ValueError | OSError)
        said["error"] = {"kind": type(error).__name__, "text": str(error), "expected": expected}
    os.write(answer, json.dumps({**said, "calls": count[0], "seconds": time.monotonic() - begun}).encode())


def _fork(request: dict, job: dict) -> tuple[int, int]:
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.close(reading)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(2, 1)  # answers are the parent's alone
            _child(request, job, writing)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    return process, reading


def main() -> None:
    import matplotlib.pyplot  # noqa: F401
    from orbax.checkpoint import v1  # noqa: F401

    import injection.works  # noqa: F401

    warnings.simplefilter("ignore")  # JAX is loaded, and has not begun any thread
    for line in sys.stdin:
        request = json.loads(line)
        forked = [_fork(request, job) for job in request["jobs"]]
        answers = []
        for _, reading in forked:
            os.read(reading, 1)  # it begins
        begun = time.monotonic()
        late = zip([job.get("after_s") for job in request["jobs"]], [process for process, _ in forked], strict=True)
        for seconds, process in sorted(pair for pair in late if pair[0]):
            time.sleep(max(0, begun + seconds - time.monotonic()))
            os.kill(process, signal.SIGKILL)
        for process, reading in forked:
            with os.fdopen(reading) as pipe:
                said = pipe.read()
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            answers.append({"code": code, **(json.loads(said) if said.strip() else {"error": None})})
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
