"""Screens that keep values from inside the network, and that change them while it runs."""

import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from disturbed import small
from interrupted import interrupt_and_resume
from jax.tree_util import Partial

from fnn_jax import Screen, ScreenError, Twin, interventions, open_screen
from fnn_jax.demo import random_network
from fnn_jax.screen import creation, store
from fnn_jax.screen import screen as screen_module

COUNT, FRAMES = 5, 9
NAMES = ["retina", "modulation", "recurrent.hidden", "readout.samples", "readout"]
CLOSE = {"rtol": 1e-4, "atol": 2e-5}  # threads of ``features`` round differently


@pytest.fixture(scope="module")
def videos():
    return list(np.random.default_rng(0).integers(0, 256, (COUNT, FRAMES, 18, 32), dtype=np.uint8))


@pytest.fixture(scope="module")
def values(twin, videos):
    """What ``features`` says of each stimulus alone."""
    return [twin.features(video, NAMES) for video in videos]


@pytest.fixture(scope="module")
def other():
    return Twin(random_network(small(3), seed=5), name="8-5")


@pytest.fixture(scope="module")
def screen(twin):
    return Screen(twin, reduce="mean", features=["recurrent.hidden", "retina"], batch_size=2, progress=False)


@pytest.fixture(scope="module")
def whole(screen, videos, tmp_path_factory):
    path = tmp_path_factory.mktemp("inside") / "whole.zarr"
    screen(videos, path)
    return path


def same(dataset, expected):
    assert set(dataset.variables) == set(expected.variables)
    for name in dataset.variables:
        np.testing.assert_array_equal(dataset[name].values, expected[name].values, err_msg=name)


def test_every_frame_is_that_of_features(twin, videos, values):
    lengths = [9, 4, 9, 8, 9]
    stimuli = [video[:length] for video, length in zip(videos, lengths, strict=True)]
    dataset = Screen(twin, features=NAMES, batch_size=2)(stimuli)
    assert dataset["recurrent.hidden"].dims[:3] == ("stimulus", "time", "stream")
    assert dataset["readout"].dims == ("stimulus", "time", "stream", "unit")
    for name in NAMES:
        for found, wanted, length in zip(dataset[name].values, values, lengths, strict=True):
            np.testing.assert_allclose(found[:length], wanted[name][:length], **CLOSE, err_msg=name)
            assert np.isnan(found[length:]).all()
    plain = Screen(twin, batch_size=2)(stimuli)
    np.testing.assert_allclose(dataset.responses, plain.responses, **CLOSE)
    assert "features" not in plain.attrs["settings"] and "feature_shapes" not in plain.attrs


@pytest.mark.parametrize(("reduce", "function"), [("mean", np.mean), ("max", np.max)])
def test_reductions_are_those_of_numpy(twin, videos, values, reduce, function):
    options = {"intervals": [(0, 3), (2, 9)], "features": NAMES, "responses": False, "batch_size": 2}
    dataset = Screen(twin, reduce=reduce, **options)(videos)
    assert "responses" not in dataset and list(dataset.data_vars) == NAMES
    for name in NAMES:
        assert dataset[name].dims[:2] == ("stimulus", "interval")
        wanted = [[function(each[name][a:b], axis=0) for a, b in options["intervals"]] for each in values]
        np.testing.assert_allclose(dataset[name], wanted, **CLOSE, err_msg=name)


def test_a_function_sees_the_axes_of_a_feature_as_one(twin, videos, values):
    def spread(seen):
        return jnp.stack([seen.mean(0), seen.max(0)])

    dataset = Screen(twin, reduce=spread, features=NAMES, batch_size=2)(videos)
    for name in NAMES:
        wanted = [[each[name].mean(0), each[name].max(0)] for each in values]
        np.testing.assert_allclose(dataset[name], wanted, **CLOSE, err_msg=name)
        assert dataset[name].dims[:2] == ("stimulus", "axis0")


def test_patterns_and_one_stream(twin, videos):
    names = ["feedforward.block0*", "recurrent.*_gate"]
    dataset = Screen(twin, reduce="mean", features=names, responses=False, stream=1)(videos[:2])
    wanted = [twin.features(video, names, stream=1) for video in videos[:2]]
    assert set(dataset.data_vars) == set(wanted[0])
    assert Screen(twin, features=["retina"], responses=False)._current_predictor()._options["end"] == "retina"
    for name in wanted[0]:
        np.testing.assert_allclose(dataset[name], [each[name].mean(0) for each in wanted], **CLOSE, err_msg=name)


@pytest.mark.parametrize("reduce", [None, "mean", lambda seen: seen.max(0)])
def test_several_twins(twin, other, videos, reduce):
    names = ["modulation", "core", "readout.samples", "readout"]
    dataset = Screen([twin, other], reduce=reduce, features=names, batch_size=2)(videos[:3])
    assert dataset["core"].dims[-5:-2] == ("twin", "stream", "core_row")
    assert dataset.twin.values.tolist() == ["twin", "8-5"]
    function = {None: lambda array: array, "mean": lambda array: array.mean(0)}.get(reduce, lambda array: array.max(0))
    for index, video in enumerate(videos[:3]):
        ours, theirs = (each.features(video, names) for each in (twin, other))
        for name in names:
            found = dataset[name][index]
            for number, wanted in enumerate((ours, theirs)):
                if "unit" in found.dims:
                    part = found.isel(unit=slice(0, 7) if number == 0 else slice(7, None))
                else:
                    part = found.isel(twin=number)
                np.testing.assert_allclose(part, function(wanted[name]), **CLOSE, err_msg=name)


def test_on_disk_as_in_memory(screen, whole, videos):
    stored, in_memory = open_screen(whole), screen(videos)
    same(stored, in_memory)
    assert stored["retina"].dims == ("stimulus", "retina_row", "retina_column", "retina_channel")
    assert stored.attrs["settings"]["features"] == ["retina", "recurrent.hidden"]
    assert set(stored.data_vars) == {"responses", "retina", "recurrent.hidden"}


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_interrupted_and_gone_on_with(screen, whole, videos, tmp_path, monkeypatch, blocks):
    monkeypatch.setattr(screen_module, "LEAST_BLOCK", 2)
    screen(videos, tmp_path / "whole.zarr")
    predicted = interrupt_and_resume(monkeypatch, lambda: screen(videos, tmp_path / "out.zarr"), blocks)
    assert len(predicted) == COUNT - 2 * blocks
    files = [path.relative_to(tmp_path / "out.zarr") for path in (tmp_path / "out.zarr").rglob("*") if path.is_file()]
    for file in files:
        assert (tmp_path / "out.zarr" / file).read_bytes() == (tmp_path / "whole.zarr" / file).read_bytes(), file
    same(open_screen(tmp_path / "out.zarr"), open_screen(whole))


def test_longer_stimuli_and_small_chunks(twin, videos, tmp_path, monkeypatch):
    """A generator's stimuli grow all arrays alike; a feature is cut into chunks that lie in one block."""
    monkeypatch.setattr(creation, "CHUNK_BYTES", 12_000)
    stimuli = [video[: 4 + index] for index, video in enumerate(videos)]
    screen = Screen(twin, features=["retina", "recurrent.hidden"], responses=False, batch_size=2)
    dataset = screen(iter(stimuli), tmp_path / "out.zarr")
    same(dataset, screen(stimuli))
    assert dataset.sizes["time"] == 8 and "responses" not in dataset
    chunks = store.checksums.check_metadata(tmp_path / "out.zarr")[0]["recurrent.hidden"].chunks
    assert chunks[:2] == (2, 4)  # 12 stimuli are a block


@pytest.mark.parametrize("where", ["recurrent.hidden/c", "retina/c", "recurrent.hidden/zarr.json", "zarr.json"])
def test_what_is_damaged_is_refused_and_computed_again(screen, whole, videos, tmp_path, where):
    out = tmp_path / "out.zarr"
    shutil.copytree(whole, out)
    file = out / where
    file = next(path for path in sorted(file.rglob("*")) if path.is_file()) if file.is_dir() else file
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 8
    file.write_bytes(content)
    with pytest.raises(ScreenError, match="out.zarr is damaged"):
        open_screen(out)
    with pytest.warns(UserWarning, match="damaged"):
        screen(videos, out)
    same(open_screen(out), open_screen(whole))


def test_values_that_are_exchanged_are_refused(screen, whole, videos, tmp_path):
    """Also where every file is whole by itself."""
    import zarr

    out = tmp_path / "out.zarr"
    shutil.copytree(whole, out)
    array = zarr.open_group(out, mode="r+")["retina"]
    array[1] = array[2]
    with pytest.raises(ScreenError, match="stimulus 1 differs from its SHA-256"):
        open_screen(out)
    array.resize((COUNT, *array.shape[1:-1], 2))
    with pytest.raises(ScreenError, match=r"its values of retina have the shape \[5, 16, 24, 2\]"):
        open_screen(out)
    with pytest.warns(UserWarning) as told:
        same(screen(videos, out), open_screen(whole))
    assert "Its metadata were mended" in str(told[0].message) and "1 stimuli are computed again" in str(told[1].message)


def test_another_screen_is_refused(twin, screen, whole, videos):
    half = {"core": interventions.scale(0.5)}
    for options, message in (
        ({"features": ["retina"]}, r'features: there \["retina", "recurrent.hidden"\], here \["retina"\]'),
        ({}, 'features: there .*"recurrent.hidden".*, here null'),
        ({"features": ["recurrent.hidden", "retina"], "responses": False}, "responses: there null, here false"),
        (
            {"features": ["recurrent.hidden", "retina"], "interventions": half},
            r'interventions: there null, here {"core": "scale\(factor=0.5\)"}',
        ),
    ):
        with pytest.raises(ScreenError, match=message):
            Screen(twin, reduce="mean", batch_size=2, **options)(videos, whole)


def test_interventions_are_those_of_predict(twin, videos):
    changes = {
        "recurrent.hidden": interventions.scale(0.5, frames=(3, 9)),
        "readout": lambda value, place: value + 0.1 * jnp.float32(place.stream == 1),
        "retina": interventions.clamp(-1, 1),
    }
    screen = Screen(twin, interventions=changes, features=["recurrent.hidden"], batch_size=2, chunk_frames=4)
    dataset = screen(videos)
    for index, video in enumerate(videos):
        wanted = twin.predict(video, interventions=changes)
        np.testing.assert_allclose(dataset.responses[index], wanted, **CLOSE)
        found = twin.features(video, ["recurrent.hidden"], interventions=changes)["recurrent.hidden"]
        np.testing.assert_allclose(dataset["recurrent.hidden"][index], found, **CLOSE)
    assert np.abs(dataset.responses - Screen(twin, batch_size=2)(videos).responses).max() > 1e-2


def test_an_intervention_that_changes_nothing_changes_rounding_alone(twin, videos):
    same = {"recurrent.hidden": lambda value, place: value, "readout": interventions.scale(1.0)}
    changed = Screen(twin, reduce="mean", interventions=same)(videos).responses
    np.testing.assert_allclose(changed, Screen(twin, reduce="mean")(videos).responses, rtol=0, atol=1e-6)


def test_the_number_of_a_stimulus_does_not_depend_on_its_batch(twin, videos):
    """``place.video`` and the draws of noise are those of the stimulus, wherever it is shown."""
    changes = {"readout": interventions.zero(videos=[1, 3]), "core": interventions.add_noise(0.1, jax.random.key(2))}
    by_two, by_three = (Screen(twin, interventions=changes, batch_size=size)(videos).responses for size in (2, 3))
    np.testing.assert_allclose(by_two, by_three, **CLOSE)
    np.testing.assert_allclose(by_two[[1, 3]], 1, atol=1e-6)  # exp(0)
    assert np.abs(by_two[[0, 2, 4]] - 1).max() > 1e-2
    twice = Screen(twin, interventions={"core": changes["core"]})([videos[0]] * 2).responses
    assert np.abs(twice[0] - twice[1]).max() > 1e-3


def test_units_of_several_twins_are_changed_as_in_each(twin, other, videos):
    """No intervention sees the units that programs are filled up with."""
    less = {"readout": lambda value, place: value - value.mean()}
    found = Screen([twin, other], reduce="mean", interventions=less)(videos[:2]).responses
    for units, each in ((slice(7), twin), (slice(7, None), other)):
        wanted = [each.predict(video, interventions=less).mean(0) for video in videos[:2]]
        np.testing.assert_allclose(found[:, units], wanted, **CLOSE)


def settings(twin, change):
    return Screen(twin, reduce="mean", interventions={"core": change}).asked.settings()["interventions"]["core"]


def test_interventions_are_told_apart_by_what_they_compute(twin):
    ready = [
        interventions.zero(),
        interventions.scale(0.5),
        interventions.scale(0.25),
        interventions.scale(0.5, channels=[1]),
        interventions.scale(0.5, streams=[1]),
        interventions.clamp(0, 1),
        interventions.add_noise(0.5, jax.random.key(0)),
        interventions.add_noise(0.5, jax.random.key(1)),
        interventions.replace(np.zeros((9, 4, 6, 5))),
        interventions.replace(np.ones((9, 4, 6, 5))),
        interventions.replace(np.ones((9, 4, 6, 5)), first_frame=1),
        interventions.replace(np.ones((9, 4, 6, 5)), axes=("video",)),
    ]
    texts = [settings(twin, change) for change in ready]
    assert len(set(texts)) == len(ready) and texts[1] == "scale(factor=0.5)"
    assert texts[3] == "scale(factor=0.5, channels=[1])"
    assert settings(twin, interventions.scale(0.5)) == texts[1]
    assert settings(twin, interventions.add_noise(0.5, jax.random.key(1))) == texts[7]

    def times(factor):
        return lambda value, place: value * factor

    key = jax.random.key(0)
    own = [
        times(0.5),
        times(0.25),
        times(np.full((1, 1, 5), 0.5, np.float32)),
        times(jnp.full((1, 1, 5), 0.25)),
        lambda value, place: value * jnp.float32(place.frame < 3),
        lambda value, place: value * jnp.float32(place.video < 3),
        lambda value, place: value + jax.random.normal(key, value.shape),
        Partial(lambda factor, value, place: value * factor, jnp.float32(0.5)),
        Partial(lambda factor, value, place: value * factor, jnp.float32(0.25)),
    ]
    texts = [settings(twin, change) for change in own]
    assert len(set(texts)) == len(own)
    assert settings(twin, times(0.5)) == texts[0] and texts[0].startswith("<lambda> ")


def test_another_intervention_is_not_gone_on_with(twin, videos, tmp_path):
    out = tmp_path / "out.zarr"

    def run(change):
        changes = None if change is None else {"recurrent.hidden": change}
        return Screen(twin, reduce="mean", interventions=changes)(videos[:2], out)

    first = run(interventions.scale(0.5)).load()
    same(run(interventions.scale(0.5)), first)
    assert open_screen(out).attrs["settings"]["interventions"] == {"recurrent.hidden": "scale(factor=0.5)"}
    for change, message in (
        (interventions.zero(), r'interventions: there {.*"scale\(factor=0.5\)"}, here {.*"zero\(\)"}'),
        (lambda value, place: value * 0.5, 'interventions: there .* here {.*"<lambda> '),
        (None, "interventions: there .* here null"),
    ):
        with pytest.raises(ScreenError, match=message):
            run(change)


def call_back(value, place):
    like = jax.ShapeDtypeStruct(value.shape, value.dtype)
    return jax.pure_callback(lambda array: array, like, value, vmap_method="sequential")


WRONG = {
    "unknown": ({"features": ["recurrent.hiden"]}, ValueError, "features has unknown.*Did you mean 'recurrent.hidden'"),
    "pattern": ({"features": ["cortex.*"]}, ValueError, "features has unknown names"),
    "number": ({"features": 3}, TypeError, "features is 3; expected names"),
    "numbers": ({"features": [3]}, TypeError, r"features is \[3\]; expected names"),
    "nothing": ({"responses": False}, ValueError, "responses is False, and features names nothing"),
    "no boolean": ({"responses": "no"}, TypeError, "responses is 'no'; expected True or False"),
    "no dictionary": ({"interventions": [abs]}, TypeError, "interventions is .*expected a dictionary"),
    "intervention": (
        {"interventions": {"recurrent.hiden": interventions.zero()}},
        ValueError,
        "interventions has unknown names.*Did you mean 'recurrent.hidden'",
    ),
    "shape": ({"interventions": {"core": lambda value, place: value[:1]}}, ValueError, "as it was given"),
    "recording": (
        {"interventions": {"core": interventions.replace(np.zeros((3, 2)))}},
        ValueError,
        "other axes, named",
    ),
    "callback": ({"interventions": {"core": call_back}}, ValueError, r"interventions\['core'\]: a function calls back"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused_at_once(twin, case):
    options, kind, words = WRONG[case]
    with pytest.raises(kind, match=words):
        Screen(twin, **options)


def test_columns_of_the_table_of_units_with_the_name_of_a_feature(twin):
    named = Twin(twin.network, pd.DataFrame({"core": np.zeros(7)}, twin.units.index))
    with pytest.raises(ValueError, match=r"features has \['core'\], which the table of units has as columns"):
        Screen(named, features=["core"])


def test_blocks_of_large_features_are_small(twin, videos, monkeypatch):
    """What is written at once is bounded, whatever is asked for."""
    plain = Screen(twin, batch_size=2)
    heavy = Screen(twin, features=["*"], batch_size=2)
    monkeypatch.setattr(screen_module, "BLOCK_BYTES", 1_000_000)
    blocks = []
    for screen in (plain, heavy):
        first = screen_module.Source(videos, twin.config).first()
        blocks.append(screen._layout(first, screen._current_predictor()).block)
    assert blocks == [16, 2]


def test_values_that_are_not_finite_are_said(twin, videos):
    infinite = {"core": lambda value, place: value / 0.0}
    with pytest.warns(
        UserWarning, match="features to 0, and maybe others, are NaN or infinite, first the output of core"
    ):
        Screen(twin, features=["core"], responses=False, interventions=infinite)(videos[:1])


@pytest.mark.slow
def test_two_devices(twin, videos, tmp_path):
    """Batches cut over devices keep the same values, and interventions see the same numbers of stimuli."""
    twin.save(tmp_path / "twin")
    np.save(tmp_path / "videos.npy", np.stack(videos))
    code = """
import sys, jax
from fnn_jax import Screen, Twin, interventions
assert jax.local_device_count() == int(sys.argv[2])
changes = {"readout": interventions.zero(videos=[3]), "core": interventions.add_noise(0.1, jax.random.key(2))}
options = {"reduce": "mean", "features": ["recurrent.cell"], "interventions": changes, "batch_size": 4}
Screen(Twin.load(sys.argv[1] + "/twin"), **options)(sys.argv[1] + "/videos.npy", sys.argv[1] + f"/{sys.argv[2]}.zarr")
"""
    for count in (1, 2):
        environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
        command = [sys.executable, "-c", code, str(tmp_path), str(count)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    one, two = (open_screen(tmp_path / f"{count}.zarr") for count in (1, 2))
    for name in ("responses", "recurrent.cell"):
        np.testing.assert_allclose(two[name], one[name], **CLOSE)
