"""The settings of the methods. Plain values: they know no model and import no torch.

ToDo and ToMe differ in two things, which can be had apart: *which* tokens become one (by similarity, or by
the grid), and *what* is merged (`merge`: all tokens, with the output copied back, or keys and values only).

|               | `merge="all"`       | `merge="keys-values"`       |
|---------------|---------------------|-----------------------------|
| by similarity | `ToMe()`            | `ToMe(merge="keys-values")` |
| by the grid   | `ToDo(merge="all")` | `ToDo()`                    |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

MERGES = ("keys-values", "all")


class NothingToPatch(ValueError):
    """No self-attention block of the model can do what was asked for."""


@dataclass(frozen=True)
class ToDo:
    """Token downsampling: queries stay whole, keys and values come from one token of every cell.

    Recommended by the authors, on Stable Diffusion 1.5: factor 2 at 1024 px, 3 at 1536, 4 at 2048
    (`for_size`). Measured by this project, on its bundled model at 512 px: `grid="rotating"` is closer to the
    unpatched model's picture, by 11.5 dB with factor 2 and 6.7 with factor 4, in the same time; models that
    draw in one to four steps can expect little of it (docs/rotating-grid.md). Do not use ToDo if attention
    takes little of the time, as at 256 px there: fewer steps are then as fast, and closer.

    Args:
        factor: a cell is `factor` x `factor` tokens, and gives one key and one value. An int is for the
            finest level only; a tuple has one factor per level, finest first, e.g. `(4, 2)`. 1 leaves a
            level alone.
        pooling: `"nearest"` keeps one token of the cell (the paper, section 3.2), `"average"` their mean,
            which came out worse here.
        grid: which token `"nearest"` keeps. `"fixed"`: the top-left one (the paper). `"rotating"`: offset
            number (step + block) mod factor² of the cell (`grid.offset_order`), at the same cost.
        until: on for the first `ceil(until * n)` of the n steps of a run, off for the rest.
        merge: what is downsampled. `"keys-values"`: keys and values (the paper). `"all"`: queries too, as in
            ToMe; every token of a cell is then given the cell's output (nearest).
        then: the method from `until` on, until its own `until`: `ToDo(until=0.5, then=ToMe())`. With
            `ToDo(factor=1, until=0.2, then=ToDo())` the first calls are left alone.

    Raises:
        ValueError: a setting is not allowed. Nothing is rounded to fit.
    """

    factor: int | tuple[int, ...] = 2
    pooling: str = "nearest"
    grid: str = "fixed"
    until: float = 1.0
    merge: str = "keys-values"
    then: ToDo | ToMe | None = None

    def __post_init__(self) -> None:
        if not self.factors or not all(is_int(f) and f >= 1 for f in self.factors):
            allowed = "an int of at least 1, or a tuple of such ints, one per level, finest first"
            _refuse(self, "factor", allowed)
        _require_choice(self, "pooling", ("nearest", "average"))
        _require_choice(self, "grid", ("fixed", "rotating"))
        _require_fraction(self, "until", 1.0)
        _require_choice(self, "merge", MERGES)
        _require_later(self)
        if self.pooling == "average" and self.grid == "rotating":
            _refuse(self, "grid", "'fixed' with pooling='average': an average has no token to choose")

    @property
    def factors(self) -> tuple[int, ...]:
        """One factor per level, finest first."""
        return self.factor if isinstance(self.factor, tuple) else (self.factor,)

    @property
    def levels(self) -> int:
        """The number of levels that the setting names."""
        return len(self.factors)

    @property
    def asks_for_nothing(self) -> bool:
        """Whether the patched model would be the baseline, apart from `then`."""
        return self.until == 0 or all(f == 1 for f in self.factors)

    @property
    def changes_over_a_run(self) -> bool:
        """Whether calls of one run differ in which tokens are kept."""
        return self.until < 1 or self.grid == "rotating"

    def patches(self, level: int) -> bool:
        """Whether the blocks of a level (0 is the finest) are to change."""
        return not self.asks_for_nothing and level < self.levels and self.factors[level] > 1

    @classmethod
    def for_size(cls, height: int, width: int) -> ToDo:
        """The authors' factor for an image of `height` x `width` pixels: 1024 -> 2, 1536 -> 3, 2048 -> 4.

        In between, `max(1, round(sqrt(height * width) / 512))`. It was chosen on Stable Diffusion 1.5, whose
        finest level has four times the tokens of SDXL's: SDXL gains less (`plan` counts it beforehand).
        Raises ValueError if a side is not an int of at least 1.
        """
        for name, value in (("height", height), ("width", width)):
            if not is_int(value) or value < 1:
                raise ValueError(f"{name}={value!r} is not allowed: an int of at least 1, in pixels.")
        return cls(factor=max(1, round(math.sqrt(height * width) / 512)))


@dataclass(frozen=True)
class ToMe:
    """Token merging, by the `tomesd` package: the most similar tokens become one, their mean.

    Recommended by its authors: a ratio of at most 0.5, stride 2, on latent/1 and latent/2. The default here
    has the reduction of `ToDo(factor=2)`. Measured by this project on its bundled model at 512 px: as fast as
    that ToDo, and 5 dB further from the unpatched model's picture (README.md, "In numbers").

    Args:
        ratio: the share of tokens merged away, at most `1 - 1/stride²` (tomesd would silently cap it there).
        stride: one token of every `stride` x `stride` cell is a destination that others merge into.
        levels: the number of levels merged, from the finest.
        seed: of the random choice of destinations, set at the start of every run. On a GPU the choice is the
            same too, but sums over merged tokens may differ in the last bit.
        until: on for the first `ceil(until * n)` of the n steps of a run, off for the rest.
        merge: what is merged. `"all"`: the tokens before self-attention, and its output is copied back to all
            of them (tomesd). `"keys-values"`: keys and values only, as in ToDo; queries stay whole.
        then: the method from `until` on, until its own `until`.

    Raises:
        ValueError: a setting is not allowed. Nothing is rounded to fit.
    """

    ratio: float = 0.75
    stride: int = 2
    levels: int = 1
    seed: int = 0
    until: float = 1.0
    merge: str = "all"
    then: ToDo | ToMe | None = None
    changes_over_a_run = True  # which tokens are merged depends on them, and on chance

    def __post_init__(self) -> None:
        if not is_int(self.stride) or self.stride < 2:
            _refuse(self, "stride", "an int of at least 2")
        _require_fraction(self, "ratio", 1 - 1 / self.stride**2, f"1 - 1/stride² (stride={self.stride})")
        if not is_int(self.levels) or self.levels < 1:
            _refuse(self, "levels", "an int of at least 1")
        if not is_int(self.seed) or not 0 <= self.seed < 2**63:
            _refuse(self, "seed", "an int from 0 to 2**63 - 1")
        _require_fraction(self, "until", 1.0)
        _require_choice(self, "merge", MERGES)
        _require_later(self)

    @property
    def asks_for_nothing(self) -> bool:
        """Whether the patched model would be the baseline, apart from `then`."""
        return self.ratio == 0 or self.until == 0

    def patches(self, level: int) -> bool:
        """Whether the blocks of a level (0 is the finest) are to change."""
        return not self.asks_for_nothing and level < self.levels

    @classmethod
    def like(cls, todo: ToDo, seed: int = 0, merge: str = "all") -> ToMe:
        """The setting that keeps as large a share of keys and values as `todo` does, as long as `todo` is on.

        Args:
            todo: its factors and `until` count; its own `merge` does not.
            seed: of the random choice of destinations.
            merge: what is merged: with `"keys-values"` queries stay whole, as in `ToDo()`.

        Raises:
            ValueError: there is none: the factors of `todo` differ from level to level, or it has a `then`.
        """
        if todo.then is not None:
            raise ValueError(f"then={todo.then!r}: ask for the equal of each method, and put them together.")
        factors = list(todo.factors)
        while len(factors) > 1 and factors[-1] == 1:
            factors.pop()
        if len(set(factors)) > 1:
            raise ValueError(
                f"factor={todo.factor!r} has no equal in ToMe, which has one stride for all levels: "
                "use the same factor on every level, from the finest."
            )
        shared: dict[str, Any] = {"seed": seed, "until": todo.until, "merge": merge}
        if factors[0] == 1:
            return cls(ratio=0.0, **shared)
        return cls(ratio=1 - 1 / factors[0] ** 2, stride=factors[0], levels=len(factors), **shared)


def in_turn(method: ToDo | ToMe) -> tuple[ToDo | ToMe, ...]:
    """The methods of a run, in the order in which they are on."""
    return (method,) if method.then is None else (method, *in_turn(method.then))


@dataclass(frozen=True)
class Forecast:
    """Some calls of the denoiser are not made: their output is extrapolated from the last two that were.

    For each guidance branch, linearly in the step: `y_b + (y_b - y_a) (s - b) / (b - a)` for step s and the
    last two computed steps a < b. It works alone, or beside a `ToDo` or a `ToMe`:
    `patched(pipe, ToDo(grid="rotating"), Forecast())`. It saves the same share of the time at every image
    size, however little of it is attention.

    Recommended: the defaults, with 12 steps and more. Late calls can be foreseen and early ones cannot.

    For making pictures only: a forecast has no gradient. So a run whose calls have one is refused when it
    begins; pipelines run without, and your own loop needs `torch.no_grad()`.

    Not our idea: forecasts of features are those of TaylorSeer (arXiv 2503.06923) and Spectrum (arXiv
    2603.01623), and to extrapolate from the last outputs is what multistep solvers do.

    Args:
        share: of the n steps of a run, `floor(share * n)` are forecast, at most `1 - after`.
        after: they are spread evenly over the steps from `ceil(after * n)` on; never one of the first two,
            and never the last.

    Raises:
        ValueError: a setting is not allowed. Nothing is rounded to fit.
    """

    share: float = 0.3
    after: float = 0.4
    changes_over_a_run = True

    def __post_init__(self) -> None:
        _require_fraction(self, "after", 1.0)
        _require_fraction(self, "share", 1 - self.after, f"1 - after (after={self.after})")

    @property
    def asks_for_nothing(self) -> bool:
        """Whether the patched model would be the baseline."""
        return self.share == 0

    def steps(self, total: int) -> tuple[int, ...]:
        """The steps, counted from 0, that are forecast in a run of `total` steps.

        Raises:
            ValueError: there are not as many between `after` and the last step.
        """
        count = math.floor(round(self.share * total, 9))
        first, last = max(first_steps(self.after, total), 2), total - 2
        most = max(last - first + 1, 0)
        if count > most:
            raise ValueError(
                f"{self} would forecast {count} of {total} steps, and only {most} can be: those from number "
                f"{first + 1} on, without the last. Use a smaller share, or a smaller after."
            )
        if count < 2:
            return ((first + last + 1) // 2,) * count
        return tuple(first + round((last - first) * i / (count - 1)) for i in range(count))


def first_steps(share: float, total: int) -> int:
    """The number of steps that make up the first `share` of a run, rounded up."""
    return math.ceil(round(share * total, 9))  # 0.1 * 30 is 3.0000000000000004


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require_choice(settings: Any, field: str, choices: tuple[str, ...]) -> None:
    if getattr(settings, field) not in choices:
        _refuse(settings, field, " or ".join(repr(choice) for choice in choices))


def _require_fraction(settings: Any, field: str, most: float, most_in_words: str = "") -> None:
    value = getattr(settings, field)
    if not (is_int(value) or isinstance(value, float)) or not 0 <= value <= most:
        words = f" = {most_in_words}" if most_in_words else ""
        _refuse(settings, field, f"a number from 0 to {most:.6g}{words}")


def _require_later(settings: ToDo | ToMe) -> None:
    then = settings.then
    if then is None:
        return
    if not isinstance(then, ToDo | ToMe):
        _refuse(settings, "then", "a ToDo, a ToMe or None")
    if then.until <= settings.until:
        _refuse(settings, "then", f"on for longer than until={settings.until:.6g}, when its turn comes")


def _refuse(settings: Any, field: str, allowed: str) -> None:
    value = getattr(settings, field)
    raise ValueError(f"{type(settings).__name__}: {field}={value!r} is not allowed; it must be {allowed}.")
