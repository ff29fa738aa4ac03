"""Folders that cannot be written, also where the tests run as root, whom permissions do not stop."""

import contextlib
import shutil
import tempfile
from pathlib import Path

# For the beginning of a subprocess: everything is imported that is needed, then the rights of root are dropped.
AS_NOBODY = """
import filelock, os, pooch, requests, resource, tempfile
import pandas, jax.numpy, fnn_jax.microns
from orbax.checkpoint import v1
try:
    import torch, fnn_jax.convert
except ImportError:
    pass
if os.geteuid() == 0:
    os.setuid(65534)
"""


@contextlib.contextmanager
def folder(source=None):
    """A folder that everybody can read and nobody write; with ``source``, a copy of that one."""
    outer = Path(tempfile.mkdtemp())
    try:
        inner = outer / "folder"
        shutil.copytree(source, inner) if source else inner.mkdir()
        for path in (outer, inner, *inner.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield inner
    finally:
        for path in (outer, *outer.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(outer)
