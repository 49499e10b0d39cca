"""The comparisons that visitors ask for: let in, run, counted and logged, and ended with the server."""

from __future__ import annotations

import errno
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

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
from compare.experiment.worker import OutOfMemory, RunFailed, TooManyWaiting, in_line
from compare.request import InvalidRequest, Request
from server.limits import Limits, OverLimit
from server.log import RequestLine, log_request
from server.metrics import Metrics
from server.visitors import Turnstile

LOG = logging.getLogger("server.runs")
BROKEN = "The run failed for a reason that only the server's log tells. The next one can work."
DISK_FULL = "The server's disk is full, so the picture could not be kept. Try again later."
CLOSING = "The server is being stopped or restarted. Try again in a minute."
STOPPED_BY_CLOSING = f"Stopped: {CLOSING[0].lower()}{CLOSING[1:]}"
ANSWERS_A_SECOND = 8  # to all who wait in line together
LOOK = 0.05  # seconds between two looks at whether all runs have ended

Answer = TypeVar("Answer")
Run = Callable[[Request, threading.Event, int], Iterator[Event]]
"""`run(request, stop, longest_line)`, as `compare.run` for one model."""


class Stop(threading.Event):
    """A request to stop, and why."""

    because = ""
    """A sentence for the visitor; empty where they asked for it."""

    def ask(self, because: str = "") -> None:
        """Stop. The first reason counts."""
        if not self.is_set():
            self.because = because
            self.set()


@dataclass(eq=False)
class Job:
    """A request that was let in."""

    request: Request
    visitor: str
    by: str
    stop: Stop = field(default_factory=Stop)
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    asked: float = field(default_factory=time.monotonic)
    answered: float = 0.0
    """When it was last told that it is in line."""
    began: float | None = None
    """When its turn came."""
    denoising: dict[str, float] = field(default_factory=dict)


class Runs:
    """Every run that visitors ask for goes through here.

    Args:
        run: how a comparison is run on the model.
        limits: what one visitor may ask for.
        log_prompts: whether prompts may be logged.
    """

    def __init__(self, run: Run, limits: Limits, log_prompts: bool = False) -> None:
        self.run, self.limits = run, limits
        self.metrics = Metrics(self.in_line)
        self.last_sign = time.monotonic()
        """When a run last got further."""
        self.closing = False
        self._log_prompts = log_prompts
        self._turnstile = Turnstile(limits.per_minute)
        self._jobs: set[Job] = set()

    def in_line(self) -> int:
        """How many comparisons are in line, those that run included, wherever they run."""
        return max(in_line(), len(self._jobs))

    def accept(self, visitor: str, by: str, make: Callable[[], Request]) -> Job:
        """Check a request against everything that can be known of it beforehand. Runs nothing.

        Args:
            visitor: whom to count it for.
            by: "page" or "api".
            make: makes the request out of what came; what it raises is raised here.

        Raises:
            InvalidRequest: with a sentence for the visitor.
        """
        request = None
        try:
            if self.closing:
                raise OverLimit(CLOSING)
            request = make()
            self.limits.check(request)
            if self.in_line() >= self.limits.in_line:
                raise OverLimit(self._line_is_full())
            self._turnstile.pass_through(visitor)
        except InvalidRequest as error:
            self._note("refused", str(error), visitor=visitor, by=by, request=request)
            raise
        return Job(request, visitor, by)

    def answers(self, job: Job, answer_to: Callable[[Event], Answer]) -> Iterator[Answer]:
        """Run, and yield the answer to each event. What `answer_to` raises ends the run.

        Raises:
            InvalidRequest, RunFailed: with a sentence for the visitor; nothing else.
        """
        outcome, reason = "gone", None
        self._jobs.add(job)
        limit = threading.Timer(self.limits.seconds, job.stop.ask, [self._took_too_long()])
        limit.daemon = True
        try:
            if self.closing:  # since it was accepted
                raise TooManyWaiting(CLOSING)
            with closing(self.run(job.request, job.stop, self.limits.in_line)) as events:
                for event in events:
                    self._watch(job, event, limit)
                    if job.began is None and isinstance(event, (Waiting, Tick)) and not self._is_time(job):
                        continue
                    answer = answer_to(event)
                    if isinstance(event, Finished):
                        outcome = "finished"
                    elif isinstance(event, Stopped):
                        outcome, reason = "stopped", job.stop.because or None
                    yield answer
        except TooManyWaiting as error:
            outcome, reason = "refused", CLOSING if self.closing else self._line_is_full()
            raise RunFailed(reason) from error
        except InvalidRequest as error:
            outcome, reason = "refused", str(error)
            raise
        except Exception as error:
            outcome = "failed"
            reason, sentence = _kind_and_sentence(error)
            self.metrics.failures.labels(reason).inc()
            if reason != "out_of_memory":
                LOG.exception("request %s failed", job.id)
            raise RunFailed(sentence) from error
        finally:
            limit.cancel()
            self._jobs.discard(job)
            self._note(outcome, reason, job.visitor, job.by, job.request, job)

    def close(self, grace: float) -> None:
        """Let nobody in any more, send away those who wait, and end the run.

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
        while self.in_line() and time.monotonic() < until:
            time.sleep(LOOK)

    def _is_time(self, job: Job) -> bool:
        """Whether one who waits is answered: a long line may not cost the run more than a short one."""
        now = time.monotonic()
        if now - job.answered < self.in_line() / ANSWERS_A_SECOND:
            return False
        job.answered = now
        return True

    def _watch(self, job: Job, event: Event, limit: threading.Timer) -> None:
        match event:
            case Started():
                job.began = time.monotonic()
                limit.start()
                if self.closing:  # its turn came just then
                    job.stop.ask(STOPPED_BY_CLOSING)
            case MethodDone(result=result):
                job.denoising[result.method] = result.times.seconds
                self.metrics.method_seconds.labels(result.method).observe(result.times.denoising[-1])
        if isinstance(event, (Started, MethodStarted, StepDone, MethodDone)):
            self.last_sign = time.monotonic()
            self.metrics.last_step.set_to_current_time()

    def _note(
        self,
        outcome: str,
        reason: str | None,
        visitor: str,
        by: str,
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
        line = RequestLine(
            id=job.id if job else secrets.token_hex(8),
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
            denoising={name: round(took, 4) for name, took in job.denoising.items()} if job else None,
            prompt=request.prompt if request and self._log_prompts else None,
            negative_prompt=request.negative_prompt if request and self._log_prompts else None,
        )
        log_request(line)

    def _line_is_full(self) -> str:
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
