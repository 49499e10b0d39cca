"""Attention processors that the bench puts in the place of a model's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F

from todo_patch import ToDo, ToMe
from todo_patch.blocks import SelfAttention, find_denoiser, self_attention


@contextmanager
def replaced_attention(
    model: Any, patch: ToDo | ToMe, processor_for: Callable[[SelfAttention], Any]
) -> Iterator[None]:
    """Other attention processors for the length of a `with` block, in the blocks that `patch` would change.

    Args:
        model: a pipeline or a UNet.
    """
    sites = [site for site in self_attention(find_denoiser(model)) if patch.patches(site.level)]
    own = [site.attn.processor for site in sites]
    for site in sites:
        site.attn.set_processor(processor_for(site))
    try:
        yield
    finally:
        for site, processor in zip(sites, own, strict=True):
            site.attn.set_processor(processor)


class QueriesOnly:
    """The query and output projections, and nothing between: the upper bound of merging keys and values."""

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        project, dropout = attn.to_out
        return dropout(project(attn.to_q(hidden_states)))


class Identity:
    """Nothing at all: the upper bound of merging all tokens."""

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states


class DownsampledAttention:
    """ToDo as it is usually written: attention of all queries to the top-left token of every cell, by SDPA.

    `todo_patch` leaves the attention to the processor that is installed; this one is timed against it.

    Args:
        grid: rows and columns of tokens.
        factor: a cell is `factor` x `factor` tokens.
    """

    def __init__(self, grid: tuple[int, int], factor: int) -> None:
        self.grid = grid
        self.factor = factor

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        kept = hidden_states.unflatten(1, self.grid)[:, :: self.factor, :: self.factor].flatten(1, 2)

        def heads(tokens: torch.Tensor) -> torch.Tensor:
            return tokens.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        attended = F.scaled_dot_product_attention(
            heads(attn.to_q(hidden_states)), heads(attn.to_k(kept)), heads(attn.to_v(kept))
        )
        project, dropout = attn.to_out
        return dropout(project(attended.transpose(1, 2).flatten(2)))
