from __future__ import annotations

from collections import Counter

import pytest

from training.artwork import BACKGROUNDS, THINGS
from training.prompts import fixed_prompts

OBJECTS = [thing.name for thing in THINGS[:24]]


def test_the_list_is_always_the_same_and_fewer_are_its_beginning() -> None:
    prompts = fixed_prompts(OBJECTS)
    assert len(prompts) == 200
    assert prompts == fixed_prompts(OBJECTS)
    assert prompts[:24] == fixed_prompts(OBJECTS, 24)
    assert len({prompt.seed for prompt in prompts}) == 200
    first, second = prompts[:2]
    assert (first.text, second.text) == ("a ladybug on white", "a mushroom and a banana on mint")


@pytest.mark.parametrize("count", [8, 24, 64, 200])
def test_numbers_of_objects_and_backgrounds_are_balanced(count) -> None:
    prompts = fixed_prompts(OBJECTS, count)
    assert Counter(len(prompt.objects) for prompt in prompts) == {1: count // 2, 2: count // 2}
    backgrounds = Counter(prompt.background for prompt in prompts)
    assert backgrounds == {background.name: count // 8 for background in BACKGROUNDS}


def test_every_object_is_asked_for_equally_often() -> None:
    asked = Counter(name for prompt in fixed_prompts(OBJECTS) for name in prompt.objects)
    assert set(asked) == set(OBJECTS)
    assert max(asked.values()) - min(asked.values()) <= 2


def test_half_are_plain_and_half_have_other_words() -> None:
    prompts = fixed_prompts(OBJECTS)
    plain = [p for p in prompts if all(f" {word}" in f" {p.text}" for word in (*p.objects, p.background))]
    assert 100 <= len(plain) < 170


def test_two_objects_are_different_ones() -> None:
    for objects in (OBJECTS, OBJECTS[:3], OBJECTS[:2]):
        assert all(len(set(p.objects)) == len(p.objects) for p in fixed_prompts(objects))


def test_an_object_without_artwork_is_refused() -> None:
    with pytest.raises(ValueError, match="no artwork called gryphon"):
        fixed_prompts(["red apple", "gryphon"])
