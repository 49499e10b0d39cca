"""What to compare: a request that is valid or does not exist."""

from __future__ import annotations

from dataclasses import dataclass

from compare.errors import InvalidRequest, quoted
from compare.methods import METHODS, Method, known_methods, method_of

SIZES = (64, 2048)  # pixels, each side
SIZE_MULTIPLE = 8
STEPS = (1, 100)
GUIDANCE = (0.0, 30.0)
SEEDS = (0, 2**32 - 1)
FACTORS = (1, 8)
REPEATS = (1, 20)
PROMPT_CHARACTERS = 2000
TILED_ABOVE = 1536 * 1536
"""Pixels. SDXL's decoder holds 256 channels three times: 3.6 GB in float16, and 6.4 GB at 2048×2048."""


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
        methods: ids of `compare.methods.METHODS`. Without "baseline" there are no speed-ups and no scores.
        repeats: how often each method is timed; above 1 the methods are interleaved and the median counts.

    Raises:
        InvalidRequest: with one sentence that says what is allowed.
    """

    prompt: str
    negative_prompt: str = ""
    width: int
    height: int
    steps: int
    guidance_scale: float
    seed: int = 0
    factor: int | tuple[int, ...] = 2
    methods: tuple[str, ...] = tuple(method.id for method in METHODS if method.preselected)
    repeats: int = 1

    def __post_init__(self) -> None:
        _check_text("The prompt", self.prompt)
        if not self.prompt.strip():
            raise InvalidRequest("The prompt is empty: write what to draw.")
        _check_text("The negative prompt", self.negative_prompt)
        check_whole("Width", self.width, SIZES, multiple=SIZE_MULTIPLE, unit=" pixels")
        check_whole("Height", self.height, SIZES, multiple=SIZE_MULTIPLE, unit=" pixels")
        check_whole("Steps", self.steps, STEPS)
        check_number("Guidance scale", self.guidance_scale, GUIDANCE)
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
        known = self.known_methods()
        ids = ", ".join(method.id for method in known)
        if not isinstance(self.methods, tuple):
            raise InvalidRequest(f"Methods must be a list of some of {ids}, not {quoted(self.methods)}.")
        if not self.methods:
            raise InvalidRequest(f"No method was chosen: choose some of {ids}.")
        chosen = [method_of(id, known) for id in self.methods]
        if len(set(self.methods)) < len(self.methods):
            raise InvalidRequest(f"Each method can be chosen once; got {', '.join(self.methods)}.")
        for method in chosen:
            if not set(method.needs) <= set(self.methods):
                raise InvalidRequest(
                    f"{method.id} ({method.description}) needs {' and '.join(method.needs)} beside it: "
                    "choose them too."
                )

    @classmethod
    def known_methods(cls) -> tuple[Method, ...]:
        """The methods that such a request can name."""
        return known_methods()

    @property
    def until(self) -> float:
        """The share of the steps in which ToDo and ToMe are on: all. Sweeps have others."""
        return 1.0

    @property
    def factors(self) -> tuple[int, ...]:
        """One factor per level, finest first."""
        return self.factor if isinstance(self.factor, tuple) else (self.factor,)

    @property
    def chosen(self) -> tuple[Method, ...]:
        """The methods in the order in which they run."""
        known = self.known_methods()
        return tuple(sorted((method_of(id, known) for id in self.methods), key=lambda method: method.order))

    @property
    def is_tiled(self) -> bool:
        """Whether the pictures are decoded in overlapping tiles. It depends on the size alone, so that the
        same request gives the same picture on every machine."""
        return self.width * self.height > TILED_ABOVE


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text, not {quoted(value)}.")
    if len(value) > PROMPT_CHARACTERS:
        raise InvalidRequest(f"{name} can have {PROMPT_CHARACTERS} characters; this one has {len(value)}.")
    if any("\ud800" <= c <= "\udfff" for c in value):  # half a UTF-16 pair: no tokenizer takes it
        raise InvalidRequest(f"{name} contains a broken character that is not valid Unicode.")


def check_whole(name: str, value: object, limits: tuple[int, int], multiple: int = 1, unit: str = "") -> None:
    """Raise `InvalidRequest` unless the value is an int within the limits, both included."""
    low, high = limits
    if type(value) is not int or not low <= value <= high or value % multiple:
        kind = "whole number" if multiple == 1 else f"multiple of {multiple}"
        raise InvalidRequest(f"{name} must be a {kind} from {low} to {high}{unit}, not {quoted(value)}.")


def check_number(name: str, value: object, limits: tuple[float, float]) -> None:
    """Raise `InvalidRequest` unless the value is a finite number within the limits, both included."""
    low, high = limits
    if type(value) not in (int, float) or not low <= value <= high:  # NaN is not either
        raise InvalidRequest(f"{name} must be a number from {low:g} to {high:g}, not {quoted(value)}.")
