"""The runs of visitors: accepted, run, counted, logged, and ended with the server."""

from __future__ import annotations

import errno
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from compare.errors import InvalidRequest, OutOfMemory, QueueFull, RunFailed
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
from compare.experiment.pace import Estimate, Pace
from compare.experiment.run_queue import RunQueue
from compare.experiment.worker import MACHINE
from compare.report import PlanSummary
from compare.request import Request
from compare.words import duration, queue_is_full
from server.front_door.visits import Visit
from server.limits import Limits
from server.metrics import Metrics
from server.rate_limiter import RateLimiter

LOG = logging.getLogger("server.runs")
REQUESTS = logging.getLogger("server.requests")
BROKEN = "The run failed. The reason is in the server's log. The next run can work."
DISK_FULL = "The server's disk is full, so the picture could not be kept. Try again later."
CLOSING = "The server is being stopped or restarted. Try again in a minute."
STOPPED_BY_CLOSING = f"Stopped: {CLOSING[0].lower()}{CLOSING[1:]}"
UPDATES_PER_SECOND = 8  # to all who wait in the queue together
TO_STOP = 4.0  # seconds that a run has to stop when the server is stopped
POLL = 0.05  # seconds between two looks at whether all runs have ended

Run = Callable[[Request, threading.Event, int], Iterator[Event]]
"""`run(request, stop, max_queue)`, as `compare.run` for one model."""
Plan = Callable[[Request], Mapping[str, PlanSummary]]
"""As `plans_of`, for one model."""


class Stop(threading.Event):
    """A request to stop, and why."""

    because = ""
    """A sentence for the visitor; empty if they asked for it."""

    def ask(self, because: str = "") -> None:
        """Stop. The first reason counts."""
        if not self.is_set():
            self.because = because
            self.set()


@dataclass(eq=False)
class Job:
    """What a visitor asked for, and what became of it. Times are on the monotonic clock."""

    visit: Visit
    by: str
    """"page", "api" or "mcp"."""
    request: Request | None = None
    """None if it was refused before it was known to be valid."""
    stop: Stop = field(default_factory=Stop)
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    queued: float | None = None
    """When it entered the queue."""
    began: float | None = None
    """When its run began."""
    ended: float = 0.0
    running: str | None = None
    """The method that has begun and is not done."""
    denoising: dict[str, float] = field(default_factory=dict)
    """Median seconds by method, of the methods that were done."""
    outcome: str = "gone"
    """"finished", "stopped", "gone" (the visitor went away), "failed" or "refused"."""
    reason: str | None = None
    """Why it was stopped or refused, as the visitor was told but without what they sent; or what failed."""

    @property
    def waited(self) -> float | None:
        """Seconds in the queue; None if it never entered it."""
        return None if self.queued is None else (self.began or self.ended) - self.queued

    @property
    def took(self) -> float | None:
        """Seconds of its run; None if it never began."""
        return None if self.began is None else self.ended - self.began

    def log_fields(self, with_prompts: bool) -> dict[str, object]:
        """What the log says of it."""
        fields: dict[str, object] = {
            "id": self.id, "visitor": self.visit.visitor, "by": self.by, "outcome": self.outcome,
            "reason": self.reason, "running": self.running,
        }  # fmt: skip
        if (request := self.request) is not None:
            fields |= {
                "width": request.width, "height": request.height, "steps": request.steps,
                "factor": request.factors, "methods": request.methods, "repeats": request.repeats,
                **request.own_settings,
            }  # fmt: skip
        if self.waited is not None:
            fields["waited"] = round(self.waited, 3)
            fields["took"] = None if self.took is None else round(self.took, 3)
            fields["denoising"] = {method: round(s, 4) for method, s in self.denoising.items()}
        if request is not None and with_prompts:
            fields |= {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
        return {name: value for name, value in fields.items() if value is not None}


class Runs:
    """Every run that visitors ask for goes through here.

    Args:
        run: how a comparison is run on the model.
        limits: what one visitor may ask for.
        log_prompts: whether prompts are logged.
        queue: the one that `run` waits in.
        plan: the work of a request. With it, a run that would not end in time is refused before it begins.
    """

    def __init__(
        self,
        run: Run,
        limits: Limits,
        log_prompts: bool = False,
        queue: RunQueue = MACHINE,
        plan: Plan | None = None,
    ) -> None:
        self.run, self.limits, self.queue, self.plan = run, limits, queue, plan
        self.pace = Pace()
        self.metrics = Metrics(lambda: len(queue))
        self.closing = False
        self.is_judging = False
        self._log_prompts = log_prompts
        self._rate_limiter = RateLimiter(limits.per_minute)
        self._jobs: set[Job] = set()
        self._lock = threading.Lock()

    def accept(self, settings: Mapping[str, object], visit: Visit, by: str) -> Job:
        """Check a request against everything that can be known of it beforehand. Runs nothing.

        Args:
            settings: the fields of a `Request`, as they came.
            visit: who asks.
            by: "page" or "api".

        Raises:
            InvalidRequest: with a sentence for the visitor.
        """
        job = Job(visit, "mcp" if visit.is_tool else by)
        try:
            if self.closing:
                raise InvalidRequest(CLOSING)
            job.request = Request(**settings)
            self.limits.check(job.request)
            if (estimate := self.estimate(job.request)) is not None:
                self.limits.check_seconds(job.request, estimate.seconds)
            if refusal := self._no_place_for(visit):
                raise InvalidRequest(refusal)
            self._rate_limiter.admit(visit.visitor)
        except InvalidRequest as error:
            job.outcome, job.reason = "refused", _without_values(str(error))
            self._record(job)
            raise
        return job

    def judge_pace(self, request: Request) -> None:
        """Run a request for nobody, so that `estimate` knows how fast this machine is before visitors have
        run something like it. Takes its place in the queue like any other. `is_judging` meanwhile. Raises
        nothing."""
        self.is_judging = True
        try:
            with closing(self.run(request, threading.Event(), self.limits.in_line)) as events:
                for event in events:
                    if isinstance(event, MethodDone):
                        self.pace.add(request, event.result)
        except Exception:  # the runs of visitors will say more
            LOG.exception("the pace of this machine is not known")
        finally:
            self.is_judging = False

    def estimate(self, request: Request) -> Estimate | None:
        """How long a run would take; None: nothing like it was timed, or nothing is known of its work."""
        if self.plan is None:
            return None
        try:
            return self.pace.estimate(request, self.plan(request))
        except InvalidRequest:  # which the run will say
            return None

    @contextmanager
    def events(self, job: Job) -> Iterator[Iterator[Event]]:
        """The events of a job's run, for the length of a `with` block, whose end ends the run.

        Raises:
            InvalidRequest, RunFailed: with a sentence for the visitor; nothing else, whatever was raised by
                the run or in the block.
        """
        job.queued = time.monotonic()
        with self._lock:
            refusal = self._no_place_for(job.visit)  # since it was accepted
            self._jobs.add(job)
        if self.closing:  # since it was accepted
            job.stop.ask(STOPPED_BY_CLOSING)
        took_too_long = (
            f"Stopped: a run may take {duration(self.limits.seconds)} on this server. "
            "Take fewer pixels, steps, methods or repeats."
        )
        timer = threading.Timer(self.limits.seconds, job.stop.ask, [took_too_long])
        timer.daemon = True
        try:
            if refusal:
                raise QueueFull(refusal)
            with closing(self.run(job.request, job.stop, self.limits.in_line)) as events:
                yield self._watched(job, events, timer)
        except QueueFull as error:  # since it was accepted
            job.outcome, job.reason = "refused", str(error)
            raise RunFailed(job.reason) from error
        except InvalidRequest as error:
            job.outcome, job.reason = "refused", _without_values(str(error))
            raise
        except Exception as error:
            job.outcome = "failed"
            job.reason, sentence = _kind_and_sentence(error)
            self.metrics.failures.labels(job.reason).inc()
            if job.reason == "disk_full":
                self._rate_limiter.forgive(job.visit.visitor)
            if job.reason != "out_of_memory":
                LOG.exception("request %s failed", job.id)
            raise RunFailed(sentence) from error
        finally:
            timer.cancel()
            self._jobs.discard(job)
            self._record(job)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nothing runs for the length of a `with` block: for work that would cost a run time. Waits its turn.

        Raises:
            QueueFull: with a sentence for the visitor; also if the server is being stopped.
        """

        def check_open(seconds: float) -> None:
            if self.closing:
                raise QueueFull(CLOSING)

        with self.queue.place(self.limits.in_line) as place:
            place.wait(check_open)
            yield

    def close(self, grace: float) -> None:
        """Accept no more requests, stop the runs that wait, and let the run in progress finish.

        Args:
            grace: seconds that the run in progress has to finish before it is stopped. At most `TO_STOP`
                seconds later its visitor has been told.
        """
        self.closing = True
        for job in tuple(self._jobs):
            if job.began is None:
                job.stop.ask(STOPPED_BY_CLOSING)
        self._wait(grace)
        for job in tuple(self._jobs):
            job.stop.ask(STOPPED_BY_CLOSING)
        self._wait(TO_STOP)  # what is still computed then ends with the process

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._jobs and time.monotonic() < until:
            time.sleep(POLL)

    def _watched(self, job: Job, events: Iterator[Event], timer: threading.Timer) -> Iterator[Event]:
        """The events, counted; updates on the place in the queue are throttled."""
        updated = 0.0
        for event in events:
            if job.visit.gone.is_set():
                return
            match event:
                case Waiting() | Tick() if job.began is None:
                    # A long queue may not cost the run in progress more than a short one.
                    now = time.monotonic()
                    if now - updated < len(self.queue) / UPDATES_PER_SECOND:
                        continue
                    updated = now
                case Started():
                    job.began = time.monotonic()
                    timer.start()
                case MethodDone(result=result):
                    job.running = None
                    job.denoising[result.method] = result.times.seconds
                    self.pace.add(job.request, result)
                    self.metrics.method_seconds.labels(result.method).observe(result.times.denoising[-1])
                case Finished():
                    job.outcome = "finished"
                case Stopped():
                    job.outcome, job.reason = "stopped", job.stop.because or None
                case MethodStarted(method=method):
                    job.running = method
            if isinstance(event, (Started, MethodStarted, StepDone, MethodDone)):
                self.metrics.last_step.set_to_current_time()
            yield event

    def _record(self, job: Job) -> None:
        """Log and count how a request ended."""
        job.ended = time.monotonic()
        self.metrics.requests.labels(job.outcome).inc()
        if job.waited is not None:
            self.metrics.waited_seconds.observe(job.waited)
        if job.took is not None:
            self.metrics.run_seconds.observe(job.took)
        REQUESTS.info("request %s", job.outcome, extra={"fields": job.log_fields(self._log_prompts)})

    def _no_place_for(self, visit: Visit) -> str:
        """Why this visitor cannot have one more place in the queue; empty if they can."""
        if len(self.queue) >= self.limits.in_line:
            return queue_is_full(self.limits.in_line)
        own = sum(job.visit.visitor == visit.visitor for job in tuple(self._jobs))
        if own < self.limits.per_visitor:
            return ""
        return (
            f"You have {own} comparisons in the queue, and a visitor of this server can have "
            f"{self.limits.per_visitor}. Wait for one, or stop it."
        )


def _without_values(sentence: str) -> str:
    """A sentence for a visitor as the log has it: without what the visitor sent."""
    without_texts = re.sub(r"(['\"]).*\1", "…", sentence.partition(", not ")[0])
    return re.sub(r"=(\([^)]*\)|[^\s,;)]+)", "=…", without_texts)


def _kind_and_sentence(error: Exception) -> tuple[str, str]:
    """The kind of failure, for the metrics, and a sentence that gives nothing of the server away."""
    match error:
        case OutOfMemory():
            return "out_of_memory", str(error)
        case RunFailed():
            return "run_failed", str(error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            return "disk_full", DISK_FULL
    return "error", BROKEN
