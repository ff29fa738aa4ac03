"""Wrong arguments, drawn at random: each is refused by its name, before any work is done, and never answered.

What is wrong with an argument depends on its kind alone, so every kind has a strategy of wrong values, and every entry
point a table of the kinds of its arguments. All others than the one that is wrong are valid.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from recordings import arrays, write_recording
from wrong import (
    BOOLEANS,
    FRAMES,
    HEIGHT,
    HUGE,
    JUNK,
    NO_SCALARS,
    NONE,
    RIGHT_FRAMES,
    RIGHT_VIDEOS,
    SIZE,
    STREAMS,
    TEXTS,
    UNITS,
    VIDEO,
    WIDTH,
    Odd,
    booleans,
    check,
    floats,
    integers,
    no_trace,
    no_video,
    paths,
    seeds,
    words,
)

from fnn_jax import Screen, stimuli
from fnn_jax.evaluation import evaluate
from fnn_jax.screen import Stimulus
from fnn_jax.synthesis import synthesize
from fnn_jax.training import Recipe, train


@pytest.fixture
def nothing_is_computed(monkeypatch):
    def compute(*arguments, **options):
        raise AssertionError("a wrong argument got as far as the work")

    for name in (
        "twin.network_calls.compiled_rollout",
        "twin.threads.rollout",
        "screen.screen.Predictor",
        "synthesis.optimisation.Problem",
        "training.loop.Steps",
    ):
        monkeypatch.setattr(f"fnn_jax.{name}", compute)


RUN = {
    "periphery": words("dark", "extend"),
    "stream": integers(0, STREAMS - 1, none=True),
    "precision": words("float32", "tensorfloat32", "bfloat16"),
}
CHUNKS = {"chunk_frames": integers(none=True)}
INPUTS = {
    "stimuli": no_video(*RIGHT_VIDEOS),
    "perspectives": no_trace((FRAMES, 2), *((FRAMES, n, 2) for n in (1, 2, 3, 5, HEIGHT, WIDTH))),
    "modulations": no_trace((FRAMES, 2), *((FRAMES, n, 2) for n in (1, 2, 3, 5, HEIGHT, WIDTH))),
}
# No names at all are no features, so only names that are wrong.
NAMES = st.lists(words("core", "readout"), min_size=1, max_size=3) | TEXTS | NONE | st.integers() | st.just(Odd())
OUTPUT = {"output": words("numpy", "jax")}
CHANGES = (JUNK | TEXTS | st.integers() | BOOLEANS | NO_SCALARS).filter(
    lambda value: not isinstance(value, dict) or value
)
CHANGES |= st.sampled_from([{"core": 1}, {"core": None}, {1: abs}, {"corre": abs}, {"recurrent.*": abs}, {"": abs}])
METHODS = {
    "predict": INPUTS | RUN | CHUNKS | OUTPUT | {"progress": booleans(none=True), "interventions": CHANGES},
    "features": INPUTS | RUN | CHUNKS | OUTPUT | {"progress": booleans(none=True), "names": NAMES},
    "chunks": INPUTS | RUN | CHUNKS | {"names": NAMES},
    "rollout": INPUTS | RUN | {"key": JUNK | TEXTS | BOOLEANS | st.integers() | NO_SCALARS},
    "init_state": {"batch": integers()},
    "step": {
        "state": JUNK | TEXTS | NONE | st.integers() | NO_SCALARS,
        "frame": no_video(*RIGHT_FRAMES, base=SIZE),
        "perspective": no_trace((2,), (1, 2)),
        "modulation": no_trace((2,), (1, 2)),
        "periphery": RUN["periphery"],
        "stream": RUN["stream"],
        "output": OUTPUT["output"],
    },
}
VALID = {"features": {"names": ["core"]}, "step": {"frame": VIDEO[0]}, "init_state": {}}


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize(("method", "argument"), [(m, a) for m, table in METHODS.items() for a in table])
def test_twin(twin, method, argument):
    valid = {"stimuli": VIDEO} if "stimuli" in METHODS[method] else {}
    valid |= VALID.get(method, {}) | ({"state": twin.init_state()} if method == "step" else {})
    synonyms = ("features",) if argument == "names" else ()
    check(lambda **wrong: getattr(twin, method)(**{**valid, **wrong}), argument, METHODS[method][argument], *synonyms)


IDS = JUNK | TEXTS | st.floats() | st.integers(max_value=-1) | st.integers(min_value=UNITS) | HUGE
IDS |= st.sampled_from(
    [[0, 0], [0, 1, UNITS], [[0, 1], [2, 3]], ["a"], [0.0], [True, False], [1, "a"], [None], [[0], [1, 2]]]
)
IDS |= st.lists(st.booleans(), max_size=UNITS - 1) | st.just([False] * UNITS)
TABLES = st.sampled_from(
    [
        pd.DataFrame({"unit_id": [1]}),
        pd.DataFrame({"readout_id": ["a"]}),
        pd.DataFrame({"readout_id": [1.5]}),
        pd.DataFrame({"readout_id": [1, 1]}),
        pd.DataFrame({"readout_id": [99]}),
        pd.DataFrame({"session": [1], "scan_idx": [1]}),
        pd.DataFrame({"session": [1], "scan_idx": [1], "unit_id": [1]}),
        pd.Series([True, False]),
        pd.Series([True] * UNITS, index=range(1, UNITS + 1)),
        pd.Series([1.5]),
        pd.Series([None] * UNITS, dtype="boolean"),
        pd.Series(["a"]),
        pd.MultiIndex.from_tuples([(1, 2, 3)]),
        pd.Index([99]),
    ]
)


@pytest.mark.parametrize("argument", ["units", "unit_ids"])
def test_select(twin, argument):
    check(twin.select, argument, IDS | TABLES)


SCREEN = RUN | {
    "twins": JUNK | TEXTS | NONE | st.integers() | NO_SCALARS,
    "reduce": (JUNK | words("mean", "max")).filter(lambda value: value is not None and not callable(value)),
    "intervals": JUNK
    | TEXTS
    | st.integers()
    | st.floats()
    | st.sampled_from([(3, 3), (-1, 2), [(0, 1), (2, 1)], (0.0, 1.0), [(0, 2), (1,)]]),
    "features": st.lists(words("core", "readout"), min_size=1, max_size=3) | TEXTS | st.integers() | st.just(Odd()),
    "responses": booleans(),
    "interventions": CHANGES,
    "batch_size": integers(none=True),
    "chunk_frames": integers(none=True),
    "devices": JUNK | TEXTS | NO_SCALARS | st.integers() | st.just([jax.devices()[0]] * 2),
    "errors": words("record", "raise"),
    "progress": booleans(none=True),
}


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("argument", SCREEN)
def test_screen(twin, argument):
    valid = {"twins": twin} | ({"reduce": "mean"} if argument == "intervals" else {})
    check(lambda **wrong: Screen(**{**valid, **wrong}), argument, SCREEN[argument])


STIMULI = no_video(*((s, *r) for r in (SIZE, (*SIZE, 1)) for s in ((1, 1),))).filter(
    lambda value: not (isinstance(value, np.ndarray | jax.Array) and value.ndim > 3 and value.shape[2:4] == SIZE)
)
SHOWN = {
    "stimuli": STIMULI
    | st.sampled_from([[], {}, [VIDEO[0]], [None], {"a": Odd()}, [Stimulus(None)], Stimulus(VIDEO), (), ["none.mp4"]]),
    "out": paths(),
    "ids": st.sampled_from(
        ["ab", b"ab", 5, 0.5, Odd(), ["a"], ["a", "a"], ["a", None], [1.5, 2], [[], []], "a", ["a", "b", "c"]]
    ),
    "perspectives": no_trace((2,), (FRAMES, 2))
    | st.sampled_from([{}, {"a": np.zeros(2)}, {"0": np.zeros(2), "1": 1}, np.zeros((3, FRAMES, 2))])
    | st.just(dict.fromkeys("012", np.zeros(2))),
    "modulations": no_trace((2,), (FRAMES, 2))
    | st.sampled_from([{}, {"a": np.zeros(2)}, {"0": np.zeros(2), "1": "a"}, [np.zeros((FRAMES, 2))]])
    | st.just(dict.fromkeys("01A", np.zeros(2))),
    "fit": words("crop", "pad", "stretch"),
}


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("argument", SHOWN)
def test_screen_call(twin, argument):
    screen = Screen(twin, progress=False)
    check(lambda **wrong: screen(**{"stimuli": [VIDEO, VIDEO], **wrong}), argument, SHOWN[argument])


SYNTHESIS = {
    "twin": JUNK | NONE | TEXTS,
    "targets": IDS.filter(lambda ids: ids not in ([0, 0], [[0, 1], [2, 3]]) if isinstance(ids, list) else True)
    | NONE
    | st.sampled_from([[], [[]], [[0, 1], [2]], 1]),
    "objective": (JUNK | TEXTS | st.integers()).filter(lambda value: value is not None),
    "parameterisation": JUNK | TEXTS | st.integers(),
    "num_frames": integers(),
    "steps": integers(),
    "optimizer": JUNK | TEXTS | st.integers() | BOOLEANS,
    "penalties": TEXTS
    | NONE
    | st.integers()
    | NO_SCALARS.filter(len)
    | st.sampled_from([Odd(), {"a": 1}, {1, 2}, [None]])
    | st.sampled_from(
        [[(1, "a")], [(-1.0, abs)], [("a", abs)], [(np.nan, abs)], [(1, abs, 2)], {abs: "a"}, [(True, abs)]]
    ),
    "transforms": TEXTS
    | st.integers()
    | NONE
    | st.sampled_from([[1], ["a"], [abs, None], Odd(), {"a": 1}, np.array(1)]),
    "burn_in": integers(0, 3),
    "perspectives": no_trace((2,), (4, 2), *((4, n, 2) for n in (1, 2, 3, 5, HEIGHT, WIDTH))),
    "modulations": no_trace((2,), (4, 2), *((4, n, 2) for n in (1, 2, 3, 5, HEIGHT, WIDTH))),
    "learn_behaviour": booleans(),
    "sample_stream": booleans(),
    "num_stimuli": integers(),
    "diversity": floats(0),
    "tolerance": floats(0, none=True),
    "periphery": RUN["periphery"],
    "precision": RUN["precision"],
    "interventions": CHANGES,
    "remat": booleans(none=True),
    "batch_size": integers(none=True),
    "devices": SCREEN["devices"],
    "seed": integers(0, 2**32 - 1),
    "out": paths(),
    "progress": booleans(none=True),
}


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("argument", SYNTHESIS)
def test_synthesize(twin, argument):
    valid = {"twin": twin, "targets": [1], "num_frames": 4, "burn_in": 1, "steps": 1}
    check(lambda **wrong: synthesize(**{**valid, **wrong}), argument, SYNTHESIS[argument])


WHOLE = {field.name: field.default for field in dataclasses.fields(Recipe)}
PARTS = st.lists(JUNK | NONE | st.integers(), min_size=1, max_size=3) | st.sampled_from(
    [None, 1, 0.5, Odd(), b"core", {}]
)
ENTRIES = {
    name: seeds() if name == "seed" else booleans() if isinstance(default, bool) else integers(least)
    for name, default in WHOLE.items()
    if isinstance(default, int)
    for least in [0 if name in ("warmup_epochs", "validation_batches", "burn_in") else 1]
}
ENTRIES |= {
    name: floats(above=0) if name in ("learning_rate", "clip_floor") else floats(0)
    for name, default in WHOLE.items()
    if isinstance(default, float)
}
ENTRIES |= {
    "clip": floats(above=0).filter(lambda value: not (isinstance(value, float) and value == np.inf)),
    "momentum": floats(0) | st.floats(min_value=1),
    "decorrelation_rate": floats(0) | st.floats(min_value=1),
    "patience": integers(none=True),
    "train": PARTS | st.sampled_from([[], ()]),
    "transfer": PARTS,
    "without": PARTS | st.lists(words("perspective", "modulation"), min_size=1),
    "optimizer": JUNK | NONE | st.integers() | NO_SCALARS,
    "missing": words("mean", "drop", "error"),
    "precision": RUN["precision"],
}


def test_every_entry_of_a_recipe_is_drawn():
    assert ENTRIES.keys() == WHOLE.keys()


@pytest.mark.parametrize("entry", ENTRIES)
def test_recipe(entry):
    check(lambda **wrong: Recipe.from_dict(wrong), entry, ENTRIES[entry])


def test_no_recipe():
    check(
        Recipe.from_dict,
        "values",
        TEXTS | NONE | st.integers() | NO_SCALARS | st.sampled_from([Odd(), {1, 2}, b"", [("epochs", 1)]]),
    )
    check(
        lambda entry: Recipe.from_dict({entry: 1}),
        "entry",
        st.text().filter(lambda text: text not in ENTRIES) | st.integers() | NONE | st.tuples() | st.just(b"epochs"),
    )


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("fuzz") / "training_data")


NO_OBJECTS = JUNK | TEXTS | st.integers() | NO_SCALARS
TRAINING = {
    "data": paths() | NONE | st.sampled_from([{}, {"a/b": "x"}, {1: "x"}, {"a": 5}, "missing folder"]),
    "out": paths() | NONE,
    "start": NO_OBJECTS,
    "recipe": NO_OBJECTS,
    "config": NO_OBJECTS,
    "name": (JUNK | NONE | st.integers() | st.sampled_from(["", "a/b", "\0", "ä b", "../x"])),
    "units": NO_OBJECTS | st.just(pd.DataFrame({"a": [1]})),
    "optimizer": NO_OBJECTS,
    "devices": SCREEN["devices"],
    "accept_scaling": booleans(),
    "checkpoint_minutes": floats(0),
    "progress": booleans(none=True),
}


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("argument", TRAINING)
def test_train(twin, recording, tmp_path, argument):
    valid = {"data": recording, "out": tmp_path / "out", "start": twin, "recipe": Recipe(window_frames=8, burn_in=2)}
    check(lambda **wrong: train(**{**valid, **wrong}), argument, TRAINING[argument])
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def repeats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "evaluation_data"
    for number in range(2):
        for kind, array in arrays(units=UNITS).items():
            (folder / kind / "video").mkdir(parents=True, exist_ok=True)
            np.save(folder / kind / "video" / f"repeat{number}.npy", array)
    return folder


EVALUATION = {
    "twin": JUNK | NONE | TEXTS,
    "data": paths() | NONE | st.sampled_from([5, "missing folder"]),
    "units": IDS | TABLES,
    "burn_in": integers(0, 22),
    "behaviour": booleans(),
    "periphery": RUN["periphery"],
    "precision": RUN["precision"],
    "batch_size": integers(none=True),
    "devices": SCREEN["devices"],
    "progress": booleans(none=True),
}


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("argument", EVALUATION)
def test_evaluate(twin, repeats, argument):
    check(lambda **wrong: evaluate(**{"twin": twin, "data": repeats, **wrong}), argument, EVALUATION[argument])


def state_of_two_batches(twin):
    one, two = twin.init_state(), twin.init_state(2)
    return one._replace(core=two.core)


# What was refused badly once: by another error, without a name, too late, or not at all.
FOUND = {
    "an array as a stream": (lambda twin: twin.predict(VIDEO, stream=np.array(1.5)), "stream is array"),
    "a list as progress": (lambda twin: twin.predict(VIDEO, progress=[]), r"progress is \[\]"),
    "more frames than memory has addresses": (lambda twin: twin.predict(VIDEO, chunk_frames=2**70), "chunk_frames is"),
    "an option of chunks": (lambda twin: twin.chunks(VIDEO, periphery="gray"), "periphery is 'gray'"),
    "an array as names": (lambda twin: twin.features(VIDEO, np.array(1)), "names is"),
    "a small frame": (lambda twin: twin.step(twin.init_state(), np.zeros((5, 5))), r"frame has the shape \[5, 5\]"),
    "a long trace of a frame": (
        lambda twin: twin.step(twin.init_state(), VIDEO[0], np.zeros(3)),
        r"perspective has the shape \[3\]",
    ),
    "a state of two batches": (lambda twin: twin.step(state_of_two_batches(twin), VIDEO[0]), "state is NetworkState"),
    "a word as a key": (lambda twin: twin.rollout(VIDEO, key="a"), "key is 'a'"),
    "units in rows of several lengths": (lambda twin: twin.select([[0], [1, 2]]), "units is"),
    "no units": (lambda twin: twin.select([]), "units selects no unit"),
    "no twins": (lambda twin: Screen(None), "twins is None"),
    "a pair and a single": (lambda twin: Screen(twin, reduce="mean", intervals=[(0, 2), (1,)]), "intervals is"),
    "a trace of no stimulus": (
        lambda twin: Screen(twin)([VIDEO], modulations={"0": np.zeros(2), "O": np.zeros(2)}),
        r"modulations has traces of ids that no stimulus has: \['O'\]",
    ),
    "a number of devices": (lambda twin: Screen(twin, devices=2), "devices is 2"),
    "one text as ids": (lambda twin: Screen(twin)([VIDEO, VIDEO], ids="ab"), "ids is 'ab'"),
    "fit of arrays": (lambda twin: Screen(twin)([VIDEO], fit="cut"), "fit is 'cut'"),
    "a number as a folder": (lambda twin: Screen(twin)([VIDEO], 5), "out is 5"),
    "a user that does not exist": (lambda twin: Screen(twin)([VIDEO], "~nobody-of-this-name/x.zarr"), "out is"),
    "a set of traces": (lambda twin: Screen(twin)([VIDEO], perspectives={1, 2}), "perspectives is"),
    "a trace that is missing": (
        lambda twin: Screen(twin)([VIDEO], perspectives={"a": np.zeros(2)}),
        "perspectives has no trace of this id",
    ),
    "a duration as an integer": (lambda twin: twin.init_state(np.timedelta64(3, "s")), "batch is"),
    "a duration as a number": (lambda twin: stimuli.pink_noise(PIXELS, contrast=np.timedelta64(3, "s")), "contrast is"),
    "an integer that no float holds": (lambda twin: stimuli.pink_noise(PIXELS, contrast=10**400), "contrast is 1000"),
    "an integer that cannot be shown": (
        lambda twin: stimuli.pink_noise(PIXELS, seed=10**5000),
        "seed is of the type int",
    ),
    "an edge without an aperture": (lambda twin: stimuli.grating(PIXELS, edge="soft"), "edge is 'soft'"),
    "a phase that is no number": (lambda twin: stimuli.grating(PIXELS, phase=np.nan), "phase is nan"),
    "a sigma of movies": (lambda twin: stimuli.gabors(PIXELS, sigma="a"), "sigma is 'a'"),
    "a seed of frames to come": (lambda twin: stimuli.white_noise(PIXELS, seed=-1), "seed is -1"),
    "no display": (lambda twin: stimuli.blank(None), "display is None"),
    "intervals that are no table": (lambda twin: stimuli.Movie.of(VIDEO, [(0, 1)]), "intervals is"),
    "movies that are none": (lambda twin: stimuli.concatenate([VIDEO]), "movies holds"),
    "no objects to synthesise": (lambda twin: synthesize(twin, [1], remat="yes"), "remat is 'yes'"),
    "a text of penalties": (lambda twin: synthesize(twin, [1], penalties=""), "penalties is ''"),
    "no recipe": (lambda twin: Recipe.from_dict(None), "values is None"),
    "an entry that is no name": (lambda twin: Recipe.from_dict({1: 1}), "the recipe has the entry 1"),
    "an optimiser in a recipe": (lambda twin: Recipe(optimizer=5), "optimizer is 5"),
    "an endless learning rate": (lambda twin: Recipe(learning_rate=np.inf), "learning_rate is inf"),
    "parts in a list of numbers": (lambda twin: Recipe(train=[1]), "train holds 1"),
    "a mapping as a name": (lambda twin: train("data", "out", name={}), "name is"),
    "an index as a device": (lambda twin: train("data", "out", devices=[0]), "devices holds 0"),
    "a number as a recording": (lambda twin: evaluate(twin, 5), "data is 5"),
}
PIXELS = stimuli.Display.in_pixels(*SIZE)


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("what", FOUND)
def test_found(twin, what):
    call, message = FOUND[what]
    with pytest.raises((TypeError, ValueError), match=f"^{message}|: {message}"):
        call(twin)


def test_odd_ones_that_are_right(twin):
    plain = twin.predict(VIDEO, stream=1)
    options = {"stream": np.int64(1), "chunk_frames": np.uint8(8), "progress": np.False_}
    np.testing.assert_array_equal(twin.predict(list(VIDEO), **options), plain)
    np.testing.assert_array_equal(twin.predict(VIDEO, stream=jnp.array(1)), plain)
    expected = stimuli.grating(PIXELS, direction=90.0, num_frames=2)
    for number in (90, np.float32(90), np.array(90.0), jnp.array(90.0)):
        np.testing.assert_allclose(
            stimuli.grating(PIXELS, direction=number, num_frames=np.int8(2)), expected, atol=1e-4
        )
    assert stimuli.gratings(PIXELS, directions=np.arange(0, 90, 45), repeats=np.int64(2)).num_frames == 4 * 90
    assert stimuli.gratings(PIXELS, directions=jnp.array([0.0, 45.0])).num_frames == 2 * 90
    assert stimuli.flashes(PIXELS, (each for each in (0, 1))).num_frames == 120
    assert Recipe.from_dict({"epochs": np.int32(20), "clip": np.inf, "train": {"readout"}}).train == ("readout",)
