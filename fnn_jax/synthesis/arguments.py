"""What ``synthesize`` is given, checked before anything is computed."""

import re
from typing import Any

import jax
import numpy as np

from fnn_jax.common import checks
from fnn_jax.common.checks import shown
from fnn_jax.synthesis.objectives import Objective, custom, excitation
from fnn_jax.synthesis.parameterisations import Parameterisation, nlm
from fnn_jax.twin.inputs import check_inputs, constant_trace
from fnn_jax.twin.twin import Twin
from fnn_jax.weights.units import choose_units


def functions(name: str, given: Any) -> tuple[Any, ...]:
    found = [given] if callable(given) else checks.sequence(name, given, "functions", empty=True)
    wrong = [function for function in found if not callable(function)]
    if wrong:
        raise TypeError(f"{name} holds {shown(wrong[0])}; expected functions.")
    return tuple(found)


def objective_of(objective: Any) -> Objective:
    if objective is None:
        return excitation()
    if not isinstance(objective, Objective):
        raise TypeError(
            f"objective is {type(objective).__name__}; expected one of fnn_jax.synthesis, or custom(function)."
        )
    _require_functions("objective", objective, optional=("check",))
    return custom(objective.loss, objective.features, objective.data)._replace(check=objective.check)


def parameterisation_of(parameterisation: Any, num_frames: int, size: tuple[int, int]) -> Parameterisation:
    if parameterisation is None:
        return nlm(num_frames, *size)
    if not isinstance(parameterisation, Parameterisation):
        raise TypeError(
            f"parameterisation is {type(parameterisation).__name__}; expected one of fnn_jax.synthesis, such as nlm()."
        )
    _require_functions("parameterisation", parameterisation, ("init", "frames"), ("pixels", "project"))
    return parameterisation


def _require_functions(name: str, made: tuple, needed: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> None:
    """Of one that was put together by hand."""
    for field in (*needed, *optional):
        function = getattr(made, field)
        if not callable(function) and (field in needed or function is not None):
            raise TypeError(f"{name}.{field} is {shown(function)}; expected a function.")


def target_units(twin: Twin, targets: Any, objective: Objective) -> tuple[np.ndarray, list[Any]]:
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


def behaviour_of_trials(
    twin: Twin, perspectives: Any, modulations: Any, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Eye and behaviour of each trial, ``[T, trial, 2]``."""
    black = np.broadcast_to(np.uint8(0), shape)
    given = (("perspectives", perspectives), ("modulations", modulations))
    expanded = (constant_trace(name, trace, shape[0]) for name, trace in given)
    checked = check_inputs(black, *expanded, twin.config, traceable=False)  # type: ignore[call-arg]  # two
    traces = []
    for trace, features in (
        (checked.perspectives, twin.config.perspective.eye_features),
        (checked.modulations, twin.config.modulation.behaviour_features),
    ):
        trace = np.zeros((1, 1, features), np.float32) if trace is None else np.asarray(trace, np.float32)
        traces.append(np.broadcast_to(trace, (shape[0], checked.batch, features)))
    return tuple(traces)  # type: ignore[return-value]  # two


def check_data(objective: Objective, units: np.ndarray, frames: int, trials: int) -> None:
    for array in jax.tree.leaves(objective.data):
        if not np.shape(array) or len(array) != len(units):
            found = f"{len(array)} targets" if np.shape(array) else "a single number"
            raise ValueError(f"objective has data for {found}; expected an entry for each of {len(units)} targets.")
    if objective.check is not None:
        objective.check(frames, trials, units.shape[1])
