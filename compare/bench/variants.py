"""What the bench sets side by side: methods at factors, and the limits that they are measured against."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from diffusers import DiffusionPipeline

from compare.bench.processor import todo_by_processor
from compare.bench.request import LIMITS, bench_method
from compare.bench.upper_bound import without_keys_and_values, without_self_attention
from compare.methods import method_of
from todo_patch import ToDo, ToMe, patched


@dataclass(frozen=True)
class Variant:
    """One thing that takes its turn on the clock."""

    method: str
    """"baseline", the id of a `BenchMethod`, or one of `LIMITS`."""
    factor: int | None = None
    """None where there is none: Baseline and the limits."""

    @property
    def label(self) -> str:
        if self.method in LIMITS:
            return LIMITS[self.method]
        return method_of("baseline").label if self.method == "baseline" else bench_method(self.method).label

    def __str__(self) -> str:
        return self.label if self.factor is None else f"{self.label}, factor {self.factor}"

    @property
    def limit(self) -> Variant | None:
        """What this is measured against, itself for a limit."""
        if self.method == "baseline":
            return None
        return self if self.method in LIMITS else Variant(bench_method(self.method).limit)

    @property
    def patch(self) -> ToDo | ToMe | None:
        """The method as `todo_patch` knows it, for planning too; None for Baseline.

        For a limit it is any method of the kind, as its ceiling does not depend on the factor.
        """
        factor = self.factor or 2
        if self.method in ("tome", "tome-limit"):
            return ToMe.like(ToDo(factor=factor))
        if self.method in ("todo-two-levels", "todo-two-levels-limit"):
            return ToDo(factor=(factor, factor))
        if self.method == "baseline":
            return None
        return ToDo(factor=factor, grid="rotating" if self.method == "todo-rotating" else "fixed")


def variants(methods: Iterable[str], factors: Iterable[int]) -> tuple[Variant, ...]:
    """In the order of their turns: Baseline, the methods at each factor in turn, and their limits."""
    methods = tuple(method for method in methods if method != "baseline")  # it is there anyway
    reduced = tuple(Variant(method, factor) for factor in factors for method in methods)
    limits = dict.fromkeys(variant.limit for variant in reduced)
    return (Variant("baseline"), *reduced, *limits)


def put_on(
    pipe: DiffusionPipeline, variant: Variant, latent: tuple[int, int]
) -> AbstractContextManager[object]:
    """The variant on the pipeline for the length of a `with` block; `latent` is (height, width)."""
    match variant.method:
        case "baseline":
            return nullcontext()
        case "tome-limit":
            return without_self_attention(pipe, levels=1)
        case "todo-limit":
            return without_keys_and_values(pipe, levels=1)
        case "todo-two-levels-limit":
            return without_keys_and_values(pipe, levels=2)
        case "todo-processor":
            return todo_by_processor(pipe, variant.factor, latent)
        case _:
            return patched(pipe, variant.patch)
