"""How fast is a prediction, and a gradient, beside the released PyTorch package?

Same weights, same inputs, same number of threads, both in one process, taking turns; responses are compared before
anything is timed, and compilation is timed apart. Needs the released package:

    PYTHONPATH=path/to/fnn python benchmarks/beside_released.py --units 9941
"""

import argparse
import os
import platform
import statistics
import time

import jax
import numpy as np
import torch
from fnn.microns.build import network as released_network

import fnn_jax
from fnn_jax import NetworkConfig, Twin
from fnn_jax.convert import to_state_dict
from fnn_jax.demo import random_network
from fnn_jax.model.parameters import parameter_arrays


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def compare(name, ours, theirs, frames, repeats):
    """A row of the table: milliseconds per frame of one video, medians of turns taken one after the other."""
    compile_s, our_result = timed(ours)
    error = np.max(np.abs(our_result - theirs()) / np.max(np.abs(our_result)))
    assert error < 1e-3, f"{name}: the results differ by {error:.1e} of the largest"
    times = [(timed(ours)[0], timed(theirs)[0]) for _ in range(repeats)]
    our_ms, their_ms = (statistics.median(column) / frames * 1e3 for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print(f"| {name} | {their_ms:.0f} | {our_ms:.0f} | {ratio:.2f} | {compile_s:.1f} | {error:.0e} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=9941)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    twin = Twin(random_network(NetworkConfig.microns(options.units)))
    model = released_network(options.units)
    state = to_state_dict(twin.config, parameter_arrays(twin.network))
    model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})

    print(f"{platform.machine()}, {os.cpu_count()} cores, torch threads {torch.get_num_threads()}; ", end="")
    print(f"fnn_jax {fnn_jax.__version__}, jax {jax.__version__}, torch {torch.__version__}; {options.units} units\n")
    print("| | released, ms a frame | fnn_jax, ms a frame | times faster | first call, s | difference |")
    print("|---|---|---|---|---|---|", flush=True)

    random = np.random.default_rng(0)
    for batch, frames in ((1, options.frames), (8, options.frames // 4)):
        video = random.integers(0, 256, (frames, batch, 144, 256, 1), dtype=np.uint8)
        row = f"{batch} x {frames} frames"
        compare(row, lambda v=video: twin.predict(v), lambda v=video: model.predict(v), frames * batch, options.repeats)

    frames = 30
    pixels = random.random((frames, 144, 256, 1), dtype=np.float32)
    gradient = jax.jit(jax.grad(lambda video: twin.rollout(video)[:, 0].sum()))

    def released_gradient():
        model.requires_grad_(False).eval().reset()
        video = torch.tensor(pixels.transpose(0, 3, 1, 2)[:, None], requires_grad=True)
        rest = torch.zeros(1, 2)
        sum(model(frame, rest, rest)[0, 0] for frame in video).backward()
        return video.grad.numpy()[:, 0].transpose(0, 2, 3, 1)

    ours = lambda: np.asarray(gradient(pixels))  # noqa: E731
    compare(f"gradient of one unit, {frames} frames", ours, released_gradient, frames, options.repeats)


if __name__ == "__main__":
    main()
