"""How close a picture is to the baseline's."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from compare.report import Scores

FINE = 0.5  # of the Nyquist frequency: detail finer than four pixels a period

MULTISCALE_FROM = 176
"""Pixels a side. MS-SSIM halves a picture four times, and compares windows of 11 pixels on the smallest."""


def score(image: Image.Image, baseline: Image.Image) -> Scores:
    """Score a picture against the baseline's, on 8-bit RGB. Both have the same size, at least 11×11."""
    from torchmetrics.functional.image import (  # takes a moment, for which a page that starts need not wait
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    ours, theirs = _tensor(image), _tensor(baseline)
    identical = torch.equal(ours, theirs)
    fine, baseline_fine = _fine_energy(image), _fine_energy(baseline)
    return Scores(
        identical=identical,
        psnr=None if identical else peak_signal_noise_ratio(ours, theirs, data_range=255.0).item(),
        ssim=structural_similarity_index_measure(ours, theirs, data_range=255.0).item(),
        high_frequency=fine / baseline_fine if baseline_fine > 0 else None,
    )


def multiscale_ssim(image: Image.Image, baseline: Image.Image) -> float | None:
    """MS-SSIM on 8-bit RGB (Wang and others 2003): structural similarity at five resolutions, 1 for identical
    pictures. Both have the same size; None if a side has fewer than `MULTISCALE_FROM` pixels."""
    if min(image.size) < MULTISCALE_FROM:
        return None
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    return multiscale_structural_similarity_index_measure(
        _tensor(image).double(), _tensor(baseline).double(), data_range=255.0
    ).item()


def _tensor(image: Image.Image) -> torch.Tensor:
    """(1, 3, height, width), 0 to 255."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)


def _fine_energy(image: Image.Image) -> float:
    luminance = np.asarray(image.convert("L"), dtype=np.float64)
    height, width = luminance.shape
    # The window fades the borders out: the Fourier transform would take the jump between them for detail.
    window = np.outer(np.hanning(height), np.hanning(width))
    spectrum = np.abs(np.fft.fft2((luminance - luminance.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    return float(spectrum[radius > FINE * 0.5].sum())
