from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.artwork import BACKGROUNDS
from training.stickers import Found, find_stickers, plain_colour

PINK = BACKGROUNDS[2].rgb
BACKGROUND_IDS = {"ids": lambda background: background.name}


def found_on(*ellipses: tuple[int, int, int, int], fill: str = "navy") -> list[Found]:
    picture = Image.new("RGB", (256, 200), PINK)
    for box in ellipses:
        ImageDraw.Draw(picture).ellipse(box, fill=fill)
    return find_stickers(np.asarray(picture))


@pytest.mark.parametrize("background", BACKGROUNDS, **BACKGROUND_IDS)
def test_a_noisy_plain_picture_has_no_stickers(background) -> None:
    noise = np.random.default_rng(0).normal(0, 5, (128, 128, 3))
    pixels = (np.array(background.rgb) + noise).clip(0, 255).astype(np.uint8)
    assert np.abs(plain_colour(pixels) - np.array(background.rgb)).max() <= 3
    assert find_stickers(pixels) == []


def test_stickers_apart_are_found_each_in_its_place() -> None:
    first, second = found_on((20, 30, 100, 120), (130, 30, 210, 120))
    assert first.box == (20, 30, 101, 121)
    assert second.box == (130, 30, 211, 121)
    assert first.extent == 91
    assert not first.cut
    assert not second.cut


def test_stickers_that_touch_are_one() -> None:
    (both,) = found_on((20, 30, 100, 120), (96, 30, 176, 120))
    assert both.box == (20, 30, 177, 121)


def test_a_hair_between_two_stickers_does_not_join_them() -> None:
    assert len(found_on((20, 30, 100, 120), (130, 30, 210, 120), (90, 74, 140, 75))) == 2


@pytest.mark.parametrize(
    "box",
    [(-20, 30, 60, 110), (200, 30, 280, 110), (60, -20, 140, 60), (60, 150, 140, 230), (0, 50, 80, 130)],
)
def test_a_sticker_at_the_edge_is_cut(box) -> None:
    (sticker,) = found_on(box)
    assert sticker.cut


def test_small_parts_belong_to_the_sticker_beside_them() -> None:
    (sticker,) = found_on((60, 60, 140, 140), (90, 35, 110, 53))
    assert sticker.box == (60, 35, 141, 141)


def test_small_parts_far_from_every_sticker_are_their_own() -> None:
    assert len(found_on((60, 60, 140, 140), (180, 90, 200, 110))) == 2
    assert len(found_on((180, 90, 200, 110))) == 1


def test_specks_are_not_stickers() -> None:
    (sticker,) = found_on((60, 60, 140, 140), (200, 90, 205, 95))
    assert sticker.box == (60, 60, 141, 141)


def test_a_hole_belongs_to_the_mask_and_shows_the_background() -> None:
    picture = Image.new("RGB", (256, 200), PINK)
    ImageDraw.Draw(picture).ellipse((60, 60, 140, 140), outline="navy", width=20)
    (ring,) = find_stickers(np.asarray(picture))
    middle = tuple(extent // 2 for extent in ring.mask.shape)
    assert ring.mask[middle]
    assert tuple(ring.pixels[middle]) == PINK
    assert tuple(ring.background) == PINK


def test_nothing_of_a_neighbour_is_cut_out_with_a_sticker() -> None:
    long, small = found_on((20, 60, 140, 90), (100, 92, 190, 180))  # their boxes overlap
    for sticker in (long, small):
        drawn = (sticker.pixels != sticker.background).any(-1)
        assert abs(int(drawn.sum()) - int(sticker.mask.sum())) < 0.02 * sticker.mask.sum()
