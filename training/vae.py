"""Trains the autoencoder on random parts of the crops.

``python -m training.vae --images 150000`` reads ``crops.npy`` and writes ``vae/`` (resumes from it when it is
there). L1 + MSE + gradient loss and a weak KL term; learning rate with warm-up and cosine.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator, DistributedDataParallelKwargs
from diffusers import AutoencoderKL
from torchmetrics.functional.image import peak_signal_noise_ratio

from training import WORK
from training.crops import HELD_OUT
from training.model import LATENT_CHANNELS, build_vae

KL_WEIGHT = 1e-5


def start_accelerator() -> Accelerator:
    """CUDA or else the CPU, in the processes that `torchrun` started; computes in bfloat16, keeps float32."""
    # Static, as the same last layers of the text encoders never get gradients (`diffusion.Denoiser`).
    options = [DistributedDataParallelKwargs(static_graph=True)]
    cpu = not torch.cuda.is_available()  # or else accelerate ignores the processes of torchrun
    return Accelerator(cpu=cpu, mixed_precision="bf16", kwargs_handlers=options)


def to_pixels(crops: np.ndarray, device: torch.device) -> torch.Tensor:
    """(n, h, w, 3) uint8 → (n, 3, h, w) in [-1, 1]."""
    pixels = torch.tensor(crops, device=device).permute(0, 3, 1, 2).float()
    return (pixels / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def _gradient_loss(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    difference = image - target
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


def train_vae(
    vae: AutoencoderKL,
    crops: np.ndarray,
    images: int,
    batch: int,
    side: int,
    learning_rate: float,
    decoder_only: bool,
    accelerator: Accelerator,
) -> None:
    """Trains in place on ``images`` random windows of ``side`` px. ``decoder_only`` leaves the latents as
    they are, so that a diffusion model trained on them stays valid."""
    rng = np.random.default_rng()
    vae.to(accelerator.device, memory_format=torch.channels_last).train()
    if decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    optimizer = torch.optim.AdamW(
        [p for p in vae.parameters() if p.requires_grad],
        lr=learning_rate,
        betas=(0.9, 0.99),
        weight_decay=1e-3,
    )
    steps = images // batch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1, (s + 1) / 100) * 0.5 * (1 + math.cos(math.pi * min(1, s / steps)))
    )
    start = time.monotonic()
    span = crops.shape[1] - side
    for step in range(steps):
        chosen = rng.integers(0, len(crops), batch)
        tops, lefts = rng.integers(0, span + 1, (2, batch))
        windows = np.stack(
            [crops[i, t : t + side, x : x + side] for i, t, x in zip(chosen, tops, lefts, strict=True)]
        )
        target = to_pixels(windows, accelerator.device)
        with accelerator.autocast():
            posterior = vae.encode(target).latent_dist
            image = vae.decode(posterior.mode() if decoder_only else posterior.sample()).sample
        image = image.float()
        loss = F.l1_loss(image, target) + F.mse_loss(image, target) + _gradient_loss(image, target)
        if not decoder_only:
            loss = loss + KL_WEIGHT * posterior.kl().mean() / LATENT_CHANNELS
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(
                f"vae {step * batch}/{images} images, loss {loss.item():.4f}, "
                f"{(step + 1) * batch / (time.monotonic() - start):.0f} images/s",
                flush=True,
            )
    vae.eval()


@torch.no_grad()
def score_vae(vae: AutoencoderKL, crops: np.ndarray, device: torch.device) -> float:
    """PSNR in dB of the round trip, over whole crops, in float32."""
    target = to_pixels(crops, device)
    image = vae.decode(vae.encode(target).latent_dist.mode()).sample.clamp(-1, 1)
    return peak_signal_noise_ratio(image, target, data_range=2.0).item()


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, crops: np.ndarray, device: torch.device) -> None:
    """Rescales the 1×1 convolutions around the latents so that every channel has mean 0 and deviation 1.

    With that in the weights the pipeline needs no scaling factor and no per-channel statistics.
    """
    latents = vae.encode(to_pixels(crops, device)).latent_dist.mode()
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:LATENT_CHANNELS] /= deviation[:, None, None, None]
    into.bias[:LATENT_CHANNELS] = (into.bias[:LATENT_CHANNELS] - mean) / deviation
    into.bias[LATENT_CHANNELS:] -= 2 * deviation.log()
    out.bias += torch.einsum("oikl,i->o", out.weight, mean)
    out.weight *= deviation[None, :, None, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=150_000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--decoder-only", action="store_true", help="keep the latents, sharpen the pictures")
    parser.add_argument("--data", type=Path, default=WORK / "data")
    parser.add_argument("--out", type=Path, default=WORK / "vae")
    args = parser.parse_args()

    accelerator = start_accelerator()
    device = accelerator.device
    crops = np.load(args.data / "crops.npy", mmap_mode="r")
    held_out = np.asarray(crops[:HELD_OUT])
    vae = AutoencoderKL.from_pretrained(args.out) if args.out.exists() else build_vae()
    options = (args.images, args.batch, args.side, args.learning_rate, args.decoder_only)
    train_vae(vae, crops[HELD_OUT:], *options, accelerator)
    if not args.decoder_only:
        normalise_latents(vae, np.asarray(crops[HELD_OUT : HELD_OUT + 512]), device)
    print(f"vae PSNR on {HELD_OUT} held-out crops: {score_vae(vae, held_out, device):.2f} dB")
    vae.save_pretrained(args.out)


if __name__ == "__main__":
    main()
