"""Rendered stickers that are spoilt on purpose, in the ways of a model that has not learnt enough.

They tell whether `whole.py` notices.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from training.artwork import BACKGROUNDS
from training.scenes import STICKER_SIDE, TILT

SIDE = 256  # px, of a picture with one spoilt sticker
OVERLAP = (4, 20)  # px beyond the first contact
STRETCH = (1.4, 1.8)
MISSING = (0.3, 0.5)  # of a side
WAVES = 9  # px at 88 px, the amplitude
WAVE_LENGTH = 14  # px, the deviation of a blur of the noise that moves pixels


def _sticker(rng: random.Random, picture: Image.Image, side: int | None = None) -> Image.Image:
    """As `scenes.draw_stickers` draws it."""
    side = side or round(rng.uniform(*STICKER_SIDE))
    turned = picture.rotate(rng.uniform(-TILT, TILT), Image.Resampling.BICUBIC)
    return turned.resize((side, side), Image.Resampling.LANCZOS)


def _pushed_together(rng: random.Random, first: Image.Image, second: Image.Image) -> Image.Image:
    """Side by side, or one below the other, and OVERLAP nearer than when they first touch."""
    below = rng.random() < 0.5
    turn = Image.Transpose.TRANSPOSE
    if below:
        first, second = first.transpose(turn), second.transpose(turn)
    height = max(first.height, second.height)
    solid = [np.zeros((height, first.width + second.width), bool) for _ in range(2)]
    tops = [(height - sticker.height) // 2 for sticker in (first, second)]
    for place, sticker, top in zip(solid, (first, second), tops, strict=True):
        place[top : top + sticker.height, : sticker.width] = np.asarray(sticker)[..., 3] > 127
    apart = first.width
    while apart and not (solid[0] & np.roll(solid[1], apart, axis=1)).any():
        apart -= 1
    apart = max(apart - rng.randint(*OVERLAP), 0)
    both = Image.new("RGBA", (max(first.width, apart + second.width), height))
    both.alpha_composite(first, (0, tops[0]))
    both.alpha_composite(second, (apart, tops[1]))
    return both.transpose(turn) if below else both


def two_of_a_kind(rng: random.Random, pictures: Sequence[Image.Image]) -> Image.Image:
    picture = rng.choice(pictures)
    return _pushed_together(rng, _sticker(rng, picture), _sticker(rng, picture))


def two_kinds(rng: random.Random, pictures: Sequence[Image.Image]) -> Image.Image:
    return _pushed_together(rng, *(_sticker(rng, picture) for picture in rng.sample(pictures, 2)))


def stretched(rng: random.Random, pictures: Sequence[Image.Image]) -> Image.Image:
    sticker = _sticker(rng, rng.choice(pictures))
    longer = round(sticker.width * rng.uniform(*STRETCH))
    size = (longer, sticker.height) if rng.random() < 0.5 else (sticker.width, longer)
    return sticker.resize(size, Image.Resampling.BICUBIC)


def halves_of_two(rng: random.Random, pictures: Sequence[Image.Image]) -> Image.Image:
    side = round(rng.uniform(*STICKER_SIDE))
    sticker, other = (_sticker(rng, picture, side) for picture in rng.sample(pictures, 2))
    half = (side // 2, 0, side, side) if rng.random() < 0.5 else (0, side // 2, side, side)
    sticker.paste(other.crop(half), half[:2])
    return sticker


def cut_off(rng: random.Random, pictures: Sequence[Image.Image]) -> Image.Image:
    sticker = _sticker(rng, rng.choice(pictures))
    left, top, right, bottom = sticker.getbbox()
    missing = rng.uniform(*MISSING)
    wide, high = round((right - left) * (1 - missing)), round((bottom - top) * (1 - missing))
    kept = rng.choice(
        (
            (left, top, left + wide, bottom),
            (right - wide, top, right, bottom),
            (left, top, right, top + high),
            (left, bottom - high, right, bottom),
        )
    )
    return sticker.crop(kept)


def warped(rng: random.Random, pictures: Sequence[Image.Image]) -> Image.Image:
    sticker = _sticker(rng, rng.choice(pictures))
    pixels = np.pad(np.asarray(sticker.convert("RGBa")), ((2 * WAVES,) * 2, (2 * WAVES,) * 2, (0, 0)))
    noise = np.random.default_rng(rng.randrange(2**32)).standard_normal((2, *pixels.shape[:2]))
    waves = ndimage.gaussian_filter(noise, (0, WAVE_LENGTH, WAVE_LENGTH), mode="wrap")
    waves *= WAVES * np.sqrt(2) / waves.std()
    moved = np.indices(pixels.shape[:2]) + waves
    channels = [ndimage.map_coordinates(channel, moved, order=1) for channel in np.moveaxis(pixels, -1, 0)]
    size = pixels.shape[1], pixels.shape[0]
    return Image.frombytes("RGBa", size, np.stack(channels, axis=-1).tobytes()).convert("RGBA")


FAULTS: dict[str, Callable[[random.Random, Sequence[Image.Image]], Image.Image]] = {
    "two of a kind, pushed together": two_of_a_kind,
    "two kinds, pushed together": two_kinds,
    "stretched": stretched,
    "halves of two kinds": halves_of_two,
    "a third to a half is missing": cut_off,
    "warped": warped,
}


def draw_spoilt(rng: random.Random, fault: str, pictures: Sequence[Image.Image]) -> Image.Image:
    """One spoilt sticker in the middle of a plain picture of SIDE px."""
    sticker = FAULTS[fault](rng, pictures)
    picture = Image.new("RGB", (SIDE, SIDE), rng.choice(BACKGROUNDS).rgb)
    picture.paste(sticker, ((SIDE - sticker.width) // 2, (SIDE - sticker.height) // 2), sticker)
    return picture
