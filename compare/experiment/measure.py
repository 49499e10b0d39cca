"""The measuring protocol: what is done to each method, in which order, and what is on the clock.

check and plan the request
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

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from statistics import median

from PIL import Image

from compare.events import Event, MethodDone, MethodStarted, Started, StepDone
from compare.experiment.denoising import Denoiser, Sample
from compare.experiment.device import environment
from compare.experiment.fidelity import score
from compare.experiment.flops import plan_summary
from compare.experiment.notes import notes_on, uneven_times
from compare.methods import BASELINE, Method, method_of
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
    plans = {
        method.id: plan_summary(loaded.pipe, method, request, request.steps)
        for method in request.chosen
        if method.steps is None
    }
    return Prepared(plans, notes_on(loaded, request, plans))


@dataclass
class Measured:
    """What has been measured of a request so far. Everything else is derived from the samples."""

    loaded: LoadedPipeline
    request: Request
    notes: tuple[str, ...] = ()
    steps: dict[str, int] = field(default_factory=dict)
    plans: dict[str, PlanSummary] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    scores: dict[str, Scores] = field(default_factory=dict)

    def plan(self, method: Method) -> int:
        """Decide how many steps a method has, and plan its work."""
        if method.id not in self.steps:
            steps = self.request.steps
            if method.steps is not None:
                seconds = {id: median(s.denoising for s in samples) for id, samples in self.samples.items()}
                steps = method.steps(steps, seconds)
                if steps == self.request.steps:
                    others = " and ".join(method_of(id).label for id in method.needs if id != BASELINE.id)
                    self.notes += (
                        f"{others} was not faster by a whole step, so {method.label} has as many steps as "
                        "Baseline.",
                    )
            self.steps[method.id] = steps
            self.plans[method.id] = plan_summary(self.loaded.pipe, method, self.request, steps)
        return self.steps[method.id]

    def add(self, method: Method, sample: Sample) -> Result:
        """One more sample of a method, scored if it is the first; repeats have the same picture."""
        samples = self.samples.setdefault(method.id, [])
        if not samples:
            sample.image.info.update(_label(self.loaded, self.request, method, self.steps[method.id]))
            if method is not BASELINE and BASELINE.id in self.samples:
                self.scores[method.id] = score(sample.image, self.samples[BASELINE.id][0].image)
        samples.append(sample)
        return self.result(method.id)

    def result(self, id: str) -> Result:
        samples = self.samples[id]
        times = Times(denoising=tuple(s.denoising for s in samples), decoding=samples[0].decoding)
        peaks = [s.peak_memory for s in samples if s.peak_memory is not None]
        baseline = self.samples.get(BASELINE.id)
        return Result(
            method=id,
            steps=self.steps[id],
            times=times,
            plan=self.plans[id],
            speedup=median(s.denoising for s in baseline) / times.seconds if baseline else None,
            scores=self.scores.get(id),
            peak_memory=max(peaks, default=None),
            image=samples[0].image,
        )

    def comparison(self) -> Comparison:
        return Comparison(
            date=datetime.now(timezone.utc),
            request=self.request,
            model=self.loaded.info,
            environment=environment(self.loaded.device),
            notes=(*self.notes, *self._uneven_times()),
            results=tuple(self.result(id) for id in self.samples),
        )

    def _uneven_times(self) -> tuple[str, ...]:
        if self.loaded.device.type != "cpu":
            return ()  # steps are queued there, and only the whole loop has a time
        same_work: dict[object, list[float]] = {}
        for method in self.request.chosen:
            samples = self.samples.get(method.id, ())
            # Methods without attention of their own do Baseline's steps.
            work = method.counted_patches(self.request) or method.id
            same_work.setdefault(work, []).extend(s for sample in samples for s in sample.step_seconds)
        return uneven_times(seconds for seconds in same_work.values() if seconds)


def measure(measured: Measured, emit: Callable[[Event], None], check_stopped: Callable[[], None]) -> None:
    """Carry out the protocol, and emit its events up to the last method.

    Args:
        measured: of a request, still empty. Holds what is done when this ends early.
        check_stopped: called at every step; what it raises ends the measurement.

    Raises:
        InvalidRequest: a method cannot be used on this model at this size; before anything is computed.
    """
    loaded, request = measured.loaded, measured.request
    prepared = prepare(loaded, request)
    measured.notes = prepared.notes
    emit(Started(prepared.notes, prepared.plans))

    denoiser = Denoiser(loaded, request, check_stopped)
    denoiser.spin_up()
    for method, repeat in _turns(request):
        steps = measured.plan(method)
        emit(MethodStarted(method.id, steps, repeat, request.repeats))

        def on_step(
            step: int, of: int, seconds: float, preview: Image.Image | None, id: str = method.id
        ) -> None:
            emit(StepDone(id, step, of, seconds, preview))

        with method.on(loaded.pipe, request):
            denoiser.warm_up(steps)
            sample = denoiser.denoise(steps, on_step, previews=repeat == 1)
        emit(MethodDone(measured.add(method, sample)))


def _turns(request: Request) -> Iterator[tuple[Method, int]]:
    """The methods interleaved (A B C A B C ...), then those whose steps follow from the times of others."""
    for follows in (False, True):
        for repeat in range(1, request.repeats + 1):
            for method in request.chosen:
                if (method.steps is not None) == follows:
                    yield method, repeat


def _label(loaded: LoadedPipeline, request: Request, method: Method, steps: int) -> dict[str, str]:
    """What is written into the picture's file."""
    return {
        "prompt": request.prompt,
        "negative prompt": request.negative_prompt,
        "settings": (
            f"{method.id}, factor {request.factor}, {request.width}x{request.height}, {steps} steps, "
            f"guidance {request.guidance_scale}, seed {request.seed}"
        ),
        "model": f"{loaded.info.source}, {loaded.info.dtype}, {loaded.info.scheduler}",
    }
