"""Scores of a sweep beyond `compare.experiment.fidelity`: how much of the prompt is in a picture, and LPIPS.

Both need networks that not every machine and not every model has. What is missing is said in a sentence.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict

from compare.models.load import LoadedPipeline
from compare.models.vocabulary import Vocabulary
from compare.study.classifier import Classifier, load_classifier
from compare.study.perceptual import BACKBONE, Lpips, NoLpips


class Verdict(BaseModel):
    """On one picture. None where it was not scored."""

    model_config = ConfigDict(frozen=True)

    asked: int | None = None
    """How many objects and backgrounds the prompt names that the model knows."""
    shown: int | None = None
    """How many of them the classifier finds in the picture."""
    baseline_shown: int | None = None
    """And in the baseline's."""
    lpips: float | None = None


@dataclass(frozen=True)
class Referee:
    """The networks that there are for a model, on its device."""

    vocabulary: Vocabulary | None
    classifier: Classifier | None
    classifier_id: str | None
    """Fingerprint of the classifier's file."""
    perceptual: Lpips | None
    missing: tuple[str, ...]
    """A sentence for each that there is not."""

    @classmethod
    def of(cls, loaded: LoadedPipeline) -> Referee:
        missing, classifier, classifier_id = [], None, None
        if loaded.classifier_file is None or loaded.vocabulary is None:
            missing.append(
                "How much of the prompt is left is not scored: only the bundled model comes with a network "
                "that reads its pictures."
            )
        else:
            classifier = load_classifier(loaded.classifier_file).to(loaded.device)
            classifier_id = hashlib.sha256(loaded.classifier_file.read_bytes()).hexdigest()[:16]
        try:
            perceptual = Lpips(loaded.device)
        except NoLpips as error:
            perceptual = None
            missing.append(str(error))
        return cls(loaded.vocabulary, classifier, classifier_id, perceptual, tuple(missing))

    @property
    def lpips_id(self) -> str | None:
        return None if self.perceptual is None else BACKBONE

    @torch.no_grad()
    def judge(self, prompt: str, picture: Image.Image, baseline: Image.Image) -> Verdict:
        """Both pictures have the same size, at least 64 px a side."""
        asked = shown = baseline_shown = lpips = None
        if self.classifier is not None:
            names = set(self.vocabulary.asked(prompt))
            asked = len(names)
            shown, baseline_shown = (
                len(names & {*reading.seen, reading.background})
                for reading in map(self.classifier.read, (picture, baseline))
            )
        if self.perceptual is not None:
            lpips = self.perceptual.distance(picture, baseline)
        return Verdict(asked=asked, shown=shown, baseline_shown=baseline_shown, lpips=lpips)
