"""ToDo on transformers that cut the latent into patches: PixArt-Alpha and -Sigma, DiT, Latte, and Stable
Diffusion 3, whose attention is joint: over image and prompt at the same time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from diffusers import (
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtSigmaPAGPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3PAGPipeline,
)
from diffusers.models.attention_processor import Attention, AttnProcessor, JointAttnProcessor2_0
from torch._dynamo.testing import CompileCounter
from torch.utils.flop_counter import FlopCounterMode

from tests.helpers.tiny_models import (
    dit,
    generate,
    latte,
    pixart,
    pixart_pipeline,
    pixart_prompt,
    predict,
    sd3,
    sd3_pipeline,
    sd3_prompt,
    transformer_inputs,
)
from tests.todo_patch.conftest import METHODS
from tests.todo_patch.written_out import WrittenOutAttention, WrittenOutJointAttention
from todo_patch import (
    Forecast,
    NothingToPatch,
    ToDo,
    ToMe,
    apply_patch,
    begin_run,
    patched,
    plan,
    remove_patch,
)
from todo_patch.blocks import self_attention
from todo_patch.grid import offset_order

MODELS = {"sigma": pixart, "alpha": partial(pixart, sample_size=128), "dit": dit, "latte": latte}
MODELS |= {"sd3": partial(sd3, dual_attention_layers=(), qk_norm=None), "sd3.5": sd3}
ROTATING = ToDo(grid="rotating")
SIZE = {"height": 64, "width": 96}
PIPELINES = {
    "sigma": (pixart_pipeline, SIZE | pixart_prompt()),
    "alpha": (partial(pixart_pipeline, sample_size=128), SIZE | pixart_prompt()),
    "sd3": (sd3_pipeline, SIZE | sd3_prompt()),
}

any_pipeline = pytest.mark.parametrize(("pipeline", "run"), PIPELINES.values(), ids=PIPELINES)
any_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def write_out(transformer, method, grid) -> None:
    """Put the written-out attention on every block."""
    factor = method.factors[0]
    for number, site in enumerate(self_attention(transformer)):
        offsets = [None] if method.pooling == "average" else [(0, 0)]
        if method.grid == "rotating":
            order = offset_order(factor)
            offsets = [order[(step + number) % factor**2] for step in range(factor**2)]
        kind = WrittenOutJointAttention if site.is_joint else WrittenOutAttention
        site.attn.set_processor(kind(grid, factor, offsets, method.merge))


@pytest.mark.compatibility("DiT")
@pytest.mark.compatibility("PixArt-Alpha and -Sigma, Latte")
@pytest.mark.compatibility("Stable Diffusion 3 and 3.5")
@any_model
@pytest.mark.parametrize(
    "method",
    [ToDo(), ToDo(factor=3), ToDo(pooling="average"), ROTATING, ToDo(factor=3, grid="rotating")],
    ids=str,
)
def test_todo_is_the_written_out_attention_on_the_grid_of_patches(make, method) -> None:
    transformer, reference = make(), make()
    baseline = predict(transformer, 16, 16)
    apply_patch(transformer, method)
    write_out(reference, method, (8, 8))
    for _ in range(method.factors[0] ** 2 + 1):
        output = predict(transformer, 16, 16)
        torch.testing.assert_close(output, predict(reference, 16, 16))
        assert not torch.allclose(output, baseline, rtol=1e-2, atol=1e-2)


@pytest.mark.compatibility("DiT")
@pytest.mark.compatibility("PixArt-Alpha and -Sigma, Latte")
@pytest.mark.parametrize("make", [pixart, dit, latte])
@pytest.mark.parametrize("method", [ToDo(merge="all"), ToDo(merge="all", pooling="average")], ids=str)
def test_all_tokens_merged_is_the_written_out_attention_on_the_grid_of_patches(make, method) -> None:
    transformer, reference = make(), make()
    apply_patch(transformer, method)
    write_out(reference, method, (8, 8))
    torch.testing.assert_close(predict(transformer, 16, 16), predict(reference, 16, 16))


@pytest.mark.parametrize("method", [ToDo(factor=3), ToDo(pooling="average"), ROTATING], ids=str)
@pytest.mark.parametrize(("latent", "grid"), [((10, 14), (5, 7)), ((11, 17), (5, 8))], ids=str)
@pytest.mark.parametrize("make", [pixart, latte, sd3])
def test_sizes_that_factor_or_patch_do_not_divide(make, method, latent, grid) -> None:
    """What is no whole patch is cut off by the model, patched or not."""
    transformer, reference = make(), make()
    baseline = predict(transformer, *latent)
    assert baseline.shape[-2:] == (2 * grid[0], 2 * grid[1])
    apply_patch(transformer, method)
    write_out(reference, method, grid)
    torch.testing.assert_close(predict(transformer, *latent), predict(reference, *latent))


@pytest.mark.parametrize("patch_size", [1, 3, 4])
def test_any_patch_size_gives_the_grid(patch_size) -> None:
    transformer, reference = (pixart(patch_size=patch_size, sample_size=12) for _ in range(2))
    apply_patch(transformer, ToDo())
    write_out(reference, ToDo(), (12 // patch_size, 24 // patch_size))
    torch.testing.assert_close(predict(transformer, 12, 24), predict(reference, 12, 24))


@any_pipeline
@pytest.mark.parametrize(
    "method", [ToDo(), ToDo(factor=3, grid="rotating"), ToDo(pooling="average")], ids=str
)
def test_todo_is_the_written_out_attention_through_a_whole_pipeline(pipeline, run, method) -> None:
    pipe, reference = pipeline(), pipeline()
    write_out(reference.transformer, method, (4, 6))
    expected = generate(reference, 5, **run)
    apply_patch(pipe, method)
    torch.testing.assert_close(generate(pipe, 5, **run), expected, rtol=1e-4, atol=1e-4)
    remove_patch(pipe)
    assert not torch.allclose(generate(pipe, 5, **run), expected, rtol=1e-2, atol=1e-2)


@any_pipeline
@pytest.mark.parametrize("guidance", [1.0, 4.5])
@pytest.mark.parametrize("method", [ROTATING, ToDo(until=0.5)], ids=str)
def test_each_run_of_a_pipeline_begins_anew(pipeline, run, method, guidance) -> None:
    pipe, fresh = pipeline(), {}
    for steps in (4, 5):
        other = pipeline()
        apply_patch(other, method)
        fresh[steps] = generate(other, steps, guidance_scale=guidance, **run)
    apply_patch(pipe, method)
    for steps in (4, 4, 5, 4):
        assert torch.equal(generate(pipe, steps, guidance_scale=guidance, **run), fresh[steps])


@any_pipeline
def test_until_counts_the_steps_of_a_pipeline(pipeline, run) -> None:
    pipe, kept = pipeline(), []
    apply_patch(pipe, ToDo(until=0.4))
    self_attention(pipe.transformer)[0].attn.to_k.register_forward_hook(
        lambda _, args, key: kept.append(key.shape[1])
    )
    generate(pipe, 5, **run)
    assert kept == [6, 6, 24, 24, 24]


def call(transformer, timestep) -> torch.Tensor:
    with torch.no_grad():
        return transformer(**transformer_inputs(transformer, 12, 16) | {"timestep": timestep})[0]


@pytest.mark.parametrize(
    "timestep",
    [lambda: torch.full((2,), 500), lambda: torch.tensor([500]).expand(2)],
    ids=["written out", "expanded"],
)
@pytest.mark.parametrize("make", [pixart, sd3])
def test_begin_run_works_for_a_bare_transformer(make, timestep) -> None:
    transformer = make()
    baseline = predict(transformer)
    apply_patch(transformer, ToDo(until=0.5, grid="rotating"))
    with pytest.raises(RuntimeError, match="begin_run"):
        predict(transformer)
    runs = []
    for _ in range(2):
        begin_run(transformer, steps=4)
        runs.append([call(transformer, timestep()) for _ in range(4)])
        assert [torch.equal(output, baseline) for output in runs[-1]] == [False, False, True, True]
    assert torch.equal(torch.stack(runs[0]), torch.stack(runs[1]))
    assert not torch.equal(runs[0][0], runs[0][1])


def state(model) -> list:
    """Class, attributes and hooks of every module, compared by value where they are containers."""
    return [
        (name, type(module), {k: copy.copy(v) if isinstance(v, dict) else v for k, v in vars(module).items()})
        for name, module in model.named_modules()
    ]


@any_model
@pytest.mark.parametrize("method", [ROTATING, ToDo(pooling="average")], ids=str)
def test_removing_leaves_the_model_exactly_as_it_was(make, method) -> None:
    transformer = make()
    before, baseline = state(transformer), predict(transformer, 16, 16)
    with patched(transformer, method):
        assert not torch.allclose(predict(transformer, 16, 16), baseline)
    assert state(transformer) == before
    assert torch.equal(predict(transformer, 16, 16), baseline)


@any_pipeline
def test_a_copy_of_a_patched_pipeline_sees_its_own_runs(pipeline, run) -> None:
    pipe = pipeline()
    apply_patch(pipe, ROTATING)
    expected = generate(pipe, 3, **run)
    other = copy.deepcopy(pipe)
    for model in (other, pipe, other):
        assert torch.equal(generate(model, 3, **run), expected)
    remove_patch(other)
    assert not torch.equal(generate(other, 3, **run), expected)
    assert torch.equal(generate(pipe, 3, **run), expected)


def gradients(transformer, sizes) -> list[torch.Tensor]:
    """Of a loss over several forwards before one backward, with a picture in between."""
    transformer.zero_grad()
    with patched(transformer, ROTATING):
        outputs = [transformer(**transformer_inputs(transformer, size, size, seed=size))[0] for size in sizes]
        predict(transformer, 12, 12)
        sum(output.square().mean() for output in outputs).backward()
    return [weight.grad.clone() for weight in transformer.parameters() if weight.grad is not None]


@any_model
def test_gradient_checkpointing_gives_the_gradients_that_there_are_without(make) -> None:
    transformer = make()
    expected = gradients(transformer, [8, 12, 8])
    transformer.enable_gradient_checkpointing()
    for ours, theirs in zip(gradients(transformer, [8, 12, 8]), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def compile_around(model, backend) -> torch.nn.Module:
    return torch.compile(model, backend=backend, fullgraph=True)


def compile_in_place(model, backend) -> torch.nn.Module:
    model.compile(backend=backend, fullgraph=True)
    return model


def compile_blocks(model, backend) -> torch.nn.Module:
    for block in model.transformer_blocks:  # diffusers does not name those of PixArt as repeated
        block.compile(backend=backend, fullgraph=True)
    return model


@pytest.fixture
def _compile_from_scratch() -> None:
    torch._dynamo.reset()


@pytest.mark.usefixtures("_compile_from_scratch")
@pytest.mark.parametrize("compiled", [compile_around, compile_in_place, compile_blocks])
@pytest.mark.parametrize("make", [pixart, sd3])
def test_compiled_transformers_follow_the_patch_and_the_grid(make, compiled) -> None:
    counter = CompileCounter()
    model, eager = compiled(make(num_layers=2), counter), make(num_layers=2)
    baseline = predict(eager)
    torch.testing.assert_close(predict(model), baseline)
    apply_patch(eager, ROTATING)
    apply_patch(model, ROTATING)
    torch.testing.assert_close(predict(model), predict(eager))
    graphs = counter.frame_count
    for _ in range(5):
        torch.testing.assert_close(predict(model), predict(eager))
    assert counter.frame_count == graphs
    remove_patch(model)
    torch.testing.assert_close(predict(model), baseline)


@pytest.mark.usefixtures("_compile_from_scratch")
@pytest.mark.parametrize("compiled", [compile_around, compile_in_place, compile_blocks])
def test_a_compiled_pipeline_sees_where_a_run_begins(compiled) -> None:
    pipe, run = pixart_pipeline(num_layers=2), PIPELINES["sigma"][1]
    apply_patch(pipe, ROTATING)
    expected = generate(pipe, 3, **run)
    remove_patch(pipe)
    pipe.transformer = compiled(pipe.transformer, "eager")
    apply_patch(pipe, ROTATING)
    for _ in range(2):
        torch.testing.assert_close(generate(pipe, 3, **run), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("guided", "model"), [(PixArtSigmaPAGPipeline, "sigma"), (StableDiffusion3PAGPipeline, "sd3")]
)
def test_perturbed_attention_guidance_works_on_patched_blocks(guided, model) -> None:
    pipeline, run = PIPELINES[model]
    unknown = ("image_encoder", "feature_extractor")  # to this pipeline
    parts = {name: part for name, part in pipeline().components.items() if name not in unknown}
    pipe = guided(**parts, pag_applied_layers=["blocks.1"])
    pipe.set_progress_bar_config(disable=True)

    def make(method, **options) -> torch.Tensor:
        with patched(pipe, method):
            return generate(pipe, 2, **run, **options)

    assert not torch.allclose(make(ToDo()), make(ToDo(factor=1)))
    assert not torch.allclose(make(ToDo()), make(ToDo(), pag_scale=0)), "the guidance had no effect"


@pytest.mark.parametrize("make", [pixart, sd3])
def test_fused_projections_are_refused_and_the_advice_heals(make) -> None:
    transformer, other = make(), make()
    transformer.fuse_qkv_projections()
    with pytest.raises(ValueError, match="unfuse_qkv_projections"):
        apply_patch(transformer, ToDo())
    transformer.unfuse_qkv_projections()
    for model in (transformer, other):
        apply_patch(model, ToDo())
    torch.testing.assert_close(predict(transformer), predict(other))


def of_row(feature: str, make: Callable, method: ToDo | ToMe, result: str = "works") -> Any:
    mark = pytest.mark.compatibility(feature, result=result)
    return pytest.param(make, method, id=f"{make.__name__}-{method}", marks=mark)


@pytest.mark.parametrize("method", [ToDo(factor=(2, 2)), ToDo(factor=(1, 2)), ToMe(levels=2)], ids=str)
def test_there_is_one_level(method) -> None:
    with pytest.raises(NothingToPatch, match=r"level 0 on latent/2 \(3 blocks\)\."):
        apply_patch(pixart(), method)


@pytest.mark.parametrize(
    ("make", "method"),
    [
        of_row("PixArt-Alpha and -Sigma, Latte", pixart, ToMe(), "refused: only keys and values"),
        of_row("PixArt-Alpha and -Sigma, Latte", latte, ToMe(), "refused: only keys and values"),
        of_row("Stable Diffusion 3 and 3.5", sd3, ToMe(), "refused: use ToDo"),
        of_row("Stable Diffusion 3 and 3.5", sd3, ToMe(merge="keys-values"), "refused: use ToDo"),
        of_row(
            "Stable Diffusion 3 and 3.5",
            sd3,
            ToDo(merge="all"),
            "refused: only keys and values",
        ),
    ],
)
def test_what_a_kind_of_block_cannot_do_is_refused_with_what_it_can(make, method) -> None:
    transformer = make()
    before = state(transformer)
    with pytest.raises(ValueError, match=r"[Uu]se .*merge='keys-values'"):
        apply_patch(transformer, method)
    with pytest.raises(ValueError, match=r"[Uu]se .*merge='keys-values'"):
        plan(transformer, method, 128, 128)
    assert state(transformer) == before


@pytest.mark.parametrize(
    ("make", "method"),
    [
        of_row("DiT", dit, ToMe()),
        of_row("DiT", dit, ToMe(merge="keys-values")),
        of_row("PixArt-Alpha and -Sigma, Latte", pixart, ToMe(merge="keys-values")),
        of_row("PixArt-Alpha and -Sigma, Latte", latte, ToMe(merge="keys-values")),
    ],
)
def test_tome_works_on_transformers_and_comes_off(make, method) -> None:
    transformer = make()
    before, baseline = state(transformer), predict(transformer, 16, 16)
    with patched(transformer, method):
        assert not torch.allclose(predict(transformer, 16, 16), baseline)
    assert state(transformer) == before
    assert torch.equal(predict(transformer, 16, 16), baseline)


@pytest.mark.compatibility("DiT", methods=[Forecast()])
@pytest.mark.compatibility("PixArt-Alpha and -Sigma, Latte", methods=[Forecast()])
@pytest.mark.compatibility("Stable Diffusion 3 and 3.5", methods=[Forecast()])
@any_model
def test_forecasts_take_the_place_of_calls_of_a_bare_transformer(make) -> None:
    transformer, made = make(), []
    baseline = predict(transformer, 16, 16)
    apply_patch(transformer, Forecast())
    transformer.transformer_blocks[0].register_forward_hook(lambda *_: made.append(None))
    begin_run(transformer, steps=10)
    for _ in range(10):
        torch.testing.assert_close(predict(transformer, 16, 16), baseline)
    assert len(made) == 7


@any_pipeline
@pytest.mark.parametrize("attention", [(), (ROTATING,)], ids=["alone", "with ToDo"])
def test_forecasts_stay_close_in_a_pipeline(pipeline, run, attention) -> None:
    pipe, made = pipeline(), []
    with patched(pipe, *(attention or [ToDo(factor=1)])):
        expected = generate(pipe, 10, **run)
    pipe.transformer.transformer_blocks[0].register_forward_hook(lambda *_: made.append(None))
    with patched(pipe, *attention, Forecast()):
        first, second = generate(pipe, 10, **run), generate(pipe, 10, **run)
    assert len(made) == 2 * 7
    assert torch.equal(first, second)
    assert not torch.equal(first, expected)
    assert torch.dist(first, expected) < 0.05 * expected.norm()


@pytest.mark.parametrize("projection", ["to_k", "to_v"])
def test_projections_that_are_exchanged_under_the_patch_are_an_error(projection) -> None:
    transformer = sd3()
    apply_patch(transformer, ToDo())
    attn = transformer.transformer_blocks[1].attn
    setattr(attn, projection, torch.nn.Linear(24, 24))
    with pytest.raises(RuntimeError, match=r"transformer_blocks\.1\.attn were exchanged.*apply_patch again"):
        predict(transformer)
    apply_patch(transformer, ToDo())
    predict(transformer)


def flux() -> FluxTransformer2DModel:
    with torch.device("meta"):
        return FluxTransformer2DModel(num_layers=1, num_single_layers=1)


@pytest.mark.compatibility("Flux", result="refused: it names the models that work")
@pytest.mark.parametrize("method", [*METHODS, Forecast()], ids=str)
def test_other_transformers_are_a_type_error_that_names_those_that_work(method) -> None:
    with pytest.raises(TypeError, match=r"PixArtTransformer2DModel.*not FluxTransformer2DModel"):
        apply_patch(flux(), method)
    parts = ("vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    pipe = FluxPipeline(**dict.fromkeys(parts), transformer=flux())
    with pytest.raises(TypeError, match="not FluxPipeline with FluxTransformer2DModel"):
        plan(pipe, method, 64, 64, steps=10)


class PlainJointAttention(WrittenOutJointAttention):
    """Joint attention without a kernel of its own, over the tokens that `to_k` is given."""

    def __init__(self) -> None:
        super().__init__((0, 0), 1, [(0, 0)])

    def keep(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states


def counted(transformer, prompt_tokens) -> int:
    """FLOPs of one call on 24x24, as the FLOP counter sees them."""
    for module in transformer.modules():
        if isinstance(module, Attention):  # the counter does not know the CPU's fused attention
            joint = isinstance(module.processor, JointAttnProcessor2_0 | PlainJointAttention)
            module.set_processor(PlainJointAttention() if joint else AttnProcessor())
    inputs = transformer_inputs(transformer, 24, 24, batch=1)
    if "encoder_hidden_states" in inputs:
        *_, width = inputs["encoder_hidden_states"].shape
        inputs["encoder_hidden_states"] = torch.zeros(1, prompt_tokens, width)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        transformer(**inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("model", "prompt_tokens", "methods"),
    [
        ("sigma", 300, [ToMe(merge="keys-values")]),
        ("alpha", 300, [ToMe(merge="keys-values")]),
        ("dit", 0, [ToMe(), ToMe(merge="keys-values"), ToDo(merge="all")]),
        ("sd3", 333, []),
        ("sd3.5", 333, []),
    ],
)
def test_the_plan_counts_what_a_patched_model_does(model, prompt_tokens, methods) -> None:
    transformer = MODELS[model]()
    before = counted(transformer, prompt_tokens)
    for method in (ToDo(), ToDo(factor=5), ToDo(pooling="average"), *methods):
        planned = plan(transformer, method, 8 * 24, 8 * 24)
        assert {block.grid for block in planned.blocks} == {(12, 12)}
        assert planned.total_before == before
        with patched(transformer, method):
            assert planned.total_after == counted(transformer, prompt_tokens)


@pytest.mark.parametrize(
    ("model_class", "config", "tera_flops", "speedups", "ceiling"),
    [
        (
            PixArtTransformer2DModel,  # Sigma
            {"interpolation_scale": 2, "caption_channels": 4096, "use_additional_conditions": False},
            6.63,
            {2: 1.46, 3: 1.58, 4: 1.64},
            1.72,
        ),
        (
            SD3Transformer2DModel,  # 3.0 medium
            {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536},
            8.9,
            {2: 1.44, 3: 1.55, 4: 1.61},
            1.68,
        ),
    ],
)
def test_full_models_have_the_flops_of_the_docs(model_class, config, tera_flops, speedups, ceiling) -> None:
    with torch.device("meta"):
        transformer = model_class(**config)
    for factor, speedup in speedups.items():
        planned = plan(transformer, ToDo(factor=factor), 1024, 1024)
        assert planned.total_before / 1e12 == pytest.approx(tera_flops, rel=4e-3)
        assert planned.speedup == pytest.approx(speedup, abs=0.006)
        assert planned.ceiling == pytest.approx(ceiling, abs=0.006)


def test_a_plan_of_stable_diffusion_3_5_has_both_attentions_of_a_block() -> None:
    names = [block.name.removeprefix("transformer_blocks.") for block in plan(sd3(), ToDo(), 64, 64).blocks]
    assert names == ["0.attn", "0.attn2", "1.attn", "2.attn"]


def test_a_plan_of_latte_is_of_its_blocks_over_the_image() -> None:
    planned = plan(latte(), ToDo(), 8 * 24, 8 * 24)
    assert [block.name for block in planned.blocks] == [f"transformer_blocks.{i}.attn1" for i in range(3)]
    assert 1 < planned.speedup < planned.ceiling


def test_a_plan_is_of_images_of_whole_patches() -> None:
    with pytest.raises(ValueError, match="must be a multiple of 16 pixels"):
        plan(pixart_pipeline(), ToDo(), 64, 72)


def test_a_pipeline_without_a_denoiser_is_a_type_error() -> None:
    pipe = PixArtSigmaPipeline(tokenizer=None, text_encoder=None, vae=None, transformer=None, scheduler=None)
    with pytest.raises(TypeError, match=r"not PixArtSigmaPipeline\."):
        apply_patch(pipe, ToDo())
