from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from compare.study.classifier import Classifier
from training.artwork import BACKGROUNDS, THINGS
from training.crops import Crops, Scenes, Stickers, draw_sheets
from training.model import build_tokenizer
from training.scenes import JITTER, LARGE, PITCH, STICKER_SIDE

CPU = torch.device("cpu")
NAMES = [thing.name for thing in THINGS]


def pictures(drawn: torch.Tensor) -> list[Image.Image]:
    pixels = ((drawn.permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy()
    return [Image.fromarray(picture) for picture in pixels]


def scenes(things: list[list[int]], backgrounds: list[int]) -> Scenes:
    return Scenes(
        torch.tensor([(kinds * 3)[:3] for kinds in things]),
        torch.tensor([len(kinds) for kinds in things]),
        torch.tensor(backgrounds),
        torch.zeros(len(things), 77, dtype=torch.short),
    )


@pytest.fixture(scope="module")
def discs() -> Stickers:
    """A red disc and a blue one, of several sizes."""
    drawn = []
    for colour in ("red", "blue"):
        disc = Image.new("RGBA", (192, 192))
        ImageDraw.Draw(disc).ellipse((0, 0, 191, 191), fill=colour)
        drawn.append(disc)
    return Stickers.drawn(random.Random(0), drawn, 5, 1.0, CPU)


@pytest.fixture(scope="module")
def crops() -> Crops:
    return Crops(8, build_tokenizer(), CPU, captions=40, variants=2)


def test_every_sticker_of_the_sheet_is_there_and_whole(discs) -> None:
    """As many as the grid has places for, each of a size that is allowed, none cut by a neighbour's place."""
    torch.manual_seed(0)
    (sheet,) = pictures(draw_sheets(discs, scenes([[0]], [0]), 700, 900, 1.0))
    pixels = np.asarray(sheet).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 60)
    smallest, largest = (np.pi / 4 * side**2 for side in STICKER_SIDE)
    assert 0.95 * smallest < red.sum() * PITCH**2 / red.size < 1.05 * largest
    # Rows of disc and background take turns, once for each row of the grid.
    filled = red.any(axis=1)
    assert (filled[1:] != filled[:-1]).sum() <= 2 * (700 // PITCH + 2)
    # No disc has a straight edge, as one that was cut off would have.
    for line in (*red, *red.T):
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate(([0], line.view(np.int8), [0])))))[::2]
        assert not len(runs) or runs.max() <= STICKER_SIDE[1] + 2 * JITTER


def test_kinds_take_turns_by_row(discs) -> None:
    torch.manual_seed(0)
    for sheet in pictures(draw_sheets(discs, scenes([[0, 1]] * 6, [0] * 6), 300, 300, 1.0)):
        pixels = np.asarray(sheet).astype(int)
        red = ((pixels[..., 0] > 200) & (pixels[..., 2] < 60)).any(axis=1)
        blue = ((pixels[..., 2] > 200) & (pixels[..., 0] < 60)).any(axis=1)
        assert red.any()
        assert blue.any()
        assert (red & blue).mean() < 0.15  # rows may overlap by a little


def test_the_same_random_numbers_draw_the_same_and_others_do_not(discs) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(draw_sheets(discs, scenes([[0, 1]], [3]), 128, 128, 1.0))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_between_the_stickers_is_the_background(discs) -> None:
    for number, background in enumerate(BACKGROUNDS):
        (sheet,) = pictures(draw_sheets(discs, scenes([[0]], [number]), 256, 256, 1.0))
        counts = sheet.getcolors(256 * 256)
        assert background.rgb in {colour for _, colour in counts}


@pytest.mark.usefixtures("artwork")
def test_the_classifier_reads_what_the_captions_say(crops, classifier: Classifier) -> None:
    torch.manual_seed(0)
    shown = crops.scenes.some(24)
    read = 0
    for i, picture in enumerate(pictures(draw_sheets(crops.stickers, shown, 320, 320, 1.0))):
        reading = classifier.read(picture)
        assert reading.background == BACKGROUNDS[shown.background[i]].name
        things = {NAMES[number] for number in shown.things[i]}
        words = build_tokenizer().decode(shown.tokens[i], skip_special_tokens=True)
        for number in set(shown.things[i].tolist()):
            assert any(name in words.replace(" ,", ",") for pair in THINGS[number].names for name in pair)
        read += set(reading.seen) == things
    assert read >= 23


@pytest.mark.usefixtures("artwork")
def test_large_stickers_are_what_a_large_crop_is_said_to_show(crops) -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    pixels, tokens = crops.draw(60, 256)
    said = [tokenizer.decode(row, skip_special_tokens=True) for row in tokens]
    large = [any(word in words for word in ("big", "large", "huge")) for words in said]
    assert 2 < sum(large) < 25
    assert pixels.shape == (60, 3, 256, 256)
    assert not any("big" in tokenizer.decode(row) for row in crops.draw(60, 128)[1])
    sides = crops.large_stickers.side
    assert sides.min() >= STICKER_SIDE[0] * LARGE - 1
    assert sides.max() <= STICKER_SIDE[1] * LARGE + 1
