"""Draws the twelve fixed prompts with a model, one below the other's words, as one picture.

``python -m training.sheet`` uses the bundled model at 512 px and writes assets/mini-sdxl-sheet.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image, ImageDraw, ImageFont

from training.device import pick_device
from training.examples import EXAMPLES, FIRST_SEED
from training.paths import SHIPPED

COLUMNS = 4
LABEL = 28  # px


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=SHIPPED.parent / "mini-sdxl-sheet.png")
    args = parser.parse_args()

    pipe = StableDiffusionXLPipeline.from_pretrained(args.model, torch_dtype=torch.float32).to(pick_device())
    pipe.set_progress_bar_config(disable=True)
    font = ImageFont.load_default(18)
    rows = -(-len(EXAMPLES) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * args.size, rows * (args.size + LABEL)), "white")
    for i, prompt in enumerate(EXAMPLES):
        image = pipe(
            prompt,
            height=args.size,
            width=args.size,
            num_inference_steps=args.steps,
            guidance_scale=args.guidance,
            generator=torch.Generator().manual_seed(FIRST_SEED + i),
        ).images[0]
        x, y = i % COLUMNS * args.size, i // COLUMNS * (args.size + LABEL)
        sheet.paste(image, (x, y + LABEL))
        ImageDraw.Draw(sheet).text((x + 8, y + 3), f"{prompt} · seed {FIRST_SEED + i}", "black", font)
    sheet.save(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
