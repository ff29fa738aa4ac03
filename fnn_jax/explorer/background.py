"""Work that takes longer than a page may stand still: in a thread, one piece at a time."""

import threading
from collections.abc import Callable
from typing import Any


class Work:
    """What is computed beside the page, which asks now and then how far it is.

    Attributes:
        said: how far it is, in words. error: what went wrong, in words; empty: nothing. result: of the last work that
            ended well. finished: how many pieces of work have ended, well or not.
    """

    def __init__(self) -> None:
        self.said, self.error, self.finished = "", "", 0
        self.result: Any = None
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, act: Callable[[Callable[[str], None]], Any]) -> None:
        """Begin ``act(say)``, which says how far it is and returns the result.

        Raises:
            RuntimeError: the work before goes on still.
        """
        if self.is_busy:
            raise RuntimeError(f"Something is computed already ({self.said}). Wait until it has ended.")
        self.said, self.error = "begun", ""
        self._thread = threading.Thread(target=self._run, args=(act,), name="explorer", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Until the work has ended, or so long."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, act: Callable[[Callable[[str], None]], Any]) -> None:
        try:
            self.result = act(self._say)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
        self.said = ""
        self.finished += 1

    def _say(self, words: str) -> None:
        self.said = words
