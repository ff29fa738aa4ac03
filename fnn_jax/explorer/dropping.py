"""Files that were dropped into the page: in a temporary folder, as long as the command runs."""

import shutil
import tempfile
import weakref
from pathlib import Path

from fnn_jax.common.files import whole_file

MOST_MB = 200


class DroppedFiles:
    """A folder that is made for the first file, and removed with the process that made it, or with this object."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def keep(self, name: str, content: bytes) -> str:
        """Write a file, in the place of one of the same name; returns its path.

        Raises:
            ValueError: it is larger than ``MOST_MB``, or no file can have this name. DiskFullError: there is no room.
        """
        name_alone = Path(name.replace("\\", "/")).name
        if name_alone in ("", "..") or "\0" in name_alone:
            raise ValueError(f"The file that was dropped is called {name!r}; expected the name of a file.")
        megabytes = len(content) / 1e6
        if megabytes > MOST_MB:
            raise ValueError(
                f"The file that was dropped, {name_alone}, has {megabytes:.0f} MB; expected at most {MOST_MB}. Give "
                "its path instead: what is on this computer may have any size."
            )
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="fnn-jax-explorer-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / name_alone
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
        return str(path)

    def __contains__(self, path: str) -> bool:
        """Whether a path is that of a dropped file."""
        return self._folder is not None and Path(path).parent == self._folder
