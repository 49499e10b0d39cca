"""A share of so many, and how sure it is."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, computed_field


class Share(BaseModel):
    """So many of so many, with the 95 % confidence interval."""

    model_config = ConfigDict(frozen=True)

    hits: int
    of: int

    @computed_field
    @property
    def value(self) -> float | None:
        return self.hits / self.of if self.of else None

    @computed_field
    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval, which also holds for few pictures and near 0 and 1."""
        if not self.of:
            return 0.0, 1.0
        z, n, p = 1.959964, self.of, self.hits / self.of
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        if not self.of:
            return "–"
        low, high = self.interval
        return f"{self.value:.0%} ({low:.0%} to {high:.0%}, n = {self.of})"
