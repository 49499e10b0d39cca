"""`/healthz` and `/metrics`, for the operator of the server."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import closing
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from compare.events import Finished
from compare.methods import BASELINE
from compare.request import SIZES, Request
from server.runs import Runs

LOG = logging.getLogger("server.health")
PATIENCE = 10.0  # seconds that a step waits in the queue
FRESH = 10.0  # seconds in which nobody gets a new step, however often they ask


@dataclass(frozen=True)
class Check:
    """The result of a step."""

    status: str
    """"ok", "busy" (other runs are before it in the queue) or "failed"."""
    at: float
    """When, on the monotonic clock."""
    seconds: float | None = None
    """Of the run of one step, with encoding and decoding."""


class Health:
    """Answers about one server's runs."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._check: asyncio.Task[Check] | None = None

    @property
    def routes(self) -> list[Route]:
        return [Route("/healthz", self.healthz), Route("/metrics", self.metrics)]

    async def healthz(self, request: HttpRequest) -> Response:
        """Whether the server answers; with `?step=1`, whether the model does, by a real denoising step."""
        if self._runs.closing:
            return JSONResponse({"status": "stopping"}, 503)
        if request.query_params.get("step") != "1":
            return JSONResponse({"status": "ok", "in_line": len(self._runs.queue)})
        check = await self._shared_check()
        answer = {
            "status": check.status,
            "seconds": check.seconds,
            "ago": round(time.monotonic() - check.at, 3),
            "in_line": len(self._runs.queue),
        }
        return JSONResponse(answer, 503 if check.status == "failed" else 200)

    async def metrics(self, request: HttpRequest) -> Response:
        """The metrics of this process, for Prometheus."""
        metrics = generate_latest(self._runs.metrics.registry)
        return Response(metrics, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _shared_check(self) -> Check:
        """One step for all who ask at about the same time."""
        task = self._check
        if task is None or (task.done() and time.monotonic() - task.result().at > FRESH):
            task = self._check = asyncio.create_task(asyncio.to_thread(self._step))
        return await asyncio.shield(task)

    def _step(self) -> Check:
        """Run one step of the smallest picture, in the queue of all runs. Raises nothing."""
        side = SIZES[0]
        tiny = Request(
            prompt="health", width=side, height=side, steps=1, guidance_scale=1.0, methods=(BASELINE.id,)
        )
        began = time.monotonic()
        try:
            # One place more than visitors can take, so that a full queue does not look like a failure.
            places = self._runs.limits.in_line + 1
            with closing(self._runs.run(tiny, threading.Event(), places)) as events:
                for event in events:
                    now = time.monotonic()
                    if isinstance(event, Finished):
                        return Check("ok", now, round(now - began, 3))
                    if now - began > PATIENCE:
                        return Check("busy", now)
        except Exception:
            LOG.exception("The step of the health check failed")
        return Check("failed", time.monotonic())
