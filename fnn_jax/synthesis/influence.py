"""Which pixels of a stimulus drive what it was made for."""

import functools
from typing import Any

import jax
import numpy as np

from fnn_jax.common.checks import integer
from fnn_jax.synthesis.result import Synthesis
from fnn_jax.twin.inputs import check_inputs, constant_trace
from fnn_jax.twin.twin import Twin

SMOOTH = 36  # the image's height by this is the sigma, in pixels, over which influence is smoothed


def influence(
    twin: Twin,
    found: Synthesis,
    index: int,
    *,
    perspectives: Any = None,
    modulations: Any = None,
    periphery: str = "dark",
) -> Any:
    """How much each pixel of a target's first stimulus drives the target's units, ``[H, W]``, the largest 1.

    It is the gradient of their mean response after the burn-in with respect to the pixels, root mean square over
    frames, smoothed by a Gaussian. Where it is small, pixels keep the noise of the start, whatever it looks like.

    Args:
        twin: that ``found`` was made for. index: of the target.
        perspectives, modulations: as for ``synthesize``; default: those that it learned, or zeros.
        periphery: as for ``Twin.predict``.

    Raises:
        ValueError: there is no such target, or it has no units.
    """
    from scipy.ndimage import gaussian_filter

    units = found.record["units"][integer("index", index, 0, len(found.frames) - 1)]
    if not is_of_units(found, index):
        raise ValueError(f"target {index} has no units; expected one made for units, not for features.")
    frames = found.frames[index, 0]
    traces = []
    for name, given in (("perspectives", perspectives), ("modulations", modulations)):
        learned = getattr(found, f"learned_{name}")
        given = learned[index] if given is None and learned is not None else given
        traces.append(constant_trace(name, given, len(frames)))
    eye, behaviour = traces
    check_inputs(frames, eye, behaviour, twin.config)
    # A twin without its table: then one program serves all units, and all groups of one size.
    chosen = Twin(twin.select(np.atleast_1d(units).tolist()).network)
    video = frames.astype(np.float32) / np.float32(255)
    gradient = np.asarray(
        _gradient(chosen, video, *traces, burn_in=found.record["burn_in"], periphery=periphery), np.float64
    )
    smooth = gaussian_filter(np.sqrt((gradient**2).mean(0)), video.shape[1] / SMOOTH)
    return smooth / max(smooth.max(), np.finfo(float).tiny)


def is_of_units(found: Synthesis, index: int) -> bool:
    """Whether a target is one unit or several; else it is features by name."""
    return not any(isinstance(unit, str) for unit in np.atleast_1d(found.record["units"][index]).tolist())


@functools.partial(jax.jit, static_argnames=("burn_in", "periphery"))
def _gradient(twin, video, perspectives, modulations, burn_in, periphery):
    """Of the mean response after the burn-in, with respect to the pixels ``[T, H, W]``."""

    def response(pixels):
        return twin.rollout(pixels, perspectives, modulations, periphery=periphery)[burn_in:].mean()

    return jax.grad(response)(video)
