"""FLOPs of one call of a denoiser as torch counts them: for every model whose inputs are known, slowly."""

from __future__ import annotations

import functools
import json
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

from .blocks import TRANSFORMERS

PROMPT_TOKENS = 77  # what the text encoders of Stable Diffusion give
T5_PROMPT_TOKENS = {PixArtTransformer2DModel: 300, LatteTransformer3DModel: 120}  # 300 is PixArt-Sigma's
JOINT_PROMPT_TOKENS = 77 + 256  # Stable Diffusion 3's, of CLIP and T5
TIME_IDS = 6  # numbers on size and crop that SDXL is given
VIDEO_MODELS = (UNet3DConditionModel, UNetMotionModel, I2VGenXLUNet, LatteTransformer3DModel)


def counted_flops(denoiser: torch.nn.Module, height: int, width: int) -> int:
    """FLOPs of one call of a denoiser of this configuration on one latent (one frame of a video), counted on
    the meta device. It builds the model anew: seconds for a large one.

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
        return _count_flops(denoiser.__class__, json.dumps(config, sort_keys=True), height, width)
    except Exception as error:  # whatever a model raises that is given too little
        raise ValueError(
            f"The FLOPs of this {type(denoiser).__name__} cannot be counted: it needs inputs that `plan` "
            f"does not know ({error}). It can be patched all the same."
        ) from error


@functools.lru_cache(maxsize=64)
def _count_flops(denoiser_class: type[Any], config_json: str, height: int, width: int) -> int:
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
