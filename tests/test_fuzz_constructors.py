"""Wrong arguments of what synthesis and physiology are put together from: objectives, parameterisations, penalties,
transforms, protocols, panels and columns. Each is refused when it is made, before a twin sees it; see ``test_fuzz``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from wrong import (
    BOOLEANS,
    DTYPES,
    JUNK,
    LEVELS,
    NO_SCALARS,
    NONE,
    SIZE,
    TEXTS,
    Odd,
    booleans,
    check,
    floats,
    integers,
    lists,
    one_wrong_value,
    points,
    seeds,
    shapes,
    words,
)

from fnn_jax import stimuli, synthesis
from fnn_jax.physiology import Column, Panel, Protocol, protocols

DISPLAY = stimuli.FlatDisplay(*SIZE, "deg", 3.0)
NO_OBJECTS = JUNK | TEXTS | NONE | st.integers() | NO_SCALARS | BOOLEANS
NO_FUNCTIONS = NO_OBJECTS.filter(lambda value: not callable(value))
NO_TEXTS = (JUNK | NONE | st.integers() | st.floats() | NO_SCALARS | BOOLEANS).filter(lambda v: not isinstance(v, str))
NO_NAMES = st.sampled_from([1, 0.5, True, b"core", {"a": 1}, {1, 2}, Odd(), np.array("core")])
NO_NAMES |= NONE | st.lists(NO_TEXTS, min_size=1, max_size=3)
POSITIVE = floats(above=0)
FROM_ZERO = floats(0)
LEVEL = floats(0, most=1)


def arrays(axes, *dtypes, values=LEVELS):
    """What is no array of so many axes: of another number of them, of another dtype, or with a wrong value."""
    wrong = JUNK | TEXTS | BOOLEANS | NO_SCALARS.filter(lambda value: np.ndim(value) not in axes)
    wrong |= shapes().filter(lambda shape: len(shape) not in axes or 0 in shape).map(np.zeros)
    wrong |= shapes().filter(lambda shape: len(shape) not in axes).map(lambda shape: jnp.zeros(shape, jnp.bfloat16))
    shape = (2, 3, 4, 5)[: max(axes)]
    wrong |= st.sampled_from([d for d in DTYPES if d not in dtypes]).map(lambda dtype: np.zeros(shape, dtype))
    return wrong | one_wrong_value(shape, values)


NUMBERS = (int, np.int8, np.uint16)
GRAYS = arrays({0, 2, 3}) | floats(0, most=1)
FRAMES = arrays({3}) | st.integers() | st.floats()
SIZES = {"num_frames": integers(), "height": integers(), "width": integers()}
MAKERS = {
    "nlm": SIZES | {"start": words("noise", "zeros"), "gain": floats(), "static": booleans(), "learn_gain": booleans()},
    "pixels": SIZES | {"start": LEVEL, "noise": FROM_ZERO},
    "fourier": SIZES | {"exponent": floats(), "contrast": POSITIVE, "phases_only": booleans()},
    "low_rank": SIZES | {"rank": integers(1, 3), "contrast": POSITIVE},
    "drifting_gabor": {
        "display": NO_OBJECTS,
        "num_frames": integers(),
        "direction": floats(),
        "phase": floats(),
        "x": floats(),
        "y": floats(),
        "spatial_frequency": POSITIVE,
        "temporal_frequency": POSITIVE,
        "sigma": POSITIVE,
        "contrast": floats(above=0, most=1) | st.sampled_from([0, 1, 1.0]),
    },
    "masked": {
        "inner": NO_OBJECTS,
        "mask": arrays({2, 3}, *NUMBERS, bool) | NONE | st.integers() | st.floats(),
        "outside": GRAYS,
    },
    "between": {
        "inner": NO_OBJECTS,
        "before": FRAMES,
        "after": FRAMES,
    },
    "normalised": {
        "inner": NO_OBJECTS,
        "mean": floats(above=0, most=1, none=True) | st.sampled_from([0, 1, 1.0]),
        "contrast": floats(above=0, most=0.5, none=True),
    },
    "excitation": {"temperature": POSITIVE},
    "soft_minimum": {"sharpness": POSITIVE},
    "contrast": {"first": integers()},
    "pattern": {"patterns": arrays({2}, *NUMBERS, values=LEVELS[:3]) | NONE | st.just([[1], [2]])},
    "reconstruction": {"recorded": arrays({4}, *NUMBERS, values=LEVELS[:3]) | NONE},
    "feature": {
        "name": NO_TEXTS,
        "channel": integers(0),
        "stream": integers(0, none=True),
        "position": st.sampled_from([1, "ab", (1,), (1, 2, 3), {1, 2}, {}, (1, -1), (0.5, 1), (True, 1), [[1, 2]]])
        | st.tuples(integers(0), st.just(1)),
    },
    "custom": {
        "loss": NO_FUNCTIONS,
        "features": NO_NAMES,
        "data": st.sampled_from([1, 0.5, "a", b"a", Odd(), [np.zeros(2), "a"], {"a": 1.0}, [[1], [1, 2]], True])
        | st.sampled_from(["U1", "S1", "M8[s]", "m8[s]", object, [("a", float)]]).map(lambda d: {"a": np.zeros(1, d)}),
    },
    "roughness": {"spatial_std": FROM_ZERO, "temporal_std": FROM_ZERO},
    "total_variation": {"space": FROM_ZERO, "time": FROM_ZERO},
    "norm": {"gray": LEVEL},
    "range_": {"low": LEVEL, "high": LEVEL | st.floats(0, 0.04)},
    "spectral_slope": {"exponent": floats()},
    "weighted": {
        "penalties": TEXTS
        | NONE
        | st.integers()
        | NO_SCALARS.filter(len)
        | st.sampled_from([Odd(), {1, 2}, {"a": 1}, {abs: "a"}, {abs: -1}, [abs], [(1, abs, 2)], [[(1, abs)]]])
        | st.tuples(floats(0), st.just(abs)).map(lambda pair: [pair])
        | st.tuples(st.just(1.0), NO_FUNCTIONS).map(lambda pair: [pair]),
    },
    "jitter": {"pixels": integers(0)},
    "scaling": {"least": POSITIVE | st.floats(1.2, 1e9), "most": POSITIVE | st.floats(0, 0.8)},
    "noise": {"std": FROM_ZERO},
    "blur": {
        "values": NO_OBJECTS
        | shapes().filter(lambda shape: len(shape) != 3 or 0 in shape).map(jnp.zeros)
        | st.sampled_from(DTYPES).map(lambda dtype: np.zeros((2, 3, 4), dtype)),
        "spatial_std": FROM_ZERO,
        "temporal_std": FROM_ZERO,
        "cutoff": FROM_ZERO,
    },
}
INNER = synthesis.nlm(3, *SIZE)
REQUIRED = {
    name: dict(zip(SIZES, (3, *SIZE), strict=True)) for name, table in MAKERS.items() if SIZES.keys() <= table.keys()
}
REQUIRED |= {
    "low_rank": REQUIRED["low_rank"] | {"rank": 2},
    "drifting_gabor": {"display": DISPLAY, "num_frames": 3},
    "masked": {"inner": INNER, "mask": np.ones(SIZE)},
    "between": {"inner": INNER},
    "normalised": {"inner": INNER},
    "contrast": {"first": 1},
    "pattern": {"patterns": [[1, 2]]},
    "reconstruction": {"recorded": np.ones((1, 3, 1, 1))},
    "feature": {"name": "core", "channel": 0},
    "custom": {"loss": print},
    "weighted": {"penalties": []},
    "blur": {"values": np.zeros((2, 3, 4), np.float32)},
}


@pytest.mark.parametrize("name", MAKERS)
def test_synthesis(name):
    def make(**wrong):
        return getattr(synthesis, name)(**{**REQUIRED.get(name, {}), **wrong})

    make()
    for argument, strategy in MAKERS[name].items():
        check(make, argument, strategy)


def test_everything_of_synthesis_is_drawn():
    # They make nothing, or alike.
    others = {"synthesize", "influence", "write_report", "log_excitation", "mean_excitation", "inhibition"}
    assert MAKERS.keys() == {name for name in synthesis.__all__ if name.islower()} - others


DIRECTIONS = lists(floats(-360, most=360))
ONE = {
    "spatial_frequency": floats(0, most=1 / 6),  # of pixels of 3 degrees
    "temporal_frequency": floats(-15, most=15),
    "on_s": POSITIVE,
}
GRATINGS = ONE | {"directions": DIRECTIONS}
PROTOCOLS = {
    "direction": ONE
    | {
        "stimulus": words("monet2", "gratings"),
        "directions": integers(),
        "movies": integers(),
        "duration_s": POSITIVE,
        "seed": seeds(),
    },
    "frequency": {
        "directions": DIRECTIONS,
        "spatial_frequencies": lists(floats(0)),
        "temporal_frequencies": lists(floats(-15, most=15)),
        "on_s": POSITIVE,
    },
    "size": GRATINGS | {"center": points() | st.just((500, 0)), "diameters": lists(POSITIVE)},
    "contrast": GRATINGS | {"contrasts": lists(LEVEL)},
    "surround": GRATINGS
    | {"center": points() | st.just((500, 0)), "diameter": POSITIVE, "gap": FROM_ZERO | st.floats(50, 1e9)},
    "dots": {
        "positions": lists(points()).filter(lambda value: value is not None) | st.just([(0, 0), (500.0, 0)]),
        "sigma": POSITIVE,
        "on_s": POSITIVE,
        "repeats": integers(),
        "seed": seeds(),
    },
    "noise": {
        "check": POSITIVE,
        "rate_hz": floats(above=0, most=30),
        "lags": integers(1, 30),
        "movies": integers(),
        "duration_s": POSITIVE | st.floats(0, 0.3),
        "seed": seeds(),
    },
}
SHORT = {
    "direction": {"directions": 2, "movies": 1, "duration_s": 3, "spatial_frequency": 0.01},
    "frequency": {"directions": [0], "spatial_frequencies": [0.01], "temporal_frequencies": [2], "on_s": 0.1},
    "noise": {"movies": 1, "duration_s": 1},
    "dots": {"positions": [(0, 0)], "repeats": 1},
}
SHORT |= {
    name: {"directions": [0], "spatial_frequency": 0.01, "on_s": 0.1} for name in ("size", "contrast", "surround")
}
SINGULAR = {"spatial_frequencies": "spatial_frequency", "temporal_frequencies": "temporal_frequency"}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols(name):
    def make(**wrong):
        beside = {"stimulus": "gratings"} if name == "direction" and wrong.keys() & ONE.keys() else {}
        return protocols.PROTOCOLS[name](**{"display": DISPLAY, **SHORT[name], **beside, **wrong})

    make()
    check(make, "display", NO_OBJECTS)
    for argument, strategy in PROTOCOLS[name].items():
        check(make, argument, strategy, *filter(None, [SINGULAR.get(argument)]))


def test_readout_center(twin):
    def center(**wrong):
        return protocols.readout_center(**{"twin": twin, "display": DISPLAY, **wrong})

    check(center, "twin", NO_OBJECTS)
    check(center, "display", NO_OBJECTS)


def movie():
    return stimuli.gratings(DISPLAY, directions=[0], spatial_frequencies=[0.01], on_s=0.1)


def measure(protocol, responses):
    raise AssertionError("nothing is shown")


COLUMN = {
    "name": NO_TEXTS,
    "label": NO_TEXTS,
    "scale": words("linear", "discrete", "circular"),
    "limits": points().filter(lambda value: value is not None) | st.sampled_from([(1, 0), (1.0, 1.0)]),
    "fitted": booleans(),
}
PANEL = {"title": NO_TEXTS, "draw": NO_FUNCTIONS, "kind": words("curve", "polar", "field")}
PROTOCOL = {
    "name": NO_TEXTS,
    "display": NO_OBJECTS,
    "movies": lists(NO_OBJECTS) | st.just([movie, lambda: None]),
    "measure": NO_FUNCTIONS,
    "every_frame": booleans(),
    "panels": lists(NO_OBJECTS, empty=False),
    "summary": lists(NO_OBJECTS.filter(lambda value: not isinstance(value, str)), empty=False),
    "best_by": NO_TEXTS.filter(lambda value: value is not None),
}


def protocol(**wrong):
    return Protocol(**{"name": "own", "display": DISPLAY, "movies": [movie], "measure": measure, **wrong})


def with_panel(**wrong):
    return protocol(panels=[Panel(**{"title": "", "draw": measure, **wrong})])


def with_column(**wrong):
    return protocol(summary=[Column(**{"name": "fit", **wrong})])


@pytest.mark.parametrize(
    ("make", "table"), [(protocol, PROTOCOL), (with_panel, PANEL), (with_column, COLUMN)], ids=lambda each: ""
)
def test_protocol(make, table):
    make()
    for argument, strategy in table.items():
        check(make, argument, strategy)


BY_HAND = {
    "objective": (
        synthesis.Objective,
        {"loss": print},
        MAKERS["custom"] | {"check": NO_FUNCTIONS.filter(lambda value: value is not None)},
    ),
    "parameterisation": (
        synthesis.Parameterisation,
        INNER._asdict(),
        {name: NO_FUNCTIONS for name in ("init", "frames")}
        | {name: NO_FUNCTIONS.filter(lambda value: value is not None) for name in ("pixels", "project")},
    ),
}


@pytest.mark.parametrize("what", BY_HAND)
def test_put_together_by_hand(twin, monkeypatch, what):
    monkeypatch.setattr("fnn_jax.synthesis.optimisation.Problem", measure)
    kind, right, table = BY_HAND[what]

    def synthesize(**wrong):
        synthesis.synthesize(twin, [1], num_frames=3, burn_in=1, **{what: kind(**{**right, **wrong})})

    for argument, strategy in table.items():
        check(synthesize, argument, strategy)


RUN = {
    "twins": NO_OBJECTS,
    "perspectives": NO_OBJECTS.filter(lambda v: v is not None),
    "batch_size": integers(none=True),
}


@pytest.mark.parametrize("argument", RUN)
def test_protocol_run(twin, monkeypatch, argument):
    monkeypatch.setattr("fnn_jax.screen.screen.Predictor", measure)
    shown = Protocol("own", stimuli.Display.of(twin), [lambda: small_movie(twin)], measure)
    check(lambda **wrong: shown.run(**{"twins": twin, "progress": False, **wrong}), argument, RUN[argument])


def small_movie(twin):
    return stimuli.gratings(stimuli.Display.of(twin), directions=[0], spatial_frequencies=[0.01], on_s=0.1)


def shown(parameterisation):
    return jax.eval_shape(parameterisation.frames, jax.eval_shape(parameterisation.init, jax.random.key(0)))


def loss(**arguments):
    features = {"core": jnp.zeros((3, 1, 2, 4, 5, 6)), "readout": jnp.zeros((3, 1, 2, 7))}
    objective = synthesis.feature(**{"name": "core", "channel": 0, **arguments})
    return objective.loss(synthesis.Seen(jnp.ones((3, 1, 7)), jnp.zeros((3, 1, 7)), features), None)


# What one argument alone does not tell.
FOUND = {
    "a mask of another size": (lambda: shown(synthesis.masked(INNER, np.ones((5, 5)))), "mask has the shape"),
    "an outside of more frames": (
        lambda: shown(synthesis.masked(INNER, np.ones(SIZE), np.zeros((4, *SIZE)))),
        "outside has the shape",
    ),
    "frames of another size": (lambda: shown(synthesis.between(INNER, after=np.zeros((1, 5, 5)))), "after has the"),
    "integers that may be any levels": (lambda: synthesis.masked(INNER, np.ones(SIZE), np.ones(SIZE, int)), "outside"),
    "a spectrum of one pixel": (lambda: synthesis.fourier(1, 1, 1), "num_frames, height and width are 1"),
    "a stream that is not there": (lambda: loss(stream=2), "stream is 2; core has 2"),
    "a position in what is no map": (lambda: loss(name="readout", position=(0, 0)), r"position is \(0, 0\); readout"),
    "directions in the burn-in": (
        lambda: protocols.direction_tuning(DISPLAY, directions=16, duration_s=10),
        "duration_s is 10; expected at least 17.8 s for 16 directions",
    ),
    "more lags than frames": (lambda: protocols.noise_receptive_field(DISPLAY, duration_s=1, lags=31), "lags is 31"),
    "no surround": (lambda: protocols.surround_tuning(DISPLAY, gap=50), "gap is 50 and diameter 20.0"),
}


@pytest.mark.parametrize("what", FOUND)
def test_found(what):
    make, message = FOUND[what]
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        make()


def test_odd_ones_that_are_right():
    assert shown(synthesis.masked(INNER, np.eye(*SIZE) > 0, np.uint8(100))).shape == (3, *SIZE)
    assert shown(synthesis.masked(synthesis.nlm(np.int64(3), *SIZE), np.ones((1, *SIZE), int), 1)).shape == (3, *SIZE)
    assert shown(synthesis.between(INNER, jnp.ones((2, *SIZE)), np.zeros((1, *SIZE)).tolist())).shape == (6, *SIZE)
    assert synthesis.pattern(np.array([[1, 2]], np.int8)).data.dtype == np.float32
    assert loss(stream=np.int64(1), position=np.array([3, 4])).shape == ()
    places = ((x, 0) for x in (-5, 5))
    assert len(protocols.dot_receptive_field(DISPLAY, places, repeats=2, seed=np.uint8(255)).conditions) == 8

    @jax.jit
    def frames(diameter):  # a mask that is learned
        made = synthesis.masked(INNER, stimuli.aperture(DISPLAY, diameter=diameter))
        return made.frames(made.init(jax.random.key(0)))

    assert frames(20.0).shape == (3, *SIZE)
