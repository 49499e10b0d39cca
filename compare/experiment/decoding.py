"""Decoding a large picture in tiles, so that the VAE does not need more memory than the UNet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers import AutoencoderKL

from compare.request import Request

TILED_ABOVE = 1536 * 1536
"""Pixels. SDXL's decoder holds 256 channels three times: 3.6 GB in float16, and 6.4 GB at 2048×2048."""


def is_tiled(request: Request) -> bool:
    """Whether the pictures of a request are decoded in overlapping tiles. It depends on the size alone, so
    that the same request gives the same picture on every machine."""
    return request.width * request.height > TILED_ABOVE


@contextmanager
def tiled_where_large(vae: AutoencoderKL, request: Request) -> Iterator[None]:
    """Decode in tiles inside, where the size asks for it; the VAE is left as it was.

    The VAE's slicing is not used: it decodes a batch picture by picture, and here a batch is one picture.
    """
    before = vae.use_tiling
    if is_tiled(request):
        vae.enable_tiling()
    try:
        yield
    finally:
        vae.use_tiling = before
