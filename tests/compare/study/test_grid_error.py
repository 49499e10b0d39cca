from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from compare.study.grid_error import (
    Call,
    CallError,
    always,
    call_error,
    call_errors,
    markdown,
    predict,
    record_calls,
)
from tests.helpers.traces import traces_of_a_patch
from todo_patch import ToDo, patched
from todo_patch.grid import offset_order


@pytest.fixture
def calls(loaded, request_for) -> list[Call]:
    return record_calls(loaded, request_for(steps=10))


def test_calls_are_those_of_evenly_spread_steps(calls) -> None:
    assert [call.step for call in calls] == [0, 2, 4, 6, 8]
    latents = [call.arguments[0] for call in calls]
    assert not any(torch.equal(a, b) for a, b in pairwise(latents))


def test_the_first_offset_is_the_papers(loaded, calls) -> None:
    with patched(loaded.pipe, ToDo(factor=2)):
        paper = predict(loaded, calls[1], 4.0)
    assert torch.equal(paper, predict(loaded, calls[1], 4.0, 2, always(offset_order(2)[0])))
    assert not torch.equal(paper, predict(loaded, calls[1], 4.0))
    assert traces_of_a_patch(loaded.pipe) == []


def test_errors_are_those_counted_by_hand(loaded, calls) -> None:
    right = predict(loaded, calls[0], 4.0)
    wrong = [predict(loaded, calls[0], 4.0, 2, always(offset)) - right for offset in offset_order(2)]
    found = call_error(loaded, calls[0], 2, 4.0)
    energy = right.square().sum()
    assert found.fixed == pytest.approx(float(sum(e.square().sum() for e in wrong) / 4 / energy))
    assert found.fixed_shared == pytest.approx(float((sum(wrong) / 4).square().sum() / energy))
    assert 0 < found.fixed_shared < found.fixed
    assert 0 < found.rotating_shared < found.rotating
    assert found.rotating != pytest.approx(found.fixed)


def test_guidance_weighs_the_two_halves(loaded, calls) -> None:
    without, given = loaded.pipe.unet(*calls[0].arguments, **calls[0].keywords)[0].double().chunk(2)
    assert torch.allclose(predict(loaded, calls[0], 3.0), 3 * given - 2 * without)


def test_the_table_has_means_in_decibels_by_factor_and_step(loaded, request_for) -> None:
    errors = list(call_errors(loaded, [request_for(steps=2), request_for(steps=2, seed=1)], [1, 2]))
    assert len(errors) == 2 * 2 * 2
    by_hand = [CallError(0, 2, 0.01, 0.001, 0.02, 0.0), CallError(0, 2, 0.03, 0.001, 0.0, 0.0)]
    *_, line = markdown(by_hand).splitlines()
    assert line == "| 2 | 0 | 2 | -17.0 | -30.0 | -20.0 | -inf |"
