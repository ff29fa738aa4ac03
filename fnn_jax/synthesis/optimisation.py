"""``synthesize``: stimuli for many targets, compiled, in batches, resumable."""

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm.auto import tqdm

from fnn_jax.common import checks
from fnn_jax.common.arrays import load_arrays, save_arrays
from fnn_jax.common.checks import boolean, integer, number, shown
from fnn_jax.common.records import claimed
from fnn_jax.stimuli.movie import as_levels
from fnn_jax.synthesis.objectives import Objective, excitation
from fnn_jax.synthesis.parameterisations import Parameterisation, nlm
from fnn_jax.synthesis.penalties import weighted
from fnn_jax.synthesis.problem import Problem, Progress
from fnn_jax.synthesis.result import RECORD, RESULT, Synthesis, SynthesisError
from fnn_jax.twin import sizes
from fnn_jax.twin.finite import describe_weights
from fnn_jax.twin.inputs import check_inputs, constant_trace
from fnn_jax.twin.twin import Twin
from fnn_jax.version import versions
from fnn_jax.weights.units import choose_units

REPORT_STEPS = 10  # that run on the device before the host looks at them
PATIENCE = 50  # steps over which convergence is judged


def synthesize(
    twin: Twin,
    targets: Any = None,
    objective: Objective | None = None,
    parameterisation: Parameterisation | None = None,
    *,
    num_frames: int = 30,
    steps: int = 300,
    optimizer: optax.GradientTransformation | None = None,
    penalties: Sequence[tuple[float, Any]] = (),
    transforms: Sequence[Any] = (),
    burn_in: int = 10,
    perspectives: Any = None,
    modulations: Any = None,
    learn_behaviour: bool = False,
    sample_stream: bool = False,
    num_stimuli: int = 1,
    diversity: float = 1.0,
    tolerance: float | None = None,
    periphery: str = "dark",
    precision: str = "float32",
    remat: bool | None = None,
    batch_size: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    seed: int = 0,
    out: str | os.PathLike | None = None,
    progress: bool | None = None,
) -> Synthesis:
    """Stimuli that make units, or the inside of the network, do something; one for each target.

    >>> most_exciting = synthesize(twin, targets=[12, 40], num_frames=30)
    >>> most_exciting.frames                     # uint8 [target, stimulus, T, H, W]

    Args:
        targets: ``readout_id`` of the units: ``[12, 40]`` are two targets of a unit each, ``[[12, 40]]`` is one of two.
            None: no units, for objectives that see features only.
        objective: of ``fnn_jax.synthesis``; default ``excitation()``, the released one.
        parameterisation: default ``nlm(num_frames, ...)``, the released one, from noise.
        steps: of the optimiser; default ``optax.adam(0.05)``.
        penalties: pairs ``(weight, penalty)``. transforms: of the frames, at random in each step.
        burn_in: frames at the start of whose responses the objective sees nothing.
        perspectives, modulations: as for ``Twin.predict``; with a batch axis, trials that the objective sees side by
            side. ``learn_behaviour``: constant ones are learned with the stimulus, within 2 standard deviations.
        sample_stream: each step sees one of the network's streams, at random, instead of their mean.
        num_stimuli: of each target; ``diversity`` weighs the mean distance between them, which grows.
        tolerance: a target stops when its best loss of the last 50 steps is not better by this relative amount; None:
            never.
        remat: compute parts of the network twice, which bounds the memory; None: where the memory wants it.
        batch_size: targets that are optimised together; None: from the memory at hand, over all ``devices``.
        seed: of everything random. The same arguments give the same stimuli on one machine, bit for bit.
        out: folder for the result. Killed and called again with the same arguments, it goes on there, to the same
            result.
        progress: show a progress bar; None: in terminals.

    Raises:
        TypeError, ValueError: arguments that do not fit together, before anything is computed; a target whose gradient
        is
            zero at the start.
        SynthesisError: another synthesis is in ``out``; it is kept.
    """
    if not isinstance(twin, Twin):
        raise TypeError(f"twin is {type(twin).__name__}; expected Twin, such as microns.scan(8, 5)[0].")
    objective = _objective(objective)
    out = None if out is None else checks.path("out", out).absolute()
    size = (twin.config.stimulus_height, twin.config.stimulus_width)
    parameterisation = _parameterisation(parameterisation, integer("num_frames", num_frames), size)
    shape = jax.eval_shape(lambda: parameterisation.frames(parameterisation.init(jax.random.key(0)))).shape
    if len(shape) != 3 or shape[1:] != size:
        raise ValueError(f"the parameterisation makes frames {list(shape)}; expected [T, {size[0]}, {size[1]}].")
    steps, num_stimuli = integer("steps", steps), integer("num_stimuli", num_stimuli)
    diversity = number("diversity", diversity, 0)
    tolerance = None if tolerance is None else number("tolerance", tolerance, 0)
    burn_in, seed = integer("burn_in", burn_in, 0), integer("seed", seed, 0, 2**32 - 1)
    if burn_in >= shape[0]:
        raise ValueError(f"burn_in is {burn_in}; expected 0 to {shape[0] - 1}: the stimulus has {shape[0]} frames.")
    learn_behaviour = boolean("learn_behaviour", learn_behaviour)
    sample_stream = boolean("sample_stream", sample_stream)
    transforms = _functions("transforms", transforms)
    batch_size = None if batch_size is None else integer("batch_size", batch_size)
    remat = None if remat is None else boolean("remat", remat)
    progress = None if progress is None else boolean("progress", progress)
    optimizer = optax.adam(0.05) if optimizer is None else checks.optimizer("optimizer", optimizer)
    units, ids = _target_units(twin, targets, objective)
    behaviour = _behaviour(twin, perspectives, modulations, shape)
    if num_stimuli > 1 and behaviour[0].shape[1] > 1:
        raise ValueError("num_stimuli is above 1, and behaviour has several trials; expected one of them.")
    _check_data(objective, units, shape[0], behaviour[0].shape[1])
    twin.network.check_options(None, periphery, objective.features, precision)
    devices = list(jax.local_devices()) if devices is None else checks.devices("devices", devices)
    problem = Problem(
        twin,
        units,
        objective,
        parameterisation,
        penalty=weighted(penalties),
        transforms=transforms,
        optimizer=optimizer,
        burn_in=burn_in,
        behaviour=behaviour,
        learn_behaviour=learn_behaviour,
        sample_stream=sample_stream,
        num_stimuli=num_stimuli,
        diversity=diversity,
        periphery=periphery,
        precision=precision,
        remat=remat,
        device=devices[0],
        seed=seed,
    )
    if batch_size is None:
        videos = num_stimuli * behaviour[0].shape[1]
        batch_size = max(1, sizes.gradient_batch(problem.config, devices[0], shape[0]) // videos) * len(devices)
    runner = _Runner(problem, devices, min(batch_size, -(-len(units) // len(devices)) * len(devices)))
    record = {
        "twin": f"{twin.name} {twin.fingerprint()}",
        "units": ids,
        "frames": list(shape),
        "problem": problem.digest(),
        "steps": steps,
        "tolerance": tolerance,
        "burn_in": burn_in,
        "seed": seed,
        "batch_size": runner.batch_size,
        "devices": len(devices),
        "label": twin.label,
        "versions": versions(),
    }
    if out is None:
        result = runner.run(steps, tolerance, None, progress, record)
    else:
        with claimed(out, RECORD, record, "synthesis", SynthesisError):
            folder = _Folder(out, record)
            result = folder.finished()
            if result is not None:
                return result
            result = runner.run(steps, tolerance, folder, progress, record)
            folder.finish(result)
    bad = [name for name, why in zip(result.names, result.stopped, strict=True) if why.startswith("not a number")]
    if bad:
        warnings.warn(
            f"{len(bad)} targets stopped because their loss was no longer a number ({', '.join(bad[:5])}); the best "
            f"stimulus until then is kept. {describe_weights(twin.network) or 'A smaller learning rate may help.'}",
            stacklevel=2,
        )
    return result


class _Runner:
    """Batches of targets on the devices of this process."""

    def __init__(self, problem: Problem, devices: Sequence[jax.Device], batch_size: int):
        self.problem = problem
        self.batch_size = max(1, round(batch_size / len(devices))) * len(devices)
        self._mesh = Mesh(np.array(devices), ("target",))
        self._leaves = [jax.device_put(leaf, NamedSharding(self._mesh, PartitionSpec())) for leaf in problem.leaves]
        in_turn = one_by_one(devices[0])

        def over_targets(function, count):
            """The function of the network's leaves and ``count`` arguments with a leading axis of targets."""

            def mapped(leaves, *arguments):
                if in_turn:
                    return jax.lax.map(lambda each: function(leaves, *each), arguments)
                return jax.vmap(lambda *each: function(leaves, *each))(*arguments)

            along = PartitionSpec("target")
            specs = {"in_specs": (PartitionSpec(), *[along] * count), "out_specs": along}
            return jax.jit(jax.shard_map(mapped, mesh=self._mesh, check_vma=False, **specs))

        def several_steps(leaves, target, progress, last):
            def step(progress, _):
                rested = progress._replace(stopped=progress.stopped | (progress.step >= last))
                moved, trace = problem.advance(leaves, target, rested)
                still = jnp.where(progress.step >= last, progress.stopped, moved.stopped)
                return moved._replace(stopped=still), trace

            return jax.lax.scan(step, progress, None, length=REPORT_STEPS)

        def evaluate(leaves, target, parameters):
            return problem.evaluate(leaves, parameters, target)

        self._several_steps = over_targets(several_steps, 3)
        self._evaluate = over_targets(evaluate, 2)
        self._start = over_targets(lambda leaves, target: problem.start(target), 1)

    def _put(self, tree: Any) -> Any:
        return jax.device_put(tree, NamedSharding(self._mesh, PartitionSpec("target")))

    def batches(self) -> list[np.ndarray]:
        """Numbers of the targets of each batch; the last one is filled up with repeats."""
        count = len(self.problem.units)
        numbers = np.arange(-(-count // self.batch_size) * self.batch_size)
        return list(np.minimum(numbers, count - 1).reshape(-1, self.batch_size))

    def run(self, steps, tolerance, folder, show, record) -> Synthesis:
        parts = []
        batches = self.batches()
        quiet = None if show is None else not show
        with tqdm(total=steps * len(batches), unit="step", desc="synthesis", disable=quiet) as bar:
            for number, numbers in enumerate(batches):
                part = None if folder is None else folder.load_batch(number)
                if part is None:
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


def one_by_one(device: jax.Device) -> bool:
    """On a CPU one target after the other stays in the cache; accelerators take them all at once."""
    return device.platform == "cpu"


def _is_flat(losses: np.ndarray, tolerance: float) -> np.ndarray:
    """Targets whose best loss of the last steps is not better than the best before."""
    if losses.shape[1] <= PATIENCE:
        return np.zeros(len(losses), bool)
    before, now = losses[:, :-PATIENCE].min(1), losses[:, -PATIENCE:].min(1)
    return before - now < tolerance * np.abs(before)


class _Folder:
    """A synthesis on disk: what it is, batches that are done, and the one that is not.

    Damaged files are computed again, and a warning says so.
    """

    def __init__(self, path: Path, record: dict[str, Any]):
        self.path, self._record = path, record

    def finished(self) -> Synthesis | None:
        """The result, where it is there and whole."""
        if not (self.path / RESULT).exists():
            return None
        try:
            return Synthesis.load(self.path)
        except SynthesisError as error:
            warnings.warn(f"{error}\nIt is computed again.", stacklevel=3)
            return None

    def load_batch(self, number: int) -> dict[str, np.ndarray] | None:
        return self._load(f"batch{number}")

    def save_batch(self, number: int, part: dict[str, np.ndarray]) -> None:
        self._save(f"batch{number}", part)
        (self.path / f"progress{number}.npz").unlink(missing_ok=True)

    def load_progress(self, number: int, like: Progress) -> tuple[dict[str, np.ndarray], Progress, int] | None:
        arrays = self._load(f"progress{number}")
        if arrays is None:
            return None
        leaves, structure = jax.tree.flatten(like)
        return (
            arrays,
            jax.tree.unflatten(structure, [arrays[f"leaf{i}"] for i in range(len(leaves))]),
            int(arrays["done"]),
        )

    def save_progress(self, number, progress, done, losses, penalties, stopped) -> None:
        leaves = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(progress))}
        kept = {"done": np.array(done), "losses": losses, "penalties": penalties, "stopped": stopped}
        self._save(f"progress{number}", leaves | kept)

    def finish(self, result: Synthesis) -> None:
        result.save(self.path)
        for path in self.path.glob("*[0-9].npz"):
            path.unlink()

    def _save(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        save_arrays(self.path / f"{name}.npz", arrays, {"file": name, **self._record})

    def _load(self, name: str) -> dict[str, np.ndarray] | None:
        path = self.path / f"{name}.npz"
        if not path.exists():
            return None
        try:
            return load_arrays(path, {"file": name, **self._record}, SynthesisError, "It is computed again.")
        except SynthesisError as error:
            warnings.warn(str(error), stacklevel=3)
            return None


def _functions(name: str, functions: Any) -> tuple[Any, ...]:
    functions = [functions] if callable(functions) else checks.sequence(name, functions, "functions", empty=True)
    wrong = [function for function in functions if not callable(function)]
    if wrong:
        raise TypeError(f"{name} holds {shown(wrong[0])}; expected functions.")
    return tuple(functions)


def _objective(objective: Any) -> Objective:
    if objective is None:
        return excitation()
    if not isinstance(objective, Objective):
        raise TypeError(
            f"objective is {type(objective).__name__}; expected one of fnn_jax.synthesis, or custom(function)."
        )
    return objective


def _parameterisation(parameterisation: Any, num_frames: int, size: tuple[int, int]) -> Parameterisation:
    if parameterisation is None:
        return nlm(num_frames, *size)
    if not isinstance(parameterisation, Parameterisation):
        raise TypeError(
            f"parameterisation is {type(parameterisation).__name__}; expected one of fnn_jax.synthesis, such as nlm()."
        )
    return parameterisation


def _target_units(twin: Twin, targets: Any, objective: Objective) -> tuple[np.ndarray, list[Any]]:
    """Rows of the units of each target, ``[target, unit]``, and their readout ids."""
    if targets is None:
        if not objective.features:
            raise ValueError(
                "targets is None; expected readout ids, such as [12, 40], unless the objective sees features."
            )
        return np.zeros((1, 1), int), [list(objective.features)]
    try:
        ids = np.asarray(targets)
    except ValueError:  # groups of unequal size
        ids = np.asarray(None)
    if ids.dtype == object or not np.issubdtype(ids.dtype, np.integer) or ids.ndim not in (1, 2) or not ids.size:
        raise TypeError(
            f"targets is {shown(targets)}; expected readout ids: [12, 40], a unit each, or [[12, 40], ...], groups of "
            "equal size."
        )
    groups = ids[:, None] if ids.ndim == 1 else ids
    twice = [group.tolist() for group in groups if len(set(group.tolist())) < len(group)]
    if twice:
        raise ValueError(f"targets has the group {twice[0]}, which names a unit twice.")
    try:
        rows = choose_units(twin.units, np.unique(groups))
    except ValueError as error:
        raise ValueError(re.sub("^units", "targets", str(error))) from error
    positions = dict(zip(np.unique(groups).tolist(), rows.tolist(), strict=True))
    return np.vectorize(positions.__getitem__)(groups), ids.tolist()


def _behaviour(
    twin: Twin, perspectives: Any, modulations: Any, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Eye and behaviour of each trial, ``[T, trial, 2]``."""
    black = np.broadcast_to(np.uint8(0), shape)
    given = (("perspectives", perspectives), ("modulations", modulations))
    expanded = (constant_trace(name, trace, shape[0]) for name, trace in given)
    checked = check_inputs(black, *expanded, twin.config, traceable=False)
    traces = []
    for trace, features in (
        (checked.perspectives, twin.config.perspective.eye_features),
        (checked.modulations, twin.config.modulation.behaviour_features),
    ):
        trace = np.zeros((1, 1, features), np.float32) if trace is None else np.asarray(trace, np.float32)
        traces.append(np.broadcast_to(trace, (shape[0], checked.batch, features)))
    return tuple(traces)


def _check_data(objective: Objective, units: np.ndarray, frames: int, trials: int) -> None:
    for array in jax.tree.leaves(objective.data):
        if not np.shape(array) or len(array) != len(units):
            found = f"{len(array)} targets" if np.shape(array) else "a single number"
            raise ValueError(f"objective has data for {found}; expected an entry for each of {len(units)} targets.")
    if objective.check is not None:
        objective.check(frames, trials, units.shape[1])
