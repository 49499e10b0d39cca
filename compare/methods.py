"""The registry of methods: one entry is one column of a comparison.

Page, command line, sweep, bench and plots read this list; none of them knows a method by its name.
CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Protocol

from compare import rivals
from compare.errors import InvalidRequest, quoted

if TYPE_CHECKING:  # `python -m compare --help` need not wait for torch
    from diffusers import DiffusionPipeline

    from todo_patch import Forecast, ToDo, ToMe

    Setting = ToDo | ToMe | Forecast


class Reduction(Protocol):
    """What a method reads of a request (`compare.request.Request`)."""

    factor: int | tuple[int, ...]
    until: float
    pooling: str
    forecast_share: float
    tome_ratio: float | None
    tome_stride: int | None
    tome_levels: int | None
    tome_seed: int


@dataclass(frozen=True, kw_only=True)
class Method:
    """One column of the comparison.

    A method is put on a pipeline by `patch`, if it is one of `todo_patch`, or else by `enable`. A method with
    neither leaves the model as it is.

    Args:
        id: its name in requests, reports and files.
        label: its name for readers.
        description: what it does, in one sentence without claims about results.
        colour: in plots, as "#rrggbb".
        patch: from a request to what `todo_patch.patched` is given: one setting, or several. It then also
            counts FLOPs and writes the user's own script. May raise `InvalidRequest`.
        enable: from a pipeline and a request to a context manager that has the method on the pipeline for the
            length of a `with` block, and leaves the pipeline as it was. For packages with their own enable
            and disable; the FLOPs of such a method are not counted, unless `patch` says what they are.
        package: what pip must install for it, as "name==version"; without it the method cannot be chosen.
        check: from a pipeline and a request, before anything runs; raises `InvalidRequest` if the method
            cannot be used on them. What `patch` asks for is checked without it.
        steps: the number of denoising steps, from the request's own number and the median seconds of the
            methods in `needs`. Such a method runs after the others. None: the request's own number.
        needs: ids of the methods that must run beside it.
        order: methods run from small to large.
        preselected: whether it is chosen when the page opens.
    """

    id: str
    label: str
    description: str
    colour: str
    patch: Callable[[Reduction], Setting | tuple[Setting, ...]] | None = None
    enable: Callable[[DiffusionPipeline, Reduction], AbstractContextManager[object]] | None = None
    package: str | None = None
    check: Callable[[DiffusionPipeline, Reduction], None] | None = None
    steps: Callable[[int, Mapping[str, float]], int] | None = None
    needs: tuple[str, ...] = ()
    order: int = 1
    preselected: bool = False

    @property
    def missing(self) -> str | None:
        """A sentence with the command that installs its package; None if it is installed, or needs none."""
        if self.package is None:
            return None
        try:
            version(self.package.partition("==")[0])
        except PackageNotFoundError:
            return f"{self.id} needs: pip install {self.package}"
        return None

    def on(self, pipe: DiffusionPipeline, request: Reduction) -> AbstractContextManager[object]:
        """The method on the pipeline for the length of a `with` block. Raises what `check` raises."""
        if self.check is not None:
            self.check(pipe, request)
        if self.enable is not None:
            return self.enable(pipe, request)
        if self.patch is not None:
            from todo_patch import patched

            return patched(pipe, *self.patches(request))
        return nullcontext()

    def patches(self, request: Reduction) -> tuple[Setting, ...]:
        """The settings that `todo_patch.patched` is given; none if it is not one of its methods.

        Raises:
            InvalidRequest: the method has no such settings.
        """
        try:
            patch = self.patch(request) if self.patch else ()
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        return patch if isinstance(patch, tuple) else (patch,)

    def counted_patches(self, request: Reduction) -> tuple[tuple[Setting, ...], ...] | None:
        """The settings whose FLOPs are this method's, each for an equal part of the steps; None if nobody has
        counted what the method does."""
        if self.patch is not None:
            return (self.patches(request),)
        return None if self.enable is not None else ((_unpatched(),),)

    def idle_steps(self, request: Reduction, total: int) -> tuple[int, ...]:
        """The steps, from 0, of a run of `total` in which the denoiser is not called."""
        from todo_patch import Forecast

        forecasts = (patch for patch in self.patches(request) if isinstance(patch, Forecast))
        return next((forecast.steps(total) for forecast in forecasts), ())


def _unpatched() -> ToDo:
    from todo_patch import ToDo

    return ToDo(factor=1)


def _todo(request: Reduction, **settings: str) -> ToDo:
    from todo_patch import ToDo

    asked = {"factor": request.factor, "until": request.until, "pooling": request.pooling, **settings}
    if (asked["pooling"], asked.get("grid")) == ("average", "rotating"):
        raise InvalidRequest(
            f"Pooling 'average' leaves the rotating grid no token to choose: take 'nearest', or leave out "
            f"{TODO_ROTATING.id} and {TODO_ROTATING_FORECAST.id}."
        )
    return ToDo(**asked)


def _forecast(request: Reduction) -> Forecast:
    from todo_patch import Forecast

    return Forecast(share=request.forecast_share)


def _tome(request: Reduction, merge: str = "all") -> ToMe:
    """The equal of the request's ToDo, except for what the request says of ToMe."""
    from todo_patch import ToDo, ToMe

    todo, stride = ToDo(factor=request.factor, until=request.until), request.tome_stride
    shared = {"seed": request.tome_seed, "merge": merge}
    if stride is None:
        try:
            tome = ToMe.like(todo, **shared)
        except ValueError as error:
            raise InvalidRequest(f"{error} Or give ToMe a stride of its own.") from error
    else:
        levels = max((level for level, factor in enumerate(todo.factors, 1) if factor > 1), default=1)
        tome = ToMe(ratio=1 - 1 / stride**2, stride=stride, levels=levels, until=todo.until, **shared)
    own = {"ratio": request.tome_ratio, "levels": request.tome_levels}
    return replace(tome, **{name: value for name, value in own.items() if value is not None})


def _steps_in_the_time_of_todo(steps: int, seconds: Mapping[str, float]) -> int:
    return min(max(int(steps * seconds[TODO.id] / seconds[BASELINE.id]), 1), steps)


BASELINE = Method(
    id="baseline",
    label="Baseline",
    description="the model as its authors shipped it",
    colour="#111111",
    order=0,  # the others are scored against it
    preselected=True,
)
TOME = Method(
    id="tome",
    label="ToMe",
    description="similar tokens are merged before attention and copied back after it",
    colour="#d95f02",
    patch=_tome,
    preselected=True,
)
TODO = Method(
    id="todo",
    label="ToDo",
    description="keys and values come from a downsampled grid; queries stay whole",
    colour="#1b9e77",
    patch=_todo,
    preselected=True,
)
TODO_ROTATING = Method(
    id="todo-rotating",
    label="ToDo, rotating grid",
    description="ToDo on a grid that moves with every step and block",
    colour="#7570b3",
    patch=partial(_todo, grid="rotating"),
)
FORECAST = Method(
    id="forecast",
    label="Forecast",
    description="three of ten calls of the UNet are not made; a line through the last two foretells them",
    colour="#e7298a",
    patch=_forecast,
)
TODO_ROTATING_FORECAST = Method(
    id="todo-rotating+forecast",
    label="Rotating grid and Forecast",
    description="ToDo on the rotating grid, and Forecast",
    colour="#3f007d",
    patch=lambda request: (_todo(request, grid="rotating"), _forecast(request)),
)
TOME_KV = Method(
    id="tome-kv",
    label="ToMe, keys and values",
    description="similar tokens are merged for keys and values only; queries stay whole",
    colour="#fdae6b",  # ToMe's and ToDo's hues; lightness tells them apart for colour-blind readers too
    patch=partial(_tome, merge="keys-values"),
)
TODO_ALL = Method(
    id="todo-all",
    label="ToDo, all tokens",
    description="tokens are downsampled before attention, and its output is copied to every token of a cell",
    colour="#004529",
    patch=partial(_todo, merge="all"),
)
DEEPCACHE = Method(
    id="deepcache",
    label="DeepCache",
    description="every other step runs only the last layers of the UNet, on what the others gave before",
    colour="#2b8cbe",
    enable=lambda pipe, request: rivals.deepcache(pipe, interval=2),
    package="DeepCache==0.1.1",
    check=lambda pipe, request: rivals.require_fit_for_deepcache(pipe),
)
DEEPCACHE_3 = replace(
    DEEPCACHE,
    id="deepcache-3",
    label="DeepCache, interval 3",
    description="two of three steps run only the last layers of the UNet",
    colour="#08589e",
    enable=lambda pipe, request: rivals.deepcache(pipe, interval=3),
)
PAB = Method(
    id="pab",
    label="PAB",
    description="pyramid attention broadcast: self-attention runs in every other step of the middle of a run",
    colour="#67000d",
    enable=lambda pipe, request: rivals.pyramid_attention_broadcast(pipe),
    check=lambda pipe, request: rivals.require_uncompiled(pipe),
)
FEWER_STEPS = Method(
    id="fewer-steps",
    label="Fewer steps",
    description="Baseline with as many steps as fit into ToDo's time",
    colour="#a6761d",
    steps=_steps_in_the_time_of_todo,
    needs=(BASELINE.id, TODO.id),
    order=2,
)
METHODS = (
    BASELINE,
    TOME,
    TODO,
    TODO_ROTATING,
    FORECAST,
    TODO_ROTATING_FORECAST,
    TOME_KV,
    TODO_ALL,
    DEEPCACHE,
    DEEPCACHE_3,
    PAB,
    FEWER_STEPS,
)


def known_methods() -> tuple[Method, ...]:
    """The methods that can be chosen here, in the order in which they are shown."""
    return tuple(method for method in METHODS if method.missing is None)


def missing_methods() -> tuple[str, ...]:
    """A sentence for each method that cannot be chosen here, because its package is not installed."""
    return tuple(method.missing for method in METHODS if method.missing)


def method_of(id: str, known: tuple[Method, ...] | None = None) -> Method:
    """The method with this id.

    Args:
        known: where to look (default: `METHODS`, also those that cannot be chosen here: a report may be of
            another machine).

    Raises:
        InvalidRequest: there is none.
    """
    known = METHODS if known is None else known
    for method in known:
        if method.id == id:
            return method
    ids = ", ".join(method.id for method in known)
    missing = "".join(f" {method.missing}." for method in METHODS if method.missing and method.id == id)
    raise InvalidRequest(f"Methods are {ids}; {quoted(id)} is not one of them.{missing}", "methods")
