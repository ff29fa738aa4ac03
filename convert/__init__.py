"""Published PyTorch weights to Orbax checkpoints, and back; twins as modules of PyTorch. Torch is imported for the way
back and for modules alone, here and nowhere else.

Installed as ``fnn_jax.convert``.
"""

if __name__ != "fnn_jax.convert":
    raise ImportError("Import this package as fnn_jax.convert: under another name its classes would exist twice.")

from fnn_jax.convert.conversion import convert, convert_scans, to_state_dict, write_published_scan
from fnn_jax.convert.export import export
from fnn_jax.convert.published import PublishedFiles, read_state_dict, write_state_dict
from fnn_jax.convert.torch_module import torch_module

__all__ = [
    "PublishedFiles",
    "convert",
    "convert_scans",
    "export",
    "read_state_dict",
    "to_state_dict",
    "torch_module",
    "write_published_scan",
    "write_state_dict",
]
