"""What to compare: the methods there are, and a request that is valid or does not exist."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

SIZES = (64, 2048)  # pixels, each side
SIZE_MULTIPLE = 8
STEPS = (1, 100)
GUIDANCE = (0.0, 30.0)
SEEDS = (0, 2**32 - 1)
FACTORS = (1, 8)
REPEATS = (1, 20)
PROMPT_CHARACTERS = 2000


class InvalidRequest(ValueError):
    """A request that cannot be run. `str(error)` is one sentence: what is allowed, and what was given."""


@dataclass(frozen=True)
class Method:
    """One column of the comparison."""

    id: str
    label: str
    description: str


METHODS = (
    Method("baseline", "Baseline", "the model as its authors shipped it"),
    Method("tome", "ToMe", "similar tokens are merged before attention and copied back after it"),
    Method("todo", "ToDo", "keys and values come from a downsampled grid; queries stay whole"),
    Method(
        "todo-rotating",
        "ToDo, rotating grid",
        "ToDo on a grid that moves with every step and block; with factor 2 at 512×512 it is 11.5 dB closer "
        "to Baseline than ToDo (mean of 20 prompts, bundled model)",
    ),
    Method("fewer-steps", "Fewer steps", "Baseline with as many steps as fit into ToDo's time"),
)
GRID_VARIANTS = (
    Method("todo-centre", "ToDo, centre", "always the token at the centre of its cell"),
    Method("todo-average", "ToDo, average", "the mean of the cell instead of one of its tokens"),
    Method("todo-raster", "ToDo, row by row", "rotating, but the cell is gone through row by row"),
    Method("todo-by-step", "ToDo, by step", "rotating with the steps only: the same token in all blocks"),
    Method("todo-by-block", "ToDo, by block", "rotating with the blocks only: the same tokens at every step"),
    Method("todo-random", "ToDo, random", "a random token of the cell for each step and block"),
    Method("todo-random-by-step", "ToDo, random by step", "a random token for each step, in all blocks"),
    Method("todo-coarse-early", "ToDo, coarse early", "rotating; factor + 1 for half the steps, then - 1"),
    Method("todo-fine-early", "ToDo, fine early", "rotating; factor - 1 for half the steps, then + 1"),
)
"""What docs/rotating-grid.md sets beside the two grids. Sweeps know them; the page does not."""


def method_of(id: str) -> Method:
    """The method with this id, a variant included. Raises `InvalidRequest` if there is none."""
    for method in (*METHODS, *GRID_VARIANTS):
        if method.id == id:
            return method
    raise InvalidRequest(f"Methods are {_listed(m.id for m in METHODS)}; {_shown(id)} is not one of them.")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One comparison. Every field is checked on construction; nothing is rounded or cut to fit.

    `LoadedPipeline.request(prompt, ...)` fills in the size, steps and guidance that suit the model.

    Args:
        prompt: what to draw, at most `PROMPT_CHARACTERS` characters.
        negative_prompt: what to keep away from; "" for none.
        width, height: pixels, multiples of 8.
        steps: denoising steps.
        guidance_scale: classifier-free guidance; 1 and below switch it off.
        seed: of the starting noise, which is made on the CPU, the same for every method.
        factor: of downsampling, at the finest attention grid; a tuple names one per level, finest first.
            ToMe is given the equal reduction.
        methods: ids from `METHODS`. Without "baseline" there are no speed-ups and no scores.
            "fewer-steps" needs "baseline" and "todo" beside it.
        repeats: how often each method is timed; above 1 the methods take turns and the median counts.

    Raises:
        InvalidRequest: with one sentence that says what is allowed.
    """

    known: ClassVar[tuple[Method, ...]] = METHODS

    prompt: str
    negative_prompt: str = ""
    width: int
    height: int
    steps: int
    guidance_scale: float
    seed: int = 0
    factor: int | tuple[int, ...] = 2
    methods: tuple[str, ...] = ("baseline", "tome", "todo")
    repeats: int = 1

    def __post_init__(self) -> None:
        _check_text("The prompt", self.prompt)
        if not self.prompt.strip():
            raise InvalidRequest("The prompt is empty: write what to draw.")
        _check_text("The negative prompt", self.negative_prompt)
        check_whole("Width", self.width, SIZES, multiple=SIZE_MULTIPLE, unit=" pixels")
        check_whole("Height", self.height, SIZES, multiple=SIZE_MULTIPLE, unit=" pixels")
        check_whole("Steps", self.steps, STEPS)
        _check_number("Guidance scale", self.guidance_scale, GUIDANCE)
        check_whole("Seed", self.seed, SEEDS)
        check_whole("Repeats", self.repeats, REPEATS)
        self._check_factor()
        self._check_methods()

    def _check_factor(self) -> None:
        if not isinstance(self.factor, tuple):
            check_whole("Factor", self.factor, FACTORS)
        elif not self.factor:
            raise InvalidRequest("Factor must be a whole number, or one for each level; none was given.")
        else:
            for factor in self.factor:
                check_whole("Factor", factor, FACTORS)

    def _check_methods(self) -> None:
        if isinstance(self.methods, list):  # JSON and the page have no tuples
            object.__setattr__(self, "methods", tuple(self.methods))
        known = _listed(m.id for m in self.known)
        if not isinstance(self.methods, tuple):
            raise InvalidRequest(f"Methods must be a list of some of {known}, not {_shown(self.methods)}.")
        if not self.methods:
            raise InvalidRequest(f"No method was chosen: choose some of {known}.")
        for id in self.methods:
            if id not in [method.id for method in self.known]:  # a list: what JSON brings may have no hash
                raise InvalidRequest(f"Methods are {known}; {_shown(id)} is not one of them.")
        if len(set(self.methods)) < len(self.methods):
            raise InvalidRequest(f"Each method can be chosen once; got {_listed(self.methods)}.")
        if "fewer-steps" in self.methods and not {"baseline", "todo"} <= set(self.methods):
            raise InvalidRequest("fewer-steps is Baseline in ToDo's time: choose baseline and todo with it.")

    @property
    def factors(self) -> tuple[int, ...]:
        """One factor per level, finest first."""
        return self.factor if isinstance(self.factor, tuple) else (self.factor,)

    @property
    def run_order(self) -> tuple[str, ...]:
        """The methods as they run: Baseline first, as the others are scored against it; fewer-steps last."""
        return tuple(sorted(self.methods, key=lambda id: {"baseline": 0, "fewer-steps": 2}.get(id, 1)))


class StudyRequest(Request):
    """A request whose methods may also be `GRID_VARIANTS`."""

    known: ClassVar[tuple[Method, ...]] = (*METHODS, *GRID_VARIANTS)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text, not {_shown(value)}.")
    if len(value) > PROMPT_CHARACTERS:
        raise InvalidRequest(f"{name} can have {PROMPT_CHARACTERS} characters; this one has {len(value)}.")
    if any("\ud800" <= c <= "\udfff" for c in value):  # half a UTF-16 pair: no tokenizer takes it
        raise InvalidRequest(f"{name} contains a broken character that is not valid Unicode.")


def check_whole(name: str, value: object, limits: tuple[int, int], multiple: int = 1, unit: str = "") -> None:
    """Raise `InvalidRequest` unless the value is an int within the limits, both included."""
    low, high = limits
    if type(value) is not int or not low <= value <= high or value % multiple:
        kind = "whole number" if multiple == 1 else f"multiple of {multiple}"
        raise InvalidRequest(f"{name} must be a {kind} from {low} to {high}{unit}, not {_shown(value)}.")


def _check_number(name: str, value: object, limits: tuple[float, float]) -> None:
    low, high = limits
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
        raise InvalidRequest(f"{name} must be a number from {low:g} to {high:g}, not {_shown(value)}.")


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items)


def _shown(value: object) -> str:
    """The value as given, short enough for a sentence."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
