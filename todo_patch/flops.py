"""FLOPs of one call of a denoiser: a formula that follows one latent through the model's layers.

A layer of w weights that puts out n tokens (or pixels) takes 2wn FLOPs. Attention of n queries over m keys,
all of width d, takes 4nmd for its two products. Nothing else counts: the sum is that of `FlopCounterMode`.
Shapes are read from the model, weights are not. What LoRA or IP-Adapter have added is left out.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import (
    DiTTransformer2DModel,
    LatteTransformer3DModel,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from diffusers.models.attention import BasicTransformerBlock, JointTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_blocks import (
    CrossAttnDownBlock2D,
    CrossAttnUpBlock2D,
    DownBlock2D,
    UNetMidBlock2D,
    UNetMidBlock2DCrossAttn,
    UpBlock2D,
)
from diffusers.models.upsampling import Upsample2D

from .counting import JOINT_PROMPT_TOKENS, PROMPT_TOKENS, T5_PROMPT_TOKENS, counted_flops

UNET_BLOCKS = (
    DownBlock2D,
    CrossAttnDownBlock2D,
    UNetMidBlock2D,
    UNetMidBlock2DCrossAttn,
    UpBlock2D,
    CrossAttnUpBlock2D,
)


class NoFormula(Exception):
    """The model, or a part of it, is of a kind that the formula does not know."""


def denoiser_flops(denoiser: torch.nn.Module, height: int, width: int) -> int:
    """FLOPs of one call of a denoiser of this configuration on one latent (one frame of a video): by formula,
    or counted, which takes seconds, if there is no formula for the model.

    Raises:
        ValueError: a denoiser of this configuration needs inputs that are not known.
    """
    try:
        return formula_flops(denoiser, height, width)
    except NoFormula:
        return counted_flops(denoiser, height, width)


def formula_flops(denoiser: torch.nn.Module, height: int, width: int) -> int:
    """The same for models that there is a formula for.

    Raises:
        NoFormula: for the others.
    """
    # Exactly these classes: with them, the configuration says what is built and in which order it runs.
    if type(denoiser) is UNet2DConditionModel:
        return _unet(denoiser, height, width)
    if type(denoiser) is SD3Transformer2DModel:
        return _sd3(denoiser, height, width)
    if type(denoiser) in (PixArtTransformer2DModel, DiTTransformer2DModel, LatteTransformer3DModel):
        return _transformer(denoiser, height, width)
    raise NoFormula(f"There is no formula for a {type(denoiser).__name__}.")


def attention_flops(attn: Attention, queries: int, keys: int) -> int:
    """FLOPs of one attention layer. In joint attention the prompt has queries and keys beside these."""
    prompt = _joint_tokens(attn)
    returned = queries if attn.context_pre_only else queries + prompt  # the last block drops the prompt
    projections = 2 * attn.inner_dim * ((queries + prompt) * attn.query_dim + returned * attn.out_dim)
    return projections + key_value_flops(attn, queries, keys + prompt)


def key_value_flops(attn: Attention, queries: int, keys: int) -> int:
    """Of these: the key and value projections, and the products (q times k, weights times v)."""
    products = 4 * (queries + _joint_tokens(attn)) * keys * attn.inner_dim
    return 4 * keys * attn.cross_attention_dim * attn.inner_kv_dim + products


def _joint_tokens(attn: Attention) -> int:
    return 0 if attn.added_kv_proj_dim is None else JOINT_PROMPT_TOKENS


def _unet(unet: UNet2DConditionModel, height: int, width: int) -> int:
    config = unet.config
    _require(config.class_embed_type is None, "a class embedding")
    _require(not config.class_embeddings_concat, "a class embedding beside that of the time")
    _require(config.addition_embed_type in (None, "text_time"), "an added embedding")
    _require(isinstance(config.cross_attention_dim, int), "prompts of several widths")
    _require(config.conv_in_kernel % 2 == config.conv_out_kernel % 2 == 1, "kernels of even size")

    flops = _layers(1, unet.time_embedding.linear_1, unet.time_embedding.linear_2)
    if config.addition_embed_type is not None:
        flops += _layers(1, unet.add_embedding)
    if config.encoder_hid_dim is not None:
        _require(config.encoder_hid_dim_type == "text_proj", "an image as prompt")
        flops += _layers(PROMPT_TOKENS, unet.encoder_hid_proj)

    grids = [(height, width)]  # an upsampler goes back to the grid before its downsampler, odd or even
    flops += _layers(math.prod(grids[-1]), unet.conv_in)
    for block in unet.down_blocks:
        flops += _unet_block(block, math.prod(grids[-1]))
        for sampler in block.downsamplers or ():
            _require_kind(sampler, Downsample2D)
            _require(sampler.use_conv and sampler.padding == 1, "a downsampler that rounds down")
            grids.append(((grids[-1][0] + 1) // 2, (grids[-1][1] + 1) // 2))
            flops += _layers(math.prod(grids[-1]), sampler.conv)
    if unet.mid_block is not None:
        flops += _unet_block(unet.mid_block, math.prod(grids[-1]))
    for block in unet.up_blocks:
        flops += _unet_block(block, math.prod(grids[-1]))
        for sampler in block.upsamplers or ():
            _require_kind(sampler, Upsample2D)
            grids.pop()
            flops += _layers(math.prod(grids[-1]), sampler)
    return flops + _layers(height * width, unet.conv_out)


def _unet_block(block: torch.nn.Module, pixels: int) -> int:
    _require_kind(block, *UNET_BLOCKS)
    flops = 0
    for resnet in block.resnets:
        _require_kind(resnet, ResnetBlock2D)
        flops += _layers(pixels, resnet.conv1, resnet.conv2, resnet.conv_shortcut)
        flops += _layers(1, resnet.time_emb_proj)
    for transformer in getattr(block, "attentions", ()):
        _require_kind(transformer, Transformer2DModel)
        flops += _layers(pixels, transformer.proj_in, transformer.proj_out)
        flops += sum(_block(inner, pixels, PROMPT_TOKENS) for inner in transformer.transformer_blocks)
    return flops


def _block(block: torch.nn.Module, tokens: int, prompt: int) -> int:
    _require_kind(block, BasicTransformerBlock)
    _require(block.norm_type in ("layer_norm", "ada_norm_zero", "ada_norm_single"), block.norm_type)
    flops = _layers(1, block.norm1) + _layers(tokens, block.ff)
    flops += _attention(block.attn1, tokens, prompt if block.only_cross_attention else tokens)
    if block.attn2 is not None:
        flops += _attention(block.attn2, tokens, prompt)
    return flops


def _attention(attn: torch.nn.Module, queries: int, keys: int) -> int:
    _require_kind(attn, Attention)
    return attention_flops(attn, queries, keys)


def _transformer(transformer: Any, height: int, width: int) -> int:
    """PixArt, DiT and Latte."""
    tokens = _patches(transformer, height, width)
    prompt = T5_PROMPT_TOKENS.get(type(transformer), 0)
    flops = _layers(tokens, transformer.pos_embed.proj)
    flops += sum(_block(block, tokens, prompt) for block in transformer.transformer_blocks)
    if type(transformer) is DiTTransformer2DModel:
        _require(math.isqrt(tokens) ** 2 == tokens, "a picture that is no square")
        flops += _layers(1, transformer.transformer_blocks[0].norm1.emb, transformer.proj_out_1)
        return flops + _layers(tokens, transformer.proj_out_2)
    if type(transformer) is LatteTransformer3DModel:  # over time, where each token is alone in one frame
        flops += tokens * sum(_block(block, 1, prompt) for block in transformer.temporal_transformer_blocks)
    embedding = transformer.adaln_single.emb
    if embedding.use_additional_conditions:
        flops += _layers(1, embedding.resolution_embedder)  # once more: it sees height and width
    flops += _layers(1, transformer.adaln_single) + _layers(prompt, transformer.caption_projection)
    return flops + _layers(tokens, transformer.proj_out)


def _sd3(transformer: SD3Transformer2DModel, height: int, width: int) -> int:
    tokens, prompt = _patches(transformer, height, width), JOINT_PROMPT_TOKENS
    flops = _layers(1, transformer.time_text_embed, transformer.norm_out)
    flops += _layers(prompt, transformer.context_embedder)
    flops += _layers(tokens, transformer.pos_embed.proj, transformer.proj_out)
    for block in transformer.transformer_blocks:
        _require_kind(block, JointTransformerBlock)
        flops += _layers(1, block.norm1, block.norm1_context)
        flops += _attention(block.attn, tokens, tokens)
        if block.attn2 is not None:
            flops += _attention(block.attn2, tokens, tokens)
        flops += _layers(tokens, block.ff) + _layers(prompt, block.ff_context)
    return flops


def _patches(transformer: Any, height: int, width: int) -> int:
    size = transformer.config.patch_size
    rows, columns = height // size, width // size
    largest = transformer.pos_embed.pos_embed_max_size
    _require(largest is None or max(rows, columns) <= largest, "a picture larger than its positions")
    return rows * columns


def _layers(tokens: int, *modules: torch.nn.Module | None) -> int:
    """FLOPs of the linear layers and convolutions in these modules, if each puts out `tokens` tokens."""
    return 2 * tokens * sum(_weights(module) for module in modules if module is not None)


def _weights(module: torch.nn.Module) -> int:
    if isinstance(module, torch.nn.Linear):
        return module.in_features * module.out_features
    if isinstance(module, torch.nn.Conv2d):
        return module.in_channels * module.out_channels * math.prod(module.kernel_size) // module.groups
    if hasattr(module, "base_layer"):  # under LoRA
        return _weights(module.base_layer)
    own_tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if own_tensors:
        _require_kind(module, torch.nn.Embedding, torch.nn.LayerNorm)  # no products
    return sum(_weights(child) for child in module.children())


def _require(known: bool, part: str) -> None:
    if not known:
        raise NoFormula(f"There is no formula for {part}.")


def _require_kind(module: torch.nn.Module, *kinds: type) -> None:
    _require(isinstance(module, kinds), f"a {type(module).__name__} here")
