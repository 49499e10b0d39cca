"""Puts the trained parts together as a plain ``StableDiffusionXLPipeline`` folder.

``python -m training.export`` writes the moving average of ``checkpoint.pt`` and ``vae/`` to assets/mini-sdxl:
float16, every file below 9 MB.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from diffusers.training_utils import EMAModel

from compare.models.source import BUNDLED
from training import WORK
from training.diffusion import Denoiser
from training.model import build_scheduler, build_tokenizer
from training.vocabulary import write_vocabulary

LARGEST_FILE = "8MB"  # Spaces refuse plain git files of 10 MB


def assemble(checkpoint: Path, vae: Path) -> StableDiffusionXLPipeline:
    """The pipeline with the averaged weights, in float32 on the CPU."""
    tokenizer = build_tokenizer()
    denoiser = Denoiser(tokenizer)
    state = torch.load(checkpoint, map_location="cpu")
    ema = EMAModel(denoiser.parameters())
    ema.load_state_dict(state["ema"])
    ema.copy_to(denoiser.parameters())
    autoencoder = AutoencoderKL.from_pretrained(vae)
    autoencoder.register_to_config(_name_or_path="")  # a path of this machine
    return StableDiffusionXLPipeline(
        vae=autoencoder,
        text_encoder=denoiser.text_encoder.eval(),
        text_encoder_2=denoiser.text_encoder_2.eval(),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=denoiser.unet.eval(),
        scheduler=build_scheduler(),
        force_zeros_for_empty_prompt=False,  # training encodes the empty caption like any other
        add_watermarker=False,
    )


def run_in_float32(folder: Path) -> None:
    """Have the pipeline in this folder run in float32 if nobody asks for another precision.

    transformers takes a text encoder's precision from its configuration, which names that of the file;
    diffusers takes float32 for the rest. With both in one pipeline the first step fails.
    """
    for file in folder.glob("text_encoder*/config.json"):
        config = json.loads(file.read_text(encoding="utf-8")) | {"dtype": "float32"}
        file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=WORK / "checkpoint.pt")
    parser.add_argument("--vae", type=Path, default=WORK / "vae")
    parser.add_argument("--things", type=int, default=60, help="kinds of sticker that it has learnt")
    parser.add_argument("--out", type=Path, default=BUNDLED)
    args = parser.parse_args()
    pipe = assemble(args.checkpoint, args.vae)
    pipe.to(torch.float16).save_pretrained(args.out, max_shard_size=LARGEST_FILE)
    run_in_float32(args.out)
    write_vocabulary(args.things, args.out / "vocabulary.json")
    sizes = [file.stat().st_size / 1e6 for file in args.out.rglob("*") if file.is_file()]
    print(f"{args.out}: {sum(sizes):.1f} MB in {len(sizes)} files, the largest {max(sizes):.1f} MB")


if __name__ == "__main__":
    main()
