"""How near does each stage come to the rate at which this machine multiplies matrices?

Operations are those of direct convolution: a stage that needs fewer of them can come beyond 1.
"""

import jax
import jax.numpy as jnp
from machine import on_cpu
from operations import by_stage, operations
from options import parse
from sides import Ours, random_video
from table import Results
from turns import in_turns, spread

from fnn_jax import Inputs
from fnn_jax.model.layers import fold_weight_norm


def over_streams(function, arguments):
    """As the network does it: one after the other on a CPU, else all at once."""
    return jax.lax.map(function, arguments) if on_cpu() else jax.vmap(function)(arguments)


def stages(twin, video):
    """A function of no arguments for each stage, that computes all streams of some frames."""
    frames = len(video)
    network = jax.jit(fold_weight_norm)(twin.network)
    perspective = twin.config.perspective
    eye = jnp.zeros((frames, twin.config.perspective.eye_features))
    start = network.core.init_state(perspective.height, perspective.width)
    state = jax.tree.map(lambda a: jnp.broadcast_to(a, (twin.config.num_streams, *a.shape)), start)
    modulation = jnp.zeros((twin.config.num_streams, frames, twin.config.modulation.lstm_features))
    behaviour = jnp.zeros((frames, 1, twin.config.modulation.behaviour_features))
    inputs = Inputs(jnp.asarray(video)[:, None], eye[:, None], behaviour)

    def retina(network, video):
        return network.perspective(video, eye, None, "dark")

    def feedforward(network, retina):
        parts = network.core.feedforward, state.feedforward
        return over_streams(lambda args: args[0](args[1], retina)[:2], parts)

    def recurrent(network, maps):
        parts = network.core.recurrent, state.recurrent, maps, modulation
        return over_streams(lambda args: args[0](*args[1:])[:2], parts)

    def readout(network, maps):
        positions = network.readout.position()
        return over_streams(lambda args: args[0](args[1], positions), (network.readout.feature, maps))

    def whole(network, inputs):
        return network.rollout(network.init_state(1), inputs)[1].responses

    def compiled(function, argument):
        function = jax.jit(function)
        return lambda: jax.block_until_ready(function(network, argument))

    functions = {"perspective": compiled(retina, jnp.asarray(video))}
    functions["feedforward"] = compiled(feedforward, functions["perspective"]())
    functions["recurrent"] = compiled(recurrent, functions["feedforward"]()[1])
    functions["readout"] = compiled(readout, functions["recurrent"]()[1])
    functions["whole"] = compiled(whole, inputs)
    return functions


def main():
    quick = {"units": 60, "frames": 8}
    options = parse(__doc__, quick, units=9941, frames=8, repeats=15)
    results = Results(__doc__, options)
    twin = Ours(options.units).twin
    counts = operations(twin.config)
    stage_operations = by_stage(counts) | {"whole": sum(counts.values()), "perspective": None}
    size = 512 if options.quick else 2048 if on_cpu() else 8192
    matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    multiply = jax.jit(jnp.matmul)
    with jax.default_matmul_precision("highest"):  # also while the functions are called: it belongs to what is compiled
        functions = stages(twin, random_video(options.frames))
        functions = {"matrices": lambda: multiply(matrix, matrix).block_until_ready(), **functions}
        for function in functions.values():
            function()
        seconds = in_turns(functions, options.repeats)

    rates = [2 * size**3 / s / 1e9 for s in seconds["matrices"]]
    cells = {"ms a frame": "-", "GFLOP a frame": "-", "GFLOP/s": spread(rates)}
    results.add(f"product of {size} x {size} matrices", cells, seconds=seconds.pop("matrices"))
    for stage, values in seconds.items():
        cells = {"ms a frame": spread(s / options.frames * 1e3 for s in values)}
        if stage_operations[stage]:
            gflop = stage_operations[stage] * options.frames / 1e9
            cells |= {"GFLOP a frame": f"{gflop / options.frames:.3f}", "GFLOP/s": spread(gflop / s for s in values)}
            fractions = [gflop / s / rate for s, rate in zip(values, rates, strict=True)]
            cells["of the matrix rate"] = spread(fractions)
        results.add(stage, cells, seconds=values, operations=stage_operations[stage])
    parts = ", ".join(f"{part} {count / 1e9:.2f}" for part, count in counts.items())
    results.note(f"GFLOP a frame by part: {parts}; {sum(counts.values()) / 1e9:.3f} in all.")
    results.note(f"Times are of {options.frames} frames at once, {options.units} units, float32.")


if __name__ == "__main__":
    main()
