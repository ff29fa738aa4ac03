"""Gaussian dots at the nodes of a grid, and random dot kinematograms."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.checks import integer, number, numbers, one_of, point, sequence
from fnn_jax.common.rate import HZ
from fnn_jax.stimuli.display import Display, require_display
from fnn_jax.stimuli.gratings import combinations, in_order
from fnn_jax.stimuli.movie import Movie, as_levels, frames_in, one_after_another

MOTIONS = ("translation", "radial", "rotation")
REACH = 0.9  # of the monitor that the usual grid of positions covers


def grid_positions(
    display: Display, columns: int = 15, rows: int = 7, reach: float = REACH
) -> list[tuple[float, float]]:
    """Positions (x, y) that cover the monitor evenly, on the screen; 105 of them unless asked otherwise."""
    require_display(display)
    columns, rows, reach = integer("columns", columns), integer("rows", rows), number("reach", reach)
    row = (display.height - 1) / 2 + np.linspace(-1, 1, rows) * reach * display.height / 2 * (rows > 1)
    column = (display.width - 1) / 2 + np.linspace(-1, 1, columns) * reach * display.width / 2 * (columns > 1)
    x, y = display.positions(np.repeat(row, columns), np.tile(column, rows))
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def gaussian_dots(
    display: Display,
    positions: Sequence[tuple[float, float]] | None = None,
    *,
    sigma: float = 5.0,
    signs: Sequence[int] = (1, -1),
    contrast: float = 1.0,
    on_s: float = 9 / HZ,
    off_s: float = 0.0,
    repeats: int = 1,
    seed: int | None = 0,
) -> Movie:
    """One dot at a time, brighter (sign 1) or darker (-1) than gray; intervals have ``x``, ``y``, ``sign``.

    Args:
        positions: default the 105 of ``grid_positions``. sigma: standard deviation of the dots.
        seed: of the order, which is random; None: in the order given.

    Raises:
        ValueError: a position outside the monitor.
    """
    require_display(display)
    positions = grid_positions(display) if positions is None else sequence("positions", positions, "points (x, y)")
    positions = [point(f"positions[{index}]", position) for index, position in enumerate(positions)]
    for position in positions:
        display.pixel_of(position, "positions")
    number("sigma", sigma, above=0)
    number("contrast", contrast, above=0, most=1)
    signs = numbers("signs", signs, least=-1, most=1)
    conditions = [
        {"x": x, "y": y, "sign": sign, "sigma": sigma}
        for (x, y), sign in (each.values() for each in combinations({"position": positions, "sign": signs}))
    ]

    def make(x, y, sign, sigma):
        return 0.5 + 0.5 * contrast * sign * gaussian_mask(display, x, y, sigma)[None]

    return one_after_another(display, in_order(conditions, repeats, seed), make, on_s=on_s, off_s=off_s)


def gaussian_mask(display: Display, x: float, y: float, sigma: float) -> np.ndarray:
    """What a dot covers: 1 at its centre, ``[height, width]``."""
    require_display(display)
    number("sigma", sigma, above=0)
    return np.exp(-((display.distance((number("x", x), number("y", y))) / sigma) ** 2) / 2)


def dot_kinematogram(
    display: Display,
    motion: str = "translation",
    *,
    direction: float = 0.0,
    speed: float = 30.0,
    coherence: float = 1.0,
    diameter: float = 4.0,
    density: float = 0.005,
    contrast: float = 1.0,
    duration_s: float = 2.0,
    seed: int = 0,
) -> Movie:
    """Dots, white and black in equal numbers on gray, of which a part moves together.

    Args:
        motion: ``"translation"`` in ``direction``; ``"radial"``, outwards, or inwards at negative speed;
            ``"rotation"``,
            counter-clockwise, or clockwise at negative speed.
        speed: per second, in units of the display; of radial motion and rotation, the speed of a dot half-way between
            the centre and the upper edge (it grows with the distance).
        coherence: part of the dots that moves so; each of the others moves as fast, in a direction of its own.
        density: dots per unit squared.

    A dot that leaves comes in again on the opposite side; with radial motion, where it leaves, or arrives at the
    centre, it appears anywhere.
    """
    require_display(display)
    one_of("motion", motion, MOTIONS)
    number("direction", direction)
    number("speed", speed)
    number("coherence", coherence, 0, most=1)
    number("diameter", diameter)
    number("density", density)
    number("contrast", contrast, 0, most=1)
    checks.seed("seed", seed)
    if not (diameter >= display.unit_per_pixel and density > 0):
        raise ValueError(
            f"diameter is {diameter} and density {density}; expected a diameter of at least a pixel "
            f"({display.unit_per_pixel:.3g} {display.unit}) and a density above 0."
        )
    frames = frames_in(duration_s)
    half = np.array(display.extent) / 2

    def make():
        random = np.random.default_rng(seed)
        count = max(2, round(density * 4 * half.prod()))
        position = random.uniform(-half, half, (count, 2))
        is_coherent = np.arange(count) < round(coherence * count)
        is_coherent = random.permutation(is_coherent)
        bright = np.arange(count) % 2 == 0
        own = np.where(is_coherent, np.deg2rad(direction), random.uniform(0, 2 * np.pi, count))
        heading = np.stack([np.cos(own), np.sin(own)], axis=1)
        movie = np.empty((frames, display.height, display.width), np.uint8)
        for t in range(frames):
            covered = [
                np.clip((diameter / 2 - display.distance_to_nearest(position[of])) / display.unit_per_pixel + 0.5, 0, 1)
                for of in (bright, ~bright)
            ]
            movie[t] = as_levels(0.5 + 0.5 * contrast * (covered[0] - covered[1] * (1 - covered[0])))
            velocity = heading * speed
            if motion != "translation":
                outwards = position * speed / (half[1] / 2)
                turned = outwards if motion == "radial" else outwards[:, ::-1] * [-1, 1]
                velocity = np.where(is_coherent[:, None], turned, velocity)
            position = position + velocity / HZ
            left = (np.abs(position) > half).any(1)
            if motion == "radial":
                left |= is_coherent & (speed < 0) & (np.hypot(*position.T) < diameter / 2)  # arrived at the centre
                position[left] = random.uniform(-half, half, (count, 2))[left]
            else:
                position = (position + half) % (2 * half) - half
        return movie

    shown = {"motion": motion, "direction": direction, "speed": speed, "coherence": coherence, "seed": seed}
    return Movie(make, frames, pd.DataFrame([{"onset_s": 0.0, "offset_s": frames / HZ, **shown}]))
