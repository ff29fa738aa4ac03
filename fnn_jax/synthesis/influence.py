"""Which pixels of a stimulus drive what it was made for."""

from typing import Any

import jax
import numpy as np

from fnn_jax.common.checks import integer
from fnn_jax.synthesis.result import Synthesis
from fnn_jax.twin.twin import Twin

SMOOTH = 36  # the image's height by this is the sigma, in pixels, over which influence is smoothed


def influence(twin: Twin, found: Synthesis, index: int, *, perspectives: Any = None, modulations: Any = None) -> Any:
    """How much each pixel of a target's first stimulus drives the target's units, ``[H, W]``, the largest 1.

    It is the gradient of their mean response after the burn-in with respect to the pixels, root mean square over
    frames, smoothed by a Gaussian. Where it is small, pixels keep the noise of the start, whatever it looks like.

    Args:
        twin: that ``found`` was made for. index: of the target. perspectives, modulations: as for ``Twin.predict``.

    Raises:
        ValueError: there is no such target, or it has no units.
    """
    from scipy.ndimage import gaussian_filter

    units = found.record["units"][integer("index", index, 0, len(found.frames) - 1)]
    if units is None:
        raise ValueError(f"target {index} has no units; expected one made for units, not for features.")
    burn_in, chosen = found.record["burn_in"], twin.select(np.atleast_1d(units).tolist())

    def response(video):
        return chosen.rollout(video, perspectives, modulations)[burn_in:].mean()

    video = found.frames[index, 0].astype(np.float32) / np.float32(255)
    gradient = np.asarray(jax.jit(jax.grad(response))(video), np.float64).reshape(video.shape)
    smooth = gaussian_filter(np.sqrt((gradient**2).mean(0)), video.shape[1] / SMOOTH)
    return smooth / max(smooth.max(), np.finfo(float).tiny)
