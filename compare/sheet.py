"""One picture with all results side by side."""

from __future__ import annotations

from PIL import Image

from compare.report import Comparison


def contact_sheet(comparison: Comparison) -> Image.Image:
    """All pictures in a row, each with its method, seconds, speed-up and PSNR below."""
    raise NotImplementedError
