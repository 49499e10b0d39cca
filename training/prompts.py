"""The fixed prompts by which a model is scored."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.artwork import BACKGROUNDS, THINGS
from training.scenes import article, caption

FIRST_SEED = 1000  # the n-th prompt is drawn with seed FIRST_SEED + n, n from 0


@dataclass(frozen=True)
class Prompt:
    """What is asked for, in words and by the usual names."""

    text: str
    objects: tuple[str, ...]
    background: str
    seed: int
    """Of the starting noise."""


def fixed_prompts(objects: Sequence[str], count: int = 200) -> list[Prompt]:
    """The first ``count`` of an endless list that is always the same for the same objects.

    Any sixteen in a row ask for every background twice, once with one object and once with two; any eight in
    a row for every background once. The objects take turns. Half of the prompts are plain ("a fox and a pig
    on mint"), half are worded like the captions of the training crops: synonyms, plurals, other phrases.

    Raises:
        ValueError: an object is not among THINGS.
    """
    by_name = {thing.name: thing for thing in THINGS}
    if unknown := [name for name in objects if name not in by_name]:
        raise ValueError(f"There is no artwork called {', '.join(unknown)}.")
    rng = random.Random(0)
    turns = _in_turns(rng, objects)
    prompts = []
    for i in range(count):
        background = BACKGROUNDS[i % len(BACKGROUNDS)]
        names = [next(turns)]
        if (i + i // 8) % 2:
            names.append(next(name for name in turns if name not in names))
        if (i // 2 + i // 16) % 2:
            text = caption(rng, [by_name[name] for name in names], background)
        else:
            text = " and ".join(f"{article(name)} {name}" for name in names) + f" on {background.name}"
        prompts.append(Prompt(text, tuple(names), background.name, FIRST_SEED + i))
    return prompts


def _in_turns(rng: random.Random, objects: Sequence[str]) -> Iterator[str]:
    """All objects in random order, then all in another, for ever."""
    while True:
        yield from rng.sample(objects, len(objects))
