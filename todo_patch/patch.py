"""Putting a method on a model and taking it off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from . import todo, tome
from .blocks import find_unet, require_blocks, self_attention
from .methods import ToDo, ToMe, is_int
from .run import Run

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
    unet = find_unet(model)
    require_blocks(self_attention(unet), method)
    remove_patch(unet)
    if method.asks_for_nothing:
        return
    _put_on(unet, method, Run(None if isinstance(model, torch.nn.Module) else model))


def _put_on(unet: torch.nn.Module, method: ToDo | ToMe, run: Run) -> None:
    blocks = tuple(block for block in self_attention(unet) if method.patches(block.level))
    patch_class: type[Any] = todo.ToDoPatch if isinstance(method, ToDo) else tome.ToMePatch
    unet._todo_patch = patch_class(unet, blocks, method, run)


def remove_patch(model: Any) -> None:
    """Take the method off: the model is exactly what it was. Without a patch, do nothing."""
    unet = find_unet(model)
    patch = vars(unet).pop("_todo_patch", None)
    if patch is not None:
        patch.remove()


@contextmanager
def patched(model: Model, method: ToDo | ToMe) -> Iterator[Model]:
    """`apply_patch` for the length of a `with` block. However it ends, the model is as it was before: without
    a patch, or with that of an outer block."""
    unet = find_unet(model)  # the block may give the pipeline another
    outer = vars(unet).get("_todo_patch")
    try:
        apply_patch(model, method)
        yield model
    finally:
        remove_patch(unet)
        if outer is not None:
            _put_on(unet, outer.method, outer.run)


def begin_run(model: Any, steps: int) -> None:
    """Announce that the next UNet call is the first of a run of `steps` calls.

    Only needed in your own denoising loop; a patched pipeline sees it by itself. Without a patch, do nothing.

    Raises:
        ValueError: `steps` is not an int of at least 1.
    """
    if not is_int(steps) or steps < 1:
        raise ValueError(f"steps={steps!r} is not allowed; it must be an int of at least 1.")
    patch = vars(find_unet(model)).get("_todo_patch")
    if patch is not None:
        patch.run.begin(steps)
