"""The fixed prompts: twelve examples to look at, and an endless list to score a model by."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.artwork import BACKGROUNDS, THINGS
from training.scenes import article, caption

EXAMPLES = (
    "a red apple on mint",
    "a fox on navy",
    "a butterfly on sky blue",
    "a frog on pink",
    "a mushroom on yellow",
    "a penguin on orange",
    "an alien on lavender",
    "a sunflower on white",
    "pineapples on navy",
    "a koala on pink",
    "doughnuts on white",
    "a star and a bee on navy",
)
EXAMPLE_SEED = 100  # the n-th example is drawn with seed EXAMPLE_SEED + n, n from 0
FIRST_SEED = 1000  # the n-th scored prompt is drawn with seed FIRST_SEED + n, n from 0


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
    a row for every background once. All objects come equally often. Half of the prompts are plain ("a fox and
    a pig on mint"), half are worded like the captions of the crops: synonyms, plurals, other phrases.

    Raises:
        ValueError: an object is not among THINGS.
    """
    by_name = {thing.name: thing for thing in THINGS}
    if unknown := [name for name in objects if name not in by_name]:
        raise ValueError(f"There is no artwork called {', '.join(unknown)}.")
    rng = random.Random(0)
    cycle = _cycle(rng, objects)
    prompts = []
    for i in range(count):
        background = BACKGROUNDS[i % len(BACKGROUNDS)]
        names = [next(cycle)]
        if (i + i // 8) % 2:
            names.append(next(name for name in cycle if name not in names))
        if (i // 2 + i // 16) % 2:
            text = caption(rng, [by_name[name] for name in names], background)
        else:
            text = " and ".join(f"{article(name)} {name}" for name in names) + f" on {background.name}"
        prompts.append(Prompt(text, tuple(names), background.name, FIRST_SEED + i))
    return prompts


def _cycle(rng: random.Random, objects: Sequence[str]) -> Iterator[str]:
    """All objects in random order, then all in another random order, without end."""
    while True:
        yield from rng.sample(objects, len(objects))
