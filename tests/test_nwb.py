"""NWB files made by pynwb, with clocks of their own, become the recording that the arrays become."""

import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from signals import SIZE, session

from fnn_jax import Twin, cli, data
from fnn_jax.common.rate import HZ
from fnn_jax.data import DataError, Signal, Spikes, from_arrays, from_nwb, nwb
from fnn_jax.data.example import make_example
from fnn_jax.data.nwb import show
from fnn_jax.data.nwb_objects import Item
from fnn_jax.evaluation.measures import evaluate

nwb_files = pytest.importorskip("nwb_files", reason="pynwb is not installed: it is part of the extra 'nwb'")
OPTIONS = {"size": SIZE, "progress": False}


@pytest.fixture(scope="module")
def given():
    return session()[0]


@pytest.fixture(scope="module")
def expected(given, tmp_path_factory):
    return from_arrays(tmp_path_factory.mktemp("arrays") / "out", **given, progress=False)


@pytest.fixture(scope="module")
def file(given, tmp_path_factory):
    return nwb_files.write(nwb_files.full(given), tmp_path_factory.mktemp("nwb") / "session.nwb")


def same(one, other, exactly=("stimuli",)):
    """Whether two recordings have the same numbers."""
    names = [path.relative_to(one) for path in sorted(one.rglob("*.npy"))]
    assert names == [path.relative_to(other) for path in sorted(other.rglob("*.npy"))]
    for name in names:
        first, second = np.load(one / name), np.load(other / name)
        if name.parts[1] in exactly:
            np.testing.assert_array_equal(first, second, err_msg=str(name))
        else:
            np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-3, err_msg=str(name))


def test_the_same_as_from_arrays(file, expected, tmp_path, capsys):
    assert cli.main(["data", "from-nwb", str(file), "-o", str(tmp_path / "out"), "--size", "18", "32"]) == 1
    printed = capsys.readouterr().out  # the trials are short
    assert "PROBLEM" in printed and "6 trials are shorter than a window of 100 frames\n1 problems" in printed
    same(expected, tmp_path / "out")
    units = pd.read_csv(tmp_path / "out" / "units.csv")
    assert units["nwb_id"].tolist() == [100, 101, 102, 103, 104] and set(units["area"]) == {"V1"}
    assert units["depth_um"].tolist() == [200, 201, 202, 203, 204]


def test_what_is_shown_is_a_mapping(file, expected, tmp_path, capsys):
    assert cli.main(["data", "from-nwb", str(file), "--show"]) == 0
    mapping = capsys.readouterr().out
    assert "# processing/ophys/Fluorescence/Deconvolved       RoiResponseSeries [194, 5] at 7.1 Hz" in mapping
    (tmp_path / "mapping.toml").write_text(mapping)
    same(expected, from_nwb([file], tmp_path / "out", tmp_path / "mapping.toml", **OPTIONS))


def test_files_of_one_session_are_brought_to_one_clock(given, expected, tmp_path):
    imaging = nwb_files.empty()
    values, times = given["responses"]
    nwb_files.add_responses(imaging, values, timestamps=times)
    later = nwb_files.empty(session_start_time=nwb_files.START + datetime.timedelta(seconds=100))
    moved = {
        name: Signal(given[name].values, given[name].times - 100)
        for name in ("stimulus", "pupil_position", "pupil_radius", "treadmill_velocity")
    }
    nwb_files.add_behaviour(later, moved)
    later.add_stimulus(nwb_files.series(*moved["stimulus"]))
    nwb_files.add_trials(
        later, given["trials"].assign(start=lambda t: t["start"] - 100, stop=lambda t: t["stop"] - 100)
    )
    files = [nwb_files.write(imaging, tmp_path / "a.nwb"), nwb_files.write(later, tmp_path / "b.nwb")]
    same(expected, from_nwb(files, tmp_path / "out", **OPTIONS))


def built(given, path, stimulus):
    """A file whose stimulus is added by a function."""
    file = nwb_files.empty()
    nwb_files.add_responses(file, given["responses"].values, timestamps=given["responses"].times)
    nwb_files.add_behaviour(file, given)
    nwb_files.add_trials(file, given["trials"])
    stimulus(file)
    return nwb_files.write(file, path)


@pytest.mark.parametrize("by_images", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_stimuli_by_index(given, expected, tmp_path, by_images):
    file = built(given, tmp_path / "session.nwb", lambda file: nwb_files.indexed(file, given, by_images))
    same(expected, from_nwb([file], tmp_path / "out", **OPTIONS))


def test_images_without_an_order_are_refused():
    """They were taken in the order of their names: 0, 1, 10, 11, 2."""
    from pynwb.base import Images
    from pynwb.image import GrayscaleImage, IndexSeries

    frames = [GrayscaleImage(name=str(n), data=np.full((2, 2), n, np.uint8)) for n in range(12)]
    for shown in (frames, frames[:1]):
        images = Images(name="frames", images=shown)
        data = np.zeros(3, np.uint32)
        series = IndexSeries(name="shown", data=data, unit="N/A", indexed_images=images, timestamps=np.arange(3.0))
        item = Item(Path("a.nwb"), "stimulus/presentation/shown", series, 0.0)
        if len(shown) == 1:
            assert nwb._indexed(item, "yx")[:3].shape == (3, 2, 2)
        else:
            with pytest.raises(DataError, match=r"shown indexes the images of frames, which say no order .*the 12 an"):
                nwb._indexed(item, "yx")


def external(given, file, names, starts):
    times = given["stimulus"].times
    from pynwb.image import ImageSeries

    series = ImageSeries(
        name="movie", external_file=names, starting_frame=starts, format="external", unit="n.a.", timestamps=times
    )
    file.add_stimulus(series)


def test_movies_beside_the_file(given, expected, tmp_path):
    frames = given["stimulus"].values
    np.save(tmp_path / "first.npy", frames[:100])
    np.save(tmp_path / "second.npy", frames[100:])
    names = ["first.npy", "second.npy"]
    file = built(given, tmp_path / "session.nwb", lambda file: external(given, file, names, [0, 100]))
    same(expected, from_nwb([file], tmp_path / "out", **OPTIONS))
    (tmp_path / "second.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"names the movie .*second.npy, which does not exist"):
        from_nwb([file], tmp_path / "other", **OPTIONS)


def test_axes_planes_spikes_and_rows(given, tmp_path):
    """Columns first; two planes and spikes whose units are joined; trials of one kind."""
    values, times = given["responses"]
    random = np.random.default_rng(0)
    spikes = [np.sort(random.uniform(0, 28, 400)) for _ in range(2)]
    file = nwb_files.empty()
    nwb_files.add_responses(file, values[:, :2], "plane A", "V1", timestamps=times)
    nwb_files.add_responses(file, values[:, 2:], "plane B", "LM", timestamps=times)
    nwb_files.add_spikes(file, spikes)
    nwb_files.add_behaviour(file, given)
    frames, frame_times = given["stimulus"]
    file.add_stimulus(nwb_files.series(np.swapaxes(frames, 1, 2), frame_times))
    nwb_files.add_trials(file, given["trials"])
    path = nwb_files.write(file, tmp_path / "session.nwb")
    assert 'axes = "xy"' in show([path])
    planes = ["processing/ophys/Fluorescence/plane A", "processing/ophys/Fluorescence/plane B", "units"]
    mapping = {
        "responses": {"object": planes},
        "stimulus": {"object": "stimulus/presentation/movie", "axes": "xy"},
        "trials": {"object": "intervals/trials", "clip": "clip", "where": {"clip": ["clip0", "clip1", "clip6"]}},
        **{
            name: {"object": f"processing/behavior/{place}{name}"}
            for name, place in [
                ("pupil_position", "EyeTracking/"),
                ("pupil_radius", "PupilTracking/"),
                ("treadmill_velocity", ""),
            ]
        },
    }
    mapping["pupil_position"]["columns"] = [1, 0]
    made = from_nwb([path], tmp_path / "out", mapping, **OPTIONS)
    eye = Signal(given["pupil_position"].values[:, ::-1], given["pupil_position"].times)
    some = given["trials"][given["trials"]["clip"].isin(["clip0", "clip1", "clip6"])]
    responses = [given["responses"], Spikes(spikes)]
    changed = {**given, "trials": some, "responses": responses, "pupil_position": eye}
    same(made, from_arrays(tmp_path / "arrays", **changed, progress=False))
    assert pd.read_csv(made / "units.csv")["area"].tolist() == ["V1"] * 2 + ["LM"] * 3 + ["V1"] * 2
    with pytest.raises(DataError, match=r"(?s)responses is ambiguous: .*plane A, .*plane B, units. Name one"):
        from_nwb([path], tmp_path / "other", **OPTIONS)
    assert "# choose one of these; or a list of them" in show([path])
    with pytest.raises(DataError, match=r"trials\] names the column movie of intervals/trials, which has start_time"):
        from_nwb([path], tmp_path / "other", {**mapping, "trials": {"object": "intervals/trials", "clip": "movie"}})


def test_what_was_not_recorded_is_asked_for(given, tmp_path):
    file = nwb_files.empty()
    nwb_files.add_responses(file, given["responses"].values, timestamps=given["responses"].times)
    nwb_files.add_behaviour(file, given, ("treadmill_velocity",))
    file.add_stimulus(nwb_files.series(*given["stimulus"]))
    nwb_files.add_trials(file, given["trials"])
    path = nwb_files.write(file, tmp_path / "session.nwb")
    message = r"(?s)pupil_position is missing: expected a series .*absent = \['pupil_position'\].*treadmill_velocity +TimeSeries"
    with pytest.raises(DataError, match=message):
        from_nwb([path], tmp_path / "out", **OPTIONS)
    assert "# [pupil_radius]\n# nothing is like a series [n] with" in show([path])
    made = from_nwb([path], tmp_path / "out", absent=["pupil_position", "pupil_radius"], **OPTIONS)
    values = data.TrainingData(made / "training_data").values(progress=False)
    assert values.absent() == ["perspectives, pupil x", "perspectives, pupil y", "modulations, pupil radius"]
    assert not values.scaling_problems()


RESPONSES = '[responses]\nobject = "processing/ophys/Fluorescence/Deconvolved"\n'
BAD_MAPPINGS = {
    "no TOML": ("[responses", r"is no TOML"),
    "section": ('[response]\nobject = "a"', r"has a section response; expected .*Did you mean responses\?"),
    "entry": (RESPONSES + "column = 2", r"\[responses\] has an entry column; expected object"),
    "no object": ("[responses]", r"\[responses\] names no object; expected the path of a RoiResponseSeries"),
    "no section": ("responses = 3", r"responses is 3; expected a section"),
    "other roles": (RESPONSES, r"(?s)mapping has no \[stimulus\].*There is:.*stimulus/presentation/movie +ImageSeries"),
    "path": ('[responses]\nobject = "processing/ophys/Deconvolved"\n{rest}', r"which is not there. Did you mean processing/ophys/Fluorescence/Deconvolved\?"),
    "number": ("[responses]\nobject = 3\n{rest}", r"object of \[responses\] is 3; expected the path"),
    "kind": ('[responses]\nobject = "intervals/trials"\n{rest}', r"\[responses\] names intervals/trials, a TimeIntervals; expected a Roi"),
    "axes": ('[responses]\nobject = "processing/ophys/Fluorescence/Deconvolved"\n{rest}axes = "zx"', r"axes of \[stimulus\] is 'zx'; expected one of"),
    "where": ('[responses]\nobject = "processing/ophys/Fluorescence/Deconvolved"\n{rest}\n', r"No row of intervals/trials is left by where"),
}  # fmt: skip
REST = """
[trials]
object = "intervals/trials"
where = { clip = "none" }
[pupil_position]
object = "processing/behavior/EyeTracking/pupil_position"
[pupil_radius]
object = "processing/behavior/PupilTracking/pupil_radius"
[treadmill_velocity]
object = "processing/behavior/treadmill_velocity"
[stimulus]
object = "stimulus/presentation/movie"
"""


@pytest.mark.parametrize("name", BAD_MAPPINGS)
def test_bad_mappings(file, name, tmp_path):
    text, message = BAD_MAPPINGS[name]
    path = tmp_path / "mapping.toml"
    path.write_text(text.replace("{rest}", REST))
    with pytest.raises(ValueError, match=message):
        from_nwb([file], tmp_path / "out", path, **OPTIONS)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_nwb(file, given, tmp_path, capsys):
    import h5py

    (tmp_path / "text.nwb").write_text("no HDF5")
    (tmp_path / "cut.nwb").write_bytes(file.read_bytes()[:5000])
    h5py.File(tmp_path / "other.nwb", "w").close()
    for name in ("text", "cut", "other"):
        assert cli.main(["data", "from-nwb", str(tmp_path / f"{name}.nwb"), "--show"]) == 1
        assert "cannot be read as NWB" in capsys.readouterr().err
    assert cli.main(["data", "from-nwb", str(tmp_path / "none.nwb"), "--show"]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert cli.main(["data", "from-nwb", str(file)]) == 1 and "-o is missing" in capsys.readouterr().err
    shifted = nwb_files.full({**given, "responses": Signal(given["responses"].values, given["responses"].times + 1e6)})
    path = nwb_files.write(shifted, tmp_path / "clock.nwb")
    assert cli.main(["data", "from-nwb", str(path), "-o", str(tmp_path / "out")]) == 1
    assert "Their clocks do not overlap" in capsys.readouterr().err and not (tmp_path / "out").exists()


def recorded(example, path):
    """The example's trials one after the other, as an NWB file: four clocks, other units, gaps; and their split."""
    trials = data.TrainingData(example / "training_data")
    starts = 7.3 + np.arange(len(trials.trials)) * 5.7
    arrays = [trials.read(name) for name in trials.trials.index]
    times = np.concatenate([start + np.arange(len(a["units"])) / HZ for start, a in zip(starts, arrays, strict=True)])
    joined = {kind: np.concatenate([a[kind] for a in arrays]) for kind in arrays[0]}

    def on(clock, values):
        return np.stack([np.interp(clock, times, column) for column in values.T], axis=1)  # NaN stays NaN

    end = starts[-1] + 6
    camera, wheel = np.arange(2, end, 1 / 61.7), np.arange(0, end, 1 / 90)
    given = {
        "responses": Signal(3 * joined["units"], times + 0.002),
        "pupil_position": Signal(20 + 3 * on(camera, joined["perspectives"]), camera),
        "pupil_radius": Signal(5 + on(camera, joined["modulations"])[:, 0], camera),
        "treadmill_velocity": Signal(9 * on(wheel, joined["modulations"])[:, 1], wheel),
        "stimulus": Signal(joined["stimuli"][..., 0], times),
    }
    file = nwb_files.empty()
    nwb_files.add_responses(file, given["responses"].values, timestamps=given["responses"].times)
    nwb_files.add_behaviour(file, given)
    file.add_stimulus(nwb_files.series(*given["stimulus"]))
    file.add_trial_column("part", "training or validation")
    for start, array, is_training in zip(starts, arrays, trials.trials["training"], strict=True):
        part = "training" if is_training else "validation"
        file.add_trial(start_time=start, stop_time=start + len(array["units"]) / HZ, part=part)
    return nwb_files.write(file, path)


@pytest.mark.slow
def test_a_twin_of_a_file_is_as_good_as_one_of_the_arrays(tmp_path):
    """Chance is a correlation of 0."""
    example = make_example(tmp_path / "example")
    path = recorded(example, tmp_path / "session.nwb")
    text = show([path]).replace("[trials]\n", '[trials]\nsplit = "part"\n')
    (tmp_path / "mapping.toml").write_text(text)
    made = from_nwb([path], tmp_path / "made", tmp_path / "mapping.toml", **OPTIONS)
    evaluation = data.EvaluationData(example / "evaluation_data")
    found = {}
    for name, recording in {"arrays": example, "file": made}.items():
        config = (example / "config.toml").read_text().replace('out = "twin"', f'out = "{tmp_path / name}"')
        config = config.replace('"training_data"', f'"{recording / "training_data"}"')
        (example / f"{name}.toml").write_text(config)
        assert cli.main(["train", str(example / f"{name}.toml")]) == 0
        twin = Twin.load(tmp_path / name / "best")
        found[name] = evaluate(twin, evaluation).table["cc_abs"].median()
    print(found)
    assert found["arrays"] > 0.5 and abs(found["file"] / found["arrays"] - 1) < 0.1, found
