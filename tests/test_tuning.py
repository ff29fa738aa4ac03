"""Measures of tuning give known answers back, and agree with SciPy; what is undefined is NaN and says so."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from fnn_jax import physiology
from fnn_jax.physiology import curves
from fnn_jax.physiology.least_squares import least_squares
from fnn_jax.physiology.von_mises import LARGEST_A, LARGEST_K, STARTS_K, von_mises_curve

DIRECTIONS = np.arange(16) * 22.5


def random_curves(count, noise, seed=0):
    random = np.random.default_rng(seed)
    parameters = {
        "mu": random.uniform(0, 2 * np.pi, count),
        "phi": random.uniform(0.5, 1, count),
        "k": random.uniform(0.5, 8, count),
        "A": random.uniform(0.2, 5, count),
        "u": random.uniform(0.05, 1, count),
    }
    clean = von_mises_curve(DIRECTIONS[:, None], **parameters)
    return parameters, np.maximum(clean + noise * clean.max(0) * random.standard_normal(clean.shape), 0)


def test_known_tuning_comes_back():
    parameters, clean = random_curves(500, 0)
    table = physiology.direction_selectivity(DIRECTIONS, clean)
    assert (table["fit"] == "good").all() and table["r2"].min() > 1 - 1e-9
    for name in ("phi", "k", "A", "u"):
        np.testing.assert_allclose(table[name], parameters[name], rtol=1e-4, atol=1e-4)
    turn = np.rad2deg(np.angle(np.exp(1j * (table["mu"] - parameters["mu"]))))
    assert np.abs(turn).max() < 0.01
    np.testing.assert_allclose(table["pref_dir"], np.rad2deg(table["mu"]))
    np.testing.assert_allclose(table["pref_ori"], table["pref_dir"] % 180)

    def at(turn):
        return von_mises_curve(np.rad2deg(parameters["mu"]) + turn, **parameters)

    peak, orthogonal = (at(0) + at(180)) / 2, (at(90) + at(270)) / 2
    np.testing.assert_allclose(table["OSI"], (peak - orthogonal) / (peak + orthogonal), atol=1e-5)
    np.testing.assert_allclose(table["DSI"], 1 - at(180) / at(0), atol=1e-5)


def test_global_selectivity_of_cosines():
    turn = np.deg2rad(DIRECTIONS)[:, None]
    amounts = np.array([0, 0.3, 0.9])
    np.testing.assert_allclose(
        physiology.gosi(DIRECTIONS, 2 + 2 * amounts * np.cos(2 * turn - 1)), amounts / 2, atol=1e-12
    )
    np.testing.assert_allclose(physiology.gdsi(DIRECTIONS, 2 + 2 * amounts * np.cos(turn - 1)), amounts / 2, atol=1e-12)
    np.testing.assert_allclose(physiology.gdsi(DIRECTIONS, 2 + 2 * amounts * np.cos(2 * turn - 1)), 0, atol=1e-12)
    one = np.eye(16)[:, [3]]
    assert physiology.gosi(DIRECTIONS, one)[0] == pytest.approx(1) and physiology.gdsi(DIRECTIONS, one)[
        0
    ] == pytest.approx(1)


def scipy_fit(curve):
    """The best of SciPy's fits from the same starts."""

    def residuals(p):
        return von_mises_curve(DIRECTIONS, *p) - curve

    base = max(curve.min(), curve.max() / 100)
    top = LARGEST_A * curve.max()
    bounds = ([-np.inf, 0, 0, 0, 0], [np.inf, 1, LARGEST_K, top, np.inf])
    fits = []
    for k in STARTS_K:
        start = [np.deg2rad(DIRECTIONS[curve.argmax()]), 0.5, k, np.clip(2 * (curve.max() - base), 1e-9, top), base]
        fits.append(
            optimize.least_squares(residuals, start, bounds=bounds, xtol=1e-12, ftol=1e-12, gtol=1e-12, max_nfev=2000)
        )
    return min(fits, key=lambda fit: fit.cost)


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_fits_agree_with_scipy(count):
    _, noisy = random_curves(count, 0.1, seed=1)
    table = physiology.direction_selectivity(DIRECTIONS, noisy)
    theirs = [scipy_fit(curve) for curve in noisy.T]
    ours_rmse, their_rmse = table["rmse"].to_numpy(), np.array([np.sqrt(2 * fit.cost / 16) for fit in theirs])
    assert (ours_rmse < their_rmse * (1 + 1e-4) + 1e-9).mean() > 0.995  # nowhere else is there a better minimum
    same = np.abs(ours_rmse - their_rmse) < 1e-5 * their_rmse
    assert same.mean() > 0.95
    for name, value in (("OSI", osi), ("DSI", dsi)):
        expected = np.array([value(fit.x) for fit in theirs])
        close = np.abs(table[name] - expected)[same & (table["fit"] == "good")]
        assert np.quantile(close, 0.99) < 1e-3, name
        assert np.median(close) < 1e-5, name


def osi(p):
    at = {turn: von_mises_curve(np.rad2deg(p[0]) + turn, *p) for turn in (0, 90, 180, 270)}
    peak, orthogonal = at[0] + at[180], at[90] + at[270]
    return (peak - orthogonal) / (peak + orthogonal)


def dsi(p):
    values = [von_mises_curve(np.rad2deg(p[0]) + turn, *p) for turn in (0, 180)]
    return 1 - min(values) / max(values)


def test_fits_do_not_depend_on_scale_or_company():
    _, noisy = random_curves(40, 0.1, seed=2)
    table = physiology.direction_selectivity(DIRECTIONS, noisy)
    scaled = physiology.direction_selectivity(DIRECTIONS, noisy * 1e-4)
    np.testing.assert_allclose(scaled[["OSI", "DSI", "k"]], table[["OSI", "DSI", "k"]], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(scaled["A"], table["A"] * 1e-4, rtol=1e-6)
    alone = pd.concat(
        [physiology.direction_selectivity(DIRECTIONS, noisy[:, [i]]) for i in range(5)], ignore_index=True
    )
    pd.testing.assert_frame_equal(alone, table[:5])
    turned = physiology.direction_selectivity((DIRECTIONS + 45) % 360, noisy)
    np.testing.assert_allclose(np.cos(np.deg2rad(turned["pref_dir"] - table["pref_dir"] - 45)), 1, atol=1e-6)


def test_what_is_undefined_is_flagged():
    _, curve = random_curves(1, 0)
    units = np.repeat(curve, 6, axis=1)
    units[:, 1] = 0
    units[3, 2] = np.nan
    units[:, 3] = np.nan
    units[:, 4] = 0.7
    units[:, 5] = np.where(np.arange(16) == 5, 1.0, 1e-3)  # one direction alone: the peak's width is not known
    table = physiology.direction_selectivity(DIRECTIONS, units)
    assert table["fit"].tolist() == ["good", "undefined", "good", "undefined", "flat", "narrow"]
    numbers = table.drop(columns="fit")
    assert numbers.loc[[1, 3]].isna().all(axis=None)
    assert np.isnan(table["gOSI"][2]) and abs(table["OSI"][2] - table["OSI"][0]) < 1e-4
    assert table.loc[4, ["OSI", "DSI", "gOSI"]].abs().max() < 1e-12 and np.isnan(table["pref_dir"][4])
    assert table["u"][4] == pytest.approx(0.7) and table["pref_dir"][5] == pytest.approx(112.5, abs=3)
    for directions, message in (
        (np.deg2rad(DIRECTIONS), "expected degrees"),
        (np.append(DIRECTIONS[:15], 0), "more than once"),
        (DIRECTIONS[:9], r"\[9\] and curves \[16, 6\]"),
    ):
        with pytest.raises(ValueError, match=message):
            physiology.direction_selectivity(directions, units)
    with pytest.raises(ValueError, match="expected at least 5"):
        physiology.direction_selectivity(DIRECTIONS[:4], units[:4])


def test_interval_responses_and_curves():
    responses = np.arange(60.0).reshape(30, 2)
    table = pd.DataFrame({"onset_s": [0, 0.5, 0.2], "offset_s": [0.5, 1, 0.3], "direction": [0, 90, 0]})
    means = physiology.interval_responses(responses, table)
    np.testing.assert_array_equal(
        means[:, 0], [responses[:15, 0].mean(), responses[15:, 0].mean(), responses[6:9, 0].mean()]
    )
    means[0, 1] = np.nan
    values, curve = physiology.tuning_curve(means, table)
    assert values.tolist() == [0, 90] and values.name == "direction"
    np.testing.assert_array_equal(curve, [[means[[0, 2], 0].mean(), means[2, 1]], means[1]])
    values, curve = physiology.tuning_curve(means, table.assign(size=[1, 1, 2]), ["direction", "size"])
    assert values.tolist() == [(0, 1), (0, 2), (90, 1)]
    late = pd.DataFrame({"onset_s": [0.5], "offset_s": [1.2]})
    with pytest.raises(ValueError, match="end after the 30 frames of responses, such as the one to frame 36"):
        physiology.interval_responses(responses, late)
    with pytest.raises(ValueError, match="in which no frame lies"):
        physiology.interval_responses(responses, table.assign(offset_s=0.0))
    with pytest.raises(ValueError, match="by is 'size'"):
        physiology.tuning_curve(means, table, "size")
    with pytest.raises(ValueError, match="responses has 2 intervals and conditions 3"):
        physiology.tuning_curve(means[:2], table)


def test_permutation_test():
    random = np.random.default_rng(0)
    directions = np.repeat(DIRECTIONS, 5)
    noise = random.gamma(2, size=(80, 300))
    tuned = noise[:, :1] * 0.1 + 1 + np.cos(np.deg2rad(directions - 40))[:, None]
    silent, broken = np.zeros((80, 1)), np.full((80, 1), np.nan)
    table = physiology.permutation_test(directions, np.hstack([noise, tuned, silent, broken]), permutations=200)
    p = table["p"].to_numpy()
    assert p[300] == pytest.approx(1 / 201) and np.isnan(p[301:]).all() and np.isnan(table["gDSI"][301:]).all()
    # Of units without tuning every p is as likely as any other.
    assert abs((p[:300] < 0.05).mean() - 0.05) < 0.04 and abs(p[:300].mean() - 0.5) < 0.05
    values, curve = physiology.tuning_curve(tuned, pd.DataFrame({"direction": directions}))
    assert table["gDSI"][300] == pytest.approx(physiology.gdsi(values, curve)[0])
    with pytest.raises(ValueError, match="Every direction was shown once"):
        physiology.permutation_test(DIRECTIONS, noise[:16])
    with pytest.raises(ValueError, match="statistic is 'OSI'"):
        physiology.permutation_test(directions, noise, statistic="OSI")


def test_contrast_and_frequency_curves():
    random = np.random.default_rng(3)
    contrasts = np.array([0, 0.05, 0.1, 0.2, 0.4, 0.8, 1])
    c50, exponent, r_max = random.uniform(0.1, 0.6, 50), random.uniform(1, 4, 50), random.uniform(0.1, 9, 50)
    power = contrasts[:, None] ** exponent
    table = curves.naka_rushton(contrasts, r_max * power / (power + c50**exponent) + 0.3)
    assert (table["fit"] == "good").all()
    for name, value in (("c50", c50), ("exponent", exponent), ("r_max", r_max), ("base", 0.3)):
        np.testing.assert_allclose(table[name], np.broadcast_to(value, 50), rtol=1e-3)
    frequencies = 0.01 * 2.0 ** np.arange(6)
    best, width = random.uniform(0.015, 0.25, 50), random.uniform(0.5, 1.5, 50)
    z = np.log2(frequencies[:, None] / best) / width
    table = curves.log_gaussian(frequencies, 2 * np.exp(-(z**2) / 2) + 0.1)
    assert (table["fit"] == "good").all()
    np.testing.assert_allclose(table["preferred"], best, rtol=1e-3)
    np.testing.assert_allclose(table["bandwidth_octaves"], 2.3548 * width, rtol=1e-3)
    beyond = curves.log_gaussian(frequencies, np.exp(frequencies * 9)[:, None] * [[1.0, 0, np.nan]] + [[0, 1.0, 0]])
    assert beyond["fit"].tolist() == ["at bound", "flat", "undefined"] and beyond["peak"][0] == pytest.approx(0.32)
    assert beyond[["preferred", "r2"]].loc[1:].isna().all(axis=None)
    for call, message in (
        (lambda: curves.log_gaussian([0, 1, 2, 3], np.ones((4, 1))), "expected all above 0"),
        (lambda: curves.naka_rushton([0, 1, 2, 3], np.ones((4, 1))), "expected 0 to 1"),
        (lambda: curves.naka_rushton([0, 0.5, 1], np.ones((3, 1))), "expected at least 4"),
        (lambda: curves.size_preference([1, 1], np.ones((2, 1))), "each once"),
        (lambda: curves.size_preference([1, 2], np.ones((3, 1))), r"\[2\] and curves \[3, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_sizes_surrounds_and_separability():
    table = curves.size_preference([5, 20, 10, 40], np.array([[1, 0], [2, 0], [4, 0], [1, 0]], float))
    assert table["preferred_size"][0] == 10 and table["suppression"][0] == 0.75 and table.loc[1].isna().all()
    np.testing.assert_allclose(curves.surround_modulation([3, 1, 0], [1, 3, 0]), [-0.5, 0.5, np.nan])
    product = np.outer([1, 2, 4], [1, 3])
    several = [product, np.array([[1, 0], [0, 1], [0, 0]]), np.zeros((3, 2)), np.full((3, 2), np.nan)]
    result = curves.separability(np.stack(several, axis=-1))
    np.testing.assert_allclose(result, [1, 0.5, np.nan, np.nan], rtol=1e-12)


def test_least_squares_keeps_bounds_and_finds_minima():
    """Of Rosenbrock's valley, within and against bounds."""

    def valley(parameters, problems):
        x, y = parameters.T
        residuals = np.stack([10 * (y - x**2), 1 - x], axis=1)
        zeros, ones = np.zeros_like(x), np.ones_like(x)
        return residuals, np.stack([np.stack([-20 * x, 10 * ones], 1), np.stack([-ones, zeros], 1)], axis=1)

    start = np.array([[-1.2, 1], [3, -4], [0, 0]], float)
    free = least_squares(valley, start, np.full(2, -np.inf), np.full(2, np.inf))
    np.testing.assert_allclose(free.parameters, 1, atol=1e-6)
    assert free.converged.all() and free.cost.max() < 1e-12
    bound = least_squares(valley, start, np.full(2, -5.0), np.array([0.5, 5]))
    np.testing.assert_allclose(bound.parameters, [[0.5, 0.25]] * 3, atol=1e-6)
    stuck = least_squares(valley, start, np.full(2, -5.0), np.full(2, 5.0), max_steps=2)
    assert not stuck.converged[:2].any()
