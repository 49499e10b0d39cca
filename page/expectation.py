"""What to expect of a comparison, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compare.experiment.pace import Estimate
from compare.report import PlanSummary
from compare.request import Request
from page.html import render

WORTH_IT = 1.4
"""Below this upper bound, a run of fewer steps gains as much."""


@dataclass(frozen=True)
class Expectation:
    """What is known of a request."""

    request: Request
    ceiling: float | None
    """The largest speed-up that the chosen methods can have, by FLOPs; None: none of them has a bound."""
    seconds: float | None
    """Of the whole run; None: nothing like it was timed here."""
    limit: int
    """Seconds after which the server stops a run."""

    @property
    def is_small_gain(self) -> bool:
        return self.ceiling is not None and self.ceiling < WORTH_IT

    @property
    def is_too_long(self) -> bool:
        return self.seconds is not None and self.seconds > self.limit


def expectation_of(
    request: Request, plans: Mapping[str, PlanSummary], estimate: Estimate | None, limit: int
) -> Expectation:
    """What is known of a request by count, and by the clock if there is an estimate."""
    ceilings = [plan.ceiling for plan in plans.values() if plan.ceiling is not None]
    return Expectation(
        request=request,
        ceiling=max(ceilings, default=None),
        seconds=estimate.seconds if estimate else None,
        limit=limit,
    )


def sentence(expected: Expectation) -> str:
    """It as one sentence, in HTML."""
    return render("expectation", expected=expected)
