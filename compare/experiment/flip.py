"""FLIP: how different two pictures look to somebody who switches between them, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

PIXELS_PER_DEGREE = 3840 * math.pi / 180
"""Of visual angle: about 67, the package's default. A screen of 3840 pixels, as wide as it is far away."""
PACKAGE = "flip-evaluator==1.7"


class NoFlip(RuntimeError):
    """FLIP is unavailable. `str(error)` says how to get it."""


@dataclass(frozen=True)
class FlipMap:
    """The difference that is seen between a picture and the baseline's."""

    value: float
    """The mean of `errors`: 0 for equal pictures, 1 at most."""
    errors: np.ndarray
    """float32 [height, width], 0 to 1: how much each pixel differs."""

    @property
    def picture(self) -> Image.Image:
        """The map in its authors' colours (magma): black where nothing differs, pale where all does."""
        from matplotlib import colormaps  # takes a moment, and sweeps want the value alone

        levels = np.rint(self.errors.clip(0, 1) * 255).astype(np.uint8)
        return Image.fromarray(colormaps["magma"](levels, bytes=True)[..., :3])


def require_flip() -> None:
    """Raises `NoFlip` if the package is not installed."""
    try:
        import flip_evaluator  # noqa: F401
    except ImportError as error:
        raise NoFlip(f"FLIP is not scored. It needs: pip install {PACKAGE}") from error


def flip_map(image: Image.Image, baseline: Image.Image) -> FlipMap:
    """FLIP for low dynamic range (Andersson and others 2020, by its authors' package `flip-evaluator`).

    Takes 0.3 seconds for 512×512 pixels on one CPU core.

    Args:
        image, baseline: of the same size.

    Raises:
        NoFlip: the package is not installed.
    """
    require_flip()
    from flip_evaluator import evaluate

    errors, _, _ = evaluate(
        _pixels(baseline),
        _pixels(image),
        "LDR",
        applyMagma=False,
        computeMeanError=False,  # it is summed up by threads, in any order
        parameters={"ppd": PIXELS_PER_DEGREE},
    )
    return FlipMap(float(errors.mean(dtype=np.float64)), errors[..., 0])


def _pixels(image: Image.Image) -> np.ndarray:
    """[height, width, 3], 0 to 1, sRGB."""
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255
