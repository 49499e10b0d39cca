"""Other choices of the tokens that ToDo keeps, to compare the rotating grid with (docs/rotating-grid.md)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline

from todo_patch import ToDo, patched
from todo_patch.blocks import find_unet
from todo_patch.grid import offset_order

Offset = tuple[int, int]
RANDOM_SEED = 0


@dataclass(frozen=True)
class Moment:
    """One self-attention block in one UNet call."""

    step: int
    steps: int
    block: int
    """Among the patched ones, from 0."""
    factor: int
    """That the request asks of its level."""


Choice = Callable[[Moment], tuple[int, Offset]]
"""The factor to use at this moment, and which token of a cell of so many to keep."""


def _centre(at: Moment) -> tuple[int, Offset]:
    return at.factor, (at.factor // 2, at.factor // 2)


def _raster(at: Moment) -> tuple[int, Offset]:
    return at.factor, divmod((at.step + at.block) % at.factor**2, at.factor)


def _by_step(at: Moment) -> tuple[int, Offset]:
    return at.factor, _in_turn(at.factor, at.step)


def _by_block(at: Moment) -> tuple[int, Offset]:
    return at.factor, _in_turn(at.factor, at.block)


def _random(at: Moment) -> tuple[int, Offset]:
    rng = random.Random(f"{RANDOM_SEED} {at.step} {at.block}")
    return at.factor, (rng.randrange(at.factor), rng.randrange(at.factor))


def _random_by_step(at: Moment) -> tuple[int, Offset]:
    rng = random.Random(f"{RANDOM_SEED} {at.step}")
    return at.factor, (rng.randrange(at.factor), rng.randrange(at.factor))


def _coarse_early(at: Moment) -> tuple[int, Offset]:
    factor = at.factor + 1 if 2 * at.step < at.steps else at.factor - 1
    return factor, _in_turn(factor, at.step + at.block)


def _fine_early(at: Moment) -> tuple[int, Offset]:
    factor = at.factor - 1 if 2 * at.step < at.steps else at.factor + 1
    return factor, _in_turn(factor, at.step + at.block)


def _in_turn(factor: int, turn: int) -> Offset:
    order = offset_order(factor)
    return order[turn % len(order)]


CHOICES: dict[str, Choice] = {
    "todo-centre": _centre,
    "todo-raster": _raster,
    "todo-by-step": _by_step,
    "todo-by-block": _by_block,
    "todo-random": _random,
    "todo-random-by-step": _random_by_step,
    "todo-coarse-early": _coarse_early,
    "todo-fine-early": _fine_early,
}
"""By the id of the method. Averages are not here: `todo_patch` has them."""


@contextmanager
def chosen_tokens(pipe: DiffusionPipeline, method: ToDo, choose: Choice) -> Iterator[DiffusionPipeline]:
    """ToDo on the pipeline for the length of a `with` block, with tokens of its own choice.

    Everything else is the very patch that the other grids use, so that they cost the same.
    """
    with patched(pipe, method):
        patch = vars(find_unet(pipe)).get("_todo_patch")  # none where the method asks for nothing
        if patch is not None:
            as_usual = patch.before_call

            def before_call(sample: torch.Tensor, kwargs: dict[str, Any]) -> None:
                as_usual(sample, kwargs)
                for number, block in enumerate(patch._blocks):
                    site = block.attn._todo_site
                    at = Moment(patch.run.step, patch.run.total, number, site.factor)
                    factor, offset = choose(at)
                    site.index = patch._index(site.grid, factor, offset, sample.device)

            patch.before_call = before_call
        yield pipe
