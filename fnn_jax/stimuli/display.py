"""Where the pixels of the monitor are, in degrees of visual angle or in pixels.

The distance from the eye to the monitor is part of the model (its perspective stage), so degrees come from there: from
the rays between the eye and the pixels. Directions count counter-clockwise from rightwards, in degrees; positions are
``(x, y)``, x to the right and y *upwards*, from the centre of the monitor.

Functions of positions work on NumPy and on JAX arrays: where an argument is a JAX array, or is being traced, so is the
result, and gradients reach it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.common.checks import integer, shown
from fnn_jax.model import geometry


def namespace(*values: Any) -> Any:
    """``jax.numpy`` where a value is a JAX array, else ``numpy``, which computes in float64."""
    return jnp if any(isinstance(value, jax.Array) for value in values) else np


class Display:
    """The geometry of a monitor; made by ``Display.of``, ``Display.flat`` or ``Display.in_pixels``.

    Attributes:
        height, width: pixels.
        unit: ``"deg"`` or ``"px"``, of every length and position, and of the inverse of spatial frequencies.
    """

    def __init__(self, height: int, width: int, unit: str):
        self.height, self.width, self.unit = height, width, unit

    @staticmethod
    def of(twin: Any = None) -> "SphericalDisplay":
        """The monitor as the twin's eye sees it, in degrees; without a twin, as the published model starts its
        training: 144 x 256 pixels, half as far from the eye as half its width.

        Distances are angles between rays, so a disc of 20 degrees is one wherever it is, and a grating has its spatial
        frequency everywhere.
        """
        if not (twin is None or (hasattr(twin, "config") and hasattr(twin, "network"))):
            raise TypeError(f"twin is {shown(twin)}; expected a Twin, or None.")
        if twin is None:
            rays = np.array([0, 0, 0.5]) + np.pad(geometry.isotropic_grid(144, 256), ((0, 0), (0, 0), (0, 1)))
            return SphericalDisplay(rays)
        config = twin.config
        rays = twin.network.perspective.monitor_rays(config.stimulus_height, config.stimulus_width)
        return SphericalDisplay(np.asarray(rays, np.float64))

    @staticmethod
    def flat(twin: Any = None) -> "FlatDisplay":
        """The same, with as many degrees to every pixel as there are in the middle of the monitor.

        Gratings are straight and regular on the screen, as most laboratories show them.
        """
        display = Display.of(twin)
        return FlatDisplay(display.height, display.width, "deg", display.unit_per_pixel)

    @staticmethod
    def in_pixels(height: int = 144, width: int = 256) -> "FlatDisplay":
        """Lengths in pixels, spatial frequencies in cycles per pixel."""
        return FlatDisplay(integer("height", height), integer("width", width), "px", 1.0)

    def record(self) -> dict[str, Any]:
        """What ``Display.of_record`` makes the same display from, in numbers and words that JSON keeps."""
        raise NotImplementedError

    @staticmethod
    def of_record(record: Any) -> "Display":
        """The display that a record describes, as ``record`` returned it.

        Raises:
            ValueError: it describes none.
        """
        try:
            kinds: dict[str, Any] = {"spherical": SphericalDisplay, "flat": FlatDisplay}
            return kinds[record["geometry"]]._of(record)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"record is {shown(record)}; expected what Display.record() returned.") from error

    def __repr__(self) -> str:
        across, down = self.extent
        return f"{type(self).__name__}({self.height} x {self.width} px, {across:.4g} x {down:.4g} {self.unit})"

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the monitor along the lines through its centre, edge to edge."""
        row, column = self.height // 2, self.width // 2
        across, down = self.along(0)[row], self.along(90)[:, column]
        return tuple(  # type: ignore[return-value]  # two
            float((values.max() - values.min()) * len(values) / (len(values) - 1)) for values in (across, down)
        )

    @property
    def unit_per_pixel(self) -> float:
        """Size of a pixel in the middle of the monitor, where it is largest."""
        row, column = self.height // 2, self.width // 2
        return float(np.diff(self.along(0)[row])[column - 1])

    def along(self, direction: Any, center: Any = (0, 0)) -> Any:
        """How far each pixel lies from ``center`` in a direction, ``[height, width]``."""
        raise NotImplementedError

    def distance(self, center: Any = (0, 0)) -> Any:
        """How far each pixel lies from ``center``, ``[height, width]``."""
        raise NotImplementedError

    def distance_to_nearest(self, points: Any) -> np.ndarray:
        """How far each pixel lies from the nearest of points ``[N, 2]``, ``[height, width]``; infinite for none."""
        raise NotImplementedError

    def positions(self, row: Any, column: Any) -> tuple[np.ndarray, np.ndarray]:
        """x and y of points given by row and column, which may lie between pixels."""
        raise NotImplementedError

    def position_beside(self, point: Any, right: Any, up: Any) -> tuple[np.ndarray, np.ndarray]:
        """x and y of points that lie at ``along(0, point)`` and ``along(90, point)`` of another, within 90 degrees."""
        raise NotImplementedError

    def in_blocks(self, size: int) -> "Display":
        """The display whose pixels are blocks of ``size`` x ``size`` pixels; the last ones may be cut."""
        raise NotImplementedError

    def pixel_of(self, point: tuple[float, float], name: str = "the position") -> tuple[int, int]:
        """Row and column of the pixel nearest to a position; ``name`` is what a message calls it.

        Raises:
            ValueError: it lies outside the monitor.
        """
        distance = self.distance(point)
        row, column = np.unravel_index(np.argmin(distance), distance.shape)
        # A pixel may be that far away: on a turned monitor the largest ones are not in the middle.
        around = self.distance(self.positions(row, column))[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        if distance[row, column] > (around.max() if around.size > 1 else self.unit_per_pixel):
            across, down = self.extent
            raise ValueError(
                f"{name} {tuple(map(float, point))} lies outside the monitor, which covers about "
                f"{across:.0f} x {down:.0f} {self.unit} around (0, 0)."
            )
        return int(row), int(column)


def require_display(display: Any) -> None:
    """Raise ``TypeError`` for what is no display."""
    if not isinstance(display, Display):
        raise TypeError(f"display is {shown(display)}; expected one, such as Display.of(twin).")


class SphericalDisplay(Display):
    """Distances are angles between rays from the eye, in degrees.

    A position ``(x, y)`` is azimuth and elevation of a ray. ``along`` is the angle from the great circle through
    ``center`` that is perpendicular to the direction: its gradient is one degree per degree everywhere.
    """

    def __init__(self, rays: np.ndarray, axes: np.ndarray | None = None):
        """``rays`` to the pixels: even steps on the plane of the monitor; ``axes``: right, up, and to its centre."""
        super().__init__(*rays.shape[:2], "deg")  # type: ignore[call-arg]  # two
        self.axes = _axes(rays) if axes is None else axes
        rays = rays @ self.axes
        # A step is that from edge to edge, divided: of two neighbours, float32 would keep the difference only roughly.
        self._corner = rays[0, 0]
        self._down = (rays[-1, 0] - rays[0, 0]) / max(self.height - 1, 1)
        self._right = (rays[0, -1] - rays[0, 0]) / max(self.width - 1, 1)
        self.rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)  # x to the right, y up, z to the centre

    def record(self) -> dict[str, Any]:
        sizes = {"geometry": "spherical", "height": self.height, "width": self.width}
        plane = {"corner": self._corner, "down": self._down, "right": self._right, "axes": self.axes}
        return sizes | {name: np.asarray(values).tolist() for name, values in plane.items()}

    @classmethod
    def _of(cls, record: dict[str, Any]) -> "SphericalDisplay":
        corner, down, right, axes = (np.array(record[name], float) for name in ("corner", "down", "right", "axes"))
        row, column = np.mgrid[: integer("height", record["height"]), : integer("width", record["width"])]
        return cls((corner + row[..., None] * down + column[..., None] * right) @ axes.T, axes)

    def ray(self, point: Any) -> Any:
        """The unit ray of a position (azimuth, elevation) in degrees."""
        xp = namespace(*point)
        x, y = xp.deg2rad(xp.asarray(point[0])), xp.deg2rad(xp.asarray(point[1]))
        return xp.stack([xp.sin(x) * xp.cos(y), xp.sin(y), xp.cos(x) * xp.cos(y)], axis=-1)

    def along(self, direction: Any, center: Any = (0, 0)) -> Any:
        xp = namespace(direction, *center)
        x, y, angle = (xp.deg2rad(xp.asarray(value)) for value in (*center, direction))
        right = xp.stack([xp.cos(x), xp.zeros_like(x), -xp.sin(x)])
        up = xp.stack([-xp.sin(x) * xp.sin(y), xp.cos(y), -xp.cos(x) * xp.sin(y)])
        axis = xp.cos(angle) * right + xp.sin(angle) * up
        return xp.rad2deg(xp.arcsin(xp.clip(xp.asarray(self.rays) @ axis, -1, 1)))

    def distance(self, center: Any = (0, 0)) -> Any:
        xp = namespace(*center)
        half_chord = ((xp.asarray(self.rays) - self.ray(center)[None, None]) ** 2).sum(-1) / 4
        # The tiny summand keeps the gradient of the root finite at the centre.
        return xp.rad2deg(2 * xp.arcsin(xp.sqrt(xp.minimum(half_chord, 1) + 1e-14)))

    def distance_to_nearest(self, points: Any) -> np.ndarray:
        points = np.asarray(points, float).reshape(-1, 2)
        if not len(points):
            return np.full(self.rays.shape[:2], np.inf)
        cosine = (self.rays @ self.ray(points.T).T).max(-1)
        return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))

    def positions(self, row: Any, column: Any) -> tuple[np.ndarray, np.ndarray]:
        return azimuth_elevation(self._plane(row, column))

    def position_beside(self, point: Any, right: Any, up: Any) -> tuple[np.ndarray, np.ndarray]:
        x, y = (np.deg2rad(np.asarray(value, float)) for value in point)
        to_right = np.stack([np.cos(x), np.zeros_like(x), -np.sin(x)], axis=-1)
        to_up = np.stack([-np.sin(x) * np.sin(y), np.cos(y), -np.cos(x) * np.sin(y)], axis=-1)
        across, above = (np.sin(np.deg2rad(np.asarray(value, float)))[..., None] for value in (right, up))
        ahead = np.sqrt(np.maximum(1 - across**2 - above**2, 0))
        return azimuth_elevation(ahead * self.ray(point) + across * to_right + above * to_up)

    def in_blocks(self, size: int) -> "SphericalDisplay":
        row, column = (np.arange(-(-length // size)) * size + (size - 1) / 2 for length in (self.height, self.width))
        return SphericalDisplay(self._plane(row[:, None], column[None, :]), np.eye(3))

    def _plane(self, row: Any, column: Any) -> np.ndarray:
        return self._corner + np.asarray(row)[..., None] * self._down + np.asarray(column)[..., None] * self._right


class FlatDisplay(Display):
    """Distances are those on the monitor, times a constant."""

    def __init__(self, height: int, width: int, unit: str, unit_per_pixel: float, corner: Any = None):
        """``corner``: x and y of the first pixel; default: the centre of the image is (0, 0)."""
        super().__init__(height, width, unit)
        self._scale = unit_per_pixel
        left, top = (-(width - 1) / 2 * unit_per_pixel, (height - 1) / 2 * unit_per_pixel) if corner is None else corner
        self.x = left + np.arange(width) * unit_per_pixel
        self.y = top - np.arange(height) * unit_per_pixel

    def record(self) -> dict[str, Any]:
        sizes = {"geometry": "flat", "height": self.height, "width": self.width, "unit": self.unit}
        return sizes | {"unit_per_pixel": self._scale, "corner": [float(self.x[0]), float(self.y[0])]}

    @classmethod
    def _of(cls, record: dict[str, Any]) -> "FlatDisplay":
        height, width = integer("height", record["height"]), integer("width", record["width"])
        left, top = map(float, record["corner"])
        return cls(height, width, str(record["unit"]), float(record["unit_per_pixel"]), (left, top))

    @property
    def unit_per_pixel(self) -> float:
        return self._scale

    def along(self, direction: Any, center: Any = (0, 0)) -> Any:
        xp = namespace(direction, *center)
        angle = xp.deg2rad(xp.asarray(direction))
        x, y = xp.asarray(self.x) - center[0], xp.asarray(self.y) - center[1]
        return x[None, :] * xp.cos(angle) + y[:, None] * xp.sin(angle)

    def distance(self, center: Any = (0, 0)) -> Any:
        xp = namespace(*center)
        x, y = xp.asarray(self.x) - center[0], xp.asarray(self.y) - center[1]
        return xp.sqrt(x[None, :] ** 2 + y[:, None] ** 2 + 1e-14)

    def distance_to_nearest(self, points: Any) -> np.ndarray:
        points = np.asarray(points, float).reshape(-1, 2)
        if not len(points):
            return np.full((self.height, self.width), np.inf)
        squares = (self.x[:, None] - points[:, 0]) ** 2, (self.y[:, None] - points[:, 1]) ** 2
        return np.sqrt((squares[1][:, None] + squares[0][None]).min(-1))

    def positions(self, row: Any, column: Any) -> tuple[np.ndarray, np.ndarray]:
        return self.x[0] + np.asarray(column) * self._scale, self.y[0] - np.asarray(row) * self._scale

    def position_beside(self, point: Any, right: Any, up: Any) -> tuple[np.ndarray, np.ndarray]:
        return point[0] + np.asarray(right), point[1] + np.asarray(up)

    def in_blocks(self, size: int) -> "FlatDisplay":
        rows, columns = -(-self.height // size), -(-self.width // size)
        corner = self.positions((size - 1) / 2, (size - 1) / 2)
        return FlatDisplay(rows, columns, self.unit, self._scale * size, corner)


def _axes(rays: np.ndarray) -> np.ndarray:
    """Right, up, and towards the middle of the monitor, as columns."""
    forwards = _middle(rays)
    forwards = forwards / np.linalg.norm(forwards)
    right = _middle(np.diff(rays, axis=1))
    right = right - (right @ forwards) * forwards
    right = right / np.linalg.norm(right)
    up = np.cross(right, forwards)
    return np.stack([right, up * np.sign(up @ -_middle(np.diff(rays, axis=0))), forwards], axis=1)


def azimuth_elevation(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees to the right and upwards of rays ``[..., 3]`` whose axes are right, up, and towards the monitor."""
    x, y, z = np.moveaxis(rays / np.linalg.norm(rays, axis=-1, keepdims=True), -1, 0)
    return np.rad2deg(np.arctan2(x, z)), np.rad2deg(np.arcsin(y))


def _middle(array: np.ndarray) -> np.ndarray:
    """The mean over the middle of the first two axes: of one, two or four elements."""
    for _ in range(2):
        length = len(array)
        array = array[(length - 1) // 2 : length // 2 + 1].mean(0)
    return array
