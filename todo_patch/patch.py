"""Putting methods on a model and taking them off."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch

from . import todo, tome
from .blocks import find_denoiser, require_blocks, self_attention
from .methods import ToDo, ToMe, is_int
from .run import Run, is_freezing

Model = TypeVar("Model")


def apply_patch(model: Any, method: ToDo | ToMe) -> None:
    """Put a method on a pipeline, or on a UNet. It replaces the method that is on it, if any.

    Recommended: give the pipeline that you will call, not its UNet; its scheduler shows where a run begins.
    A method that asks for nothing leaves the model as it is. A patched model can be copied and its weights
    saved, but not pickled. If `plan(...).ceiling` is near 1, take fewer steps instead.

    Raises:
        NothingToPatch: the model has no self-attention on the levels that the method asks for.
        TypeError: `model` has no UNet, or `method` is neither a `ToDo` nor a `ToMe`.
        ValueError: the model's attention cannot work with the method (fused projections, PAG's processors).
    """
    denoiser = find_denoiser(model)
    require_blocks(self_attention(denoiser), method)
    remove_patch(denoiser)
    if method.asks_for_nothing:
        return
    _put_on(denoiser, (method,), Run(None if isinstance(model, torch.nn.Module) else model))


def _put_on(denoiser: torch.nn.Module, methods: tuple[ToDo | ToMe, ...], run: Run) -> None:
    denoiser._todo_patch = Patch(denoiser, methods, run)


def remove_patch(model: Any) -> None:
    """Take the method off: the model is exactly what it was. Without a patch, do nothing."""
    patch = vars(find_denoiser(model)).pop("_todo_patch", None)
    if patch is not None:
        patch.remove()


@contextmanager
def patched(model: Model, method: ToDo | ToMe) -> Iterator[Model]:
    """`apply_patch` for the length of a `with` block. However it ends, the model is as it was before: without
    a patch, or with that of an outer block."""
    denoiser = find_denoiser(model)  # the block may give the pipeline another
    outer = vars(denoiser).get("_todo_patch")
    try:
        apply_patch(model, method)
        yield model
    finally:
        remove_patch(denoiser)
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
    """What is on one denoiser (a UNet): its methods, and the run that they follow. `remove` leaves no trace.

    However a denoiser was compiled, torch calls the hooks of the outermost module from plain Python. So they
    are the place to count and to branch: before each call every part sets what the blocks are to do in it.
    """

    def __init__(self, denoiser: torch.nn.Module, methods: tuple[ToDo | ToMe, ...], run: Run) -> None:
        self.methods = methods
        self.run = run
        self.parts: list[todo.ToDoPatch | tome.ToMePatch] = []
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
                    f"{method} does not keep the same tokens in every call; a traced or exported one would. "
                    "Trace it with ToDo, grid='fixed' and until=1, or without a patch."
                )
        self.run.next_call(arguments["timestep"])
        for part in self.parts:
            part.before_call(denoiser, arguments)

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        for part in self.parts:
            part.remove()


def _part(denoiser: torch.nn.Module, method: ToDo | ToMe, run: Run) -> todo.ToDoPatch | tome.ToMePatch:
    blocks = tuple(block for block in self_attention(denoiser) if method.patches(block.level))
    return (todo.ToDoPatch if isinstance(method, ToDo) else tome.ToMePatch)(blocks, method, run)


@torch.compiler.disable
def _before_call(denoiser: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    arguments = dict(zip(_argument_names(type(denoiser)), args, strict=False)) | kwargs
    denoiser._todo_patch.before_call(denoiser, arguments)


@torch.compiler.disable
def _after_call(denoiser: torch.nn.Module, *_: Any) -> None:
    denoiser._todo_patch.run.end_call()


@functools.cache
def _argument_names(denoiser: type) -> tuple[str, ...]:
    return tuple(inspect.signature(denoiser.forward).parameters)[1:]
