"""A video through a twin: chunk by chunk, with the state carried across, and compiled once for any length."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from fnn_jax.common.checks import sequence, shown
from fnn_jax.common.progress import SHORT_FRAMES, progress_bar
from fnn_jax.model.extent import Extent, checked_extent
from fnn_jax.model.inside import WITHOUT_STREAMS, choose, released_modules, table
from fnn_jax.model.network import Inputs, Network, NetworkState, Output
from fnn_jax.twin import sizes
from fnn_jax.twin.inputs import CheckedInputs
from fnn_jax.twin.rollout import Options

if TYPE_CHECKING:
    from fnn_jax.twin.network_calls import NetworkCalls


def chunks(twin: "NetworkCalls", checked: CheckedInputs, options: Options) -> Iterator[tuple[slice, Output]]:
    """Frames, and their output on the device; that of the last chunk may be longer, filled up with repeats."""
    twin.network.check_options(options.stream, options.periphery, options.features, options.precision)
    options = options._replace(interventions=twin.network.check_interventions(options.interventions))
    named = {"features": options.features, "interventions": options.interventions}
    checked_extent(options.start, options.end, **named)
    length = sizes.checked_chunk_frames(options.chunk_frames, twin.config, twin._device(), checked.batch)

    def computed():  # what is wrong is said by the call, not when the first chunk is asked for
        state = twin.init_state(checked.batch)
        for start in range(0, checked.frames, length):
            stop = min(start + length, checked.frames)
            inputs = Inputs(*checked.chunk(start, stop, length, twin.config, twin._dtype))
            state, output = twin._rollout(state, inputs, options, start)
            yield slice(start, stop), output

    return computed()


def arrays_of(output: Output, options: Options) -> list[jax.Array]:
    """Responses, unless the rollout ends before, then each of the features that are asked for."""
    responses = [] if output.responses is None else [output.responses]
    return [*responses, *(output.features[name] for name in options.features)]


def collect(twin: "NetworkCalls", checked: CheckedInputs, options: Options, progress: bool | None) -> list[np.ndarray]:
    """What ``arrays_of`` lists, of all frames."""
    results: list[np.ndarray] = []

    def fetch(frames, arrays):
        if not results:
            results.extend(np.empty((checked.frames, *array.shape[1:]), array.dtype) for array in arrays)
        for result, array in zip(results, arrays, strict=True):
            result[frames] = np.asarray(array)[: frames.stop - frames.start]
        bar.update(frames.stop - frames.start)

    with progress_bar(progress, "predict", "frame", checked.frames, least=SHORT_FRAMES, compiles=True) as bar:
        pending = None  # a chunk comes back while the device computes the next one
        for frames, output in chunks(twin, checked, options):
            arrays = arrays_of(output, options)
            if pending:
                fetch(*pending)
            pending = frames, arrays
        if pending:
            fetch(*pending)
    return results


def first_not_finite(twin: "NetworkCalls", checked: CheckedInputs, options: Options) -> str | None:
    """The first stage whose output, or else ``responses``, is NaN or infinite for some frame."""
    extent = Extent(options.start)
    options = options._replace(features=tuple(name for name in twin.network.feature_names if extent.has(name)))
    for _, output in chunks(twin, checked, options):
        outputs = {**output.features, "responses": output.responses}
        for name in (*options.features, "responses"):
            if not np.isfinite(np.asarray(outputs[name])).all():
                return name
    return None


def feature_names(network: Network, names: Any, argument: str = "names") -> tuple[str, ...]:
    """The names that are meant, each once; of patterns, those that fit."""
    expected = "names, or patterns such as 'recurrent.*', of twin.feature_table()"
    names = [names] if isinstance(names, str) else sequence(argument, names, expected, empty=True)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"{argument} is {shown(names)}; expected {expected}.")
    return choose(names, network.value_names)


def value_shapes(
    network: Network,
    names: Iterable[str],
    stream: int | None = None,
    interventions: Mapping[str, Callable] | None = None,
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of values inside the network in one frame of a video, ``[stream, ...]``; nothing is computed.

    Raises:
        ValueError: interventions that do not fit the values that they change.
    """
    config = network.config
    image = (config.stimulus_height, config.stimulus_width, config.stimulus_channels)
    sizes = image, (config.perspective.eye_features,), (config.modulation.behaviour_features,)
    inputs: Any = Inputs(*(jax.ShapeDtypeStruct((1, 1, *size), np.float32) for size in sizes))  # type: ignore[arg-type]
    options = {"features": tuple(names), "stream": stream, "interventions": interventions}

    def run(network, inputs):
        return network.rollout(network.init_state(1), inputs, **options)[1].features

    values = jax.eval_shape(run, network, inputs)
    return {name: jax.ShapeDtypeStruct(value.shape[2:], value.dtype) for name, value in values.items()}


def value_of_stream(name: str, value: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """What an intervention on this name is given: of one frame of one video, one stream of it."""
    return value if name in WITHOUT_STREAMS else jax.ShapeDtypeStruct(value.shape[1:], value.dtype)


def feature_table(network: Network) -> pd.DataFrame:
    """See ``Twin.feature_table``."""
    config = network.config
    about = table(config)
    shapes = {name: value.shape for name, value in value_shapes(network, about).items()}
    modules = released_modules(config)
    rows = {"shape": [shapes[name] for name in about], "what": list(about.values())}
    rows["released"] = [modules.get(name, "") for name in about]
    return pd.DataFrame(rows, index=pd.Index(about, name="name"))


def batch_of(state: Any, network: Network) -> int:
    """Videos of a state, whose arrays are looked at.

    Raises:
        TypeError: it is no state of this network.
    """
    shapes = None
    if isinstance(state, NetworkState):
        expected = jax.eval_shape(lambda: network.init_state(1))
        leaves = jax.tree.leaves(state._replace(noise=None))
        found = [np.shape(leaf)[1:] for leaf in leaves]
        good = found == [leaf.shape[1:] for leaf in jax.tree.leaves(expected)]
        good = good and all(hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)
        shapes = {len(leaf) for leaf in leaves} if good else None
    if shapes is None or len(shapes) > 1 or 0 in shapes:
        raise TypeError(
            f"state is {type(state).__name__}; expected the state of this twin: of init_state(), or that the call "
            "before returned."
        )
    return shapes.pop()
