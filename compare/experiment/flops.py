"""A method's work by count, summed up from `todo_patch.plan`."""

from __future__ import annotations

from diffusers import DiffusionPipeline

from compare.methods import patch_of
from compare.report import LevelTokens, PlanSummary
from compare.request import InvalidRequest, Request
from todo_patch import BlockPlan, Plan, ToDo, ToMe, plan


def plan_summary(pipe: DiffusionPipeline, method: str, request: Request) -> PlanSummary:
    """What a method would do at this size.

    Raises:
        InvalidRequest: where the model or the size does not allow it.
    """
    patch = patch_of(method, request)
    work = _plan(pipe, patch or ToDo(factor=1), request)
    after = work.total_after
    if method in ("todo-coarse-early", "todo-fine-early"):  # each factor for half of the steps
        finer, coarser = (tuple(f + d if f > 1 else 1 for f in request.factors) for d in (-1, 1))
        after = sum(_plan(pipe, ToDo(factor=f), request).total_after for f in (finer, coarser)) // 2
    return PlanSummary(
        flops_before=work.total_before,
        flops_after=after,
        flop_speedup=work.total_before / after,
        ceiling=work.ceiling if patch else None,
        levels=_levels(work.blocks),
    )


def _plan(pipe: DiffusionPipeline, patch: ToDo | ToMe, request: Request) -> Plan:
    try:
        return plan(pipe, patch, height=request.height, width=request.width)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


def fewer_steps_plan(baseline: PlanSummary, steps: int, of: int) -> PlanSummary:
    """The baseline's work, in `steps` instead of `of` steps."""
    return baseline.model_copy(update={"flop_speedup": of / steps})


def _levels(blocks: tuple[BlockPlan, ...]) -> tuple[LevelTokens, ...]:
    by_level: dict[int, list[BlockPlan]] = {}
    for block in blocks:
        by_level.setdefault(block.level, []).append(block)
    return tuple(
        LevelTokens(
            level=level,
            grid=same[0].grid,
            blocks=len(same),
            tokens=same[0].tokens,
            query_tokens=same[0].query_tokens,
            kv_tokens=same[0].kv_tokens,
        )
        for level, same in sorted(by_level.items())
    )
