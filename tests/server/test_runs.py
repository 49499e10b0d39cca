"""The runs of visitors, faults included, on a tiny random model."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count

import pytest
import torch

from compare import run
from compare.errors import InvalidRequest, RunFailed
from compare.events import Event, Finished, StepDone, Stopped, Waiting
from compare.experiment.flops import plans_of
from compare.experiment.run_queue import RunQueue
from compare.experiment.worker import MACHINE
from compare.models.load import LoadedPipeline
from compare.report import PlanSummary
from compare.request import Request
from server.front_door.visits import Visit
from server.limits import Limits
from server.log import JsonLines
from server.runs import CLOSING, DISK_FULL, STOPPED_BY_CLOSING, Job, Runs, Stop
from tests.helpers.traces import traces_of_a_patch
from tests.helpers.visitors import SETTINGS, wait_until

STEPS = 3
SOMEBODY = Visit("somebody")
SMALL = {**SETTINGS, "width": 64, "height": 64, "steps": STEPS, "methods": ["baseline", "tome", "todo"]}


def runs_of(loaded: LoadedPipeline, log_prompts: bool = False, **limits: int) -> Runs:
    return Runs(
        partial(run, loaded), Limits(**{"per_minute": 1000, "per_visitor": 1000, **limits}), log_prompts
    )


def events_of_job(runs: Runs, job: Job) -> list[Event]:
    with runs.events(job) as events:
        return list(events)


def events_of(runs: Runs, **changes: object) -> list[Event]:
    return events_of_job(runs, runs.accept({**SMALL, **changes}, SOMEBODY, "api"))


def value(runs: Runs, name: str, **labels: str) -> float | None:
    return runs.metrics.registry.get_sample_value(name, labels)


def pictures(runs: Runs) -> list[bytes]:
    return [result.image.tobytes() for result in events_of(runs)[-1].comparison.results]


@pytest.fixture(scope="module")
def runs(loaded: LoadedPipeline) -> Runs:
    return runs_of(loaded)


@pytest.fixture(scope="module")
def right(runs: Runs) -> list[bytes]:
    """The pictures of a small request on a model that nothing has happened to."""
    return pictures(runs)


@pytest.fixture
def as_before(runs: Runs, loaded: LoadedPipeline, right: list[bytes]) -> Iterator[None]:
    """After the test: the queue empty, the model unpatched, the next request right."""
    yield
    wait_until(lambda: len(MACHINE) == 0)
    assert traces_of_a_patch(loaded.pipe) == []
    assert pictures(runs) == right


@contextmanager
def failing(loaded: LoadedPipeline, error: BaseException, at_call: int) -> Iterator[None]:
    calls = count(1)

    def fail(*_: object) -> None:
        if next(calls) == at_call:
            raise error

    with loaded.pipe.unet.register_forward_pre_hook(fail):
        yield


@pytest.mark.usefixtures("as_before")
class TestAfterAFault:
    @pytest.mark.parametrize("at_call", range(1, 8))
    def test_out_of_memory_in_a_step_says_which_size_to_try(self, runs, loaded, at_call: int) -> None:
        error = torch.OutOfMemoryError("CUDA out of memory at 0x7f")
        with failing(loaded, error, at_call), pytest.raises(RunFailed) as said:
            events_of(runs)
        assert "does not fit into the memory" in str(said.value)
        assert "0x7f" not in str(said.value)

    @pytest.mark.parametrize("at", range(1, 3 * STEPS + 1))
    def test_stop_at_every_step(self, runs, at: int) -> None:
        job = runs.accept(SMALL, SOMEBODY, "page")
        steps = 0
        with runs.events(job) as events:
            for event in events:
                steps += isinstance(event, StepDone)
                if steps == at:
                    job.stop.ask()
        assert isinstance(event, (Stopped, Finished))  # the worker may be some steps ahead of its reader

    def test_a_full_disk_is_said(self, runs) -> None:
        job = runs.accept(SMALL, SOMEBODY, "page")
        with pytest.raises(RunFailed) as said, runs.events(job):
            raise OSError(28, "No space left on device", "/secret")
        assert str(said.value) == DISK_FULL

    def test_a_run_that_takes_too_long_is_stopped_and_keeps_what_is_done(self, loaded) -> None:
        runs = runs_of(loaded, seconds=1)
        job = runs.accept(SMALL, SOMEBODY, "page")

        def hold_once_baseline_is_done(unet: torch.nn.Module, *_: object) -> None:
            if hasattr(unet, "_todo_patch"):
                assert job.stop.wait(20)

        with (
            loaded.pipe.unet.register_forward_pre_hook(hold_once_baseline_is_done),
            runs.events(job) as events,
        ):
            *_, last = events
        assert [result.method for result in last.comparison.results] == ["baseline"]
        assert "a run may take 1.0 s on this server" in job.stop.because

    def test_its_pace_is_known_once_it_was_judged_and_no_visitor_paid_for_it(self, loaded) -> None:
        def plan(request: Request) -> dict[str, PlanSummary]:
            return plans_of(loaded.pipe, request)

        runs = Runs(partial(run, loaded), Limits(per_minute=1), plan=plan)
        asked = Request(**SMALL)
        assert runs.estimate(asked) is None
        runs.judge_pace(replace(asked, steps=1, methods=("baseline",)))
        assert runs.estimate(asked).seconds > 0
        assert value(runs, "todo_requests_total", outcome="finished") is None
        assert isinstance(events_of(runs)[-1], Finished)  # the one of this minute

    def test_a_pace_that_cannot_be_judged_is_logged_and_ends_nothing(self, loaded, caplog) -> None:
        runs = runs_of(loaded)
        with failing(loaded, RuntimeError("broken"), at_call=1):
            runs.judge_pace(Request(**SMALL))
        assert "pace" in caplog.text

    def test_a_full_queue_is_said_at_once(self, loaded) -> None:
        runs = runs_of(loaded, in_line=1)
        first, second = (runs.accept({**SMALL, "steps": 100}, SOMEBODY, "api") for _ in range(2))
        full = "The queue is full: it holds 1 comparison."
        with runs.events(first) as events:
            next(events)
            with pytest.raises(InvalidRequest, match=full):
                events_of(runs)
            with pytest.raises(RunFailed, match=full), runs.events(second) as refused:
                next(refused)
        assert second.outcome == "refused"

    def test_of_many_at_the_same_moment_no_more_enter_the_queue_than_may(self, loaded) -> None:
        runs = runs_of(loaded, in_line=3)
        together, lengths = threading.Barrier(12), []

        def ask(_: int) -> str:
            together.wait()
            try:
                events_of(runs)
            except (InvalidRequest, RunFailed) as error:
                return str(error)
            return "answered"

        def look(*_: object) -> None:
            lengths.append(len(MACHINE))

        with loaded.pipe.unet.register_forward_pre_hook(look), ThreadPoolExecutor(12) as pool:
            said = set(pool.map(ask, range(12)))
        assert said == {"answered", "The queue is full: it holds 3 comparisons. Try again soon."}
        assert max(lengths) <= 3


def test_a_server_that_closes_lets_the_run_in_progress_finish_and_tells_all_others_why(
    loaded: LoadedPipeline,
) -> None:
    runs = runs_of(loaded)
    go_on = threading.Event()
    first, second, late = (runs.accept(SMALL, SOMEBODY, "page") for _ in range(3))

    def hold(*_: object) -> None:
        assert go_on.wait(60)

    with loaded.pipe.unet.register_forward_pre_hook(hold), ThreadPoolExecutor(3) as pool:
        running = pool.submit(events_of_job, runs, first)
        wait_until(lambda: value(runs, "todo_last_step_timestamp_seconds") > 0)
        waiting = pool.submit(events_of_job, runs, second)
        wait_until(lambda: len(MACHINE) == 2)
        closing = pool.submit(runs.close, 60)
        assert isinstance(waiting.result()[-1], Stopped)
        assert isinstance(events_of_job(runs, late)[-1], Stopped)
        with pytest.raises(InvalidRequest, match=CLOSING):
            runs.accept(SMALL, SOMEBODY, "page")
        go_on.set()
        assert isinstance(running.result()[-1], Finished)
        closing.result()
    assert len(MACHINE) == 0
    assert [job.stop.because for job in (first, second, late)] == ["", *[STOPPED_BY_CLOSING] * 2]


def test_updates_on_the_place_in_a_long_queue_are_throttled() -> None:
    queue = RunQueue()

    def wait_and_run(*_: object) -> Iterator[Event]:
        yield from (Waiting(seconds) for seconds in range(100))
        yield Stopped(None)

    runs = Runs(wait_and_run, Limits(), queue=queue)
    with queue.place(), queue.place():
        assert len(events_of(runs)) < 10


@pytest.mark.parametrize("log_prompts", [False, True])
def test_each_request_is_one_line_of_json_and_prompts_are_in_it_only_if_wanted(
    loaded: LoadedPipeline, caplog, log_prompts: bool
) -> None:
    caplog.set_level(logging.INFO, "server")
    runs = runs_of(loaded, log_prompts)
    events_of(runs, prompt="a purple\nfox", tome_seed=7)
    with pytest.raises(InvalidRequest):
        events_of(runs, prompt="")
    lines = [JsonLines().format(record) for record in caplog.records]
    assert "\n" not in "".join(lines)
    finished, refused = (json.loads(line) for line in lines)
    assert (finished["outcome"], finished["by"], finished["visitor"]) == ("finished", "api", "somebody")
    assert (finished["width"], finished["steps"], finished["factor"]) == (64, STEPS, [2])
    assert (finished["tome_seed"], "until" in finished) == (7, False)
    assert set(finished["denoising"]) == {"baseline", "tome", "todo"}
    assert finished["took"] > 0
    assert finished["waited"] >= 0
    assert finished.get("prompt") == ("a purple\nfox" if log_prompts else None)
    assert ("purple" in str(finished)) == log_prompts
    assert refused["outcome"] == "refused"
    assert "prompt is empty" in refused["reason"]


def test_the_metrics_count_how_requests_ended_and_what_failed(loaded: LoadedPipeline) -> None:
    runs = runs_of(loaded)
    events_of(runs)
    last_step = value(runs, "todo_last_step_timestamp_seconds")
    with pytest.raises(InvalidRequest):
        events_of(runs, prompt="")
    with failing(loaded, MemoryError(), at_call=3), pytest.raises(RunFailed):
        events_of(runs)

    outcomes = ("finished", "refused", "failed")
    assert [value(runs, "todo_requests_total", outcome=outcome) for outcome in outcomes] == [1, 1, 1]
    assert value(runs, "todo_failures_total", kind="out_of_memory") == 1
    assert value(runs, "todo_method_seconds_count", method="todo") == 1
    assert value(runs, "todo_method_seconds_sum", method="todo") > 0
    assert value(runs, "todo_waited_seconds_count") == value(runs, "todo_run_seconds_count") == 2
    assert value(runs, "todo_last_step_timestamp_seconds") >= last_step > 0
    assert value(runs, "todo_in_line") == 0
    assert value(runs_of(loaded), "todo_requests_total", outcome="finished") is None, "shared metrics"


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({"tome_ratio": 0.987654, "tome_stride": 2}, "0.987654"),
        ({"factor": [4, 2]}, "(4, 2)"),
        ({"tome_levels": 7777}, "7777"),
        ({"pooling": "evil"}, "evil"),
    ],
)
def test_the_log_says_why_a_request_was_refused_but_not_what_was_sent(loaded, caplog, changes, sent) -> None:
    with caplog.at_level(logging.INFO, "server.requests"), pytest.raises(InvalidRequest) as refused:
        runs_of(loaded).accept({**SMALL, **changes}, SOMEBODY, "api")
    assert sent in str(refused.value)
    (record,) = caplog.records
    assert record.fields["reason"]
    assert sent not in record.fields["reason"]


def test_the_first_reason_to_stop_counts() -> None:
    stop = Stop()
    stop.ask("it took too long")
    stop.ask("the server is stopped")
    assert (stop.is_set(), stop.because) == (True, "it took too long")
