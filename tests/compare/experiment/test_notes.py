from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from compare.experiment.measure import prepare
from compare.experiment.worker import run
from compare.models.load import LoadedPipeline
from compare.models.vocabulary import Vocabulary
from compare.request import Request
from tests.helpers.run import finished


def notes(loaded: LoadedPipeline, request: Request) -> str:
    return " ".join(prepare(loaded, request).notes)


def test_words_that_the_model_has_never_seen_are_said(loaded, request_for) -> None:
    small = replace(loaded, vocabulary=Vocabulary(("fox",), ("mint",), ("a", "red", "fox", "on", "mint"), {}))
    assert notes(small, request_for(prompt="a red Fox on mint")) == notes(loaded, request_for())
    assert "“dragon”, “drinking”" in notes(small, request_for(prompt="A dragon, drinking on mint"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": "x" * 14 + " ends"}, "does not see its end: “ends”"),
        ({"negative_prompt": "z" * 40}, "negative prompt is too long"),
        ({"guidance_scale": 1, "negative_prompt": "dog"}, "negative prompt has no effect"),
        ({"guidance_scale": 1}, "odd batches"),
        ({"width": 80, "height": 80}, "cannot be divided evenly"),
        (
            {"tome_ratio": 0.5},
            "ToMe has settings of its own: on the 4×4 grid of tokens it keeps 8 and ToDo 4",
        ),
        (
            {"methods": ("todo",), "tome_seed": 7},
            "Settings that change none of the chosen methods: tome_seed.",
        ),
        ({}, "expect a small gain"),
    ],
)
def test_what_a_reader_must_know_is_said(loaded, request_for, changes, said) -> None:
    assert said in notes(loaded, request_for(**changes))


@pytest.mark.parametrize(
    ("changes", "unsaid"),
    [
        ({"prompt": "short"}, "too long"),
        ({"guidance_scale": 1, "methods": ("todo", "baseline")}, "odd batches"),
        ({}, "cannot be divided evenly"),
        ({"tome_ratio": 0.5}, "cannot be divided evenly"),
        ({"tome_ratio": 0.5}, "change none"),
    ],
)
def test_what_does_not_hold_is_not_said(loaded, request_for, changes, unsaid) -> None:
    assert unsaid not in notes(loaded, request_for(**changes))


def test_a_busy_machine_is_said(loaded, request_for, hand_clock) -> None:
    def said_when_slow_at(call: int) -> bool:
        calls = count(1)

        def work(*_: object) -> None:
            hand_clock.now += 5 if next(calls) == call else 1

        with loaded.pipe.unet.register_forward_pre_hook(work):
            comparison = finished(run(loaded, request_for()))
        return any("something else was using" in note for note in comparison.notes)

    assert said_when_slow_at(4)
    assert not said_when_slow_at(1)  # a warm-up step, which is allowed to be slow


def test_a_fallback_to_another_model_is_said(loaded, request_for) -> None:
    assert prepare(replace(loaded, fallback="Another model."), request_for()).notes[0] == "Another model."
