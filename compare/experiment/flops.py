"""A method's work in FLOPs, summed up from `todo_patch.plan`."""

from __future__ import annotations

from diffusers import DiffusionPipeline

from compare.errors import InvalidRequest
from compare.methods import BASELINE, Method
from compare.report import LevelTokens, PlanSummary
from compare.request import Request
from todo_patch import BlockPlan, Forecast, Plan, ToDo, ToMe, plan


def plans_of(pipe: DiffusionPipeline, request: Request) -> dict[str, PlanSummary]:
    """What the methods of a request would do, by method, without those whose steps follow from the times of
    others. Reads neither weights nor texts, also while another run goes on.

    Raises:
        InvalidRequest: the model or the size does not allow it.
    """
    return {
        method.id: plan_summary(pipe, method, request, request.steps)
        for method in request.chosen
        if method.steps is None
    }


def plan_summary(pipe: DiffusionPipeline, method: Method, request: Request, steps: int) -> PlanSummary:
    """What a method would do at this size, in so many steps.

    Raises:
        InvalidRequest: the model or the size does not allow it.
    """
    patches = method.counted_patches(request)
    counted = [_plan(pipe, patch, request, steps) for patch in patches or BASELINE.counted_patches(request)]
    shown = _plan(pipe, method.patches(request), request, steps) if method.patch else counted[0]
    before = shown.total_before // steps
    after = sum(work.total_after for work in counted) // len(counted) // steps if patches else None
    return PlanSummary(
        flops_before=before,
        flops_after=after,
        flop_speedup=before * request.steps / (after * steps) if after else None,
        ceiling=shown.ceiling if method.patch else None,
        levels=_levels(shown.blocks),
    )


def _plan(
    pipe: DiffusionPipeline, patch: tuple[ToDo | ToMe | Forecast, ...], request: Request, steps: int
) -> Plan:
    try:
        return plan(pipe, patch, height=request.height, width=request.width, steps=steps)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


def _levels(blocks: tuple[BlockPlan, ...]) -> tuple[LevelTokens, ...]:
    first_of_level: dict[int, BlockPlan] = {}
    for block in blocks:
        first_of_level.setdefault(block.level, block)
    return tuple(
        LevelTokens(
            level=level,
            grid=block.grid,
            blocks=sum(other.level == level for other in blocks),
            tokens=block.tokens,
            query_tokens=block.query_tokens,
            kv_tokens=block.kv_tokens,
        )
        for level, block in sorted(first_of_level.items())
    )
