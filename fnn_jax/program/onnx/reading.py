"""What an exported model says of itself, and its state before the first frame."""

import json
import os
from typing import Any

import numpy as np

from fnn_jax.common import checks
from fnn_jax.common.extras import missing

KEY = "fnn_jax"  # of the entry in the model's metadata
FORMAT = "fnn_jax ONNX model"
FORMAT_VERSION = 1


def about(model: Any) -> dict[str, Any]:
    """What an exported model says of itself: its inputs, outputs and state, its units, and where it comes from.

    Args:
        model: the path of a model, or an ``onnxruntime.InferenceSession`` of it.

    Raises:
        ImportError: a path is given, and the package ``onnx`` is not installed.
        OSError: there is no such file.
        ValueError: the model is not one of ``Twin.export_onnx``, or of a newer version.
    """
    if hasattr(model, "get_modelmeta"):
        metadata = model.get_modelmeta().custom_metadata_map
    else:
        metadata = _read(checks.path("model", model))
    found: Any = json.loads(metadata.get(KEY, "{}"))
    if found.get("format") != FORMAT:
        raise ValueError("model was not written by Twin.export_onnx: it does not say what its state is.")
    if found["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"model has the format version {found['format_version']}; expected {FORMAT_VERSION} at most. "
            "Update fnn_jax."
        )
    return found


def initial_state(model: Any, batch: int = 1) -> dict[str, np.ndarray]:
    """The state before the first frame of so many videos: zeros, float32, by the names of the model's inputs.

    Args:
        model: as for ``about``.
        batch: how many videos run side by side.

    Raises:
        TypeError, ValueError: ``batch`` is no positive integer; and what ``about`` raises.
    """
    batch = checks.integer("batch", batch)
    return {
        entry["name"]: np.zeros([batch if size == "batch" else size for size in entry["shape"]], entry["dtype"])
        for entry in about(model)["state"]
    }


def _read(path: os.PathLike) -> dict[str, str]:
    try:
        import onnx
    except ImportError as error:
        raise ImportError(f"{missing(f'Reading {path}', 'onnx')}; a session of onnxruntime does without.") from error
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"model is {str(path)!r}, which is no ONNX model, or damaged. Export it again.") from error
    return {entry.key: entry.value for entry in model.metadata_props}
