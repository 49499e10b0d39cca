"""What to time: sizes, factors, methods, and how often."""

from __future__ import annotations

from dataclasses import dataclass

from compare.bench.variants import DEFAULT_METHODS, bench_methods
from compare.errors import InvalidRequest
from compare.methods import BASELINE, Method, method_of
from compare.request import FACTORS, SIZE_MULTIPLE, SIZES, check_whole

ROUNDS = (1, 1000)
RUN_STEPS = (0, 100)
BATCH = (1, 64)


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """One benchmark. Every field is checked on construction; nothing is rounded or cut to fit.

    Args:
        sizes: (width, height) in pixels, multiples of 8.
        factors: of downsampling, from 2. ToMe is given the equal reduction.
        methods: ids of `bench_methods`. Baseline and the upper bounds of these methods are always timed too.
        rounds: how often everything is timed. Recommended: 6 and more, which give 95 % intervals.
        steps: denoising steps of a whole run; 0 times single steps only.
        batch: rows of the UNet's batch. Even numbers are guided: 2 is one picture.
        compiled: whether the UNet's transformer blocks are compiled.

    Raises:
        InvalidRequest: with one sentence that says what is allowed.
    """

    sizes: tuple[tuple[int, int], ...]
    factors: tuple[int, ...] = (2, 3, 4)
    methods: tuple[str, ...] = DEFAULT_METHODS
    rounds: int = 7
    steps: int = 10
    batch: int = 2
    compiled: bool = False

    def __post_init__(self) -> None:
        for name in ("sizes", "factors", "methods"):
            given = getattr(self, name)
            if not given:
                raise InvalidRequest(f"No {name} were given: choose at least one.")
            if len(set(given)) < len(given):
                raise InvalidRequest(f"Of the {name} each can be given once; got {given}.")
        for width, height in self.sizes:
            check_whole("Width", width, SIZES, multiple=SIZE_MULTIPLE, unit=" pixels")
            check_whole("Height", height, SIZES, multiple=SIZE_MULTIPLE, unit=" pixels")
        for factor in self.factors:
            check_whole("Factor", factor, (2, FACTORS[1]))
        check_whole("Rounds", self.rounds, ROUNDS)
        check_whole("Steps", self.steps, RUN_STEPS)
        check_whole("Batch", self.batch, BATCH)
        for id in self.methods:
            _method(id)

    @property
    def chosen(self) -> tuple[Method, ...]:
        """The methods."""
        return tuple(map(_method, self.methods))


def _method(id: str) -> Method:
    return method_of(id, (BASELINE, *bench_methods()))
