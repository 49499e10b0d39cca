from __future__ import annotations

import gc
import threading
import time
from itertools import count, pairwise
from unittest.mock import Mock

import pytest
import torch

from compare.errors import InvalidRequest, OutOfMemory
from compare.events import Finished, MethodDone, MethodStarted, Started, StepDone, Stopped, Tick, Waiting
from compare.experiment.measure import prepare
from compare.experiment.worker import MACHINE, READER, run
from compare.models.load import Source, loaded_pipeline
from tests.helpers.run import finished
from tests.helpers.tiny_models import sd15_pipeline
from tests.helpers.traces import is_patched, traces_of_a_patch

ALL = ("baseline", "tome", "todo", "todo-rotating", "fewer-steps")


def wait_until_free() -> None:
    def too_long(seconds: float) -> None:
        assert seconds < 20, "the run did not end"

    with MACHINE.place() as place:
        place.wait(too_long)


def test_events_come_in_the_order_that_is_documented(loaded, request_for) -> None:
    events = run(loaded, request_for(methods=ALL))
    kinds = [type(event) for event in events if not isinstance(event, Tick)]
    of_one = [MethodStarted, StepDone, StepDone, StepDone, MethodDone]
    assert kinds[:21] == [Started, *of_one * 4]
    assert kinds[21] is MethodStarted
    assert kinds[-2:] == [MethodDone, Finished]


def test_steps_count_from_one_to_the_last(loaded, request_for) -> None:
    events = run(loaded, request_for(methods=("todo",), steps=5))
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [(event.step, event.steps) for event in steps] == [(k, 5) for k in range(1, 6)]
    assert all(a.seconds < b.seconds for a, b in pairwise(steps))


def test_all_methods_start_from_the_same_noise_and_embeddings(loaded, request_for) -> None:
    starts, calls = [], []

    def look(_: object, args: tuple, kwargs: dict) -> None:
        calls.append((args[0].clone(), kwargs["encoder_hidden_states"].clone()))

    with loaded.pipe.unet.register_forward_pre_hook(look, with_kwargs=True):
        for event in run(loaded, request_for(methods=ALL[:4], steps=2)):
            if isinstance(event, MethodDone):
                starts.append(calls[1])  # after the warm-up step
                assert torch.equal(calls[0][0], calls[1][0])
                calls.clear()
    assert len(starts) == 4
    for noise, embeddings in starts[1:]:
        assert torch.equal(noise, starts[0][0])
        assert torch.equal(embeddings, starts[0][1])


def test_the_methods_change_the_picture_and_factor_1_does_not(loaded, request_for) -> None:
    results = finished(run(loaded, request_for(methods=ALL[:4]))).results
    assert len({result.image.tobytes() for result in results}) == 4
    same = finished(run(loaded, request_for(methods=("baseline", "todo", "tome"), factor=1))).results
    assert all(result.scores.identical for result in same[1:])


def test_the_baseline_is_the_pipelines_own_picture(loaded, request_for) -> None:
    asked = request_for(methods=("todo", "baseline"), negative_prompt="a dog", seed=3)
    ours = finished(run(loaded, asked)).result("baseline").image
    theirs = loaded.pipe(
        asked.prompt, negative_prompt="a dog", height=64, width=64, num_inference_steps=3, guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(3),
    ).images[0]  # fmt: skip
    assert ours.tobytes() == theirs.tobytes()


def test_stable_diffusion_1_5_runs_too(request_for) -> None:
    loaded = loaded_pipeline(sd15_pipeline(), Source(place="somewhere/tiny-sd15", name="tiny"))
    comparison = finished(run(loaded, request_for(methods=ALL, guidance_scale=1)))
    assert [result.method for result in comparison.results] == list(ALL)
    assert [level.level for level in comparison.result("todo").plan.levels] == [0, 1, 2, 3]


def test_speed_up_is_baseline_seconds_over_the_methods(loaded, request_for) -> None:
    comparison = finished(run(loaded, request_for(methods=("baseline", "todo"))))
    baseline, todo = comparison.results
    assert baseline.speedup == 1
    assert baseline.scores is None
    assert todo.speedup == baseline.times.seconds / todo.times.seconds
    assert todo.peak_memory is None  # on a CPU


def test_without_baseline_there_are_no_scores_and_it_is_said(loaded, request_for) -> None:
    comparison = finished(run(loaded, request_for(methods=("todo",))))
    assert comparison.results[0].speedup is None
    assert comparison.results[0].scores is None
    assert any("Without Baseline" in note for note in comparison.notes)


def test_repeats_are_interleaved_and_the_median_counts(loaded, request_for) -> None:
    events = list(run(loaded, request_for(methods=("baseline", "todo"), repeats=3, steps=1)))
    started = [(event.method, event.repeat) for event in events if isinstance(event, MethodStarted)]
    assert started == [(method, repeat) for repeat in (1, 2, 3) for method in ("baseline", "todo")]
    times = events[-1].comparison.result("todo").times
    assert len(times.denoising) == 3
    assert times.seconds == sorted(times.denoising)[1]
    assert times.fastest == min(times.denoising)
    assert times.slowest == max(times.denoising)


def test_fewer_steps_has_as_many_as_fit_into_the_time_of_todo(loaded, request_for, hand_clock) -> None:
    def slow_when_unpatched(unet: torch.nn.Module, *_: object) -> None:
        hand_clock.now += 1 if is_patched(unet) else 3

    with loaded.pipe.unet.register_forward_pre_hook(slow_when_unpatched):
        asked = request_for(methods=("baseline", "todo", "fewer-steps"), steps=8)
        result = finished(run(loaded, asked)).result("fewer-steps")
    assert result.steps == 2  # ToDo took 8 seconds, and a step of Baseline takes 3
    assert result.plan.flop_speedup == 4


def test_a_failed_run_leaves_the_model_unpatched_and_the_next_one_works(loaded, request_for) -> None:
    calls = Mock(side_effect=[None, None, None, RuntimeError("the fourth call")])
    with loaded.pipe.unet.register_forward_pre_hook(calls), pytest.raises(RuntimeError, match="fourth call"):
        list(run(loaded, request_for(methods=("todo",))))
    wait_until_free()
    assert traces_of_a_patch(loaded.pipe) == []
    assert len(finished(run(loaded, request_for())).results) == 3


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_out_of_memory_says_which_size_to_try(loaded, request_for, error) -> None:
    events = run(loaded, request_for(width=128, height=192))
    with (
        loaded.pipe.unet.register_forward_pre_hook(Mock(side_effect=error)),
        pytest.raises(OutOfMemory, match=r"128×192 does not fit.*try 80×128") as e,
    ):
        list(events)
    assert e.value.__cause__ is None
    assert traces_of_a_patch(loaded.pipe) == []
    assert finished(run(loaded, request_for()))


@pytest.mark.parametrize("method", ALL[:4])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_stop_ends_the_run_at_that_step_and_the_next_run_works(loaded, request_for, method, step) -> None:
    stop, calls = threading.Event(), count(1)

    def stop_at(*_: object) -> None:
        if next(calls) == 2 + step:  # after the one that spins up and the warm-up
            stop.set()

    asked = request_for(methods=(method,))
    with loaded.pipe.unet.register_forward_pre_hook(stop_at):
        events = list(run(loaded, asked, stop))
    assert events[-1] == Stopped(None)
    assert len([event for event in events if isinstance(event, StepDone)]) == step - 1
    assert traces_of_a_patch(loaded.pipe) == []
    whole = finished(run(loaded, asked)).results[0].image
    assert whole.tobytes() == finished(run(loaded, asked)).results[0].image.tobytes()


def test_a_stop_keeps_what_was_done(loaded, request_for) -> None:
    stop = threading.Event()

    def hold_once_baseline_is_done(unet: torch.nn.Module, *_: object) -> None:
        if is_patched(unet):
            assert stop.wait(20)

    with loaded.pipe.unet.register_forward_pre_hook(hold_once_baseline_is_done):
        for event in run(loaded, request_for(), stop):
            if isinstance(event, MethodDone):
                stop.set()
    assert isinstance(event, Stopped)
    assert [result.method for result in event.comparison.results] == ["baseline"]


def test_a_stop_before_the_run_computes_nothing(loaded, request_for) -> None:
    stop = threading.Event()
    stop.set()
    assert list(run(loaded, request_for(), stop)) == [Stopped(None)]


def test_a_reader_that_goes_away_stops_the_run(loaded, request_for) -> None:
    closed, steps = threading.Event(), count(1)

    def hold_the_second_step(*_: object) -> None:
        if next(steps) == 4:  # after the one that spins up, the warm-up and the first
            assert closed.wait(20), "closing waited for the step"

    with loaded.pipe.unet.register_forward_pre_hook(hold_the_second_step):
        events = run(loaded, request_for(steps=100, methods=("todo",)))
        while not isinstance(next(events), StepDone):
            pass
        events.close()
        closed.set()
        wait_until_free()
    assert next(steps) < 10
    assert traces_of_a_patch(loaded.pipe) == []


def test_a_reader_that_is_forgotten_stops_the_run(loaded, request_for) -> None:
    events = run(loaded, request_for(steps=100, methods=("todo",)))
    next(events)
    del events
    gc.collect()
    wait_until_free()
    assert traces_of_a_patch(loaded.pipe) == []


def test_nothing_is_computed_while_a_reader_is_busy_with_a_picture(loaded, request_for) -> None:
    calls = Mock(return_value=None)
    pictures = 0
    with loaded.pipe.unet.register_forward_pre_hook(calls):
        for event in run(loaded, request_for(methods=("baseline", "todo"), steps=4)):
            if isinstance(event, MethodDone) or (isinstance(event, StepDone) and event.preview):
                before, pictures = calls.call_count, pictures + 1
                time.sleep(READER / 4)
                assert calls.call_count == before
    assert pictures == 8


def test_nothing_happens_before_the_first_event_is_asked_for(loaded, request_for) -> None:
    threads = threading.active_count()
    run(loaded, request_for())
    assert threading.active_count() == threads


def test_of_two_runs_one_waits_for_the_other(loaded, request_for) -> None:
    asked = request_for(steps=60, methods=("todo",))  # longer than anybody waits before saying so
    first = run(loaded, asked)
    while not isinstance(next(first), StepDone):
        pass
    second = run(loaded, asked)
    busy, most = [], []

    def look(*_: object) -> None:
        busy.append(1)
        most.append(len(busy))
        time.sleep(0.02)
        busy.pop()

    with loaded.pipe.unet.register_forward_pre_hook(look):
        assert isinstance(next(second), Waiting)
        images = [finished(events).results[0].image.tobytes() for events in (first, second)]
    assert max(most) == 1
    assert images[0] == images[1]


def test_waiting_in_the_queue_can_be_stopped(loaded, request_for) -> None:
    stop = threading.Event()
    with MACHINE.place():
        events = run(loaded, request_for(), stop)
        assert isinstance(next(events), Waiting)
        stop.set()
        assert list(events)[-1] == Stopped(None)


def test_gradients_stay_on_in_the_readers_thread(loaded, request_for) -> None:
    for _ in run(loaded, request_for(methods=("baseline",), steps=1)):
        assert torch.is_grad_enabled()


@pytest.mark.parametrize(("factor", "says"), [((2, 2, 2), "level"), ((4, 2), "no equal in ToMe")])
def test_what_the_model_cannot_meet_is_refused_before_anything_runs(
    loaded, request_for, factor, says
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        next(run(loaded, request_for(factor=factor)))


def test_the_plan_has_tokens_and_ceiling(loaded, request_for) -> None:
    plans = prepare(loaded, request_for(methods=ALL[:4])).plans
    finest, coarse = plans["todo"].levels
    assert (finest.grid, finest.tokens, finest.query_tokens, finest.kv_tokens) == ((4, 4), 16, 16, 4)
    assert finest.kept == 0.25
    assert coarse.kept == 1
    assert plans["baseline"].flop_speedup == 1
    assert plans["baseline"].ceiling is None
    assert 1 < plans["todo"].flop_speedup < plans["todo"].ceiling
    assert plans["todo"].flops_before == plans["baseline"].flops_after
    without_tome = request_for(factor=(4, 2), methods=("baseline", "todo"))
    assert prepare(loaded, without_tome).plans.keys() == {"baseline", "todo"}
