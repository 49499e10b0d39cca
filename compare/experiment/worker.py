"""Run the methods of a request on the same embeddings and the same noise, and tell it as events."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import pairwise

import torch
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image

from compare.events import (
    Event,
    Finished,
    MethodDone,
    MethodStarted,
    Started,
    StepDone,
    Stopped,
    Tick,
    Waiting,
)
from compare.experiment.clock import LoopClock, timed_loop
from compare.experiment.decoding import tiled_where_large
from compare.experiment.device import environment
from compare.experiment.fidelity import score
from compare.experiment.flops import fewer_steps_plan, plan_summary
from compare.experiment.memory import give_back, is_out_of_memory, return_what_is_free
from compare.experiment.preview import has_preview, preview
from compare.experiment.run_queue import Line, LineFull
from compare.experiment.warnings import note_on_times, notes_on
from compare.methods import patch_of, put_on
from compare.models.load import LoadedPipeline
from compare.report import Comparison, PlanSummary, Result, Scores, Times
from compare.request import SIZE_MULTIPLE, SIZES, Request
from todo_patch import ToDo, ToMe

# Two runs on one machine would disturb each other's times even on two models.
_one_at_a_time = Line()
SPIN_UP = 1.0  # seconds of work after which an accelerator has its full clock rate
SAID_AGAIN = 1.0  # seconds between two `Waiting`


class RunFailed(RuntimeError):
    """A run that could not be finished. `str(error)` is a sentence for the reader."""


class OutOfMemory(RunFailed):
    """The device ran out of memory. The sentence says which size to try."""


class TooManyWaiting(RunFailed):
    """As many comparisons as may be are in line already."""


def in_line() -> int:
    """How many comparisons are in line in this process, the one that runs included."""
    return len(_one_at_a_time)


@dataclass(frozen=True)
class Prepared:
    """What is known of a run before it is run."""

    plans: dict[str, PlanSummary]
    """By method, without "fewer-steps"."""
    notes: tuple[str, ...]


def prepare(loaded: LoadedPipeline, request: Request) -> Prepared:
    """Check a request against a model and plan its work. Runs nothing.

    Raises:
        InvalidRequest: where a method cannot be used on this model at this size.
    """
    plans = {
        method: plan_summary(loaded.pipe, method, request)
        for method in request.run_order
        if method != "fewer-steps"
    }
    return Prepared(plans, notes_on(loaded, request, plans))


def run(
    loaded: LoadedPipeline,
    request: Request,
    stop: threading.Event | None = None,
    longest_line: int | None = None,
) -> Iterator[Event]:
    """Run a comparison on a thread of its own and yield its events; the last is `Finished` or `Stopped`.

    Nothing happens before the first `next()`. One comparison runs at a time in this process; others wait in
    line. However it ends, the model is left unpatched. Setting `stop`, or closing the generator, ends the run
    at its next step. With `longest_line`, it does not wait where so many are in line already, the one that
    runs included.

    Raises:
        InvalidRequest: where a method cannot be used on this model at this size; before anything is computed.
        TooManyWaiting: where the line is as long as it may be.
        OutOfMemory: with a sentence for the reader. Any other exception of the run comes out as it was.
    """
    # The generator may be resumed on any thread, closed on a server's event loop, or left hanging. So it
    # holds nothing: lock, patch and no_grad live and die on the worker's stack; only this queue is shared.
    told: queue.SimpleQueue[Event | _Failure] = queue.SimpleQueue()
    gone = threading.Event()
    experiment = _Experiment(
        loaded,
        request,
        told.put,
        lambda: gone.is_set() or (stop is not None and stop.is_set()),
        longest_line,
    )
    began = time.monotonic()
    threading.Thread(target=experiment.work, name="comparison", daemon=True).start()
    try:
        while True:
            try:
                event = told.get(timeout=1)
            except queue.Empty:
                event = Tick(time.monotonic() - began)
            if isinstance(event, _Failure):
                raise event.error
            yield event
            if isinstance(event, (Finished, Stopped)):
                return
    finally:
        gone.set()


@dataclass(frozen=True)
class _Failure:
    error: BaseException


class _StopRequested(Exception):
    pass


@dataclass
class _Picture:
    """What one call of the pipeline gave."""

    image: Image.Image
    denoising: float
    steps: list[float]
    decoding: float
    peak_memory: int | None


@dataclass
class _Experiment:
    """One run, on the worker thread from `work` on."""

    loaded: LoadedPipeline
    request: Request
    tell: Callable[[Event | _Failure], None]
    stopped: Callable[[], bool]
    longest_line: int | None
    plans: dict[str, PlanSummary] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    embeddings: dict[str, torch.Tensor | None] = field(default_factory=dict)
    pictures: dict[str, list[_Picture]] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def pipe(self) -> DiffusionPipeline:
        return self.loaded.pipe

    def work(self) -> None:
        """Take the turn, run, and tell the end once the model is free again."""
        try:
            with self._turn(), torch.no_grad(), tiled_where_large(self.pipe.vae, self.request):
                self._compare()
            last = Finished(self._comparison())
        except _StopRequested:
            last = Stopped(self._comparison() if self.results else None)
        except LineFull:
            last = _Failure(TooManyWaiting(f"{self.longest_line} comparisons are in line: try again later."))
        except BaseException as error:
            last = _Failure(_for_the_reader(error, self.loaded, self.request))
        self.tell(last)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        told = -SAID_AGAIN

        def wait(seconds: float) -> None:
            nonlocal told
            self._stop_here()
            if seconds - told >= SAID_AGAIN:
                told = seconds
                self.tell(Waiting(seconds))

        with _one_at_a_time.turn(wait, self.longest_line):
            self._stop_here()
            try:
                yield
            finally:
                return_what_is_free()  # in its turn, so that it disturbs nobody's times

    def _stop_here(self) -> None:
        if self.stopped():
            raise _StopRequested

    def _compare(self) -> None:
        prepared = prepare(self.loaded, self.request)
        self.plans, self.notes = prepared.plans, prepared.notes
        methods = self.request.run_order
        self.tell(Started(self.request, methods, self.notes, dict(self.plans)))
        self.embeddings = _encode(self.pipe, self.request, self.loaded.device)

        self._spin_up()
        repeats = range(1, self.request.repeats + 1)
        for repeat in repeats:
            for method in methods:
                if method != "fewer-steps":
                    self._measure(method, self.request.steps, repeat)
        if "fewer-steps" in methods:  # out of turn: how many they are follows from the times of the others
            steps = self._steps_in_the_time_of_todo()
            self.plans["fewer-steps"] = fewer_steps_plan(self.plans["baseline"], steps, of=self.request.steps)
            for repeat in repeats:
                self._measure("fewer-steps", steps, repeat)

    def _steps_in_the_time_of_todo(self) -> int:
        share = self.results["todo"].times.seconds / self.results["baseline"].times.seconds
        fit = int(self.request.steps * share)
        if fit >= self.request.steps:
            self.notes += ("ToDo was not faster here, so Fewer steps has as many steps as Baseline.",)
        return min(max(fit, 1), self.request.steps)

    def _measure(self, method: str, steps: int, repeat: int) -> None:
        self.tell(MethodStarted(method, steps, repeat, self.request.repeats))
        with put_on(self.pipe, method, self.request):
            self._warm_up(steps)
            picture = self._denoise(method, steps, repeat)
        self.pictures.setdefault(method, []).append(picture)
        self.results[method] = self._result(method, steps)
        self.tell(MethodDone(self.results[method], repeat, self.request.repeats))

    def _spin_up(self) -> None:
        """What only the first method would pay for: the first decoding, and clocks that rise under load."""
        began = time.monotonic()
        self._warm_up(self.request.steps, output_type="pil")
        while self.loaded.device.type != "cpu" and time.monotonic() - began < SPIN_UP:
            self._warm_up(self.request.steps)

    def _warm_up(self, steps: int, output_type: str = "latent") -> None:
        """The first step of the call that is timed next: kernels chosen, memory allocated, threads up."""

        def interrupt(pipe: DiffusionPipeline, index: int, _: object, tensors: dict) -> dict:
            self._stop_here()
            pipe._interrupt = True  # diffusers' own way to skip the remaining steps
            return tensors

        with timed_loop(self.pipe, self.loaded.device):
            self._call_pipeline(steps, output_type=output_type, callback_on_step_end=interrupt)
        self._stop_here()

    def _denoise(self, method: str, steps: int, repeat: int) -> _Picture:
        before: torch.Tensor | None = None
        laps = [0.0]

        def step_done(pipe: DiffusionPipeline, index: int, _: object, tensors: dict) -> dict:
            nonlocal before
            self._stop_here()
            image = None
            if repeat == 1 and has_preview(index + 1, pipe.num_timesteps):
                with clock.paused():
                    image = preview(pipe, before, tensors["latents"], index)
            laps.append(clock.seconds)
            self.tell(StepDone(method, repeat, index + 1, pipe.num_timesteps, laps[-1], image))
            before = tensors["latents"]
            return tensors

        clock: LoopClock
        with timed_loop(self.pipe, self.loaded.device) as clock:
            image = self._call_pipeline(steps, output_type="pil", callback_on_step_end=step_done)[0]
            decoding = time.perf_counter() - clock.ended
        image.info.update(self._label(method, steps))
        steps_took = [later - earlier for earlier, later in pairwise(laps)]
        return _Picture(image, clock.seconds, steps_took, decoding, clock.peak_memory)

    def _call_pipeline(self, steps: int, **options: object) -> list[Image.Image] | torch.Tensor:
        # The pipeline draws the starting noise, and any noise of its sampler, from this generator: on the CPU
        # and from the seed, so it is the same for every method and on every device.
        return self.pipe(
            **self.embeddings,
            height=self.request.height,
            width=self.request.width,
            num_inference_steps=steps,
            guidance_scale=float(self.request.guidance_scale),
            generator=torch.Generator("cpu").manual_seed(self.request.seed),
            **options,
        ).images

    def _label(self, method: str, steps: int) -> dict[str, str]:
        """What is written into the picture's file."""
        request, model = self.request, self.loaded.info
        return {
            "prompt": request.prompt,
            "negative prompt": request.negative_prompt,
            "settings": (
                f"{method}, factor {request.factor}, {request.width}x{request.height}, {steps} steps, "
                f"guidance {request.guidance_scale}, seed {request.seed}"
            ),
            "model": f"{model.source}, {model.dtype}, {model.scheduler}",
        }

    def _result(self, method: str, steps: int) -> Result:
        pictures = self.pictures[method]
        first = pictures[0]
        times = Times(denoising=tuple(p.denoising for p in pictures), decoding=first.decoding)
        peaks = [p.peak_memory for p in pictures if p.peak_memory is not None]
        return Result(
            method=method,
            steps=steps,
            times=times,
            plan=self.plans[method],
            speedup=self._speedup(method, times),
            scores=self._scores(method, first.image),
            peak_memory=max(peaks, default=None),
            image=first.image,
        )

    def _speedup(self, method: str, times: Times) -> float | None:
        if method == "baseline":
            return 1.0
        baseline = self.results.get("baseline")
        return baseline.times.seconds / times.seconds if baseline else None

    def _scores(self, method: str, image: Image.Image) -> Scores | None:
        if method in self.results:  # a repeat: the picture is still the first one
            return self.results[method].scores
        baseline = self.results.get("baseline")
        return score(image, baseline.image) if baseline else None

    def _on_the_times(self) -> tuple[str, ...]:
        if self.loaded.device.type != "cpu":
            return ()  # steps are queued there, and only the whole loop has a time
        same_work: dict[ToDo | ToMe | None, list[float]] = {}
        for method, pictures in self.pictures.items():
            took = same_work.setdefault(patch_of(method, self.request), [])
            took += [seconds for picture in pictures for seconds in picture.steps]
        return note_on_times(same_work.values())

    def _comparison(self) -> Comparison:
        return Comparison(
            date=datetime.now(timezone.utc),
            request=self.request,
            model=self.loaded.info,
            environment=environment(self.loaded.device),
            notes=(*self.notes, *self._on_the_times()),
            # A run that was stopped may have timed Baseline once more than the others since.
            results=tuple(
                result.model_copy(update={"speedup": self._speedup(method, result.times)})
                for method, result in self.results.items()
            ),
        )


def _encode(
    pipe: DiffusionPipeline, request: Request, device: torch.device
) -> dict[str, torch.Tensor | None]:
    """The prompts as the pipeline's own keyword arguments."""
    encoded = pipe.encode_prompt(
        prompt=request.prompt,
        # None is "no negative prompt", which SDXL encodes as zeros; "" would be encoded as a text.
        negative_prompt=request.negative_prompt or None,
        device=device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=request.guidance_scale > 1,
    )
    names = ["prompt_embeds", "negative_prompt_embeds"]
    if isinstance(pipe, StableDiffusionXLPipeline):
        names += ["pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    return dict(zip(names, encoded, strict=True))


def _for_the_reader(error: BaseException, loaded: LoadedPipeline, request: Request) -> BaseException:
    """Out of memory as a sentence, without the frames that still hold tensors; anything else as it is."""
    if not is_out_of_memory(error):
        return error
    give_back(error, loaded.device)
    size = f"{request.width}×{request.height}"
    width, height = (_smaller(side) for side in (request.width, request.height))
    return OutOfMemory(
        f"{size} does not fit into the memory of this {loaded.info.device_name}: try {width}×{height}."
    )


def _smaller(side: int) -> int:
    """Two thirds of a side, which takes less than half of the memory."""
    return max(side * 2 // 3 // SIZE_MULTIPLE * SIZE_MULTIPLE, SIZES[0])
