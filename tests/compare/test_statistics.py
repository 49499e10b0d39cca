from __future__ import annotations

import numpy as np
import pytest

from compare.statistics import Proportion, mean_interval, median_interval


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_of_proportions_are_wilsons(hits, of, low, high) -> None:
    # Newcombe 1998, Statistics in Medicine 17, 857, table I, method 3
    assert Proportion(hits=hits, of=of).interval == pytest.approx((low, high), abs=5e-5)


def test_a_proportion_of_nothing_is_unknown() -> None:
    assert Proportion(hits=0, of=0).interval == (0, 1)
    assert str(Proportion(hits=0, of=0)) == "–"


@pytest.mark.parametrize(
    ("values", "interval"),
    [
        ([1, 2, 3, 4, 5], None),
        ([6, 5, 4, 3, 2, 1], (1, 6)),
        (range(1, 9), (1, 8)),
        (range(1, 10), (2, 8)),
        (range(1, 31), (10, 21)),
    ],
)
def test_intervals_of_medians_are_the_sign_tests(values, interval) -> None:
    assert median_interval(values) == interval


def test_intervals_of_means_hold_the_mean_and_are_always_the_same() -> None:
    values = [1.0, 2.0, 3.0, 4.0, -1.0]
    low, high = mean_interval(values)
    assert low < 1.8 < high
    assert mean_interval(values) == (low, high)
    assert mean_interval([2.0] * 5) == mean_interval([2.0]) == (2, 2)


def test_intervals_of_means_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    drawn = [mean_interval(rng.normal(0.5, 1, 60)) for _ in range(100)]
    assert 88 <= sum(low <= 0.5 <= high for low, high in drawn) <= 99
