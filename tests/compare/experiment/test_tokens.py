"""The notes of which tokens a method kept."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tomesd
import torch
from PIL import Image

from compare.events import StepDone
from compare.experiment.worker import run
from compare.report import Comparison
from tests.helpers.run import finished
from todo_patch import Forecast
from todo_patch.blocks import find_denoiser, self_attention
from todo_patch.grid import offset_order, token_index
from todo_patch.hooks.tome import kept_tokens
from todo_patch.methods import ToMe

METHODS = ("baseline", "tome", "tome-kv", "todo", "todo-rotating", "todo-rotating+forecast")
STEPS = 10
CPU = torch.device("cpu")


def stands_for(picture: Image.Image) -> np.ndarray:
    """[blocks, steps, tokens]"""
    high, low, _ = np.moveaxis(np.asarray(picture, dtype=np.int64), -1, 0)
    return (high * 256 + low).reshape(int(picture.info["blocks"]), int(picture.info["steps"]), -1)


def kept(tokens: np.ndarray) -> list[int]:
    """The tokens that stand for themselves."""
    return [at for at, other in enumerate(tokens) if at == other]


@pytest.fixture
def comparison(loaded, request_for) -> Comparison:
    return finished(run(loaded, request_for(methods=METHODS, steps=STEPS, factor=2)))


@pytest.fixture
def grid(loaded) -> tuple[int, int]:
    """The finest one at 64 by 64 pixels."""
    side = 64 // loaded.pipe.vae_scale_factor
    return min((block.grid(side, side) for block in blocks_of(loaded)), key=lambda grid: -grid[0])


def blocks_of(loaded) -> list:
    return [block for block in self_attention(find_denoiser(loaded.pipe)) if block.level == 0]


def test_todo_keeps_the_tokens_of_its_grid_which_rotates_with_step_and_block(
    comparison, loaded, grid
) -> None:
    last = len(blocks_of(loaded)) - 1
    order = offset_order(2)
    for method, cycle in (("todo", order[:1]), ("todo-rotating", order)):
        record = stands_for(comparison.result(method).token_record)
        for noted, number in zip(record, (0, last), strict=True):
            for step, tokens in enumerate(noted):
                offset = cycle[(step + number) % len(cycle)]
                assert kept(tokens) == token_index(grid, 2, offset, CPU).tolist()
                assert set(tokens) == set(kept(tokens))


def test_of_tome_it_is_what_it_really_merged(comparison, grid) -> None:
    for method in ("tome", "tome-kv"):
        record = stands_for(comparison.result(method).token_record)
        left, _, _ = kept_tokens(grid, ToMe(ratio=0.75, stride=2))
        for tokens in record.reshape(-1, record.shape[-1]):
            assert len(kept(tokens)) == left
            assert set(tokens) == set(kept(tokens))  # nobody was merged into one that is gone
        assert len({tuple(tokens) for tokens in record[0]}) > 1  # it is not the same in every step


def test_calls_that_were_not_made_have_kept_every_token(comparison) -> None:
    record = stands_for(comparison.result("todo-rotating+forecast").token_record)[0]
    idle = Forecast().steps(STEPS)
    assert idle
    assert [step for step, tokens in enumerate(record) if len(kept(tokens)) == len(tokens)] == list(idle)
    computed = [step for step in range(STEPS) if step not in idle]
    first, second = (kept(record[step]) for step in computed[:2])
    assert first != second


def test_of_a_method_that_keeps_all_there_is_no_record(comparison, loaded, request_for) -> None:
    assert comparison.result("baseline").token_record is None
    nothing = finished(run(loaded, request_for(methods=("baseline", "todo", "tome"), factor=1)))
    assert [result.token_record for result in nothing.results] == [None, None, None]


def test_tomesd_is_left_as_it_was_however_a_run_ends(loaded, request_for) -> None:
    before = tomesd.patch.compute_merge
    stop = threading.Event()
    for event in run(loaded, request_for(methods=("tome",), steps=50), stop=stop):
        if isinstance(event, StepDone):
            assert tomesd.patch.compute_merge is not before
            stop.set()
    assert tomesd.patch.compute_merge is before
