"""ToDo as it is usually written: an attention processor that downsamples and attends by itself.

It is here to be timed against `todo_patch`, which leaves the attention to the processor that is installed.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F

from compare.bench.upper_bound import replaced_attention
from todo_patch.grid import grid_at


def todo_by_processor(model: Any, factor: int, latent: tuple[int, int]) -> AbstractContextManager[None]:
    """ToDo with the fixed grid at the finest level of a model, for the length of a `with` block.

    Args:
        model: a pipeline or a UNet.
        factor: of downsampling.
        latent: height and width of the latents that the UNet will be called with.
    """
    return replaced_attention(
        model, 1, lambda site: DownsampledAttention(grid_at(*latent, site.depth), factor)
    )


class DownsampledAttention:
    """Attention of all queries to the top-left token of every cell of `factor` x `factor`, by SDPA."""

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
