"""What a benchmark came to: rows, saved as JSON (loaded back), CSV, a Markdown table and a plot."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import BaseModel, ValidationError, computed_field

from compare.bench.request import BenchRequest
from compare.bench.variants import Variant
from compare.experiment.device import environment
from compare.experiment.notes import uneven_times
from compare.models.load import LoadedPipeline
from compare.report import Environment, ModelInfo

CONFIDENCE = 0.95


class Ratio(BaseModel, frozen=True):
    """Of two series that were timed in the same rounds."""

    median: float
    """Of the ratios within each round."""
    interval: tuple[float, float] | None
    """95 % confidence for that median, whatever the distribution; None below six rounds."""

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        """`above[i] / below[i]`, both of round i."""
        ratios = sorted(a / b for a, b in zip(above, below, strict=True))
        return cls(median=median(ratios), interval=_interval(ratios))


class Timing(BaseModel, frozen=True):
    """Wall clock of one thing that was done once per round."""

    seconds: tuple[float, ...]
    """One per round."""
    speedup: float | None
    """The baseline's median over this median; None where the baseline has no times."""
    paired: Ratio | None
    """The speed-up over the baseline within each round."""
    limit: float | None
    """The paired speed-up of the measured limit; None for Baseline."""

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
        """The paired speed-up as a share of the limit's."""
        return None if self.limit is None else self.paired.median / self.limit

    @computed_field
    @property
    def saved_of_limit(self) -> float | None:
        """The time saved as a share of the time that the limit saves; None where the limit saves nothing."""
        if self.limit is None or self.limit <= 1:
            return None
        return (1 - 1 / self.paired.median) / (1 - 1 / self.limit)


class BenchRow(BaseModel, frozen=True):
    """One variant at one size."""

    width: int
    height: int
    method: str
    """As `Variant.method`."""
    factor: int | None
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
    """By `todo_patch.plan`; for a limit its ceiling."""
    ceiling: float | None

    @property
    def size(self) -> str:
        return f"{self.width}×{self.height}"

    @property
    def variant(self) -> Variant:
        return Variant(self.method, self.factor)


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

    def against(self, method: str, other: str) -> Iterator[tuple[BenchRow, Ratio]]:
        """How many times faster a step is with `method` than with `other`: its row and the ratio, wherever
        both were timed."""
        step_of = {(row.size, row.variant): row.step for row in self.rows}
        for row in self.rows:
            theirs = step_of.get((row.size, Variant(other, row.factor)))
            if row.method == method and row.step and theirs:
                yield row, Ratio.of(theirs.seconds, row.step.seconds)

    def markdown(self) -> str:
        """The command, where it ran, and the table."""
        from compare.bench.table import markdown

        return markdown(self)

    def save(self, folder: str | Path) -> Path:
        """Write `bench.json`, `bench.csv`, `bench.md` and `bench.png`, replacing files of those names.

        Returns the folder, which is made if need be.
        """
        from compare.bench.plot import plot

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.json").write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        with (folder / "bench.csv").open("w", newline="", encoding="utf-8") as file:
            records = [_flat(row) for row in self.rows]
            writer = csv.DictWriter(file, records[0].keys())
            writer.writeheader()
            writer.writerows(records)
        (folder / "bench.md").write_text(self.markdown(), encoding="utf-8")
        plot(self, folder / "bench.png")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> BenchReport:
        """Read back what `save` wrote.

        Raises:
            FileNotFoundError: where there is no `bench.json`.
            ValueError: where it is not such a report.
        """
        file = Path(folder) / "bench.json"
        try:
            return cls.model_validate_json(file.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise ValueError(f"{file} is not a report of a benchmark: {error}") from error


def report_of(
    loaded: LoadedPipeline, request: BenchRequest, rows: tuple[BenchRow, ...], command: str
) -> BenchReport:
    """The report on the rows that `bench` has yielded so far."""
    return BenchReport(
        date=datetime.now(timezone.utc),
        command=command,
        request=request,
        model=loaded.info,
        environment=environment(loaded.device),
        notes=tuple(_notes(loaded, request, rows)),
        rows=rows,
    )


def _notes(loaded: LoadedPipeline, request: BenchRequest, rows: Iterable[BenchRow]) -> Iterator[str]:
    if loaded.fallback:
        yield loaded.fallback
    if _interval(range(request.rounds)) is None:
        yield "So few rounds say nothing about how far chance goes: from six on there are intervals."
    timed = [row.step.seconds for row in rows if row.step]
    if loaded.device.type == "cpu" and timed:
        yield from uneven_times(timed)


def _interval(ordered: Sequence[float]) -> tuple[float, float] | None:
    """The narrowest pair of order statistics that holds the median with `CONFIDENCE` (the sign test's)."""
    n = len(ordered)
    left_out, outside = 0, 2 * 0.5**n
    if outside > 1 - CONFIDENCE:
        return None
    while outside + 2 * math.comb(n, left_out + 1) * 0.5**n <= 1 - CONFIDENCE:
        left_out += 1
        outside += 2 * math.comb(n, left_out) * 0.5**n
    return ordered[left_out], ordered[n - 1 - left_out]


def _flat(row: BenchRow) -> dict[str, object]:
    flat: dict[str, object] = {
        name: getattr(row, name) for name in ("width", "height", "method", "factor", "failure")
    }
    for name, timing in (("step", row.step), ("run", row.run)):
        paired = timing.paired if timing else None
        low, high = (paired.interval if paired else None) or (None, None)
        for part in ("median", "fastest", "slowest", "speedup"):
            flat[f"{name}_{part}"] = getattr(timing, part, None)
        flat |= {f"{name}_paired": paired and paired.median, f"{name}_low": low, f"{name}_high": high}
        for part in ("limit", "of_limit", "saved_of_limit"):
            flat[f"{name}_{part}"] = getattr(timing, part, None)
    return flat | {name: getattr(row, name) for name in ("peak_memory", "flop_speedup", "ceiling")}
