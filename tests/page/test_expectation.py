"""The sentence on what to expect."""

from __future__ import annotations

import re
from html import unescape

import pytest

from compare.experiment.flops import plans_of
from compare.experiment.pace import Estimate
from compare.request import Request
from page.expectation import expectation_of, sentence
from tests.helpers.tiny_models import sdxl_pipeline


def request(**changes: object) -> Request:
    settings = {"prompt": "a fox", "width": 512, "height": 512, "steps": 12, "guidance_scale": 2.5}
    return Request(**{**settings, **changes})


@pytest.fixture(scope="module")
def plans() -> dict:
    return plans_of(sdxl_pipeline(), request(width=64, height=64))


def with_ceilings(plans: dict, ceiling: float) -> dict:
    """The plans, with this upper bound of the best method."""
    bounds = {"tome": ceiling - 0.1, "todo": ceiling, "baseline": None}
    return {id: plan.model_copy(update={"ceiling": bounds[id]}) for id, plan in plans.items()}


def said(plans: dict, seconds: float | None, limit: int = 600, **changes: object) -> str:
    estimate = None if seconds is None else Estimate(seconds, {})
    html = sentence(expectation_of(request(**changes), plans, estimate, limit))
    return " ".join(re.sub(r"<[^>]*>", "", unescape(html)).split())


def test_seconds_and_the_upper_bound_of_the_best_method(plans: dict) -> None:
    assert said(with_ceilings(plans, 2.151), 24.8) == (
        "Your next run: 512×512 here: about 25 s in all; at most 2.15× faster, by operations. "
        "Factor 2 keeps 1 of 4 tokens."
    )


def test_a_small_gain_is_said_first(plans: dict) -> None:
    words = said(with_ceilings(plans, 1.3), 5.04, width=256, height=256)
    assert words == (
        "Your next run: at 256×256 at most 1.30× faster; fewer steps are the better deal. "
        "It takes about 5.0 s in all."
    )


def test_no_seconds_before_anything_was_timed(plans: dict) -> None:
    words = said(with_ceilings(plans, 2.15), None)
    assert words.startswith("Your next run: 512×512: at most 2.15× faster, by operations.")
    assert "about" not in words


def test_too_long_for_the_server(plans: dict) -> None:
    words = said(with_ceilings(plans, 2.15), 750, width=1920, height=1080)
    assert "1920×1080 would take about 12.5 min here" in words
    assert "stops a run after 10 min" in words


def test_without_a_bound_nothing_is_promised(plans: dict) -> None:
    only = {"baseline": plans["baseline"]}
    assert said(only, 20.0, methods=("baseline",)) == "Your next run: 512×512 here: about 20 s in all."
    assert "×" not in said(only, None, methods=("baseline",)).replace("512×512", "")
