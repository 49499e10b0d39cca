from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

from compare.experiment.fidelity import score


@pytest.fixture
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(40, 200, (64, 96, 3), dtype=np.uint8))


def test_a_change_of_brightness_has_the_psnr_of_the_textbook_and_keeps_fine_detail(noise) -> None:
    brighter = score(Image.fromarray(np.asarray(noise) + np.uint8(5)), noise)
    assert brighter.psnr == pytest.approx(10 * math.log10(255**2 / 25), abs=1e-3)
    assert brighter.high_frequency == pytest.approx(1, abs=0.01)


def test_an_identical_picture_has_no_psnr_but_says_so(noise) -> None:
    scores = score(noise.copy(), noise)
    assert scores.identical
    assert scores.psnr is None
    assert scores.ssim == pytest.approx(1)
    assert scores.high_frequency == pytest.approx(1)


def test_blur_loses_fine_detail_and_ssim_and_noise_adds_detail(noise) -> None:
    blurred = noise.filter(ImageFilter.GaussianBlur(2))
    assert score(blurred, noise).high_frequency < 0.05
    assert 0 < score(blurred, noise).ssim < 0.9
    assert score(noise, blurred).high_frequency > 20


def test_a_flat_baseline_has_no_fine_detail_to_keep(noise) -> None:
    flat = Image.new("RGB", noise.size, "#808080")
    assert score(noise, flat).high_frequency is None
