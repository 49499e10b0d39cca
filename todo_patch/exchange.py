"""A pipeline whose denoiser is exchanged under the patch says so at its next call.

The patch is on the denoiser, and a pipeline that was given another one would run it unpatched.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from .blocks import find_denoiser


def watch(pipe: Any, denoiser: torch.nn.Module) -> None:
    """From now on the pipeline refuses to run with another denoiser that has no patch."""
    if not callable(pipe):
        return
    vars(pipe)["_todo_denoiser"] = denoiser
    pipe.__class__ = _watching(pipe.__class__)


def watched(pipe: Any) -> torch.nn.Module | None:
    """The denoiser that was patched through this pipeline, though it may have another one now."""
    return vars(pipe).get("_todo_denoiser")


def unwatch(pipe: Any) -> None:
    """The pipeline is exactly what it was."""
    if vars(pipe).pop("_todo_denoiser", None) is not None:
        pipe.__class__ = type(pipe).__base__


@functools.cache
def _watching(pipeline: type) -> type:
    @functools.wraps(pipeline.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "_todo_patch" not in vars(find_denoiser(self)):
            raise RuntimeError(
                f"The denoiser of this {pipeline.__name__} was exchanged after it had been patched, and the "
                "new one has no patch. Say apply_patch again, or remove_patch, before the next call."
            )
        return pipeline.__call__(self, *args, **kwargs)

    names = {name: getattr(pipeline, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(pipeline.__name__, (pipeline,), {"__call__": call, **names})
