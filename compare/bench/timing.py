"""The benchmark: Baseline, methods and their upper bounds on one model, interleaved, on one clock.

for each size:
    plan every variant
    for each round, for each variant (A B C A B C ...):
        put the method on the pipeline
        warm up              one UNet call, not timed: kernels chosen, code compiled, memory allocated
        time a step          one UNet call
        time a run           the pipeline's denoising loop, without text encoding and without the VAE

The accelerator is synchronised at both ends of what is timed. Variants are interleaved so that whatever slows
the machine down for a while slows them all; ratios are taken within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone
from statistics import median

import torch

from compare.bench.denoising_loop import DenoisingLoop
from compare.bench.report import BenchReport, BenchRow, Ratio, Timing
from compare.bench.request import BenchRequest
from compare.bench.variants import TODO_PROCESSOR, Setting, UpperBound, Variant, variants
from compare.errors import InvalidRequest
from compare.experiment.clock import LoopClock
from compare.experiment.device import environment
from compare.experiment.evenness import uneven_times
from compare.experiment.memory import free_memory_of, is_out_of_memory
from compare.models.load import LoadedPipeline
from compare.statistics import median_interval
from todo_patch import plan


@dataclass(frozen=True)
class Progress:
    """A variant is about to be timed."""

    width: int
    height: int
    round: int
    """From 1."""
    variant: Variant


OnProgress = Callable[[Progress], None]


def bench(
    loaded: LoadedPipeline,
    request: BenchRequest,
    command: str = "",
    on_progress: OnProgress = lambda progress: None,
) -> Iterator[BenchReport]:
    """Run a benchmark. Yields the report so far after each size; the model is as it was in between.

    What does not fit into memory, or cannot be done at a size, is a row that says so, and the rest goes on.

    Args:
        command: the command line, for the report.
        on_progress: called before a variant is timed.

    Raises:
        InvalidRequest: the attention in use does not allow a method.
    """
    if TODO_PROCESSOR in request.chosen and loaded.info.attention != "sdpa":
        raise InvalidRequest(
            f"{TODO_PROCESSOR.id} attends by sdpa: it cannot be timed beside {loaded.info.attention}."
        )
    rows: tuple[BenchRow, ...] = ()
    for size in request.sizes:
        rows += _rows_of_size(loaded, request, size, on_progress)
        yield BenchReport(
            date=datetime.now(timezone.utc),
            command=command,
            request=request,
            model=loaded.info,
            environment=environment(loaded.device),
            notes=tuple(_notes(loaded, request, rows)),
            rows=rows,
        )


@dataclass
class _Measured:
    """One variant at one size."""

    variant: Variant
    setting: Setting
    failure: str | None = None
    flop_speedup: float | None = None
    ceiling: float | None = None
    steps: list[LoopClock] = field(default_factory=list)
    """One per round."""
    runs: list[LoopClock] = field(default_factory=list)


def _rows_of_size(
    loaded: LoadedPipeline, request: BenchRequest, size: tuple[int, int], on_progress: OnProgress
) -> tuple[BenchRow, ...]:
    shown = variants(request.chosen, request.factors)
    all_measured = {variant: _Measured(variant, variant.setting(*size)) for variant in shown}
    for measured in all_measured.values():
        _plan(loaded, measured, request.steps)
    with _compiled(loaded.pipe.unet) if request.compiled else nullcontext():
        for number in range(1, request.rounds + 1):
            for variant, measured in all_measured.items():
                if measured.failure is None:
                    on_progress(Progress(*size, number, variant))
                    _time(loaded, request, measured)
    return tuple(_row(measured, all_measured) for measured in all_measured.values())


def _plan(loaded: LoadedPipeline, measured: _Measured, steps: int) -> None:
    method, at = measured.variant.method, measured.setting
    try:
        patches = method.counted_patches(at) or ()
        plans = [plan(loaded.pipe, patch, at.height, at.width, steps=steps or None) for patch in patches]
    except ValueError as error:
        measured.failure = str(error)
        return
    if plans:
        after = sum(work.total_after for work in plans) / len(plans)
        measured.flop_speedup = plans[0].total_before / after
    if plans and method.patch:
        measured.ceiling = plans[0].ceiling
    if isinstance(method, UpperBound):
        measured.flop_speedup = measured.ceiling


def _time(loaded: LoadedPipeline, request: BenchRequest, measured: _Measured) -> None:
    at = measured.setting
    try:
        loop = DenoisingLoop(loaded, at.width, at.height, request.batch, max(request.steps, 1))
        with measured.variant.method.on(loaded.pipe, at):
            loop.step()  # the warm-up
            measured.steps.append(loop.step())
            if request.steps:
                measured.runs.append(loop.run())
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        free_memory_of(error, loaded.device)
        measured.steps.clear()
        measured.runs.clear()
        measured.failure = f"does not fit into the memory of this {loaded.info.device_name}"


def _row(measured: _Measured, all_measured: dict[Variant, _Measured]) -> BenchRow:
    baseline, *_ = all_measured.values()
    bound = all_measured.get(measured.variant.upper_bound)
    peaks = [clock.peak_memory for clock in (*measured.steps, *measured.runs)]
    return BenchRow(
        width=measured.setting.width,
        height=measured.setting.height,
        method=measured.variant.method.id,
        factor=measured.variant.factor,
        failure=measured.failure,
        step=_timing(measured.steps, baseline.steps, bound.steps if bound else []),
        run=_timing(measured.runs, baseline.runs, bound.runs if bound else []),
        peak_memory=max((peak for peak in peaks if peak is not None), default=None),
        flop_speedup=measured.flop_speedup,
        ceiling=measured.ceiling,
    )


def _timing(clocks: list[LoopClock], baseline: list[LoopClock], bound: list[LoopClock]) -> Timing | None:
    if not clocks:
        return None
    own, of_baseline, of_bound = ([clock.seconds for clock in each] for each in (clocks, baseline, bound))
    return Timing(
        seconds=own,
        speedup=median(of_baseline) / median(own) if baseline else None,
        paired=Ratio.of(of_baseline, own) if baseline else None,
        limit=Ratio.of(of_baseline, of_bound).median if baseline and bound else None,
    )


def _notes(loaded: LoadedPipeline, request: BenchRequest, rows: tuple[BenchRow, ...]) -> Iterator[str]:
    if loaded.fallback:
        yield loaded.fallback
    if median_interval(range(request.rounds)) is None:
        yield "There are no confidence intervals: they need six rounds or more."
    timed = [row.step.seconds for row in rows if row.step]
    if loaded.device.type == "cpu" and timed:
        yield from uneven_times(timed)


@contextmanager
def _compiled(unet: torch.nn.Module) -> Iterator[None]:
    """Compile the transformer blocks, which is where methods differ, anew for every size and every variant.

    Shapes are fixed: code for all sizes at once is slower, and it would be made for whichever comes second.
    """
    torch._dynamo.reset()
    every_variant = {"recompile_limit": 1000, "accumulated_recompile_limit": 1000}
    # Without this torch would go on uncompiled beyond its limit, silently.
    with torch._dynamo.config.patch(**every_variant, fail_on_recompile_limit_hit=True):
        unet.compile_repeated_blocks(dynamic=False)
        try:
            yield
        finally:
            for module in unet.modules():
                vars(module).pop("_compiled_call_impl", None)
            torch._dynamo.reset()
