"""Batches of targets on the devices of this process, step by step."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fnn_jax.common.progress import progress_bar, say_resumed
from fnn_jax.stimuli.movie import as_levels
from fnn_jax.synthesis import in_threads
from fnn_jax.synthesis.problem import Problem, silent
from fnn_jax.synthesis.result import Synthesis

REPORT_STEPS = 10  # that run on the device before the host looks at them
PATIENCE = 50  # steps over which convergence is judged


class Runner:
    """Batches of targets on the devices of this process: each has its own targets, or streams of the network."""

    def __init__(self, problem: Problem, devices: Sequence[jax.Device], batch_size: int):
        self.problem = problem
        in_turn = one_by_one(devices[0])
        streams = streams_apart(problem, len(devices)) if in_turn else 1
        if streams > 1:
            self.batch_size = min(batch_size, len(problem.units))
            mesh = jax.make_mesh((streams,), ("streams",), devices=devices[:streams])
            leaves, self._targets = problem.shardings(mesh), NamedSharding(mesh, PartitionSpec())
        else:
            self.batch_size = max(1, round(batch_size / len(devices))) * len(devices)
            mesh = Mesh(np.array(devices), ("target",))
            leaves = [NamedSharding(mesh, PartitionSpec())] * len(problem.leaves)
            self._targets = NamedSharding(mesh, PartitionSpec("target"))
        self._leaves = jax.device_put(problem.leaves, leaves)

        def over_targets(function, count):
            """The function of the network's leaves and ``count`` arguments with a leading axis of targets."""

            def mapped(leaves, *arguments):
                if in_turn:
                    return jax.lax.map(lambda each: function(leaves, *each), arguments)
                return jax.vmap(lambda *each: function(leaves, *each))(*arguments)

            if streams > 1:
                return jax.jit(mapped)
            along = PartitionSpec("target")
            specs: dict[str, Any] = {"in_specs": (PartitionSpec(), *[along] * count), "out_specs": along}
            return jax.jit(jax.shard_map(mapped, mesh=mesh, check_vma=False, **specs))

        def several_steps(leaves, target, progress, last):
            def step(progress, _):
                rested = progress._replace(stopped=progress.stopped | (progress.step >= last))
                if in_turn:  # then what has stopped costs no time
                    moved, trace = jax.lax.cond(
                        rested.stopped,
                        lambda: (rested, silent()),
                        lambda: problem.advance(leaves, target, rested),
                    )
                else:
                    moved, trace = problem.advance(leaves, target, rested)
                still = jnp.where(progress.step >= last, progress.stopped, moved.stopped)
                return moved._replace(stopped=still), trace

            return jax.lax.scan(step, progress, None, length=REPORT_STEPS)

        def evaluate(leaves, target, parameters):
            return problem.evaluate(leaves, parameters, target)

        alone = jax.device_put(problem.leaves, devices[0]) if in_turn and len(devices) == 1 else []
        if alone and in_threads.worthwhile(problem, alone):
            self._several_steps = self._steps_in_threads(in_threads.StepInThreads(problem), alone, devices[0])
        else:
            self._several_steps = over_targets(several_steps, 3)
        self._evaluate = over_targets(evaluate, 2)
        self._start = over_targets(lambda leaves, target: problem.start(target), 1)

    def _steps_in_threads(self, step: in_threads.StepInThreads, leaves: list[jax.Array], device: jax.Device):
        def several_steps(_, targets, progress, last):
            found = []
            for number, end in enumerate(last.tolist()):
                target, own = jax.device_put(jax.tree.map(lambda a: a[number], (targets, progress)), device)  # noqa: B023
                traces = []
                for _ in range(REPORT_STEPS):
                    if own.stopped or own.step >= end:
                        traces.append(silent())
                    else:
                        own, trace = step(leaves, target, own)
                        traces.append(trace)
                found.append((own, _stacked(traces)))
            return self._put(_stacked(found))

        return several_steps

    def _put(self, tree: Any) -> Any:
        return jax.device_put(tree, self._targets)

    def batches(self) -> list[np.ndarray]:
        """Numbers of the targets of each batch; the last one is filled up with repeats."""
        count = len(self.problem.units)
        numbers = np.arange(-(-count // self.batch_size) * self.batch_size)
        return list(np.minimum(numbers, count - 1).reshape(-1, self.batch_size))

    def run(self, steps, tolerance, folder, show, record) -> Synthesis:
        parts: list[dict[str, np.ndarray]] = []
        batches, computed = self.batches(), 0
        with progress_bar(show, "synthesis", "step", steps * len(batches), compiles=True) as bar:
            for number, numbers in enumerate(batches):
                part = None if folder is None else folder.load_batch(number)
                if part is None:
                    if parts and not computed:
                        say_resumed(bar)
                    computed += 1
                    part = self._run_batch(number, numbers, steps, tolerance, folder, bar, record)
                else:
                    bar.update(steps)
                parts.append(part)
        count = len(self.problem.units)
        joined = {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
        return Synthesis(record=record, **joined)

    def _require_gradients(self, numbers: np.ndarray, lengths: np.ndarray, record: dict[str, Any]) -> None:
        flat = [record["units"][number] for number, length in zip(numbers, lengths, strict=True) if length == 0]
        if flat:
            raise ValueError(
                f"The gradient of targets {flat[:5]} is zero at the start: nothing that is learned reaches them. Do "
                "they look at the mask? Is anything after the burn-in left? Or start from noise, with more contrast."
            )

    def _run_batch(self, number, numbers, steps, tolerance, folder, bar, record) -> dict[str, np.ndarray]:
        target = self._put(self.problem.targets(numbers))
        progress = self._start(self._leaves, target)
        first = self._evaluate(self._leaves, target, progress.parameters)
        losses = np.full((len(numbers), steps), np.nan, np.float32)
        penalties = losses.copy()
        stopped = np.full(len(numbers), "", dtype="U40")
        done = 0
        saved = None if folder is None else folder.load_progress(number, progress)
        if saved is not None:
            arrays, progress, done = saved
            progress = self._put(progress)
            losses[:, :done], penalties[:, :done], stopped = arrays["losses"], arrays["penalties"], arrays["stopped"]
            bar.update(done)
            say_resumed(bar)
        last = self._put(jnp.full(len(numbers), steps, jnp.int32))
        while done < steps:
            progress, trace = self._several_steps(self._leaves, target, progress, last)
            length = min(REPORT_STEPS, steps - done)
            for kept, values in ((losses, trace.loss), (penalties, trace.penalty)):
                kept[:, done : done + length] = np.asarray(values)[:, :length]
            done += length
            if done == length:
                self._require_gradients(numbers, np.asarray(trace.gradient)[:, 0], record)
            was_stopped = np.asarray(progress.stopped)
            for i in np.flatnonzero(was_stopped & (stopped == "")):
                stopped[i] = f"not a number at step {int(progress.step[i]) + 1}"
            if tolerance is not None and done % REPORT_STEPS == 0:
                flat = _is_flat(losses[:, :done], tolerance) & (stopped == "")
                stopped[flat] = f"converged after {done} steps"
                progress = progress._replace(stopped=self._put(jnp.asarray(was_stopped | flat)))
            bar.update(length)
            bar.set_postfix(loss=f"{np.nanmean(np.asarray(progress.best_loss)):.4g}", refresh=False)
            if (stopped != "").all():
                bar.update(steps - done)
                break
            if folder is not None and done < steps:
                folder.save_progress(number, progress, done, losses[:, :done], penalties[:, :done], stopped)
        # What is best of losses that random draws change may be so by chance.
        parameters = progress.parameters if self.problem.is_random else progress.best
        never = np.isinf(np.asarray(progress.best_loss))
        parameters = jax.tree.map(
            lambda last, best: jnp.where(never.reshape(-1, *[1] * (last.ndim - 1)), last, best),
            progress.parameters,
            parameters,
        )
        loss, penalty, frames, responses = self._evaluate(self._leaves, target, self._put(parameters))
        part = {
            "frames": as_levels(np.asarray(frames)),
            "start_frames": as_levels(np.asarray(first[2])),
            "responses": np.asarray(responses),
            "start_responses": np.asarray(first[3]),
            "losses": losses,
            "penalties": penalties,
            "final_loss": np.asarray(loss),
            "final_penalty": np.asarray(penalty),
            "stopped": np.where(stopped == "", f"after {steps} steps", stopped),
        }
        learned = {name: value for name, value in parameters.items() if name != "stimulus"}
        part |= {f"learned_{name}": 2 * np.tanh(np.asarray(value)) for name, value in learned.items()}
        if folder is not None:
            folder.save_batch(number, part)
        return part


def _stacked(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *trees)


def one_by_one(device: jax.Device) -> bool:
    """On a CPU one target after the other stays in the cache; accelerators take them all at once."""
    return device.platform == "cpu"


def streams_apart(problem: Problem, devices: int) -> int:
    """Devices that share the streams of each target, where there are fewer targets than would occupy half of them.

    On two cores of a CPU a step for one target takes two thirds of the time then. 1: each device has its own targets.
    """
    if problem.sample_stream or problem.is_changed or 2 * len(problem.units) > devices:
        return 1
    streams = problem.config.num_streams
    return max(count for count in range(1, min(streams, devices) + 1) if streams % count == 0)


def _is_flat(losses: np.ndarray, tolerance: float) -> np.ndarray:
    """Targets whose best loss of the last steps is not better than the best before."""
    if losses.shape[1] <= PATIENCE:
        return np.zeros(len(losses), bool)
    before, now = losses[:, :-PATIENCE].min(1), losses[:, -PATIENCE:].min(1)
    return before - now < tolerance * np.abs(before)
