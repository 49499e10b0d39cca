from __future__ import annotations

import pytest

from compare.errors import InvalidRequest

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
}  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_sentence_that_says_what_is_allowed(request_for, changes, says) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request_for(**changes)
    sentence = str(caught.value)
    assert says in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 200


def test_the_limits_themselves_are_allowed(request_for) -> None:
    request_for(width=64, height=2048, steps=1, guidance_scale=0, seed=2**32 - 1, factor=8, repeats=20)
    request_for(prompt="x" * 2000, steps=100, guidance_scale=30.0, seed=0, factor=(1, 2))


def test_methods_may_come_as_a_list(request_for) -> None:
    assert request_for(methods=["todo", "baseline"]).methods == ("todo", "baseline")


def test_baseline_runs_first_and_fewer_steps_last(request_for) -> None:
    asked = request_for(methods=("fewer-steps", "todo", "baseline", "tome"))
    assert [method.id for method in asked.chosen] == ["baseline", "todo", "tome", "fewer-steps"]


def test_a_request_takes_size_steps_and_guidance_from_the_model(loaded) -> None:
    asked = loaded.request("a fox", steps=5)
    assert (asked.width, asked.height, asked.steps, asked.guidance_scale) == (128, 128, 5, 5.0)
