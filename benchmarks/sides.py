"""The two sides: this package and the released one, with the same weights and asked the same.

Each imports what it needs when it is made: a process that measures the memory of one of them does not load the other.
"""

import importlib.util

import numpy as np
from machine import on_cpu, threads, torch_device

UNIT = 0  # whose response the gradient is of
# Parts of the released model that torch.compile compiles; see torch_compile.py.
COMPILED = ("perspective", "modulation", "core.recurrent", "readout")


class Ours:
    """A twin with random weights."""

    def __init__(self, units):
        from fnn_jax import NetworkConfig, Twin
        from fnn_jax.demo import random_network

        self.twin = Twin(random_network(NetworkConfig.microns(units)), label="random weights")
        self._gradient = self.gradient_in("float32")

    def gradient_in(self, precision):
        import jax

        gradient = jax.grad(lambda video: self.twin.rollout(video, precision=precision)[:, UNIT].sum())
        # Outside of jax.jit the streams run in threads on a CPU.
        return gradient if jax.default_backend() == "cpu" else jax.jit(gradient)

    def gradient_apart(self):
        """``gradient``, the streams shared out over the devices."""
        import jax

        from fnn_jax import Inputs

        network = jax.device_put(self.twin.network, self.twin.network.shardings(streams_mesh()))

        @jax.jit
        @jax.grad
        def compute(pixels, network):
            rest = np.zeros((len(pixels), 1, 2), np.float32)
            _, output = network.rollout(network.init_state(1), Inputs(pixels[:, None], rest, rest))
            return output.responses[..., UNIT].sum()

        return lambda pixels: np.asarray(compute(pixels, network))

    def state_dict(self):
        """The weights, as the released package names them."""
        from fnn_jax.convert import to_state_dict
        from fnn_jax.model.parameters import parameter_arrays

        return to_state_dict(self.twin.config, parameter_arrays(self.twin.network))

    def predict(self, video):
        return self.twin.predict(video, progress=False)

    def gradient(self, pixels):
        """Of one unit's summed response, with respect to the pixels ``[frames, height, width, 1]``, in [0, 1]."""
        return np.asarray(self._gradient(pixels))

    def device_peak_gb(self):
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", np.nan) / 1e9


class Released:
    """The released model; with ``compiled``, parts of it go through torch.compile."""

    def __init__(self, units, state=None, *, device="cpu", compiled=()):
        import torch
        from fnn.microns.build import network

        torch.set_num_threads(threads())
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.model = network(units)
        if state is not None:
            self.model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})
        self.model.to(device)
        for name in compiled:
            self.model.module(name).compile()

    def predict(self, video):
        return self.model.predict(video)

    def gradient(self, pixels):
        import torch

        device = self.model.device
        self.model.requires_grad_(False).eval().reset()
        video = torch.tensor(pixels.transpose(0, 3, 1, 2)[:, None], device=device, requires_grad=True)
        rest = torch.zeros(1, 2, device=device)
        sum(self.model(frame, rest, rest)[0, UNIT] for frame in video).backward()
        self.model.reset()  # it holds what the gradient was computed from
        return video.grad.cpu().numpy()[:, 0].transpose(0, 2, 3, 1)

    def device_peak_gb(self):
        import torch

        return torch.cuda.max_memory_allocated() / 1e9


def cpu_devices():
    """As many devices as cores, two or four, where JAX computes on a CPU; to be called before it does."""
    import jax

    count = 4 if threads() >= 4 else min(threads(), 2)
    jax.config.update("jax_num_cpu_devices", count)
    return jax.device_count() if on_cpu() else 1


def streams_mesh():
    import jax

    return jax.make_mesh((jax.device_count(),), ("streams",))


def has_released():
    return all(importlib.util.find_spec(name) for name in ("torch", "fnn"))


def both(units, *, alone=False, compiled=False):
    """The sides by name, ours last; ours only, where the released package is not there."""
    ours = Ours(units)
    if alone or not has_released():
        return {"fnn_jax": ours}
    state = ours.state_dict()
    sides = {"released": Released(units, state, device=torch_device())}
    if compiled:
        sides["compiled"] = Released(units, state, device=torch_device(), compiled=COMPILED)
    return {**sides, "fnn_jax": ours}


def random_video(frames, clips=1):
    """Pixels, uint8; one clip comes without a batch axis."""
    video = np.random.default_rng(0).integers(0, 256, (frames, clips, 144, 256, 1), dtype=np.uint8)
    return video[:, 0] if clips == 1 else video


def random_pixels(frames):
    return np.random.default_rng(0).random((frames, 144, 256, 1), dtype=np.float32)
