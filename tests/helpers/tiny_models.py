"""Tiny, random, seeded models with the shapes of the real ones. No network, no files, milliseconds to run.

Image sizes must be multiples of 8 and at least 32; the VAE factor is 8, so 64x64 pixels are 8x8 latents.

| factory          | self-attention, for a latent of h x w                                       |
|------------------|-----------------------------------------------------------------------------|
| `sdxl_unet`      | 2 levels: h/2 (3 blocks of 16 channels), h/4 (4 of 32, the middle included) |
| `sd15_unet`      | 4 levels: h (3 blocks), h/2 (3), h/4 (3), h/8 (1, the middle)               |
| `sdxl_pipeline`  | `sdxl_unet` in a complete `StableDiffusionXLPipeline`                       |
| `sd15_pipeline`  | `sd15_unet` in a complete `StableDiffusionPipeline`                         |
| `pixart`, `dit`, `latte` | one level of h/2 (3 blocks)                                         |
| `sd3`            | the same; its first block has two attentions, as in Stable Diffusion 3.5    |
| `pixart_pipeline` | `pixart` in a `PixArtSigmaPipeline` without T5: give it `pixart_prompt()`  |
| `sd3_pipeline`   | `sd3` in a `StableDiffusion3Pipeline` without encoders: `sd3_prompt()`      |
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    DiTTransformer2DModel,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LatteTransformer3DModel,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
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


TRANSFORMER = {
    "sample_size": 16,
    "num_layers": 3,
    "attention_head_dim": 12,  # PixArt-Alpha needs a width of 3n
    "num_attention_heads": 2,
    "in_channels": LATENT_CHANNELS,
    "out_channels": 2 * LATENT_CHANNELS,
    "patch_size": 2,
}
T5 = {
    "caption_channels": TEXT_WIDTH,
    "cross_attention_dim": 24,
    "norm_type": "ada_norm_single",
    "num_embeds_ada_norm": 1000,
    "norm_elementwise_affine": False,
}


def pixart(seed: int = 0, **config: Any) -> PixArtTransformer2DModel:
    """PixArt-Sigma in small; with `sample_size=128` PixArt-Alpha, which is also told the image's size."""
    return _random(PixArtTransformer2DModel, seed, TRANSFORMER | T5 | config)


def dit(seed: int = 0, **config: Any) -> DiTTransformer2DModel:
    """DiT in small: classes instead of prompts, square images only."""
    return _random(DiTTransformer2DModel, seed, TRANSFORMER | {"num_embeds_ada_norm": 10} | config)


def latte(seed: int = 0, **config: Any) -> LatteTransformer3DModel:
    """Latte in small: its blocks over time stand beside those over the image."""
    return _random(LatteTransformer3DModel, seed, TRANSFORMER | T5 | {"video_length": FRAMES} | config)


FRAMES = 2


def sd3(seed: int = 0, **config: Any) -> SD3Transformer2DModel:
    """Stable Diffusion 3.5 in small; with `dual_attention_layers=()` and `qk_norm=None` it is 3.0."""
    defaults: dict[str, Any] = {
        "out_channels": LATENT_CHANNELS,
        "joint_attention_dim": TEXT_WIDTH,
        "caption_projection_dim": 24,
        "pooled_projection_dim": TEXT_WIDTH,
        "pos_embed_max_size": 16,
        "dual_attention_layers": (0,),
        "qk_norm": "rms_norm",
    }
    return _random(SD3Transformer2DModel, seed, TRANSFORMER | defaults | config)


def sd3_pipeline(seed: int = 0, **config: Any) -> StableDiffusion3Pipeline:
    """A Stable Diffusion 3 pipeline (flow matching, VAE of factor 8, no text encoders)."""
    encoders = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
    pipe = StableDiffusion3Pipeline(
        **dict.fromkeys(encoders),
        vae=vae(seed),
        transformer=sd3(seed, **config),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sd3_prompt(seed: int = 0) -> dict[str, Any]:
    """What a Stable Diffusion 3 pipeline takes in place of a prompt, for `generate`."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "prompt": None,
        "prompt_embeds": torch.randn(1, 5, TEXT_WIDTH, generator=generator),
        "negative_prompt_embeds": torch.randn(1, 5, TEXT_WIDTH, generator=generator),
        "pooled_prompt_embeds": torch.randn(1, TEXT_WIDTH, generator=generator),
        "negative_pooled_prompt_embeds": torch.randn(1, TEXT_WIDTH, generator=generator),
    }


def pixart_pipeline(seed: int = 0, **config: Any) -> PixArtSigmaPipeline | PixArtAlphaPipeline:
    """A PixArt pipeline (DPM++ 2M, VAE of factor 8, no T5) with the weights of `seed`."""
    transformer = pixart(seed, **config)
    kind = PixArtAlphaPipeline if transformer.use_additional_conditions else PixArtSigmaPipeline
    scheduler = DPMSolverMultistepScheduler()
    pipe = kind(
        tokenizer=None, text_encoder=None, vae=vae(seed), transformer=transformer, scheduler=scheduler
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pixart_prompt(seed: int = 0) -> dict[str, Any]:
    """What a PixArt pipeline takes in place of a prompt, for `generate`."""
    generator = torch.Generator().manual_seed(seed)
    prompt, negative = (torch.randn(1, 5, TEXT_WIDTH, generator=generator) for _ in range(2))
    mask = torch.ones(1, 5)
    return {
        "prompt": None,
        "negative_prompt": None,
        "prompt_embeds": prompt,
        "prompt_attention_mask": mask,
        "negative_prompt_embeds": negative,
        "negative_prompt_attention_mask": mask,
        "use_resolution_binning": False,
    }


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


def transformer_inputs(
    transformer: torch.nn.Module,
    height: int,
    width: int,
    batch: int = 2,
    seed: int = 0,
) -> dict[str, Any]:
    """Keyword arguments for one call of `pixart`, `dit`, `latte` or `sd3` on random latents."""
    generator = torch.Generator().manual_seed(seed)
    frames = (FRAMES,) if "video_length" in transformer.config else ()
    inputs: dict[str, Any] = {
        "hidden_states": torch.randn(batch, LATENT_CHANNELS, *frames, height, width, generator=generator),
        "timestep": torch.full((batch,), 500),
        "return_dict": False,
    }
    if isinstance(transformer, DiTTransformer2DModel):
        return inputs | {"class_labels": torch.arange(batch)}
    inputs["encoder_hidden_states"] = torch.randn(batch, 5, TEXT_WIDTH, generator=generator)
    if "pooled_projection_dim" in transformer.config:
        inputs["pooled_projections"] = torch.randn(batch, TEXT_WIDTH, generator=generator)
    if "use_additional_conditions" in transformer.config:
        size = torch.tensor([[8.0 * height, 8.0 * width]] * batch)
        inputs["added_cond_kwargs"] = {"resolution": size, "aspect_ratio": size[:, :1] / size[:, 1:]}
    return inputs


def predict(denoiser: torch.nn.Module, height: int = 12, width: int = 16, **options: Any) -> torch.Tensor:
    """The output of one call on the inputs of `unet_inputs` or `transformer_inputs`, without gradients."""
    make = unet_inputs if hasattr(denoiser, "down_blocks") else transformer_inputs
    inputs = make(denoiser, height, width, **options)
    latent = inputs.pop("sample" if make is unet_inputs else "hidden_states")
    with torch.no_grad():
        return denoiser(latent, **inputs)[0]  # tomesd finds the sample by its position only


def generate(pipe: DiffusionPipeline, steps: int = 4, **options: Any) -> torch.Tensor:
    """The final latents of a run, always from the same noise."""
    small = {"prompt": "a fox", "height": 48, "width": 48, "output_type": "latent"}
    generator = torch.Generator().manual_seed(0)
    return pipe(**small | options, num_inference_steps=steps, generator=generator).images


def _unet(seed: int, config: dict[str, Any]) -> UNet2DConditionModel:
    return _random(UNet2DConditionModel, seed, config)


def _random(model_class: type, seed: int, config: dict[str, Any]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(**config)
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
