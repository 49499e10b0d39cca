"""Finds the stickers of a picture: what is connected and differs from the plain background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

CONTRAST = 24  # of 255 in one channel, from which a pixel is not background
SPECK = 40  # px; a sticker covers thousands
LOOSE = 900  # px; a smaller part belongs to the sticker beside it: a leaf, the end of a feeler
LOOSE_GAP = 10  # px between such a part and its sticker; neighbours are about 20 apart
RIM = 2  # px of soft edge that a sticker keeps when it is cut out
BIN = 8  # of 255, the width of a colour's bin in search of the most common one


@dataclass(frozen=True, eq=False)
class Found:
    """One connected sticker, cut out."""

    pixels: np.ndarray
    """(height, width, 3) uint8: the sticker with its rim, and around it the background's colour."""
    mask: np.ndarray
    """(height, width) bool: where it is, its holes filled."""
    background: np.ndarray
    """(3,) uint8: the picture's."""
    box: tuple[int, int, int, int]
    """Left, top, right and bottom of the mask in the picture."""
    cut: bool
    """It touches the picture's edge."""

    @property
    def extent(self) -> int:
        """px, of its longer side."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)


def plain_colour(pixels: np.ndarray) -> np.ndarray:
    """(3,) uint8: the background of (height, width, 3) uint8, its most common colour."""
    colours = pixels.reshape(-1, 3)
    bins = (colours // BIN).astype(np.int64) @ (1, 256, 256**2)
    common = np.bincount(bins).argmax() if bins.size else 0
    colour = np.median(colours[bins == common], axis=0)
    near = (np.abs(colours - colour) <= CONTRAST).all(-1)  # a bin's border may run through it
    return np.median(colours[near], axis=0).round().astype(np.uint8)


def find_stickers(pixels: np.ndarray) -> list[Found]:
    """All of (height, width, 3) uint8, those at the edge included; specks are left out."""
    background = plain_colour(pixels)
    differs = (np.abs(pixels.astype(np.int16) - background) > CONTRAST).any(-1)
    # Opened: a bridge of 2 px joins nothing that the eye would take for one.
    labels = _with_loose_parts(*ndimage.label(ndimage.binary_opening(differs)))
    height, width = labels.shape
    found = []
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        top, bottom, left, right = where[0].start, where[0].stop, where[1].start, where[1].stop
        # With a margin, the rim fits in.
        mask = np.pad(labels[where] == number, RIM)
        around = np.full((*mask.shape, 3), background, np.uint8)
        y, x = max(top - RIM, 0), max(left - RIM, 0)
        part = pixels[y : bottom + RIM, x : right + RIM]
        y, x = y - top + RIM, x - left + RIM
        around[y : y + part.shape[0], x : x + part.shape[1]] = part
        kept = ndimage.binary_dilation(mask, iterations=RIM) | ndimage.binary_fill_holes(mask)
        around[~kept] = background
        found.append(
            Found(
                pixels=around,
                mask=ndimage.binary_fill_holes(mask),
                background=background,
                box=(left, top, right, bottom),
                # Opening takes the outermost pixels away.
                cut=left <= 1 or top <= 1 or right >= width - 1 or bottom >= height - 1,
            )
        )
    return found


def _with_loose_parts(labels: np.ndarray, count: int) -> np.ndarray:
    """Without specks, and small parts get the label of the large one beside them."""
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    labels = np.where((areas < SPECK)[labels], 0, labels)
    large = areas >= LOOSE
    large[0] = False
    if not large.any():
        return labels
    distance, (y, x) = ndimage.distance_transform_edt(~large[labels], return_indices=True)
    joined = labels.copy()
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None or large[number]:
            continue
        part = labels[where] == number
        gaps = np.where(part, distance[where], np.inf)
        nearest = np.unravel_index(gaps.argmin(), gaps.shape)
        if gaps[nearest] <= LOOSE_GAP:
            joined[where][part] = labels[y[where][nearest], x[where][nearest]]
    return joined
