"""From a method's id to the patch that is put on the model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from diffusers import DiffusionPipeline

from compare.request import InvalidRequest, Request
from compare.study.grid_variants import CHOICES, chosen_tokens
from todo_patch import ToDo, ToMe, patched


def patch_of(method: str, request: Request) -> ToDo | ToMe | None:
    """The patch of a method; None for those that leave the model as it is.

    Raises:
        InvalidRequest: where there is no ToMe of equal reduction.
    """
    todo = ToDo(factor=request.factor)
    if method == "todo":
        return todo
    if method == "todo-rotating":
        return ToDo(factor=request.factor, grid="rotating")
    if method == "tome":
        try:
            return ToMe.like(todo)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
    if method == "todo-average":
        return ToDo(factor=request.factor, pooling="average")
    return todo if method in CHOICES else None


def put_on(pipe: DiffusionPipeline, method: str, request: Request) -> AbstractContextManager[object]:
    """The method on the pipeline for the time of a `with` block."""
    patch = patch_of(method, request)
    if patch is None:
        return nullcontext()
    if method in CHOICES:
        return chosen_tokens(pipe, patch, CHOICES[method])
    return patched(pipe, patch)
