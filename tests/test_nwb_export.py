"""What a twin predicts, as NWB: read back to the same numbers, valid, and fit to be shared."""

import datetime

import numpy as np
import pandas as pd
import pytest
from nwbinspector import Importance, inspect_nwbfile, load_config
from pynwb import NWBHDF5IO, validate

from fnn_jax import Screen, cli
from fnn_jax.data import DataError, from_nwb, to_nwb
from fnn_jax.data.nwb_export import export

START = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
SUBJECT = {"subject_id": "17797", "species": "Mus musculus", "sex": "U", "age": "P75D"}
RESPONSES = {
    "first": np.random.default_rng(0).random((40, 3), np.float32),
    "second": np.random.default_rng(1).random((25, 3), np.float32),
}
UNITS = pd.DataFrame(
    {"unit_id": [4, 9, 2], "brain_area": ["V1", None, "LM"], "cc_abs": [0.5, np.nan, 0.25]}
).rename_axis("readout_id")


@pytest.fixture(scope="module")
def videos():
    return np.random.default_rng(0).integers(0, 256, (3, 8, 18, 32), dtype=np.uint8)


def critical(path):
    """What keeps a file from being shared on DANDI: neither pynwb nor the inspector has anything."""
    assert not validate(path=str(path))
    messages = inspect_nwbfile(nwbfile_path=str(path), config=load_config("dandi"))
    return [each.check_function_name for each in messages if each.importance.value >= Importance.CRITICAL.value]


def read(path):
    with NWBHDF5IO(path, "r") as io:
        file = io.read()
        module = file.processing["twin"]
        tables = {
            name: table.to_dataframe() for name, table in module.containers.items() if name != "predicted_responses"
        }
        series = module.containers.get("predicted_responses")
        values = None if series is None else (series.data[:], series.rate, series.starting_time)
        trials = None if file.trials is None else file.trials.to_dataframe()
        return tables, values, trials, (file.session_start_time, file.subject and file.subject.subject_id)


def test_responses_of_predict(tmp_path):
    path = to_nwb(tmp_path / "out.nwb", RESPONSES, UNITS, session_start=START, subject=SUBJECT)
    tables, (values, rate, start), trials, session = read(path)
    np.testing.assert_array_equal(values, np.concatenate(list(RESPONSES.values())))
    assert (rate, start, session) == (30, 0, (START, "17797"))
    assert trials["clip"].tolist() == ["first", "second"]
    np.testing.assert_allclose(trials[["start_time", "stop_time"]], [[0, 40 / 30], [40 / 30, 65 / 30]])
    units = tables["units"]
    assert units["readout_id"].tolist() == [0, 1, 2] and units["brain_area"].tolist() == ["V1", "", "LM"]
    assert units["unit_id"].tolist() == [4, 9, 2] and np.isnan(units["cc_abs"][1])
    assert not critical(path)


@pytest.mark.slow
def test_screens(twin, videos, tmp_path, capsys):
    stored = tmp_path / "screen.zarr"
    dataset = Screen(twin, batch_size=3)(videos, stored)
    arguments = ["--session-start", "2024-05-01T12:00", "--subject-id", "17797", "--species", "Mus musculus"]
    command = [
        "data",
        "to-nwb",
        str(stored),
        "-o",
        str(tmp_path / "out.nwb"),
        *arguments,
        "--sex",
        "U",
        "--age",
        "P75D",
    ]
    assert cli.main(command) == 0 and "written to" in capsys.readouterr().out
    tables, (values, _, _), trials, session = read(tmp_path / "out.nwb")
    np.testing.assert_array_equal(values, dataset.responses.values.reshape(24, 7))
    assert trials["clip"].tolist() == ["0", "1", "2"] and tables["units"]["readout_id"].tolist() == list(range(7))
    assert session == (START, "17797")
    assert not critical(tmp_path / "out.nwb")
    before = (tmp_path / "out.nwb").read_bytes()
    assert cli.main(command) == 1 and "exists already" in capsys.readouterr().err
    assert (tmp_path / "out.nwb").read_bytes() == before
    assert cli.main([*command, "--overwrite"]) == 0

    halves = (
        dataset.responses.coarsen(time=4).mean().rename(time="interval")
    )  # as reduce="mean" of two intervals has it
    means = dataset.drop_vars("responses").assign(responses=halves)
    path = to_nwb(tmp_path / "means.nwb", means, session_start=START, subject=SUBJECT)
    tables, values, _, _ = read(path)
    assert values is None and tables["stimuli"]["stimulus"].tolist() == ["0", "1", "2"]
    np.testing.assert_array_equal(np.stack(tables["stimuli"]["responses"]), means.responses.values)
    assert not critical(path)


def test_files_of_predict(tmp_path, capsys):
    from fnn_jax.common.arrays import write_npz

    names = {
        f"units/{name}": column.to_numpy() for name, column in UNITS.drop(columns="brain_area").reset_index().items()
    }
    write_npz(tmp_path / "responses.npz", RESPONSES | names)
    tables, (values, _, _), _, _ = read(export(tmp_path / "responses.npz", tmp_path / "out.nwb"))
    np.testing.assert_array_equal(values, np.concatenate(list(RESPONSES.values())))
    assert tables["units"]["unit_id"].tolist() == [4, 9, 2]
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    for name, message in [
        ("objects.npz", "Expected a .npz"),
        ("none.npz", "cannot be read"),
        ("none.zarr", "none.zarr"),
    ]:
        assert cli.main(["data", "to-nwb", str(tmp_path / name), "-o", str(tmp_path / "other.nwb")]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "other.nwb").exists()


def test_predictions_are_a_recording_again(tmp_path):
    """As a file of the field is: a twin of a twin."""
    frames = np.random.default_rng(2).integers(0, 256, (65, 18, 32), dtype=np.uint8)
    path = to_nwb(tmp_path / "out.nwb", RESPONSES)
    assert critical(path) == ["check_subject_exists"]
    from pynwb.image import ImageSeries

    with NWBHDF5IO(path, "a") as io:
        file = io.read()
        file.add_stimulus(ImageSeries(name="movie", data=frames, unit="n.a.", rate=30.0))
        io.write(file)
    mapping = {
        "responses": {"object": "processing/twin/predicted_responses"},
        "stimulus": {"object": "stimulus/presentation/movie"},
        "trials": {"object": "intervals/trials", "clip": "clip"},
    }
    absent = ["pupil_position", "pupil_radius", "treadmill_velocity"]
    made = from_nwb([path], tmp_path / "made", mapping, size=(18, 32), absent=absent, progress=False, validation=0)
    responses = np.load(made / "training_data" / "units" / "trial00000.npy")
    scale = pd.read_csv(made / "units.csv")["mean_response"].to_numpy()
    np.testing.assert_allclose(responses * scale, RESPONSES["first"], rtol=1e-4, atol=1e-6)


BAD = {
    "suffix": ({"path": "out.h5"}, r"expected a name that ends in .nwb"),
    "mapping": ({"responses": [1]}, r"responses is \[1\]; expected a mapping"),
    "empty": ({"responses": {}}, r"responses is empty"),
    "shape": ({"responses": {"a": np.zeros(3)}}, r"responses\['a'\] has the shape \[3\]; expected \[frames, units\]"),
    "widths": ({"responses": {**RESPONSES, "c": np.zeros((4, 2))}}, r"responses have \[2, 3\] units"),
    "units": ({"units": UNITS[:2]}, r"units has 2 rows, responses 3 units"),
    "table": ({"units": [1, 2, 3]}, r"units is \[1, 2, 3\]; expected a pandas table"),
    "time": ({"session_start": datetime.datetime(2024, 1, 1)}, r"expected a datetime with a time zone"),
    "subject": ({"subject": {"specie": "x"}}, r"subject is 'specie'; .* Did you mean 'species'\?"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_leaves_nothing(name, tmp_path):
    changes, message = BAD[name]
    arguments = {"responses": RESPONSES, "units": UNITS, **changes}
    with pytest.raises((ValueError, TypeError), match=message):
        to_nwb(tmp_path / arguments.pop("path", "out.nwb"), **arguments)
    assert not list(tmp_path.iterdir())


def test_a_screen_that_is_not_finished(twin, videos):
    dataset = Screen(twin, batch_size=3)(videos).assign_coords(done=("stimulus", np.uint8([1, 2, 0])))
    with pytest.raises(DataError, match=r"2 stimuli of the screen were not shown: \['1', '2'\]. Finish it"):
        to_nwb("out.nwb", dataset)
