from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from PIL import Image

from compare.models.source import BUNDLED, CLASSIFIER
from compare.models.vocabulary import Vocabulary
from compare.study.perceptual import BACKBONE, Lpips, NoLpips
from compare.study.scorers import Referee, Verdict

CPU = torch.device("cpu")
MINT, NAVY = (Image.new("RGB", (96, 96), colour) for colour in ((178, 232, 200), (34, 42, 86)))


def test_it_counts_what_the_prompt_names_and_the_pictures_show(loaded) -> None:
    vocabulary = Vocabulary.load(BUNDLED / "vocabulary.json")
    reads = replace(loaded, vocabulary=vocabulary, classifier_file=BUNDLED / CLASSIFIER)
    verdict = Referee.of(reads).judge("a fox on mint", MINT, NAVY)
    assert (verdict.asked, verdict.shown, verdict.baseline_shown) == (2, 1, 0)


def test_what_cannot_be_scored_is_said(loaded, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    referee = Referee.of(loaded)
    assert referee.judge("a fox on mint", MINT, NAVY) == Verdict()
    assert len(referee.missing) == 2
    assert referee.missing[0].startswith("How much of the prompt is left is not scored")
    assert referee.missing[1].startswith("LPIPS is not scored: it needs the torchvision")


def test_lpips_without_weights_says_how_to_get_them_and_fetches_nothing(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(NoLpips, match=r"Fetch it once: python -c"):
        Lpips(CPU)
    assert not list(tmp_path.rglob("*"))


def test_lpips_is_zero_for_equal_pictures_and_grows(monkeypatch, tmp_path) -> None:
    models = pytest.importorskip("torchvision.models", exc_type=(ImportError, RuntimeError))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    weights = tmp_path / "hub" / "checkpoints" / BACKBONE
    torch.save(models.alexnet(weights=None).state_dict(), weights)
    lpips = Lpips(CPU)
    noisy = Image.effect_noise(MINT.size, 60).convert("RGB")
    assert lpips.distance(MINT, MINT) == 0
    assert 0 < lpips.distance(MINT, Image.blend(MINT, noisy, 0.2)) < lpips.distance(MINT, noisy)
