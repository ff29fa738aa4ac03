"""White, sparse and pink noise."""

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.checks import number, one_of
from fnn_jax.common.rate import HZ
from fnn_jax.stimuli.display import Display, require_display
from fnn_jax.stimuli.movie import Movie, as_levels, frames_in


def white_noise(
    display: Display,
    *,
    check: float = 8.0,
    rate_hz: float = 10.0,
    contrast: float = 1.0,
    kind: str = "binary",
    duration_s: float = 60.0,
    seed: int = 0,
) -> Movie:
    """Checks whose levels are drawn anew, and independently, ``rate_hz`` times a second.

    Args:
        check: their size, rounded to whole pixels of the middle of the monitor; intervals have ``check_px``.
        kind: ``"binary"``: ``0.5 (1 - contrast)`` or ``0.5 (1 + contrast)``; ``"gaussian"``: standard deviation
            ``contrast / 4`` around 0.5, clipped.
    """
    one_of("kind", kind, ("binary", "gaussian"))
    number("contrast", contrast, 0, most=1)

    def levels(random, shape):
        if kind == "binary":
            return 0.5 + contrast * (random.integers(0, 2, shape) - 0.5)
        return np.clip(0.5 + contrast / 4 * random.standard_normal(shape), 0, 1)

    return _checks(display, check, rate_hz, duration_s, seed, levels, kind=kind, contrast=contrast)


def sparse_noise(
    display: Display,
    *,
    check: float = 8.0,
    density: float = 0.05,
    rate_hz: float = 5.0,
    contrast: float = 1.0,
    duration_s: float = 60.0,
    seed: int = 0,
) -> Movie:
    """Checks of which each is, independently, white or black with probability ``density``, else gray."""
    number("density", density, 0, most=1)
    number("contrast", contrast, 0, most=1)

    def levels(random, shape):
        shown = random.random(shape) < density
        return 0.5 + shown * contrast * (random.integers(0, 2, shape) - 0.5)

    return _checks(display, check, rate_hz, duration_s, seed, levels, density=density, contrast=contrast)


def pink_noise(
    display: Display,
    *,
    spatial_exponent: float = 1.0,
    temporal_exponent: float = 1.0,
    contrast: float = 0.2,
    duration_s: float = 10.0,
    seed: int = 0,
) -> Movie:
    """Gaussian noise whose amplitude falls as ``1 / frequency ** exponent`` over space (in pixels) and over time.

    ``contrast`` is the standard deviation of the whole movie around 0.5, before values are clipped to [0, 1].
    """
    require_display(display)
    for name, exponent in (("spatial_exponent", spatial_exponent), ("temporal_exponent", temporal_exponent)):
        number(name, exponent)
    number("contrast", contrast, 0)
    checks.seed("seed", seed)
    frames = frames_in(duration_s)

    def make():
        shape = (frames, display.height, display.width)
        down, across = np.fft.fftfreq(shape[1])[:, None], np.fft.rfftfreq(shape[2])
        spatial = np.maximum(np.hypot(down, across), 1 / max(shape[1:])) ** -spatial_exponent
        temporal = np.maximum(np.abs(np.fft.fftfreq(frames)), 1 / frames) ** -temporal_exponent
        noise = np.random.default_rng(seed).standard_normal(shape)
        spectrum = np.fft.rfftn(noise) * temporal[:, None, None] * spatial
        spectrum[0, 0, 0] = 0
        pattern = np.fft.irfftn(spectrum, shape, axes=(0, 1, 2))
        return as_levels(np.clip(0.5 + contrast * pattern / pattern.std(), 0, 1))

    return Movie(make, frames, pd.DataFrame([{"onset_s": 0.0, "offset_s": frames / HZ, "seed": seed}]))


def _checks(display, check, rate_hz, duration_s, seed, levels, **shown):
    require_display(display)
    checks.seed("seed", seed)
    number("rate_hz", rate_hz)
    size = round(number("check", check) / display.unit_per_pixel)
    if not 1 <= size <= min(display.height, display.width):
        raise ValueError(
            f"check is {check} {display.unit}, {check / display.unit_per_pixel:.2f} pixels; expected at least one "
            f"pixel ({display.unit_per_pixel:.3g} {display.unit}) and at most the monitor."
        )
    if not 0 < rate_hz <= HZ or abs(HZ / rate_hz - round(HZ / rate_hz)) > 1e-6:
        raise ValueError(f"rate_hz is {rate_hz}; expected 30 divided by a whole number: 30, 15, 10, 7.5, 6, 5 ...")
    hold, frames = round(HZ / rate_hz), frames_in(duration_s)
    grid = (-(-display.height // size), -(-display.width // size))

    def make():
        random = np.random.default_rng(seed)
        small = as_levels(levels(random, (-(-frames // hold), *grid)).astype(np.float64))
        large = small.repeat(size, axis=1).repeat(size, axis=2)[:, : display.height, : display.width]
        return large.repeat(hold, axis=0)[:frames]

    interval = {
        "onset_s": 0.0,
        "offset_s": frames / HZ,
        "check_px": size,
        "rate_hz": rate_hz,
        "seed": seed,
        **shown,
    }
    return Movie(make, frames, pd.DataFrame([interval]))
