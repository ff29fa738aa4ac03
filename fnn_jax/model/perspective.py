"""Stage 1, perspective: the image on the monitor and the position of the eye become an image on the retina."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from fnn_jax.config import NetworkConfig
from fnn_jax.model import geometry
from fnn_jax.model.layers import Buffer, Linear, full_precision, nonlinearity

# What lies outside the monitor: dark, as in the released model's default, or the monitor's border extended.
PERIPHERIES = {"dark": "zero", "extend": "edge"}


class PerspectiveNoise(NamedTuple):
    """Standard normal draws that displace the monitor during training, one per sequence and video."""

    center: Float[Array, "*batch 3"]
    angle: Float[Array, "*batch 3"]


class Eye(nnx.Module):
    """Multilayer perceptron from the eye trace to three angles in radians; its first layer is not weight-normalised."""

    def __init__(self, config: NetworkConfig):
        perspective = config.perspective
        width = perspective.mlp_features
        sizes = [perspective.eye_features] + [width] * perspective.mlp_layers + [3]
        self.layers = nnx.List(
            Linear(sizes[i], sizes[i + 1], weight_norm=i > 0, start_at_zero=i == 0) for i in range(len(sizes) - 1)
        )

    def __call__(self, eye: Float[Array, "time eye_features"]) -> Float[Array, "time 3"]:
        *hidden, output = self.layers
        for layer in hidden:
            eye = nonlinearity("gelu", layer(eye))
        return output(eye)


class Monitor(nnx.Module):
    """A plane in front of the eye: centre and rotation angles, with their spread in training."""

    def __init__(self):
        self.center = nnx.Param(jnp.array([0, 0, 0.5], jnp.float32))
        self.angle = nnx.Param(jnp.zeros(3, jnp.float32))
        self.center_std = nnx.Param(jnp.full(3, 0.05, jnp.float32))
        self.angle_std = nnx.Param(jnp.full(3, 0.05, jnp.float32))

    def placement(self, noise: PerspectiveNoise | None) -> tuple[Float[Array, "3"], Float[Array, "3 3"]]:
        """Centre of the monitor, and its X, Y and normal axes as columns."""
        center, angle = self.center[...], self.angle[...]
        if noise is not None:
            center = center + noise.center * self.center_std[...]
            angle = angle + noise.angle * self.angle_std[...]
        return center, geometry.rotation_matrix(angle)


class Luminance(nnx.Module):
    """What the monitor emits at a pixel value in [0, 1]: ``value ** power * scale + offset``, not trained."""

    def __init__(self):
        self.power = Buffer(jnp.float32(1.7))
        self.scale = Buffer(jnp.float32(1))
        self.offset = Buffer(jnp.float32(0))

    def __call__(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return values ** self.power[...] * self.scale[...] + self.offset[...]

    def inverse(self, luminance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.maximum((luminance - self.offset[...]) / self.scale[...], 0) ** (1 / self.power[...])


class RetinalResponse(nnx.Module):
    """How the retina responds to luminance: ``(l + 1e-5) ** sigmoid(logit) * scale + offset``, trained."""

    eps = 1e-5

    def __init__(self):
        self.logit = nnx.Param(jnp.zeros(1, jnp.float32))
        self.scale = nnx.Param(jnp.ones(1, jnp.float32))
        self.offset = nnx.Param(jnp.zeros(1, jnp.float32))

    def _power(self) -> Float[Array, ""]:
        return jax.nn.sigmoid(self.logit[0])

    def __call__(self, luminance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return (luminance + self.eps) ** self._power() * self.scale[0] + self.offset[0]

    def inverse(self, response: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.maximum((response - self.offset[0]) / self.scale[0], 0) ** (1 / self._power()) - self.eps


class Perspective(nnx.Module):
    """The perspective of one video; it is shared by the streams."""

    def __init__(self, config: NetworkConfig):
        perspective = config.perspective
        self.max_angle_deg = perspective.max_angle_deg
        self.stimulus_size = (config.stimulus_height, config.stimulus_width)
        self.eye = Eye(config)
        self.monitor = Monitor()
        self.luminance = Luminance()
        self.retina = Buffer(
            jnp.asarray(
                geometry.angular_retina(perspective.height, perspective.width, perspective.max_angle_deg),
                self.monitor.center.dtype,
            )
        )
        self.response = RetinalResponse()

    def draw_noise(self, key: Array) -> PerspectiveNoise:
        center, angle = jax.random.normal(key, (2, 3), self.monitor.center.dtype)
        return PerspectiveNoise(center, angle)

    def gaze(self, eye: Float[Array, "time eye_features"]) -> Float[Array, "time 3 3"]:
        """Rotation of the eye at each frame."""
        return geometry.rotation_matrix(self.eye(eye))

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
        luminance = self._luminance(stimulus)
        height, width = stimulus.shape[1:3]

        def frame(image, rotation):
            rays = self.retina[...] @ rotation.T
            points = geometry.project_on_monitor(rays, center, axes)
            points = geometry.isotropic_to_sampling(points, (height, width), points.shape[:2])
            return geometry.sample_bilinear(image[None], points, PERIPHERIES[periphery])[0]

        return self.response(jax.vmap(frame)(luminance, self.gaze(eye)))

    @full_precision
    def monitor_position(
        self, points: Float[np.ndarray, "points 2"], eye: Float[Array, "eye_features"]
    ) -> Float[Array, "points 2"]:
        """Where on the monitor points of the retina look, for one position of the eye.

        Points are (x, y) in [-1, 1] from edge to edge, of the retina (which the maps of the core cover, too) and of the
        image on the monitor: -1 is the left edge and the *top*. They may lie outside the monitor.
        """
        height, width = self.retina.shape[:2]
        rays = geometry.angular_rays(geometry.edges_to_isotropic(points, height, width), self.max_angle_deg)
        rays = jnp.asarray(rays, self.retina.dtype) @ self.gaze(eye[None])[0].T
        on_monitor = geometry.project_on_monitor(rays, *self.monitor.placement(None))
        return geometry.isotropic_to_sampling(on_monitor, self.stimulus_size, (height, width))

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
