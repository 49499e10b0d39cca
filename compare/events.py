"""The events of a run, in this order, with any number of `Waiting` before and `Tick` in between:

Started  (MethodStarted  StepDone × steps  MethodDone) × methods × repeats  Finished | Stopped
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from compare.report import Comparison, PlanSummary, Result


@dataclass(frozen=True)
class Waiting:
    """Another comparison is running and this one is in the queue. Comes about once a second."""

    seconds: float
    ahead: int = 1
    """Comparisons before it, the one in progress included."""


@dataclass(frozen=True)
class Tick:
    """Nothing new for a second: work goes on, and a reader that has gone away is noticed."""


@dataclass(frozen=True)
class Started:
    """The run has the model to itself."""

    notes: tuple[str, ...]
    plans: Mapping[str, PlanSummary]
    """By method, without those whose steps follow from the times of others ("fewer-steps")."""


@dataclass(frozen=True)
class MethodStarted:
    """A method begins its warm-up step."""

    method: str
    steps: int
    """Denoising steps, without the warm-up."""
    repeat: int
    """From 1."""
    repeats: int


@dataclass(frozen=True)
class StepDone:
    """A denoising step is done. There is no event for the warm-up step."""

    method: str
    step: int
    """From 1 to `steps`, which counts UNet calls: Heun-like samplers make two per denoising step."""
    steps: int
    seconds: float
    """On the clock of this loop so far."""
    preview: Image.Image | None
    """A small picture of where the denoising is heading; only in some steps of the first repeat."""


@dataclass(frozen=True)
class MethodDone:
    """A method has its picture. With repeats it comes after each, with all the times so far."""

    result: Result


@dataclass(frozen=True)
class Finished:
    """All done. The last event."""

    comparison: Comparison


@dataclass(frozen=True)
class Stopped:
    """Stopped on request. The last event."""

    comparison: Comparison | None
    """Of the methods that were done by then; None if none was."""


Event = Waiting | Tick | Started | MethodStarted | StepDone | MethodDone | Finished | Stopped
