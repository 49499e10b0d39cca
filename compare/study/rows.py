"""What a sweep writes down: one row for each method of each comparison, and how they were made."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from datetime import datetime

from pydantic import BaseModel

from compare.experiment.device import environment
from compare.methods import BASELINE
from compare.models.load import LoadedPipeline
from compare.models.weights_hash import fingerprint
from compare.report import Comparison
from compare.request import Request
from compare.study.scorers import BACKBONE, Scorers, SweepScores


class Setup(BaseModel, frozen=True):
    """What all rows of a sweep share. Rows of different setups never mix."""

    model: str
    weights: str
    """Their fingerprint: a folder keeps its name when they change."""
    scheduler: str
    dtype: str
    attention: str
    hardware: str
    threads: int
    torch: str
    diffusers: str
    classifier: str | None
    """Fingerprint of the network that reads the pictures; None if there is none."""
    lpips: str | None
    """File name of its network's weights; None if there are none."""

    @classmethod
    def of(cls, loaded: LoadedPipeline, scorers: Scorers) -> Setup:
        machine = environment(loaded.device)
        return cls(
            model=loaded.info.source,
            weights=fingerprint(loaded.pipe),
            scheduler=loaded.info.scheduler,
            dtype=loaded.info.dtype,
            attention=loaded.info.attention,
            hardware=machine.hardware,
            threads=machine.threads,
            torch=machine.packages["torch"],
            diffusers=machine.packages["diffusers"],
            classifier=scorers.classifier_id,
            lpips=None if scorers.lpips is None else BACKBONE,
        )


class Row(SweepScores):
    """One method of one comparison. Seconds are those of the denoising loop, medians over the repeats."""

    date: datetime
    prompt: str
    negative_prompt: str
    seed: int
    width: int
    height: int
    steps: int
    """Of the request, and of its baseline."""
    guidance_scale: float
    factor: int | tuple[int, ...]
    until: float = 1.0
    repeats: int
    method: str
    method_steps: int
    """Fewer than `steps` for a method that saves steps."""
    seconds: float
    speedup: float
    """Baseline's seconds in the same comparison over these."""
    flop_speedup: float | None
    ceiling: float | None
    identical: bool
    psnr: float | None
    """In dB against the comparison's own baseline; None if the pictures are identical."""
    ssim: float
    high_frequency: float | None
    peak_memory: int | None

    @property
    def key(self) -> Hashable:
        return (self.method, *(getattr(self, name) for name in _OF_REQUEST))


_OF_REQUEST = (
    "prompt", "negative_prompt", "seed", "width", "height", "steps", "guidance_scale", "factor", "until",
    "repeats",
)  # fmt: skip


def keys_of(request: Request) -> Iterator[Hashable]:
    """The keys of the rows that a request will give: Baseline, which the others are measured by, has none."""
    asked = tuple(getattr(request, name) for name in _OF_REQUEST)
    return ((method.id, *asked) for method in request.chosen if method is not BASELINE)


def rows_of(comparison: Comparison, scorers: Scorers) -> list[Row]:
    """One row for each method but Baseline, which has to be among them."""
    baseline = comparison.baseline
    return [
        Row(
            date=comparison.date,
            **{name: getattr(comparison.request, name) for name in _OF_REQUEST},
            method=result.method,
            method_steps=result.steps,
            seconds=result.times.seconds,
            speedup=result.speedup,
            flop_speedup=result.plan.flop_speedup,
            ceiling=result.plan.ceiling,
            **result.scores.model_dump(),
            **scorers.score(comparison.request.prompt, result.image, baseline.image).model_dump(),
            peak_memory=result.peak_memory,
        )
        for result in comparison.results
        if result is not baseline
    ]
