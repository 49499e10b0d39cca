from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from PIL import Image

from compare.models.source import BUNDLED, CLASSIFIER
from compare.models.vocabulary import Vocabulary
from compare.study.scorers import BACKBONE, Lpips, NoLpips, Scorers, SweepScores, on_small_pictures

CPU = torch.device("cpu")
MINT, NAVY = (Image.new("RGB", (96, 96), colour) for colour in ((178, 232, 200), (34, 42, 86)))


def test_it_counts_what_the_prompt_names_and_the_pictures_show(loaded) -> None:
    vocabulary = Vocabulary.load(BUNDLED / "vocabulary.json")
    reads = replace(loaded, vocabulary=vocabulary, classifier_file=BUNDLED / CLASSIFIER)
    scores = Scorers.of(reads).score("a fox on mint", MINT, NAVY)
    assert (scores.asked, scores.shown, scores.baseline_shown) == (2, 1, 0)


def test_scores_that_are_unavailable_are_named(loaded, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    scorers = Scorers.of(loaded)
    assert scorers.score("a fox on mint", MINT, NAVY) == SweepScores()
    prompt, lpips, flip = scorers.missing
    assert prompt.startswith("How much of the prompt is left is not scored")
    assert lpips.startswith("LPIPS is not scored: it needs the torchvision")
    assert flip == "FLIP is not scored. It needs: pip install flip-evaluator==1.7"


def test_pictures_too_small_for_ms_ssim_are_said_and_not_scored(loaded) -> None:
    scorers, pictures = Scorers.of(loaded), (MINT, NAVY)
    assert scorers.score("a fox", *pictures).ms_ssim is None
    large = [picture.resize((176, 184)) for picture in pictures]
    assert 0 <= scorers.score("a fox", *large).ms_ssim < 1
    assert scorers.score("a fox", large[0], large[0]).ms_ssim == pytest.approx(1)
    requests = [
        loaded.request("a fox", width=width, height=176, steps=2, guidance_scale=4.0) for width in (168, 176)
    ]
    assert on_small_pictures(requests) == ("MS-SSIM is not scored where a side has fewer than 176 pixels.",)
    assert on_small_pictures(requests[1:]) == ()


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
