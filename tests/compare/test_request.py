from __future__ import annotations

from dataclasses import fields

import pytest

from compare.errors import InvalidRequest
from compare.methods import METHODS, TOME
from compare.request import Request

SHOWN = ("baseline", "todo", "tome", "forecast")

BAD = {
    "empty prompt": ({"prompt": ""}, "empty"),
    "blank prompt": ({"prompt": " \n\t"}, "empty"),
    "endless prompt": ({"prompt": "x" * 77_000}, "2000 characters; this one has 77000"),
    "no text": ({"prompt": 7}, "must be text"),
    "half a character": ({"prompt": "a \ud83d fox"}, "not valid Unicode"),
    "endless negative prompt": ({"negative_prompt": "x" * 77_000}, "negative prompt can have 2000"),
    "tiny": ({"width": 3}, "Width must be a multiple of 8 from 64 to 2048 pixels, not 3"),
    "huge": ({"height": 100_000}, "Height must be a multiple of 8 from 64 to 2048 pixels, not 100000"),
    "not a number": ({"width": float("nan")}, "not nan"),
    "infinite": ({"height": float("inf")}, "not inf"),
    "between two sizes": ({"width": 513}, "multiple of 8"),
    "a fraction of a pixel": ({"width": 512.5}, "not 512.5"),
    "size in words": ({"width": "512"}, "not '512'"),
    "no steps": ({"steps": 0}, "Steps must be a whole number from 1 to 100, not 0"),
    "half a step": ({"steps": 1.5}, "not 1.5"),
    "too many steps": ({"steps": 101}, "1 to 100"),
    "true steps": ({"steps": True}, "not True"),
    "factor 0": ({"factor": 0}, "Factor must be a whole number from 1 to 8, not 0"),
    "factor 1.5": ({"factor": 1.5}, "not 1.5"),
    "a factor 1.5 among others": ({"factor": (2, 1.5)}, "not 1.5"),
    "no factor": ({"factor": ()}, "none was given"),
    "negative seed": ({"seed": -1}, "Seed must be a whole number from 0"),
    "no seed": ({"seed": None}, "not nothing"),
    "guidance that is none": ({"guidance_scale": float("nan")}, "must be a number from 0 to 30"),
    "too much guidance": ({"guidance_scale": 31}, "not 31"),
    "unknown method": ({"methods": ("baseline", "magic")}, "'magic' is not one of them"),
    "one method as a string": ({"methods": "todo"}, "must be a list"),
    "no method": ({"methods": ()}, "choose some of baseline"),
    "a list for a method": ({"methods": [[]]}, "[] is not one of them"),
    "an object for a method": ({"methods": [{"todo": 2}]}, "is not one of them"),
    "a method twice": ({"methods": ("todo", "todo")}, "once"),
    "a method that is no string": ({"methods": [None]}, "nothing is not one of them"),
    "fewer steps than nothing": ({"methods": ("baseline", "fewer-steps")}, "needs baseline and todo"),
    "no repeats": ({"repeats": 0}, "Repeats must be"),
    "a level without a factor": ({"factor": "4, "}, "Factor must be a whole number from 1 to 8, not ''"),
    "a factor in words": ({"factor": "four"}, "not 'four'"),
    "nine levels": ({"factor": [2] * 9}, "Factor can have 8 numbers, one for each level; got 9"),
    "on for no step": ({"until": 0}, "Until must be a number from 0.01 to 1, not 0"),
    "unknown pooling": ({"pooling": "median"}, "Pooling must be nearest or average, not 'median'"),
    "pooling in a list": ({"pooling": ["nearest"]}, "Pooling must be nearest or average"),
    "all forecast": ({"forecast_share": 1}, "Forecast share must be a number from 0 to 0.6, not 1"),
    "ratio above 1": ({"tome_ratio": 1.5}, "ToMe ratio must be a number from 0 to 1, not 1.5"),
    "stride 1": ({"tome_stride": 1}, "ToMe stride must be a whole number from 2 to 8, not 1"),
    "half a level": ({"tome_levels": 1.5}, "ToMe levels must be a whole number from 1 to 8, not 1.5"),
    "a stride in words": ({"tome_stride": "wide"}, "not 'wide'"),
    "a seed in words": ({"tome_seed": "7"}, "ToMe seed must be a whole number"),
}  # fmt: skip
NOT_TOGETHER = {
    "averages that rotate": (
        {"pooling": "average", "methods": ("todo-rotating",)}, "leaves the rotating grid no token to choose",
    ),
    "a ratio that would be capped": ({"tome_ratio": 0.8}, "be a number from 0 to 0.75 = 1 - 1/stride²"),
    "no equal in ToMe": ({"factor": (4, 2)}, "Or give ToMe a stride of its own."),
}  # fmt: skip


@pytest.mark.parametrize("changes", [changes for changes, _ in BAD.values()], ids=BAD.keys())
def test_a_refusal_names_its_field(request_for, changes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request_for(**changes)
    assert [caught.value.field] == list(changes)


def test_every_number_and_text_is_refused_under_the_name_of_its_field(request_for) -> None:
    for field in fields(Request):
        with pytest.raises(InvalidRequest) as caught:
            request_for(**{field.name: object()})
        assert caught.value.field == field.name


@pytest.mark.parametrize(("changes", "says"), [*BAD.values(), *NOT_TOGETHER.values()])
def test_bad_input_gets_one_sentence_that_says_what_is_allowed(request_for, changes, says) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request_for(**changes)
    sentence = str(caught.value)
    assert says in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 250


def test_the_limits_themselves_are_allowed(request_for) -> None:
    request_for(width=64, height=2048, steps=1, guidance_scale=0, seed=2**32 - 1, factor=8, repeats=20)
    request_for(prompt="x" * 2000, steps=100, guidance_scale=30.0, seed=0, factor=(1, 2), methods=("todo",))
    request_for(until=0.01, forecast_share=0.6, tome_ratio=63 / 64, tome_stride=8, tome_levels=8)
    request_for(tome_ratio=0, tome_stride=2, tome_levels=1, tome_seed=2**32 - 1, pooling="average")


def test_a_factor_may_come_as_a_list_or_as_it_is_typed(request_for) -> None:
    todo = {"methods": ["todo"]}
    assert request_for(factor=[4, 2], **todo).factor == request_for(factor="4, 2", **todo).factor == (4, 2)
    assert request_for(factor=" 3 ").factor == 3


def test_an_optional_number_may_come_as_it_is_typed(request_for) -> None:
    asked = request_for(tome_ratio="0.5", tome_stride=" 3 ", tome_levels="")
    assert (asked.tome_ratio, asked.tome_stride, asked.tome_levels) == (0.5, 3, None)


def test_a_name_says_those_settings_of_a_method_that_are_not_its_default(request_for) -> None:
    asked = request_for(until=0.5, pooling="average", tome_ratio=1 / 3, tome_seed=7, forecast_share=0.25)
    assert {method.id: asked.label_of(method) for method in METHODS if method.id in SHOWN} == {
        "baseline": "Baseline",
        "todo": "ToDo (until 0.5, pooling average)",
        "tome": "ToMe (until 0.5, ratio 0.333333, seed 7)",
        "forecast": "Forecast (share 0.25)",
    }
    for method in METHODS:
        assert request_for().label_of(method) == method.label
    assert request_for(tome_stride=2, tome_ratio=0.75).settings_of(TOME) == ""  # the equal of factor 2
    # Without its stride this ratio would not be allowed.
    assert request_for(tome_stride=3, tome_ratio=0.8).settings_of(TOME) == "ratio 0.8, stride 3"


def test_settings_that_change_nothing_are_known(request_for) -> None:
    asked = request_for(methods=("baseline", "todo"), tome_seed=7, until=0.5)
    assert asked.idle_settings == ("tome_seed",)


def test_methods_may_come_as_a_list(request_for) -> None:
    assert request_for(methods=["todo", "baseline"]).methods == ("todo", "baseline")


def test_baseline_runs_first_and_fewer_steps_last(request_for) -> None:
    asked = request_for(methods=("fewer-steps", "todo", "baseline", "tome"))
    assert [method.id for method in asked.chosen] == ["baseline", "todo", "tome", "fewer-steps"]


def test_a_request_takes_size_steps_and_guidance_from_the_model(loaded) -> None:
    asked = loaded.request("a fox", steps=5)
    assert (asked.width, asked.height, asked.steps, asked.guidance_scale) == (128, 128, 5, 5.0)
