"""LPIPS: how different two pictures are in the eyes of a network (arXiv 1801.03924)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

BACKBONE = "alexnet-owt-7be5be79.pth"
"""What torchvision calls its AlexNet weights, the network that the paper's authors recommend for scoring."""
FETCH = "python -c \"from torchvision.models import alexnet; alexnet(weights='DEFAULT')\""


class NoLpips(RuntimeError):
    """It cannot be scored here. `str(error)` says what is missing and how to get it."""


class Lpips:
    """0 for equal pictures; about 0.1 for a difference that is seen at a second glance.

    Raises:
        NoLpips: torchvision or its weights are missing. Nothing is ever downloaded.
    """

    def __init__(self, device: torch.device) -> None:
        try:
            import torchvision  # noqa: F401
        except (ImportError, RuntimeError) as error:  # RuntimeError: it was built for another PyTorch
            raise NoLpips(
                "LPIPS is not scored: it needs the torchvision that belongs to the installed torch "
                f"({str(error).splitlines()[0]})."
            ) from error
        weights = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONE
        if not weights.is_file():
            raise NoLpips(f"LPIPS is not scored: {weights} is missing. Fetch it once: {FETCH}")
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        self._metric: nn.Module = LearnedPerceptualImagePatchSimilarity("alex", normalize=True).to(device)
        self._device = device

    def distance(self, image: Image.Image, other: Image.Image) -> float:
        """Of two RGB pictures of the same size, at least 64 px a side."""
        return self._metric(self._tensor(image), self._tensor(other)).item()

    def _tensor(self, image: Image.Image) -> Tensor:
        """(1, 3, height, width), 0 to 1."""
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).to(self._device)
        return pixels.permute(2, 0, 1)[None].float() / 255
