"""The benchmark: what takes its turn, what is taken out for the limits, and what becomes of failures."""

from __future__ import annotations

import re
from statistics import median

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch.utils.flop_counter import FlopCounterMode

from compare.bench import timing as bench_module
from compare.bench.denoising_loop import DenoisingLoop
from compare.bench.profile import HOOKS, breakdown, breakdown_table
from compare.bench.report import BenchRow, Ratio
from compare.bench.request import BENCH_METHODS, LIMITS, BenchRequest
from compare.bench.timing import Turn, bench
from compare.bench.variants import Variant, put_on, variants
from compare.errors import InvalidRequest, ModelNotLoaded
from compare.models.load import LoadedPipeline, Source, loaded_pipeline
from compare.models.random_weights import architecture, empty_unet, random_pipeline
from tests.compare.experiment.test_run import traces_of_a_patch, watched_unet
from tests.helpers.tiny_models import sd15_pipeline, sd15_unet, sdxl_unet, unet_inputs
from todo_patch import ToDo, ToMe, patched, plan

BASELINE, TODO, TOME = Variant("baseline"), Variant("todo", 2), Variant("tome", 2)


def asked(**changes: object) -> BenchRequest:
    return BenchRequest(**{"sizes": ((64, 64),), "factors": (2,), "rounds": 2, "steps": 2, **changes})


def rows_of(loaded: LoadedPipeline, request: BenchRequest) -> dict[Variant, BenchRow]:
    return {row.variant: row for rows in bench(loaded, request) for row in rows}


def flops(unet, variant, height=24, width=20) -> int:
    inputs = unet_inputs(unet, height, width, batch=1)
    inputs["encoder_hidden_states"] = torch.zeros(1, 77, unet.config.cross_attention_dim)
    with (
        put_on(unet, variant, (height, width)),
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
    ):
        unet(**inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize("make", [sdxl_unet, sd15_unet])
@pytest.mark.parametrize(
    ("limit", "method"),
    [
        ("todo-limit", ToDo()),
        ("todo-two-levels-limit", ToDo(factor=(2, 2))),
        ("tome-limit", ToMe()),
    ],
)
def test_a_limit_removes_exactly_what_the_plan_counts_as_removable(make, limit, method) -> None:
    unet = make()
    unet.set_attn_processor(AttnProcessor())  # the FLOP counter does not know the CPU's fused attention
    planned = plan(unet, method, 8 * 24, 8 * 20)
    assert flops(unet, BASELINE) == planned.total_before
    assert planned.total_before / flops(unet, Variant(limit)) == pytest.approx(planned.ceiling, rel=1e-12)


def test_the_processor_does_what_the_hooks_do() -> None:
    unet = sdxl_unet()
    inputs = unet_inputs(unet, 13, 10)
    with torch.no_grad(), patched(unet, ToDo(factor=3)):
        expected = unet(**inputs)[0]
    with torch.no_grad(), put_on(unet, Variant("todo-processor", 3), (13, 10)):
        torch.testing.assert_close(unet(**inputs)[0], expected)


@pytest.mark.parametrize("method", [*(m.id for m in BENCH_METHODS), *LIMITS])
def test_a_variant_changes_the_output_and_then_the_model_is_what_it_was(loaded, method) -> None:
    pipe = loaded.pipe
    processors = dict(pipe.unet.attn_processors)
    inputs = unet_inputs(pipe.unet, 8, 8)
    variant = Variant(method, None if method in LIMITS else 2)
    with torch.no_grad():
        baseline = pipe.unet(**inputs)[0]
        with put_on(pipe, variant, (8, 8)):
            assert not torch.allclose(pipe.unet(**inputs)[0], baseline)
        assert torch.equal(pipe.unet(**inputs)[0], baseline)
    assert pipe.unet.attn_processors == processors
    assert traces_of_a_patch(pipe) == []


def test_compiled_code_sees_limits_and_the_processor() -> None:
    unet, compiled = sdxl_unet(), sdxl_unet()
    inputs = unet_inputs(unet, 8, 8)
    compiled.compile_repeated_blocks(backend="eager")
    for variant in (BASELINE, Variant("todo-limit"), BASELINE, Variant("todo-processor", 2), BASELINE):
        with torch.no_grad(), put_on(unet, variant, (8, 8)), put_on(compiled, variant, (8, 8)):
            torch.testing.assert_close(compiled(**inputs)[0], unet(**inputs)[0])
    torch._dynamo.reset()


def test_variants_are_baseline_methods_by_factor_and_each_limit_once() -> None:
    assert variants(["baseline", "tome", "todo", "todo-rotating"], [2, 3]) == (
        BASELINE,
        TOME,
        TODO,
        Variant("todo-rotating", 2),
        Variant("tome", 3),
        Variant("todo", 3),
        Variant("todo-rotating", 3),
        Variant("tome-limit"),
        Variant("todo-limit"),
    )


def test_variants_take_turns_in_every_round_of_every_size(loaded) -> None:
    request = asked(sizes=((64, 64), (96, 64)), methods=("todo",), rounds=3, steps=0)
    turns = []
    assert len(list(bench(loaded, request, turns.append))) == 2
    assert turns == [
        Turn(*size, number, variant)
        for size in request.sizes
        for number in (1, 2, 3)
        for variant in (BASELINE, TODO, Variant("todo-limit"))
    ]


def test_the_warm_up_is_thrown_away_and_a_run_has_its_steps(loaded, hand_clock) -> None:
    calls = []

    def slow_first_of_a_turn(unet: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        if not calls or calls[-1] == "run":
            calls[:] = []
        calls.append("call")
        hand_clock.now += 100 if len(calls) == 1 else 1
        if len(calls) == 5:  # one warm-up, one step, three of the run
            calls.append("run")

    with watched_unet(loaded, slow_first_of_a_turn):
        rows = rows_of(loaded, asked(methods=("todo", "tome"), steps=3))
    assert len(rows) == 5
    for row in rows.values():
        assert row.step.seconds == (1, 1)
        assert row.run.seconds == (3, 3)


def test_speed_up_is_paired_within_a_round_and_set_against_the_limit(loaded, hand_clock) -> None:
    seconds = {BASELINE: [12, 24], TODO: [6, 16], Variant("todo-limit"): [4, 8]}  # rounds 1 and 2
    turns = []

    def slow(*_: object) -> None:
        hand_clock.now += seconds[turns[-1].variant][turns[-1].round - 1]

    with watched_unet(loaded, slow):
        list_of_rows = list(bench(loaded, asked(methods=("todo",), steps=0), turns.append))
    baseline, todo, limit = (row.step for row in list_of_rows[0])
    assert baseline.paired.median == limit.of_limit == limit.saved_of_limit == 1
    assert todo.speedup == median([12, 24]) / median([6, 16])
    assert todo.paired.median == median([12 / 6, 24 / 16])
    assert todo.limit == 3
    assert todo.of_limit == todo.paired.median / 3
    assert todo.saved_of_limit == pytest.approx((1 - 1 / 1.75) / (1 - 1 / 3))
    assert (todo.median, todo.fastest, todo.slowest) == (11, 6, 16)


def test_rows_carry_the_plan(loaded) -> None:
    rows = rows_of(loaded, asked(methods=("tome", "todo-two-levels"), rounds=1, steps=0))
    for variant, method in {TOME: ToMe(), Variant("todo-two-levels", 2): ToDo(factor=(2, 2))}.items():
        planned = plan(loaded.pipe, method, 64, 64)
        assert (rows[variant].flop_speedup, rows[variant].ceiling) == (planned.speedup, planned.ceiling)
        assert rows[variant.limit].flop_speedup == planned.ceiling
        assert rows[variant].peak_memory is None  # on a CPU
        assert rows[variant].run is None


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
@pytest.mark.parametrize("victim", [BASELINE, TODO])
def test_out_of_memory_is_a_row_and_the_rest_goes_on(loaded, victim, error, monkeypatch) -> None:
    turns = []

    def fail(*_: object) -> None:
        if turns[-1].variant == victim and turns[-1].round == 2:
            raise error

    with watched_unet(loaded, fail):
        (rows,) = bench(loaded, asked(methods=("todo",), rounds=3), turns.append)
    by_variant = {row.variant: row for row in rows}
    assert "does not fit into the memory of this CPU" in by_variant[victim].failure
    assert by_variant[victim].step is None
    assert by_variant[victim].flop_speedup >= 1
    for variant in {BASELINE, TODO, Variant("todo-limit")} - {victim}:
        assert by_variant[variant].failure is None
        assert len(by_variant[variant].step.seconds) == 3
        assert (by_variant[variant].step.speedup is None) == (victim == BASELINE)
    assert [turn.round for turn in turns if turn.variant == victim] == [1, 2]
    assert traces_of_a_patch(loaded.pipe) == []


def test_any_other_error_comes_out_and_leaves_the_model_unpatched(loaded) -> None:
    turns = []

    def fail(*_: object) -> None:
        if turns[-1].variant == TODO:
            raise RuntimeError("something else")

    with watched_unet(loaded, fail), pytest.raises(RuntimeError, match="something else"):
        list(bench(loaded, asked(), turns.append))
    assert traces_of_a_patch(loaded.pipe) == []


def test_what_a_size_or_a_model_does_not_allow_is_a_row(loaded) -> None:
    rows = rows_of(loaded, asked(factors=(8,), rounds=1, steps=0))
    assert "Use a larger image" in rows[Variant("tome", 8)].failure
    assert rows[Variant("todo", 8)].failure is None
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
    assert "no other grids" in rows[Variant("todo-two-levels", 2)].failure
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


def test_the_processor_is_no_match_for_other_attention(loaded, monkeypatch) -> None:
    other = loaded.info.model_copy(update={"attention": "xformers"})
    monkeypatch.setattr(bench_module, "put_on", pytest.fail)
    loaded = LoadedPipeline(**{**vars(loaded), "info": other})
    with pytest.raises(InvalidRequest, match="beside xformers"):
        list(bench(loaded, asked(methods=("todo-processor",))))


@pytest.mark.parametrize(("batch", "pictures"), [(1, 1), (2, 1), (3, 3), (4, 2)])
def test_the_batch_is_the_unets_and_even_ones_are_guided(loaded, batch, pictures) -> None:
    seen = []
    with watched_unet(loaded, lambda unet, args, kwargs: seen.append(args[0].shape)):
        loop = DenoisingLoop(loaded, 96, 64, batch, steps=2)
        loop.step()
        loop.run()
    assert seen == [(batch, 4, 8, 12)] * 3
    assert loop._options["prompt_embeds"].shape[0] == pictures


@pytest.mark.parametrize(
    ("ratios", "interval"),
    [
        ([1, 2, 3, 4, 5], None),
        ([6, 5, 4, 3, 2, 1], (1, 6)),
        (range(1, 9), (1, 8)),
        (range(1, 10), (2, 8)),
        (range(1, 31), (10, 21)),
    ],
)
def test_the_interval_is_the_sign_tests(ratios, interval) -> None:
    ratio = Ratio.of(list(ratios), [1] * len(ratios))
    assert ratio.median == median(ratios)
    assert ratio.interval == interval


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sizes": ()}, "No sizes"),
        ({"sizes": ((64, 60),)}, "Height must be a multiple of 8"),
        ({"sizes": ((64, 64), (64, 64))}, "each can be given once"),
        ({"factors": (1,)}, "Factor must be a whole number from 2 to 8"),
        ({"factors": (2.5,)}, "not 2.5"),
        ({"methods": ("magic",)}, "'magic' is not one of them"),
        ({"rounds": 0}, "Rounds must be"),
        ({"steps": -1}, "Steps must be a whole number from 0"),
        ({"batch": "two"}, "Batch must be"),
    ],
)
def test_a_request_that_cannot_be_is_refused_in_words(changes, says) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(says)):
        asked(**changes)


@pytest.mark.parametrize(("id", "billions", "blocks"), [("sdxl", 2.57, 70), ("sd15", 0.86, 16)])
def test_architectures_have_their_published_sizes(id, billions, blocks) -> None:
    unet = empty_unet(architecture(id))
    assert sum(weight.numel() for weight in unet.parameters()) / 1e9 == pytest.approx(billions, abs=5e-3)
    assert sum(name.endswith("attn1") for name, _ in unet.named_modules()) == blocks


@pytest.mark.parametrize("make", [sdxl_unet, sd15_unet])
def test_mini_is_the_bundled_models_configuration(make, tmp_path, monkeypatch, loaded) -> None:
    monkeypatch.setattr("compare.models.source.BUNDLED", tmp_path)
    with pytest.raises(ModelNotLoaded, match="looked in"):
        random_pipeline("mini")
    make().save_config(tmp_path / "unet")
    loaded.pipe.vae.register_to_config(block_out_channels=(4, 4, 4))
    loaded.pipe.vae.save_config(tmp_path / "vae")
    mini = random_pipeline("mini", "cpu", torch.bfloat16)
    assert mini.pipe.vae_scale_factor == 4
    assert mini.dtype == torch.bfloat16
    assert "random weights" in mini.info.name
    loop = DenoisingLoop(mini, 64, 64, 2, steps=1)
    out = []
    handle = mini.pipe.unet.register_forward_hook(lambda unet, args, output: out.append(output[0]))
    loop.step()
    handle.remove()
    assert out[0].shape == (2, 4, 16, 16)
    assert 0.05 < out[0].std() < 20


def test_an_architecture_that_is_unknown_gets_a_sentence() -> None:
    with pytest.raises(ModelNotLoaded, match="sdxl, sd15, mini; 'sd3' is not one of them"):
        random_pipeline("sd3")


def test_the_profile_counts_every_moment_once(loaded) -> None:
    shown = variants(["todo"], [2])
    parts = breakdown(loaded, shown, 64, 64, batch=2, rounds=2)
    assert list(parts) == [BASELINE, TODO, Variant("todo-limit")]
    for variant, seconds in parts.items():
        assert {"convolutions", "cross-attention", "feed-forward", HOOKS} <= seconds.keys()
        assert all(took > -1e-9 for took in seconds.values())
        keys_and_values = "level 0 self-attention, key and value projections"
        assert (keys_and_values in seconds) == (variant != Variant("todo-limit"))
    assert parts[TODO][HOOKS] > parts[BASELINE][HOOKS]
    assert traces_of_a_patch(loaded.pipe) == []
    table = breakdown_table(parts, TODO)
    assert "level 1 self-attention, product" in table
    assert "| the step |" in table
