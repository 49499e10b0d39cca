"""The measuring protocol: what is done to each method, in which order, and what is on the clock.

check the request, plan its work
encode the prompts                                     once, for all methods
spin up                                                one step and one decoding, thrown away
for each repeat, for each method (A B C A B C ...):
    put the method on the pipeline
    warm up                                            one step of the same call, not timed
    denoise                                            from the same noise, on the clock
    decode                                             off the clock
    score against Baseline's picture
the same for methods whose number of steps follows from the times of others
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from statistics import median
from typing import Any

from PIL import Image

from compare.events import Event, MethodDone, MethodStarted, Started, StepDone
from compare.experiment.denoising import Denoiser, Sample
from compare.experiment.device import environment
from compare.experiment.evenness import uneven_times
from compare.experiment.fidelity import score
from compare.experiment.flops import plan_summary, plans_of
from compare.experiment.notes import notes_on, on_fewer_steps
from compare.experiment.tokens import TokenNotes
from compare.methods import BASELINE, Method
from compare.models.load import LoadedPipeline
from compare.report import Comparison, PlanSummary, Result, Scores, Times
from compare.request import Request


@dataclass(frozen=True)
class Prepared:
    """What is known of a run before it is run."""

    plans: dict[str, PlanSummary]
    """By method, without those whose steps follow from the times of others."""
    notes: tuple[str, ...]


def prepare(loaded: LoadedPipeline, request: Request) -> Prepared:
    """Check a request against a model and plan its work. Runs nothing.

    Raises:
        InvalidRequest: a method cannot be used on this model at this size.
    """
    for method in request.chosen:
        if method.check is not None:
            method.check(loaded.pipe, request)
    plans = plans_of(loaded.pipe, request)
    return Prepared(plans, tuple(notes_on(loaded, request, plans)))


def measure(measured: Measured, emit: Callable[[Event], None], check_stopped: Callable[[], None]) -> None:
    """Carry out the protocol, and emit its events up to the last method.

    Args:
        measured: of a request, still empty. Holds what is done if this ends early.
        emit: called with each event, on this thread.
        check_stopped: called after every step; what it raises ends the measurement.

    Raises:
        InvalidRequest: a method cannot be used on this model at this size; before anything is computed.
    """
    loaded, request = measured.loaded, measured.request
    prepared = prepare(loaded, request)
    measured.notes = prepared.notes
    emit(Started(prepared.notes, prepared.plans))

    denoiser = Denoiser(loaded, request, check_stopped)
    denoiser.spin_up()
    for method, repeat in _interleaved(request):
        column = measured.column(method)
        emit(MethodStarted(method.id, column.steps, repeat, request.repeats))
        with method.on(loaded.pipe, request):
            denoiser.warm_up(column.steps)
            with TokenNotes(loaded.pipe) as tokens:

                def on_step(*step: Any, id: str = method.id, tokens: TokenNotes = tokens) -> None:
                    tokens.step_done()
                    emit(StepDone(id, *step))

                sample = denoiser.denoise(column.steps, on_step, previews=repeat == 1)
            if repeat == 1:
                column.token_record = tokens.picture()
        measured.add(column, sample)
        emit(MethodDone(measured.result(column)))


def _interleaved(request: Request) -> Iterator[tuple[Method, int]]:
    """Each method with the number of its repeat, from 1: A B C A B C, then those that depend on times."""
    for depends in (False, True):
        for repeat in range(1, request.repeats + 1):
            for method in request.chosen:
                if (method.steps is not None) == depends:
                    yield method, repeat


@dataclass
class Column:
    """One method, as far as it has been measured."""

    method: Method
    steps: int
    plan: PlanSummary
    samples: list[Sample] = field(default_factory=list)
    scores: Scores | None = None
    token_record: Image.Image | None = None

    @property
    def seconds(self) -> float:
        return median(sample.denoising for sample in self.samples)


@dataclass
class Measured:
    """What has been measured of a request so far."""

    loaded: LoadedPipeline
    request: Request
    notes: tuple[str, ...] = ()
    columns: dict[str, Column] = field(default_factory=dict)
    """By method, in the order in which they ran."""

    def column(self, method: Method) -> Column:
        """The column of a method; a new one if this is its first run."""
        if method.id not in self.columns:
            steps = self.request.steps
            if method.steps is not None:
                steps = method.steps(steps, {id: column.seconds for id, column in self.columns.items()})
                self.notes += on_fewer_steps(self.request, method, steps)
            plan = plan_summary(self.loaded.pipe, method, self.request, steps)
            self.columns[method.id] = Column(method, steps, plan)
        return self.columns[method.id]

    def add(self, column: Column, sample: Sample) -> None:
        """One more sample. The first one is labelled and scored; repeats give the same picture."""
        column.samples.append(sample)
        if len(column.samples) == 1:
            sample.image.info.update(_label(self.loaded, self.request, column))
            baseline = self.columns.get(BASELINE.id)
            if baseline and baseline is not column:
                column.scores = score(sample.image, baseline.samples[0].image)

    def result(self, column: Column) -> Result:
        first = column.samples[0]
        baseline = self.columns.get(BASELINE.id)
        peaks = [sample.peak_memory for sample in column.samples if sample.peak_memory is not None]
        return Result(
            method=column.method.id,
            settings=self.request.settings_of(column.method),
            steps=column.steps,
            times=Times(
                denoising=tuple(s.denoising for s in column.samples),
                decoding=first.decoding,
                steps=self._fastest_and_slowest(column),
            ),
            plan=column.plan,
            speedup=baseline.seconds / column.seconds if baseline else None,
            scores=column.scores,
            peak_memory=max(peaks, default=None),
            image=first.image,
            token_record=column.token_record,
        )

    def comparison(self) -> Comparison | None:
        """The report on all columns that have a picture; None if none has."""
        done = [column for column in self.columns.values() if column.samples]
        if not done:
            return None
        return Comparison(
            date=datetime.now(timezone.utc),
            request=self.request,
            model=self.loaded.info,
            environment=environment(self.loaded.device),
            notes=(*self.notes, *self._on_the_times(done)),
            results=tuple(map(self.result, done)),
        )

    def _on_the_times(self, done: list[Column]) -> tuple[str, ...]:
        same_work: dict[object, list[float]] = {}
        for column in done:
            if steps := self._alike(column):
                same_work.setdefault(column.method.counted_patches(self.request), []).extend(steps)
        return uneven_times(same_work.values()) if same_work else ()

    def _fastest_and_slowest(self, column: Column) -> tuple[float, float] | None:
        steps = self._alike(column)
        return (min(steps), max(steps)) if steps else None

    def _alike(self, column: Column) -> list[float]:
        """Seconds of those of its steps that do the same work, as far as that is known."""
        if self.loaded.device.type != "cpu":
            return []  # steps are queued there, and only the whole loop has a time
        if column.method.counted_patches(self.request) is None:
            return []  # nobody knows which of its steps are alike
        return [
            seconds
            for sample in column.samples
            for step, seconds in enumerate(sample.step_seconds)
            if step not in column.method.idle_steps(self.request, len(sample.step_seconds))
        ]


def _label(loaded: LoadedPipeline, request: Request, column: Column) -> dict[str, str]:
    """What is written into the picture's file."""
    return {
        "prompt": request.prompt,
        "negative prompt": request.negative_prompt,
        # With it the same can be asked for again: the page reads it from a picture that is dropped there.
        "settings": json.dumps({**asdict(request), "method": column.method.id}, ensure_ascii=False),
        "steps": str(column.steps),
        "model": f"{loaded.info.source}, {loaded.info.dtype}, {loaded.info.scheduler}",
    }
