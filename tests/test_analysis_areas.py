"""Areas from readout weights: planted areas are told, shuffled ones are not, within scans and across them."""

import numpy as np
import pytest
from matplotlib.figure import Figure

pytest.importorskip("sklearn", reason="scikit-learn is not installed: it is part of the extra 'analysis'")

from threadpoolctl import threadpool_limits

from fnn_jax.analysis import decode_area, figures

pytestmark = pytest.mark.usefixtures("one_thread")
AREAS = np.array(["AL", "LM", "RL", "V1"])


@pytest.fixture(scope="module")
def one_thread():
    """Fits this small take longer with several threads, where others work on the machine, too."""
    with threadpool_limits(1):
        yield


def planted(seed=0, units=100, strength=1.5):
    """Weights whose mean depends on the area; half of the units lie in V1."""
    random = np.random.default_rng(seed)
    areas = AREAS[random.choice(4, units, p=[1 / 6, 1 / 6, 1 / 6, 1 / 2])]
    means = dict(zip(AREAS, np.random.default_rng(99).standard_normal((4, 6)), strict=True))
    return np.stack([strength * means[area] for area in areas]) + random.standard_normal((units, 6)), areas


def test_planted_areas_are_told():
    weights, areas = planted()
    found = decode_area(weights, areas)
    assert found.balanced_accuracy > 0.75 and found.p == 0.05
    assert abs(found.by_chance.mean() - 0.25) < 0.05 and len(found.by_chance) == 19
    counts = [np.sum(areas == area) for area in AREAS]
    assert found.confusion.sum(axis=1).tolist() == counts and list(found.confusion.index) == list(AREAS)
    own = [np.mean(found.predicted[areas == area] == area) for area in AREAS]
    assert found.balanced_accuracy == pytest.approx(np.mean(own))
    np.testing.assert_array_equal(decode_area(weights, areas).predicted, found.predicted)


def test_it_depends_neither_on_scales_nor_on_names():
    weights, areas = planted()
    found = decode_area(weights, areas, folds=2)
    scaled = decode_area(weights * np.array([1, 10, 0.1, 3, 1, 100]) + 5, areas, folds=2)
    assert (scaled.predicted == found.predicted).mean() > 0.99
    renamed = decode_area(weights, np.char.add("x", areas), folds=2)
    np.testing.assert_array_equal(renamed.predicted, np.char.add("x", found.predicted.astype(str)))


def test_a_large_area_is_no_success():
    """Units that are all taken for V1 have half of the answers right, and a balanced accuracy of chance."""
    weights, areas = planted(strength=0)
    found = decode_area(weights, areas)
    assert abs(found.balanced_accuracy - 0.25) < 0.12


@pytest.mark.slow
def test_false_positives_are_as_many_as_they_should_be():
    low = sum(decode_area(*planted(seed, 40, strength=0), folds=2).p <= 0.05 for seed in range(60))
    assert low <= 9  # 3 expected; more by chance in one of 900


def scans(distance):
    """Two scans with the same areas, of which all weights of the second are shifted, each feature by another distance."""
    first, second = planted(1), planted(2)
    weights = np.concatenate([first[0], second[0] + distance * np.random.default_rng(5).standard_normal(6)])
    return weights, np.concatenate([first[1], second[1]]), np.repeat(["8-5", "9-3"], len(first[1]))


def test_across_scans():
    weights, areas, labels = scans(0)
    found = decode_area(weights, areas, scans=labels, across_scans=True)
    assert found.balanced_accuracy > 0.75 and found.p == 0.05
    moved, areas, labels = scans(4)
    spoiled = decode_area(moved, areas, scans=labels, across_scans=True)
    assert spoiled.balanced_accuracy < 0.6
    mended = decode_area(moved, areas, scans=labels, across_scans=True, normalisation="scan")
    assert mended.balanced_accuracy > 0.7
    assert moved.max() > 5  # the array that was given is as it was


def test_areas_are_shuffled_within_scans():
    """Two scans that lie in one area each: weights tell the scan, and areas shuffled across would look like chance."""
    weights, _, labels = scans(4)
    areas = np.where(labels == "8-5", "V1", "LM")
    found = decode_area(weights, areas, scans=labels)
    assert found.balanced_accuracy > 0.9 and found.p == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.full((100, 6), np.nan)}, "weights has values from nan"),
        ({"weights": np.ones(100)}, "weights has the shape"),
        ({"areas": ["V1"] * 100}, "areas has 'V1' alone; expected two areas"),
        ({"areas": ["V1"] * 3}, "areas has the shape"),
        ({"areas": ["LM"] * 3 + ["V1"] * 97}, "areas has 'LM' 3 times; expected at least 5"),
        ({"areas": ["LM"] * 50 + [None] * 50}, "areas is missing for 50 of 100 units"),
        ({"areas": ["LM"] * 50 + [3] * 50}, "areas holds labels of several kinds"),
        ({"across_scans": True}, "scans has one scan alone"),
        ({"across_scans": "yes"}, "across_scans is 'yes'"),
        (
            {"across_scans": True, "areas": ["a"] * 50 + ["b"] * 50, "scans": [1] * 50 + [2] * 50},
            "one area alone outside",
        ),
        ({"normalisation": "none"}, "normalisation is 'none'; expected one of 'training', 'scan'"),
        ({"folds": 1}, "folds is 1"),
        ({"shuffles": 5}, "shuffles is 5; expected an integer from 19 on"),
        ({"regularisation": 0}, "regularisation is 0"),
        ({"seed": 1.5}, "seed is 1.5"),
    ],
)
def test_wrong_arguments(change, message):
    weights, areas = planted()
    arguments = {"weights": weights, "areas": areas} | change
    with pytest.raises((TypeError, ValueError), match=message):
        decode_area(**arguments)


def test_figures():
    weights, areas = planted()
    found = decode_area(weights, areas, folds=2)
    left, right = Figure().subplots(1, 2)
    assert figures.draw_confusion(left, found) is left and figures.draw_chance(right, found) is right
    assert [label.get_text() for label in left.get_xticklabels()] == list(AREAS)
