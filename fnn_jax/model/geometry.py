"""Rotations, the monitor plane, the angular retina, and bilinear sampling between them.

Pixel coordinates are *isotropic*: x spans [-1, 1] over the width of an image, y is scaled by the same factor, so that
a circle stays a circle. Points are ``(x, y)``, x to the right and y downwards (the first row is the smallest y).
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


def rotation_matrix(angles: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """``Rz(z) @ Ry(y) @ Rx(x)`` for angles ``(x, y, z)`` in radians (``rmat_3d`` of the released code)."""
    (sin_x, sin_y, sin_z), (cos_x, cos_y, cos_z) = (jnp.moveaxis(f(angles), -1, 0) for f in (jnp.sin, jnp.cos))
    # Written out: three matrix products of 3 x 3 would cost more than the nine sums.
    rows = [
        [cos_z * cos_y, cos_z * sin_y * sin_x - sin_z * cos_x, cos_z * sin_y * cos_x + sin_z * sin_x],
        [sin_z * cos_y, sin_z * sin_y * sin_x + cos_z * cos_x, sin_z * sin_y * cos_x - cos_z * sin_x],
        [-sin_y, cos_y * sin_x, cos_y * cos_x],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def isotropic_grid(height: int, width: int) -> Float[np.ndarray, "height width 2"]:
    """Centres of the pixels of an image, float64, isotropic and scaled by the width."""
    scale = (width - 1) / width
    x = np.linspace(-1, 1, width) * scale
    y = np.linspace(-1, 1, height) * (height / width) * scale
    return np.stack(np.meshgrid(x, y, indexing="xy"), axis=-1)


def edges_to_isotropic(
    points: Float[np.ndarray, "*points 2"], height: int, width: int
) -> Float[np.ndarray, "*points 2"]:
    """Points in [-1, 1] from edge to edge of an image, in the coordinates of ``isotropic_grid``.

    Not just a factor of ``height / width``: the grid shrinks both axes by ``(width - 1) / width``.
    """
    aspect = height / width * (height / (height - 1)) * ((width - 1) / width)
    return points * [1, aspect]


def angular_retina(height: int, width: int, max_angle_deg: float) -> Float[np.ndarray, "height width 3"]:
    """Unit rays of a retina on which eccentricity grows linearly with the distance from the centre.

    The left and right edge lie at ``max_angle_deg``; no ray goes beyond 90 degrees.
    """
    return angular_rays(isotropic_grid(height, width), max_angle_deg)


def angular_rays(points: Float[np.ndarray, "*points 2"], max_angle_deg: float) -> Float[np.ndarray, "*points 3"]:
    """Unit rays of isotropic points of that retina, float64."""
    x, y = np.moveaxis(points, -1, 0)
    radius = np.clip(np.hypot(x, y) * np.deg2rad(max_angle_deg), 0, np.pi / 2)
    theta = np.arctan2(y, x)
    return np.stack([np.sin(radius) * np.cos(theta), np.sin(radius) * np.sin(theta), np.cos(radius)], axis=-1)


def project_on_monitor(
    rays: Float[Array, "*points 3"],
    center: Float[Array, "3"],
    axes: Float[Array, "3 3"],
    eps: float = 1e-5,
) -> Float[Array, "*points 2"]:
    """Where rays from the eye meet the monitor plane, in the plane's own coordinates.

    ``axes`` holds the plane's X, Y and normal Z as columns. The denominator is only bounded from below, so rays that
    point away from the monitor land far outside it (``Plane.project`` of the released code).
    """
    normal = axes[:, 2]
    distance = (normal @ center) / jnp.maximum(rays @ normal, eps)
    offset = distance[..., None] * rays - center.reshape((1,) * (rays.ndim - 1) + (3,))
    return offset @ axes[:, :2]


def project_on_retina(
    rays: Float[Array, "height width 3"],
    rotation: Float[Array, "3 3"],
    max_angle_deg: float,
) -> Float[Array, "height width 2"]:
    """Retinal coordinates of rays from the eye; the inverse of ``angular_retina`` under a rotated eye."""
    unit = rays / jnp.linalg.norm(rays, axis=-1, keepdims=True)
    x, y, z = jnp.moveaxis(unit @ rotation, -1, 0)  # rows times R: rotated by its transpose
    radius = jnp.arccos(z) / math.radians(max_angle_deg)
    theta = jnp.arctan2(y, x)
    return jnp.stack([radius * jnp.cos(theta), radius * jnp.sin(theta)], axis=-1)


def isotropic_to_sampling(
    points: Float[Array, "*points 2"], in_size: tuple[int, ...], out_size: tuple[int, ...]
) -> Float[Array, "*points 2"]:
    """Isotropic coordinates to the [-1, 1] half-pixel convention of ``sample_bilinear``; sizes are height and width.

    The last factors use the size of the *sampling grid*, not of the image that is sampled. It looks like a slip of the
    released code; the published weights were trained with it, so it is part of the model.
    """
    (in_height, in_width), (out_height, out_width) = in_size, out_size
    scale = in_width / (in_width - 1)
    x = points[..., 0] * (scale * (out_width - 1) / out_width)
    y = points[..., 1] * (in_width / in_height * scale * (out_height - 1) / out_height)
    return jnp.stack([x, y], axis=-1)


def sample_bilinear(
    image: Float[Array, "time height width channel"],
    points: Float[Array, "*points 2"],
    outside: str,
) -> Float[Array, "time *points channel"]:
    """Bilinear samples of every frame at the same points, whose coordinates run from -1 to 1 edge to edge.

    Pixel centres lie half a pixel inside the edge (PyTorch's ``align_corners=False``). ``outside="zero"`` counts every
    corner that lies outside the image as zero; ``"edge"`` moves the point to the nearest pixel centre first.
    """
    height, width = image.shape[-3:-1]
    flat = image.reshape(image.shape[0], height * width, image.shape[-1])

    def corner(index, weight, inside):
        value = jnp.take(flat, index, axis=1, mode="clip")
        if outside == "zero":
            # The value is masked, not its weight: zero times an infinite pixel would leak.
            value = jnp.where(inside[None, ..., None], value, 0)
        return value * weight[None, ..., None]

    return sum(corner(*each) for each in bilinear_corners(points, height, width, outside))


def bilinear_corners(
    points: Float[Array, "*points 2"], height: int, width: int, outside: str
) -> list[tuple[Int[Array, "*points"], Float[Array, "*points"], Bool[Array, "*points"]]]:
    """The four pixels around each point: index in the flat image, weight, and whether it is one of the image's.

    Conventions are those of ``sample_bilinear``.
    """
    x = ((points[..., 0] + 1) * width - 1) / 2
    y = ((points[..., 1] + 1) * height - 1) / 2
    if outside == "edge":
        # where, not clip: clip halves the gradient of a point that sits exactly on the border.
        x = jnp.where(x < 0, 0, jnp.where(x > width - 1, width - 1, x))
        y = jnp.where(y < 0, 0, jnp.where(y > height - 1, height - 1, y))
    elif outside != "zero":
        raise ValueError(f"outside is {outside!r}; expected 'zero' or 'edge'.")

    left, top = jnp.floor(x), jnp.floor(y)
    right_weight, bottom_weight = x - left, y - top

    def corner(column, row, weight):
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        # Far points overflow an integer, so they are clipped while they are still floats.
        index = jnp.clip(row, 0, height - 1).astype(jnp.int32) * width
        return index + jnp.clip(column, 0, width - 1).astype(jnp.int32), weight, inside

    return [
        corner(left, top, (1 - right_weight) * (1 - bottom_weight)),
        corner(left + 1, top, right_weight * (1 - bottom_weight)),
        corner(left, top + 1, (1 - right_weight) * bottom_weight),
        corner(left + 1, top + 1, right_weight * bottom_weight),
    ]
