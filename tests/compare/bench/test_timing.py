"""The benchmark: what is timed in which order, and what becomes of failures."""

from __future__ import annotations

import re
from dataclasses import replace
from statistics import median
from unittest.mock import Mock

import pytest
import torch

from compare import methods
from compare.bench.denoising_loop import DenoisingLoop
from compare.bench.profile import HOOKS, breakdown, breakdown_table
from compare.bench.report import BenchRow, Ratio
from compare.bench.request import BenchRequest
from compare.bench.table import markdown
from compare.bench.timing import Progress, bench
from compare.bench.variants import TODO_TWO_LEVELS, Variant, variants
from compare.errors import InvalidRequest
from compare.models.load import LoadedPipeline, Source, loaded_pipeline
from tests.helpers.tiny_models import sd15_pipeline
from tests.helpers.traces import traces_of_a_patch
from todo_patch import ToDo, ToMe, plan

BASELINE, TODO, TOME = Variant(methods.BASELINE), Variant(methods.TODO, 2), Variant(methods.TOME, 2)
BOUND, TWO_LEVELS = TODO.upper_bound, Variant(TODO_TWO_LEVELS, 2)


def asked(**changes: object) -> BenchRequest:
    return BenchRequest(**{"sizes": ((64, 64),), "factors": (2,), "rounds": 2, "steps": 2, **changes})


def rows_of(loaded: LoadedPipeline, request: BenchRequest, *args: object) -> dict[Variant, BenchRow]:
    *_, report = bench(loaded, request, "", *args)
    return {row.variant: row for row in report.rows}


def test_variants_are_interleaved_in_the_rounds_of_every_size(loaded) -> None:
    request = asked(sizes=((64, 64), (96, 64)), methods=("todo",), rounds=3, steps=0)
    order = []
    reports = list(bench(loaded, request, "", order.append))
    assert [len(report.rows) for report in reports] == [3, 6]
    assert order == [
        Progress(*size, number, variant)
        for size in request.sizes
        for number in (1, 2, 3)
        for variant in (BASELINE, TODO, BOUND)
    ]


def test_the_warm_up_is_not_timed_and_a_run_has_its_steps(loaded, hand_clock) -> None:
    calls = []  # of the variant that is being timed: one warm-up, one step, three of the run

    def slow_warm_up(*_: object) -> None:
        hand_clock.now += 1 if calls else 100
        calls.append("call")

    with loaded.pipe.unet.register_forward_pre_hook(slow_warm_up):
        rows = rows_of(loaded, asked(methods=("todo", "tome"), steps=3), lambda progress: calls.clear())
    assert len(rows) == 5
    for row in rows.values():
        assert row.step.seconds == (1, 1)
        assert row.run.seconds == (3, 3)


def test_speed_up_is_paired_within_a_round_and_compared_with_the_bound(loaded, hand_clock) -> None:
    seconds = {BASELINE: [12, 24], TODO: [6, 16], BOUND: [4, 8]}  # rounds 1 and 2
    order = []

    def slow(*_: object) -> None:
        hand_clock.now += seconds[order[-1].variant][order[-1].round - 1]

    with loaded.pipe.unet.register_forward_pre_hook(slow):
        rows = rows_of(loaded, asked(methods=("todo",), steps=0), order.append)
    baseline, todo, bound = (rows[variant].step for variant in (BASELINE, TODO, BOUND))
    assert baseline.paired.median == bound.of_limit == bound.saved_of_limit == 1
    assert todo.speedup == median([12, 24]) / median([6, 16])
    assert todo.paired.median == median([12 / 6, 24 / 16])
    assert todo.limit == 3
    assert todo.of_limit == todo.paired.median / 3
    assert todo.saved_of_limit == pytest.approx((1 - 1 / 1.75) / (1 - 1 / 3))
    assert (todo.median, todo.fastest, todo.slowest) == (11, 6, 16)


def test_rows_carry_the_plan(loaded) -> None:
    rows = rows_of(loaded, asked(methods=("tome", "todo-two-levels"), rounds=1, steps=0))
    for variant, patch in {TOME: ToMe(), TWO_LEVELS: ToDo(factor=(2, 2))}.items():
        planned = plan(loaded.pipe, patch, 64, 64)
        assert (rows[variant].flop_speedup, rows[variant].ceiling) == (planned.speedup, planned.ceiling)
        assert rows[variant.upper_bound].flop_speedup == planned.ceiling
        assert rows[variant].peak_memory is None  # on a CPU
        assert rows[variant].run is None
    assert (rows[BASELINE].flop_speedup, rows[BASELINE].ceiling) == (1, None)


@pytest.mark.usefixtures("outsider")
def test_a_method_of_somebody_else_is_timed_but_not_counted(loaded) -> None:
    factors = set()

    def look(unet: torch.nn.Module, *_: object) -> None:
        factors.add(getattr(unet, "their_factor", None))

    with loaded.pipe.unet.register_forward_pre_hook(look):
        *_, report = bench(loaded, asked(methods=("theirs",), factors=(3,), steps=0))
    assert factors == {None, 3}
    assert len(report.rows) == 2, "there is no upper bound"
    row = report.rows[1]
    assert row.step.paired.median > 0
    assert (row.flop_speedup, row.ceiling, row.step.limit) == (None, None, None)
    assert "| not counted |" in markdown(report)
    parts = breakdown(loaded, (BASELINE, row.variant), 64, 64, batch=2, rounds=1)
    assert breakdown_table(parts, row.variant).startswith("| part, ms | Baseline | Theirs, factor 3 |\n")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
@pytest.mark.parametrize("victim", [BASELINE, TODO], ids=str)
def test_out_of_memory_is_a_row_and_the_rest_goes_on(loaded, victim, error) -> None:
    order = []

    def fail(*_: object) -> None:
        if order[-1].variant == victim and order[-1].round == 2:
            raise error

    with loaded.pipe.unet.register_forward_pre_hook(fail):
        rows = rows_of(loaded, asked(methods=("todo",), rounds=3), order.append)
    assert "does not fit into the memory of this CPU" in rows[victim].failure
    assert rows[victim].step is None
    assert rows[victim].flop_speedup >= 1
    for variant in {BASELINE, TODO, BOUND} - {victim}:
        assert rows[variant].failure is None
        assert len(rows[variant].step.seconds) == 3
        assert (rows[variant].step.speedup is None) == (victim == BASELINE)
    assert [progress.round for progress in order if progress.variant == victim] == [1, 2]
    assert traces_of_a_patch(loaded.pipe) == []


def test_any_other_error_comes_out_and_leaves_the_model_unpatched(loaded) -> None:
    order = []

    def fail(*_: object) -> None:
        if order[-1].variant == TODO:
            raise RuntimeError("something else")

    with (
        loaded.pipe.unet.register_forward_pre_hook(fail),
        pytest.raises(RuntimeError, match="something else"),
    ):
        rows_of(loaded, asked(), order.append)
    assert traces_of_a_patch(loaded.pipe) == []


def test_what_a_size_or_a_model_does_not_allow_is_a_row(loaded) -> None:
    rows = rows_of(loaded, asked(factors=(8,), rounds=1, steps=0))
    assert "Use a larger image" in rows[replace(TOME, factor=8)].failure
    assert rows[replace(TODO, factor=8)].failure is None
    one_level = loaded_pipeline(
        sd15_pipeline(
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            mid_block_type=None,
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(8, 8),
        ),
        Source("somewhere", "tiny"),
    )
    rows = rows_of(one_level, asked(methods=("todo-two-levels", "todo"), rounds=1, steps=0))
    assert "no other grids" in rows[TWO_LEVELS].failure
    assert rows[TODO].step.paired


def test_a_compiled_benchmark_leaves_the_model_uncompiled(loaded, monkeypatch) -> None:
    compiled = []

    def compile_repeated_blocks(**options: object) -> None:
        compiled.append(options)
        for module in loaded.pipe.unet.modules():
            if type(module).__name__ == "BasicTransformerBlock":
                module.compile(backend="eager", **options)

    monkeypatch.setattr(loaded.pipe.unet, "compile_repeated_blocks", compile_repeated_blocks)
    rows = rows_of(loaded, asked(methods=("tome", "todo-rotating"), compiled=True, rounds=1, steps=1))
    assert compiled == [{"dynamic": False}]
    assert all(row.step for row in rows.values())
    assert not any(vars(module).get("_compiled_call_impl") for module in loaded.pipe.unet.modules())
    assert torch._dynamo.config.recompile_limit < 100


def test_the_processor_is_not_timed_beside_other_attention(loaded) -> None:
    info = loaded.info.model_copy(update={"attention": "xformers"})
    with pytest.raises(InvalidRequest, match="beside xformers"):
        rows_of(replace(loaded, info=info), asked(methods=("todo-processor",)), pytest.fail)


@pytest.mark.parametrize(("batch", "pictures"), [(1, 1), (2, 1), (3, 3), (4, 2)])
def test_the_batch_is_the_unets_and_even_ones_are_guided(loaded, monkeypatch, batch, pictures) -> None:
    seen = []
    step = Mock(wraps=loaded.pipe.scheduler.step)
    monkeypatch.setattr(loaded.pipe.scheduler, "step", step)
    with loaded.pipe.unet.register_forward_pre_hook(lambda unet, args: seen.append(args[0].shape)):
        loop = DenoisingLoop(loaded, 96, 64, batch, steps=2)
        loop.step()
        loop.run()
    assert seen == [(batch, 4, 8, 12)] * 3
    assert [len(call.args[0]) for call in step.call_args_list] == [pictures] * 2


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    ratio = Ratio.of([6, 5, 4, 3, 2, 1], [2, 1, 1, 1, 1, 1])
    assert ratio.median == 3
    assert ratio.interval == (1, 5)


def test_the_profile_assigns_every_moment_to_one_part(loaded, hand_clock, monkeypatch) -> None:
    attention = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", hand_clock.slow(attention, 1))
    monkeypatch.setattr(torch.Tensor, "index_select", hand_clock.slow(torch.Tensor.index_select, 10))
    parts = breakdown(loaded, variants([methods.TODO], [2]), 64, 64, batch=2, rounds=2)
    level_0, level_1 = "level 0 self-attention, product", "level 1 self-attention, product"
    took = {v: {part: seconds for part, seconds in of.items() if seconds} for v, of in parts.items()}
    whole = {level_0: 3, level_1: 4, "cross-attention": 7}  # as many as the model has blocks
    assert took == {
        BASELINE: whole,
        TODO: {**whole, HOOKS: 30},  # a selection of tokens at each block of level 0
        BOUND: {part: calls for part, calls in whole.items() if part != level_0},
    }
    assert {"convolutions", "feed-forward"} <= parts[TODO].keys()
    keys_and_values = "level 0 self-attention, key and value projections"
    assert [keys_and_values in of for of in parts.values()] == [True, True, False]
    assert traces_of_a_patch(loaded.pipe) == []
    table = breakdown_table(parts, TODO)
    assert f"| {level_0} | 3000.00 | 3000.00 | 0.00 | +3000.00 |" in table
    assert "| the step | 14000.00 | 44000.00 | 11000.00 | +33000.00 |" in table


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sizes": ()}, "No sizes"),
        ({"sizes": ((64, 60),)}, "Height must be a multiple of 8"),
        ({"sizes": ((64, 64), (64, 64))}, "each can be given once"),
        ({"factors": (1,)}, "Factor must be a whole number from 2 to 8"),
        ({"factors": (2.5,)}, "not 2.5"),
        ({"methods": ("magic",)}, "'magic' is not one of them"),
        ({"methods": ("fewer-steps",)}, "'fewer-steps' is not one of them"),
        ({"rounds": 0}, "Rounds must be"),
        ({"steps": -1}, "Steps must be a whole number from 0"),
        ({"batch": "two"}, "Batch must be"),
    ],
)
def test_an_invalid_request_is_refused_in_a_sentence(changes, says) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(says)):
        asked(**changes)
