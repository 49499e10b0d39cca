"""One method after another in a run."""

from __future__ import annotations

import copy

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from tests.helpers.tiny_models import generate, predict, sdxl_pipeline, sdxl_unet, small_unet, unet_inputs
from tests.helpers.traces import traces_of_a_patch
from todo_patch import (
    Forecast,
    NothingToPatch,
    Plan,
    ToDo,
    ToMe,
    apply_patch,
    begin_run,
    patched,
    plan,
    remove_patch,
)

ROTATING = ToDo(factor=3, grid="rotating")
TURNS = [
    ToDo(until=0.5, then=ROTATING),
    ToDo(until=0.5, then=ToMe(merge="keys-values", until=0.75)),
    ToMe(until=0.25, then=ToDo(merge="all", until=0.5, then=ToMe(ratio=0.5, levels=2))),
    ToDo(factor=1, until=0.5, then=ToDo(pooling="average")),
]


def steps_of(method: ToDo | ToMe, make=sdxl_unet, steps: int = 8) -> list[torch.Tensor]:
    """What a UNet predicts at each step of a run."""
    unet = make()
    apply_patch(unet, method)
    begin_run(unet, steps=steps)
    return [predict(unet) for _ in range(steps)]


def test_each_method_does_in_its_turn_what_it_does_alone() -> None:
    found = steps_of(ToDo(until=0.5, then=ToMe(until=0.75, then=ROTATING)))
    expected = [*steps_of(ToDo())[:4], *steps_of(ToMe())[:2], *steps_of(ROTATING)[6:]]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_the_first_calls_may_be_left_alone_and_the_last() -> None:
    baseline, todo = predict(sdxl_unet()), steps_of(ToDo())[0]
    found = steps_of(ToDo(factor=1, until=0.25, then=ToDo(until=0.75)))
    for ours, theirs in zip(found, [baseline] * 2 + [todo] * 4 + [baseline] * 2, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("method", TURNS, ids=str)
def test_every_run_begins_with_the_first_and_removing_leaves_no_trace(pipe, method) -> None:
    baseline = generate(pipe, 8)
    with patched(pipe, method):
        first = generate(pipe, 8)
        assert not torch.allclose(first, baseline)
        generate(pipe, 3)
        assert torch.equal(generate(copy.deepcopy(pipe), 8), first)
        assert torch.equal(generate(pipe, 8), first)
    assert traces_of_a_patch(pipe) == []
    assert torch.equal(generate(pipe, 8), baseline)


def stop(pipe, step, timestep, tensors) -> dict:
    if step == 5:
        raise KeyboardInterrupt
    return tensors


def test_a_run_that_stops_in_the_second_turn_does_not_touch_the_next(pipe) -> None:
    method = ToDo(until=0.5, then=ToMe())
    apply_patch(pipe, method)
    with pytest.raises(KeyboardInterrupt):
        generate(pipe, 8, callback_on_step_end=stop)
    fresh = sdxl_pipeline()
    apply_patch(fresh, method)
    assert torch.equal(generate(pipe, 8), generate(fresh, 8))
    remove_patch(pipe)
    assert traces_of_a_patch(pipe) == []


def test_runs_compile_no_more_than_the_first_does() -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    method = ToDo(until=0.5, then=ToDo(factor=3, merge="all", until=0.75))
    expected = steps_of(method, small_unet)
    unet = small_unet()
    unet.compile_repeated_blocks(backend=counter, fullgraph=True)
    apply_patch(unet, method)
    graphs = []
    for _ in range(3):
        begin_run(unet, steps=8)
        for step in expected:
            torch.testing.assert_close(predict(unet), step)
        graphs.append(counter.frame_count)
    assert len(set(graphs)) == 1
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("then", "error", "says"),
    [
        (ToDo(factor=(2, 2, 2)), NothingToPatch, "no other grids"),
        (ToMe(merge="keys-values"), ValueError, "fused"),
    ],
)
def test_what_a_later_method_cannot_do_is_refused_at_once(pipe, then, error, says) -> None:
    pipe.unet.fuse_qkv_projections()
    with pytest.raises(error, match=says):
        apply_patch(pipe, ToMe(until=0.5, then=then))
    assert traces_of_a_patch(pipe) == []


def test_what_a_later_method_can_no_longer_do_is_refused_and_comes_off(unet) -> None:
    apply_patch(unet, ToMe(until=0.5, then=ToDo()))
    begin_run(unet, steps=2)
    predict(unet)
    unet.fuse_qkv_projections()
    for _ in range(2):
        begin_run(unet, steps=2)
        predict(unet)
        with pytest.raises(ValueError, match="fused"):
            predict(unet)
    remove_patch(unet)
    fused = sdxl_unet()
    fused.fuse_qkv_projections()
    assert torch.equal(predict(unet), predict(fused))
    assert [type(module) for module in unet.modules()] == [type(module) for module in fused.modules()]


@pytest.mark.parametrize("then", ["todo", 2, ToDo(until=0.5), ToDo(until=0.4)], ids=str)
@pytest.mark.parametrize("method", [ToDo, ToMe])
def test_a_second_method_that_has_no_turn_is_refused(method, then) -> None:
    with pytest.raises(ValueError, match=f"{method.__name__}: then=.* must be"):
        method(until=0.5, then=then)


def test_tome_like_todo_is_of_one_method() -> None:
    with pytest.raises(ValueError, match="the equal of each method"):
        ToMe.like(ToDo(until=0.5, then=ToDo(factor=3)))


def test_gradient_checkpointing_is_refused_and_training_without_it_is_not(unet) -> None:
    apply_patch(unet.train(), ToDo(until=0.5, then=ToMe()))
    begin_run(unet, steps=2)
    for _ in range(2):
        unet(**unet_inputs(unet, 8, 8))[0].sum().backward()
    unet.enable_gradient_checkpointing()
    begin_run(unet, steps=2)
    with pytest.raises(RuntimeError, match="gradient checkpointing"):
        unet(**unet_inputs(unet, 8, 8))


def test_the_plan_names_what_comes_later() -> None:
    (note,) = plan(sdxl_unet(), ToDo(until=0.4, then=ToDo(factor=3)), 64, 64).notes
    assert "first 40%" in note
    assert "then ToDo(factor=3" in note
    (note,) = plan(sdxl_unet(), ToDo(factor=1, until=0.4, then=ToDo(factor=3)), 64, 64).notes
    assert "baseline" not in note


def test_the_plan_of_a_run_counts_each_method_in_its_turn() -> None:
    def planned(*methods: ToDo | ToMe | Forecast, steps: int = 8) -> Plan:
        return plan(sdxl_unet(), methods, 64, 64, steps=steps)

    work = planned(ToDo(until=0.5, then=ToMe(until=0.75)))
    todo, tome = (planned(method, steps=1) for method in (ToDo(), ToMe()))
    assert work.total_after == 4 * todo.total_after + 2 * tome.total_after + 2 * todo.total_before
    late = planned(ToDo(until=0.5, then=ToMe()), Forecast(share=0.25, after=0.5))
    assert late.total_after == 4 * todo.total_after + 2 * tome.total_after


def test_forecasts_and_turns_go_together(pipe) -> None:
    with patched(pipe, ToDo(until=0.5, then=ToMe()), Forecast()):
        first = generate(pipe, 8)
        assert torch.equal(generate(pipe, 8), first)
    assert traces_of_a_patch(pipe) == []
