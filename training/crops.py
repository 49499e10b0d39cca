"""Crops of endless sheets with their captions, drawn on the device that trains: new ones for every step."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPTokenizer

from training import WORK
from training.artwork import BACKGROUNDS, RENDERED_SIDE, THINGS, fetch_icons, render
from training.scenes import (
    JITTER,
    LARGE,
    LARGE_WORDS,
    PITCH,
    STICKER_SIDE,
    TILT,
    caption,
    choose_things,
    with_unknown_words,
)

MOST_THINGS = 3  # on one sheet
LARGE_SHARE = 0.15  # of the crops that are as large as a large sticker
LARGE_FROM = 256  # px


@dataclass(frozen=True)
class Stickers:
    """Every thing several times, turned and scaled as on a sheet, in one row of pixels."""

    pixels: Tensor
    """(pixels,) int32, each the four bytes of an RGBA pixel. The first one is transparent."""
    start: Tensor
    """(things, variants): where each sticker's pixels begin."""
    side: Tensor
    """(things, variants) px."""

    @classmethod
    def drawn(
        cls,
        rng: random.Random,
        pictures: list[Image.Image],
        variants: int,
        scale: float,
        device: torch.device,
    ) -> Stickers:
        """``variants`` of each picture, of STICKER_SIDE times ``scale`` px and with up to TILT degrees."""

        def draw(picture: Image.Image, side: int, angle: float) -> np.ndarray:
            turned = picture.rotate(angle, Image.Resampling.BICUBIC)
            return np.asarray(turned.resize((side, side), Image.Resampling.LANCZOS)).reshape(-1)

        sides = [
            round(scale * rng.uniform(*STICKER_SIDE)) for _ in range(len(pictures)) for _ in range(variants)
        ]
        angles = [rng.uniform(-TILT, TILT) for _ in sides]
        repeated = [picture for picture in pictures for _ in range(variants)]
        with ThreadPoolExecutor() as threads:  # Pillow does this without the interpreter's lock
            stickers = list(threads.map(draw, repeated, sides, angles))
        side = torch.tensor(sides)
        transparent = np.zeros(4, np.uint8)
        return cls(
            torch.from_numpy(np.concatenate([transparent, *stickers])).view(torch.int32).to(device),
            (1 + side.square().cumsum(0) - side.square()).reshape(-1, variants).to(device),
            side.reshape(-1, variants).to(device),
        )


@dataclass(frozen=True)
class Scenes:
    """What crops show, and the tokens of their captions."""

    things: Tensor
    """(n, MOST_THINGS): the kinds of sticker, row by row; repeated if a sheet has fewer."""
    kinds: Tensor
    """(n,): how many of them are different."""
    background: Tensor
    """(n,)"""
    tokens: Tensor
    """(n, 77) int16"""

    @classmethod
    def written(
        cls,
        rng: random.Random,
        tokenizer: CLIPTokenizer,
        things: int,
        count: int,
        large: bool,
        device: torch.device,
    ) -> Scenes:
        """``count`` of them with some of the first ``things`` things."""
        chosen, backgrounds, captions = [], [], []
        for _ in range(count):
            chosen.append(choose_things(rng, things))
            backgrounds.append(rng.randrange(len(BACKGROUNDS)))
            words = caption(
                rng,
                [THINGS[i] for i in chosen[-1]],
                BACKGROUNDS[backgrounds[-1]],
                rng.choice(LARGE_WORDS) if large else "",
            )
            captions.append(with_unknown_words(rng, words))
        return cls(
            torch.tensor([(kinds * MOST_THINGS)[:MOST_THINGS] for kinds in chosen], device=device),
            torch.tensor([len(kinds) for kinds in chosen], device=device),
            torch.tensor(backgrounds, device=device),
            tokenize(tokenizer, captions).short().to(device),
        )

    def some(self, n: int) -> Scenes:
        """``n`` of them at random."""
        chosen = torch.randint(len(self.kinds), (n,), device=self.kinds.device)
        return Scenes(self.things[chosen], self.kinds[chosen], self.background[chosen], self.tokens[chosen])


class Crops:
    """Crops without end. What is drawn follows torch's random numbers.

    Args:
        things: kinds of sticker, the first ones of ``artwork.THINGS``.
        captions: how many different ones there are; each is drawn anew whenever it comes up.
        variants: of each sticker.
    """

    def __init__(
        self,
        things: int,
        tokenizer: CLIPTokenizer,
        device: torch.device,
        captions: int = 64_000,
        variants: int = 64,
        seed: int = 0,
    ) -> None:
        rng = random.Random(seed)
        icons = fetch_icons(WORK / "artwork")
        pictures = render(icons, THINGS[:things])
        self.stickers = Stickers.drawn(rng, pictures, variants, 1.0, device)
        self.scenes = Scenes.written(rng, tokenizer, things, captions, False, device)
        pictures = render(icons, THINGS[:things], round(LARGE * RENDERED_SIDE))
        self.large_stickers = Stickers.drawn(rng, pictures, max(variants // 4, 1), LARGE, device)
        self.large_scenes = Scenes.written(rng, tokenizer, things, max(captions // 4, 1), True, device)

    def draw(self, n: int, side: int) -> tuple[Tensor, Tensor]:
        """Pixels (n, 3, side, side) in [-1, 1], and tokens (n, 77). LARGE_SHARE of those of at least
        LARGE_FROM px show large stickers."""
        large = int(torch.rand(n).lt(LARGE_SHARE).sum()) if side >= LARGE_FROM else 0
        parts = []
        for count, stickers, scenes, scale in (
            (n - large, self.stickers, self.scenes, 1.0),
            (large, self.large_stickers, self.large_scenes, LARGE),
        ):
            if count:
                shown = scenes.some(count)
                parts.append((draw_sheets(stickers, shown, side, side, scale), shown.tokens.long()))
        pixels, tokens = (torch.cat(part) for part in zip(*parts, strict=True))
        return pixels, tokens


def draw_sheets(stickers: Stickers, scenes: Scenes, height: int, width: int, scale: float) -> Tensor:
    """(n, 3, height, width) in [-1, 1], channels last: windows, at random places, of the sheets that
    `scenes.draw_stickers` draws. On every pixel there are at most four stickers."""
    n, device = len(scenes.kinds), scenes.kinds.device
    pitch, jitter = PITCH * scale, JITTER * scale
    rows, columns = int(height / pitch) + 3, int(width / pitch) + 4  # the first ones are -1 and -2
    top, left = torch.rand(2, n, 1, device=device) * pitch
    # The stickers of each place of the grid: where they begin, their side, and their corner.
    row = torch.arange(rows, device=device) - 1
    column = torch.arange(columns, device=device) - 2
    first = (torch.rand(n, 1, device=device) * scenes.kinds[:, None]).long()
    thing = scenes.things.gather(1, (first + row).remainder(scenes.kinds[:, None]))
    variant = torch.randint(stickers.side.shape[1], (n, rows, columns), device=device)
    side, start = (table[thing[:, :, None], variant] for table in (stickers.side, stickers.start))
    wander_y, wander_x = (2 * torch.rand(2, n, rows, columns, device=device) - 1) * jitter
    shift = row % 2 * pitch / 2
    y = ((top + row * pitch)[:, :, None] + wander_y - side / 2).round()
    x = (left[:, :, None] + shift[None, :, None] + column * pitch + wander_x - side / 2).round()
    places = torch.stack([start, side, y.long(), x.long()], dim=-1).int().reshape(-1, 4)

    colours = torch.tensor([background.rgb for background in BACKGROUNDS], device=device, dtype=torch.float32)
    canvas = colours[scenes.background][:, None, None].expand(n, height, width, 3)
    down, across = torch.arange(height, device=device), torch.arange(width, device=device)
    sheet = torch.arange(n, device=device)[:, None] * rows
    above = ((down - top) / pitch).floor().long()
    for below in (0, 1):
        in_row = above + below  # (n, height)
        before = ((across - left[:, :, None] - in_row[:, :, None] % 2 * pitch / 2) / pitch).floor().long()
        for after in (0, 1):
            place = (sheet + in_row + 1)[:, :, None] * columns + before + after + 2
            start, side, y, x = places[place].unbind(-1)
            y, x = down[None, :, None] - y, across - x
            inside = (y >= 0) & (y < side) & (x >= 0) & (x < side)
            rgba = stickers.pixels[torch.where(inside, start + y * side + x, 0)].unsqueeze(-1)
            rgba = rgba.view(torch.uint8).float()
            canvas = canvas + (rgba[..., :3] - canvas) * (rgba[..., 3:] / 255)
    return (canvas / 127.5 - 1).permute(0, 3, 1, 2)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """(n, 77) token ids, padded as the pipeline pads them."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
