"""What a method would do to a model at an image size, without running the model."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import I2VGenXLUNet, UNet3DConditionModel, UNetMotionModel
from torch.utils.flop_counter import FlopCounterMode

from . import grid as grids
from . import tome
from .blocks import SelfAttention, find_unet, require_blocks, self_attention
from .methods import ToDo, ToMe, is_int

PROMPT_TOKENS = 77  # what the text encoders of Stable Diffusion give
TIME_IDS = 6  # numbers on size and crop that SDXL is given
VIDEO_UNETS = (UNet3DConditionModel, UNetMotionModel, I2VGenXLUNet)


@dataclass(frozen=True)
class BlockPlan:
    """One self-attention block: tokens and FLOPs of its `attn1` for a batch of one, before and after."""

    name: str
    level: int
    grid: tuple[int, int]
    tokens: int
    query_tokens: int
    kv_tokens: int
    flops_before: int
    flops_after: int

    @property
    def patched(self) -> bool:
        """Whether it works with fewer tokens."""
        return self.query_tokens < self.tokens or self.kv_tokens < self.tokens


@dataclass(frozen=True)
class Plan:
    """What a method would do: every self-attention block in the order they run, and the UNet's FLOPs.

    FLOPs are of one UNet call with the method on, for a batch of one; a product of n x m and m x k counts
    2nmk. `ceiling` is the speed-up in FLOPs if all that a method of this kind could remove at the patched
    levels were free. It bounds FLOPs, not seconds: if attention runs slower than matrix products, a clock can
    show more. If it is near 1, fewer steps save more.
    """

    blocks: tuple[BlockPlan, ...]
    total_before: int
    total_after: int
    ceiling: float
    notes: tuple[str, ...] = ()

    @property
    def patched(self) -> int:
        """The number of blocks with fewer tokens."""
        return sum(block.patched for block in self.blocks)

    @property
    def speedup(self) -> float:
        """In FLOPs."""
        return self.total_before / self.total_after


def plan(model: Any, method: ToDo | ToMe, height: int, width: int, vae_scale_factor: int = 8) -> Plan:
    """What `method` would do to `model` for an image of `height` x `width` pixels.

    The model's weights are neither run nor read; it may be on the meta device. FLOPs are those of its
    configuration, without LoRA or IP-Adapter.
    `vae_scale_factor` is in image pixels per latent pixel; a pipeline's own counts, if it is a pipeline.

    Raises:
        NothingToPatch: as `apply_patch`.
        TypeError: `model` has no UNet, or `method` is neither a `ToDo` nor a `ToMe`.
        ValueError: the size is not one that the VAE can make, or a grid is too small for the method.
    """
    unet = find_unet(model)
    scale = getattr(model, "vae_scale_factor", vae_scale_factor)
    for name, value in (("height", height), ("width", width)):
        if not is_int(value) or value < scale or value % scale:
            raise ValueError(f"{name}={value!r} is not allowed; it must be a multiple of {scale} pixels.")
    sites = self_attention(unet)
    require_blocks(sites, method)

    latent = height // scale, width // scale
    blocks = tuple(_plan_block(site, method, grids.grid_at(*latent, site.depth)) for site in sites)
    before = unet_flops(unet, *latent)
    after = before - sum(block.flops_before - block.flops_after for block in blocks)
    part = _key_value_flops if isinstance(method, ToDo) else _attention_flops
    removable = sum(part(s.attn, b.tokens, b.tokens) for s, b in zip(sites, blocks, strict=True) if b.patched)
    return Plan(blocks, before, after, before / (before - removable), _notes(method, blocks))


def unet_flops(unet: torch.nn.Module, height: int, width: int) -> int:
    """FLOPs of one call of a UNet of this configuration on one latent (one frame of a video), counted on the
    meta device.

    Raises:
        ValueError: a UNet of this configuration needs inputs that are not known here.
    """
    config = {
        key: value
        for key, value in unet.config.items()
        if not key.startswith("_") and key != "quantization_config"
    }
    if config.get("encoder_hid_dim") is None and "encoder_hid_dim_type" in config:
        config["encoder_hid_dim_type"] = None  # where an IP-Adapter has left its mark
    try:
        return _count_flops(unet.__class__, json.dumps(config, sort_keys=True), height, width)
    except Exception as error:  # whatever a model raises that is given too little
        raise ValueError(
            f"The FLOPs of this {type(unet).__name__} cannot be counted: it needs inputs that `plan` does "
            f"not know ({error}). It can be patched all the same."
        ) from error


@functools.lru_cache(maxsize=64)
def _count_flops(unet_class: type[Any], config_json: str, height: int, width: int) -> int:
    config = json.loads(config_json)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet_class.from_config(config)(**_inputs(unet_class, config, height, width))
    return counter.get_total_flops()


def _inputs(unet_class: type[Any], config: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    prompt_width = config.get("encoder_hid_dim") or config["cross_attention_dim"]
    frames = (1,) if issubclass(unet_class, VIDEO_UNETS) else ()
    sample = torch.empty(1, config["in_channels"], *frames, height, width)
    inputs: dict[str, Any] = {
        "sample": sample,
        "timestep": torch.empty((), dtype=torch.int64),
        "encoder_hidden_states": torch.empty(1, PROMPT_TOKENS, prompt_width),
    }
    if config.get("addition_embed_type") == "text_time":
        numbers = config["addition_time_embed_dim"] * TIME_IDS
        inputs["added_cond_kwargs"] = {
            "text_embeds": torch.empty(1, config["projection_class_embeddings_input_dim"] - numbers),
            "time_ids": torch.empty(1, TIME_IDS),
        }
    if config.get("num_class_embeds") is not None:  # the x4 upscaler's level of noise
        inputs["class_labels"] = torch.empty(1, dtype=torch.int64)
    if issubclass(unet_class, I2VGenXLUNet):
        inputs |= {
            "fps": torch.empty(1),
            "image_latents": sample,
            "image_embeddings": torch.empty(1, prompt_width),
        }
    return inputs


def _plan_block(site: SelfAttention, method: ToDo | ToMe, grid: tuple[int, int]) -> BlockPlan:
    tokens = grid[0] * grid[1]
    queries = keys = tokens
    matching = 0
    if method.patches(site.level):
        if isinstance(method, ToDo):
            keys = grids.kept_tokens(grid, method.factors[site.level])
        else:
            tome.require_room(grid, site.level, method)
            queries, sources, destinations = tome.kept_tokens(grid, method)
            keys = queries
            matching = 2 * sources * destinations * site.attn.query_dim
    return BlockPlan(
        site.name,
        site.level,
        grid,
        tokens,
        queries,
        keys,
        _attention_flops(site.attn, tokens, tokens),
        _attention_flops(site.attn, queries, keys) + matching,
    )


def _attention_flops(attn: Any, queries: int, keys: int) -> int:
    query_and_output = 2 * queries * attn.inner_dim * (attn.query_dim + attn.out_dim)
    return query_and_output + _key_value_flops(attn, queries, keys)


def _key_value_flops(attn: Any, queries: int, keys: int) -> int:
    """The key and value projections, and the attention product (q times k, weights times v)."""
    return 4 * keys * attn.query_dim * attn.inner_kv_dim + 4 * queries * keys * attn.inner_dim


def _notes(method: ToDo | ToMe, blocks: tuple[BlockPlan, ...]) -> tuple[str, ...]:
    if method.asks_for_nothing:
        return ("This setting asks for nothing: the model stays the baseline.",)
    if isinstance(method, ToMe):
        return (
            "tomesd chooses its destinations at random for even batches only; an odd batch (such as one "
            "image without guidance) takes the top-left token of each cell, whatever the seed.",
        )
    if method.until < 1:
        return (
            f"On for the first {method.until:.0%} of the UNet calls; the totals are of a call with it on.",
        )
    return ()
