"""The self-attention blocks of a UNet in the order they run, each with its level."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.transformers.transformer_2d import Transformer2DModel

from .methods import Forecast, NothingToPatch, ToDo, ToMe, in_turn


@dataclass(frozen=True, eq=False)
class SelfAttention:
    """One self-attention block: `name` as in `named_modules()`, on a grid of latent / 2**`depth`."""

    name: str
    block: BasicTransformerBlock
    depth: int
    level: int  # counted from the finest grid on which this UNet has self-attention

    @functools.cached_property
    def attn(self) -> torch.nn.Module:
        return self.block.attn1


def find_denoiser(model: Any) -> torch.nn.Module:
    """The UNet of a pipeline, or the UNet itself, without the wrapper of `torch.compile`.

    Raises:
        TypeError: it is neither a pipeline with a UNet nor a UNet of the kind that diffusers builds.
    """
    unet = model if isinstance(model, torch.nn.Module) else getattr(model, "unet", None)
    unet = getattr(unet, "_orig_mod", unet)
    if not all(hasattr(unet, part) for part in ("down_blocks", "mid_block", "up_blocks")):
        raise TypeError(
            f"Expected a diffusers pipeline with a UNet, or such a UNet, not {type(model).__name__}."
        )
    return unet


def latent_of(arguments: dict[str, Any]) -> torch.Tensor:
    """The latent among the arguments of a denoiser's call, [B, C, ..., height, width]."""
    return arguments["sample"]


def self_attention(unet: torch.nn.Module) -> tuple[SelfAttention, ...]:
    """All self-attention blocks of the UNet in the order they run. Depths are read from its structure."""
    found = [
        (f"{path}.transformer_blocks.{i}", block, depth)
        for path, transformer, depth in _transformers(unet)
        for i, block in enumerate(transformer.transformer_blocks)
        if isinstance(block, BasicTransformerBlock) and not block.only_cross_attention
    ]
    finest = min((depth for _, _, depth in found), default=0)
    return tuple(SelfAttention(f"{name}.attn1", block, depth, depth - finest) for name, block, depth in found)


def require_methods(denoiser: torch.nn.Module, methods: tuple[ToDo | ToMe | Forecast, ...]) -> None:
    """Raise TypeError unless it is one method of attention, a `Forecast`, or both; `NothingToPatch` if the
    model lacks the levels that they name."""
    forecasts = [method for method in methods if isinstance(method, Forecast)]
    others = [method for method in methods if not isinstance(method, Forecast)]
    for method in others:
        if not isinstance(method, ToDo | ToMe):
            raise TypeError(f"Expected a ToDo or a ToMe, or a Forecast, not {method!r}.")
    if not methods or len(forecasts) > 1 or len(others) > 1:
        raise TypeError(f"Expected one ToDo or ToMe, one Forecast, or one of each, not {methods!r}.")
    for method in others:
        for turn in in_turn(method):
            _require_blocks(self_attention(denoiser), turn)


def _require_blocks(blocks: tuple[SelfAttention, ...], method: ToDo | ToMe) -> None:
    if not blocks:
        raise NothingToPatch(f"{method}: this UNet has no self-attention in Transformer2DModel blocks.")
    counts = Counter((block.level, block.depth) for block in blocks)
    levels = {level for level, _ in counts}
    if method.levels > max(levels) + 1 or not (method.asks_for_nothing or any(map(method.patches, levels))):
        grids = ", ".join(
            f"level {level} on latent/{2**depth} ({count} blocks)"
            for (level, depth), count in sorted(counts.items())
        )
        raise NothingToPatch(f"{method}: this UNet has self-attention on no other grids than {grids}.")


def _transformers(unet: torch.nn.Module) -> Iterator[tuple[str, Transformer2DModel, int]]:
    depth = 0
    parts = [(f"down_blocks.{i}", part) for i, part in enumerate(unet.down_blocks)]
    parts += [("mid_block", unet.mid_block)] if unet.mid_block is not None else []
    parts += [(f"up_blocks.{i}", part) for i, part in enumerate(unet.up_blocks)]
    for path, part in parts:
        for name, module in part.named_modules():
            if isinstance(module, Transformer2DModel):
                yield f"{path}.{name}", module, depth
        if getattr(part, "downsamplers", None) is not None:
            depth += 1
        if getattr(part, "upsamplers", None) is not None:
            depth -= 1
    if depth != 0:
        raise NothingToPatch(f"The grids of a {type(unet).__name__} cannot be read from its structure.")
