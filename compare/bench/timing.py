"""The benchmark: Baseline, ToMe, ToDo and their measured limits on one model, in turns, on one clock.

What is timed, each time after one UNet call of the same variant that is not (kernels chosen, code compiled,
memory allocated), and with the accelerator synchronised at both ends:

- a step: one UNet call;
- a run: the pipeline's denoising loop of n steps, without text encoding and without the VAE.

A round times every variant once (A B C, A B C, ...), so that whatever slows a machine down for a while meets
them all, and ratios are taken within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from statistics import median

import torch

from compare.bench.denoising_loop import DenoisingLoop
from compare.bench.report import BenchRow, Ratio, Timing
from compare.bench.request import BenchRequest
from compare.bench.variants import Variant, put_on, variants
from compare.errors import InvalidRequest
from compare.experiment.clock import LoopClock
from compare.experiment.memory import free_memory_of, is_out_of_memory
from compare.models.load import LoadedPipeline
from todo_patch import ToDo, plan


@dataclass(frozen=True)
class Turn:
    """A variant is about to be timed."""

    width: int
    height: int
    round: int
    """From 1."""
    variant: Variant


def bench(
    loaded: LoadedPipeline, request: BenchRequest, tell: Callable[[Turn], None] = lambda turn: None
) -> Iterator[tuple[BenchRow, ...]]:
    """Run a benchmark. Yields the rows of one size after another; the model is as it was in between.

    What does not fit into memory, or cannot be done at a size, is a row that says so, and the rest goes on.

    Args:
        tell: called before each turn.

    Raises:
        InvalidRequest: the attention in use does not allow a method.
    """
    if "todo-processor" in request.methods and loaded.info.attention != "sdpa":
        raise InvalidRequest(
            f"todo-processor attends by sdpa: it cannot be timed beside {loaded.info.attention}."
        )
    for width, height in request.sizes:
        yield _Size(loaded, request, width, height).rows(tell)


@dataclass
class _Times:
    """One variant at one size, one entry per round."""

    step: list[float] = field(default_factory=list)
    run: list[float] = field(default_factory=list)
    peak_memory: int | None = None

    def add(self, step: LoopClock, run: LoopClock | None) -> None:
        self.step.append(step.seconds)
        peaks = [self.peak_memory, step.peak_memory]
        if run is not None:
            self.run.append(run.seconds)
            peaks.append(run.peak_memory)
        self.peak_memory = max((peak for peak in peaks if peak is not None), default=None)


@dataclass
class _Size:
    loaded: LoadedPipeline
    request: BenchRequest
    width: int
    height: int
    times: dict[Variant, _Times] = field(default_factory=dict)
    plans: dict[Variant, tuple[float, float | None]] = field(default_factory=dict)
    failures: dict[Variant, str] = field(default_factory=dict)

    def rows(self, tell: Callable[[Turn], None]) -> tuple[BenchRow, ...]:
        asked = variants(self.request.methods, self.request.factors)
        for variant in asked:
            self._plan(variant)
        with _compiled(self.loaded.pipe.unet) if self.request.compiled else nullcontext():
            for number in range(1, self.request.rounds + 1):
                for variant in asked:
                    if variant not in self.failures:
                        tell(Turn(self.width, self.height, number, variant))
                        self._take_turn(variant)
        return tuple(self._row(variant) for variant in asked)

    def _plan(self, variant: Variant) -> None:
        try:
            work = plan(self.loaded.pipe, variant.patch or ToDo(factor=1), self.height, self.width)
        except ValueError as error:
            self.failures[variant] = str(error)
            return
        if variant.patch is None:
            self.plans[variant] = 1.0, None
        else:
            is_limit = variant.limit == variant
            self.plans[variant] = work.ceiling if is_limit else work.speedup, work.ceiling

    def _take_turn(self, variant: Variant) -> None:
        try:
            self.times.setdefault(variant, _Times()).add(*self._timed(variant))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            free_memory_of(error, self.loaded.device)
            del self.times[variant]
            self.failures[variant] = f"does not fit into the memory of this {self.loaded.info.device_name}"

    def _timed(self, variant: Variant) -> tuple[LoopClock, LoopClock | None]:
        pipe, request = self.loaded.pipe, self.request
        latent = self.height // pipe.vae_scale_factor, self.width // pipe.vae_scale_factor
        loop = DenoisingLoop(self.loaded, self.width, self.height, request.batch, max(request.steps, 1))
        with put_on(pipe, variant, latent):
            loop.step()  # the warm-up
            return loop.step(), loop.run() if request.steps else None

    def _row(self, variant: Variant) -> BenchRow:
        flop_speedup, ceiling = self.plans.get(variant, (None, None))
        times = self.times.get(variant)
        return BenchRow(
            width=self.width,
            height=self.height,
            method=variant.method,
            factor=variant.factor,
            failure=self.failures.get(variant),
            step=self._timing(variant, lambda times: times.step),
            run=self._timing(variant, lambda times: times.run),
            peak_memory=times.peak_memory if times else None,
            flop_speedup=flop_speedup,
            ceiling=ceiling,
        )

    def _timing(self, variant: Variant, of: Callable[[_Times], list[float]]) -> Timing | None:
        def seconds(variant: Variant | None) -> list[float]:
            return of(self.times[variant]) if variant in self.times else []

        baseline, limit = seconds(Variant("baseline")), seconds(variant.limit)
        if not seconds(variant):
            return None
        return Timing(
            seconds=tuple(seconds(variant)),
            speedup=median(baseline) / median(seconds(variant)) if baseline else None,
            paired=Ratio.of(baseline, seconds(variant)) if baseline else None,
            limit=Ratio.of(baseline, limit).median if baseline and limit else None,
        )


@contextmanager
def _compiled(unet: torch.nn.Module) -> Iterator[None]:
    """Compile the transformer blocks, which is where methods differ, anew for every size and every variant.

    Shapes are fixed: code for all sizes at once is slower, and it would be made for whoever comes second.
    """
    torch._dynamo.reset()
    every_variant = {"recompile_limit": 1000, "accumulated_recompile_limit": 1000}
    # Past its limit torch would go on uncompiled, without a word.
    with torch._dynamo.config.patch(**every_variant, fail_on_recompile_limit_hit=True):
        unet.compile_repeated_blocks(dynamic=False)
        try:
            yield
        finally:
            for module in unet.modules():
                vars(module).pop("_compiled_call_impl", None)
            torch._dynamo.reset()
