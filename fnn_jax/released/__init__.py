"""The interface of the released PyTorch package, over twins: programs written for it run with the import line changed.

>>> from fnn_jax.released import microns  # instead of: from fnn import microns
>>> model, ids = microns.scan(session=8, scan_idx=5)
>>> responses = model.predict(stimuli=frames)

``Visual(twin)`` gives any twin this interface, and ``model.twin`` is the twin below it. See docs/released.md.
"""

from fnn_jax.released import microns
from fnn_jax.released.missing import NoEqualError
from fnn_jax.released.visual import Visual

__all__ = ["NoEqualError", "Visual", "microns"]
