"""UNets of published configurations with random weights: the true shapes and work, without a download.

Times and FLOPs do not depend on the weights. Pictures do, and there are none here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from compare.errors import ModelNotLoaded
from compare.models.load import LoadedPipeline, loaded_pipeline
from compare.models.placement import moving_to, placement
from compare.models.source import Source, bundled_folder


@dataclass(frozen=True)
class Architecture:
    """The configuration of a UNet, and the VAE factor: image pixels per latent pixel."""

    name: str
    unet: Mapping[str, Any]
    """What differs from the defaults of `UNet2DConditionModel`, which are those of Stable Diffusion 1."""
    vae_scale_factor: int = 8


PUBLISHED = {
    "sdxl": Architecture(
        "SDXL base 1.0",
        {
            "sample_size": 128,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "block_out_channels": (320, 640, 1280),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),  # diffusers' name for the number of heads
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    ),
    "sd15": Architecture(
        "Stable Diffusion 1.5", {"sample_size": 64, "attention_head_dim": 8, "cross_attention_dim": 768}
    ),
}


def architecture(id: str) -> Architecture:
    """One of `PUBLISHED`, or "mini", which is read from the folder of the bundled model.

    Raises:
        ModelNotLoaded: there is no such architecture, or the bundled model is missing.
    """
    if id == "mini":
        folder = bundled_folder("unet/config.json", "vae/config.json")
        unet = UNet2DConditionModel.load_config(folder / "unet")
        vae = AutoencoderKL.load_config(folder / "vae")
        return Architecture("mini-sdxl", unet, vae_scale_factor=2 ** (len(vae["block_out_channels"]) - 1))
    if id not in PUBLISHED:
        raise ModelNotLoaded(f"Architectures are {', '.join(PUBLISHED)}, mini; {id!r} is not one of them.")
    return PUBLISHED[id]


def empty_unet(shape: Architecture) -> UNet2DConditionModel:
    """The UNet on the meta device: every layer, no memory."""
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(dict(shape.unet)).eval()


def random_pipeline(
    id: str,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    attention: str = "sdpa",
) -> LoadedPipeline:
    """A pipeline of this architecture with random weights; the arguments are those of `load_pipeline`.

    It has a UNet and a scheduler and nothing else: it denoises latents from embeddings. Use it to time and to
    count, never to judge pictures.

    Raises:
        ModelNotLoaded: with a sentence that says what there is.
    """
    shape = architecture(id)
    device, dtype = placement(device, dtype, attention)
    unet = empty_unet(shape).to(dtype)
    with moving_to(device):
        unet.to_empty(device=device)
    _fill(unet)
    pipe = _pipeline(unet)
    pipe.vae_scale_factor = shape.vae_scale_factor
    if attention == "xformers":
        pipe.enable_xformers_memory_efficient_attention()
    return loaded_pipeline(pipe, Source("random weights", f"{shape.name}, random weights"), attention)


@torch.no_grad()
def _fill(unet: torch.nn.Module) -> None:
    """Weights that keep activations near 1: NaN and numbers near 0 may take longer to compute."""
    for module in unet.modules():
        for name, values in module.named_parameters(recurse=False):
            if values.dim() > 1:
                values.normal_(std=values[0].numel() ** -0.5)
            else:
                values.fill_(name == "weight")  # a normalisation's; the other vectors are biases


def _pipeline(unet: UNet2DConditionModel) -> DiffusionPipeline:
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
    )
    parts = {"unet": unet, "scheduler": scheduler, **dict.fromkeys(("vae", "text_encoder", "tokenizer"))}
    if unet.config.addition_embed_type == "text_time":
        return StableDiffusionXLPipeline(
            **parts, text_encoder_2=None, tokenizer_2=None, add_watermarker=False
        )
    return StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
