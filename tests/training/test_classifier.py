from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from compare.study.classifier import Classifier, load_classifier
from training.artwork import BACKGROUNDS, THINGS
from training.classifier import HELD_OUT_SEED, WEIGHTS, check_classifier
from training.labelled import draw_sheets, unknown_things


def test_it_is_small() -> None:
    assert WEIGHTS.stat().st_size < 4e6
    assert sum(weight.numel() for weight in load_classifier(WEIGHTS).parameters()) < 1.5e6


def test_its_labels_are_the_things_in_the_order_in_which_they_are_learnt(classifier) -> None:
    assert classifier.objects == tuple(thing.name for thing in THINGS[: len(classifier.objects)])
    assert classifier.backgrounds == tuple(background.name for background in BACKGROUNDS)


@pytest.mark.parametrize("background", BACKGROUNDS, ids=lambda background: background.name)
def test_an_empty_sheet_is_its_background_and_nothing_else(classifier, background) -> None:
    reading = classifier.read(Image.new("RGB", (264, 136), background.rgb))
    assert reading.background == background.name
    assert reading.seen == ()


@pytest.mark.usefixtures("artwork")
@pytest.mark.parametrize(("side", "count", "least"), [(128, 60, 57), (256, 30, 30), (512, 30, 29)])
def test_it_reads_sheets_it_has_never_seen(classifier, side, count, least) -> None:
    sheets = draw_sheets(len(classifier.objects), count, side, HELD_OUT_SEED + 1)
    accuracy = check_classifier(classifier, sheets)
    assert accuracy.all_right >= least  # few sheets; training/README.md has the share of many
    assert accuracy.background_right == count


@pytest.mark.usefixtures("artwork")
def test_it_reads_soft_pictures(classifier) -> None:
    sheets = draw_sheets(len(classifier.objects), 30, 192, HELD_OUT_SEED + 2)
    blur = ImageFilter.GaussianBlur(3)
    soft = [replace(s, pixels=np.asarray(Image.fromarray(s.pixels).filter(blur))) for s in sheets]
    assert check_classifier(classifier, soft).all_right >= 29


@pytest.mark.usefixtures("artwork")
def test_it_seldom_takes_something_else_for_a_thing_it_knows(classifier) -> None:
    sheets = draw_sheets(len(classifier.objects), 30, 256, HELD_OUT_SEED + 3, unknown_things)
    fooled = [classifier.read(Image.fromarray(sheet.pixels)).seen for sheet in sheets]
    assert sum(map(bool, fooled)) <= 6  # of 30 with three unknown things each


def test_saved_and_loaded_it_reads_the_same(classifier, tmp_path) -> None:
    noise = Image.frombytes("RGB", (130, 90), random.Random(0).randbytes(130 * 90 * 3))
    classifier.save(tmp_path / "again.safetensors")
    again = load_classifier(tmp_path / "again.safetensors")
    assert isinstance(again, Classifier)
    assert again.read(noise) == classifier.read(noise)
