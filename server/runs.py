"""The runs that visitors ask for: accepted, run, counted, logged, and ended with the server."""

from __future__ import annotations

import errno
import logging
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
from compare.experiment.run_queue import RunQueue
from compare.experiment.worker import MACHINE
from compare.request import Request
from server.limits import Limits, OverLimit
from server.log import RequestLine, log_request
from server.metrics import Metrics
from server.visitors import Turnstile

LOG = logging.getLogger("server.runs")
BROKEN = "The run failed for a reason that only the server's log tells. The next one can work."
DISK_FULL = "The server's disk is full, so the picture could not be kept. Try again later."
CLOSING = "The server is being stopped or restarted. Try again in a minute."
STOPPED_BY_CLOSING = f"Stopped: {CLOSING[0].lower()}{CLOSING[1:]}"
UPDATES_PER_SECOND = 8  # to all who wait in the queue together
POLL = 0.05  # seconds between two looks at whether all runs have ended

Run = Callable[[Request, threading.Event, int], Iterator[Event]]
"""`run(request, stop, max_queue)`, as `compare.run` for one model."""


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
    """An accepted request."""

    request: Request
    visitor: str
    by: str
    stop: Stop = field(default_factory=Stop)
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    asked: float = field(default_factory=time.monotonic)
    updated: float = 0.0
    """When its place in the queue was last shown."""
    began: float | None = None
    """When its run began."""
    denoising: dict[str, float] = field(default_factory=dict)
    """Median seconds by method."""
    outcome: str = "gone"
    reason: str | None = None


class Runs:
    """Every run that visitors ask for goes through here.

    Args:
        run: how a comparison is run on the model.
        limits: what one visitor may ask for.
        log_prompts: whether prompts may be logged.
        queue: the one that `run` waits in.
    """

    def __init__(
        self, run: Run, limits: Limits, log_prompts: bool = False, queue: RunQueue = MACHINE
    ) -> None:
        self.run, self.limits, self.queue = run, limits, queue
        self.metrics = Metrics(lambda: len(self.queue))
        self.last_sign = time.monotonic()
        """When a run last got further."""
        self.closing = False
        self._log_prompts = log_prompts
        self._rate = Turnstile(limits.per_minute)
        self._jobs: set[Job] = set()

    def accept(self, settings: Mapping[str, object], visitor: str, by: str) -> Job:
        """Check a request against everything that can be known of it beforehand. Runs nothing.

        Args:
            settings: the fields of a `Request`, as they came.
            visitor: whom it counts for.
            by: "page" or "api".

        Raises:
            InvalidRequest: with a sentence for the visitor.
        """
        request = None
        try:
            if self.closing:
                raise OverLimit(CLOSING)
            request = Request(**settings)
            self.limits.check(request)
            if len(self.queue) >= self.limits.in_line:
                raise OverLimit(self._queue_is_full())
            self._rate.pass_through(visitor)
        except InvalidRequest as error:
            self._record(secrets.token_hex(8), visitor, by, "refused", str(error), request)
            raise
        return Job(request, visitor, by)

    @contextmanager
    def events(self, job: Job) -> Iterator[Iterator[Event]]:
        """The events of a job's run, for the length of a `with` block, whose end ends the run.

        Raises:
            InvalidRequest, RunFailed: with a sentence for the visitor; nothing else, whatever was raised by
                the run or in the block.
        """
        self._jobs.add(job)
        timer = threading.Timer(self.limits.seconds, job.stop.ask, [self._took_too_long()])
        timer.daemon = True
        try:
            if self.closing:  # since it was accepted
                raise QueueFull(CLOSING)
            with closing(self.run(job.request, job.stop, self.limits.in_line)) as events:
                yield self._watched(job, events, timer)
        except QueueFull as error:
            job.outcome, job.reason = "refused", CLOSING if self.closing else self._queue_is_full()
            raise RunFailed(job.reason) from error
        except InvalidRequest as error:
            job.outcome, job.reason = "refused", str(error)
            raise
        except Exception as error:
            job.outcome = "failed"
            job.reason, sentence = _kind_and_sentence(error)
            self.metrics.failures.labels(job.reason).inc()
            if job.reason != "out_of_memory":
                LOG.exception("request %s failed", job.id)
            raise RunFailed(sentence) from error
        finally:
            timer.cancel()
            self._jobs.discard(job)
            self._record(job.id, job.visitor, job.by, job.outcome, job.reason, job.request, job)

    def close(self, grace: float) -> None:
        """Accept nobody any more, send away those who wait, and end the run in progress.

        Args:
            grace: seconds that the run in progress has to finish before it is stopped.
        """
        self.closing = True
        for job in tuple(self._jobs):
            if job.began is None:
                job.stop.ask(STOPPED_BY_CLOSING)
        self._wait(grace)
        for job in tuple(self._jobs):
            job.stop.ask(STOPPED_BY_CLOSING)
        self._wait(grace + 60)  # a single step can be long

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (self._jobs or len(self.queue)) and time.monotonic() < until:
            time.sleep(POLL)

    def _watched(self, job: Job, events: Iterator[Event], timer: threading.Timer) -> Iterator[Event]:
        """The events, counted; updates on the place in the queue are throttled."""
        for event in events:
            match event:
                case Started():
                    job.began = time.monotonic()
                    timer.start()
                    if self.closing:  # it came first in the queue just then
                        job.stop.ask(STOPPED_BY_CLOSING)
                case MethodDone(result=result):
                    job.denoising[result.method] = result.times.seconds
                    self.metrics.method_seconds.labels(result.method).observe(result.times.denoising[-1])
                case Finished():
                    job.outcome = "finished"
                case Stopped():
                    job.outcome, job.reason = "stopped", job.stop.because or None
            if isinstance(event, (Started, MethodStarted, StepDone, MethodDone)):
                self.last_sign = time.monotonic()
                self.metrics.last_step.set_to_current_time()
            waits = job.began is None and isinstance(event, (Waiting, Tick))
            if not waits or self._may_update(job):
                yield event

    def _may_update(self, job: Job) -> bool:
        """Throttles queue-position updates: a long queue may not cost the run more than a short one."""
        now = time.monotonic()
        if now - job.updated < len(self.queue) / UPDATES_PER_SECOND:
            return False
        job.updated = now
        return True

    def _record(
        self,
        id: str,
        visitor: str,
        by: str,
        outcome: str,
        reason: str | None,
        request: Request | None,
        job: Job | None = None,
    ) -> None:
        """Log and count how a request ended."""
        now = time.monotonic()
        waited = (job.began or now) - job.asked if job else None
        took = now - job.began if job and job.began else None
        self.metrics.requests.labels(outcome).inc()
        if waited is not None:
            self.metrics.waited_seconds.observe(waited)
        if took is not None:
            self.metrics.run_seconds.observe(took)
        log_request(
            RequestLine(
                id=id,
                visitor=visitor,
                by=by,
                outcome=outcome,
                reason=reason,
                width=request and request.width,
                height=request and request.height,
                steps=request and request.steps,
                factor=request and request.factors,
                methods=request and request.methods,
                repeats=request and request.repeats,
                waited=waited and round(waited, 3),
                took=took and round(took, 3),
                denoising={id: round(s, 4) for id, s in job.denoising.items()} if job else None,
                prompt=request.prompt if request and self._log_prompts else None,
                negative_prompt=request.negative_prompt if request and self._log_prompts else None,
            )
        )

    def _queue_is_full(self) -> str:
        return (
            f"{self.limits.in_line} comparisons are in line, which is all this server takes. Try again soon."
        )

    def _took_too_long(self) -> str:
        return (
            f"Stopped: a run may take {self.limits.seconds} seconds on this server. "
            "Take fewer pixels, steps, methods or repeats."
        )


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
