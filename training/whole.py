"""Says of each sticker in a picture whether it is whole: one known thing, single, in its own shape and size.

``python -m training.whole`` prints how many stickers of rendered sheets are whole, and how many of those that
were spoilt on purpose.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from scipy import ndimage

from compare.models.source import BUNDLED
from compare.statistics import Proportion
from compare.study.classifier import Classifier, load_classifier
from training import WORK
from training.artwork import BACKGROUNDS, THINGS, fetch_icons, render
from training.classifier import HELD_OUT_SEED, WEIGHTS
from training.labelled import draw_sheets, to_pixels, unknown_things
from training.scenes import STICKER_SIDE, TILT
from training.spoilt import FAULTS, draw_spoilt
from training.stickers import CONTRAST, LOOSE, LOOSE_GAP, SPECK, Found, find_stickers

TRACE = 0.05  # a probability: a second thing is in the sticker; rendered ones stay below 0.02
LIKENESS = 0.94  # of its outline with the thing's
SIDES = (STICKER_SIDE[0] * 0.9, STICKER_SIDE[1] * 1.1)  # px, which the sticker's area may speak for
LARGEST = round(STICKER_SIDE[1] * 1.3)  # px; what is longer is no one sticker, even cut by the picture's edge
TILTS = (-TILT, -TILT / 2, 0, TILT / 2, TILT)
RENDERED = 88  # px, the side at which outlines are taken: that of a middling sticker
SHEET_SIDES = (256, 512)  # px, of the sheets of the command
GRID = 64  # of outlines
SPREAD = 24  # of GRID: the side of a square that fills the same area
READ_SIDE = 128  # px; the classifier reads a sticker on so much background

RULES = (
    f"contrast {CONTRAST}, specks {SPECK}, loose parts {LOOSE} and {LOOSE_GAP}, traces {TRACE}, "
    f"likeness {LIKENESS}, sides {SIDES[0]:g} to {SIDES[1]:g}, largest {LARGEST}"
)
"""Beside the classifier, all that a judgement depends on."""


@dataclass(frozen=True)
class Judgement:
    """Of one sticker."""

    things: tuple[str, ...]
    """What the classifier sees in it, if only a trace; the most likely one first. None, if none is likely."""
    likeness: float
    """Of its outline with that of the thing, 0 to 1."""
    side: float
    """px, as its area has it: that of the sticker of that thing with the same area."""

    @property
    def whole(self) -> bool:
        """One thing, with its outline and of its size. Two that have melted are read as one thing too, but
        have another outline."""
        return len(self.things) == 1 and self.likeness >= LIKENESS and SIDES[0] <= self.side <= SIDES[1]


NOTHING = Judgement((), 0.0, 0.0)


class Judge:
    """Judges stickers by a classifier, and by the outlines of the artwork.

    Args:
        classifier: reads them.
        pictures: RGBA, of every thing that the classifier knows.
    """

    def __init__(self, classifier: Classifier, pictures: Mapping[str, Image.Image]) -> None:
        self._classifier = classifier
        self.pictures = pictures
        self._outlines = cache(self._draw_outlines)

    def judge(self, sticker: Found) -> Judgement:
        """Of a sticker that the picture's edge does not cut."""
        if sticker.extent > LARGEST:
            return NOTHING
        reading = self._classifier.read(_on_background(sticker))
        if not reading.seen:
            return NOTHING
        traces = [name for name, probability in reading.objects.items() if probability > TRACE]
        things = tuple(sorted(traces, key=reading.objects.__getitem__, reverse=True))
        distances = [np.abs(sticker.background - np.array(colour.rgb)).sum() for colour in BACKGROUNDS]
        outlines, area = self._outlines(things[0], int(np.argmin(distances)))
        outline = _outline(sticker.mask)
        likeness = max(_likeness(outline, other) for other in outlines)
        return Judgement(things, likeness, RENDERED * float(sticker.mask.sum() / area) ** 0.5)

    def count(self, picture: Image.Image) -> Proportion:
        """The whole stickers among those that the picture's edge does not cut.

        What is longer than any sticker counts even there: it is stickers that have melted."""
        stickers = find_stickers(np.asarray(picture.convert("RGB")))
        counting = [sticker for sticker in stickers if not sticker.cut or sticker.extent > LARGEST]
        return Proportion(hits=sum(self.judge(sticker).whole for sticker in counting), of=len(counting))

    def _draw_outlines(self, thing: str, background: int) -> tuple[list[np.ndarray], float]:
        """The outlines of a rendered thing on a background as `find_stickers` finds them, and their mean area
        in px. White parts of it may be lost on white."""
        outlines, areas = [], []
        for tilt in TILTS:
            turned = self.pictures[thing].rotate(tilt, Image.Resampling.BICUBIC)
            turned = turned.resize((RENDERED, RENDERED), Image.Resampling.LANCZOS)
            sheet = Image.new("RGB", (2 * RENDERED, 2 * RENDERED), BACKGROUNDS[background].rgb)
            sheet.paste(turned, (RENDERED // 2, RENDERED // 2), turned)
            mask = max((s.mask for s in find_stickers(np.asarray(sheet))), key=np.count_nonzero)
            outlines.append(_outline(mask))
            areas.append(mask.sum())
        return outlines, float(np.mean(areas))


def load_judge(classifier: Classifier) -> Judge:
    """With the artwork of all that the classifier knows."""
    things = tuple(thing for thing in THINGS if thing.name in classifier.objects)
    pictures = render(fetch_icons(WORK / "artwork"), things)
    return Judge(classifier, {thing.name: picture for thing, picture in zip(things, pictures, strict=True)})


def _on_background(sticker: Found) -> Image.Image:
    height, width = sticker.mask.shape
    # The classifier has one position per 16 px.
    side = max(READ_SIDE, -(-max(height, width) // 16) * 16 + 32)
    picture = np.full((side, side, 3), sticker.background, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    picture[top : top + height, left : left + width] = sticker.pixels
    return Image.fromarray(picture)


def _outline(mask: np.ndarray) -> np.ndarray:
    """(GRID, GRID) bool: the mask, centred and scaled to the same area."""
    scale = mask.sum() ** 0.5 / SPREAD
    corner = np.array(ndimage.center_of_mass(mask)) - scale * (GRID - 1) / 2
    grid = ndimage.affine_transform(mask.astype(np.float32), (scale, scale), corner, (GRID, GRID), order=1)
    return grid > 0.5


def _likeness(outline: np.ndarray, other: np.ndarray) -> float:
    """The share of each that lies in the other or one pixel of GRID beside it; the smaller one of the two.

    With that pixel, a petal that leans a little costs nothing: things with long edges are hardly judged
    harder than round ones.
    """
    shares = [
        (one & ndimage.binary_dilation(another)).sum() / one.sum()
        for one, another in ((outline, other), (other, outline))
    ]
    return float(min(shares))


def _total(counts: Iterable[Proportion]) -> Proportion:
    counts = list(counts)
    return Proportion(hits=sum(count.hits for count in counts), of=sum(count.of for count in counts))


@torch.no_grad()
def _through(vae: AutoencoderKL, picture: Image.Image) -> Image.Image:
    """What the model could draw at best."""
    pixels = to_pixels(np.asarray(picture)[None], vae.device)
    decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample[0].clamp(-1, 1)
    return Image.fromarray(((decoded.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200, help="of each sort; sheets are a fifth as many")
    args = parser.parse_args()

    classifier = load_classifier(WEIGHTS)
    judge = load_judge(classifier)
    vae = AutoencoderKL.from_pretrained(BUNDLED / "vae", torch_dtype=torch.float32)
    things, count = len(classifier.objects), args.pictures // 5

    print("| pictures | whole stickers |\n|---|---|")
    for side in SHEET_SIDES:
        sheets = draw_sheets(things, count, side, HELD_OUT_SEED + side)
        pictures = [Image.fromarray(sheet.pixels) for sheet in sheets]
        print(f"| {count} held-out sheets of {side} px | {_total(map(judge.count, pictures))} |")
        pictures = [_through(vae, picture) for picture in pictures]
        print(f"| the same through the autoencoder | {_total(map(judge.count, pictures))} |", flush=True)
    for fault in FAULTS:
        rng = random.Random(HELD_OUT_SEED)
        pictures = [draw_spoilt(rng, fault, list(judge.pictures.values())) for _ in range(args.pictures)]
        print(f"| {args.pictures} spoilt: {fault} | {_total(map(judge.count, pictures))} |", flush=True)
    sheets = draw_sheets(things, count, 256, HELD_OUT_SEED, unknown_things)
    pictures = [Image.fromarray(sheet.pixels) for sheet in sheets]
    print(f"| {count} sheets of 256 px with unknown things only | {_total(map(judge.count, pictures))} |")


if __name__ == "__main__":
    main()
