"""Putting methods on a model and taking them off."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch

from .blocks import SelfAttention, find_denoiser, require_methods, self_attention
from .exchange import unwatch, watch, watched
from .hooks import forecast, todo, tome
from .hooks.turns import InTurn
from .methods import Forecast, ToDo, ToMe, in_turn, is_int
from .run import Run, is_freezing

Model = TypeVar("Model")
Part = todo.ToDoPatch | tome.ToMePatch | InTurn | forecast.ForecastPatch


def apply_patch(model: Any, *methods: ToDo | ToMe | Forecast) -> None:
    """Put methods on a pipeline, or on its denoiser. They replace those that are on it, if any.

    Recommended: give the pipeline that you will call, not its denoiser; its scheduler shows where a run
    begins. A method that asks for nothing leaves the model as it is. A patched model can be copied (not with
    a `Forecast`) and its weights saved, but not pickled. If `plan(...).ceiling` is near 1, use `Forecast`.

    Args:
        model: a pipeline, or its denoiser (a UNet or a transformer).
        methods: a `ToDo` or a `ToMe`, a `Forecast`, or one of each.

    Raises:
        NothingToPatch: the model has no self-attention on the levels that a method asks for.
        TypeError: `model` has no denoiser of a known kind, or `methods` are not those above.
        ValueError: the model's attention cannot work with the method (fused projections, PAG's processors).
    """
    denoiser = find_denoiser(model)
    require_methods(denoiser, methods)
    remove_patch(model)
    wanted = tuple(method for method in methods if not _asks_for_nothing(method))
    if wanted:
        pipe = None if isinstance(model, torch.nn.Module) else model
        _put_on(denoiser, wanted, Run(pipe, next((m for m in wanted if isinstance(m, Forecast)), None)))


def _asks_for_nothing(method: ToDo | ToMe | Forecast) -> bool:
    turns = (method,) if isinstance(method, Forecast) else in_turn(method)
    return all(turn.asks_for_nothing for turn in turns)


def _put_on(denoiser: torch.nn.Module, methods: tuple[ToDo | ToMe | Forecast, ...], run: Run) -> None:
    denoiser._todo_patch = Patch(denoiser, methods, run)
    if run.pipe is not None:
        watch(run.pipe, denoiser)


def remove_patch(model: Any) -> None:
    """Take the methods off: the model is exactly what it was. Without a patch, do nothing."""
    for denoiser in (find_denoiser(model), watched(model)):
        patch = None if denoiser is None else vars(denoiser).pop("_todo_patch", None)
        if patch is not None:
            patch.remove()
            if patch.run.pipe is not None:
                unwatch(patch.run.pipe)


@contextmanager
def patched(model: Model, *methods: ToDo | ToMe | Forecast) -> Iterator[Model]:
    """`apply_patch` for the length of a `with` block. However it ends, the model is as it was before: without
    a patch, or with that of an outer block."""
    denoiser = find_denoiser(model)
    outer = vars(denoiser).get("_todo_patch")
    try:
        apply_patch(model, *methods)
        yield model
    finally:
        remove_patch(denoiser)
        remove_patch(model)  # the block may have given the pipeline another, and patched it
        if outer is not None:
            _put_on(denoiser, outer.methods, outer.run)


def begin_run(model: Any, steps: int) -> None:
    """Announce that the next UNet call is the first of a run of `steps` calls.

    Only needed in your own denoising loop; a patched pipeline sees it by itself. Without a patch, do nothing.

    Raises:
        ValueError: `steps` is not an int of at least 1.
    """
    if not is_int(steps) or steps < 1:
        raise ValueError(f"steps={steps!r} is not allowed; it must be an int of at least 1.")
    patch = vars(find_denoiser(model)).get("_todo_patch")
    if patch is not None:
        patch.run.begin(steps)


class Patch:
    """What is on one denoiser: its methods, and the run that they follow. `remove` leaves no trace.

    However a denoiser was compiled, torch calls the hooks of the outermost module from plain Python. So they
    are the place to count and to branch: before each call every part sets what the blocks are to do in it.
    """

    def __init__(
        self, denoiser: torch.nn.Module, methods: tuple[ToDo | ToMe | Forecast, ...], run: Run
    ) -> None:
        self.methods = methods
        self.run = run
        self.parts: list[Part] = []
        with ExitStack() as undo:  # a part that is refused takes those before it along
            for method in methods:
                self.parts.append(_part(denoiser, method, run))
                undo.callback(self.parts[-1].remove)
            undo.pop_all()
        self._handles = [
            denoiser.register_forward_pre_hook(_before_call, with_kwargs=True),
            denoiser.register_forward_hook(_after_call, always_call=True),
        ]

    def before_call(self, denoiser: torch.nn.Module, arguments: dict[str, Any]) -> None:
        for method in self.methods:
            if method.changes_over_a_run and is_freezing():
                raise RuntimeError(
                    f"{method} does not do the same in every call; a traced or exported model would. "
                    "Trace it with ToDo, grid='fixed' and until=1, or without a patch."
                )
        self.run.next_call(arguments["timestep"])
        for part in self.parts:
            part.before_call(denoiser, arguments)

    def after_call(self, output: Any) -> None:
        """The call has ended: with an output, or with None after an error."""
        for part in self.parts:
            if isinstance(part, forecast.ForecastPatch) and output is not None:
                part.after_call(output)
        self.run.end_call()

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        for part in self.parts:
            part.remove()


def _part(denoiser: torch.nn.Module, method: ToDo | ToMe | Forecast, run: Run) -> Part:
    if isinstance(method, Forecast):
        return forecast.ForecastPatch(denoiser, method, run)
    put_on = functools.partial(_attention_part, self_attention(denoiser), run)
    return put_on(method) if method.then is None else InTurn(method, put_on, run)


def _attention_part(
    sites: tuple[SelfAttention, ...], run: Run, method: ToDo | ToMe
) -> todo.ToDoPatch | tome.ToMePatch:
    blocks = tuple(site for site in sites if method.patches(site.level))
    if isinstance(method, ToDo):
        return todo.ToDoPatch(blocks, method, run)
    return tome.ToMePatch(blocks, method, run)


@torch.compiler.disable
def _before_call(denoiser: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    arguments = dict(zip(_argument_names(denoiser.__class__), args, strict=False)) | kwargs
    denoiser._todo_patch.before_call(denoiser, arguments)


@torch.compiler.disable
def _after_call(denoiser: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
    denoiser._todo_patch.after_call(output)


@functools.cache
def _argument_names(denoiser: type[Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(denoiser.forward).parameters)[1:]
