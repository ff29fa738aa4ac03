"""Measures of pairs of units, and whether one goes with another: planted structure is found, and none in noise."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from fnn_jax import physiology
from fnn_jax.analysis import (
    feature_similarity,
    figures,
    location_distance,
    orientation_similarity,
    relate,
    tuning_similarity,
    unit_pairs,
)


@pytest.fixture
def random():
    return np.random.default_rng(3)


def test_measures_are_those_of_physiology(twin, random):
    """The matrices of ``physiology``, pair by pair."""
    responses = random.random((12, twin.num_units))
    first, second = unit_pairs(twin.num_units).T
    for measure, matrix in (
        (tuning_similarity(responses), physiology.signal_correlation(responses)),
        (feature_similarity(twin.readout_weights()), physiology.readout_cosine(twin)),
        (location_distance(twin), physiology.location_distance_deg(twin)),
    ):
        np.testing.assert_allclose(measure.values(first, second), matrix[first, second], atol=1e-6)
    assert location_distance(twin, twin).values(np.array([2]), np.array([2 + twin.num_units])) == 0


def test_measures_do_not_depend_on_scale_or_blocks(random, monkeypatch):
    weights, responses = random.standard_normal((30, 8)), random.random((9, 30))
    first, second = unit_pairs(30).T
    scale = random.uniform(0.1, 10, 30)
    weighted, tuned = (
        feature_similarity(weights).values(first, second),
        tuning_similarity(responses).values(first, second),
    )
    monkeypatch.setattr("fnn_jax.analysis.measures.BLOCK", 50)
    rescaled = feature_similarity(weights * scale[:, None])
    np.testing.assert_allclose(rescaled.values(first, second), weighted, atol=1e-12)
    shifted = tuning_similarity(responses * scale + 3)
    np.testing.assert_allclose(shifted.values(first, second), tuned, atol=1e-12)


def test_orientations():
    measure = orientation_similarity([0, 180, 90, 45, np.nan])
    np.testing.assert_allclose(measure.values(np.zeros(3, int), np.array([1, 2, 3])), [1, -1, 0], atol=1e-12)
    assert measure.known().tolist() == [True] * 4 + [False]


def test_pairs():
    every = unit_pairs(40)
    assert len(every) == 780 and (every[:, 0] < every[:, 1]).all() and len(np.unique(every, axis=0)) == 780
    scans = ["b", "a"] * 20
    within = unit_pairs(40, scans)
    assert len(within) == 2 * 190 and (within.sum(1) % 2 == 0).all()
    large = unit_pairs(100_000, most=20_000, seed=1)
    assert large.shape == (20_000, 2) and (large[:, 0] < large[:, 1]).all() and len(np.unique(large, axis=0)) == 20_000
    assert abs(large[:, 1].mean() / 100_000 - 2 / 3) < 0.01  # of uniform pairs, the larger row
    np.testing.assert_array_equal(large, unit_pairs(100_000, most=20_000, seed=1))
    assert not np.array_equal(large, unit_pairs(100_000, most=20_000, seed=2))


def planted(random, units=60, noise=0.5):
    """Responses that are linear in the weights, and noise."""
    weights = random.standard_normal((units, 12))
    responses = random.standard_normal((40, 12)) @ weights.T
    return weights, responses + noise * responses.std() * random.standard_normal(responses.shape)


def test_planted_relation_is_found(random):
    weights, responses = planted(random)
    scans = np.arange(60) % 2
    x, y = feature_similarity(weights), tuning_similarity(responses)
    found = relate(x, y, scans=scans, permutations=99)
    assert repr(found).startswith("Relation(") and "rho " in repr(found)
    assert found.rho > 0.5 and found.p == 0.01 and found.num_units == 60 and found.num_pairs == 870
    assert (found.x, found.y) == ("feature similarity", "signal correlation")
    assert found.curve["y"].iloc[-1] > found.curve["high"].iloc[-1]
    assert found.curve["y"].iloc[0] < found.curve["low"].iloc[0]
    assert found.curve["pairs"].sum() == 870 and found.curve["x"].is_monotonic_increasing
    first, second = unit_pairs(60, scans).T
    assert found.rho == pytest.approx(spearmanr(x.values(first, second), y.values(first, second)).statistic)
    again = relate(x, y, scans=scans, permutations=99)
    np.testing.assert_array_equal(again.by_chance, found.by_chance)
    assert relate(y, x, scans=scans, permutations=19).rho == pytest.approx(found.rho)

    order = random.permutation(60)  # the order of units does not matter
    x, y = x._replace(vectors=x.vectors[order]), y._replace(vectors=y.vectors[order])
    assert relate(x, y, scans=scans[order], permutations=19).rho == pytest.approx(found.rho)


def test_unknown_units_are_left_out(random):
    weights, responses = planted(random)
    responses[:, 5], responses[2, 7], weights[9] = 1.0, np.nan, 0
    found = relate(feature_similarity(weights), tuning_similarity(responses), permutations=19)
    kept = np.setdiff1d(np.arange(60), [5, 7, 9])
    same = relate(feature_similarity(weights[kept]), tuning_similarity(responses[:, kept]), permutations=19)
    assert found.left_out == 3 and found.num_units == 57 and found.rho == pytest.approx(same.rho)


@pytest.mark.slow
def test_false_positives_are_as_many_as_they_should_be():
    """Of 200 data sets without structure. Where pairs count as independent, there are many more."""
    low = of_pairs = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        # Some units are like many others, and some like none: pairs are far from independent.
        weights = random.exponential(1, (20, 1)) + random.standard_normal((20, 6))
        responses = random.standard_normal((10, 1)) * random.exponential(1, 20) + random.standard_normal((10, 20))
        x, y = feature_similarity(weights), tuning_similarity(responses)
        found = relate(x, y, permutations=19, seed=seed)
        low += found.p <= 0.05
        first, second = unit_pairs(20).T
        of_pairs += spearmanr(x.values(first, second), y.values(first, second)).pvalue <= 0.05
    assert 2 <= low <= 20  # 10 expected; outside of this by chance in one of 400
    assert of_pairs > 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": "weights"}, "x is 'weights'; expected a measure"),
        ({"y": orientation_similarity(np.arange(5.0))}, "y is of 5 units; expected 12"),
        (
            {"x": feature_similarity(np.full((12, 3), np.nan))},
            "x and y are both known for 0 units; expected at least 10",
        ),
        ({"x": feature_similarity(np.ones((12, 3)))}, "x is 1 for all pairs"),
        ({"scans": [1, 2]}, "scans has the shape"),
        ({"scans": [None] * 12}, "scans is missing for 12 of 12 units"),
        ({"scans": range(12)}, "scans has no two of the 12 units in one scan"),
        ({"bins": 0}, "bins is 0"),
        ({"permutations": 3}, "permutations is 3; expected an integer from 19 on"),
        ({"most_pairs": 1.5}, "most_pairs is 1.5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_arguments(change, message, random):
    arguments = {"x": feature_similarity(random.random((12, 3))), "y": orientation_similarity(np.arange(12.0))} | change
    with pytest.raises((TypeError, ValueError), match=message):
        relate(arguments.pop("x"), arguments.pop("y"), **arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tuning_similarity(np.ones((2, 5))), "responses has 2 conditions"),
        (lambda: tuning_similarity([1.0, 2.0]), "responses has the shape"),
        (lambda: feature_similarity([["a"]]), "weights is"),
        (lambda: feature_similarity([[np.inf, 1]]), "weights has infinite values"),
        (lambda: orientation_similarity([]), "pref_ori has the shape"),
        (lambda: location_distance("8-5"), "twins is .*; expected one twin or more"),
    ],
)
def test_wrong_measures(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_figure(random):
    weights, responses = planted(random)
    ax = Figure().subplots()
    found = relate(feature_similarity(weights), tuning_similarity(responses), permutations=19)
    assert figures.draw_relation(ax, found) is ax
    assert ax.get_xlabel() == "feature similarity" and len(ax.lines[0].get_xdata()) == len(found.curve) == 10
