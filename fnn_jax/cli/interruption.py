"""A command that is interrupted, by Ctrl-C or by whoever ends its process, says how to go on."""

import argparse
import contextlib
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence

RESUMED = ("download", "reproduce", "screen", "synthesize", "train", "tune")


class Terminated(KeyboardInterrupt):
    """The signal SIGTERM, as of ``kill`` or a cluster whose time is up."""


@contextlib.contextmanager
def explained_termination() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that files are closed and something can be said."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield  # somebody else has decided what becomes of it
        return

    def end(number, frame):
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def how_to_resume(options: argparse.Namespace, arguments: Sequence[str]) -> str:
    """What became of the work, and the command that goes on with it, or begins anew."""
    output = str(getattr(options, "output", ""))
    resumed = options.verb in RESUMED or (options.verb == "predict" and output.endswith(".zarr"))
    kept = "What is done is kept; the same command goes on there" if resumed else "To begin anew, the same command"
    return f"interrupted. {kept}:\n  {shlex.join(['fnn-jax', *arguments])}"


def exit_code(interruption: KeyboardInterrupt) -> int:
    """As shells have it: 128 and the number of the signal."""
    return 128 + (signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)
