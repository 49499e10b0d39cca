"""Tiny, random, seeded models with the shapes of the real ones. No network, no files, milliseconds to run.

Image sizes must be multiples of 8 and at least 32; the VAE factor is 8, so 64x64 pixels are 8x8 latents.

| factory          | self-attention, for a latent of h x w                                       |
|------------------|-----------------------------------------------------------------------------|
| `sdxl_unet`      | 2 levels: h/2 (3 blocks of 16 channels), h/4 (4 of 32, the middle included) |
| `sd15_unet`      | 4 levels: h (3 blocks), h/2 (3), h/4 (3), h/8 (1, the middle)               |
| `sdxl_pipeline`  | `sdxl_unet` in a complete `StableDiffusionXLPipeline`                       |
| `sd15_pipeline`  | `sd15_unet` in a complete `StableDiffusionPipeline`                         |
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

TEXT_WIDTH = 8  # of each text encoder; SDXL concatenates two
PROMPT_TOKENS = 16
LATENT_CHANNELS = 4
VAE_SCALE_FACTOR = 8


def sdxl_unet(seed: int = 0, **config: Any) -> UNet2DConditionModel:
    """SDXL in small: no attention on the finest grid, two levels below it. `config` overrides any setting."""
    defaults: dict[str, Any] = {
        "sample_size": 16,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (8, 16, 32),
        "layers_per_block": 1,
        "transformer_layers_per_block": (1, 1, 1),
        "attention_head_dim": (1, 2, 4),  # diffusers' name for the number of heads
        "cross_attention_dim": 2 * TEXT_WIDTH,
        "norm_num_groups": 4,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 6 * 4 + TEXT_WIDTH,
    }
    return _unet(seed, defaults | config)


def sd15_unet(seed: int = 0, **config: Any) -> UNet2DConditionModel:
    """Stable Diffusion 1.5 in small: attention on every grid, the coarsest only in the middle block."""
    defaults: dict[str, Any] = {
        "sample_size": 8,
        "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
        "block_out_channels": (8, 8, 16, 16),
        "layers_per_block": 1,
        "attention_head_dim": 2,
        "cross_attention_dim": TEXT_WIDTH,
        "norm_num_groups": 4,
    }
    return _unet(seed, defaults | config)


# Two levels of the same width: torch compiles their blocks once, and must still tell them apart.
SMALL = {
    "down_block_types": ("CrossAttnDownBlock2D",) * 2,
    "mid_block_type": None,
    "up_block_types": ("UpBlock2D",) * 2,
    "block_out_channels": (8, 8),
}


def small_unet(seed: int = 0) -> UNet2DConditionModel:
    """Two self-attention blocks, for what takes long: compiling."""
    return sd15_unet(seed, **SMALL)


def sdxl_pipeline(seed: int = 0, **unet_config: Any) -> StableDiffusionXLPipeline:
    """A complete SDXL pipeline (Euler, two text encoders, VAE of factor 8) with the weights of `seed`."""
    pipe = StableDiffusionXLPipeline(
        vae=vae(seed),
        text_encoder=text_encoder(CLIPTextModel, seed),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection, seed + 1),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=sdxl_unet(seed, **unet_config),
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
        ),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sd15_pipeline(seed: int = 0, **unet_config: Any) -> StableDiffusionPipeline:
    """A complete Stable Diffusion 1.5 pipeline (DDIM, no safety checker) with the weights of `seed`."""
    pipe = StableDiffusionPipeline(
        vae=vae(seed),
        text_encoder=text_encoder(CLIPTextModel, seed),
        tokenizer=tokenizer(),
        unet=sd15_unet(seed, **unet_config),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", steps_offset=1, clip_sample=False, set_alpha_to_one=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def vae(seed: int = 0) -> AutoencoderKL:
    """A VAE with four levels, so that a latent stands for 8x8 pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(4, 4, 4, 4),
            layers_per_block=1,
            norm_num_groups=2,
            latent_channels=LATENT_CHANNELS,
            sample_size=64,
            force_upcast=False,
        )
    return model.eval()


def tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that spells every word: one token per character, `PROMPT_TOKENS` at most."""
    characters = [chr(code) for code in range(33, 127)]
    vocabulary = [*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(vocabulary)}, merges=[], model_max_length=PROMPT_TOKENS
    )


def unet_inputs(
    unet: UNet2DConditionModel,
    height: int,
    width: int,
    batch: int = 2,
    seed: int = 0,
    timestep: int = 500,
) -> dict[str, Any]:
    """Keyword arguments for one call of `unet` on random latents of `height` x `width` (in latent pixels)."""
    generator = torch.Generator().manual_seed(seed)
    like = next(unet.parameters())
    size = [8.0 * height, 8.0 * width]

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(like)

    inputs: dict[str, Any] = {
        "sample": noise(batch, unet.config.in_channels, height, width),
        "timestep": torch.tensor(timestep, device=like.device),
        "encoder_hidden_states": noise(batch, 5, unet.config.cross_attention_dim),
        "return_dict": False,
    }
    if unet.config.addition_embed_type == "text_time":
        inputs["added_cond_kwargs"] = {
            "text_embeds": noise(batch, TEXT_WIDTH),
            "time_ids": torch.tensor([[*size, 0, 0, *size]] * batch).to(like),
        }
    return inputs


def predict(unet: torch.nn.Module, height: int = 12, width: int = 16, **options: Any) -> torch.Tensor:
    """The output of one call of `unet` on the inputs of `unet_inputs`, without gradients."""
    inputs = unet_inputs(unet, height, width, **options)
    with torch.no_grad():
        return unet(inputs.pop("sample"), **inputs)[0]  # tomesd finds the sample by its position only


def generate(pipe: DiffusionPipeline, steps: int = 4, **options: Any) -> torch.Tensor:
    """The final latents of a run, always from the same noise."""
    small = {"prompt": "a fox", "height": 48, "width": 48, "output_type": "latent"}
    generator = torch.Generator().manual_seed(0)
    return pipe(**small | options, num_inference_steps=steps, generator=generator).images


def _unet(seed: int, config: dict[str, Any]) -> UNet2DConditionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = UNet2DConditionModel(**config)
        # Freshly made attention is nearly uniform, and a wrong key would hardly show: make it choose.
        for name, weight in model.named_parameters():
            if name.endswith(("to_q.weight", "to_k.weight")):
                weight.data.mul_(4)
    return model.eval()


def text_encoder(model_class: type, seed: int = 0, width: int = TEXT_WIDTH) -> Any:
    """A text encoder of two layers for `tokenizer()`, of transformers' CLIP classes."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer()),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=PROMPT_TOKENS,
        bos_token_id=188,
        eos_token_id=189,
        pad_token_id=189,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    return model.eval()
