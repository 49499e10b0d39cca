"""Other choices of the tokens that ToDo keeps, to compare the rotating grid with (docs/rotating-grid.md)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline

from compare.methods import Method, Reduction, known_methods
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


@contextmanager
def chosen_tokens(pipe: DiffusionPipeline, method: ToDo, choose: Choice) -> Iterator[DiffusionPipeline]:
    """ToDo on the pipeline for the length of a `with` block, with tokens of its own choice.

    Everything else is the very patch that the other grids use, so that they cost the same.
    """
    with patched(pipe, method):
        patch = vars(find_unet(pipe)).get("_todo_patch")  # none where the method asks for nothing
        if patch is not None:
            as_usual = patch.before_call

            def before_call(unet: torch.nn.Module, sample: torch.Tensor, kwargs: dict[str, Any]) -> None:
                as_usual(unet, sample, kwargs)
                for number, block in enumerate(patch._blocks):
                    site = block.attn._todo_site
                    at = Moment(patch.run.step, patch.run.total, number, site.factor)
                    factor, offset = choose(at)
                    site.index = patch._index(site.grid, factor, offset, sample.device)

            patch.before_call = before_call
        yield pipe


def _todo(request: Reduction) -> ToDo:
    return ToDo(factor=request.factor)


def _average(request: Reduction) -> ToDo:
    return ToDo(factor=request.factor, pooling="average")


@dataclass(frozen=True, kw_only=True)
class GridVariant(Method):
    """ToDo with another choice of the tokens to keep."""

    choose: Choice
    patch: Callable[[Reduction], ToDo] = _todo

    def on(self, pipe: DiffusionPipeline, request: Reduction) -> AbstractContextManager[object]:
        return chosen_tokens(pipe, ToDo(factor=request.factor), self.choose)


@dataclass(frozen=True, kw_only=True)
class TwoFactors(GridVariant):
    """Rotating, with `factor` - 1 for one half of the steps and `factor` + 1 for the other."""

    def counted_patches(self, request: Reduction) -> tuple[ToDo, ...]:
        factors = request.factor if isinstance(request.factor, tuple) else (request.factor,)
        halves = (tuple(f + d if f > 1 else 1 for f in factors) for d in (-1, 1))
        return tuple(ToDo(factor=factor) for factor in halves)


GRID_VARIANTS = (
    GridVariant(
        id="todo-centre",
        label="ToDo, centre",
        description="always the token at the centre of its cell",
        colour="#1f77b4",
        choose=_centre,
    ),
    Method(
        id="todo-average",
        label="ToDo, average",
        description="the mean of the cell instead of one of its tokens",
        colour="#ff7f0e",
        patch=_average,
    ),
    GridVariant(
        id="todo-raster",
        label="ToDo, row by row",
        description="rotating, but the cell is gone through row by row",
        colour="#2ca02c",
        choose=_raster,
    ),
    GridVariant(
        id="todo-by-step",
        label="ToDo, by step",
        description="rotating with the steps only: the same token in all blocks",
        colour="#d62728",
        choose=_by_step,
    ),
    GridVariant(
        id="todo-by-block",
        label="ToDo, by block",
        description="rotating with the blocks only: the same tokens at every step",
        colour="#9467bd",
        choose=_by_block,
    ),
    GridVariant(
        id="todo-random",
        label="ToDo, random",
        description="a random token of the cell for each step and block",
        colour="#8c564b",
        choose=_random,
    ),
    GridVariant(
        id="todo-random-by-step",
        label="ToDo, random by step",
        description="a random token for each step, in all blocks",
        colour="#e377c2",
        choose=_random_by_step,
    ),
    TwoFactors(
        id="todo-coarse-early",
        label="ToDo, coarse early",
        description="rotating; factor + 1 for half the steps, then - 1",
        colour="#bcbd22",
        choose=_coarse_early,
    ),
    TwoFactors(
        id="todo-fine-early",
        label="ToDo, fine early",
        description="rotating; factor - 1 for half the steps, then + 1",
        colour="#17becf",
        choose=_fine_early,
    ),
)
"""What docs/rotating-grid.md sets beside the two grids. Sweeps know them; the page does not."""


def studied_methods() -> tuple[Method, ...]:
    """The methods of the registry, and the variants of the grid."""
    return (*known_methods(), *GRID_VARIANTS)
