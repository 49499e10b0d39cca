"""Scores of a sweep beside those of every comparison: how much of the prompt is in a picture, LPIPS, FLIP,
MS-SSIM.

Some need networks or a package that not every machine or model has: `Scorers.missing` names those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel
from torch import Tensor, nn

from compare.experiment.fidelity import MULTISCALE_FROM, multiscale_ssim
from compare.experiment.flip import FlipMap, NoFlip, flip_map, require_flip
from compare.models.load import LoadedPipeline
from compare.models.vocabulary import Vocabulary
from compare.request import Request
from compare.study.classifier import Classifier, load_classifier

BACKBONE = "alexnet-owt-7be5be79.pth"
"""torchvision's name of its AlexNet weights, the network that the authors of LPIPS recommend for scoring."""
FETCH = "python -c \"from torchvision.models import alexnet; alexnet(weights='DEFAULT')\""


class SweepScores(BaseModel, frozen=True):
    """Of one picture. None if it was not scored."""

    asked: int | None = None
    """How many objects and backgrounds the prompt names that the model knows."""
    shown: int | None = None
    """How many of them the classifier finds in the picture."""
    baseline_shown: int | None = None
    """And in the baseline's."""
    lpips: float | None = None
    flip: float | None = None
    """At `compare.experiment.flip.PIXELS_PER_DEGREE`."""
    ms_ssim: float | None = None


@dataclass(frozen=True)
class Scorers:
    """What is available for a model: networks on its device, and FLIP."""

    vocabulary: Vocabulary | None
    classifier: Classifier | None
    classifier_id: str | None
    """Fingerprint of the classifier's file."""
    lpips: Lpips | None
    flip: Callable[[Image.Image, Image.Image], FlipMap] | None
    missing: tuple[str, ...]
    """A sentence for each that is not available."""

    @classmethod
    def of(cls, loaded: LoadedPipeline) -> Scorers:
        missing, classifier, classifier_id, lpips, flip = [], None, None, None, None
        if loaded.classifier_file is None or loaded.vocabulary is None:
            missing.append(
                "How much of the prompt is left is not scored: only the bundled model comes with a network "
                "that reads its pictures."
            )
        else:
            classifier = load_classifier(loaded.classifier_file).to(loaded.device)
            classifier_id = hashlib.sha256(loaded.classifier_file.read_bytes()).hexdigest()[:16]
        try:
            lpips = Lpips(loaded.device)
        except NoLpips as error:
            missing.append(str(error))
        try:
            require_flip()
            flip = flip_map
        except NoFlip as error:
            missing.append(str(error))
        return cls(loaded.vocabulary, classifier, classifier_id, lpips, flip, tuple(missing))

    @torch.no_grad()
    def score(self, prompt: str, picture: Image.Image, baseline: Image.Image) -> SweepScores:
        """Both pictures have the same size, at least 64 px a side."""
        asked = shown = baseline_shown = lpips = None
        if self.classifier is not None:
            names = set(self.vocabulary.asked(prompt))
            asked = len(names)
            shown, baseline_shown = (
                len(names & {*reading.seen, reading.background})
                for reading in map(self.classifier.read, (picture, baseline))
            )
        if self.lpips is not None:
            lpips = self.lpips.distance(picture, baseline)
        return SweepScores(
            asked=asked,
            shown=shown,
            baseline_shown=baseline_shown,
            lpips=lpips,
            flip=self.flip(picture, baseline).value if self.flip else None,
            ms_ssim=multiscale_ssim(picture, baseline),
        )


def on_small_pictures(requests: Iterable[Request]) -> tuple[str, ...]:
    """A sentence if MS-SSIM cannot be scored in some of the comparisons."""
    if all(min(request.width, request.height) >= MULTISCALE_FROM for request in requests):
        return ()
    return (f"MS-SSIM is not scored where a side has fewer than {MULTISCALE_FROM} pixels.",)


class NoLpips(RuntimeError):
    """LPIPS is unavailable. `str(error)` says what is missing and how to get it."""


class Lpips:
    """LPIPS: the distance of two pictures in the features of a network (arXiv 1801.03924).

    0 for equal pictures; about 0.1 for a difference that is seen at a second glance.

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
