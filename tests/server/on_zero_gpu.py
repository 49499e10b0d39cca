"""What happens to runs on ZeroGPU, as JSON. A process of its own: `spaces` decides when it is imported.

The forked process, its queues and the lending are those of `spaces`; only the GPU itself is missing, so that
the model computes on the CPU in there.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.server import cuda_build  # noqa: F401

# isort: split
import spaces.zero.torch
from gradio.exceptions import Error

import compare
from app import Page
from compare.experiment.worker import MACHINE
from compare.models.load import LoadedPipeline, Source, load_pipeline, loaded_pipeline
from server.zero_gpu import LentGpu
from tests.helpers.tiny_models import sdxl_pipeline
from tests.helpers.visitors import wait_until


def main(folder: Path) -> None:
    spaces.zero.torch.init = lambda uuid: None
    spaces.zero.torch.move = lambda callback=None: None
    loaded = loaded_pipeline(sdxl_pipeline().to("cpu"), Source(place="somewhere/tiny-sdxl", name="tiny"))
    seen, places = {}, {}
    for case in (finished, stopped, invalid, failed, left, after_all_that, refused, taken_back, queue_full):
        seen[case.__name__] = case(loaded)
        places[case.__name__] = len(MACHINE)
    seen["places left in the queue"] = places
    seen["loaded"] = on_the_emulated_gpu(folder)
    print("SEEN", json.dumps(seen))


def request(**changes: object) -> compare.Request:
    small = {"prompt": "a fox", "width": 64, "height": 64, "steps": 2, "guidance_scale": 4.0}
    return compare.Request(**{**small, **changes})


def kinds(events: Iterator[object]) -> list[str]:
    return [type(event).__name__ for event in events if not isinstance(event, compare.Tick)]


def pictures(comparison: compare.Comparison) -> list[str]:
    return [hashlib.sha256(result.image.tobytes()).hexdigest() for result in comparison.results]


def error_of(events: Callable[[], Iterator[object]]) -> list[str]:
    try:
        list(events())
    except Exception as error:
        return [type(error).__name__, str(error)]
    return ["none", ""]


def finished(loaded: LoadedPipeline) -> dict:
    here = list(compare.run(loaded, request()))
    lent, places = [], set()
    for event in LentGpu(loaded).run(request()):
        lent.append(event)
        places.add(len(MACHINE))
    return {
        "places": list(places),
        "kinds here": kinds(here),
        "kinds": kinds(lent),
        "pictures here": pictures(here[-1].comparison),
        "pictures": pictures(lent[-1].comparison),
        "text": lent[-1].comparison.results[0].image.info["prompt"],
        "pid": os.getpid(),
    }


def stopped(loaded: LoadedPipeline) -> dict:
    stop = threading.Event()
    last = None
    for event in LentGpu(loaded).run(request(steps=20), stop):
        if isinstance(event, compare.MethodDone):
            stop.set()
        last = event
    return {"last": type(last).__name__, "done": [result.method for result in last.comparison.results]}


def invalid(loaded: LoadedPipeline) -> list[str]:
    return error_of(lambda: LentGpu(loaded).run(request(factor=8)))


def failed(loaded: LoadedPipeline) -> list[str]:
    forward = loaded.pipe.unet.forward
    loaded.pipe.unet.forward = lambda *_, **__: 1 / 0
    try:
        return error_of(lambda: LentGpu(loaded).run(request()))
    finally:
        loaded.pipe.unet.forward = forward


def left(loaded: LoadedPipeline) -> dict:
    """The reader goes away while a step is held; then another one comes to the same process."""
    gpu, forward, go_on = LentGpu(loaded), loaded.pipe.unet.forward, Path(tempfile.mkdtemp(), "go-on")

    def held(*args: object, **kwargs: object) -> object:
        wait_until(go_on.exists)
        return forward(*args, **kwargs)

    loaded.pipe.unet.forward = held
    events = gpu.run(request(steps=100))
    next(event for event in events if isinstance(event, compare.Started))
    events.close()
    still_at_work = is_closing()
    go_on.touch()
    wait_until(lambda: not is_closing())
    loaded.pipe.unet.forward = forward
    return {
        "still at work": still_at_work,
        "next": pictures(list(gpu.run(request()))[-1].comparison),
    }


def is_closing() -> bool:
    return any(thread.name == "end of a lent GPU" for thread in threading.enumerate())


def after_all_that(loaded: LoadedPipeline) -> list[str]:
    return pictures(list(LentGpu(loaded).run(request()))[-1].comparison)


def refused(loaded: LoadedPipeline) -> list[str]:
    return error_of(lambda: LentGpu(loaded).run(request(width=2048, height=2048, steps=100, repeats=20)))


def taken_back(loaded: LoadedPipeline) -> list[str]:
    """What ZeroGPU does to a run that takes too long."""

    def until_killed() -> Iterator[object]:
        for event in LentGpu(loaded).run(request(steps=100)):
            if isinstance(event, compare.StepDone):
                (child,) = (p for p in children() if p not in before)
                os.kill(child, signal.SIGKILL)
            yield event

    before = set(children())
    return error_of(until_killed)


def queue_full(loaded: LoadedPipeline) -> list[str]:
    with MACHINE.place():
        return error_of(lambda: LentGpu(loaded).run(request(), max_queue=1))


def children() -> list[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def on_the_emulated_gpu(folder: Path) -> dict:
    """Loading in the main process, which has no GPU but is to behave as if it had."""
    loaded = load_pipeline(folder)
    page = Page(loaded, None)
    try:
        page.blocks.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
        page.blocks.close(verbose=False)
    except Error as error:
        return {"error": str(error)}
    return loaded.info.model_dump()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
