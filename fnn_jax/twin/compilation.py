"""Compiled programs that are kept on disk."""

import os
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from fnn_jax.common.directories import cache_directory


def enable_compilation_cache(directory: str | os.PathLike | None = None) -> Path:
    """Let JAX keep what it compiles, for this process and those that come after it, and return the folder.

    A first prediction then takes a few seconds instead of ten or more. What is kept fits one version of JAX and one
    kind of processor; others compile anew. It is JAX's own cache, and serves everything that this process compiles.

    Args:
        directory: where; default: ``compiled`` in the folder of downloads, see ``FNN_JAX_CACHE``.

    Raises:
        OSError: the folder cannot be written.
    """
    directory = (cache_directory() / "compiled") if directory is None else Path(directory).expanduser().absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK):
        raise PermissionError(f"{directory} cannot be written; give enable_compilation_cache another folder.")
    if jax.config.jax_compilation_cache_dir not in (None, str(directory)):  # type: ignore[attr-defined]
        compilation_cache.reset_cache()  # else JAX stays with the first folder
    jax.config.update("jax_compilation_cache_dir", str(directory))
    # What a first prediction compiles beside its one large program takes a second in all, in pieces of 0.02 to 0.7.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.02)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return directory
