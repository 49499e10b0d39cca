"""Trains the UNet and both text encoders on the latents of the crops.

``python -m training.diffusion --crops 150000`` continues from ``checkpoint.pt`` if there is one, and stops
after 150,000 crops in all; with ``--cooldown 0.2`` the learning rate falls to zero over the last fifth of
them. Stopping it loses what came after the last checkpoint.

``torchrun --nproc-per-node 2 -m training.diffusion …`` divides the work between two processes, on CPU cores
(``OMP_NUM_THREADS=1``) or on GPUs: ``--batch`` is then the batch of each.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import hashlib
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training import WORK
from training.crops import HELD_OUT
from training.model import (
    TRAIN_TIMESTEPS,
    build_scheduler,
    build_text_encoders,
    build_tokenizer,
    build_unet,
)
from training.vae import start_accelerator, to_pixels

CAPTION_DROPOUT = 0.1  # for classifier-free guidance
SNR_CAP = 5.0
WARM_UP = 8000  # crops
CONDITION_SIDES = torch.arange(128, 2049, 64)  # px; a sheet looks the same at every size
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h


class Denoiser(nn.Module):
    """UNet and text encoders as one module: tokens in, predicted velocity out."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.unet = build_unet()
        self.text_encoder, self.text_encoder_2 = build_text_encoders(
            len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id
        )

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor, time_ids: Tensor) -> Tensor:
        """latents (n, 4, h, w), timesteps (n,), tokens (n, 77), time_ids (n, 6) → velocity like latents.

        The text features are SDXL's: the last but one layer of both encoders, and the projection of one.
        """
        first = self.text_encoder(tokens, output_hidden_states=True)
        second = self.text_encoder_2(tokens, output_hidden_states=True)
        text = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        return self.unet(
            latents,
            timesteps,
            encoder_hidden_states=text,
            added_cond_kwargs={"text_embeds": second.text_embeds, "time_ids": time_ids},
        ).sample


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """(n, 77) token ids, padded as the pipeline pads them."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


def velocity_loss(
    denoiser: nn.Module, alphas: Tensor, latents: Tensor, tokens: Tensor, time_ids: Tensor
) -> Tensor:
    """Squared error of the velocity (arXiv 2202.00512, appendix D), with the weight min(SNR, cap) + 1 over
    SNR + 1 (arXiv 2303.09556). ``alphas`` is alpha_bar for each timestep."""
    device = latents.device
    # Stratified: one timestep from each of n equal parts of the range.
    n = len(latents)
    t = ((torch.arange(n, device=device) + torch.rand(n, device=device)) / n * TRAIN_TIMESTEPS).long()
    alpha = alphas[t].view(-1, 1, 1, 1)
    signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
    noise = torch.randn_like(latents)
    velocity = signal * noise - sigma * latents
    predicted = denoiser(signal * latents + sigma * noise, t, tokens, time_ids)
    snr = (signal / sigma).square().flatten()
    weight = (snr.clamp(max=SNR_CAP) + 1) / (snr + 1)
    error = F.mse_loss(predicted, velocity, reduction="none").mean((1, 2, 3))
    return (weight * error).mean()


def learning_rate(peak: float, seen: int, crops: int, cooldown: float) -> float:
    """Warm-up, ``peak``, and a linear fall to zero over the last ``cooldown`` of the run."""
    left = (crops - seen) / max(1.0, cooldown * crops)
    return peak * max(0.0, min(1.0, seen / WARM_UP, left if cooldown else 1.0))


def _time_ids(n: int, device: torch.device) -> Tensor:
    """(n, 6) SDXL size conditioning (arXiv 2307.01952, section 2.2): original size, crop, target size."""
    sides = CONDITION_SIDES[torch.randint(len(CONDITION_SIDES), (n, 2))]
    return torch.cat([sides, torch.zeros_like(sides), sides], dim=1).to(device, torch.float32)


@torch.no_grad()
def _latents(data: Path, vae: Path, accelerator: Accelerator) -> Tensor:
    """(n, 4, h/4, w/4) float16 latents of all crops but those held out, kept on disk under a name of the
    autoencoder's weights."""
    weights = (vae / "diffusion_pytorch_model.safetensors").read_bytes()
    cache = data / f"latents-{hashlib.sha256(weights).hexdigest()[:8]}.pt"
    with accelerator.main_process_first():
        if not cache.exists():
            crops = np.load(data / "crops.npy", mmap_mode="r")[HELD_OUT:]
            model = AutoencoderKL.from_pretrained(vae, torch_dtype=torch.float32)
            model.to(accelerator.device, memory_format=torch.channels_last)
            parts = []
            for start in range(0, len(crops), 64):
                pixels = to_pixels(np.asarray(crops[start : start + 64]), accelerator.device)
                with accelerator.autocast():
                    parts.append(model.encode(pixels).latent_dist.mode().half().cpu())
            torch.save(torch.cat(parts), cache)
    return torch.load(cache, mmap=True)


def _tune_for_crops(device: torch.device) -> None:
    """Settings of this process for training on crops, which on a CPU takes much longer without them."""
    if device.type != "cpu":
        return
    # On grids as small as those of a crop, the fused attention's backward pass costs more than plain matrix
    # products do. For whole pictures it is the other way round.
    torch.backends.cuda.enable_flash_sdp(False)  # for the CPU too, despite its name
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    if platform.libc_ver()[0] == "glibc":
        # Keep freed memory: each step would give it back and have the kernel clear it again.
        libc = ctypes.CDLL(ctypes.util.find_library("c"))
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=int, required=True, help="stop after this many in all")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=9e-4)
    parser.add_argument("--cooldown", type=float, default=0.0, help="share of the run, at its end")
    parser.add_argument("--minutes-between-checkpoints", type=float, default=3.0)
    parser.add_argument("--data", type=Path, default=WORK / "data")
    parser.add_argument(
        "--start", type=Path, help="pipeline folder to begin with while there is no checkpoint"
    )
    parser.add_argument("--vae", type=Path, default=WORK / "vae")
    parser.add_argument("--checkpoint", type=Path, default=WORK / "checkpoint.pt")
    args = parser.parse_args()

    accelerator = start_accelerator()
    device, processes = accelerator.device, accelerator.num_processes
    _tune_for_crops(device)
    tokenizer = build_tokenizer()
    captions = json.loads((args.data / "captions.json").read_text())[HELD_OUT:]
    tokens = tokenize(tokenizer, captions)
    no_caption = tokenize(tokenizer, [""])[0]
    latents = _latents(args.data, args.vae, accelerator)

    denoiser = Denoiser(tokenizer).to(device, memory_format=torch.channels_last)
    if args.start and not args.checkpoint.exists():
        pipe = StableDiffusionXLPipeline.from_pretrained(args.start, dtype=torch.float32)
        for name, part in denoiser.named_children():
            part.load_state_dict(getattr(pipe, name).state_dict())
    optimizer = torch.optim.AdamW(denoiser.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    ema = EMAModel(denoiser.parameters(), decay=0.9993, use_ema_warmup=True, power=0.75)
    seen = 0
    if args.checkpoint.exists():
        state = torch.load(args.checkpoint, map_location="cpu")
        denoiser.load_state_dict(state["denoiser"])
        optimizer.load_state_dict(state["optimizer"])
        ema.load_state_dict(state["ema"])
        seen = state["seen"]
    ema.to(device)

    torch.manual_seed(seen * processes + accelerator.process_index)  # each process sees other crops
    learner = accelerator.prepare_model(denoiser)
    alphas = build_scheduler().alphas_cumprod.to(device)
    alphas[-1] = 0.0  # Euler's scheduler keeps 2^-24 there, to divide by it
    started, saved, first, losses = time.monotonic(), time.monotonic(), seen, []
    while seen < args.crops:
        chosen = torch.randint(len(latents), (args.batch,))
        words = torch.where(torch.rand(args.batch, 1) < CAPTION_DROPOUT, no_caption, tokens[chosen])
        rate = learning_rate(args.learning_rate, seen, args.crops, args.cooldown)
        for group in optimizer.param_groups:
            group["lr"] = rate
        clean, time_ids = latents[chosen].to(device).float(), _time_ids(args.batch, device)
        loss = velocity_loss(learner, alphas, clean, words.to(device), time_ids)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        ema.step(denoiser.parameters())
        seen += args.batch * processes
        if not accelerator.is_main_process:
            continue
        losses.append(loss.detach())
        if len(losses) == 100:
            speed = (seen - first) / (time.monotonic() - started)
            print(
                f"{time.strftime('%H:%M:%S')} crops {seen}, loss {torch.stack(losses).mean().item():.4f}, "
                f"learning rate {rate:.1e}, {speed:.1f} crops/s",
                flush=True,
            )
            losses.clear()
        if seen >= args.crops or time.monotonic() - saved > 60 * args.minutes_between_checkpoints:
            state = {
                "denoiser": denoiser.state_dict(),
                "optimizer": optimizer.state_dict(),
                "ema": ema.state_dict(),
                "seen": seen,
            }
            unfinished = args.checkpoint.with_suffix(".part")
            torch.save(state, unfinished)
            os.replace(unfinished, args.checkpoint)
            saved = time.monotonic()
    accelerator.end_training()


if __name__ == "__main__":
    main()
