"""What does a step of synthesis take for one unit, in time and memory, beside the released objective?

A step: loss and gradient of the released excitation, with its penalty, on the released parameterisation, all streams.
Ours updates the stimulus, too.
"""

import subprocess
import sys

import numpy as np
from machine import HERE
from memory import peak_gb
from options import parse
from sides import both, cpu_devices, has_released, streams_mesh
from table import Results
from turns import compare, short

TEMPERATURE, BURN_IN, WEIGHT = 0.1, 10, 1e-4
STEPS = 300  # that a unit takes


class OurStep:
    """Losses and gradients by ``fnn_jax``, step after step; ``apart``: the streams shared out over the devices."""

    def __init__(self, twin, frames, remat=None, precision="float32", apart=False):
        import jax
        import optax

        from fnn_jax import synthesis
        from fnn_jax.synthesis import in_threads
        from fnn_jax.synthesis.problem import Problem

        behaviour = (np.zeros((frames, 1, 2), np.float32),) * 2
        size = twin.config.stimulus_height, twin.config.stimulus_width
        problem = Problem(
            twin,
            np.array([[3]]),
            synthesis.excitation(TEMPERATURE),
            synthesis.nlm(frames, *size),
            penalty=synthesis.weighted([(WEIGHT, synthesis.roughness())]),
            transforms=(),
            optimizer=optax.adam(0.05),
            burn_in=min(BURN_IN, frames - 1),
            behaviour=behaviour,
            learn_behaviour=False,
            sample_stream=False,
            num_stimuli=1,
            diversity=0.0,
            periphery="dark",
            precision=precision,
            remat=remat,
            device=jax.devices()[0],
            seed=0,
        )
        self._target = jax.tree.map(lambda array: array[0], problem.targets(np.arange(1)))
        self._start, self._leaves = problem.start(self._target), problem.leaves
        if apart:
            mesh = streams_mesh()
            self._leaves = jax.device_put(self._leaves, problem.shardings(mesh))
            everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
            self._target, self._start = jax.device_put((self._target, self._start), everywhere)
            self._advance = jax.jit(problem.advance)
        else:
            as_threads = in_threads.worthwhile(problem, self._leaves)
            self._advance = in_threads.StepInThreads(problem) if as_threads else jax.jit(problem.advance)
        self.raw = np.asarray(self._start.parameters["stimulus"]["raw"][0])

    def __call__(self):
        _, trace = self._advance(self._leaves, self._target, self._start)
        return np.array([trace.loss, trace.penalty])


class ReleasedStep:
    """The same by the released objective."""

    def __init__(self, model, raw):
        import torch
        from fnn.model.bounds import Sigmoid
        from fnn.model.stimuli import VisualNlm
        from fnn.train.objectives import Excitation

        frames, height, width = raw.shape
        self._stimulus = VisualNlm(Sigmoid())
        self._stimulus._init(1, frames, height, width)
        self._stimulus.raw.data = torch.from_numpy(np.array(raw))[None]
        self._stimulus.to(model.device)
        self._objective = Excitation(
            TEMPERATURE, sample_stream=False, burnin_frames=min(BURN_IN, frames - 1), stimulus_penalty=WEIGHT
        )
        self._objective._init(self._stimulus, model, 3)

    def __call__(self):
        self._stimulus.zero_grad()
        self._objective(training=True)
        log = self._objective.step()
        penalty = WEIGHT * log["training_penalty"]
        return np.array([log["training_loss"] + penalty, penalty])


def steps(sides, frames):
    ours = OurStep(sides["fnn_jax"].twin, frames)
    made = {"fnn_jax": ours}
    if "released" in sides:
        made = {"released": ReleasedStep(sides["released"].model, ours.raw), **made}
    return made


def peak_of(side, units, frames, remat):
    """Peak memory in GB of a process of its own that makes two steps."""
    code = f"import synthesis; synthesis.alone({side!r}, {units}, {frames}, {remat})"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def alone(side, units, frames, remat):
    sides = both(units, alone=side == "fnn_jax")
    step = OurStep(sides["fnn_jax"].twin, frames, remat)
    if side == "released":
        step = ReleasedStep(sides["released"].model, step.raw)
    for _ in range(2):
        step()
    print(peak_gb())


def main():
    quick = {"units": 60, "frames": [4]}
    options = parse(__doc__, quick, units=9941, frames=[30, 60], repeats=3)
    devices = cpu_devices()
    results = Results(__doc__, options)
    for frames in options.frames:
        large = frames > 30  # the released code keeps every frame
        sides = both(options.units, alone=options.alone or large)
        made = steps(sides, frames)
        name = f"{frames} frames, {options.units} units"
        compare(results, name, made, frames, options.repeats)
        seconds = results.table["rows"][-1]["raw"]["seconds"]["fnn_jax"]
        hourly = 3600 / (STEPS * min(seconds))
        results.note(f"{frames} frames: {short(hourly)} units an hour, with {STEPS} steps for each.")
        if devices > 1 and frames == options.frames[0]:
            made["fnn_jax"] = OurStep(sides["fnn_jax"].twin, frames, apart=True)
            compare(results, f"{name}, streams over {devices} devices of the CPU", made, frames, options.repeats)
    for frames in options.frames:
        for remat in (True, False) if frames <= 30 else (True,):
            gb = peak_of("fnn_jax", options.units, frames, remat)
            name = f"memory of {frames} frames, {'computed twice' if remat else 'all kept'}"
            results.add(name, {"fnn_jax, GB": f"{gb:.2f}"}, peak_gb=gb)
    if has_released() and not options.alone:
        gb = peak_of("released", options.units, options.frames[0], True)
        results.add(f"memory of {options.frames[0]} frames, released", {"released, GB": f"{gb:.2f}"}, peak_gb=gb)


if __name__ == "__main__":
    main()
