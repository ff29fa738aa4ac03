"""A small recording of a hidden twin, to try everything without a mouse."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from fnn_jax.common import checks
from fnn_jax.common.files import whole_directory
from fnn_jax.common.rate import HZ
from fnn_jax.data.recordings import BEHAVIOUR, EYE, RESPONSES, STIMULI
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.network import Network
from fnn_jax.stimuli.display import Display
from fnn_jax.stimuli.noise import pink_noise
from fnn_jax.twin.heads import random_network
from fnn_jax.twin.twin import Twin

LABEL = "example of random weights"
LOG_RATE_MEAN, LOG_RATE_STD = -0.3, 0.7
NOISE_SHAPE = 2.0  # of the Gamma distribution of responses: their variance is half the square of their mean
CONFIG = """\
# fnn-jax train config.toml
out = "twin"

[data]
training = "training_data"

[start]
directory = "foundation"

[recipe]
# The readout alone, from the core, perspective and modulation of another twin of this animal: half a minute.
# Without these three lines the released recipe trains perspective and modulation, too; that takes longer.
train = ["readout"]
transfer = ["core", "perspective", "modulation"]
keep_features = true

optimizer = "adam"
learning_rate = 0.03
sample_stream = false
epochs = 15
warmup_epochs = 1
training_batches = 100
validation_batches = 8
window_frames = 50
window_step = 25
"""


def make_example(
    directory: str | os.PathLike, *, num_units: int = 40, trials: int = 20, seconds: float = 5.0, seed: int = 0
) -> Path:
    """Write a recording in the released layout, whose responses come from a twin with random weights.

    In ``directory``: ``training_data`` and ``evaluation_data`` (3 videos of 6 repeats); ``hidden``, the twin that
    responded; ``foundation``, another twin with the same core, perspective and modulation; ``config.toml`` for
    ``fnn-jax train``. Frames are 18 x 32 pixels, the architecture is ``NetworkConfig.tiny``. A fifth of the trials is
    for validation. In one trial the eye closes for a while: its traces are NaN there.

    Raises:
        FileExistsError: the folder is there already.
        TypeError, ValueError: what are no numbers, or too small ones.
    """
    num_units, trials = checks.integer("num_units", num_units), checks.integer("trials", trials, 5)
    frames = round(checks.number("seconds", seconds, 1) * HZ)
    seed = checks.seed("seed", seed)
    random = np.random.default_rng(seed)
    hidden = _hidden_twin(num_units, seed)
    recordings = {}
    for trial in range(trials):
        arrays = _presentation(hidden, _video(hidden.config, frames, random), random)
        arrays |= {"training": np.array(trial % 5 != 4), "samples": np.array(frames)}
        recordings["training_data", f"trial{trial}"] = arrays
    shown = [arrays[RESPONSES] for arrays in recordings.values() if arrays["training"]]
    means = np.concatenate(shown).mean(0)
    for name in (EYE, BEHAVIOUR):
        recordings["training_data", "trial1"][name][frames // 3 : frames // 2] = np.nan
    for number in range(3):
        video = _video(hidden.config, frames, random)
        for repeat in range(6):
            recordings["evaluation_data", f"video{number}/repeat{repeat}"] = _presentation(hidden, video, random)
    with whole_directory(directory) as folder:
        for (part, name), arrays in recordings.items():
            arrays[RESPONSES] = (arrays[RESPONSES] / means).astype(np.float32)
            for kind, array in arrays.items():
                path = folder / part / kind / f"{name}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
        hidden.save(folder / "hidden")
        _foundation(hidden, seed).save(folder / "foundation")
        (folder / "config.toml").write_text(CONFIG)
    return Path(directory)


def _hidden_twin(num_units: int, seed: int) -> Twin:
    """Random weights, with readouts such that logarithms of responses vary alike in all units."""
    random = np.random.default_rng([seed, 1])
    network: Any = random_network(NetworkConfig.tiny(num_units), seed)
    # New networks ignore eye and behaviour; these do not.
    eye, linear = network.perspective.eye.layers[0].weight, network.modulation.linear.weight
    eye[...] = 0.01 * random.standard_normal(eye.shape).astype(np.float32)
    linear[...] = 0.5 * random.standard_normal(linear.shape).astype(np.float32)
    network.readout.position.spread[...] = 0 * network.readout.position.spread[...]
    frames = 10 * HZ
    video, traces = _video(network.config, frames, random), _traces(frames, random)

    # Maps of the core that vary as much as those of a trained one, so that a readout is learned in minutes.
    maps = Twin(network).features(video, "core", traces[EYE], traces[BEHAVIOUR])["core"]
    out, std = network.core.recurrent.out, maps.std((0, 2, 3))
    out.gain[...] = out.gain[...] / std.reshape(out.gain.shape)
    out.bias[...] = (out.bias[...] - maps.mean((0, 2, 3)).reshape(out.bias.shape)) / std.reshape(out.bias.shape)

    readout = np.log(Twin(network).predict(video, traces[EYE], traces[BEHAVIOUR]))
    gain, feature = LOG_RATE_STD / readout.std(0), network.readout.feature
    feature.weight[...] = feature.weight[...] * gain[None, :, None]
    bias = (LOG_RATE_MEAN - readout.mean(0) * gain).astype(np.float32)
    feature.bias[...] = np.broadcast_to(bias, feature.bias.shape)
    return Twin(network, name="hidden", label=LABEL)


def _foundation(hidden: Twin, seed: int) -> Twin:
    network = Network(NetworkConfig.tiny(11), rngs=nnx.Rngs(seed + 1))
    for stage in ("core", "perspective", "modulation"):
        setattr(network, stage, getattr(hidden.network, stage))
    return Twin(network, name="foundation", label=LABEL)


def _video(config: NetworkConfig, frames: int, random: np.random.Generator) -> np.ndarray:
    """Scenes of a second each, of noise that moves slowly."""
    display = Display.in_pixels(config.stimulus_height, config.stimulus_width)
    scenes = [
        pink_noise(display, duration_s=1.0, contrast=0.3, seed=int(random.integers(2**31))).frames
        for _ in range(-(-frames // HZ))
    ]
    return np.concatenate([np.asarray(scene) for scene in scenes])[:frames]


def _traces(frames: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Slow traces with mean 0 and standard deviation 1."""
    steps, traces = random.standard_normal((frames, 4)), np.empty((frames, 4), np.float32)
    state = random.standard_normal(4)
    for frame, step in enumerate(steps):
        state = 0.95 * state + np.sqrt(1 - 0.95**2) * step
        traces[frame] = state
    return {EYE: traces[:, :2].copy(), BEHAVIOUR: traces[:, 2:].copy()}


def _presentation(twin: Twin, video: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """A video, traces of their own, and noisy responses."""
    traces = _traces(len(video), random)
    expected = twin.predict(video, traces[EYE], traces[BEHAVIOUR], progress=False)
    responses = random.gamma(NOISE_SHAPE, expected / NOISE_SHAPE)
    return {STIMULI: video[..., None], **traces, RESPONSES: responses}
