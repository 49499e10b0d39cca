"""What is timed, and what the upper bounds leave out."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch.utils.flop_counter import FlopCounterMode

from compare import methods
from compare.bench.variants import TODO_PROCESSOR, TODO_TWO_LEVELS, Variant, bench_methods, variants
from compare.methods import BASELINE, METHODS, TODO, TODO_ALL, TODO_ROTATING, TOME, TOME_KV, Method
from tests.helpers.tiny_models import generate, sd15_pipeline, sdxl_pipeline, unet_inputs
from tests.helpers.traces import traces_of_a_patch
from todo_patch import plan

HEIGHT, WIDTH = 13, 10  # of the latents
VARIANTS = variants(bench_methods(), [2])


def on(pipe, variant: Variant) -> object:
    return variant.method.on(pipe, variant.setting(8 * WIDTH, 8 * HEIGHT))


def flops(pipe, variant: Variant) -> int:
    inputs = unet_inputs(pipe.unet, HEIGHT, WIDTH, batch=1)
    inputs["encoder_hidden_states"] = torch.zeros(1, 77, pipe.unet.config.cross_attention_dim)
    with on(pipe, variant), torch.no_grad(), FlopCounterMode(display=False) as counter:
        pipe.unet(**inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize("make", [sdxl_pipeline, sd15_pipeline])
@pytest.mark.parametrize(
    "method", [TODO, TODO_TWO_LEVELS, TODO_ALL, TOME, TOME_KV], ids=lambda method: method.id
)
def test_an_upper_bound_removes_exactly_what_the_plan_counts_as_removable(make, method) -> None:
    pipe = make()
    pipe.unet.set_attn_processor(AttnProcessor())  # the FLOP counter does not know the CPU's fused attention
    variant = Variant(method, 2)
    planned = plan(pipe, method.patch(variant.setting(0, 0)), 8 * HEIGHT, 8 * WIDTH)
    assert flops(pipe, Variant(BASELINE)) == planned.total_before
    ceiling = planned.total_before / flops(pipe, variant.upper_bound)
    assert ceiling == pytest.approx(planned.ceiling, rel=1e-12)


def test_the_processor_does_what_the_hooks_do(loaded) -> None:
    inputs = unet_inputs(loaded.pipe.unet, HEIGHT, WIDTH)
    outputs = []
    for method in (TODO, TODO_PROCESSOR):
        with torch.no_grad(), on(loaded.pipe, Variant(method, 3)):
            outputs.append(loaded.pipe.unet(**inputs)[0])
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize("variant", VARIANTS[1:], ids=str)
def test_a_variant_changes_the_output_and_then_the_model_is_what_it_was(loaded, variant) -> None:
    unet = loaded.pipe.unet
    processors = dict(unet.attn_processors)
    baseline = run_of_four_steps(loaded.pipe)
    with on(loaded.pipe, variant):
        assert not torch.allclose(run_of_four_steps(loaded.pipe), baseline)
    assert torch.equal(run_of_four_steps(loaded.pipe), baseline)
    assert unet.attn_processors == processors
    assert traces_of_a_patch(loaded.pipe) == []


def run_of_four_steps(pipe) -> torch.Tensor:
    return generate(pipe, steps=4, height=8 * HEIGHT, width=8 * WIDTH)


def test_compiled_code_sees_upper_bounds_and_the_processor() -> None:
    pipe, compiled = sdxl_pipeline(), sdxl_pipeline()
    inputs = unet_inputs(pipe.unet, HEIGHT, WIDTH)
    compiled.unet.compile_repeated_blocks(backend="eager")
    processor = Variant(TODO_PROCESSOR, 2)
    baseline = Variant(BASELINE)
    for variant in (baseline, processor.upper_bound, baseline, processor, baseline):
        with torch.no_grad(), on(pipe, variant), on(compiled, variant):
            torch.testing.assert_close(compiled.unet(**inputs)[0], pipe.unet(**inputs)[0])
    torch._dynamo.reset()


def test_variants_are_baseline_methods_by_factor_and_each_upper_bound_once() -> None:
    shown = variants([BASELINE, TOME, TODO, TODO_ROTATING], [2, 3])
    assert shown[:-2] == (
        Variant(BASELINE),
        *(Variant(method, factor) for factor in (2, 3) for method in (TOME, TODO, TODO_ROTATING)),
    )
    assert [str(bound) for bound in shown[-2:]] == ["Upper bound of ToMe", "Upper bound of ToDo"]
    assert [bound.upper_bound for bound in shown[-2:]] == list(shown[-2:])


def test_methods_that_merge_the_same_tokens_share_an_upper_bound() -> None:
    assert Variant(TOME_KV, 2).upper_bound == Variant(TODO, 2).upper_bound
    assert Variant(TODO_ALL, 2).upper_bound == Variant(TOME, 2).upper_bound
    assert Variant(TODO, 2).upper_bound != Variant(TOME, 2).upper_bound


def test_variants_are_found_again_by_the_ids_in_a_file() -> None:
    assert tuple(Variant.of(variant.method.id, variant.factor) for variant in VARIANTS) == VARIANTS


def test_an_upper_bound_follows_from_the_patch_of_a_registered_method(monkeypatch) -> None:
    method = Method(id="other", label="Other", description="", colour="#123456", patch=TOME.patch)
    monkeypatch.setattr(methods, "METHODS", (*METHODS, method))
    assert Variant(method, 2).upper_bound == Variant(TOME, 2).upper_bound
