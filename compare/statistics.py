"""95 % confidence intervals, computed by scipy.stats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, computed_field
from scipy import stats

RESAMPLES = 10_000


class Proportion(BaseModel, frozen=True):
    """A proportion with its 95 % Wilson interval."""

    hits: int
    of: int

    @computed_field
    @property
    def value(self) -> float | None:
        """From 0 to 1; None for 0 of 0."""
        return self.hits / self.of if self.of else None

    @computed_field
    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval, which also holds for small samples and near 0 and 1."""
        if not self.of:
            return 0.0, 1.0
        low, high = stats.binomtest(self.hits, self.of).proportion_ci(method="wilson")
        return float(low), float(high)

    def __str__(self) -> str:
        if not self.of:
            return "–"
        low, high = self.interval
        return f"{self.value:.0%} ({low:.0%} to {high:.0%}, n = {self.of})"


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The percentile bootstrap's interval for the mean. It assumes no distribution; the same values always
    give the same interval."""
    if len(values) == 1:
        return values[0], values[0]
    rng = np.random.default_rng(0)
    found = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The interval for the median between two of the values (order statistics, as in the sign test). It
    assumes no distribution. None for fewer than six values, which give no such interval."""
    found = stats.quantile_test(values, q=0, p=0.5).confidence_interval(0.95)
    return None if math.isnan(found.low) or math.isnan(found.high) else (float(found.low), float(found.high))
