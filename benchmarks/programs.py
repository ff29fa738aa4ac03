"""The programs that users run, as functions of arrays of known shapes: compilers count them, and devices time them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from fnn_jax import Inputs, Network, Twin
from fnn_jax.demo import random_network
from fnn_jax.model.layers import fold_weight_norm
from fnn_jax.model.parameters import named_parameters, replace_parameters
from fnn_jax.screen.reduction import RUNNING
from fnn_jax.synthesis import excitation, nlm
from fnn_jax.synthesis.penalties import weighted
from fnn_jax.synthesis.problem import Problem
from fnn_jax.training import Recipe
from fnn_jax.training.objective import window_loss
from fnn_jax.training.step import trained_names
from fnn_jax.training.windows import Batch


class Program(NamedTuple):
    """A function, the shapes of its arguments, and along which axis each argument counts videos (None: it does not)."""

    function: Callable
    arguments: tuple[Any, ...]
    axes: tuple[int | None, ...]
    frames: int  # that a call computes, all videos together
    start: Callable[[], tuple[Any, ...]] | None = None  # arguments to begin with, where random numbers will not do


def predict(config, precision, frames, videos):
    def run(network, state, inputs):
        state, output = network.rollout(state, inputs, precision=precision, chunk_frames=frames)
        return state, output.responses

    return Program(run, (folded(config), *seen(config, frames, videos)), (None, 0, 1), frames * videos)


def screen(config, precision, frames, videos, scans):
    """A chunk of a screen: the responses of every scan, added up over the frames of an interval."""

    def run(networks, states, inputs, inside, totals):
        results = []
        for network, state, total in zip(networks, states, totals, strict=True):
            state, output = network.rollout(state, inputs, precision=precision, chunk_frames=frames)
            results.append((state, RUNNING["mean"].add(total, output.responses, inside)))
        return results

    state, inputs = seen(config, frames, videos)
    inside = jax.ShapeDtypeStruct((frames, videos, 1), bool)
    total = jax.eval_shape(lambda: RUNNING["mean"].start((videos, 1, config.num_units), np.float32))
    arguments = ([folded(config)] * scans, [state] * scans, inputs, inside, [total] * scans)
    return Program(run, arguments, (None, 0, 1, 1, 0), frames * videos * scans)


def gradient(config, precision, frames, videos, remat=True):
    """On the pixels, of the summed response of one unit; without ``remat`` all is kept, and nothing computed twice."""

    def run(network, state, inputs):
        def total(stimulus):
            _, output = network.rollout(
                state, inputs._replace(stimuli=stimulus), precision=precision, chunk_frames=frames, remat=remat
            )
            return output.responses[..., 0].sum()

        return jax.grad(total)(inputs.stimuli)

    arguments = (folded(config), *seen(config, frames, videos, jnp.float32))
    return Program(run, arguments, (None, 0, 1), frames * videos)


def synthesis_step(config, precision, frames, targets):
    """A step of Adam for the most exciting videos of so many units."""
    twin = Twin(random_network(config), label="random weights")
    problem = Problem(
        twin,
        np.arange(targets)[:, None] % config.num_units,
        excitation(),
        nlm(frames, config.stimulus_height, config.stimulus_width),
        penalty=weighted(()),
        transforms=(),
        optimizer=optax.adam(0.05),
        burn_in=frames // 3,
        behaviour=(np.zeros((frames, 1, 2), np.float32),) * 2,
        learn_behaviour=False,
        sample_stream=False,
        num_stimuli=1,
        diversity=1.0,
        periphery="dark",
        precision=precision,
        remat=True,
        device=jax.devices()[0],
        seed=0,
    )
    target = jax.eval_shape(lambda: problem.targets(np.arange(targets)))
    progress = jax.eval_shape(jax.vmap(problem.start), target)

    def run(leaves, target, progress):
        return jax.vmap(lambda *each: problem.advance(leaves, *each))(target, progress)

    def start():
        target = problem.targets(np.arange(targets))
        return problem.leaves, target, jax.jit(jax.vmap(problem.start))(target)

    return Program(run, (shapes(problem.leaves), target, progress), (None, 0, 0), frames * targets, start)


def train(config, precision, frames, videos, everything=False):
    """Loss and gradient of a batch of the released recipe, which trains one stream's readout and what leads to the
    core; or of every parameter and stream.
    """
    parts = ("perspective", "modulation", "core", "readout") if everything else Recipe().train
    sizes = {"window_frames": frames, "batch_size": videos, "burn_in": frames // 4}
    recipe = Recipe(**sizes, precision=precision, train=parts, sample_stream=not everything)
    network = jax.eval_shape(lambda: Network(config, rngs=nnx.Rngs(0)))
    names = trained_names(network, parts)
    arrays = shapes(named_parameters(network))
    trained = {name: arrays.pop(name) for name in names}
    _, inputs = seen(config, frames, videos)
    batch = Batch(*inputs, jax.ShapeDtypeStruct((frames, videos, config.num_units), jnp.float32))

    def run(trained, frozen, batch, stream):
        def loss(trained):
            whole = replace_parameters(network, {**frozen, **trained})
            keys = jax.random.split(jax.random.key(0), videos)
            result = window_loss(whole, batch, recipe, keys=keys, trained=names, stream=stream)
            return result.total / result.count + result.penalty

        return jax.value_and_grad(loss)(trained)

    stream = None if everything else jax.ShapeDtypeStruct((), jnp.int32)
    return Program(run, (trained, arrays, batch, stream), (None, None, 1, None), frames * videos)


# By name: how it is made of a configuration and a precision, at the sizes at which it is counted and timed.
PROGRAMS = {
    "predict, 1 video of 32 frames": lambda *a: predict(*a, frames=32, videos=1),
    "predict, 8 videos of 8 frames": lambda *a: predict(*a, frames=8, videos=8),
    "predict, 32 videos of 8 frames": lambda *a: predict(*a, frames=8, videos=32),
    "screen, 13 scans, 8 videos of 8 frames": lambda *a: screen(*a, frames=8, videos=8, scans=13),
    "gradient on pixels, 8 videos of 8 frames": lambda *a: gradient(*a, frames=8, videos=8),
    "gradient that keeps all, 8 videos of 8 frames": lambda *a: gradient(*a, frames=8, videos=8, remat=False),
    "synthesis step, 32 targets of 30 frames": lambda *a: synthesis_step(*a, frames=30, targets=32),
    "training, released recipe, 4 windows of 30 frames": lambda *a: train(*a, frames=30, videos=4),
    "training, every parameter, 4 windows of 30 frames": lambda *a: train(*a, frames=30, videos=4, everything=True),
}


def folded(config):
    return jax.eval_shape(lambda: fold_weight_norm(Network(config, rngs=nnx.Rngs(0))))


def seen(config, frames, videos, pixels=jnp.uint8):
    """State before the first frame, and inputs."""
    network = jax.eval_shape(lambda: Network(config, rngs=nnx.Rngs(0)))
    size = (config.stimulus_height, config.stimulus_width, config.stimulus_channels)
    traces = [jax.ShapeDtypeStruct((frames, videos, 2), jnp.float32)] * 2
    state = jax.eval_shape(lambda: network.init_state(videos))
    return state, Inputs(jax.ShapeDtypeStruct((frames, videos, *size), pixels), *traces)


def shapes(tree):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)
