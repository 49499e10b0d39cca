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
        kept = self.keep(hidden_states)
        output = attend(attn.to_q(hidden_states), attn.to_k(kept), attn.to_v(kept), attn.heads)
        return attn.to_out[0](output)

    def keep(self, hidden_states: torch.Tensor) -> torch.Tensor:
        offset = self.offsets[self.calls % len(self.offsets)]
        self.calls += 1
        height, width = self.latent
        while height * width > hidden_states.shape[1]:
            height, width = (height + 1) // 2, (width + 1) // 2
        return downsample(hidden_states, (height, width), self.factor, offset)


class WrittenOutJointAttention(WrittenOutAttention):
    """The same for a block that attends to its prompt at the same time. The prompt stays whole."""

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        assert attention_mask is None

        def normed(tokens: torch.Tensor, norm: Any) -> torch.Tensor:
            return tokens if norm is None else norm(tokens.unflatten(-1, (attn.heads, -1))).flatten(-2)

        kept = self.keep(hidden_states)
        query = normed(attn.to_q(hidden_states), attn.norm_q)
        key = normed(attn.to_k(kept), attn.norm_k)
        value = attn.to_v(kept)
        if encoder_hidden_states is not None:
            prompt_query = normed(attn.add_q_proj(encoder_hidden_states), attn.norm_added_q)
            prompt_key = normed(attn.add_k_proj(encoder_hidden_states), attn.norm_added_k)
            query = torch.cat([query, prompt_query], dim=1)
            key = torch.cat([key, prompt_key], dim=1)
            value = torch.cat([value, attn.add_v_proj(encoder_hidden_states)], dim=1)
        output = attend(query, key, value, attn.heads)
        image, prompt = output.split([hidden_states.shape[1], query.shape[1] - hidden_states.shape[1]], dim=1)
        if encoder_hidden_states is None:
            return attn.to_out[0](image)
        return attn.to_out[0](image), prompt if attn.context_pre_only else attn.to_add_out(prompt)


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    head_width = query.shape[-1] // heads
    outputs = []
    for head in range(heads):
        part = slice(head * head_width, (head + 1) * head_width)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / head_width**0.5
        outputs.append(scores.softmax(-1) @ value[..., part])
    return torch.cat(outputs, dim=-1)
