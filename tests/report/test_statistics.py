"""Intervals and p-values against published tables, and against formulas worked out by hand."""

from __future__ import annotations

import math

import pytest

from resrepro.report.statistics import (
    Estimate,
    Mean,
    Noise,
    binomial_noise,
    holm,
    pooled_noise,
    predicted,
    rank_test,
    sample_noise,
    t_tail,
    trend,
)


def mean(*values: float) -> Mean:
    noise = sample_noise(values, None)
    assert noise is not None
    return Mean(value=sum(values) / len(values), num_seeds=len(values), noise=noise)


@pytest.mark.parametrize(
    ("t", "degrees", "tail"),
    [
        (6.314, 1, 0.05),
        (2.920, 2, 0.05),
        (2.132, 4, 0.05),
        (1.812, 10, 0.05),
        (-2.132, 4, 0.95),
        (1.645, math.inf, 0.05),
    ],
)
def test_the_t_distribution_is_that_of_the_published_tables(t: float, degrees: float, tail: float) -> None:
    assert t_tail(t, degrees) == pytest.approx(tail, abs=5e-5)


def test_a_difference_of_two_means_by_hand() -> None:
    found = trend([mean(3, 4, 5), mean(1, 2, 3)])
    assert (found.value, found.degrees) == (2, pytest.approx(4))
    # t = 2.449, 4 degrees: one-sided p = 1/2 - 3/8 * t / sqrt(2.5) * (1 - 6 / 2.5 / 12)
    assert found.p_of(0) == pytest.approx(2 * (0.5 - 3 / 8 * math.sqrt(6 / 2.5) * 0.8), abs=1e-6)
    assert found.interval() == pytest.approx((2 - 2.7764 * math.sqrt(2 / 3), 2 + 2.7764 * math.sqrt(2 / 3)), abs=1e-4)
    assert found.p_of(2) == pytest.approx(1) and found.p_of(0, 2) == pytest.approx(1)
    # variances 2 / 2 and 1 / 3: (4/3)^2 / (1 + 1/18) degrees
    unequal = trend([mean(0, 2), mean(-4, -3, -2)])
    assert (unequal.error**2, unequal.degrees) == (pytest.approx(4 / 3), pytest.approx(16 / 9 / (19 / 18)))


def test_one_known_variance_leaves_the_degrees_of_the_other() -> None:
    known = Mean(value=1.0, num_seeds=1, noise=Noise(variance=0.0001, words=""))
    assert trend([mean(3, 4, 5), known]).degrees == pytest.approx(2, abs=2e-3)
    assert trend([known, known]).degrees == math.inf


def test_a_trend_is_a_least_squares_slope() -> None:
    found = trend([mean(9, 10), mean(6, 7), mean(5, 6)])  # weights 1/2, 0, -1/2
    assert found.value == pytest.approx(2.0) and found.error**2 == pytest.approx(0.25 * 0.25 * 2)
    assert found.degrees == pytest.approx(2)


def test_a_prediction_interval_by_hand() -> None:
    noise = Noise(variance=0.16**2, degrees=4, words="")
    found = predicted([6.9], 6.61, 5, noise)
    assert found.value == pytest.approx(0.29) and found.error == pytest.approx(0.16 * math.sqrt(1.2))
    low, high = found.interval()
    assert (high - low) / 2 == pytest.approx(2.7764 * 0.16 * math.sqrt(1.2), abs=1e-4)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_noise_of_images_and_of_seeds() -> None:
    assert binomial_noise(50.0, 10_000).variance == pytest.approx(0.25, abs=1e-4)
    assert 0 < binomial_noise(0.0, 10_000).variance < 1e-3
    floor = Noise(variance=0.04, words="binomial")
    equal = sample_noise([7.0, 7.0], floor)
    assert equal is not None and (equal.variance, equal.degrees) == (0.04, 1)
    assert sample_noise([7.0, 7.0], None) is None
    wide = sample_noise([7.0, 9.0], floor)
    assert wide is not None and (wide.variance, wide.degrees) == (2.0, 1)
    pooled = pooled_noise([(1, 3), (0, 1, 2)])
    assert pooled is not None and (pooled.variance, pooled.degrees) == (pytest.approx(4 / 3), 3)
    assert pooled_noise([]) is None


def test_an_estimate_far_from_its_bound_has_a_small_p() -> None:
    assert Estimate(value=3.0, error=1.0, degrees=math.inf).p_of(0) == pytest.approx(0.0027, abs=1e-5)


def test_ranks_by_hand() -> None:
    pairs = rank_test([(3.0, 5.0, 9.0), (1.0, 4.0, 10.5)])  # differences 2, 1, -1.5: ranks 3, 1, -2
    assert (pairs.effect, pairs.p_value) == (pytest.approx((3 + 1 - 2) / 6), pytest.approx(2 * 3 / 8))
    assert "Wilcoxon's signed-rank test of 3 layers, the first above in 2" in pairs.words
    six = rank_test([[float(x) for x in range(2, 8)], [float(x) / 2 for x in range(2, 8)]])
    assert (six.effect, six.p_value) == (1.0, pytest.approx(2 / 2**6))
    trend = rank_test([(3.0, 4.0), (2.0,), (0.0, 1.0)])  # all 8 pairs of different samples are in order
    assert trend.effect == pytest.approx(8 / math.sqrt(8 * 10)) and 0.02 < trend.p_value < 0.1
    for constant in ([(1.0, 1.0), (1.0, 1.0)], [(1.0,), (1.0, 1.0)]):
        assert (rank_test(constant).effect, rank_test(constant).p_value) == (0.0, 1.0)
