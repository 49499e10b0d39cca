from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.artwork import BACKGROUNDS, THINGS
from training.labelled import Sheet
from training.scenes import Sticker, caption, choose_things, draw_stickers, with_unknown_words

WHITE = BACKGROUNDS[0]


@pytest.fixture
def pictures() -> list[Image.Image]:
    """A red disc, a green disc, a blue disc."""
    discs = []
    for colour in ("red", "green", "blue"):
        disc = Image.new("RGBA", (192, 192))
        ImageDraw.Draw(disc).ellipse((40, 20, 150, 170), fill=colour)
        discs.append(disc)
    return discs


def test_the_same_seed_draws_the_same_sheet(pictures) -> None:
    first, again, other = (draw_stickers(random.Random(s), pictures, WHITE, 200, 136)[0] for s in (1, 1, 2))
    assert first.size == (200, 136)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_stickers_lie_where_the_sheet_is_not_background(pictures) -> None:
    sheet, stickers = draw_stickers(random.Random(3), pictures, WHITE, 300, 260)
    drawn = np.any(np.asarray(sheet) != WHITE.rgb, axis=-1)
    for left, top, right, bottom in (sticker.box for sticker in stickers):
        inside = drawn[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if inside.size:
            assert inside.any()
            inside[:] = False
    assert not drawn.any()


@pytest.mark.parametrize(
    ("window", "share"),
    [((0, 0, 100, 100), 1), ((20, 0, 100, 100), 0.5), ((20, 30, 100, 100), 0.25), ((30, 0, 100, 100), 0)],
)
def test_the_visible_share_is_the_part_of_the_box_inside_the_window(window, share) -> None:
    assert Sticker(0, (10, 20, 30, 40)).visible(window) == share


def test_a_sheet_shows_of_each_thing_its_most_visible_sticker() -> None:
    stickers = (Sticker(1, (-10, 0, 10, 20)), Sticker(1, (-5, 0, 15, 20)), Sticker(30, (20, 20, 40, 40)))
    sheet = Sheet(np.zeros((64, 64, 3), np.uint8), stickers, background=0)
    assert sheet.visible(24, sheet.window).tolist() == [0, 0.75] + 22 * [0]


def test_captions_name_what_is_drawn() -> None:
    rng = random.Random(0)
    for _ in range(300):
        things = [THINGS[chosen] for chosen in choose_things(rng, 24)]
        background = rng.choice(BACKGROUNDS)
        words = caption(rng, things, background)
        for thing in things:
            assert any(name in words for names in thing.names for name in names), (words, thing)
        assert any(name in words for name in background.names), (words, background)


def test_unknown_words_are_added_to_some_captions_and_take_nothing_away() -> None:
    rng = random.Random(0)
    captions = [with_unknown_words(rng, "a red apple on mint") for _ in range(500)]
    longer = [caption.split() for caption in captions if caption != "a red apple on mint"]
    assert 0.1 < len(longer) / len(captions) < 0.3
    for words in longer:
        assert [word for word in words if word in ("a", "red", "apple", "on", "mint")] == [
            "a", "red", "apple", "on", "mint",
        ]  # fmt: skip
        assert len(words) in (6, 7)


def test_kinds_take_turns_by_row(pictures) -> None:
    _, stickers = draw_stickers(random.Random(1), pictures[:2], WHITE, 400, 400)
    rows: dict[int, set[int]] = {}
    for sticker in stickers:
        middle = (sticker.box[1] + sticker.box[3]) / 2
        rows.setdefault(round(middle / 52), set()).add(sticker.picture)
    assert {sticker.picture for sticker in stickers} == {0, 1}
    assert all(len(kinds) == 1 for kinds in rows.values())
