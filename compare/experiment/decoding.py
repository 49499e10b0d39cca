"""Decoding: large pictures in tiles, and a small preview of where the denoising is heading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, EulerDiscreteScheduler
from PIL import Image
from torch.nn.functional import avg_pool2d

from compare.request import Request

LATENT_SIDE = 48  # a preview is decoded at most this large: a ninth of the work for a latent of 128×128
PREVIEWS = 8  # at most, of one run


@contextmanager
def tiled_if_large(vae: AutoencoderKL, request: Request) -> Iterator[None]:
    """Decode in tiles inside, if the size asks for it; the VAE is left as it was.

    That is also so if a decoding fails or is stopped for which the pipeline had changed its precision.

    The VAE's slicing is not used: it decodes a batch picture by picture, and here a batch is one picture.
    """
    before, dtype = vae.use_tiling, vae.dtype
    if request.is_tiled:
        vae.enable_tiling()
    try:
        yield
    finally:
        vae.use_tiling = before
        if vae.dtype != dtype:
            vae.to(dtype)


def has_preview(step: int, steps: int) -> bool:
    """Whether this step (from 1) has one: evenly spread, none at the last, whose picture follows at once."""
    return step < steps and step % math.ceil(steps / PREVIEWS) == 0


@torch.no_grad()
def preview(
    pipe: DiffusionPipeline, before: torch.Tensor | None, after: torch.Tensor, index: int
) -> Image.Image:
    """A preview of the first picture of a batch.

    Args:
        before, after: latents around a step, (batch, channels, h, w); `before` may be None.
        index: of the step, from 0.
    """
    clean = clean_estimate(pipe.scheduler, before, after, index)[:1]
    return _decode(pipe, avg_pool2d(clean, math.ceil(max(clean.shape[-2:]) / LATENT_SIDE)))


def clean_estimate(
    scheduler: object, before: torch.Tensor | None, after: torch.Tensor, index: int
) -> torch.Tensor:
    after = after.float()
    if isinstance(scheduler, EulerDiscreteScheduler) and before is not None:
        # An Euler step is a straight line in sigma that points at the estimate: follow it to sigma = 0.
        here, there = (float(sigma) for sigma in scheduler.sigmas[index : index + 2])
        return after + (after - before.float()) * there / (here - there)
    return after / after.std().clamp(min=1)  # no estimate at hand: at least not louder than clean latents


def _decode(pipe: DiffusionPipeline, latents: torch.Tensor) -> Image.Image:
    vae, config = pipe.vae, pipe.vae.config
    if config.get("latents_mean") is not None and config.get("latents_std") is not None:
        mean, std = (
            torch.tensor(values, device=latents.device).view(1, -1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        latents = latents * std / config.scaling_factor + mean
    else:
        latents = latents / config.scaling_factor
    half = vae.dtype == torch.float16 and config.get("force_upcast", False)  # overflows in float16
    if half:
        vae.to(torch.float32)
    try:
        image = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
    finally:
        if half:
            vae.to(torch.float16)
    return pipe.image_processor.postprocess(image.float().nan_to_num(), output_type="pil")[0]
