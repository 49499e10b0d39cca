"""From a method's id to the patch that is put on the model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from diffusers import DiffusionPipeline

from compare.request import InvalidRequest, Request
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
    return None


def put_on(pipe: DiffusionPipeline, patch: ToDo | ToMe | None) -> AbstractContextManager[object]:
    """The patch on the pipeline for the time of a `with` block."""
    return nullcontext() if patch is None else patched(pipe, patch)
