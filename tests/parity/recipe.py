"""The weights and inputs behind the golden files: drawn by name, so that a checkpoint costs no bytes here."""

import math
import zlib

import numpy as np

from fnn_jax.model.geometry import angular_retina

CENTRES = {"proj_i": -1.0, "proj_f": 1.0, "proj_z": 1.0}


def generator(name, seed=0):
    return np.random.RandomState((zlib.crc32(name.encode()) + 7919 * seed) % 2**32)


def array(name, shape, seed=0, scale=1.0):
    return (generator(name, seed).standard_normal(shape) * scale).astype(np.float32)


def weight(name, shape, seed=0):
    """One entry of a state dict, by its key."""
    parts = name.split(".")
    kind = parts[-2] if parts[-1].isdigit() else parts[-1]
    if kind == "mask":
        return ~np.eye(shape[0], dtype=bool)[:, :, None, None]
    if kind == "zero":
        return np.zeros(shape, np.float32)
    if kind == "grid":
        return angular_retina(*shape[:2], 75.0).astype(np.float32)

    mean, spread = 0.0, 1.0
    if "monitor_pixel" in parts:
        mean, spread = {"power": 1.7, "scale": 1.0, "offset": 0.0}[kind], 0.0
    elif "retina_pixel" in parts:
        mean, spread = {"logit": 0.3, "scale": 1.1, "offset": 0.05}[kind], 0.05
    elif kind == "center":
        mean, spread = np.array([0.0, 0.0, 0.5]), 0.03
    elif kind == "angle":
        spread = 0.05
    elif kind in ("center_std", "angle_std"):
        mean, spread = 0.05, 0.0
    elif kind == "mu":
        spread = 0.5
    elif kind == "sigma":
        mean, spread = 0.4 * np.eye(2), 0.02
    elif kind == "gains":
        mean, spread = (0.5 if "out" in parts else 0.9), 0.1
    elif kind == "scales":
        mean, spread = 1.0, 0.2
    elif kind == "biases":
        mean, spread = (CENTRES.get(parts[-3], 0.0) if len(parts) > 2 else 0.0), 0.1
    elif kind == "weights" and "feature" in parts:
        spread = 1.0
    elif kind == "weights" and "perspective" in parts:
        spread = 0.3
    elif kind == "weights":
        return (generator(name, seed).standard_normal(shape) / math.sqrt(np.prod(shape[1:]))).astype(np.float32)
    else:
        raise KeyError(name)
    return np.asarray(mean + spread * generator(name, seed).standard_normal(shape), np.float32)


def weights(shapes, seed=0):
    return {name: weight(name, tuple(shape), seed) for name, shape in shapes.items()}


def video(frames, height=144, width=256, batch=None, seed=0):
    """uint8 noise on a drifting grating, [time, (batch,) height, width, 1]."""
    random = np.random.RandomState(1000 + seed)
    shape = (frames, height, width) if batch is None else (frames, batch, height, width)
    time = np.arange(frames).reshape(-1, *[1] * (len(shape) - 1))
    x, y = np.arange(width), np.arange(height)[:, None]
    grating = 128 + 60 * np.sin(2 * np.pi * (x / 37.0 + y / 53.0 - time / 9.0))
    return np.clip(grating + random.randint(-60, 61, shape), 0, 255).astype(np.uint8)[..., None]


def behaviour(frames, features=2, batch=None, seed=0):
    """Slow z-scored traces, [time, (batch,) feature]."""
    random = np.random.RandomState(2000 + seed)
    shape = (frames, features) if batch is None else (frames, batch, features)
    steps, state, traces = random.standard_normal(shape), random.standard_normal(shape[1:]), []
    for step in steps:
        state = 0.8 * state + 0.6 * step
        traces.append(state)
    return np.stack(traces).astype(np.float32)
