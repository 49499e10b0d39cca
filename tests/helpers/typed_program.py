"""A program that uses the library. Nothing runs it: tests/test_install.py gives it to the type checker.

A comment that ignores an error fails the check where there is no such error.
"""

from __future__ import annotations

import torch
from typing_extensions import assert_type

from todo_patch import (
    BlockPlan,
    Forecast,
    Plan,
    ToDo,
    ToMe,
    apply_patch,
    begin_run,
    patched,
    plan,
    remove_patch,
)


class Pipeline:
    """Any pipeline: the library takes whatever has a UNet."""

    unet: torch.nn.Module


pipe = Pipeline()

with patched(pipe, ToDo(factor=(4, 2), grid="rotating"), Forecast()) as same:
    assert_type(same, Pipeline)

assert_type(apply_patch(pipe.unet, ToMe()), None)
assert_type(begin_run(pipe, steps=20), None)
assert_type(remove_patch(pipe), None)
assert_type(ToMe.like(ToDo.for_size(1024, 1024)), ToMe)

work = plan(pipe, ToDo(), height=1024, width=1024)
assert_type(work, Plan)
assert_type(work.speedup, float)
assert_type(work.blocks[0], BlockPlan)
assert_type(work.blocks[0].grid, tuple[int, int])

ToDo(factor="2")  # type: ignore[arg-type]
ToMe(levels=(1, 2))  # type: ignore[arg-type]
apply_patch(pipe, "todo")  # type: ignore[arg-type]
patched(pipe, "todo")  # type: ignore[arg-type]
plan(pipe, ToDo(), 1024)  # type: ignore[call-arg]
work.total_before = 0  # type: ignore[misc]
