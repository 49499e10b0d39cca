"""What a comparison says, in words, and which of its times can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compare.experiment.evenness import uneven_times
from compare.report import HARD_TO_SEE, INVISIBLE, Result, Scores

SPREAD = 0.15
"""By this share of its median, times of the same work may differ, and a speed-up may pass its upper bound."""
AS_FAST = 0.05  # a speed-up within this of 1 is none


def closeness(scores: Scores) -> str:
    """How the difference to Baseline looks: "identical", "invisible", "hard to see" or "visible"."""
    if scores.identical or scores.psnr is None:
        return "identical"
    return in_words(scores.psnr)


def in_words(psnr: float) -> str:
    """What somebody sees of a difference of so many dB: "invisible", "hard to see" or "visible"."""
    if psnr >= INVISIBLE:
        return "invisible"
    return "hard to see" if psnr >= HARD_TO_SEE else "visible"


@dataclass(frozen=True)
class Uneven:
    """A speed-up cannot be trusted: the same work took very different times."""

    result: Result
    """The method, or Baseline, whose work it was."""
    fastest: float
    slowest: float
    """Seconds."""
    of_steps: bool
    """Of single steps; otherwise of whole repeats."""


@dataclass(frozen=True)
class Impossible:
    """A speed-up cannot be trusted: it is more than fewer operations can explain."""

    bound: float


Doubt = Uneven | Impossible


def doubt(result: Result, baseline: Result | None) -> Doubt | None:
    """Why the speed-up of a result cannot be trusted; None if it can, or if there is none."""
    if result.speedup is None or result.is_baseline:
        return None
    uneven = (_uneven(timed) for timed in (result, baseline) if timed is not None)
    if found := next(filter(None, uneven), None):
        return found
    plan = result.plan
    bound = plan.flop_speedup if plan.ceiling is None else plan.ceiling
    if bound is not None and result.speedup > bound * (1 + SPREAD):
        return Impossible(bound)
    return None


def _uneven(result: Result) -> Uneven | None:
    times = result.times
    if times.slowest - times.fastest > SPREAD * times.seconds:
        return Uneven(result, times.fastest, times.slowest, of_steps=False)
    if len(times.denoising) == 1 and uneven_times([times.steps or ()]):
        return Uneven(result, *times.steps, of_steps=True)
    return None


@dataclass(frozen=True)
class Column:
    """A result, and what is to be said of it."""

    result: Result
    doubt: Doubt | None

    @property
    def closeness(self) -> str | None:
        """None: there is nothing to compare with."""
        return closeness(self.result.scores) if self.result.scores else None

    @property
    def speedup(self) -> float | None:
        """None: there is none, or none that can be trusted."""
        return None if self.doubt else self.result.speedup

    @property
    def is_faster(self) -> bool:
        return self.speedup is not None and self.speedup > 1 + AS_FAST

    @property
    def is_slower(self) -> bool:
        return self.speedup is not None and self.speedup < 1 - AS_FAST


def columns_of(results: Sequence[Result]) -> tuple[Column, ...]:
    """All results of a comparison, each with its doubt."""
    baseline = next((result for result in results if result.is_baseline), None)
    return tuple(Column(result, doubt(result, baseline)) for result in results)


def best_first(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Those that were compared with Baseline: the faster ones first; of them those that change the picture
    least, as far as one sees it; of them the fastest."""
    seen = ("identical", "invisible", "hard to see", "visible")

    def merit(column: Column) -> tuple[bool, int, float]:
        return not column.is_faster, seen.index(column.closeness), -(column.speedup or 0)

    compared = (c for c in columns if c.closeness is not None and c.result.speedup is not None)
    return tuple(sorted(compared, key=merit))
