"""Encoders of other responses, and predictions with the names of axes and units."""

import json
import pickle
import sys

import numpy as np
import pytest
import xarray

from fnn_jax import Twin, encoding
from fnn_jax.encoding import labelled
from fnn_jax.model.config import NetworkConfig
from fnn_jax.screen import Screen

pytest.importorskip("sklearn", reason="scikit-learn is not installed: it is the extra 'encoding'")

from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from fnn_jax.encoding import Encoder, encoder
from fnn_jax.encoding.reduction import Reduction

SIZE = (18, 32)
SMALL = {"n_components": 60, "burn_in": 4, "alphas": (1e-3, 1.0, 1e3), "progress": False}


def smooth(frames, seed):
    """Coarse light that changes slowly: what the maps see differs from frame to frame."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 1, (frames // 4 + 1, 6, 8)).repeat(4, 0)[:frames]
    return coarse.repeat(3, 1).repeat(4, 2).astype(np.float32)


@pytest.fixture(scope="module")
def videos():
    return [smooth(90, 1), smooth(81, 2), smooth(60, 3)]


@pytest.fixture(scope="module")
def traces():
    random = np.random.default_rng(5)
    return [[random.standard_normal((n, 2)).astype(np.float32) for n in (90, 81, 60)] for _ in range(2)]


@pytest.fixture(scope="module")
def planted(twin, videos):
    """Five units, each of which reads three of the mean channels of the core; and their weights."""
    weights = np.random.default_rng(7).standard_normal((twin.feature_table().loc["core", "shape"][-1], 5))
    maps = [twin.features(video, ["core"])["core"] for video in videos]
    return [array.mean((1, 2, 3)) @ weights + 2 for array in maps]


def test_it_finds_planted_units_on_other_videos(twin, videos, planted):
    fitted = Encoder(twin, **SMALL, reduction="grid", grid=(2, 2))
    assert fitted.fit(videos[:2], planted[:2]) is fitted
    assert fitted.score(videos[2], planted[2]) > 0.95
    scores = fitted.scores(videos[2:], planted[2:])
    assert scores.shape == (5,) and scores.min() > 0.9
    assert fitted.score(videos[2], planted[2]) == pytest.approx(scores.mean())
    predictions = fitted.predict(videos)
    assert [array.shape for array in predictions] == [(90, 5), (81, 5), (60, 5)]
    np.testing.assert_array_equal(predictions[2], fitted.predict(videos[2]))
    expected = np.corrcoef(predictions[2][4:, 1], planted[2][4:, 1])[0, 1]
    assert scores[1] == pytest.approx(expected, abs=1e-9)
    row = fitted.reduction_(twin.features(videos[2], fitted.layer_names_))
    np.testing.assert_allclose(row @ fitted.coef_.T + fitted.intercept_, predictions[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("reduction", ["sparse", "gaussian"])
def test_projections_find_units_of_the_twin_itself(twin, videos, reduction):
    """Linear in the maps of all streams: what is read before the nonlinearity."""
    read = [twin.features(video, ["readout"])["readout"].mean(1) for video in videos]
    fitted = Encoder(twin, **SMALL | {"n_components": 150}, reduction=reduction).fit(videos[:2], read[:2])
    assert fitted.n_features_ == fitted.coef_.shape[1] == 150 and fitted.alpha_.shape == (7,)
    assert fitted.score(videos[2], read[2]) > 0.95


def test_chance_for_shuffled_responses(twin, videos, planted):
    random = np.random.default_rng(0)
    shuffled = [random.permutation(array) for array in planted]
    fitted = Encoder(twin, **SMALL).fit(videos[:2], shuffled[:2])
    assert abs(fitted.score(videos[2], shuffled[2])) < 0.3


def test_delayed_responses(twin, videos, planted):
    late = [np.concatenate([np.zeros((6, 5)), array[:-6]]) for array in planted]
    settings = SMALL | {"reduction": "grid", "grid": (2, 2)}
    fitted = Encoder(twin, **settings, delay=6).fit(videos[:2], late[:2])
    assert fitted.score(videos[2], late[2]) > 0.95
    predicted = fitted.predict(videos[2])
    assert np.isnan(predicted[:6]).all() and np.isfinite(predicted[6:]).all()
    in_time = Encoder(twin, **settings).fit(videos[:2], planted[:2]).predict(videos[2])
    assert np.corrcoef(predicted[10:, 0], in_time[4:-6, 0])[0, 1] > 0.98


def test_behaviour_reaches_the_network(twin, videos, traces):
    eyes, behaviour = traces
    read = [
        twin.features(video, ["readout"], *rest)["readout"].mean(1)
        for video, *rest in zip(videos, eyes, behaviour, strict=True)
    ]
    fitted = Encoder(twin, "readout", **SMALL).fit(videos[:2], read[:2], eyes[:2], behaviour[:2])
    assert fitted.score(videos[2], read[2], eyes[2], behaviour[2]) > 0.999
    assert fitted.score(videos[2], read[2]) < 0.99
    listed = fitted.predict(videos[1:], eyes[1:], [None, behaviour[2]])
    np.testing.assert_array_equal(listed[1], fitted.predict(videos[2], eyes[2], behaviour[2]))


def test_only_a_chunk_of_values_is_in_memory(twin, videos, planted, monkeypatch):
    """Neither fit nor predict sees values of more than a chunk, nor runs what the layer does not need."""
    seen = []
    reduce, run = Reduction.__call__, encoder.chunks

    def watched(self, values):
        seen.append({name: array.shape for name, array in values.items()})
        return reduce(self, values)

    def ends(twin, checked, options):
        assert options.end == "feedforward"
        return run(twin, checked, options)

    monkeypatch.setattr(Reduction, "__call__", watched)
    monkeypatch.setattr(encoder, "chunks", ends)
    monkeypatch.setattr(Twin, "features", None)
    fitted = Encoder(twin, "feedforward", **SMALL, chunk_frames=8).fit(videos[:2], planted[:2])
    fitted.predict(videos[2])
    assert len(seen) == 12 + 11 + 8
    assert all(list(shapes) == ["feedforward"] and shapes["feedforward"][0] <= 8 for shapes in seen)


def test_the_same_seed_gives_the_same_result(twin, videos, planted):
    first, again, other = (
        Encoder(twin, ["core", "retina"], **SMALL, seed=seed).fit(videos[0], planted[0]) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.coef_, again.coef_)
    assert not np.array_equal(first.coef_, other.coef_)
    assert first.layer_names_ == ("core", "retina") and first.n_features_ == 120
    chunked = clone(first).set_params(chunk_frames=7).fit(videos[0], planted[0])
    np.testing.assert_allclose(chunked.predict(videos[1]), first.predict(videos[1]), rtol=1e-2, atol=1e-2)


def test_it_is_an_estimator_of_scikit_learn(twin, videos, planted):
    made = Encoder(twin, "recurrent.hidden", **SMALL, cv=3, reduction="grid", grid=(1, 2), streams="mean")
    copied = clone(made)
    assert copied.twin is twin and copied.get_params() == made.get_params() and is_regressor(made)
    assert copied.set_params(delay=2) is copied and copied.delay == 2 and made.delay == 0
    scores = cross_val_score(made, videos, planted, cv=3)
    assert scores.shape == (3,) and np.isfinite(scores).all()
    with pytest.raises(NotFittedError):
        made.predict(videos[0])
    with pytest.raises(NotFittedError):
        made.score(videos[0], planted[0])
    made.fit(videos, planted)
    assert (
        len(set(made.alpha_)) == 1 and made.n_features_ == 2 * twin.feature_table().loc["recurrent.hidden", "shape"][-1]
    )
    back = pickle.loads(pickle.dumps(made))
    np.testing.assert_allclose(back.predict(videos[0]), made.predict(videos[0]), rtol=1e-5)
    assert "Encoder" in repr(back)
    with pytest.raises(NotFittedError):
        clone(made).predict(videos[0])


def test_scores_of_what_is_constant(twin, videos, planted):
    responses = [np.concatenate([array[:, :2], np.ones((len(array), 1))], axis=1) for array in planted]
    fitted = Encoder(twin, **SMALL).fit(videos[0], responses[0])
    scores = fitted.scores(videos[1], responses[1])
    assert np.isfinite(scores[:2]).all() and np.isnan(scores[2])
    assert fitted.score(videos[1], responses[1]) == pytest.approx(scores[:2].mean())
    moving = [*responses]
    moving[1] = responses[1] + np.random.default_rng(0).standard_normal(responses[1].shape)
    assert fitted.scores(videos[1], moving[1])[2] == 0
    assert np.isnan(fitted.score(videos[1], np.ones_like(responses[1])))


def test_blocks_of_positions_are_means():
    shapes = {"core": (2, 5, 7, 3), "modulation": (2, 4)}
    maps = np.random.default_rng(0).standard_normal((6, 2, 5, 7, 3)).astype(np.float32)
    rest = np.ones((6, 2, 4), np.float32)
    reduction = Reduction(shapes, "grid", 10, (2, 3), "all", 0)
    found = reduction({"core": maps, "modulation": rest})
    assert found.shape == (6, reduction.size) and reduction.sizes == {"core": 2 * 2 * 3 * 3, "modulation": 8}
    blocks = found[:, :36].reshape(6, 2, 2, 3, 3)
    np.testing.assert_allclose(blocks[:, 1, 0, 2], maps[:, 1, :2, 4:].mean((1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(blocks[:, 0, 1, 0], maps[:, 0, 2:, :2].mean((1, 2)), rtol=1e-5, atol=1e-6)
    whole = Reduction(shapes, "none", 10, (2, 3), "mean", 0)({"core": maps, "modulation": rest})
    np.testing.assert_allclose(whole[:, :105], maps.mean(1).reshape(6, -1), rtol=1e-6)


def test_what_is_labelled_otherwise_is_not_paired_by_position(twin):
    random = np.random.default_rng(0)
    times = {"time": 2 + np.arange(20) / 30}
    video = xarray.DataArray(smooth(20, 0), times, ("time", "height", "width"))
    responses = xarray.DataArray(random.standard_normal((20, 2)), times | {"unit": [3, 7]}, ("time", "unit"))
    late = responses.assign_coords(time=times["time"] + 5)
    fitted = Encoder(twin, "retina", **SMALL, reduction="grid", grid=(2, 2)).fit([video, V], [responses, responses])
    assert fitted.units_.tolist() == [3, 7] and len(fitted.scores(video, responses)) == 2
    for call, message in (
        (lambda: fitted.fit(video, late), "stimuli and responses have other coordinates time: 2.0 and 7.0 in place 0"),
        (lambda: fitted.scores([V, video], [R, late]), r"stimuli\[1\] and responses\[1\] have other coordinates time"),
        (lambda: fitted.fit(video, responses, late.drop_vars("unit")), "stimuli and perspectives have other"),
        (
            lambda: fitted.fit([V, V], [responses, responses[:, ::-1]]),
            r"responses\[1\] have other coordinates unit: 3 and",
        ),
        (lambda: fitted.scores(video, responses[:, ::-1]), r"the units \[7, 3\]; expected \[3, 7\], those of fit"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    batch = video.expand_dims(stimulus=["a", "b"])
    eye = xarray.DataArray(np.zeros((20, 2, 2)), {"stimulus": ["b", "a"]}, ("time", "stimulus", "axis"))
    with pytest.raises(
        ValueError, match="stimuli and perspectives have other coordinates stimulus: a and b in place 0"
    ):
        labelled.predict(twin, batch, eye)


V, R = smooth(20, 0), np.random.default_rng(0).standard_normal((20, 2))
WRONG_DATA = {
    "another length": ((V, R[:-1]), ValueError, "responses has 19 frames, and its video 20"),
    "one of several": (([V, V], [R, R[1:]]), ValueError, r"responses\[1\] has 19 frames"),
    "too few responses": (([V, V], [R]), ValueError, "responses has 1 items, and stimuli 2"),
    "no list": (([V, V], R), TypeError, "responses is ndarray, and stimuli a list"),
    "NaN": (
        (V, np.where(np.arange(40).reshape(20, 2) == 7, np.nan, R)),
        ValueError,
        r"1 of 20 frames, in the units \[1\]",
    ),
    "one unit": ((V, R[:, 0]), ValueError, r"responses has the shape \[20\].*responses\[:, None\]"),
    "other units": (([V, V], [R, R[:, :1]]), ValueError, r"responses has \[2, 1\] units"),
    "words": ((V, np.full((20, 2), "a")), TypeError, "responses is .*expected \\[T, units\\]"),
    "no videos": (([], []), ValueError, "stimuli is empty"),
    "a batch": ((V[:, None, :, :, None], R), ValueError, "batch axis; expected one video"),
    "a short video": ((V[:5], R[:5]), ValueError, r"5 frames in video 0, and burn_in \+ delay is 4 \+ 0"),
    "another size": (([V, V[:, 1:]], [R, R]), ValueError, r"stimuli\[1\] has the shape"),
    "traces": ((V, R, np.zeros((19, 2))), ValueError, "perspectives has 19 frames"),
}


@pytest.mark.parametrize("name", WRONG_DATA)
def test_wrong_data_are_refused(twin, name):
    arguments, error, message = WRONG_DATA[name]
    with pytest.raises(error, match=message):
        Encoder(twin, **SMALL).fit(*arguments)


WRONG_SETTINGS = [
    ({"layer": "cor"}, ValueError, "layer has unknown|unknown names.*Did you mean 'core'"),
    ({"layer": []}, ValueError, "layer is empty"),
    ({"layer": 3}, TypeError, "layer is 3"),
    ({"twin": "8-5"}, TypeError, "twin is '8-5'; expected Twin"),
    ({"reduction": "spars"}, ValueError, "reduction is 'spars'.*Did you mean 'sparse'"),
    ({"streams": 0}, ValueError, "streams is 0"),
    ({"n_components": 0}, ValueError, "n_components is 0"),
    ({"grid": (1, 2, 3)}, ValueError, "grid is .*two integers"),
    ({"reduction": "grid", "grid": (100, 1)}, ValueError, "core is a map of"),
    ({"reduction": "grid", "layer": "recurrent.attention", "grid": (1, 1)}, ValueError, "attention is no map"),
    ({"alphas": [0.0]}, ValueError, r"alphas\[0\] is 0.0; expected a number above 0"),
    ({"burn_in": -1}, ValueError, "burn_in is -1"),
    ({"delay": 1.5}, TypeError, "delay is 1.5"),
    ({"seed": -1}, ValueError, "seed is -1"),
    ({"periphery": "gray"}, ValueError, "periphery"),
    ({"precision": "float16"}, ValueError, "precision"),
    ({"chunk_frames": 0}, ValueError, "chunk_frames is 0"),
    ({"progress": 1}, TypeError, "progress is 1"),
]


@pytest.mark.parametrize(("changed", "error", "message"), WRONG_SETTINGS, ids=[str(c) for c, *_ in WRONG_SETTINGS])
def test_wrong_settings_are_refused(twin, changed, error, message):
    with pytest.raises(error, match=message):
        Encoder(**{"twin": twin, **SMALL, **changed}).fit(V, R)


def test_other_units_than_those_of_fit_are_refused(twin):
    with pytest.raises(ValueError, match="responses has 1 units; expected 2, those of fit"):
        Encoder(twin, **SMALL).fit(V, R).scores(V, R[:, :1])


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "fnn_jax.encoding.encoder")
    monkeypatch.delattr(encoding, "encoder")
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        encoding.Encoder  # noqa: B018
    assert encoding.labelled.predict
    with pytest.raises(AttributeError, match="Decoder"):
        encoding.Decoder  # noqa: B018


@pytest.fixture(scope="module")
def named():
    return xarray.DataArray(smooth(12, 4), dims=("time", "height", "width"))


@pytest.fixture(scope="module")
def eye():
    return np.random.default_rng(3).standard_normal((12, 2)).astype(np.float32)


def test_predictions_have_names(twin, named, eye):
    found = labelled.predict(twin, named, eye)
    plain = twin.predict(named.to_numpy(), eye)
    np.testing.assert_array_equal(found, plain)
    np.testing.assert_array_equal(twin.predict(named, eye), plain)
    assert found.dims == ("time", "unit") and found.name == "responses"
    np.testing.assert_allclose(found.time, np.arange(12) / 30)
    assert found.time.attrs["units"] == "s"
    np.testing.assert_array_equal(found.sel(unit=3), plain[:, 3])
    np.testing.assert_array_equal(found.sel(time=slice(0.1, 0.3), unit=[5, 1]), plain[3:10, [5, 1]])
    chosen = labelled.predict(twin.select([5, 2]), named, eye)
    assert chosen.unit.values.tolist() == [5, 2] and set(chosen.scan.values) == {twin.name}


def test_coordinates_are_those_of_a_screen(twin, named):
    table = twin.units.assign(brain_area=["V1", "LM", None, "AL", "V1", "V1", "RL"], depth=np.linspace(0, 1, 7))
    twin = Twin(twin.network, table, name="8-5")
    found = labelled.predict(twin, named)
    screened = Screen(twin, features=["core", "readout", "retina"], progress=False)([named.to_numpy()])
    of_units = [name for name, value in screened.coords.items() if value.dims == ("unit",)]
    assert {*of_units, "unit", "time"} == set(found.coords)
    for name in of_units:
        np.testing.assert_array_equal(found[name].to_numpy(), screened[name].to_numpy().astype(found[name].dtype))
    assert found.where(found.brain_area == "V1", drop=True).unit.values.tolist() == [0, 4, 5]
    values = labelled.features(twin, named, ["core", "readout", "retina"])
    for name in values:
        assert ("stimulus", *values[name].dims) == screened[name].dims
        np.testing.assert_allclose(values[name], screened[name][0], rtol=1e-4, atol=1e-4)
    assert values.readout.sel(unit=4, stream=1).dims == ("time",)


def test_attributes_say_what_computed_and_survive_a_file(twin, named):
    found = labelled.predict(twin, named, periphery="extend", stream=1)
    wanted = {"twin": twin.name, "fingerprint": twin.fingerprint(), "periphery": "extend", "stream": "1"}
    assert wanted.items() <= found.attrs.items() and found.attrs["precision"] == "float32"
    assert "jax" in json.loads(found.attrs["versions"]) and json.loads(found.attrs["provenance"]) == twin.record()
    back = xarray.load_dataset(bytes(found.to_dataset().to_netcdf(engine="scipy")), engine="scipy")
    xarray.testing.assert_allclose(back.responses, found)
    assert back.responses.attrs == found.attrs


def test_axes_are_read_by_name(twin, named, eye):
    expected = labelled.predict(twin, named, eye)
    turned = xarray.DataArray(eye, dims=("time", "axis")).T
    xarray.testing.assert_identical(
        labelled.predict(twin, named.transpose("width", "time", "height"), turned), expected
    )
    np.testing.assert_array_equal(
        labelled.predict(twin, named.expand_dims(channel=1).transpose("channel", "width", ...), eye), expected
    )
    with pytest.raises(
        ValueError, match=r"stimuli has the axes \['t', 'height', 'width'\]; expected time, height, width, and"
    ):
        labelled.predict(twin, named.rename(time="t"))
    with pytest.raises(ValueError, match="perspectives has the axes .*expected time, one more"):
        labelled.predict(twin, named, xarray.DataArray(eye, dims=("frame", "axis")))
    with pytest.raises(TypeError, match="Dataset"):
        labelled.predict(twin, named.to_dataset(name="frames"))
    with pytest.raises(TypeError, match="twin is str"):
        labelled.predict("8-5", named)
    with pytest.raises(TypeError, match="output was given"):
        labelled.predict(twin, named, output="jax")
    Encoder(twin, **SMALL | {"burn_in": 0}).fit(named.T, xarray.DataArray(eye, dims=("time", "unit")).T)


def test_a_batch_and_times_keep_their_coordinates(twin, named, eye):
    times = 2 + np.arange(12) / 30
    clips = xarray.concat([named, 1 - named], "stimulus").assign_coords(stimulus=["a", "b"], time=times)
    found = labelled.predict(twin, clips, eye)
    assert found.dims == ("time", "stimulus", "unit") and found.stimulus.values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(found.time, times)
    np.testing.assert_allclose(found.sel(stimulus="b"), twin.predict(1 - named.to_numpy(), eye), rtol=1e-4, atol=1e-5)
    maps = labelled.features(twin, clips, "core", eye).core
    assert maps.dims == ("time", "stimulus", "stream", "core_row", "core_column", "core_channel")
    again = labelled.predict(twin, maps.transpose("core_channel", ...), start="core")
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(again.time, times)
    for wrong in (np.arange(12), np.arange(12) / 60, times.astype("M8[s]")):
        with pytest.raises(ValueError, match="coordinate time .* seconds in steps of 1/30"):
            labelled.predict(twin, named.assign_coords(time=wrong))
    other = xarray.DataArray(eye, dims=("time", "axis"), coords={"time": times + 1})
    with pytest.raises(ValueError, match="other coordinates time"):
        labelled.predict(twin, clips, other)


def test_columns_that_are_axes_are_refused(twin, named):
    clashing = Twin(twin.network, twin.units.assign(time=0.0))
    with pytest.raises(ValueError, match=r"columns \['time'\], which are axes"):
        labelled.predict(clashing, named)


def test_a_twin_of_the_published_kind(videos):
    tiny = Twin.random(NetworkConfig.tiny(3))
    responses = np.random.default_rng(0).standard_normal((90, 2))
    assert Encoder(tiny, ["feedforward.block0*", "readout"], **SMALL).fit(videos[0], responses).coef_.shape[0] == 2
