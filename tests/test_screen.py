"""Screens in memory: forms of stimuli, reductions, several twins, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from disturbed import small

from fnn_jax import Screen, Stimulus, Twin
from fnn_jax.demo import random_network
from fnn_jax.screen import predictor, reduction, source
from fnn_jax.twin import network_calls, threads

COUNT, FRAMES = 6, 11


@pytest.fixture(scope="module", autouse=True)
def one_program():
    """As screens have it, to the bit: with the streams in threads of their own ``predict`` rounds differently."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def videos():
    return np.random.default_rng(0).integers(0, 256, (COUNT, FRAMES, 18, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def traces():
    return np.random.default_rng(1).standard_normal((2, COUNT, FRAMES, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(twin, videos, one_program):
    """What the same batch size gives through ``predict``."""
    pairs = [twin.predict(videos[i : i + 2].swapaxes(0, 1)[..., None]) for i in range(0, COUNT, 2)]
    return np.concatenate(pairs, axis=1).swapaxes(0, 1)


@pytest.fixture(scope="module")
def screen(twin):
    return Screen(twin, batch_size=2)


def test_a_screen_is_a_loop_of_predict(screen, videos, expected):
    dataset = screen(videos)
    assert dataset.responses.dims == ("stimulus", "time", "unit")
    np.testing.assert_array_equal(dataset.responses, expected)
    assert dataset.stimulus.values.tolist() == list("012345")
    assert dataset.frames.values.tolist() == [FRAMES] * COUNT and (dataset.done == 1).all()
    assert dataset.readout_id.values.tolist() == list(range(7)) and set(dataset.scan.values) == {"twin"}


def test_forms_of_stimuli_agree(screen, videos, expected, tmp_path):
    np.save(tmp_path / "videos.npy", videos)
    (tmp_path / "folder").mkdir()
    for index, video in enumerate(videos):
        np.save(tmp_path / "folder" / f"clip{index}.npy", video)
    lazily = type("Lazily", (), {"__len__": lambda self: COUNT, "__getitem__": lambda self, i: videos[i]})()
    names = [f"clip{i}" for i in range(COUNT)]
    forms = {
        "with a channel": videos[..., None],
        "file": tmp_path / "videos.npy",
        "folder": str(tmp_path / "folder"),
        "paths": sorted((tmp_path / "folder").iterdir()),
        "list": list(videos),
        "mapping": dict(zip(names, videos, strict=True)),
        "generator": (video for video in videos),
        "lazily": lazily,
        "stimuli": [Stimulus(video, id=name) for name, video in zip(names, videos, strict=True)],
    }
    for form, stimuli in forms.items():
        dataset = screen(stimuli)
        np.testing.assert_array_equal(dataset.responses, expected, err_msg=form)
        files = [f"{name}.npy" for name in names]
        named = {"folder": files, "paths": files, "mapping": names, "stimuli": names}
        assert dataset.stimulus.values.tolist() == named.get(form, list("012345"))
    assert screen(videos, ids=names).stimulus.values.tolist() == names


def test_lengths_may_differ(screen, videos, expected):
    lengths = [3, 11, 8, 9, 1, 11]
    dataset = screen([video[:length] for video, length in zip(videos, lengths, strict=True)])
    assert dataset.frames.values.tolist() == lengths
    for responses, whole, length in zip(dataset.responses.values, expected, lengths, strict=True):
        np.testing.assert_allclose(responses[:length], whole[:length], rtol=1e-6)  # other places in their batches
        assert np.isnan(responses[length:]).all()


def test_floats_and_uint8_in_one_screen(screen, videos, expected):
    mixed = [videos[0], videos[1] / np.float32(255), videos[2]]
    responses = screen(mixed).responses.values
    np.testing.assert_allclose(responses, expected[:3], rtol=1e-5)


def test_behaviour_shared_or_of_each(twin, screen, videos, traces):
    eye, run = traces
    each = np.stack([twin.predict(*arrays) for arrays in zip(videos, eye, run, strict=True)])
    names = [str(i) for i in range(COUNT)]
    for perspectives, modulations in (
        (eye, run),
        (list(eye), dict(zip(names, run, strict=True))),
    ):
        got = screen(videos, perspectives=perspectives, modulations=modulations).responses
        np.testing.assert_allclose(got, each, rtol=1e-5)
    own = [Stimulus(*arrays) for arrays in zip(videos, names, eye, run, strict=True)]
    np.testing.assert_allclose(screen(own).responses, each, rtol=1e-5)
    shared = screen(videos[:2], perspectives=eye[0], modulations=[0.5, -1.0]).responses
    constant = np.broadcast_to(np.float32([0.5, -1.0]), (FRAMES, 2))
    np.testing.assert_allclose(shared[1], twin.predict(videos[1], eye[0], constant), rtol=1e-5)


@pytest.mark.parametrize(("reduce", "function"), [("mean", np.mean), ("max", np.max)])
def test_reductions(twin, videos, expected, reduce, function):
    whole = Screen(twin, reduce=reduce, batch_size=2)(videos).responses
    assert whole.dims == ("stimulus", "unit")
    np.testing.assert_allclose(whole, function(expected, axis=1), rtol=1e-6)
    part = Screen(twin, reduce=reduce, intervals=(2, 9), batch_size=2)(videos).responses
    np.testing.assert_allclose(part, function(expected[:, 2:9], axis=1), rtol=1e-6)
    two = Screen(twin, reduce=reduce, intervals=[(0, 3), (7, 11)], batch_size=2)(videos).responses
    assert two.dims == ("stimulus", "interval", "unit")
    np.testing.assert_allclose(two[:, 1], function(expected[:, 7:], axis=1), rtol=1e-6)


def test_intervals_of_a_stimulus(twin, videos, expected):
    stimuli = [Stimulus(videos[0]), Stimulus(videos[1], intervals=(4, 6))]
    responses = Screen(twin, reduce="mean", intervals=(0, 3), batch_size=2)(stimuli).responses
    np.testing.assert_allclose(responses[0], expected[0, :3].mean(0), rtol=1e-6)
    np.testing.assert_allclose(responses[1], expected[1, 4:6].mean(0), rtol=1e-6)


def test_a_function_of_the_user(twin, videos, expected):
    def spread(responses):
        return jnp.stack([responses.std(0), responses.min(0)])

    responses = Screen(twin, reduce=spread, intervals=[(0, 4), (4, 11)], batch_size=2)(videos).responses
    assert responses.dims == ("stimulus", "interval", "axis0", "unit")
    np.testing.assert_allclose(responses[:, 1, 0], expected[:, 4:].std(1), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(responses[:, 0, 1], expected[:, :4].min(1))


def test_several_twins_share_one_program(twin, videos, expected):
    key = {"session": 8, "scan_idx": 5, "unit_id": np.arange(3)}
    table = pd.DataFrame(key, index=pd.RangeIndex(3, name="readout_id"))
    other = Twin(random_network(small(3), seed=5), table, name="8-5")
    compiled = network_calls.compiled_rollout._cache_size()
    both = Screen([twin, other], batch_size=2)(videos)
    assert network_calls.compiled_rollout._cache_size() <= compiled + 1
    np.testing.assert_array_equal(both.responses[..., :7], expected)
    alone = np.stack([other.predict(video) for video in videos])
    np.testing.assert_allclose(both.responses[..., 7:], alone, rtol=1e-5)
    assert both.scan.values.tolist() == ["twin"] * 7 + ["8-5"] * 3
    np.testing.assert_array_equal(both.unit_id, [np.nan] * 7 + [0, 1, 2])
    selected = Screen([twin, other.select([2])], batch_size=2)(videos[:2])
    np.testing.assert_allclose(selected.responses[..., 7], alone[:2, :, 2], rtol=1e-5)


def test_stream_and_periphery_are_those_of_predict(twin, videos):
    options = {"stream": 1, "periphery": "extend"}
    responses = Screen(twin, batch_size=1, **options)(videos[:2]).responses
    np.testing.assert_array_equal(responses, [twin.predict(video, **options) for video in videos[:2]])


def test_a_changed_network_is_seen(videos):
    twin = Twin(random_network(small(3)))
    screen = Screen(twin, batch_size=2)
    before = screen(videos[:2]).responses
    twin.network.readout.feature.bias[...] += 1
    np.testing.assert_allclose(screen(videos[:2]).responses, before * np.e, rtol=1e-5)


def test_what_can_be_known_stops_before_the_start(screen, videos, monkeypatch, tmp_path):
    monkeypatch.setattr(predictor.Predictor, "results", lambda *_: pytest.fail("it has begun"))
    (tmp_path / "bad.npy").write_bytes(b"no array")
    np.save(tmp_path / "good.npy", videos[0])
    for stimuli, options, message in (
        (
            [videos[0], videos[1][:, :5]],
            {},
            r"1 of 2 stimuli cannot be shown:\n  1: stimuli has the shape \[11, 5, 32\]",
        ),
        ({"a": videos[0], "b": videos[1].astype(int)}, {}, "b: stimuli has the dtype int64"),
        ([tmp_path / "good.npy", tmp_path / "bad.npy"], {}, "1 of 2 stimuli cannot be shown:\n  bad.npy: .*bad.npy"),
        (videos[0], {}, r"one video; expected .* Use stimuli\[None\]"),
        (videos[:, :, :5], {}, r"stimuli has the shape \[6, 11, 5, 32\]; expected \[S, T, 18, 32\]"),
        ([], {}, "stimuli holds none"),
        (videos, {"ids": ["a"] * 6}, r"ids has names more than once: \['a'\]"),
        (videos, {"ids": ["a"]}, "ids holds 1 names for 6 stimuli"),
        (videos, {"perspectives": np.zeros((5, FRAMES, 2))}, "perspectives holds 5 traces for 6 stimuli"),
        (videos, {"perspectives": np.zeros((4, 2))}, "perspectives has 4 frames and stimuli has 11"),
        (videos, {"modulations": {"0": np.zeros(2)}}, "modulations has no trace of this id"),
        (
            videos,
            {"perspectives": {**{i: np.zeros(2) for i in range(COUNT)}, "clip 6": np.zeros(2)}},
            r"perspectives has traces of ids that no stimulus has: \['clip 6'\]; the stimuli are \['0', '1', .* and more",
        ),
        (
            {"a": videos[0]},
            {"modulations": {"a": np.zeros(2), "A": np.zeros(2)}},
            r"modulations has traces of ids that no stimulus has: \['A'\]; the stimuli are \['a'\]\.",
        ),
        (tmp_path / "none", {}, "none"),
        ((v for v in ()), {}, "stimuli holds none"),
    ):
        with pytest.raises((TypeError, ValueError, OSError), match=message):
            screen(stimuli, **options)


def test_what_turns_out_wrong_is_recorded_and_the_rest_goes_on(twin, screen, videos, expected):
    bad = videos[1] / np.float32(255)
    bad[3] = np.nan
    stimuli = [videos[0], bad, videos[2]]
    with pytest.warns(UserWarning, match="1 stimuli could not be shown and are NaN .1: stimuli holds the value nan"):
        dataset = screen(stimuli)
    np.testing.assert_allclose(dataset.responses[[0, 2]], expected[[0, 2]], rtol=1e-6)
    assert np.isnan(dataset.responses[1]).all() and dataset.done.values.tolist() == [1, 2, 1]
    assert "frame 3" in str(dataset.error.values[1])
    with pytest.raises(ValueError, match="stimulus 1: stimuli holds the value nan in frame 3"):
        Screen(twin, errors="raise")(stimuli)
    with pytest.raises(ValueError, match="None of 1 stimuli can be shown:\n  0: stimuli holds the value nan"):
        screen([bad])


def test_out_of_memory_goes_on_in_smaller_batches(twin, videos, expected, monkeypatch):
    real = predictor.compiled_rollout

    def small(leaves, state, inputs, stream, **options):
        if inputs.perspectives.shape[1] > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
        return real(leaves, state, inputs, stream, **options)

    monkeypatch.setattr(predictor, "compiled_rollout", small)
    with pytest.warns(
        UserWarning, match="Out of memory: the screen goes on in batches of [31]. Give batch_size="
    ) as warned:
        responses = Screen(twin, batch_size=6)(videos).responses
    assert len(warned) == 2
    np.testing.assert_allclose(responses, expected, rtol=1e-5)
    monkeypatch.setattr(predictor, "compiled_rollout", lambda *a, **k: small(a[0], a[1], a[2], a[3], **k) and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Screen(twin, batch_size=2)(videos)


def test_nothing_is_transferred_by_itself(twin, videos):
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed"):
        jnp.sin(np.ones(3))  # the guard works on this machine
    with jax.transfer_guard("allow"):
        Screen(twin, reduce="mean", stream=1)(videos[:3])  # it sets the guard by itself


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduce": "median"}, "reduce is 'median'; expected None .every frame., 'mean', 'max', or a function"),
        ({"reduce": 3}, "reduce is 3"),
        ({"intervals": (1, 2)}, "reduce is None, which keeps every frame"),
        ({"reduce": "mean", "intervals": (5, 2)}, "expected 0 <= start < stop"),
        ({"reduce": "mean", "intervals": "all"}, "expected pairs of frame numbers"),
        ({"errors": "ignore"}, "errors is 'ignore'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"stream": 9}, "stream is 9"),
        ({"periphery": "gray"}, "periphery is 'gray'"),
        ({"precision": "float16"}, "precision is 'float16'"),
    ],
)
def test_options_are_checked(twin, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Screen(twin, **options)


def test_twins_are_checked(twin):
    with pytest.raises(ValueError, match="twins is empty"):
        Screen([])
    with pytest.raises(TypeError, match="twins holds str"):
        Screen(["8-5"])
    with jax.enable_x64(True):
        exact = Twin(jax.tree.map(lambda a: a.astype(np.float64), twin.network), name="exact")
        with pytest.raises(ValueError, match=r"twins \['exact'\] have another architecture or precision"):
            Screen([twin, exact])


@pytest.mark.parametrize(
    ("reduce", "message"),
    [
        (lambda responses: responses.mean(), "expected \\[..., 3\\]: units as its last axis"),
        (lambda responses: np.asarray(responses), "cannot be traced by JAX"),
        (lambda responses: responses > 0, "returns bool; expected floats"),
        (lambda responses: (responses, responses), "returns 2 arrays; expected one"),
    ],
)
def test_functions_are_checked(twin, videos, reduce, message):
    with pytest.raises(ValueError, match=message):
        Screen(twin, reduce=reduce)(videos)


def test_intervals_must_lie_inside(twin, videos):
    with pytest.raises(ValueError, match="the interval 5 to 12 ends after its 11 frames"):
        Screen(twin, reduce="mean", intervals=(5, 12))(videos)


def test_a_generator_may_use_its_array_again(screen, videos, expected):
    def frames():
        buffer = np.empty_like(videos[0])
        for video in videos:
            buffer[:] = video
            yield buffer

    np.testing.assert_array_equal(screen(frames()).responses, expected)


def test_a_wrong_item_of_a_generator_is_recorded(screen, videos):
    stimuli = (Stimulus(video, id=name) for video, name in zip(videos, "abc", strict=False))
    with pytest.warns(UserWarning, match="b: perspectives has no trace of this id"):
        dataset = screen(stimuli, perspectives={"a": [0.0, 0.0], "c": [0.0, 0.0]})
    assert dataset.done.values.tolist() == [1, 2, 1] and dataset.stimulus.values.tolist() == ["a", "b", "c"]
    with pytest.raises(TypeError, match=r"one Stimulus; expected several: \[stimulus\]"):
        screen(Stimulus(videos[0]))


def test_out_of_memory_on_several_devices(screen, videos):
    """A batch that was made before the batch size became smaller is still cut evenly."""
    runner = screen._current_predictor()
    assert runner.devices and runner.batch_size == 2
    loaded = [source.Source(videos, screen.twins[0].config).load(index) for index in range(3)]
    assert len(next(runner.results([loaded]))) == 3


def test_terminals_do_not_change_what_a_function_is(monkeypatch):
    """JAX writes programs in colour there."""
    before = reduction.describe(lambda r: r.mean(0), 5, np.float32)
    monkeypatch.setattr("jax._src.pretty_printer.CAN_USE_COLOR", True)
    traced = jax.make_jaxpr(lambda r: r.mean(0))(np.zeros((5, 3), np.float32))
    assert "\x1b[" in str(traced.jaxpr)
    assert reduction.describe(lambda r: r.mean(0), 5, np.float32) == before


def test_what_is_infinite_outside_of_an_interval_does_not_matter():
    responses = jnp.ones((4, 1, 2)).at[3].set(jnp.inf)
    inside = jnp.array([[1, 1], [1, 1], [1, 0], [0, 1]], bool)[:, None]
    total = reduction.RUNNING["mean"].add(jnp.zeros((1, 2, 2)), responses, inside)
    np.testing.assert_array_equal(total[0], [[3, 3], [np.inf, np.inf]])


@pytest.mark.parametrize("column", ["done", "responses", "time"])
def test_columns_with_names_of_results(twin, column):
    with pytest.raises(ValueError, match=f"column.* {column}"):
        Screen(Twin(twin.network, twin.units.assign(**{column: range(7)})))
    if column == "time":
        Screen(Twin(twin.network, twin.units.assign(time=range(7))), reduce="mean")
        with pytest.warns(UserWarning, match="column scan in the table of units of twin says otherwise"):
            Screen(Twin(twin.network, twin.units.assign(scan="monday")))


def test_a_list_of_constants_is_no_trace(screen, videos):
    """Where there are as many frames as stimuli it could be either."""
    with pytest.raises(ValueError, match="modulations is a list of 6 pairs for as many stimuli"):
        screen(videos[:, :6], modulations=[[0, 1]] * 6)


def test_functions_are_told_apart_by_what_they_hold():
    def template(values):
        inner = jax.jit(lambda responses: responses * jnp.asarray(values)[None])
        return lambda responses: inner(responses).mean(0)

    names = {reduction.describe(template(values), 9, jnp.float32) for values in (np.ones(3), np.ones(3), np.zeros(3))}
    assert len(names) == 2
    cut = [lambda r: r[20:].mean(0), lambda r: r[25:].mean(0), lambda r: r[-20:].mean(0), lambda r: r[-25:].mean(0)]
    thirds = [lambda r: r.reshape(3, 10, -1).mean(1), lambda r: r.reshape(3, 10, -1).max(1)]  # of 30 frames alone
    assert len({reduction.identity(each, 30, jnp.float32) for each in (*cut, *thirds)}) == 6
