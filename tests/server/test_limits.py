"""What one visitor may ask for."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare.errors import InvalidRequest
from compare.request import Request
from server.limits import Limits, OverLimit, megapixel_steps
from server.runs import Runs

SETTINGS = {
    "prompt": "a fox", "negative_prompt": "", "width": 512, "height": 512, "steps": 25,
    "guidance_scale": 4.0, "seed": 0, "factor": 2, "methods": ["baseline", "todo"], "repeats": 1,
}  # fmt: skip


def request(**changes: object) -> Request:
    return Request(**{**SETTINGS, **changes})


def test_work_counts_pixels_steps_methods_and_repeats() -> None:
    assert megapixel_steps(request(width=1000, height=1000, steps=10, repeats=3)) == 60


@pytest.mark.parametrize(
    ("limits", "changes", "says"),
    [
        (Limits(megapixel_steps=1), {}, "are 13 megapixel-steps; this server allows 1 in a request"),
        (Limits(prompt_characters=4), {}, "The prompt can have 4 characters on this server; this one has 5"),
        (Limits(prompt_characters=8), {"negative_prompt": "a" * 9}, "The negative prompt can have 8"),
        (Limits(repeats=2), {"repeats": 3}, "Repeats can be at most 2 on this server, not 3"),
    ],
)
def test_over_a_limit_a_sentence_says_which_and_what_is_allowed(
    limits: Limits, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(OverLimit, match=says):
        limits.check(request(**changes))


def test_a_request_within_the_limits_passes() -> None:
    Limits().check(request(steps=100))


def test_one_sentence_for_the_page_names_every_limit() -> None:
    limits = Limits(
        megapixel_steps=101, prompt_characters=102, repeats=13, in_line=104, per_minute=105, seconds=106
    )
    for value in asdict(limits).values():
        assert f" {value} " in limits.sentence()


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40),
    st.sampled_from([64, 128, 2048, 1, 2, 100, "baseline", "todo", "a fox", 4.5]),
)  # fmt: skip
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(SETTINGS)), ANYTHING, min_size=1))
def test_any_json_in_any_field_is_accepted_as_it_is_or_refused_with_a_sentence(
    changes: dict[str, object],
) -> None:
    runs = Runs(lambda *_: iter(()), Limits())
    try:
        job = runs.accept({**SETTINGS, **changes}, "somebody", "api")
    except InvalidRequest as error:
        sentence = str(error)
    else:
        sentence = "."
        for name, value in changes.items():
            assert getattr(job.request, name) == (tuple(value) if isinstance(value, list) else value)
    assert sentence.endswith(".")
    assert len(sentence) < 400
