from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from compare.experiment.flip import PIXELS_PER_DEGREE, flip_map

package = pytest.importorskip("flip_evaluator")


@pytest.fixture
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(40, 200, (48, 96, 3), dtype=np.uint8))


def test_equal_pictures_do_not_differ(noise) -> None:
    assert flip_map(noise.copy(), noise).value == 0


def test_the_map_says_where(noise) -> None:
    changed = noise.copy()
    changed.paste((255, 0, 0), (0, 0, 24, 48))
    found = flip_map(changed, noise)
    assert found.errors.shape == (48, 96)
    assert found.errors[:, :24].mean() > 0.2
    assert found.errors[:, 48:].max() < 0.05
    assert found.value == pytest.approx(found.errors.mean())


def test_it_is_the_number_of_the_package_as_it_ships(noise) -> None:
    brighter = Image.fromarray(np.asarray(noise) + np.uint8(20))
    pixels = [np.asarray(picture, dtype=np.float32) / 255 for picture in (noise, brighter)]
    _, mean, parameters = package.evaluate(*pixels, "LDR")
    assert parameters["ppd"] == pytest.approx(PIXELS_PER_DEGREE, abs=1e-4)
    assert flip_map(brighter, noise).value == pytest.approx(mean, abs=1e-4)


def test_the_map_is_black_where_nothing_differs_and_bright_where_much_does() -> None:
    black, half = Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64))
    half.paste("white", (32, 0, 64, 64))
    picture = flip_map(half, black).picture
    assert picture.size == (64, 64)
    assert sum(picture.getpixel((2, 32))) < 30
    assert sum(picture.getpixel((60, 32))) > 300
