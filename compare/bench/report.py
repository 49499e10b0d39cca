"""The records of a benchmark. `compare.bench.files` writes and reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import Literal

from pydantic import BaseModel, computed_field

from compare.bench.request import BenchRequest
from compare.bench.variants import Variant
from compare.report import Environment, ModelInfo
from compare.statistics import median_interval


class Ratio(BaseModel, frozen=True):
    """Of two series that were timed in the same rounds."""

    median: float
    """Of the ratios within each round."""
    interval: tuple[float, float] | None
    """95 % confidence interval of that median, whatever the distribution; None below six rounds."""

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        """`above[i] / below[i]`, both of round i."""
        ratios = [a / b for a, b in zip(above, below, strict=True)]
        return cls(median=median(ratios), interval=median_interval(ratios))


class Timing(BaseModel, frozen=True):
    """Wall clock of one thing that was done once per round."""

    seconds: tuple[float, ...]
    """One per round."""
    speedup: float | None
    """The baseline's median over this median; None if the baseline has no times."""
    paired: Ratio | None
    """The speed-up over the baseline within each round."""
    limit: float | None
    """The paired speed-up of the upper bound; None for Baseline and if there is no upper bound."""

    @computed_field
    @property
    def median(self) -> float:
        return median(self.seconds)

    @computed_field
    @property
    def fastest(self) -> float:
        return min(self.seconds)

    @computed_field
    @property
    def slowest(self) -> float:
        return max(self.seconds)

    @computed_field
    @property
    def of_limit(self) -> float | None:
        """The paired speed-up as a fraction of the upper bound."""
        return None if self.limit is None else self.paired.median / self.limit

    @computed_field
    @property
    def saved_of_limit(self) -> float | None:
        """The time saved as a fraction of the time that the upper bound saves; None if that saves nothing."""
        if self.limit is None or self.limit <= 1:
            return None
        return (1 - 1 / self.paired.median) / (1 - 1 / self.limit)


class BenchRow(BaseModel, frozen=True):
    """One variant at one size."""

    width: int
    height: int
    method: str
    """The id of a method or of an upper bound."""
    factor: int | None
    """None for Baseline and for upper bounds."""
    failure: str | None
    """Why there are no times: out of memory, or the method cannot be used at this size."""
    step: Timing | None
    """Of one UNet call."""
    run: Timing | None
    """Of the denoising loop."""
    peak_memory: int | None
    """Most bytes allocated on the accelerator at any one time in a step or a run, the model included; None on
    a CPU."""
    flop_speedup: float | None
    """By `todo_patch.plan`; for an upper bound its ceiling. None if nobody has counted the method's work."""
    ceiling: float | None

    @property
    def size(self) -> str:
        return f"{self.width}×{self.height}"

    @property
    def variant(self) -> Variant:
        return Variant.of(self.method, self.factor)


class BenchReport(BaseModel, frozen=True):
    """A benchmark. `bench.json` in the folder it is saved to is this."""

    report_version: Literal[1] = 1
    date: datetime
    """UTC."""
    command: str
    """The command line that measured this."""
    request: BenchRequest
    model: ModelInfo
    environment: Environment
    notes: tuple[str, ...]
    rows: tuple[BenchRow, ...]
