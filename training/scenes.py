"""The pictures and captions the model learns: sticker sheets on a plain background.

The statistics of a sheet are the same everywhere in it, so a model that has seen small crops only makes
sensible pictures of any size and shape.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from training.artwork import Background, Thing

PITCH = 104  # px between sticker centres
STICKER_SIDE = (76, 100)  # px, smallest and largest
JITTER = 7  # px
TILT = 14  # degrees
LARGE = 2.4  # the scale of a sheet of large stickers: 182 to 240 px
LARGE_WORDS = ("big", "large", "huge")
FILLERS = (
    "cute", "beautiful", "small", "tiny", "shiny", "happy", "funny", "old", "new", "realistic",
    "cartoon",
    "photo", "photograph", "painting", "illustration", "masterpiece", "detailed", "quality", "style", "art",
    "bright", "colorful", "render", "sitting", "flying", "sleeping", "forest", "street", "night", "morning",
)  # fmt: skip


@dataclass(frozen=True)
class Sticker:
    """One sticker of a sheet: its picture and its place."""

    picture: int
    """Its number in the sequence the sheet was drawn from."""
    box: tuple[int, int, int, int]
    """Left, top, right and bottom of what is not transparent, in px. It may reach over the sheet's edges."""

    def visible(self, window: tuple[int, int, int, int]) -> float:
        """The share of the box that lies in a window (left, top, right, bottom), 0 to 1.

        Neighbours that overlap a corner of it are not counted: they hide a few per cent at most.
        """
        left, top, right, bottom = self.box
        width = min(right, window[2]) - max(left, window[0])
        height = min(bottom, window[3]) - max(top, window[1])
        return max(width, 0) * max(height, 0) / ((right - left) * (bottom - top))


def draw_stickers(
    rng: random.Random,
    pictures: Sequence[Image.Image],
    background: Background,
    width: int,
    height: int,
) -> tuple[Image.Image, list[Sticker]]:
    """A ``width`` × ``height`` px window, at a random place, of an endless sheet; and its stickers.

    The grid is staggered: every second row starts half a pitch later. The pictures alternate by row, so that
    one sticker determines what its neighbours show.
    """
    sheet = Image.new("RGB", (width, height), background.rgb)
    stickers = []
    left, top = rng.uniform(0, PITCH), rng.uniform(0, PITCH)
    first = rng.randrange(len(pictures))
    for row in range(-1, height // PITCH + 2):
        shift = PITCH / 2 if row % 2 else 0
        for column in range(-1, width // PITCH + 2):
            side = round(rng.uniform(*STICKER_SIDE))
            x = left + column * PITCH + shift + rng.uniform(-JITTER, JITTER) - side / 2
            y = top + row * PITCH + rng.uniform(-JITTER, JITTER) - side / 2
            chosen = (first + row) % len(pictures)
            angle = rng.uniform(-TILT, TILT)
            if x >= width or y >= height or x + side <= 0 or y + side <= 0:
                continue
            sticker = (
                pictures[chosen]
                .rotate(angle, Image.Resampling.BICUBIC)
                .resize((side, side), Image.Resampling.LANCZOS)
            )
            x, y = round(x), round(y)
            sheet.paste(sticker, (x, y), sticker)
            opaque = sticker.getbbox()
            stickers.append(Sticker(chosen, (x + opaque[0], y + opaque[1], x + opaque[2], y + opaque[3])))
    return sheet, stickers


def article(noun: str) -> str:
    """The indefinite article of a noun."""
    return "an" if noun[0] in "aeiou" and not noun.startswith("uni") else "a"


def _name_thing(rng: random.Random, thing: Thing, adjective: str) -> str:
    # The usual name half of the time: it is what most people type.
    names = thing.names[0] if rng.random() < 0.5 else rng.choice(thing.names)
    singular, plural = (f"{adjective} {name}".strip() for name in names)
    form = rng.random()
    if form < 0.5:
        return f"{article(singular)} {singular}"
    if form < 0.65:
        return singular
    return rng.choice(("", "", "many ", "some ", "two ", "three ")) + plural


def caption(rng: random.Random, things: Sequence[Thing], background: Background, adjective: str = "") -> str:
    """What a person might type for such a sheet, in lower case without punctuation but commas.

    ``adjective`` is said of every thing: one of LARGE_WORDS for a sheet of large stickers.
    """
    names = [_name_thing(rng, thing, adjective) for thing in things]
    if len(names) == 1 or rng.random() < 0.2:
        kinds = ", ".join(names)
    else:
        kinds = ", ".join(names[:-1]) + " and " + names[-1]
    prefix = rng.choice(("",) * 6 + ("stickers of ", "a picture of ", "a drawing of ", "a pattern of "))
    colour = background.name if rng.random() < 0.6 else rng.choice(background.names)
    place = rng.choice(
        (
            f" on {colour}",
            f" on a {colour} background",
            f" on {article(colour)} {colour} background",
            f", {colour} background",
            f" with {article(colour)} {colour} background",
            f" in front of {colour}",
        )
    )
    return prefix + kinds + place


def with_unknown_words(rng: random.Random, caption: str) -> str:
    """Sometimes adds a word or two without meaning, as real prompts have them.

    A model that never saw such words would give them a meaning.
    """
    words = caption.split(" ")
    for _ in range(rng.choices((0, 1, 2), (0.8, 0.13, 0.07))[0]):
        if rng.random() < 0.5:
            word = rng.choice(FILLERS)
        else:
            word = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 9)))
        words.insert(rng.randrange(len(words) + 1), word)
    return " ".join(words)


def choose_things(rng: random.Random, count: int) -> list[int]:
    """One or two kinds of sticker (of ``count``), sometimes three."""
    return rng.sample(range(count), rng.choices((1, 2, 3), (0.45, 0.45, 0.1))[0])
