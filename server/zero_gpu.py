"""Runs on ZeroGPU, where a Space has no GPU of its own and is lent one for the length of a call.

The call is made in a process forked from this one, which has the GPU and inherits the loaded model. Only the
arguments and what is yielded go between the two, pickled: no `threading.Event` can, and of exceptions only
Gradio's come through. Hence `_Stops`, and errors as values in `LentGpu`. Elsewhere there is none of this.
"""

from __future__ import annotations

import itertools
import math
import mmap
import threading
from collections.abc import Iterator
from functools import partial

import gradio as gr
import spaces
from spaces.config import Config

from compare import Event, InvalidRequest, LoadedPipeline, Request, RunFailed, run
from compare.experiment.run_queue import RunQueue
from compare.experiment.worker import MACHINE
from server.runs import Run

# Rounded up from FLOPs, as nobody has timed it there yet: what is asked for is a limit, and what is left of
# it is given back.
START = 15.0  # seconds, with 7 GB of weights that go to the GPU, and the prompts' encoding
STEP = 0.2  # seconds of a guided step of SDXL at 1024×1024
DECODING = 1.0  # seconds at 1024×1024
LENT_FOR_TOO_LONG = (
    "The GPU was taken back before the run was done: try fewer steps, methods or repeats, or a smaller size."
)


def runner(loaded: LoadedPipeline) -> Run:
    """How this machine runs a comparison on a model. Must be made before the page is launched."""
    return LentGpu(loaded).run if Config.zero_gpu else partial(run, loaded)


def gpu_seconds(request: Request) -> int:
    """For how long to ask for the GPU: from size, steps, guidance, methods and repeats.

    The work of a step grows with the pixels, and that of its attention with their square: by the FLOPs of
    SDXL's UNet, a tenth of a step is attention at 1024×1024.
    """
    megapixels = request.width * request.height / 1024**2
    step = STEP * (0.9 * megapixels + 0.1 * megapixels**2) * (1.0 if request.guidance_scale > 1 else 0.5)
    picture = (request.steps + 1) * step + DECODING * megapixels  # one step more, to warm up
    return math.ceil(START + picture * len(request.methods) * request.repeats)


class LentGpu:
    """Runs comparisons on GPUs that are lent."""

    def __init__(self, loaded: LoadedPipeline) -> None:
        self._stops = _Stops()

        @spaces.GPU(duration=lambda request, ticket: gpu_seconds(request))
        def lent(request: Request, ticket: int) -> Iterator[Event | InvalidRequest | RunFailed]:
            try:
                yield from run(loaded, request, _Stop(self._stops, ticket), queue=RunQueue())
            except (InvalidRequest, RunFailed) as error:
                yield error

        self._lent = lent

    def run(
        self, request: Request, stop: threading.Event | None = None, max_queue: int | None = None
    ) -> Iterator[Event]:
        """As `compare.run`; also a refusal to lend a GPU is a `RunFailed` with its reason.

        Each call has a process and a GPU of its own, so none waits for another: a place in the queue only
        counts it. Waiting for a GPU ends with one or a refusal, after a minute at most; until then `stop`
        waits too.
        """
        with MACHINE.place(max_queue):
            yield from self._run(request, stop)

    def _run(self, request: Request, stop: threading.Event | None) -> Iterator[Event]:
        ticket = self._stops.ticket()
        events = self._lent(request, ticket)
        try:
            for event in events:
                if stop is not None and stop.is_set():
                    self._stops.stop(ticket)
                if isinstance(event, Exception):
                    raise event
                yield event
        except gr.Error as error:
            raise _as_ours(error) from error
        finally:
            self._stops.stop(ticket)
            # Waits for the other process, up to a step, and this may be the server's event loop.
            threading.Thread(target=events.close, name="end of a lent GPU", daemon=True).start()


class _Stops:
    """Which runs are to stop, in memory that this process shares with those forked from it."""

    PLACES = 4096  # more than runs at a time, so that no two of them share one

    def __init__(self) -> None:
        self._told = memoryview(mmap.mmap(-1, 8 * self.PLACES)).cast("Q")
        self._tickets = itertools.count(1)

    def ticket(self) -> int:
        return next(self._tickets)

    def stop(self, ticket: int) -> None:
        self._told[ticket % self.PLACES] = ticket

    def is_stopped(self, ticket: int) -> bool:
        return self._told[ticket % self.PLACES] == ticket


class _Stop(threading.Event):
    """The `stop` of a run in another process."""

    def __init__(self, stops: _Stops, ticket: int) -> None:
        super().__init__()
        self._stops, self._ticket = stops, ticket

    def is_set(self) -> bool:
        return self._stops.is_stopped(self._ticket)


def _as_ours(error: gr.Error) -> Exception:
    """Why no GPU is lent, `spaces` says in words for the visitor; of what failed on one, only the class."""
    said = str(error.message)
    if error.title != "ZeroGPU worker error":
        return RunFailed(said)
    return RunFailed(LENT_FOR_TOO_LONG) if "aborted" in said else RuntimeError(f"{said} on a lent GPU")
