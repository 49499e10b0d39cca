from __future__ import annotations

import pytest

from compare.models.source import BUNDLED
from compare.models.vocabulary import Vocabulary
from training.prompts import fixed_prompts


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.load(BUNDLED / "vocabulary.json")


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("a red apple on mint", ("red apple", "mint")),
        ("Two Foxes and many ladybirds on a dark blue background", ("fox", "ladybug", "navy")),
        ("a green frog, a frog, light green", ("frog", "mint")),
        ("pigs in starlight, oranges", ("pig",)),
        ("a dragon drinking tea", ()),
        ("", ()),
    ],
)
def test_a_prompt_is_read_as_it_is_meant(vocabulary, prompt, asked) -> None:
    assert vocabulary.asked(prompt) == asked


def test_every_prompt_of_the_score_is_read_right(vocabulary) -> None:
    for prompt in fixed_prompts(vocabulary.objects, 200):
        assert set(vocabulary.asked(prompt.text)) == {*prompt.objects, prompt.background}, prompt.text


def test_without_names_nothing_is_asked() -> None:
    assert Vocabulary((), (), (), {}).asked("a fox") == ()
