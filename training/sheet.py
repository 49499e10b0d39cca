"""Draws the twelve examples with a model as one picture, each below its prompt.

``python -m training.sheet`` uses the bundled model at 512 px and writes assets/mini-sdxl-sheet.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers.utils import make_image_grid
from PIL import ImageDraw, ImageFont, ImageOps

from compare.models.load import load_pipeline
from compare.models.source import BUNDLED
from training.prompts import EXAMPLE_SEED, EXAMPLES

COLUMNS = 4
LABEL = 28  # px


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=BUNDLED.parent / "mini-sdxl-sheet.png")
    args = parser.parse_args()

    pipe = load_pipeline(args.model, dtype=torch.float32).pipe
    pipe.set_progress_bar_config(disable=True)
    font = ImageFont.load_default(18)
    cells = []
    for seed, prompt in enumerate(EXAMPLES, start=EXAMPLE_SEED):
        image = pipe(
            prompt,
            height=args.size,
            width=args.size,
            num_inference_steps=args.steps,
            guidance_scale=args.guidance,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
        cell = ImageOps.expand(image, border=(0, LABEL, 0, 0), fill="white")
        ImageDraw.Draw(cell).text((8, 3), f"{prompt} · seed {seed}", "black", font)
        cells.append(cell)
    sheet = make_image_grid(cells, rows=len(cells) // COLUMNS, cols=COLUMNS)
    sheet.save(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
