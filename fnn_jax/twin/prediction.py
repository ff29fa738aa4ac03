"""A video through a twin: chunk by chunk, with the state carried across, and compiled once for any length."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from fnn_jax.common.checks import sequence, shown
from fnn_jax.common.progress import SHORT_FRAMES, progress_bar
from fnn_jax.model.inside import choose, released_modules, table
from fnn_jax.model.network import Inputs, Network, NetworkState, Output
from fnn_jax.twin import sizes
from fnn_jax.twin.inputs import CheckedInputs
from fnn_jax.twin.rollout import Options

if TYPE_CHECKING:
    from fnn_jax.twin.twin import Twin


def chunks(twin: "Twin", checked: CheckedInputs, options: Options) -> Iterator[tuple[slice, Output]]:
    """Frames, and their output on the device; that of the last chunk may be longer, filled up with repeats."""
    twin.network.check_options(options.stream, options.periphery, options.features, options.precision)
    options = options._replace(interventions=twin.network.check_interventions(options.interventions))
    length = sizes.checked_chunk_frames(options.chunk_frames, twin.config, twin._device(), checked.batch)

    def computed():  # what is wrong is said by the call, not when the first chunk is asked for
        state = twin.init_state(checked.batch)
        for start in range(0, checked.frames, length):
            stop = min(start + length, checked.frames)
            inputs = Inputs(*checked.chunk(start, stop, length, twin.config, twin._dtype))
            state, output = twin._rollout(state, inputs, options, start)
            yield slice(start, stop), output

    return computed()


def collect(twin: "Twin", checked: CheckedInputs, options: Options, progress: bool | None) -> list[np.ndarray]:
    """Responses, then each of the features, of all frames."""
    results: list[np.ndarray] = []

    def fetch(frames, arrays):
        if not results:
            results.extend(np.empty((checked.frames, *array.shape[1:]), array.dtype) for array in arrays)
        for result, array in zip(results, arrays, strict=True):
            result[frames] = np.asarray(array)[: frames.stop - frames.start]
        bar.update(frames.stop - frames.start)

    with progress_bar(progress, "predict", "frame", checked.frames, least=SHORT_FRAMES) as bar:
        pending = None  # a chunk comes back while the device computes the next one
        for frames, output in chunks(twin, checked, options):
            arrays = [output.responses, *(output.features[name] for name in options.features)]
            if pending:
                fetch(*pending)
            pending = frames, arrays
        if pending:
            fetch(*pending)
    return results


def first_not_finite(twin: "Twin", checked: CheckedInputs, options: Options) -> str | None:
    """The first of the features, or else ``responses``, that is NaN or infinite for some frame."""
    for _, output in chunks(twin, checked, options):
        outputs = {**output.features, "responses": output.responses}
        for name in (*options.features, "responses"):
            if not np.isfinite(np.asarray(outputs[name])).all():
                return name
    return None


def feature_names(network: Network, names: Any) -> tuple[str, ...]:
    """The names that are meant, each once; of patterns, those that fit."""
    expected = "names, or patterns such as 'recurrent.*', of twin.feature_table()"
    names = [names] if isinstance(names, str) else sequence("names", names, expected, empty=True)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"names is {shown(names)}; expected {expected}.")
    return choose(names, network.value_names)


def feature_table(network: Network) -> pd.DataFrame:
    """See ``Twin.feature_table``."""
    about = table(network.config)
    config = network.config
    image = (config.stimulus_height, config.stimulus_width, config.stimulus_channels)
    sizes = image, (config.perspective.eye_features,), (config.modulation.behaviour_features,)
    inputs: Any = Inputs(*(jax.ShapeDtypeStruct((1, 1, *size), np.float32) for size in sizes))  # type: ignore[arg-type]

    def run(network, inputs):
        return network.rollout(network.init_state(1), inputs, features=tuple(about))[1].features

    shapes = {name: array.shape[2:] for name, array in jax.eval_shape(run, network, inputs).items()}
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
