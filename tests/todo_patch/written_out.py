"""ToDo's attention written out: loops over cells, one softmax per head, nothing shared with the library."""

from __future__ import annotations

from typing import Any

import torch

Offset = tuple[int, int]


def downsample(
    tokens: torch.Tensor, grid: tuple[int, int], factor: int, offset: Offset | None
) -> torch.Tensor:
    """[B, N, C] -> [B, M, C]: the token at `offset` of each cell, or the mean of the cell for None."""
    height, width = grid
    kept = []
    for top in range(0, height, factor):
        for left in range(0, width, factor):
            if offset is None:
                cell = [
                    tokens[:, row * width + column]
                    for row in range(top, min(top + factor, height))
                    for column in range(left, min(left + factor, width))
                ]
                kept.append(torch.stack(cell).mean(0))
            else:
                row, column = min(top + offset[0], height - 1), min(left + offset[1], width - 1)
                kept.append(tokens[:, row * width + column])
    return torch.stack(kept, dim=1)


class WrittenOutAttention:
    """An attention processor for one self-attention block. Its calls cycle through `offsets`."""

    def __init__(self, latent: tuple[int, int], factor: int, offsets: list[Offset | None]) -> None:
        self.latent, self.factor, self.offsets = latent, factor, offsets
        self.calls = 0

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert encoder_hidden_states is None
        assert attention_mask is None
        offset = self.offsets[self.calls % len(self.offsets)]
        self.calls += 1
        height, width = self.latent
        while height * width > hidden_states.shape[1]:
            height, width = (height + 1) // 2, (width + 1) // 2
        kept = downsample(hidden_states, (height, width), self.factor, offset)
        query, key, value = attn.to_q(hidden_states), attn.to_k(kept), attn.to_v(kept)
        head_width = query.shape[-1] // attn.heads
        heads = []
        for head in range(attn.heads):
            part = slice(head * head_width, (head + 1) * head_width)
            scores = query[..., part] @ key[..., part].transpose(1, 2) / head_width**0.5
            heads.append(scores.softmax(-1) @ value[..., part])
        return attn.to_out[0](torch.cat(heads, dim=-1))
