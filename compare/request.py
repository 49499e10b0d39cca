"""What to compare: a request that is valid or does not exist."""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from dataclasses import dataclass

from compare.errors import InvalidRequest, quoted
from compare.methods import METHODS, Method, known_methods, method_of
from compare.words import in_words

SIZES = (64, 2048)  # pixels, each side
SIZE_MULTIPLE = 8
STEPS = (1, 100)
GUIDANCE = (0.0, 30.0)
SEEDS = (0, 2**32 - 1)
FACTORS = (1, 8)
REPEATS = (1, 20)
LEVELS = (1, 8)  # that a factor names; a model can have fewer
UNTIL = (0.01, 1.0)
POOLINGS = ("nearest", "average")
FORECAST_SHARE = (0.0, 0.6)
TOME_RATIO = (0.0, 1.0)  # a stride allows less
TOME_STRIDE = (2, 8)
PROMPT_CHARACTERS = 2000
METHOD_SETTINGS = (
    "until", "pooling", "forecast_share", "tome_ratio", "tome_stride", "tome_levels", "tome_seed",
)  # fmt: skip
"""The fields of a `Request` that are settings of methods, beside the factor."""
OPTIONAL_NUMBERS = ("tome_ratio", "tome_stride", "tome_levels")
"""Those that may be None. As a text they are numbers as they are typed, and an empty one is None."""
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
        factor: of downsampling, at the finest attention grid; a tuple, a list or a text like "4, 2" names one
            per level, finest first. ToMe is given the equal reduction.
        methods: ids of `compare.methods.METHODS`. Without "baseline" there are no speed-ups and no scores.
        repeats: how often each method is timed; above 1 the methods are interleaved and the median counts.
        until: ToDo and ToMe are on in the first `ceil(until * n)` of the n steps. From 0.01 to 1.
        pooling: what ToDo makes of a cell of tokens, one of `POOLINGS`; on a rotating grid only "nearest".
        forecast_share: the part of the steps that Forecast does not compute. From 0 to 0.6.
        tome_ratio: the share of tokens that ToMe merges away, at most 1 - 1/stride²; None for just that.
        tome_stride: a side of the cells of which ToMe keeps one token each at least; None for ToDo's factor.
        tome_levels: of attention grids on which ToMe merges, from the finest; None for as many as ToDo.
            These three may be texts too, as they are typed; "" is None.
        tome_seed: of ToMe's random choice in each cell.

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
    until: float = 1.0
    pooling: str = "nearest"
    forecast_share: float = 0.3
    tome_ratio: float | None = None
    tome_stride: int | None = None
    tome_levels: int | None = None
    tome_seed: int = 0

    def __post_init__(self) -> None:
        _check_text("The prompt", self.prompt)
        if not self.prompt.strip():
            raise InvalidRequest("The prompt is empty: write what to draw.", "prompt")
        _check_text("The negative prompt", self.negative_prompt)
        check_whole("Width", self.width, SIZES, multiple=SIZE_MULTIPLE, unit=" pixels")
        check_whole("Height", self.height, SIZES, multiple=SIZE_MULTIPLE, unit=" pixels")
        check_whole("Steps", self.steps, STEPS)
        check_number("Guidance scale", self.guidance_scale, GUIDANCE)
        check_whole("Seed", self.seed, SEEDS)
        check_whole("Repeats", self.repeats, REPEATS)
        self._check_factor()
        self._check_settings()
        self._check_methods()

    def _check_factor(self) -> None:
        if isinstance(self.factor, str):  # as the page and the command line have it
            parts = [number(part.strip()) for part in self.factor.split(",")]
            object.__setattr__(self, "factor", parts[0] if len(parts) == 1 else tuple(parts))
        if isinstance(self.factor, list):  # JSON has no tuples
            object.__setattr__(self, "factor", tuple(self.factor))
        if not isinstance(self.factor, tuple):
            check_whole("Factor", self.factor, FACTORS)
        elif not self.factor:
            raise InvalidRequest(
                "Factor must be a whole number, or one for each level; none was given.", "factor"
            )
        elif len(self.factor) > LEVELS[1]:
            raise InvalidRequest(
                f"Factor can have {LEVELS[1]} numbers, one for each level; got {len(self.factor)}.", "factor"
            )
        else:
            for factor in self.factor:
                check_whole("Factor", factor, FACTORS)

    def _check_settings(self) -> None:
        for name in OPTIONAL_NUMBERS:
            if isinstance(typed := getattr(self, name), str):
                object.__setattr__(self, name, number(typed.strip()) if typed.strip() else None)
        check_number("Until", self.until, UNTIL)
        check_choice("Pooling", self.pooling, POOLINGS)
        check_number("Forecast share", self.forecast_share, FORECAST_SHARE)
        if self.tome_ratio is not None:
            check_number("ToMe ratio", self.tome_ratio, TOME_RATIO)
        if self.tome_stride is not None:
            check_whole("ToMe stride", self.tome_stride, TOME_STRIDE)
        if self.tome_levels is not None:
            check_whole("ToMe levels", self.tome_levels, LEVELS)
        check_whole("ToMe seed", self.tome_seed, SEEDS)

    def _check_methods(self) -> None:
        if isinstance(self.methods, list):  # JSON and the page have no tuples
            object.__setattr__(self, "methods", tuple(self.methods))
        known = self.known_methods()
        ids = ", ".join(method.id for method in known)
        if not isinstance(self.methods, tuple):
            raise InvalidRequest(
                f"Methods must be a list of some of {ids}, not {quoted(self.methods)}.", "methods"
            )
        if not self.methods:
            raise InvalidRequest(f"No method was chosen: choose some of {ids}.", "methods")
        chosen = [method_of(id, known) for id in self.methods]
        if len(set(self.methods)) < len(self.methods):
            raise InvalidRequest(f"Each method can be chosen once; got {', '.join(self.methods)}.", "methods")
        for method in chosen:
            if not set(method.needs) <= set(self.methods):
                raise InvalidRequest(
                    f"{method.id} ({method.description}) needs {' and '.join(method.needs)} beside it: "
                    "choose them too.",
                    "methods",
                )
            method.patches(self)  # which refuses settings that do not go together

    @classmethod
    def known_methods(cls) -> tuple[Method, ...]:
        """The methods that such a request can name."""
        return known_methods()

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
    def own_settings(self) -> dict[str, object]:
        """The settings of methods that are not the default, by name."""
        return {
            name: getattr(self, name)
            for name in METHOD_SETTINGS
            if getattr(self, name) != getattr(Request, name)
        }

    def settings_of(self, method: Method) -> str:
        """Those of them that change this method, in words: "ratio 0.5, stride 3"; "" if none does."""
        return ", ".join(
            f"{name.removeprefix('tome_').removeprefix('forecast_')} {in_words(value)}"
            for name, value in self.own_settings.items()
            if self._changes(method, name)
        )

    @property
    def idle_settings(self) -> tuple[str, ...]:
        """Those of them that change none of the chosen methods, by name."""
        chosen = self.chosen
        return tuple(name for name in self.own_settings if not any(self._changes(m, name) for m in chosen))

    def label_of(self, method: Method) -> str:
        """The method's name, and those settings."""
        return labelled(method, self.settings_of(method))

    def _changes(self, method: Method, name: str) -> bool:
        usual = copy(self)
        object.__setattr__(usual, name, getattr(Request, name))
        try:
            return method.patches(usual) != method.patches(self)
        except InvalidRequest:  # which the others need this one for
            return True

    @property
    def is_tiled(self) -> bool:
        """Whether the pictures are decoded in overlapping tiles. It depends on the size alone, so that the
        same request gives the same picture on every machine."""
        return self.width * self.height > TILED_ABOVE


def labelled(method: Method, settings: str) -> str:
    """The name of a method with these settings, as `Request.settings_of` says them."""
    return f"{method.label} ({settings})" if settings else method.label


def number(text: str) -> int | float | str:
    """The text as a number, or as it is: the request says in a sentence what is allowed."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text, not {quoted(value)}.", field_of(name))
    if len(value) > PROMPT_CHARACTERS:
        raise InvalidRequest(
            f"{name} can have {PROMPT_CHARACTERS} characters; this one has {len(value)}.", field_of(name)
        )
    if any("\ud800" <= c <= "\udfff" for c in value):  # half a UTF-16 pair: no tokenizer takes it
        raise InvalidRequest(f"{name} contains a broken character that is not valid Unicode.", field_of(name))


def check_whole(name: str, value: object, limits: tuple[int, int], multiple: int = 1, unit: str = "") -> None:
    """Raise `InvalidRequest` unless the value is an int within the limits, both included."""
    low, high = limits
    if type(value) is not int or not low <= value <= high or value % multiple:
        kind = "whole number" if multiple == 1 else f"multiple of {multiple}"
        raise InvalidRequest(
            f"{name} must be a {kind} from {low} to {high}{unit}, not {quoted(value)}.", field_of(name)
        )


def check_number(name: str, value: object, limits: tuple[float, float]) -> None:
    """Raise `InvalidRequest` unless the value is a finite number within the limits, both included."""
    low, high = limits
    if type(value) not in (int, float) or not low <= value <= high:  # NaN is not either
        raise InvalidRequest(
            f"{name} must be a number from {low:g} to {high:g}, not {quoted(value)}.", field_of(name)
        )


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise `InvalidRequest` unless the value is one of the choices."""
    if value not in choices:
        raise InvalidRequest(f"{name} must be {' or '.join(choices)}, not {quoted(value)}.", field_of(name))


def field_of(name: str) -> str:
    """The field of a `Request` that sentences call so: "The negative prompt", "Guidance scale"."""
    return name.removeprefix("The ").lower().replace(" ", "_")
