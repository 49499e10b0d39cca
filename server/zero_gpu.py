"""Runs on ZeroGPU: a Space without a GPU of its own is lent one for the length of a call.

The call is made in a process forked from this one, which has the GPU and inherits the loaded model. Arguments
and what is yielded go between the two pickled: a `threading.Event` cannot, and of exceptions only Gradio's
come through. Hence a file instead of an event, and errors as values.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from functools import partial
from tempfile import NamedTemporaryFile

import gradio as gr
import spaces
from spaces.config import Config

from compare import Event, InvalidRequest, LoadedPipeline, Request, RunFailed, run
from compare.experiment.run_queue import RunQueue
from compare.experiment.worker import MACHINE
from server.runs import Run

# Rounded up from FLOPs, not measured. What is asked for is an upper limit; what is left of it is given back.
START = 15.0  # seconds, with 7 GB of weights that go to the GPU, and the prompts' encoding
STEP = 0.2  # seconds of a guided step of SDXL at 1024×1024
DECODING = 1.0  # seconds at 1024×1024
LENDS_GPUS = Config.zero_gpu
"""Whether this is such a Space."""
LENT_FOR_TOO_LONG = (
    "The GPU was taken back before the run was done: try fewer steps, methods or repeats, or a smaller size."
)


def runner(loaded: LoadedPipeline) -> Run:
    """How this machine runs a comparison on a model. To be called before the page is launched."""
    return LentGpu(loaded).run if LENDS_GPUS else partial(run, loaded)


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
    """Runs comparisons on lent GPUs."""

    def __init__(self, loaded: LoadedPipeline) -> None:
        @spaces.GPU(duration=lambda request, going_on: gpu_seconds(request))
        def lent(request: Request, going_on: str) -> Iterator[Event | InvalidRequest | RunFailed]:
            try:
                # A new queue: this process inherits the other one as it was, and nobody leaves it here.
                yield from run(loaded, request, _StopIfGone(going_on), queue=RunQueue())
            except (InvalidRequest, RunFailed) as error:
                yield error

        self._lent = lent

    def run(
        self, request: Request, stop: threading.Event | None = None, max_queue: int | None = None
    ) -> Iterator[Event]:
        """As `compare.run`; also a refusal to lend a GPU is a `RunFailed` with its reason.

        Each call has a process and a GPU of its own, so none waits for another: its place in the queue only
        counts it. Waiting for a GPU ends with one or a refusal, after a minute at most; until then `stop`
        waits too.
        """
        # The run in the other process ends once this file is gone, and the block removes it in any case.
        with MACHINE.place(max_queue), NamedTemporaryFile(prefix="todo-run-") as going_on:
            events = self._lent(request, going_on.name)
            try:
                for event in events:
                    if stop is not None and stop.is_set():
                        going_on.close()
                    if isinstance(event, Exception):
                        raise event
                    yield event
            except gr.Error as error:
                raise _as_ours(error) from error
            finally:
                # Waits for the other process, up to a step, and this may be the server's event loop.
                threading.Thread(target=events.close, name="end of a lent GPU", daemon=True).start()


class _StopIfGone(threading.Event):
    """The `stop` of a run in another process: set once a file is gone."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file

    def is_set(self) -> bool:
        return not os.path.exists(self._file)


def _as_ours(error: gr.Error) -> Exception:
    """`spaces` says in words for the visitor why it lends no GPU; of an error on a GPU, only the class."""
    said = str(error.message)
    if error.title != "ZeroGPU worker error":
        return RunFailed(said)
    return RunFailed(LENT_FOR_TOO_LONG) if "aborted" in said else RuntimeError(f"{said} on a lent GPU")
