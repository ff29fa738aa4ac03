"""What does a step of the released recipe take (core frozen, one stream, a batch of windows), beside the released
trainer?

Loss, gradient and update of both, from the same weights and windows. Random draws are part of it, and differ: losses
are compared before, without them. With features kept, a step begins at outputs of the core that were computed before.
"""

import subprocess
import sys

import numpy as np
from machine import HERE
from memory import peak_gb
from options import parse
from sides import Ours, Released, cpu_devices, has_released
from table import Results
from turns import compare, in_turns, short, spread

BATCH, BURN_IN, RATE = 4, 10, 0.1
MOST_RELEASED = 30  # frames: of 100 the released trainer needs more than 23 GB


def windows(frames, units):
    random = np.random.default_rng(0)
    video = random.integers(0, 256, (frames, BATCH, 144, 256, 1), dtype=np.uint8)
    traces = [random.standard_normal((frames, BATCH, 2)).astype(np.float32) for _ in range(2)]
    return video, *traces, random.gamma(2, 0.5, (frames, BATCH, units)).astype(np.float32)


class OurStep:
    """Updates by ``fnn_jax``; ``kept``: of the readout alone, from kept features; windows shared out over devices."""

    def __init__(self, twin, batch, kept=False, precision="float32", devices=1):
        import jax

        from fnn_jax.training import Recipe
        from fnn_jax.training.step import Steps
        from fnn_jax.training.windows import Batch

        video, eye, behaviour, responses = batch
        burn_in = min(BURN_IN, len(video) - 1)
        options = {"train": ("readout",)} if kept else {}
        options |= {"window_frames": len(video), "batch_size": BATCH, "burn_in": burn_in}
        recipe = Recipe(**options, learning_rate=RATE, precision=precision)
        self._steps = Steps({"twin": twin.network}, recipe, jax.devices()[:devices])
        self._weights, self._number = self._steps.start(), 0
        made = Batch(video, eye, behaviour, responses)
        if kept:
            maps = np.random.default_rng(0).standard_normal((len(video), BATCH, 1, 16, 24, 128), np.float32)
            made = Batch(None, None, None, responses, maps)
        self._batch = self._steps.put({"twin": made})

    def validate(self):
        return np.asarray(self._steps.validate(self._weights, self._batch))

    def __call__(self):
        stream = np.int32(self._number % 4)
        self._weights, objectives = self._steps.update(self._weights, [self._batch], self._number, stream)
        self._number += 1
        return np.asarray(objectives)


class ReleasedStep:
    """Updates by the released objective and optimiser."""

    def __init__(self, model, batch):
        from fnn.train.objectives import NetworkLoss
        from fnn.train.optimizers import SgdClip

        self._model, (self._video, self._eye, self._behaviour, self._responses) = model, batch
        for name in ("core", "modulation.lstm"):
            model.module(name).freeze(True)
        self._objective = NetworkLoss(sample_stream=True, burnin_frames=min(BURN_IN, len(self._video) - 1))
        self._objective._init(model)
        self._optimizer = SgdClip(lr=RATE, decay=1e-4, momentum=0.9, nesterov=True, clip=0.01, eps=1e-3)
        self._parameters = dict(model.named_parameters())

    def _run(self, training):
        self._objective(self._responses, self._video, self._eye, self._behaviour, training=training)

    def validate(self):
        self._run(False)
        return np.array(self._objective.step()["validation_objective"])

    def __call__(self):
        self._run(True)
        self._optimizer.step(self._parameters, **self._optimizer.hyperparameters)
        return np.array([self._objective.step()["training_objective"]])


def sides(units, frames, alone):
    ours, batch = Ours(units), windows(frames, units)
    made = {"fnn_jax": OurStep(ours.twin, batch)}
    if has_released() and not alone:
        made = {"released": ReleasedStep(Released(units, ours.state_dict()).model, batch), **made}
    return made


def peak_of(side, units, frames):
    """Peak memory in GB of a process of its own that makes two steps."""
    code = f"import training; training.alone({side!r}, {units}, {frames})"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def alone(side, units, frames):
    step = sides(units, frames, alone=side == "fnn_jax")[side]
    for _ in range(2):
        step()
    print(peak_gb())


def main():
    quick = {"units": 60, "frames": [4]}
    options = parse(__doc__, quick, units=8509, frames=[30, 100], repeats=3)
    units, devices = options.units, cpu_devices()
    results = Results(__doc__, options)
    for frames in options.frames:
        large = frames > MOST_RELEASED
        made = sides(units, frames, options.alone or large)
        values = [step.validate() for step in made.values()]
        if not np.allclose(values, values[0], rtol=1e-4):
            raise SystemExit(f"The sides differ: {values}. Nothing is timed.")
        name = f"step, {BATCH} windows of {frames} frames, {units} units"
        compare(results, name, made, BATCH * frames, options.repeats, tolerance=1)  # of different random draws
        for side, seconds in results.table["rows"][-1]["raw"]["seconds"].items():
            results.note(f"{side}, {frames} frames: {short(3600 / np.median(seconds))} steps an hour.")
        if devices > 1 and not large:
            made["fnn_jax"] = OurStep(Ours(units).twin, windows(frames, units), devices=devices)
            shared = f"{name}, shared out over {devices} devices of the CPU"
            compare(results, shared, made, BATCH * frames, options.repeats, tolerance=1)
        for side in made:
            gb = peak_of(side, units, frames)
            results.add(f"memory of a step of {frames} frames, {side}", {f"{side}, GB": f"{gb:.2f}"}, peak_gb=gb)
    kept = {"kept": OurStep(Ours(units).twin, windows(options.frames[-1], units), kept=True)}
    kept["kept"]()
    seconds = in_turns(kept, options.repeats)["kept"]
    name = f"step, {options.frames[-1]} frames, features kept"
    results.add(name, {"fnn_jax, s a step": spread(seconds)}, seconds=seconds)


if __name__ == "__main__":
    main()
