"""Predictions that are kept, so that a comparison that was killed goes on after them."""

from pathlib import Path

import numpy as np

from fnn_jax.common.arrays import array_digest, load_arrays, save_arrays
from fnn_jax.common.files import json_digest
from fnn_jax.twin.twin import Twin
from fnn_jax.weights.checkpoint import CheckpointError


def predict(twin: Twin, stimulus: np.ndarray, work: Path | None, periphery: str = "dark") -> np.ndarray:
    """Responses ``[frame, unit]``; those that are in the folder ``work`` already are read, and checked."""
    if work is None:
        return twin.predict(stimulus, periphery=periphery, progress=False)
    identity = {
        "fingerprint": twin.fingerprint(),
        "stimulus": array_digest(stimulus).hex(),
        "periphery": periphery,
    }
    path = work / f"responses-{twin.name}-{json_digest(identity)[:16]}.npz"
    if path.is_file():
        return load_arrays(path, identity, CheckpointError, "Delete it, and run it again.")["responses"]
    responses = twin.predict(stimulus, periphery=periphery, progress=False)
    save_arrays(path, {"responses": responses}, identity)
    return responses
