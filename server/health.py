"""`/healthz` and `/metrics`: what those who run the server ask it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import closing
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from compare.events import Finished
from compare.request import SIZES, Request
from server.runs import Runs

LOG = logging.getLogger("server.health")
PATIENCE = 10.0  # seconds that a step waits for its turn
FRESH = 10.0  # seconds in which nobody gets a new step, however often they ask
STUCK = 300.0  # seconds without a sign of the run in front, after which it is not called busy any more


@dataclass(frozen=True)
class Checked:
    """What a step gave."""

    status: str
    """"ok", "busy" (others are running and get further), "stuck" or "failed"."""
    at: float
    """On the monotonic clock."""
    seconds: float | None = None
    """That the run of one step took, with encoding and decoding."""

    @property
    def code(self) -> int:
        """The HTTP status: whether to send visitors here."""
        return 200 if self.status in ("ok", "busy") else 503


class Health:
    """Answers about one server's runs."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._checking: asyncio.Task[Checked] | None = None

    @property
    def routes(self) -> list[Route]:
        return [Route("/healthz", self.healthz), Route("/metrics", self.metrics)]

    async def healthz(self, request: HttpRequest) -> Response:
        """Whether the server answers; with `?step=1`, whether the model does, by a real denoising step."""
        if self._runs.closing:
            return JSONResponse({"status": "stopping"}, 503)
        if request.query_params.get("step") != "1":
            return JSONResponse({"status": "ok", "in_line": len(self._runs.queue)})
        checked = await self._checked()
        told = {
            "status": checked.status,
            "seconds": checked.seconds,
            "ago": round(time.monotonic() - checked.at, 3),
            "in_line": len(self._runs.queue),
        }
        return JSONResponse(told, checked.code)

    async def metrics(self, request: HttpRequest) -> Response:
        """The metrics of this process, for Prometheus."""
        return Response(self._runs.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _checked(self) -> Checked:
        """One step for all who ask at about the same time."""
        task = self._checking
        if task is None or (task.done() and time.monotonic() - task.result().at > FRESH):
            task = self._checking = asyncio.create_task(asyncio.to_thread(self.step))
        return await asyncio.shield(task)

    def step(self) -> Checked:
        """Run one step of the smallest picture, in line with everybody else's runs. Raises nothing."""
        stop = threading.Event()
        began = time.monotonic()
        side = SIZES[0]
        tiny = Request(
            prompt="health", width=side, height=side, steps=1, guidance_scale=1.0, methods=("baseline",)
        )
        runs = self._runs
        try:
            # A line of its own length: the visitors' limit is not for this.
            with closing(runs.run(tiny, stop, runs.limits.in_line + 1)) as events:
                for event in events:
                    now = time.monotonic()
                    if isinstance(event, Finished):
                        return Checked("ok", now, round(now - began, 3))
                    if now - began > PATIENCE:
                        stuck = now - runs.last_sign > STUCK
                        return Checked("stuck" if stuck else "busy", now)
        except Exception:
            LOG.exception("The step of the health check failed")
        return Checked("failed", time.monotonic())
