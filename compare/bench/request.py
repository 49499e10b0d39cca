"""What to time: sizes, factors, methods, and how often."""

from __future__ import annotations

from dataclasses import dataclass

from compare.errors import InvalidRequest
from compare.methods import method_of
from compare.request import FACTORS, SIZE_MULTIPLE, SIZES, check_whole

ROUNDS = (1, 1000)
RUN_STEPS = (0, 100)
BATCH = (1, 64)


@dataclass(frozen=True)
class BenchMethod:
    """A method as it can be chosen."""

    id: str
    label: str
    limit: str
    """The id in `LIMITS` of the model with all that this method could remove taken out."""


BENCH_METHODS = (
    BenchMethod("tome", method_of("tome").label, "tome-limit"),
    BenchMethod("todo", method_of("todo").label, "todo-limit"),
    BenchMethod("todo-rotating", method_of("todo-rotating").label, "todo-limit"),
    BenchMethod("todo-two-levels", "ToDo, two levels", "todo-two-levels-limit"),
    BenchMethod("todo-processor", "ToDo as a processor", "todo-limit"),
)
LIMITS = {
    "tome-limit": "Limit of ToMe",
    "todo-limit": "Limit of ToDo",
    "todo-two-levels-limit": "Limit of ToDo, two levels",
}
DEFAULT_METHODS = ("tome", "todo", "todo-rotating", "todo-two-levels")


def bench_method(id: str) -> BenchMethod:
    """The method with this id. Raises `InvalidRequest` if there is none."""
    for method in BENCH_METHODS:
        if method.id == id:
            return method
    known = ", ".join(method.id for method in BENCH_METHODS)
    raise InvalidRequest(f"Methods of the bench are {known}; {id!r} is not one of them.")


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """One benchmark. Every field is checked on construction; nothing is rounded or cut to fit.

    Args:
        sizes: (width, height) in pixels, multiples of 8.
        factors: of downsampling, from 2. ToMe is given the equal reduction.
        methods: ids from `BENCH_METHODS`. Baseline and the limits of these methods are always timed too.
        rounds: how often everything is timed, in turns. Six and more give 95 % intervals.
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
        for method in self.methods:
            if method != "baseline":
                bench_method(method)
        check_whole("Rounds", self.rounds, ROUNDS)
        check_whole("Steps", self.steps, RUN_STEPS)
        check_whole("Batch", self.batch, BATCH)
