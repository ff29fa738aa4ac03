"""``synthesize``: stimuli for many targets, compiled, in batches, resumable."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax

from fnn_jax.common import checks
from fnn_jax.common.checks import boolean, integer, number
from fnn_jax.common.progress import checked_progress
from fnn_jax.common.records import claimed
from fnn_jax.synthesis.arguments import (
    behaviour_of_trials,
    check_data,
    functions,
    objective_of,
    parameterisation_of,
    target_units,
)
from fnn_jax.synthesis.batches import Runner
from fnn_jax.synthesis.folder import Folder
from fnn_jax.synthesis.objectives import Objective
from fnn_jax.synthesis.parameterisations import Parameterisation
from fnn_jax.synthesis.penalties import weighted
from fnn_jax.synthesis.problem import Problem
from fnn_jax.synthesis.result import RECORD, Synthesis, SynthesisError
from fnn_jax.twin import sizes
from fnn_jax.twin.finite import describe_weights
from fnn_jax.twin.twin import Twin
from fnn_jax.version import versions


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
    interventions: Mapping[str, Callable] | None = None,
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
        interventions: as for ``Twin.predict``: what changes the network while it is optimised for. ``readout`` holds a
            target's units alone; ``place.video`` counts a target's stimuli or trials.
        remat: compute parts of the network twice, which bounds the memory; None: where the memory wants it.
        batch_size: targets that are optimised together; None: from the memory at hand, over all ``devices``.
        seed: of everything random. The same arguments give the same stimuli on one machine, bit for bit.
        out: folder for the result. Killed and called again with the same arguments, it goes on there, to the same
            result.
        progress: show a progress bar; None: in terminals and notebooks.

    Raises:
        TypeError, ValueError: arguments that do not fit together, before anything is computed; a target whose gradient
            is zero at the start.
        SynthesisError: another synthesis is in ``out``; it is kept.
    """
    if not isinstance(twin, Twin):
        raise TypeError(f"twin is {type(twin).__name__}; expected Twin, such as microns.scan(8, 5)[0].")
    objective = objective_of(objective)
    out = None if out is None else checks.path("out", out).absolute()
    size = (twin.config.stimulus_height, twin.config.stimulus_width)
    parameterisation = parameterisation_of(parameterisation, integer("num_frames", num_frames), size)
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
    transforms = functions("transforms", transforms)
    batch_size = None if batch_size is None else integer("batch_size", batch_size)
    remat = None if remat is None else boolean("remat", remat)
    progress = checked_progress(progress)
    optimizer = optax.adam(0.05) if optimizer is None else checks.optimizer("optimizer", optimizer)
    units, ids = target_units(twin, targets, objective)
    behaviour = behaviour_of_trials(twin, perspectives, modulations, shape)
    if num_stimuli > 1 and behaviour[0].shape[1] > 1:
        raise ValueError("num_stimuli is above 1, and behaviour has several trials; expected one of them.")
    check_data(objective, units, shape[0], behaviour[0].shape[1])
    twin.network.check_options(None, periphery, objective.features, precision)
    changes = twin.network.check_interventions(interventions)
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
        interventions=changes,
    )
    texts = problem.interventions()
    if batch_size is None:
        videos = num_stimuli * behaviour[0].shape[1]
        at_once = sizes.gradient_batch(problem.config, devices[0], shape[0], problem.remat)
        batch_size = max(1, at_once // videos) * len(devices)
    runner = Runner(problem, devices, min(batch_size, -(-len(units) // len(devices)) * len(devices)))
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
    } | ({"interventions": texts} if texts else {})
    if out is None:
        result = runner.run(steps, tolerance, None, progress, record)
    else:
        with claimed(out, RECORD, record, "synthesis", SynthesisError):
            folder = Folder(out, record)
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
