"""Run a comparison on a worker thread, and yield its events."""

from __future__ import annotations

import queue as queues
import threading
import time
from collections.abc import Callable, Iterator

import torch

from compare.errors import OutOfMemory
from compare.events import Event, Finished, MethodDone, StepDone, Stopped, Tick, Waiting
from compare.experiment.decoding import tiled_if_large
from compare.experiment.measure import Measured, measure
from compare.experiment.memory import free_memory_of, is_out_of_memory, return_free_memory
from compare.experiment.run_queue import Place, RunQueue
from compare.experiment.stopping import stoppable
from compare.models.load import LoadedPipeline
from compare.request import SIZE_MULTIPLE, SIZES, Request

MACHINE = RunQueue()
"""The queue of this process: two runs on one machine would disturb each other's times, even on two models."""
STOPPING = 2.0
"""Seconds after a stop in which its reader is told in any case. A single attention of a large picture can
take longer on a CPU: the run keeps its place until it has left the model."""
READER = 1.0  # seconds that a reader has for a picture before the run goes on
WAITING_EVERY = 1.0  # seconds between two `Waiting`


def run(
    loaded: LoadedPipeline,
    request: Request,
    stop: threading.Event | None = None,
    max_queue: int | None = None,
    queue: RunQueue = MACHINE,
) -> Iterator[Event]:
    """Run a comparison on a thread of its own and yield its events; the last is `Finished` or `Stopped`.

    Nothing happens before the first `next()`. One comparison of a queue runs at a time. However a run ends,
    the model is left unpatched.

    Args:
        stop: setting it ends the run, also inside a step; so does closing the generator.
        max_queue: how many runs may be in the queue, this one included (default: any number).

    Raises:
        InvalidRequest: a method cannot be used on this model at this size; before anything is computed.
        QueueFull: there are `max_queue` runs in the queue already.
        OutOfMemory: with a sentence for the reader. Any other exception of the run comes out as it was.
    """
    # The generator may be resumed on any thread, closed on a server's event loop, or left hanging. So it
    # holds nothing: queue, patch and no_grad live and die on the worker's stack; only `events` is shared.
    events: queues.Queue[Event | BaseException] = queues.Queue()
    gone = threading.Event()

    def check_stopped() -> None:
        if gone.is_set() or (stop is not None and stop.is_set()):
            raise _StopRequested

    def emit(event: Event | BaseException) -> None:
        """Hand an event to the reader. A picture takes them work: wait for it, as no clock runs."""
        events.put(event)
        if isinstance(event, MethodDone) or (isinstance(event, StepDone) and event.preview is not None):
            with events.all_tasks_done:
                events.all_tasks_done.wait_for(lambda: not events.unfinished_tasks, timeout=READER)

    measured = Measured(loaded, request)
    threading.Thread(
        target=_work,
        args=(measured, emit, check_stopped, queue, max_queue),
        name="comparison",
        daemon=True,
    ).start()
    asked: float | None = None  # when the stop was first seen
    try:
        while True:
            is_new = True
            try:
                event = events.get(timeout=1)
            except queues.Empty:
                event, is_new = Tick(), False
                if asked is None and stop is not None and stop.is_set():
                    asked = time.monotonic()
                elif asked is not None and time.monotonic() - asked > STOPPING:
                    event = Stopped(measured.comparison())
            if isinstance(event, BaseException):
                raise event
            yield event
            if is_new:
                events.task_done()
            if isinstance(event, (Finished, Stopped)):
                return
    finally:
        gone.set()


class _StopRequested(Exception):
    pass


def _work(
    measured: Measured,
    emit: Callable[[Event | BaseException], None],
    check_stopped: Callable[[], None],
    queue: RunQueue,
    max_queue: int | None,
) -> None:
    """Wait for the first place, measure, and emit the last event once the model is free again."""
    loaded, request = measured.loaded, measured.request
    try:
        with queue.place(max_queue) as place:
            _wait(place, emit, check_stopped)
            try:
                with (
                    torch.no_grad(),
                    tiled_if_large(loaded.pipe.vae, request),
                    stoppable(loaded.pipe, check_stopped),
                ):
                    measure(measured, emit, check_stopped)
            finally:
                return_free_memory()  # while this place is the first, so that it disturbs nobody's times
        last = Finished(measured.comparison())
    except _StopRequested:
        last = Stopped(measured.comparison())
    except BaseException as error:
        last = _for_the_reader(error, loaded, request)
    emit(last)


def _wait(place: Place, emit: Callable[[Event], None], check_stopped: Callable[[], None]) -> None:
    last = -WAITING_EVERY

    def while_waiting(seconds: float) -> None:
        nonlocal last
        check_stopped()
        if seconds - last >= WAITING_EVERY:
            last = seconds
            emit(Waiting(seconds, place.ahead))

    place.wait(while_waiting)
    check_stopped()


def _for_the_reader(error: BaseException, loaded: LoadedPipeline, request: Request) -> BaseException:
    """Out of memory as a sentence, without the frames that still hold tensors; anything else as it is."""
    if not is_out_of_memory(error):
        return error
    free_memory_of(error, loaded.device)
    size = f"{request.width}×{request.height}"
    width, height = (_smaller(side) for side in (request.width, request.height))
    return OutOfMemory(
        f"{size} does not fit into the memory of this {loaded.info.device_name}: try {width}×{height}."
    )


def _smaller(side: int) -> int:
    """Two thirds of a side, which takes less than half of the memory."""
    return max(side * 2 // 3 // SIZE_MULTIPLE * SIZE_MULTIPLE, SIZES[0])
