"""Stage 1, perspective: the image on the monitor and the position of the eye become an image on the retina."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from fnn_jax.model import geometry
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.inside import tap
from fnn_jax.model.layers import Buffer, Linear, constant, dropout_mask, nonlinearity
from fnn_jax.model.numerics import full_precision
from fnn_jax.model.pixels import PIXELS

# What lies outside the monitor: dark, as in the released model's default, or the monitor's border extended.
PERIPHERIES = {"dark": "zero", "extend": "edge"}


class PerspectiveNoise(NamedTuple):
    """Standard normal draws that displace the monitor during training, one per sequence and video.

    ``eye`` is a dropout mask of the eye's layers, where the configuration has dropout there.
    """

    center: Float[Array, "*batch 3"]
    angle: Float[Array, "*batch 3"]
    eye: Float[Array, "*batch features"] | None = None


class Eye(nnx.Module):
    """Multilayer perceptron from the eye trace to three angles in radians, which are zero at the start.

    The first layer of the published kind is not weight-normalised; all of kind ``monitor_retina`` are.
    """

    def __init__(self, config: NetworkConfig):
        perspective = config.perspective
        is_published = perspective.kind == "mlp_monitor_retina"
        published = (perspective.mlp_features,) * perspective.mlp_layers
        hidden = published if is_published else perspective.hidden_features
        self.nonlinearity, self.dropout = perspective.nonlinearity, perspective.dropout

        def layer(index, into, out):
            if is_published:
                return Linear(into, out, weight_norm=index > 0, start_at_zero=index == 0)
            return Linear(into, out, gain=0.0 if index == len(hidden) else 1.0)

        sizes = (perspective.eye_features, *hidden, 3)
        self.layers = nnx.List(layer(i, *pair) for i, pair in enumerate(itertools.pairwise(sizes)))

    def draw_noise(self, key: Array) -> Float[Array, "features"] | None:
        if not self.dropout:
            return None
        into, _ = self.layers[-1].weight.shape
        return dropout_mask(jax.random.fold_in(key, 1), self.dropout, into, self.layers[-1].weight.dtype)

    def __call__(
        self, eye: Float[Array, "time eye_features"], mask: Float[Array, "features"] | None = None
    ) -> Float[Array, "time 3"]:
        """Angles; ``mask`` is the dropout mask of the last hidden layer."""
        *hidden, output = self.layers
        for layer in hidden:
            eye = nonlinearity(self.nonlinearity, layer(eye))
        return output(eye if mask is None else eye * mask[None])


class Monitor(nnx.Module):
    """A plane in front of the eye: centre and rotation angles, with their spread in training."""

    def __init__(self):
        self.center = nnx.Param(jax.device_put(np.array([0, 0, 0.5], np.float32)))
        self.angle = nnx.Param(constant((3,), 0))
        self.center_std = nnx.Param(constant((3,), 0.05))
        self.angle_std = nnx.Param(constant((3,), 0.05))

    def placement(self, noise: PerspectiveNoise | None) -> tuple[Float[Array, "3"], Float[Array, "3 3"]]:
        """Centre of the monitor, and its X, Y and normal axes as columns."""
        center, angle = self.center[...], self.angle[...]
        if noise is not None:
            center = center + noise.center * self.center_std[...]
            angle = angle + noise.angle * self.angle_std[...]
        return center, geometry.rotation_matrix(angle)


class Perspective(nnx.Module):
    """The perspective of one video; it is shared by the streams."""

    luminance: Any  # of kinds that the configuration names
    response: Any

    def __init__(self, config: NetworkConfig):
        perspective = config.perspective
        self.max_angle_deg = perspective.max_angle_deg
        self.stimulus_size = (config.stimulus_height, config.stimulus_width)
        self.eye = Eye(config)
        self.monitor = Monitor()
        # What the monitor emits at a pixel value in [0, 1], and how the retina responds to luminance.
        self.luminance = PIXELS[perspective.monitor_pixels](perspective.monitor_power)
        self.retina = Buffer(
            jnp.asarray(
                geometry.angular_retina(perspective.height, perspective.width, perspective.max_angle_deg),
                self.monitor.center.dtype,
            )
        )
        self.response = PIXELS[perspective.retina_pixels](perspective.retina_power)

    def draw_noise(self, key: Array) -> PerspectiveNoise:
        center, angle = jax.random.normal(key, (2, 3), self.monitor.center.dtype)
        return PerspectiveNoise(center, angle, self.eye.draw_noise(key))

    def gaze(
        self, eye: Float[Array, "time eye_features"], mask: Float[Array, "features"] | None = None
    ) -> Float[Array, "time 3 3"]:
        """Rotation of the eye at each frame; ``mask`` as for ``Eye``."""
        return geometry.rotation_matrix(self.eye(eye, mask))

    @full_precision
    def __call__(
        self,
        stimulus: Float[Array, "time height width channel"] | UInt8[Array, "time height width channel"],
        eye: Float[Array, "time eye_features"],
        noise: PerspectiveNoise | None = None,
        periphery: str = "dark",
    ) -> Float[Array, "time retina_height retina_width channel"]:
        """Retinal image of each frame.

        ``stimulus`` holds pixel values, uint8 or in [0, 1]; ``eye`` the z-scored position of the pupil.
        """
        center, axes = self.monitor.placement(noise)
        luminance = tap("perspective.luminance", self._luminance(stimulus))
        height, width = stimulus.shape[1:3]

        def frame(image, rotation):
            rays = self.retina[...] @ rotation.T
            points = geometry.project_on_monitor(rays, center, axes)
            points = geometry.isotropic_to_sampling(points, (height, width), points.shape[:2])
            return geometry.sample_bilinear(image[None], points, PERIPHERIES[periphery])[0], points

        angles = tap("perspective.eye", self.eye(eye, None if noise is None else noise.eye))
        retina, points = jax.vmap(frame)(luminance, geometry.rotation_matrix(angles))
        tap("perspective.points", points)
        return tap("retina", self.response(retina))

    @full_precision
    def monitor_position(
        self, points: Float[np.ndarray, "points 2"], eye: Float[Array, "eye_features"]
    ) -> Float[Array, "points 2"]:
        """Where on the monitor points of the retina look, for one position of the eye.

        Points are (x, y) in [-1, 1] from edge to edge, of the retina (which the maps of the core cover, too) and of the
        image on the monitor: -1 is the left edge and the *top*. They may lie outside the monitor.
        """
        return self.rays_on_monitor(jnp.asarray(self.retinal_rays(points), self.retina.dtype), eye)

    def retinal_rays(self, points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 3"]:
        """Unit rays of points of the retina, [-1, 1] from edge to edge, as they are before the eye turns; float64."""
        height, width = self.retina.shape[:2]
        return geometry.angular_rays(geometry.edges_to_isotropic(points, height, width), self.max_angle_deg)

    @full_precision
    def rays_on_monitor(
        self, rays: Float[Array, "points 3"], eye: Float[Array, "eye_features"]
    ) -> Float[Array, "points 2"]:
        """Where ``retinal_rays`` meet the monitor, for one position of the eye; see ``monitor_position``."""
        turned = rays @ self.gaze(eye[None])[0].T
        on_monitor = geometry.project_on_monitor(turned, *self.monitor.placement(None))
        return geometry.isotropic_to_sampling(on_monitor, self.stimulus_size, self.retina.shape[:2])

    @full_precision
    def monitor_rays(self, height: int, width: int) -> Float[Array, "height width 3"]:
        """From the eye, when it looks straight ahead, to the pixels of an image that fills the monitor; not of unit
        length.

        The angle between two of them is the visual angle between two pixels, wherever the eye looks.
        """
        center, axes = self.monitor.placement(None)
        grid = jnp.asarray(geometry.isotropic_grid(height, width), center.dtype)
        return center[None, None] + grid @ axes[:, :2].T

    def _luminance(self, stimulus):
        if stimulus.dtype != jnp.uint8:
            return self.luminance(stimulus)
        # A table of the 256 levels: divisions on an accelerator are off by one unit in the last place for half of them.
        levels = jnp.arange(256, dtype=self.monitor.center.dtype) / 255
        return jnp.take(self.luminance(levels), stimulus.astype(jnp.int32), axis=0, mode="clip")

    @full_precision
    def inverse(
        self,
        retinal: Float[Array, "time retina_height retina_width channel"],
        eye: Float[Array, "time eye_features"],
        height: int | None = None,
        width: int | None = None,
        periphery: str = "dark",
    ) -> Float[Array, "time out_height out_width channel"]:
        """Monitor image that a retinal image shows, for display: what lies off the retina is dark or extended.

        ``height`` and ``width`` are those of a stimulus unless given. Responses that no light evokes show as black
        (the released code returns NaN for them).
        """
        height = self.stimulus_size[0] if height is None else height
        width = self.stimulus_size[1] if width is None else width
        rays = self.monitor_rays(height, width)
        luminance = self.response.inverse(retinal)

        def frame(image, rotation):
            points = geometry.project_on_retina(rays, rotation, self.max_angle_deg)
            points = geometry.isotropic_to_sampling(points, image.shape[:2], points.shape[:2])
            return geometry.sample_bilinear(image[None], points, PERIPHERIES[periphery])[0]

        return self.luminance.inverse(jax.vmap(frame)(luminance, self.gaze(eye)))
