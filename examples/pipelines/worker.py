"""What each worker does, whoever starts it: load the twin once, from its folder, and show it stimuli by number."""

import functools
import os
from pathlib import Path

# Or the process that starts the others takes three quarters of a GPU that is theirs.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import numpy as np

from fnn_jax import Screen, microns

FRAMES = 30


class Noise:
    """Stimuli of some numbers, each made from its number when a screen asks for it: nothing is sent, nothing kept."""

    def __init__(self, numbers, size):
        self.numbers, self.size = numbers, size

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        return np.random.default_rng(self.numbers[index]).integers(0, 256, (FRAMES, *self.size), np.uint8)


def identity(directory, scan):
    """What is sent instead of the twin: where it is, and which one it is."""
    directory = str(Path(directory).absolute())
    return directory, scan, microns.load(directory, scan).fingerprint()


@functools.cache  # one for each process: it keeps the weights, and what was compiled
def screen_of(directory, scan, fingerprint):
    twin = microns.load(directory, scan)  # compares the files with their SHA-256
    if twin.fingerprint() != fingerprint:
        raise ValueError(f"{directory} holds another twin {scan} than where the work was cut.")
    return Screen(twin, reduce="mean", progress=False)


def show(twin, numbers, out=None):
    """A dataset of the mean responses to the stimuli of these numbers; with ``out``, on disk, and resumed there."""
    screen = screen_of(*twin)
    config = screen.twins[0].config
    stimuli = Noise(numbers, (config.stimulus_height, config.stimulus_width))
    return screen(stimuli, out, ids=map(str, numbers))


def responses(twin, numbers):
    return show(twin, numbers).responses.values  # [stimulus, unit]


def cut(count, parts):
    """The numbers below ``count`` in ranges of about one length."""
    return [range(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


def take_gpu(number):
    """One GPU for this process, before it first uses JAX (importing is no use); without GPUs nothing changes."""
    mine = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = mine.split(",")[number] if mine else str(number)
