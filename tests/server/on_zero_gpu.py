"""Runs on ZeroGPU. `test_zero_gpu.py` starts these tests in a process of their own, with a lender beside it.

The forked process, its queues and the lending are those of `spaces`. Only the GPU is missing: there the model
computes on the CPU.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import spaces.zero.torch
from gradio.exceptions import Error

import compare
from app import Page
from compare.errors import InvalidRequest, QueueFull, RunFailed
from compare.experiment.worker import MACHINE
from compare.models.load import LoadedPipeline, Source, load_pipeline, loaded_pipeline
from server.zero_gpu import LENT_FOR_TOO_LONG, LentGpu
from tests.helpers.tiny_models import sdxl_pipeline
from tests.helpers.visitors import SETTINGS, wait_until


@pytest.fixture(scope="module")
def loaded() -> LoadedPipeline:
    spaces.zero.torch.init = lambda uuid: None
    spaces.zero.torch.move = lambda callback=None: None
    return loaded_pipeline(sdxl_pipeline().to("cpu"), Source(place="somewhere/tiny-sdxl", name="tiny"))


@pytest.fixture(scope="module")
def here(loaded: LoadedPipeline) -> list[compare.Event]:
    """The events of a run in this process."""
    return list(compare.run(loaded, request()))


@pytest.fixture(autouse=True)
def _place_is_freed() -> Iterator[None]:
    yield
    assert len(MACHINE) == 0


def request(**changes: object) -> compare.Request:
    small = {"width": 64, "height": 64, "methods": ("baseline", "tome", "todo")}
    return compare.Request(**{**SETTINGS, **small, **changes})


def kinds(events: list[compare.Event]) -> list[type]:
    return [type(event) for event in events if not isinstance(event, compare.Tick)]


def pictures(events: list[compare.Event]) -> list[bytes]:
    return [result.image.tobytes() for result in events[-1].comparison.results]


def test_a_run_has_the_same_events_and_pictures_and_one_place_in_the_queue(loaded, here) -> None:
    lent, places = [], set()
    for event in LentGpu(loaded).run(request()):
        lent.append(event)
        places.add(len(MACHINE))
    assert kinds(lent) == kinds(here)
    assert pictures(lent) == pictures(here)
    assert len(set(pictures(lent))) == 3
    assert lent[-1].comparison.results[0].image.info["prompt"] == "a fox"
    assert places == {1}


def test_stop_reaches_the_other_process_and_keeps_what_is_done(loaded) -> None:
    stop = threading.Event()
    for event in LentGpu(loaded).run(request(steps=20), stop):
        if isinstance(event, compare.MethodDone):
            stop.set()
    assert isinstance(event, compare.Stopped)
    assert [result.method for result in event.comparison.results] == ["baseline"]


def test_what_is_wrong_with_a_request_comes_back_as_it_was_said(loaded) -> None:
    with pytest.raises(InvalidRequest, match="stride=8"):
        list(LentGpu(loaded).run(request(factor=8)))


def test_what_fails_in_the_other_process_is_an_error_here(loaded, monkeypatch) -> None:
    monkeypatch.setattr(loaded.pipe.unet, "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError on a lent GPU"):
        list(LentGpu(loaded).run(request()))


def test_a_reader_that_goes_away_waits_for_nothing_and_leaves_the_process_fit_for_the_next(
    loaded, here, monkeypatch, tmp_path: Path
) -> None:
    def is_closing() -> bool:
        return any(thread.name == "end of a lent GPU" for thread in threading.enumerate())

    def held(*args: object, **kwargs: object) -> object:
        wait_until((tmp_path / "go-on").exists)
        return forward(*args, **kwargs)

    gpu, forward = LentGpu(loaded), loaded.pipe.unet.forward
    monkeypatch.setattr(loaded.pipe.unet, "forward", held)
    events = gpu.run(request(steps=100))
    next(event for event in events if isinstance(event, compare.Started))
    events.close()
    assert is_closing(), "it waited for the other process"
    (tmp_path / "go-on").touch()
    wait_until(lambda: not is_closing())
    assert pictures(list(gpu.run(request()))) == pictures(here)


def test_a_refusal_to_lend_is_shown_in_the_lenders_words(loaded) -> None:
    with pytest.raises(RunFailed, match=r"GPU limit|quota"):
        list(LentGpu(loaded).run(request(width=2048, height=2048, steps=100, repeats=20)))


def test_a_gpu_that_is_taken_back_is_said(loaded) -> None:
    before = psutil.Process().children()
    events = LentGpu(loaded).run(request(steps=100))
    next(event for event in events if isinstance(event, compare.StepDone))
    (lent,) = set(psutil.Process().children()) - set(before)  # each run has a process of its own
    lent.kill()  # what ZeroGPU does to a run that takes too long
    with pytest.raises(RunFailed, match=LENT_FOR_TOO_LONG):
        list(events)


def test_a_full_queue_lends_no_gpu(loaded) -> None:
    with MACHINE.place(), pytest.raises(QueueFull):
        list(LentGpu(loaded).run(request(), max_queue=1))


def test_the_model_is_loaded_for_a_gpu_that_the_main_process_does_not_have(tmp_path: Path) -> None:
    sdxl_pipeline().to("cpu").save_pretrained(tmp_path)
    loaded = load_pipeline(tmp_path)
    try:
        page = Page(loaded, None)
        page.blocks.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
        page.blocks.close(verbose=False)
    except Error as error:
        pytest.fail(str(error))
    assert (loaded.info.device, loaded.info.dtype) == ("cuda", "float16")
    assert "NVIDIA" in loaded.info.device_name
