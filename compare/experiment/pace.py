"""How long a run takes here, judged by the runs that were timed here before."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from compare.methods import BASELINE, Method
from compare.report import PlanSummary, Result
from compare.request import Request

SIMILAR = 10.0
"""Times the pixels. Farther apart, seconds per FLOP say nothing of each other: small pictures wait for memory
and Python, large ones for arithmetic."""
KEPT = 200  # samples
JUDGED_BY = 5  # newest samples of the nearest size


@dataclass(frozen=True)
class Sample:
    """One timed denoising loop."""

    method: str
    pixels: int
    is_counted: bool
    """Whether its FLOPs are its own; those of a method that nobody has counted are Baseline's."""
    rate: float
    """Seconds per FLOP of the denoising."""
    decoding: float
    """Seconds per pixel."""


@dataclass(frozen=True)
class Estimate:
    """About how long a run would take."""

    seconds: float
    """All of it, warm-up and decoding included; waiting not."""
    denoising: Mapping[str, float]
    """Seconds of one denoising loop, by method: what the clock would show."""


class Pace:
    """The times of this process. Any thread may ask."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def add(self, request: Request, result: Result) -> None:
        """Take in the newest time of a result."""
        pixels = request.width * request.height
        sample = Sample(
            method=result.method,
            pixels=pixels,
            is_counted=result.plan.flops_after is not None,
            rate=result.times.denoising[-1] / _work(request, _flops(result.plan), result.steps),
            decoding=result.times.decoding / pixels,
        )
        with self._lock:
            self._samples.append(sample)

    def estimate(self, request: Request, plans: Mapping[str, PlanSummary]) -> Estimate | None:
        """How long a request would take; None if nothing like it was timed.

        Args:
            plans: of its methods, as `plans_of` makes them.
        """
        with self._lock:
            samples = tuple(self._samples)
        pixels = request.width * request.height
        whole = max((plan.flops_before for plan in plans.values()), default=0)  # one call of Baseline
        if not whole or (like := _like(samples, BASELINE.id, pixels)) is None:
            return None
        decoding = median(sample.decoding for sample in like) * pixels
        total = _rate(like) * _work(request, whole, steps=1) + decoding  # the spin-up
        denoising: dict[str, float] = {}
        for method in sorted(request.chosen, key=lambda method: method.steps is not None):
            steps = _steps(method, request, denoising)
            flops = _flops(plans[method.id]) if method.id in plans else whole
            known_by = BASELINE if method.steps is not None else method
            same = _like(samples, known_by.id, pixels) or like
            denoising[method.id] = _rate(same) * _work(request, flops, steps)
            total += request.repeats * (denoising[method.id] * (1 + 1 / steps) + decoding)
        return Estimate(total, denoising)


def _steps(method: Method, request: Request, seconds: Mapping[str, float]) -> int:
    return request.steps if method.steps is None else method.steps(request.steps, seconds)


def _flops(plan: PlanSummary) -> int:
    """Of one call for one picture; Baseline's if nobody has counted the method's own."""
    return plan.flops_after or plan.flops_before


def _work(request: Request, flops: int, steps: int) -> float:
    """FLOPs of a denoising loop. With guidance each call is for two pictures."""
    return flops * steps * (2 if request.guidance_scale > 1 else 1)


def _rate(samples: tuple[Sample, ...]) -> float:
    return median(sample.rate for sample in samples)


def _like(samples: tuple[Sample, ...], method: str, pixels: int) -> tuple[Sample, ...] | None:
    """The newest samples of the nearest size: of this method if there are any, or else of any other whose
    FLOPs are known."""

    def distance(sample: Sample) -> tuple[float, bool]:
        return abs(math.log(sample.pixels / pixels)), sample.method != method

    usable = [
        sample
        for sample in samples
        if (sample.is_counted or sample.method == method) and distance(sample)[0] < math.log(SIMILAR)
    ]
    if not usable:
        return None
    nearest = min(map(distance, usable))
    return tuple(sample for sample in usable if distance(sample) == nearest)[-JUDGED_BY:]
