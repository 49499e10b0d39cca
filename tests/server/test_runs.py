"""Runs as the page's handlers see them, faults included, on a tiny random model."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import gradio as gr
import pytest
import torch
from PIL import Image

from app import Page, Session
from compare.experiment.worker import MACHINE
from compare.models.load import LoadedPipeline
from server.limits import Limits
from server.log import FIELD, JsonLines
from server.runs import BROKEN, CLOSING, DISK_FULL
from tests.compare.experiment.test_run import traces_of_a_patch, wait_until_free, watched_unet
from tests.helpers.visitors import from_here, wait_until

# In the order of the page: negative prompt, width, height, steps, guidance, seed, factor, methods, repeats.
STEPS = 3
SMALL = ("", 64, 64, STEPS, 4.0, 0, 2, ["baseline", "tome", "todo"], 1)
LONG = (*SMALL[:3], 100, *SMALL[4:])


def asked_by_api(page: Page, *settings: object, prompt: object = "a fox") -> tuple:
    """The last of what the endpoint answers."""
    return list(page.compare(from_here(), prompt, *settings))[-1]


def asked_on_page(page: Page, session: Session, *settings: object) -> list[dict]:
    return list(page.compare_on_page(session, from_here(), "a fox", *settings))


def pixels(page: Page) -> list[bytes]:
    gallery, _ = asked_by_api(page, *SMALL)
    found = []
    for file, _ in gallery:
        with Image.open(file) as picture:
            found.append(picture.tobytes())
    return found


@pytest.fixture(scope="module")
def right(page: Page) -> list[bytes]:
    """What a small request gives on a model that nothing has happened to."""
    return pixels(page)


@pytest.fixture
def as_before(page: Page, right: list[bytes]) -> Iterator[None]:
    """After the test: the lock free, the model unpatched, no half-written file, the next request right."""
    yield
    wait_until_free()
    assert len(MACHINE) == 0
    assert traces_of_a_patch(page.loaded.pipe) == []
    assert [file for file in page.files.folder.iterdir() if file.name.startswith(".")] == []
    assert pixels(page) == right


@contextmanager
def failing(loaded: LoadedPipeline, error: BaseException, at_call: int) -> Iterator[None]:
    calls = 0

    def fail(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == at_call:
            raise error

    with watched_unet(loaded, fail):
        yield


@pytest.mark.usefixtures("as_before")
class TestAfterAFault:
    @pytest.mark.parametrize("at_call", range(1, 8))
    def test_out_of_memory_in_a_step_says_which_size_to_try(self, page: Page, at_call: int) -> None:
        error = torch.OutOfMemoryError("CUDA out of memory at 0x7f")
        with failing(page.loaded, error, at_call), pytest.raises(gr.Error) as said:
            asked_by_api(page, *SMALL)
        assert "does not fit into the memory" in said.value.message
        assert "0x7f" not in said.value.message

    def test_an_exception_inside_a_hook_is_logged_and_not_shown(self, page: Page, caplog) -> None:
        block = next(
            module for name, module in page.loaded.pipe.unet.named_modules() if name.endswith("attn1")
        )

        def broken(*_: object) -> None:
            raise KeyError("a secret path")

        handle = block.register_forward_pre_hook(broken)
        try:
            with pytest.raises(gr.Error) as said:
                asked_by_api(page, *SMALL)
        finally:
            handle.remove()
        assert said.value.message == BROKEN
        assert "a secret path" in caplog.text

    @pytest.mark.parametrize("at", range(1, 3 * STEPS + 1))
    def test_stop_at_every_step(self, page: Page, at: int) -> None:
        session, steps = Session(), 0
        for update in page.compare_on_page(session, from_here(), "a fox", *SMALL):
            steps += "Step " in str(update.get(page.view.panes["baseline"].card, ""))
            steps += "Step " in str(update.get(page.view.panes["tome"].card, ""))
            steps += "Step " in str(update.get(page.view.panes["todo"].card, ""))
            if steps == at:
                page.stop(session)
        assert session.stop is None

    def test_a_reader_that_goes_away_ends_the_run(self, page: Page, caplog) -> None:
        caplog.set_level(logging.INFO, "server")
        updates = page.compare_on_page(Session(), from_here(), "a fox", *LONG)
        while "Step " not in str(next(updates).get(page.view.panes["baseline"].card, "")):
            pass
        updates.close()
        wait_until_free()
        assert getattr(caplog.records[-1], FIELD).outcome == "gone"

    def test_a_full_disk_is_said(self, page: Page, monkeypatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device", "/secret")

        monkeypatch.setattr("page.pictures.os.replace", full)
        with pytest.raises(gr.Error) as said:
            asked_by_api(page, *SMALL)
        assert said.value.message == DISK_FULL
        monkeypatch.undo()

    def test_a_run_that_takes_too_long_is_stopped_and_keeps_what_is_done(self, loaded) -> None:
        page = Page(loaded, example=None, limits=Limits(seconds=1))
        session = Session()

        def hold_once_baseline_is_done(unet: torch.nn.Module, *_: object) -> None:
            if hasattr(unet, "_todo_patch"):
                assert session.stop.wait(20)

        with watched_unet(loaded, hold_once_baseline_is_done):
            *_, last = asked_on_page(page, session, *SMALL)
        assert "a run may take 1 seconds on this server" in last[page.view.message]
        assert [result.method for result in session.shown.comparison.results] == ["baseline"]

    def test_through_the_api_it_is_an_error_that_says_so(self, loaded) -> None:
        page = Page(loaded, example=None, limits=Limits(seconds=1))

        def slow(*_: object) -> None:
            time.sleep(0.05)

        with (
            watched_unet(loaded, slow),
            pytest.raises(gr.Error, match="a run may take 1 seconds"),
        ):
            asked_by_api(page, *LONG)

    def test_where_the_line_is_full_it_is_said_at_once(self, loaded) -> None:
        page = Page(loaded, example=None, limits=Limits(in_line=1))
        first = page.compare(from_here(), "a fox", *LONG)
        next(first)
        with pytest.raises(gr.Error, match="1 comparisons are in line"):
            asked_by_api(page, *SMALL)
        first.close()

    def test_of_many_at_the_same_moment_no_more_get_into_line_than_may(self, loaded) -> None:
        page = Page(loaded, example=None, limits=Limits(in_line=3, per_minute=100))
        together = threading.Barrier(12)

        def ask(_: int) -> str:
            together.wait()
            try:
                asked_by_api(page, *SMALL)
            except gr.Error as error:
                return error.message
            return "answered"

        most, running = 0, threading.Event()

        def look(*_: object) -> None:
            nonlocal most
            most = max(most, len(MACHINE))
            running.wait(0.02)  # so that the others arrive meanwhile

        with watched_unet(loaded, look), ThreadPoolExecutor(12) as pool:
            said = set(pool.map(ask, range(12)))
        full = "3 comparisons are in line, which is all this server takes. Try again soon."
        assert said == {"answered", full}
        assert most <= 3


def test_a_server_that_is_told_to_end_stops_the_run_and_says_so(loaded: LoadedPipeline) -> None:
    page = Page(loaded, example=None)
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(asked_on_page, page, Session(), *LONG)
        wait_until(lambda: any(job.began for job in page.runs._jobs))
        waiting = pool.submit(asked_on_page, page, Session(), *SMALL)
        wait_until(lambda: len(MACHINE) == 2)
        page.runs.close(grace=0)
        for asked in (running, waiting):
            assert "the server is being stopped or restarted" in asked.result()[-1][page.view.message]
    assert len(MACHINE) == 0
    (only,) = asked_on_page(page, Session(), *SMALL)
    assert CLOSING in only[page.view.message]


def test_with_time_left_the_run_finishes_and_only_those_in_line_are_sent_away(
    loaded: LoadedPipeline,
) -> None:
    page = Page(loaded, example=None)
    go_on = threading.Event()

    def hold(*_: object) -> None:
        assert go_on.wait(60)

    with watched_unet(loaded, hold), ThreadPoolExecutor(3) as pool:
        running = pool.submit(asked_on_page, page, Session(), *SMALL)
        wait_until(lambda: any(job.began for job in page.runs._jobs))
        waiting = pool.submit(asked_on_page, page, Session(), *SMALL)
        wait_until(lambda: len(MACHINE) == 2)
        threading.Timer(1, go_on.set).start()
        page.runs.close(grace=60)
        assert "Done." in running.result()[-1][page.view.message]
        assert "Stopped" in waiting.result()[-1][page.view.message]


@pytest.mark.parametrize("log_prompts", [False, True])
def test_each_request_is_one_line_of_json_and_prompts_are_in_it_only_if_wanted(
    loaded: LoadedPipeline, caplog, log_prompts: bool
) -> None:
    caplog.set_level(logging.INFO, "server")
    page = Page(loaded, example=None, log_prompts=log_prompts)
    asked_by_api(page, *SMALL, prompt="a purple\nfox")
    with pytest.raises(gr.Error):
        asked_by_api(page, *SMALL, prompt="")
    finished, refused = (JsonLines().format(record) for record in caplog.records)
    assert "\n" not in finished
    told = json.loads(finished)
    assert (told["outcome"], told["by"], told["visitor"]) == ("finished", "api", "127.0.0.1")
    assert (told["width"], told["steps"]) == (64, STEPS)
    assert set(told["denoising"]) == {"baseline", "tome", "todo"}
    assert told.get("prompt") == ("a purple\nfox" if log_prompts else None)
    assert ("purple" in finished) == log_prompts
    assert json.loads(refused)["outcome"] == "refused"
    assert "prompt is empty" in json.loads(refused)["reason"]


def test_the_metrics_count_how_requests_ended_and_what_failed(loaded: LoadedPipeline) -> None:
    page = Page(loaded, example=None)
    asked_by_api(page, *SMALL)
    with pytest.raises(gr.Error):
        asked_by_api(page, *SMALL, prompt="")
    with failing(loaded, MemoryError(), at_call=3), pytest.raises(gr.Error):
        asked_by_api(page, *SMALL)

    def value(name: str, **labels: str) -> float | None:
        return page.runs.metrics.registry.get_sample_value(name, labels)

    assert [
        value("todo_requests_total", outcome=outcome) for outcome in ("finished", "refused", "failed")
    ] == [1, 1, 1]
    assert value("todo_failures_total", kind="out_of_memory") == 1
    assert value("todo_method_seconds_count", method="todo") == 1
    assert value("todo_method_seconds_sum", method="todo") > 0
    assert value("todo_in_line") == 0
    assert b'todo_requests_total{outcome="finished"} 1.0' in page.runs.metrics.text()


def test_two_pages_do_not_share_their_metrics(loaded: LoadedPipeline) -> None:
    one, other = Page(loaded, example=None), Page(loaded, example=None)
    asked_by_api(one, *SMALL)
    assert b'todo_requests_total{outcome="finished"}' not in other.runs.metrics.text()


def test_a_step_is_told_to_those_who_watch_for_a_stuck_server(page: Page) -> None:
    before = page.runs.last_sign
    asked_by_api(page, *SMALL)
    assert page.runs.last_sign > before
