"""Trains the UNet and both text encoders on the latents of crops.

``python -m training.diffusion --minutes 60 --sides 128 256`` trains for an hour; with ``--cooldown 0.2`` the
learning rate falls to zero over the last fifth of it. Stopped, it goes on from the last checkpoint. Another
``--part`` goes on from the checkpoint too, with a time of its own. It says what it begins with.

``torchrun --nproc-per-node 2 -m training.diffusion …`` divides the work between two processes, on CPU cores
(``OMP_NUM_THREADS=1``) or on GPUs: ``--batch`` is then the batch of each.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import math
import os
import platform
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training import WORK
from training.crops import Crops, tokenize
from training.model import (
    TRAIN_TIMESTEPS,
    build_scheduler,
    build_text_encoders,
    build_tokenizer,
    build_unet,
)
from training.schedule import Clock
from training.vae import start_accelerator

CAPTION_DROPOUT = 0.1  # for classifier-free guidance
SNR_CAP = 5.0
CONDITION_SIDES = torch.arange(128, 2049, 64)  # px; a sheet looks the same at every size
AREA = 128 * 128  # px, of a crop as `--batch` counts them
FUSED_FROM = 256  # px
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


def velocity_loss(
    denoiser: nn.Module, alphas: Tensor, latents: Tensor, tokens: Tensor, time_ids: Tensor
) -> Tensor:
    """Squared error of the velocity (arXiv 2202.00512, appendix D), with the weight min(SNR, cap) + 1 over
    SNR + 1 (arXiv 2303.09556). ``alphas`` is alpha_bar for each timestep."""
    device = latents.device
    # Stratified: one timestep from each of n equal parts of the range.
    n = len(latents)
    t = ((torch.arange(n, device=device) + torch.rand(n, device=device)) / n * TRAIN_TIMESTEPS).long()
    t = t.clamp(max=TRAIN_TIMESTEPS - 1)  # n - 1 + 0.99999994 is n in float32
    t = t[torch.randperm(n, device=device)]  # for crops come in an order: large stickers are the last
    alpha = alphas[t].view(-1, 1, 1, 1)
    signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
    noise = torch.randn_like(latents)
    velocity = signal * noise - sigma * latents
    predicted = denoiser(signal * latents + sigma * noise, t, tokens, time_ids)
    snr = (signal / sigma).square().flatten()
    weight = (snr.clamp(max=SNR_CAP) + 1) / (snr + 1)
    error = F.mse_loss(predicted, velocity, reduction="none").mean((1, 2, 3))
    return (weight * error).mean()


def _choose_attention(device: torch.device, side: int) -> None:
    """The faster kernel for crops of ``side`` px. On a CPU, and on the grids of small crops, the fused one's
    backward pass costs more than plain matrix products do."""
    if device.type == "cpu":
        # For the CPU too, despite their names.
        torch.backends.cuda.enable_flash_sdp(side >= FUSED_FROM)
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)


def _time_ids(n: int, side: int, device: torch.device) -> Tensor:
    """(n, 6) SDXL size conditioning (arXiv 2307.01952, section 2.2): original size, crop, target size.

    Half of the crops say their own size, as the pipeline does; the others any, so that none is unheard of.
    """
    sides = CONDITION_SIDES[torch.randint(len(CONDITION_SIDES), (n, 2))]
    sides[torch.rand(n) < 0.5] = side
    return torch.cat([sides, torch.zeros_like(sides), sides], dim=1).to(device, torch.float32)


def _keep_freed_memory(device: torch.device) -> None:
    """On a CPU, where steps take much longer without it."""
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        # Each step would give it back and have the kernel clear it again.
        libc = ctypes.CDLL(ctypes.util.find_library("c"))
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--part", default="1", help="a name; its time begins when it is first used")
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[128], help="px; each step is on one of them at random"
    )
    parser.add_argument("--batch", type=int, default=16, help="crops of 128 px, or the same area of others")
    parser.add_argument("--learning-rate", type=float, default=8e-4)
    parser.add_argument("--cooldown", type=float, default=0.0, help="share of the time, at its end")
    parser.add_argument("--minutes-between-checkpoints", type=float, default=3.0)
    parser.add_argument("--things", type=int, default=60, help="kinds of sticker: the first of artwork.py")
    parser.add_argument("--captions", type=int, default=64_000, help="how many different ones")
    parser.add_argument(
        "--start", type=Path, help="pipeline folder to begin with while there is no checkpoint"
    )
    parser.add_argument("--vae", type=Path, default=WORK / "vae")
    parser.add_argument("--checkpoint", type=Path, default=WORK / "checkpoint.pt")
    args = parser.parse_args()

    accelerator = start_accelerator()
    device, processes = accelerator.device, accelerator.num_processes
    _keep_freed_memory(device)
    tokenizer = build_tokenizer()
    no_caption = tokenize(tokenizer, [""])[0].to(device)
    crops = Crops(args.things, tokenizer, device, args.captions)
    vae = AutoencoderKL.from_pretrained(args.vae, torch_dtype=torch.float32)
    vae.to(device, memory_format=torch.channels_last)

    denoiser = Denoiser(tokenizer).to(device, memory_format=torch.channels_last)
    if args.start and not args.checkpoint.exists():
        pipe = StableDiffusionXLPipeline.from_pretrained(args.start, dtype=torch.float32)
        for name, part in denoiser.named_children():
            part.load_state_dict(getattr(pipe, name).state_dict())
    optimizer = torch.optim.AdamW(denoiser.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    ema = EMAModel(denoiser.parameters(), decay=0.9993, use_ema_warmup=True, power=0.75, foreach=True)
    seen, used = 0, 0.0
    if args.checkpoint.exists():
        state = torch.load(args.checkpoint, map_location="cpu")
        denoiser.load_state_dict(state["denoiser"])
        optimizer.load_state_dict(state["optimizer"])
        ema.load_state_dict(state["ema"])
        seen = state["seen"]
        used = state["used"] if state["part"] == args.part else 0.0
    ema.to(device)
    if accelerator.is_main_process:
        args.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        begins = args.checkpoint if args.checkpoint.exists() else args.start or "nothing"
        precision = "bfloat16" if accelerator.mixed_precision == "bf16" else "float32"
        print(f"Begins with {begins}, in {precision}", flush=True)

    torch.manual_seed(seen * processes + accelerator.process_index)  # each process sees other crops
    learner = accelerator.prepare_model(denoiser)
    alphas = build_scheduler().alphas_cumprod.to(device)
    alphas[-1] = 0.0  # Euler's scheduler keeps 2^-24 there, to divide by it
    clock = Clock(args.minutes, used)
    saved, losses = time.monotonic(), []
    over = False
    while not over:
        side = random.Random(seen).choice(args.sides)  # the same in all processes: none waits for another
        batch = max(args.batch * AREA // side**2, 1)
        _choose_attention(device, side)
        pixels, words = crops.draw(batch, side)
        words = torch.where(torch.rand(batch, 1, device=device) < CAPTION_DROPOUT, no_caption, words)
        rate = clock.rate(args.learning_rate, args.cooldown)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.no_grad(), accelerator.autocast():
            clean = vae.encode(pixels).latent_dist.mode().float()
        loss = velocity_loss(learner, alphas, clean, words, _time_ids(batch, side, device))
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        ema.step(denoiser.parameters())
        clock.step()
        over = clock.over
        seen += batch * side**2 // AREA * processes
        if not accelerator.is_main_process:
            continue
        losses.append(loss.detach())
        saving = over or time.monotonic() - saved > 60 * args.minutes_between_checkpoints
        if saving or clock.steps % 100 == 0 or clock.steps == 10:  # once soon, to see that it goes well
            mean = torch.stack(losses).mean().item()
            if not math.isfinite(mean):
                raise RuntimeError(
                    f"The loss is {mean} after {clock.steps} steps, so it is not saved. Try a smaller "
                    "--learning-rate; the same command goes on from the last checkpoint."
                )
            print(
                f"{time.strftime('%H:%M:%S')} area of {seen} crops, loss {mean:.4f}, "
                f"learning rate {rate:.1e}, {clock.steps / (clock.seconds - used):.2f} steps/s",
                flush=True,
            )
            losses.clear()
        if saving:
            state = {
                "denoiser": denoiser.state_dict(),
                "optimizer": optimizer.state_dict(),
                "ema": ema.state_dict(),
                "seen": seen,
                "part": args.part,
                "used": clock.seconds,
            }
            unfinished = args.checkpoint.with_suffix(".part")
            torch.save(state, unfinished)
            os.replace(unfinished, args.checkpoint)
            saved = time.monotonic()
    accelerator.end_training()


if __name__ == "__main__":
    main()
