"""Programs for the released package, run by it and, with another import line, by fnn_jax.released; every array agrees.

Run it where the package is importable: ``PYTHONPATH=path/to/fnn pytest -m released``.
"""

import numpy as np
import pandas as pd
import pytest
import recipe

from fnn_jax.released import microns as ours

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
theirs = pytest.importorskip(
    "fnn.microns", reason="the released package (github.com/cajal/fnn) is not importable", exc_type=ImportError
)
import released_scripts  # noqa: E402  after PyTorch

pytestmark = [pytest.mark.released, pytest.mark.filterwarnings("default")]
UNITS, ALLOWED = 5, 1e-5
# At the edge of the monitor the retinal image depends on every digit of where a pixel looks; both compute it in float32.
STEEP = {"perspective": 3e-4, "core.feedforward.blocks.0": 3e-5}
# Of these the relative error is that of each element: they are above zero. Of others, which pass through zero, the
# errors are relative to the largest element.
POSITIVE = {
    "responses",
    "longer",
    "after",
    "before",
    "predictions",
    "means",
    "tuning",
    "first",
    "again",
    "on",
    "stream",
    "extend",
}


@pytest.fixture(scope="module")
def published(shapes, tmp_path_factory):
    """The published files of the scan 8-5, beside units of another scan."""
    folder = tmp_path_factory.mktemp("published")
    scaled = {key: [UNITS, *shape[1:]] if key.startswith("readout") else shape for key, shape in shapes.items()}
    state = {key: torch.from_numpy(np.array(value)) for key, value in recipe.weights(scaled, 11).items()}
    core = {key: value for key, value in state.items() if key.startswith("core.")}
    torch.save(core, folder / "params_core.pt")
    torch.save({key: value for key, value in state.items() if key not in core}, folder / "params_8_5.pt")
    rows = [{"session": 7, "scan_idx": 3, "unit_id": i, "readout_id": i} for i in range(2)]
    rows += [{"session": 8, "scan_idx": 5, "unit_id": 10 * i + 3, "readout_id": i} for i in range(UNITS)]
    pd.DataFrame(rows).to_csv(folder / "units.csv", index=False)
    counts = [{"session": 7, "scan_idx": 3, "units": 2}, {"session": 8, "scan_idx": 5, "units": UNITS}]
    pd.DataFrame(counts).to_csv(folder / "scans.csv", index=False)
    return folder


def error(name, ours, theirs):
    """The largest relative difference; infinite where shapes, dtypes or what is no float differ."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return np.inf
    if ours.dtype.kind != "f":
        return 0.0 if np.array_equal(ours, theirs) else np.inf
    scale = abs(theirs) if name in POSITIVE else max(abs(theirs).max(), 1e-30)
    return float((abs(ours - theirs) / scale).max())


@pytest.mark.slow  # ten minutes, most of it to compile
@pytest.mark.parametrize("script", released_scripts.SCRIPTS, ids=lambda script: script.__name__)
def test_scripts_agree(script, published):
    expected, found = script(theirs, published), script(ours, published)
    assert found.keys() == expected.keys()
    errors = {name: error(name, found[name], expected[name]) for name in expected}
    print(script.__name__, {name: f"{value:.1e}" for name, value in errors.items() if value})
    assert {name: value for name, value in errors.items() if not value <= STEEP.get(name, ALLOWED)} == {}


@pytest.mark.slow
def test_a_difference_is_found(published):
    """The negative control: one weight of the readout off by 1 % fails."""
    changed, _ = ours.scan(8, 5, directory=published)
    state = changed.state_dict()
    changed.load_state_dict(
        state | {"readout.feature.weights.0": state["readout.feature.weights.0"] * np.float32(1.01)}
    )
    model, _ = ours.scan(8, 5, directory=published)
    video = np.zeros((2, 144, 256), np.uint8)
    assert error("responses", changed.predict(video), model.predict(video)) > ALLOWED


@pytest.mark.slow
def test_scans_and_files(published, tmp_path, monkeypatch):
    """Tables, file names and working directory as the released functions have them."""
    monkeypatch.chdir(published)
    model, ids = theirs.scan(8, 5, cuda=False)
    same, own = ours.scan(8, 5, cuda=False)
    pd.testing.assert_frame_equal(own, ids)
    assert ours.units(8, 5) == theirs.units(8, 5, published)
    pd.testing.assert_frame_equal(ours.unit_ids(8, 5), theirs.unit_ids(8, 5, published))
    torch.save(model.state_dict(), tmp_path / "all.pt")
    loaded = ours.load_network_from_params(tmp_path / "all.pt")
    state = theirs.load_network_from_params(tmp_path / "all.pt", cuda=False).state_dict()
    for found in (loaded.state_dict(), same.state_dict(), ours.params(8, 5)):
        assert found.keys() == state.keys()
        assert all(np.array_equal(found[key], value.numpy()) for key, value in state.items())
