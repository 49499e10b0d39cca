"""Trains the autoencoder on small crops.

``python -m training.vae --minutes 20`` writes ``vae/``, and goes on from it when it is there. L1 + MSE +
gradient loss and a weak KL term; the learning rate falls from its warm-up to the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator, DistributedDataParallelKwargs
from diffusers import AutoencoderKL
from torchmetrics.functional.image import peak_signal_noise_ratio

from training import WORK
from training.crops import Crops
from training.model import LATENT_CHANNELS, build_tokenizer, build_vae
from training.schedule import Clock

KL_WEIGHT = 1e-5


def start_accelerator() -> Accelerator:
    """CUDA or else the CPU, in the processes that `torchrun` started. Keeps float32, and computes in bfloat16
    where the device has it."""
    # Static, as the same last layers of the text encoders never get gradients (`diffusion.Denoiser`).
    options = [DistributedDataParallelKwargs(static_graph=True)]
    cpu = not torch.cuda.is_available()  # or else accelerate ignores the processes of torchrun
    precision = "bf16" if not cpu or _cpu_has_bfloat16() else "no"
    return Accelerator(cpu=cpu, mixed_precision=precision, kwargs_handlers=options)


def _cpu_has_bfloat16() -> bool:
    """Whether there are instructions for it. Without them a step takes eight times as long as in float32."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def _gradient_loss(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    difference = image - target
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


def train_vae(
    vae: AutoencoderKL,
    crops: Crops,
    minutes: float,
    batch: int,
    side: int,
    learning_rate: float,
    decoder_only: bool,
    accelerator: Accelerator,
) -> None:
    """Trains in place on crops of ``side`` px. ``decoder_only`` leaves the latents as they are, so that a
    diffusion model trained on them stays valid."""
    vae.to(accelerator.device, memory_format=torch.channels_last).train()
    if decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    optimizer = torch.optim.AdamW(
        [p for p in vae.parameters() if p.requires_grad], betas=(0.9, 0.99), weight_decay=1e-3, fused=True
    )
    clock = Clock(minutes)
    while not clock.over:
        rate = clock.rate(learning_rate, cooldown=1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        target = crops.draw(batch, side)[0]
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
        clock.step()
        if clock.steps % 100 == 0:
            print(
                f"vae {clock.steps * batch} images, loss {loss.item():.4f}, learning rate {rate:.1e}, "
                f"{clock.steps * batch / clock.seconds:.0f} images/s",
                flush=True,
            )
    vae.eval()


@torch.no_grad()
def score_vae(vae: AutoencoderKL, pixels: torch.Tensor) -> float:
    """PSNR in dB of the round trip of (n, 3, h, w) in [-1, 1], in float32."""
    image = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
    return peak_signal_noise_ratio(image, pixels, data_range=2.0).item()


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, pixels: torch.Tensor) -> None:
    """Rescales the 1×1 convolutions around the latents so that on these pictures every channel has mean 0 and
    deviation 1.

    With that in the weights the pipeline needs no scaling factor and no per-channel statistics.
    """
    latents = vae.encode(pixels).latent_dist.mode()
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:LATENT_CHANNELS] /= deviation[:, None, None, None]
    into.bias[:LATENT_CHANNELS] = (into.bias[:LATENT_CHANNELS] - mean) / deviation
    into.bias[LATENT_CHANNELS:] -= 2 * deviation.log()
    out.bias += torch.einsum("oikl,i->o", out.weight, mean)
    out.weight *= deviation[None, :, None, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--things", type=int, default=60, help="kinds of sticker: the first of artwork.py")
    parser.add_argument("--decoder-only", action="store_true", help="keep the latents, sharpen the pictures")
    parser.add_argument("--start", type=Path, help="autoencoder to begin with while --out is not there")
    parser.add_argument("--out", type=Path, default=WORK / "vae")
    args = parser.parse_args()

    accelerator = start_accelerator()
    crops = Crops(args.things, build_tokenizer(), accelerator.device, captions=1000)
    begun = args.out if args.out.exists() else args.start
    vae = AutoencoderKL.from_pretrained(begun) if begun else build_vae()
    vae.to(torch.float32)  # the shipped one is kept in float16
    options = (args.minutes, args.batch, args.side, args.learning_rate, args.decoder_only)
    train_vae(vae, crops, *options, accelerator)
    if not args.decoder_only:
        normalise_latents(vae, crops.draw(512, 128)[0])
    print(f"vae PSNR on crops: {score_vae(vae, crops.draw(64, 256)[0]):.2f} dB")
    vae.save_pretrained(args.out)


if __name__ == "__main__":
    main()
