"""Where downloads and compiled programs are kept."""

import os
from pathlib import Path

DIRECTORY_VARIABLE = "FNN_JAX_CACHE"


def cache_directory(directory: str | os.PathLike | None = None) -> Path:
    """The folder that is named, else that of the variable FNN_JAX_CACHE, else one in the user's cache."""
    import pooch

    directory = directory or os.environ.get(DIRECTORY_VARIABLE) or pooch.os_cache("fnn_jax")
    return Path(directory).expanduser().absolute()
