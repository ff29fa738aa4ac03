"""On a CPU, steps of a synthesis for one target after the other, each stream of the network in a thread of its own."""

from typing import Any

import jax

from fnn_jax.model.network import Output
from fnn_jax.synthesis.problem import Problem, Progress, Target, Trace
from fnn_jax.twin import gradients, threads


def worthwhile(problem: Problem, leaves: list[jax.Array]) -> bool:
    """Whether steps should be made so: on one device, a CPU, for an objective that sees the mean of all streams."""
    has_streams = not problem.sample_stream and not problem.objective.features
    return has_streams and not problem.is_changed and threads.worthwhile(leaves, problem.config.num_streams)


class StepInThreads:
    """``Problem.advance`` of one target, not to be traced.

    The network's gradient is that of ``fnn_jax.twin.gradients``, whose programs serve all targets and objectives; what
    comes before and after it is compiled for each problem.
    """

    def __init__(self, problem: Problem):
        self._problem = problem
        self._shown = jax.jit(lambda parameters, target, step: problem.shown(parameters, problem.key(target, step + 1)))
        self._score = jax.jit(self._scored)
        self._moved = jax.jit(problem.moved)

    def __call__(self, leaves: list[jax.Array], target: Target, progress: Progress) -> tuple[Progress, Trace]:
        network, _ = self._problem.network(leaves, target)
        parts, structure = jax.tree.flatten(network)
        options = {"structure": structure, "start": "stimulus", **self._problem.options}

        def loss(parameters):
            shown, inputs = self._shown(parameters, target, progress.step)
            readout = gradients.readout(parts, inputs, **options)
            return self._score(leaves, parameters, target, shown, readout)

        (number, penalty), gradient = jax.value_and_grad(loss, has_aux=True)(progress.parameters)
        return self._moved(progress, number, penalty, gradient)

    def _scored(self, leaves: Any, parameters: Any, target: Target, shown: jax.Array, readout: jax.Array) -> Any:
        network, _ = self._problem.network(leaves, target)
        seen = self._problem.seen(Output(network.responses(readout), readout, {}))
        return self._problem.score(parameters, target, shown, seen)
