"""Other choices of the tokens that ToDo keeps, to compare the rotating grid with (docs/rotating-grid.md)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import DiffusionPipeline

from compare.methods import TODO, Method, Reduction
from compare.study.sampling_modes import require_whole_runs
from todo_patch import ToDo, patched
from todo_patch.blocks import find_denoiser
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
    """That the request has for its level."""


Choice = Callable[[Moment], tuple[int, Offset]]
"""The factor to use at this moment, and which token of a cell of factor x factor to keep."""


@contextmanager
def chosen_tokens(pipe: DiffusionPipeline, method: ToDo, choose: Choice) -> Iterator[DiffusionPipeline]:
    """ToDo on the pipeline for the length of a `with` block, with another choice of the tokens.

    Everything else is the patch of `todo_patch`, so that all choices cost the same.
    """
    with patched(pipe, method):
        patch = vars(find_denoiser(pipe)).get("_todo_patch")  # None if the method asks for nothing
        if patch is not None:
            (part,) = patch.parts
            as_usual = part.before_call

            def before_call(denoiser: torch.nn.Module, arguments: dict[str, Any]) -> None:
                as_usual(denoiser, arguments)
                for number, block in enumerate(part.blocks):
                    site = block.attn._todo_site
                    at = Moment(patch.run.step, patch.run.total, number, site.factor)
                    factor, offset = choose(at)
                    site.index = part.index_of(site.grid, factor, offset, site.index.device)

            part.before_call = before_call
        yield pipe


def _centre(at: Moment) -> tuple[int, Offset]:
    return at.factor, (at.factor // 2, at.factor // 2)


def _raster(at: Moment) -> tuple[int, Offset]:
    return at.factor, divmod((at.step + at.block) % at.factor**2, at.factor)


def _rotating(factor: int, number: int) -> tuple[int, Offset]:
    order = offset_order(factor)
    return factor, order[number % len(order)]


def _random(factor: int, *seeds: int) -> tuple[int, Offset]:
    rng = random.Random(" ".join(map(str, (RANDOM_SEED, *seeds))))
    return factor, (rng.randrange(factor), rng.randrange(factor))


def _two_factors(at: Moment, early: int) -> tuple[int, Offset]:
    """`early` is 1 or -1: what is added to the factor in the first half of the steps."""
    return _rotating(at.factor + (early if 2 * at.step < at.steps else -early), at.step + at.block)


@dataclass(frozen=True, kw_only=True)
class GridVariant(Method):
    """ToDo with another choice of the tokens to keep."""

    choose: Choice
    patch: Callable[[Reduction], ToDo] = TODO.patch

    def on(self, pipe: DiffusionPipeline, request: Reduction) -> AbstractContextManager[object]:
        return chosen_tokens(pipe, self.patch(request), self.choose)


@dataclass(frozen=True, kw_only=True)
class TwoFactors(GridVariant):
    """Rotating, with `factor` - 1 for one half of the steps and `factor` + 1 for the other."""

    check: Callable[[DiffusionPipeline, Reduction], None] = require_whole_runs

    def counted_patches(self, request: Reduction) -> tuple[tuple[ToDo], ...]:
        factors = self.patch(request).factors
        return tuple((ToDo(factor=tuple(f + d if f > 1 else 1 for f in factors)),) for d in (-1, 1))


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
        patch=partial(TODO.patch, pooling="average"),
    ),
    GridVariant(
        id="todo-raster",
        label="ToDo, row by row",
        description="rotating, but row by row through the cell",
        colour="#2ca02c",
        choose=_raster,
    ),
    GridVariant(
        id="todo-by-step",
        label="ToDo, by step",
        description="rotating with the steps only: the same token in all blocks",
        colour="#d62728",
        choose=lambda at: _rotating(at.factor, at.step),
    ),
    GridVariant(
        id="todo-by-block",
        label="ToDo, by block",
        description="rotating with the blocks only: the same tokens at every step",
        colour="#9467bd",
        choose=lambda at: _rotating(at.factor, at.block),
    ),
    GridVariant(
        id="todo-random",
        label="ToDo, random",
        description="a random token of the cell for each step and block",
        colour="#8c564b",
        choose=lambda at: _random(at.factor, at.step, at.block),
    ),
    GridVariant(
        id="todo-random-by-step",
        label="ToDo, random by step",
        description="a random token for each step, in all blocks",
        colour="#e377c2",
        choose=lambda at: _random(at.factor, at.step),
    ),
    TwoFactors(
        id="todo-coarse-early",
        label="ToDo, coarse early",
        description="rotating; factor + 1 for half the steps, then - 1",
        colour="#bcbd22",
        choose=lambda at: _two_factors(at, early=1),
    ),
    TwoFactors(
        id="todo-fine-early",
        label="ToDo, fine early",
        description="rotating; factor - 1 for half the steps, then + 1",
        colour="#17becf",
        choose=lambda at: _two_factors(at, early=-1),
    ),
)
"""The choices that docs/rotating-grid.md compares. Sweeps have them; the page does not."""
