"""ToDo's and ToMe's attention written out: loops over cells and tokens, one softmax per head.

Nothing is shared with the library or with tomesd.
"""

from __future__ import annotations

from typing import Any

import torch

Offset = tuple[int, int]
Grid = tuple[int, int]


def downsample(tokens: torch.Tensor, grid: Grid, factor: int, offset: Offset | None) -> torch.Tensor:
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


def upsample(kept: torch.Tensor, grid: Grid, factor: int) -> torch.Tensor:
    """[B, M, C] -> [B, N, C]: to each token what its cell has."""
    height, width = grid
    cells = [(top, left) for top in range(0, height, factor) for left in range(0, width, factor)]
    rows = [
        kept[:, cells.index((row - row % factor, column - column % factor))]
        for row in range(height)
        for column in range(width)
    ]
    return torch.stack(rows, dim=1)


def merge_similar(
    tokens: torch.Tensor,
    metric: torch.Tensor,
    grid: Grid,
    ratio: float,
    stride: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """[B, N, C] -> [B, M, C]: of each image, the `ratio` of tokens whose `metric` is most like that of a
    destination become one with it, their mean. Destinations are one token of each whole cell, at random for
    even batches ("Token Merging for Fast Stable Diffusion", arXiv 2303.17604, section 3).
    """
    height, width = grid
    down, across = height // stride, width // stride
    chosen = torch.zeros(down, across, 1, dtype=torch.int64)
    if tokens.shape[0] % 2 == 0:
        chosen = torch.randint(stride**2, (down, across, 1), generator=generator)
    destinations = []
    for top in range(down):
        for left in range(across):
            row, column = divmod(int(chosen[top, left]), stride)
            destinations.append((top * stride + row) * width + left * stride + column)
    sources = [token for token in range(height * width) if token not in destinations]
    merged = min(int(height * width * ratio), len(sources))
    images = []
    for image in range(tokens.shape[0]):
        likeness = {
            source: torch.nn.functional.cosine_similarity(
                metric[image, source, None], metric[image, destinations], dim=-1
            ).max(0)
            for source in sources
        }
        order = sorted(sources, key=lambda source: -float(likeness[source].values))
        groups = {place: [tokens[image, token]] for place, token in enumerate(destinations)}
        for source in order[:merged]:
            groups[int(likeness[source].indices)].append(tokens[image, source])
        unmerged = [tokens[image, source] for source in order[merged:]]
        images.append(torch.stack(unmerged + [torch.stack(group).mean(0) for group in groups.values()]))
    return torch.stack(images)


def attend(attn: Any, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """The attention of tokens [B, N, C] to tokens [B, M, C], with the weights of an attention module."""
    return attn.to_out[0](heads_apart(attn.to_q(queries), attn.to_k(keys), attn.to_v(keys), attn.heads))


def heads_apart(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    head_width = query.shape[-1] // heads
    outputs = []
    for head in range(heads):
        part = slice(head * head_width, (head + 1) * head_width)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / head_width**0.5
        outputs.append(scores.softmax(-1) @ value[..., part])
    return torch.cat(outputs, dim=-1)


def grid_of(tokens: torch.Tensor, latent: Grid) -> Grid:
    """The grid of tokens [B, N, C] in a UNet that is given a latent of this size."""
    height, width = latent
    while height * width > tokens.shape[1]:
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width


class WrittenOutAttention:
    """ToDo, as the attention processor of one self-attention block. Its calls cycle through `offsets`."""

    def __init__(
        self, latent: Grid, factor: int, offsets: list[Offset | None], merge: str = "keys-values"
    ) -> None:
        self.latent, self.factor, self.offsets, self.merge = latent, factor, offsets, merge
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
        if self.merge == "all":
            grid = grid_of(hidden_states, self.latent)
            return upsample(attend(attn, kept, kept), grid, self.factor)
        return attend(attn, hidden_states, kept)

    def keep(self, hidden_states: torch.Tensor) -> torch.Tensor:
        offset = self.offsets[self.calls % len(self.offsets)]
        self.calls += 1
        return downsample(hidden_states, grid_of(hidden_states, self.latent), self.factor, offset)


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
        output = heads_apart(query, key, value, attn.heads)
        image, prompt = output.split([hidden_states.shape[1], query.shape[1] - hidden_states.shape[1]], dim=1)
        if encoder_hidden_states is None:
            return attn.to_out[0](image)
        return attn.to_out[0](image), prompt if attn.context_pre_only else attn.to_add_out(prompt)


class WrittenOutMerging:
    """ToMe on keys and values, as the attention processor of one self-attention block.

    Args:
        block: the transformer block, whose inputs are what likeness is read from.
    """

    def __init__(
        self, block: torch.nn.Module, latent: Grid, ratio: float, stride: int, generator: torch.Generator
    ) -> None:
        self.latent, self.ratio, self.stride, self.generator = latent, ratio, stride, generator
        block.register_forward_pre_hook(self._look)

    def _look(self, block: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        self.metric = args[0]

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        grid = grid_of(hidden_states, self.latent)
        merged = merge_similar(hidden_states, self.metric, grid, self.ratio, self.stride, self.generator)
        return attend(attn, hidden_states, merged)
