"""What the bench times side by side: Baseline, methods at factors, and the upper bounds of their gain."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compare.methods import BASELINE, TODO, TODO_ROTATING, TOME, Method, Reduction, known_methods, method_of
from compare.request import Request

if TYPE_CHECKING:  # `python -m compare --help` need not wait for torch
    from diffusers import DiffusionPipeline

    from todo_patch import ToDo


@dataclass(frozen=True)
class Setting:
    """What a method reads of a request."""

    width: int
    height: int
    factor: int = 2
    until: float = Request.until
    pooling: str = Request.pooling
    forecast_share: float = Request.forecast_share
    tome_ratio: None = Request.tome_ratio
    tome_stride: None = Request.tome_stride
    tome_levels: None = Request.tome_levels
    tome_seed: int = Request.tome_seed


def _two_levels(request: Reduction) -> ToDo:
    from todo_patch import ToDo

    return ToDo(factor=(request.factor, request.factor))


def _by_processor(pipe: DiffusionPipeline, request: Setting) -> AbstractContextManager[None]:
    from compare.bench.processors import DownsampledAttention, replaced_attention
    from todo_patch.grid import grid_at

    latent = request.height // pipe.vae_scale_factor, request.width // pipe.vae_scale_factor
    return replaced_attention(
        pipe,
        TODO.patch(request),
        lambda site: DownsampledAttention(grid_at(*latent, site.depth), request.factor),
    )


TODO_TWO_LEVELS = Method(
    id="todo-two-levels",
    label="ToDo, two levels",
    description="ToDo with the same factor on the two finest grids",
    colour="#1f78b4",
    patch=_two_levels,
)
TODO_PROCESSOR = Method(
    id="todo-processor",
    label="ToDo as a processor",
    description="ToDo as an attention processor that downsamples by itself",
    colour="#666666",
    patch=TODO.patch,
    enable=_by_processor,
)
DEFAULT_METHODS = (TOME.id, TODO.id, TODO_ROTATING.id, TODO_TWO_LEVELS.id)


def bench_methods() -> tuple[Method, ...]:
    """The methods that can be timed beside Baseline: those of the registry that do not change the number of
    steps, and two that only the bench has."""
    chosen = (method for method in known_methods() if method is not BASELINE and method.steps is None)
    return (*chosen, TODO_TWO_LEVELS, TODO_PROCESSOR)


@dataclass(frozen=True, kw_only=True)
class UpperBound(Method):
    """The model without all that methods of one kind could remove, at the levels of `patch`: the keys, the
    values and the attention product, or, if all tokens are merged, the whole self-attention.

    It bounds what the clock can gain, as `Plan.ceiling` bounds FLOPs. Its pictures mean nothing.
    """

    def on(self, pipe: DiffusionPipeline, request: Reduction) -> AbstractContextManager[None]:
        from compare.bench.processors import Identity, QueriesOnly, replaced_attention

        patch = self.patch(request)
        processor = Identity() if patch.merge == "all" else QueriesOnly()
        return replaced_attention(pipe, patch, lambda site: processor)


def _kind(method: Method) -> tuple[object, ...] | None:
    """What an upper bound depends on; None if there is none: nobody has counted the work, or calls are left
    out, which is all the gain there is."""
    from todo_patch import Forecast

    patches = method.patches(Setting(width=0, height=0))
    if len(patches) != 1 or isinstance(patches[0], Forecast):
        return None
    return patches[0].merge, *(level for level in range(patches[0].levels) if patches[0].patches(level))


@dataclass(frozen=True)
class Variant:
    """One thing that is timed."""

    method: Method
    factor: int | None = None
    """None for Baseline and for upper bounds."""

    def __str__(self) -> str:
        return self.method.label if self.factor is None else f"{self.method.label}, factor {self.factor}"

    @classmethod
    def of(cls, id: str, factor: int | None) -> Variant:
        """The variant of a row. Raises `InvalidRequest` if there is no method or upper bound of this id."""
        methods = (BASELINE, *bench_methods())
        bounds = dict.fromkeys(cls(method).upper_bound for method in methods)
        return cls(method_of(id, (*methods, *(bound.method for bound in bounds if bound))), factor)

    @property
    def upper_bound(self) -> Variant | None:
        """What the method is measured against, named after the first method of its kind; an upper bound's is
        itself. None if there is none."""
        if isinstance(self.method, UpperBound):
            return Variant(self.method)
        kind = _kind(self.method)
        if kind is None:
            return None
        first = next(other for other in bench_methods() if _kind(other) == kind)
        bound = UpperBound(
            id=f"{first.id}-limit",
            label=f"Upper bound of {first.label}",
            description=f"the model without all that {first.label} could remove",
            colour=first.colour,
            patch=first.patch,
        )
        return Variant(bound)

    def setting(self, width: int, height: int) -> Setting:
        """At a size in pixels. An upper bound does not depend on the factor."""
        return Setting(width, height, self.factor or 2)


def variants(methods: Iterable[Method], factors: Iterable[int]) -> tuple[Variant, ...]:
    """In the order in which a round times them: Baseline, all methods at each factor, their upper bounds."""
    methods = tuple(method for method in methods if method is not BASELINE)
    reduced = tuple(Variant(method, factor) for factor in factors for method in methods)
    bounds = dict.fromkeys(variant.upper_bound for variant in reduced if variant.upper_bound)
    return (Variant(BASELINE), *reduced, *bounds)
