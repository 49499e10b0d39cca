"""What a method would do to a model at an image size, without running the model."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    DiTTransformer2DModel,
    I2VGenXLUNet,
    LatteTransformer3DModel,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    UNet3DConditionModel,
    UNetMotionModel,
)
from torch.utils.flop_counter import FlopCounterMode

from . import grid as grids
from . import tome
from .blocks import TRANSFORMERS, SelfAttention, find_denoiser, require_blocks, self_attention
from .methods import ToDo, ToMe, is_int

PROMPT_TOKENS = 77  # what the text encoders of Stable Diffusion give
T5_PROMPT_TOKENS = {PixArtTransformer2DModel: 300, LatteTransformer3DModel: 120}  # 300 is PixArt-Sigma's
JOINT_PROMPT_TOKENS = 77 + 256  # Stable Diffusion 3's, of CLIP and T5
TIME_IDS = 6  # numbers on size and crop that SDXL is given
VIDEO_MODELS = (UNet3DConditionModel, UNetMotionModel, I2VGenXLUNet, LatteTransformer3DModel)


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
        return self.query_tokens < self.tokens or self.kv_tokens < self.tokens


@dataclass(frozen=True)
class Plan:
    """What a method would do: every self-attention block in the order they run, and the denoiser's FLOPs.

    FLOPs are of one denoiser call with the method on, for a batch of one; a product of n x m and m x k counts
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
        TypeError: `model` has no denoiser that is supported, or `method` is neither a `ToDo` nor a `ToMe`.
        ValueError: the size is not one that VAE and denoiser can make, or a grid is too small for the method.
    """
    denoiser = find_denoiser(model)
    sites = self_attention(denoiser)
    require_blocks(sites, method)
    scale = getattr(model, "vae_scale_factor", vae_scale_factor)
    side = scale * sites[0].patch_size  # of the smallest image
    for name, value in (("height", height), ("width", width)):
        if not is_int(value) or value < side or value % side:
            raise ValueError(f"{name}={value!r} is not allowed; it must be a multiple of {side} pixels.")

    latent = height // scale, width // scale
    blocks = tuple(_plan_block(site, method, site.grid(*latent)) for site in sites)
    before = denoiser_flops(denoiser, *latent)
    after = before - sum(block.flops_before - block.flops_after for block in blocks)
    part = _key_value_flops if isinstance(method, ToDo) else _attention_flops
    removable = sum(part(s.attn, b.tokens, b.tokens) for s, b in zip(sites, blocks, strict=True) if b.patched)
    return Plan(blocks, before, after, before / (before - removable), _notes(method, blocks))


def denoiser_flops(denoiser: torch.nn.Module, height: int, width: int) -> int:
    """FLOPs of one call of a denoiser of this configuration on one latent (one frame of a video), counted on
    the meta device.

    Raises:
        ValueError: a denoiser of this configuration needs inputs that are not known here.
    """
    config = {
        key: value
        for key, value in denoiser.config.items()
        if not key.startswith("_") and key != "quantization_config"
    }
    if config.get("encoder_hid_dim") is None and "encoder_hid_dim_type" in config:
        config["encoder_hid_dim_type"] = None  # where an IP-Adapter has left its mark
    try:
        return _count_flops(type(denoiser), json.dumps(config, sort_keys=True), height, width)
    except Exception as error:  # whatever a model raises that is given too little
        raise ValueError(
            f"The FLOPs of this {type(denoiser).__name__} cannot be counted: it needs inputs that `plan` "
            f"does not know ({error}). It can be patched all the same."
        ) from error


@functools.lru_cache(maxsize=64)
def _count_flops(denoiser_class: type, config_json: str, height: int, width: int) -> int:
    config = json.loads(config_json)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        denoiser_class.from_config(config)(**_inputs(denoiser_class, config, height, width))
    return counter.get_total_flops()


def _inputs(denoiser_class: type, config: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    frames = (1,) if issubclass(denoiser_class, VIDEO_MODELS) else ()
    latent = torch.empty(1, config["in_channels"], *frames, height, width)
    if issubclass(denoiser_class, TRANSFORMERS):
        return _inputs_of_transformer(denoiser_class, config, latent)
    prompt_width = config.get("encoder_hid_dim") or config["cross_attention_dim"]
    inputs: dict[str, Any] = {
        "sample": latent,
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
    if issubclass(denoiser_class, I2VGenXLUNet):
        inputs |= {
            "fps": torch.empty(1),
            "image_latents": latent,
            "image_embeddings": torch.empty(1, prompt_width),
        }
    return inputs


def _inputs_of_transformer(
    transformer_class: type, config: dict[str, Any], latent: torch.Tensor
) -> dict[str, Any]:
    inputs = {"hidden_states": latent, "timestep": torch.empty(1, dtype=torch.int64)}
    if issubclass(transformer_class, DiTTransformer2DModel):
        return inputs | {"class_labels": torch.empty(1, dtype=torch.int64)}
    if issubclass(transformer_class, SD3Transformer2DModel):
        return inputs | {
            "encoder_hidden_states": torch.empty(1, JOINT_PROMPT_TOKENS, config["joint_attention_dim"]),
            "pooled_projections": torch.empty(1, config["pooled_projection_dim"]),
        }
    prompt_tokens = T5_PROMPT_TOKENS[transformer_class]
    inputs["encoder_hidden_states"] = torch.empty(1, prompt_tokens, config["caption_channels"])
    if issubclass(transformer_class, PixArtTransformer2DModel):
        inputs["added_cond_kwargs"] = {"resolution": torch.empty(1, 2), "aspect_ratio": torch.empty(1, 1)}
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
    prompt = _prompt_tokens(attn)
    query_and_output = 2 * (queries + prompt) * attn.inner_dim * (attn.query_dim + attn.out_dim)
    return query_and_output + _key_value_flops(attn, queries, keys + prompt)


def _key_value_flops(attn: Any, queries: int, keys: int) -> int:
    """The key and value projections, and the attention product (q times k, weights times v)."""
    products = 4 * (queries + _prompt_tokens(attn)) * keys * attn.inner_dim
    return 4 * keys * attn.query_dim * attn.inner_kv_dim + products


def _prompt_tokens(attn: Any) -> int:
    """Tokens that joint attention has beside the image's."""
    return 0 if attn.added_kv_proj_dim is None else JOINT_PROMPT_TOKENS


def _notes(method: ToDo | ToMe, blocks: tuple[BlockPlan, ...]) -> tuple[str, ...]:
    if method.asks_for_nothing:
        return ("This setting asks for nothing: the model stays the baseline.",)
    if isinstance(method, ToMe):
        return (
            "tomesd chooses its destinations at random for even batches only; an odd batch (such as one "
            "image without guidance) takes the top-left token of each cell, whatever the seed.",
        )
    if method.until < 1:
        return (f"On for the first {method.until:.0%} of the calls; the totals are of a call with it on.",)
    return ()
