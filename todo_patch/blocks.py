"""The denoiser of a model, and its self-attention blocks in the order they run, with grid and level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    DiTTransformer2DModel,
    LatteTransformer3DModel,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
)
from diffusers.models.attention import BasicTransformerBlock, JointTransformerBlock
from diffusers.models.transformers.transformer_2d import Transformer2DModel

from .grid import grid_at
from .methods import Forecast, NothingToPatch, ToDo, ToMe, in_turn

# Transformers that cut the latent into patches and keep one grid from there on. (docs/transformers.md)
TRANSFORMERS = (
    PixArtTransformer2DModel,
    DiTTransformer2DModel,
    LatteTransformer3DModel,
    SD3Transformer2DModel,
)


@dataclass(frozen=True, eq=False)
class SelfAttention:
    """One self-attention block: `name` as in `named_modules()`. A token of it stands for
    `patch_size * 2**depth` latent pixels a side."""

    name: str
    block: BasicTransformerBlock | JointTransformerBlock
    attn: torch.nn.Module  # of the block
    depth: int  # stride-2 convolutions before it, as a UNet has them
    level: int  # counted from the finest grid on which the model has self-attention
    patch_size: int = 1

    @property
    def is_joint(self) -> bool:
        """Whether it takes its prompt, if any, as `encoder_hidden_states`, beside the image's own keys."""
        return isinstance(self.block, JointTransformerBlock)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """The grid of tokens for a latent of `height` x `width`. What is no whole patch is cut off, as the
        model itself does."""
        return grid_at(height // self.patch_size, width // self.patch_size, self.depth)


def find_denoiser(model: Any) -> torch.nn.Module:
    """The UNet or transformer of a pipeline, or that model itself, without the wrapper of `torch.compile`.

    Raises:
        TypeError: the model has neither a UNet of the kind that diffusers builds nor one of `TRANSFORMERS`.
    """
    denoiser = model
    if not isinstance(model, torch.nn.Module):
        parts = (getattr(model, name, None) for name in ("unet", "transformer"))
        denoiser = next((part for part in parts if part is not None), None)
    denoiser = getattr(denoiser, "_orig_mod", denoiser)
    is_unet = all(hasattr(denoiser, part) for part in ("down_blocks", "mid_block", "up_blocks"))
    if not is_unet and not isinstance(denoiser, TRANSFORMERS):
        inside = "" if denoiser is None or denoiser is model else f" with {type(denoiser).__name__}"
        raise TypeError(
            "Expected a diffusers pipeline with a UNet or with one of "
            f"{', '.join(kind.__name__ for kind in TRANSFORMERS)}, or such a model itself, "
            f"not {type(model).__name__}{inside}."
        )
    return denoiser


def latent_of(arguments: dict[str, Any]) -> torch.Tensor:
    """The latent among the arguments of a denoiser's call, [B, C, ..., height, width]."""
    return arguments["sample" if "sample" in arguments else "hidden_states"]


def self_attention(denoiser: torch.nn.Module) -> tuple[SelfAttention, ...]:
    """All self-attention blocks over the image in the order they run. Depths are read from the structure."""
    transformers: Iterable[tuple[str, Any, int]] = _transformers(denoiser)
    patch_size = 1
    if isinstance(denoiser, TRANSFORMERS):
        transformers, patch_size = [("", denoiser, 0)], denoiser.config.patch_size
    found = [
        (f"{path}transformer_blocks.{i}.{name}", block, getattr(block, name), depth)
        for path, transformer, depth in transformers
        for i, block in enumerate(transformer.transformer_blocks)
        for name in _attention_over_the_image(block)
    ]
    finest = min((depth for *_, depth in found), default=0)
    return tuple(SelfAttention(*site, level=site[-1] - finest, patch_size=patch_size) for site in found)


def _attention_over_the_image(block: torch.nn.Module) -> tuple[str, ...]:
    if isinstance(block, BasicTransformerBlock) and not block.only_cross_attention:
        return ("attn1",)
    if isinstance(block, JointTransformerBlock):
        return ("attn",) if block.attn2 is None else ("attn", "attn2")
    return ()


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
        raise NothingToPatch(f"{method}: this model has no self-attention of a known kind.")
    merges_more = isinstance(method, ToMe) or method.merge == "all"
    if merges_more and not method.asks_for_nothing and any(block.is_joint for block in blocks):
        raise ValueError(
            f"{method}: image and prompt attend together in this model, and there only keys and values of "
            "the image can be left out. Use ToDo with merge='keys-values'."
        )
    counts = Counter((block.level, block.patch_size * 2**block.depth) for block in blocks)
    levels = {level for level, _ in counts}
    if method.levels > max(levels) + 1 or not (method.asks_for_nothing or any(map(method.patches, levels))):
        grids = ", ".join(
            f"level {level} on latent/{side} ({count} blocks)"
            for (level, side), count in sorted(counts.items())
        )
        raise NothingToPatch(f"{method}: this model has self-attention on no other grids than {grids}.")


def _transformers(unet: torch.nn.Module) -> Iterator[tuple[str, Transformer2DModel, int]]:
    depth = 0
    parts = [(f"down_blocks.{i}", part) for i, part in enumerate(unet.down_blocks)]
    parts += [("mid_block", unet.mid_block)] if unet.mid_block is not None else []
    parts += [(f"up_blocks.{i}", part) for i, part in enumerate(unet.up_blocks)]
    for path, part in parts:
        for name, module in part.named_modules():
            if isinstance(module, Transformer2DModel):
                yield f"{path}.{name}.", module, depth
        if getattr(part, "downsamplers", None) is not None:
            depth += 1
        if getattr(part, "upsamplers", None) is not None:
            depth -= 1
    if depth != 0:
        raise NothingToPatch(f"The grids of a {type(unet).__name__} cannot be read from its structure.")
