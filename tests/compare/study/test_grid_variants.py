from __future__ import annotations

from contextlib import ExitStack
from itertools import count

import pytest
import torch

from compare.errors import InvalidRequest
from compare.experiment.flops import plan_summary
from compare.experiment.worker import run
from compare.methods import TODO
from compare.request import Request
from compare.study.grid_variants import GRID_VARIANTS, Moment, chosen_tokens
from compare.study.studied import studied_method
from compare.study.sweep import StudyRequest
from tests.helpers.traces import traces_of_a_patch
from todo_patch import ToDo
from todo_patch.blocks import self_attention
from todo_patch.grid import offset_order

STEPS = 4
CHOICES = {method.id: method.choose for method in GRID_VARIANTS if hasattr(method, "choose")}


def studied(**changes: object) -> StudyRequest:
    small = {"prompt": "a fox", "width": 64, "height": 64, "steps": STEPS, "guidance_scale": 4.0}
    return StudyRequest(**{**small, **changes})


def kept(loaded, method: str, factor: int) -> dict[tuple[int, int], list[int]]:
    """The indices of the tokens that each patched block keeps at each step of a run, by (step, block)."""
    seen: dict[tuple[int, int], list[int]] = {}
    blocks = [site.attn for site in self_attention(loaded.pipe.unet) if site.level == 0]
    steps = count()

    def look(attn: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        block = blocks.index(attn)
        tokens, chosen = args[0][0], kwargs["encoder_hidden_states"][0]
        step = next(steps) if block == 0 else max(step for step, _ in seen)
        seen[step, block] = (chosen[:, None] == tokens).all(-1).int().argmax(1).tolist()

    request = studied(methods=(method,), factor=factor)
    with studied_method(method).on(loaded.pipe, request) as pipe, ExitStack() as hooks:
        for attn in blocks:
            hooks.enter_context(attn.register_forward_pre_hook(look, with_kwargs=True))
        pipe("a fox", height=64, width=64, num_inference_steps=STEPS, output_type="latent")
    return seen


def test_a_request_of_the_page_has_no_variants() -> None:
    with pytest.raises(InvalidRequest, match="'todo-random' is not one of them"):
        Request(prompt="a fox", width=64, height=64, steps=2, guidance_scale=4.0, methods=("todo-random",))


@pytest.mark.parametrize("method", [m.id for m in GRID_VARIANTS])
def test_every_variant_runs_gives_another_picture_and_leaves_the_model(loaded, method) -> None:
    request = studied(methods=("baseline", "todo", method))
    *_, last = run(loaded, request)
    todo, variant = (last.comparison.result(id) for id in ("todo", method))
    assert variant.image.tobytes() != todo.image.tobytes()
    assert traces_of_a_patch(loaded.pipe) == []


def test_by_step_all_blocks_agree_and_by_block_all_steps(loaded) -> None:
    by_step = kept(loaded, "todo-by-step", 2)
    by_block = kept(loaded, "todo-by-block", 2)
    blocks = {block for _, block in by_step}
    assert len(blocks) > 1
    for step in range(STEPS):
        assert all(by_step[step, block] == by_step[step, 0] for block in blocks)
        assert all(by_block[step, block] == by_block[0, block] for block in blocks)
    assert len({tuple(by_step[step, 0]) for step in range(STEPS)}) == 4
    assert by_block[0, 0] != by_block[0, 1]


def test_coarse_early_has_fewer_tokens_first(loaded) -> None:
    def counts(method: str, factor: int) -> list[int]:
        tokens = kept(loaded, method, factor)
        return [len(tokens[step, 0]) for step in range(STEPS)]

    assert counts("todo-coarse-early", 3) == [1, 1, 4, 4]  # of 16; with 4, then with 2
    assert counts("todo-fine-early", 3) == [4, 4, 1, 1]
    assert counts("todo-coarse-early", 2)[-1] == 16  # 1 is all of them


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("method", [m for m in CHOICES if "early" not in m])
def test_every_choice_is_inside_its_cell_at_the_same_cost(method, factor) -> None:
    for step in range(2 * factor**2):
        kept_factor, (row, column) = CHOICES[method](Moment(step, 50, step % 3, factor))
        assert kept_factor == factor
        assert 0 <= row < factor
        assert 0 <= column < factor


def test_row_by_row_goes_through_the_whole_cell() -> None:
    offsets = {CHOICES["todo-raster"](Moment(step, 9, 0, 3))[1] for step in range(9)}
    assert offsets == set(offset_order(3))


def test_the_plan_of_halves_is_the_mean_of_both(loaded) -> None:
    def after(factor: int) -> int:
        return plan_summary(loaded.pipe, TODO, studied(methods=("todo",), factor=factor), STEPS).flops_after

    fine_early = studied_method("todo-fine-early")
    mixed = plan_summary(loaded.pipe, fine_early, studied(methods=(fine_early.id,), factor=3), STEPS)
    assert mixed.flops_after == (after(2) + after(4)) // 2


def test_nothing_to_reduce_leaves_nothing_behind(loaded) -> None:
    with chosen_tokens(loaded.pipe, ToDo(factor=1), CHOICES["todo-random"]), torch.no_grad():
        assert traces_of_a_patch(loaded.pipe) == []
