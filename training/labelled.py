"""Labelled sheets: pictures, and the things and the background that any window of them shows."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

from training import WORK
from training.artwork import BACKGROUNDS, RENDERED_SIDE, THINGS, fetch_icons, render
from training.scenes import Sticker, choose_things, draw_stickers

# A thing is visible if at least the share SEEN of one of its stickers is in the window, and not visible if at
# most the share UNSEEN of each is. In between, both answers are right.
SEEN, UNSEEN = 0.5, 0.15
SMEAR = 20  # px at RENDERED_SIDE, the radius of a blur after which colours are left and shapes are not

Choose = Callable[[random.Random, int, int], list[int]]
"""From the number of things, and of all pictures (things first), to the pictures of one sheet."""


@dataclass(frozen=True)
class Sheet:
    """A rendered sheet with its labels."""

    pixels: np.ndarray
    """(height, width, 3) uint8."""
    stickers: tuple[Sticker, ...]
    """``Sticker.picture`` is a number in THINGS; larger numbers are unknown things."""
    background: int
    """A number in BACKGROUNDS."""

    @property
    def window(self) -> tuple[int, int, int, int]:
        """The whole of it: left, top, right, bottom."""
        return 0, 0, self.pixels.shape[1], self.pixels.shape[0]

    def visible(self, things: int, window: tuple[int, int, int, int]) -> np.ndarray:
        """(things,): the visible share of the most visible sticker of each of the first ``things`` things."""
        most = np.zeros(things, np.float32)
        for sticker in self.stickers:
            if sticker.picture < things:
                most[sticker.picture] = max(most[sticker.picture], sticker.visible(window))
        return most


def as_captioned(rng: random.Random, things: int, pictures: int) -> list[int]:
    """One to three things, as on the crops that the diffusion model learns from."""
    return choose_things(rng, things)


def crowded(rng: random.Random, things: int, pictures: int) -> list[int]:
    """Often many things, with unknown ones among them; sometimes as captioned."""
    if rng.random() < 0.4:
        return choose_things(rng, things)
    return rng.sample(range(things), min(6, things)) + unknown_things(rng, things, pictures)


def unknown_things(rng: random.Random, things: int, pictures: int) -> list[int]:
    """Three pictures that show none of the things."""
    return rng.sample(range(things, pictures), 3)


def draw_sheets(things: int, count: int, side: int, seed: int, choose: Choose = as_captioned) -> list[Sheet]:
    """``count`` square sheets of ``side`` px with the first ``things`` things. The seed decides all."""
    rng = random.Random(seed)
    pictures = _pictures(things)
    sheets = []
    for _ in range(count):
        chosen = choose(rng, things, len(pictures))
        background = rng.randrange(len(BACKGROUNDS))
        picture, stickers = draw_stickers(
            rng, [pictures[c] for c in chosen], BACKGROUNDS[background], side, side
        )
        stickers = tuple(Sticker(chosen[sticker.picture], sticker.box) for sticker in stickers)
        sheets.append(Sheet(np.asarray(picture), stickers, background))
    return sheets


def to_pixels(pictures: np.ndarray, device: torch.device) -> torch.Tensor:
    """(n, h, w, 3) uint8 → (n, 3, h, w) in [-1, 1], channels last."""
    pixels = torch.tensor(pictures, device=device).permute(0, 3, 1, 2).float()
    return (pixels / 127.5 - 1).contiguous(memory_format=torch.channels_last)


@cache
def _pictures(things: int) -> tuple[Image.Image, ...]:
    """The things, then unknown ones: the other artwork, and what a model draws of a thing that it has hardly
    learnt, which is a spot of its colour or a smear of its colours."""
    artwork = render(fetch_icons(WORK / "artwork"), THINGS)
    spots, smears = (tuple(map(draw, artwork[:things])) for draw in (_spot, _smear))
    return (*artwork, *spots, *smears)


def _spot(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture, np.float32)
    colour = np.average(pixels[..., :3].reshape(-1, 3), axis=0, weights=pixels[..., 3].ravel())
    spot = Image.new("RGBA", picture.size)
    edge = RENDERED_SIDE // 12
    ImageDraw.Draw(spot).ellipse(
        (edge, edge, RENDERED_SIDE - edge, RENDERED_SIDE - edge), fill=tuple(map(round, colour.tolist()))
    )
    return spot


def _smear(picture: Image.Image) -> Image.Image:
    smear = Image.new("RGBA", picture.size)
    # Smaller, so that it has faded out at the edge.
    inner = picture.resize((RENDERED_SIDE * 3 // 4,) * 2, Image.Resampling.BOX)
    smear.paste(inner, (RENDERED_SIDE // 8,) * 2)
    # "RGBa" is premultiplied: transparent pixels add no colour.
    return smear.convert("RGBa").filter(ImageFilter.GaussianBlur(SMEAR)).convert("RGBA")
