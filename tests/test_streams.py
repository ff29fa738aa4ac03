"""Updates of one stream at a time, with the optimisers and wrappers of optax: the others rest, and nothing is confused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fnn_jax.training.optimizer import Rule, check_optimizer, optimizer_digest
from fnn_jax.training.streams import StreamOptimizer

STREAMS = 3
RULES = {"core.weight": Rule(by_stream=True), "readout.mean": Rule()}
DRAWN = (2, 0, 2, 2, 0)  # and never the second


def parameters():
    random = np.random.default_rng(0)
    shapes = {"core.weight": (STREAMS, 4), "readout.mean": (5,)}
    return {name: jnp.asarray(random.standard_normal(shape), jnp.float32) for name, shape in shapes.items()}


def gradients(step):
    random = np.random.default_rng(100 + step)
    return {name: jnp.asarray(random.standard_normal(a.shape), jnp.float32) for name, a in parameters().items()}


def run(optimizer):
    """Parameters after updates of the drawn streams."""
    now = parameters()
    with jax.numpy_dtype_promotion("standard"):
        streams = StreamOptimizer(optimizer, now, RULES)
        state, update = streams.init(now), jax.jit(streams.update)
        for step, stream in enumerate(DRAWN):
            now, state = update(gradients(step), state, now, np.int32(stream))
    return now


def alone(optimizer, name, stream=None):
    """One parameter, or one stream of it, that saw nothing but its own updates."""

    def part(tree):
        return {name: tree[name] if stream is None else tree[name][stream : stream + 1]}

    now = part(parameters())
    with jax.numpy_dtype_promotion("standard"):
        state = optimizer.init(now)
        for step, drawn in enumerate(DRAWN):
            if stream in (None, drawn):
                updates, state = optimizer.update(part(gradients(step)), state, now)
                now = optax.apply_updates(now, updates)
    return now[name]


def labels(tree):
    return {name: "fast" if name.startswith("core") else "slow" for name in tree}


OPTIMISERS = {
    "sgd": lambda: optax.sgd(0.1),
    "momentum": lambda: optax.sgd(0.1, 0.9, nesterov=True),
    "adam": lambda: optax.adam(0.1),
    "adamw": lambda: optax.adamw(0.1),
    "amsgrad": lambda: optax.amsgrad(0.1),
    "adamax": lambda: optax.adamax(0.1),
    "nadam": lambda: optax.nadam(0.1),
    "adabelief": lambda: optax.adabelief(0.1),
    "adagrad": lambda: optax.adagrad(0.1),
    "rmsprop": lambda: optax.rmsprop(0.1),
    "lion": lambda: optax.lion(0.1),
    "yogi": lambda: optax.yogi(0.1),
    "adafactor": lambda: optax.adafactor(0.1),
    "masked": lambda: optax.masked(optax.adam(0.1), lambda tree: {name: True for name in tree}),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=0.1),
    "multi_transform": lambda: optax.multi_transform({"fast": optax.adam(0.1), "slow": optax.sgd(0.1)}, labels),
    "apply_if_finite": lambda: optax.apply_if_finite(optax.adam(0.1), 3),
    "several steps": lambda: optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(),
    "moving average": lambda: optax.chain(optax.ema(0.9, debias=True), optax.scale(-0.1)),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_each_stream_is_trained_as_if_alone(name):
    optimizer = OPTIMISERS[name]()
    check_optimizer(optimizer, parameters())
    trained = run(optimizer)
    for stream in range(STREAMS):
        np.testing.assert_allclose(
            trained["core.weight"][stream : stream + 1], alone(optimizer, "core.weight", stream), rtol=2e-6, atol=1e-7
        )
    np.testing.assert_array_equal(trained["core.weight"][1], parameters()["core.weight"][1])  # was never drawn
    np.testing.assert_allclose(trained["readout.mean"], alone(optimizer, "readout.mean"), rtol=2e-6, atol=1e-7)


def test_a_schedule_counts_all_updates():
    """Whichever stream they were of: the learning rate is that of the epoch."""
    rates = jnp.array([1.0, 0.5, 0.25, 0.125, 0.0625])
    for make in (optax.sgd, optax.inject_hyperparams(optax.sgd)):
        trained = run(make(learning_rate=lambda count: rates[count]))
        expected = parameters()["core.weight"][2] - sum(
            rates[step] * gradients(step)["core.weight"][2] for step, stream in enumerate(DRAWN) if stream == 2
        )
        np.testing.assert_allclose(trained["core.weight"][2], expected, rtol=2e-6)


def test_norms_are_of_everything_that_is_updated():
    trained = run(optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(1.0)))
    step, stream = 0, DRAWN[0]
    first = {
        name: array[stream : stream + 1] if name.startswith("core") else array
        for name, array in gradients(step).items()
    }
    length = np.sqrt(sum(float((array**2).sum()) for array in first.values()))
    assert length > 0.5
    total = sum(
        gradients(step)["readout.mean"]
        * 0.5
        / np.sqrt(
            sum(
                float((part**2).sum())
                for part in (gradients(step)["core.weight"][stream], gradients(step)["readout.mean"])
            )
        )
        for step, stream in enumerate(DRAWN)
    )
    np.testing.assert_allclose(trained["readout.mean"], parameters()["readout.mean"] - total, rtol=1e-5)


def test_what_cannot_be_told_apart_is_refused():
    def mixed(params):  # one number for each number of all parameters
        return jnp.zeros(sum(array.size for array in params.values()))

    optimizer = optax.GradientTransformation(mixed, lambda updates, state, params=None: (updates, state))
    with pytest.raises(ValueError, match="optimizer keeps an array .* Set sample_stream to false"):
        StreamOptimizer(optimizer, parameters(), RULES)
    with pytest.raises(ValueError, match="optimizer cannot be used: TypeError"):
        check_optimizer(optax.polyak_sgd(), parameters())
    with pytest.raises(TypeError, match="optimizer is float; expected one of optax"):
        check_optimizer(0.1, parameters())
    with pytest.raises(
        ValueError, match=r"optimizer keeps a state of bfloat16, which checkpoints .* mu_dtype='float32'"
    ):
        check_optimizer(optax.adam(1e-3, mu_dtype="bfloat16"), parameters())  # it failed at the first checkpoint


def test_optimisers_are_told_apart_by_what_they_compute():
    digests = {
        optimizer_digest(optimizer, parameters())
        for optimizer in (optax.adam(1e-3), optax.adam(1.0), optax.adam(1e-3, b1=0.8), optax.sgd(1e-3))
    }
    assert len(digests) == 4
    assert optimizer_digest(optax.adam(1e-3), parameters()) in digests
