"""Forecasts: which calls are not made, what stands in their place, and what is left behind."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import accelerate
import pytest
import torch
from diffusers import (
    ClassifierFreeGuidance,
    ControlNetModel,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
    LayerSkipConfig,
    LCMScheduler,
    PerturbedAttentionGuidance,
    SkipLayerGuidance,
    StableDiffusionControlNetPipeline,
    StableDiffusionPanoramaPipeline,
    StableDiffusionSAGPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPAGPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.hooks import HookRegistry, ModelHook
from diffusers.modular_pipelines import StableDiffusionXLAutoBlocks
from torch._dynamo.testing import CompileCounter

from tests.helpers.tiny_models import (
    SMALL,
    generate,
    predict,
    sd15_pipeline,
    sdxl_pipeline,
    small_unet,
    unet_inputs,
)
from tests.helpers.traces import traces_of_a_patch
from tests.todo_patch.test_patching import PROMPT_TO_PROMPT, Storing
from tests.todo_patch.test_todo import one_level_unet
from todo_patch import Forecast, ToDo, ToMe, apply_patch, begin_run, patched, plan, remove_patch
from todo_patch.blocks import self_attention

PARTS = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler")


def computed_calls(pipe: Any, **options: Any) -> int:
    """How often the UNet of a pipeline works in one run."""
    calls = []
    handle = pipe.unet.conv_in.register_forward_hook(lambda *_: calls.append(1))
    generate(pipe, **options)
    handle.remove()
    return len(calls)


@contextmanager
def written_out(unet: torch.nn.Module, forecasts: tuple[int, ...], branches: int = 1) -> Iterator[None]:
    """Forecasts written out: every call is made, and what is to be forecast is thrown away."""
    calls: list[torch.Tensor | None] = []

    def replace(module: torch.nn.Module, args: Any, output: Any) -> Any:
        step = len(calls) // branches
        if step not in forecasts:
            calls.append(output[0])
            return output
        calls.append(None)
        before = [(at, calls[at * branches + (len(calls) - 1) % branches]) for at in range(step)]
        (a, y_a), (b, y_b) = [(at, value) for at, value in before if value is not None][-2:]
        line = y_b + (y_b - y_a) * (step - b) / (b - a)
        return (line,) if isinstance(output, tuple) else type(output)(sample=line)

    handle = unet.register_forward_hook(replace)
    yield
    handle.remove()


@pytest.mark.parametrize(
    ("forecast", "total", "steps"),
    [
        (Forecast(), 20, (8, 10, 12, 14, 16, 18)),
        (Forecast(), 30, (12, 14, 16, 18, 20, 22, 24, 26, 28)),
        (Forecast(share=0.2), 20, (8, 11, 15, 18)),
        (Forecast(share=0.5, after=0.3), 20, (6, 7, 9, 10, 11, 13, 14, 15, 17, 18)),
        (Forecast(share=0.1), 10, (6,)),
        (Forecast(share=0.5, after=0.0), 8, (2, 3, 5, 6)),
        (Forecast(), 4, (2,)),
        (Forecast(), 3, ()),
        (Forecast(share=0.0), 50, ()),
    ],
)
def test_forecast_steps_are_spread_evenly_and_never_the_last(forecast, total, steps) -> None:
    assert forecast.steps(total) == steps


def test_default_works_for_every_length_of_a_run() -> None:
    for total in range(1, 200):
        steps = Forecast().steps(total)
        assert len(set(steps)) == int(0.3 * total + 1e-9)
        assert all(max(0.4 * total - 1e-9, 2) <= step < total - 1 for step in steps)


def test_settings_that_cannot_be_are_refused() -> None:
    for settings, named in (({"share": 0.7}, "share"), ({"share": -0.1}, "share"), ({"after": 1.1}, "after")):
        with pytest.raises(ValueError, match=f"{named}="):
            Forecast(**settings)
    with pytest.raises(ValueError, match="10 of 20 steps, and only 9"):
        Forecast(share=0.5, after=0.5).steps(20)


@pytest.mark.compatibility("SDXL, Stable Diffusion 1.5", methods=[Forecast()])
@pytest.mark.parametrize("attention", [(), (ToDo(),), (ToDo(factor=(4, 2), pooling="average"),)], ids=str)
def test_outputs_are_the_line_through_the_last_two_that_were_computed(pipe, attention) -> None:
    with patched(pipe, *attention, Forecast()):
        picture = generate(pipe, 12)
        assert torch.equal(generate(pipe, 12), picture)
        assert computed_calls(pipe, steps=12) == 9
    with patched(pipe, *(attention or [ToDo(factor=1)])), written_out(pipe.unet, Forecast().steps(12)):
        expected = generate(pipe, 12)
    torch.testing.assert_close(picture, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(picture, generate(pipe, 12), rtol=1e-3, atol=1e-3)


@pytest.mark.compatibility("runs that are stopped", methods=[Forecast()])
@pytest.mark.parametrize("attention", [ToDo(grid="rotating"), ToMe()], ids=str)
def test_a_run_after_others_gives_what_it_gives_alone(pipe, attention) -> None:
    fresh = {}
    for steps in (6, 10):
        other = sdxl_pipeline()
        apply_patch(other, attention, Forecast())
        fresh[steps] = generate(other, steps)
    apply_patch(pipe, attention, Forecast())
    with pytest.raises(KeyboardInterrupt):
        generate(pipe, 10, callback_on_step_end=stop)
    for steps in (6, 10, 10, 6):
        assert torch.equal(generate(pipe, steps), fresh[steps])


def stop(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    if step == 5:
        raise KeyboardInterrupt
    return tensors


def test_the_rotating_grid_goes_on_with_the_calls_that_are_made(pipe) -> None:
    """With every other step forecast, it would visit half of the tokens only."""
    attn = self_attention(pipe.unet)[0].attn
    kept = []
    with patched(pipe, ToDo(grid="rotating"), Forecast()):
        handle = attn.to_k.register_forward_pre_hook(lambda _, args: kept.append(args[0][0]))
        queries = attn.to_q.register_forward_pre_hook(lambda _, args: kept.append(args[0][0]))
        generate(pipe, 20)
        handle.remove()
        queries.remove()
    offsets = [
        next(i for i, token in enumerate(tokens) if torch.equal(token, keys[0]))
        for tokens, keys in zip(kept[::2], kept[1::2], strict=True)
    ]
    width = 3  # latents of 6x6, so grids of 3x3
    assert offsets == [(0, width + 1, 1, width)[step % 4] for step in range(14)]


@pytest.mark.compatibility("modular pipelines", methods=[Forecast()])
def test_each_guidance_branch_has_forecasts_of_its_own(pipe) -> None:
    """A modular pipeline calls the UNet once for each branch of its guider."""
    modular = StableDiffusionXLAutoBlocks().init_pipeline()
    guider = ClassifierFreeGuidance(guidance_scale=5.0)
    modular.update_components(**{part: pipe.components[part] for part in PARTS}, guider=guider)
    modular.set_progress_bar_config(disable=True)
    apply_patch(pipe, Forecast())
    together = generate(pipe, 10, guidance_scale=5.0)
    for _ in range(2):
        apart = modular(
            prompt="a fox", height=48, width=48, num_inference_steps=10, output="latents",
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        torch.testing.assert_close(apart, together, rtol=1e-3, atol=1e-3)


@pytest.mark.compatibility("guidance that ends during a run", methods=[Forecast()])
def test_guidance_that_ends_on_the_way_computes_what_cannot_be_forecast_and_says_so(pipe) -> None:
    def end_guidance(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == 7:  # the usual recipe: one half of every batch is dropped, and no more guidance
            pipe._guidance_scale = 0.0
            return {name: tensor.chunk(2)[-1] for name, tensor in tensors.items()}
        return tensors

    names = ["prompt_embeds", "add_text_embeds", "add_time_ids"]
    options = {"callback_on_step_end": end_guidance, "callback_on_step_end_tensor_inputs": names}
    apply_patch(pipe, Forecast())
    with pytest.warns(UserWarning, match="step 9 is computed"):
        assert computed_calls(pipe, steps=20, guidance_scale=5.0, **options) == 15


@pytest.mark.parametrize("scheduler", [HeunDiscreteScheduler, EulerAncestralDiscreteScheduler, LCMScheduler])
def test_samplers_that_call_twice_or_add_noise_make_the_calls_asked_for(pipe, scheduler) -> None:
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    baseline_calls = computed_calls(pipe, steps=10)
    apply_patch(pipe, Forecast())
    assert computed_calls(pipe, steps=10) == baseline_calls - int(0.3 * baseline_calls)
    assert torch.equal(generate(pipe, 10), generate(pipe, 10))


@pytest.mark.compatibility("image to image", methods=[Forecast()])
def test_image_to_image_counts_the_steps_that_it_does() -> None:
    pipe = StableDiffusionXLImg2ImgPipeline(**sdxl_pipeline().components, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    apply_patch(pipe, Forecast())
    image = {"image": torch.rand(1, 3, 48, 48), "height": None, "width": None}
    assert computed_calls(pipe, steps=20, strength=0.5, **image) == 7


def test_a_run_that_ends_early_counts_the_steps_that_it_does(pipe) -> None:
    apply_patch(pipe, Forecast())
    assert computed_calls(pipe, steps=20, denoising_end=0.5) == 7


def test_each_view_of_a_panorama_has_forecasts_of_its_own() -> None:
    pipe = StableDiffusionPanoramaPipeline(**sd15_pipeline().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    size = {"height": 64, "width": 640}  # the views are 512 px wide
    views = computed_calls(pipe, steps=1, **size)
    assert views > 1
    with patched(pipe, Forecast()):
        picture = generate(pipe, 5, **size)
        assert computed_calls(pipe, steps=5, **size) == 4 * views
    with written_out(pipe.unet, Forecast().steps(5), branches=views):
        torch.testing.assert_close(generate(pipe, 5, **size), picture, rtol=1e-4, atol=1e-4)


def test_a_run_too_short_for_a_forecast_says_so(pipe) -> None:
    baseline = generate(pipe, 3)
    apply_patch(pipe, Forecast())
    with pytest.warns(UserWarning, match="none of the 3 steps"):
        assert torch.equal(generate(pipe, 3), baseline)


@pytest.mark.compatibility("your own denoising loop, with `begin_run`", methods=[Forecast()])
def test_a_bare_unet_needs_the_length_of_the_run(unet) -> None:
    baseline = predict(unet)
    apply_patch(unet, Forecast())
    with pytest.raises(RuntimeError, match="begin_run"):
        predict(unet)
    for _ in range(2):
        begin_run(unet, steps=5)
        for _ in range(5):
            torch.testing.assert_close(predict(unet), baseline)


@pytest.mark.compatibility("`torch.compile`", methods=[Forecast()])
@pytest.mark.compatibility("`torch.compile` with `fullgraph=True`", methods=[Forecast()])
@pytest.mark.compatibility("`compile_repeated_blocks()`", methods=[Forecast()])
@pytest.mark.parametrize("compiled", ["around", "in place", "blocks"])
def test_compiled_models_forecast_with_one_graph_more(compiled) -> None:
    torch._dynamo.reset()
    pipe = sd15_pipeline(**SMALL)
    with patched(pipe, ToDo(grid="rotating"), Forecast()):
        expected = generate(pipe, 10)
    baseline = generate(pipe, 10)
    counter = CompileCounter()
    if compiled == "around":
        pipe.unet = torch.compile(pipe.unet, backend=counter, fullgraph=True)
    elif compiled == "in place":
        pipe.unet.compile(backend=counter, fullgraph=True)
    else:
        pipe.unet.compile_repeated_blocks(backend=counter, fullgraph=True)
    torch.testing.assert_close(generate(pipe, 10), baseline, rtol=1e-4, atol=1e-4)
    graphs = []
    for _ in range(3):
        apply_patch(pipe, ToDo(grid="rotating"), Forecast())
        torch.testing.assert_close(generate(pipe, 10), expected, rtol=1e-4, atol=1e-4)
        remove_patch(pipe)
        torch.testing.assert_close(generate(pipe, 10), baseline, rtol=1e-4, atol=1e-4)
        graphs.append(counter.frame_count)
    assert graphs[0] == graphs[-1] <= 4
    torch._dynamo.reset()


NO_GRADIENT = "refused: a forecast has no gradient"


@pytest.mark.compatibility("training", result=NO_GRADIENT, methods=[Forecast()])
@pytest.mark.compatibility("gradient checkpointing", result=NO_GRADIENT, methods=[Forecast()])
@pytest.mark.compatibility("gradient checkpointing, reentrant", result=NO_GRADIENT, methods=[Forecast()])
@pytest.mark.compatibility(
    "`torch.compile` in training, with gradient checkpointing", result=NO_GRADIENT, methods=[Forecast()]
)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("trained", ["weights", "latent"])
def test_it_is_refused_where_a_gradient_would_be_lost(trained, compiled) -> None:
    unet = small_unet().train()
    unet.enable_gradient_checkpointing()
    inputs = unet_inputs(unet, 8, 8)
    if trained == "latent":
        unet.requires_grad_(False)
        inputs["sample"].requires_grad_()
    model = torch.compile(unet, backend="eager") if compiled else unet
    apply_patch(model, Forecast())
    begin_run(model, steps=10)
    with pytest.raises(RuntimeError, match="has no gradient"):
        model(**inputs)
    remove_patch(model)
    model(**inputs)[0].sum().backward()


def fused(unet: torch.nn.Module) -> None:
    unet.fuse_qkv_projections()


def stored(unet: torch.nn.Module) -> None:
    unet.set_attn_processor(Storing())


@pytest.mark.compatibility("`fuse_qkv_projections()`", methods=[Forecast()])
@pytest.mark.compatibility(PROMPT_TO_PROMPT, methods=[Forecast()])
@pytest.mark.compatibility("GLIGEN's gated blocks", methods=[Forecast()])
@pytest.mark.parametrize("change", [fused, stored, None], ids=["fused", "stored", "gated"])
def test_it_does_not_matter_how_attention_is_done(change) -> None:
    pipe = sdxl_pipeline(**({} if change else {"attention_type": "gated"}))
    if change:
        change(pipe.unet)
    with patched(pipe, Forecast()):
        picture = generate(pipe, 12)
        assert computed_calls(pipe, steps=12) == 9
    with written_out(pipe.unet, Forecast().steps(12)):
        torch.testing.assert_close(generate(pipe, 12), picture, rtol=1e-4, atol=1e-4)


@pytest.mark.compatibility("`attention_mask` over the image", methods=[Forecast()])
def test_a_mask_over_the_image_holds_in_the_calls_that_are_made() -> None:
    unet = one_level_unet()
    inputs = unet_inputs(unet, 8, 8) | {"attention_mask": (torch.arange(128) % 3 > 0).float().view(2, 64)}
    with torch.no_grad():
        expected = unet(**inputs)[0]
        apply_patch(unet, Forecast())
        begin_run(unet, steps=5)
        for _ in range(5):
            torch.testing.assert_close(unet(**inputs)[0], expected)


@pytest.mark.compatibility("another image size in each call", methods=[Forecast()])
def test_image_sizes_may_change_from_run_to_run(pipe) -> None:
    apply_patch(pipe, Forecast())
    small, large, again = (generate(pipe, 6, height=side, width=48) for side in (48, 64, 48))
    assert torch.equal(small, again)
    assert large.shape != small.shape


@pytest.mark.compatibility("two pipelines that share a UNet", methods=[Forecast()])
def test_two_pipelines_may_share_a_unet(pipe) -> None:
    other = StableDiffusionXLPipeline.from_pipe(pipe)
    other.scheduler = copy.deepcopy(pipe.scheduler)
    other.set_progress_bar_config(disable=True)
    apply_patch(pipe.unet, Forecast())
    expected = {steps: generate(pipe, steps) for steps in (6, 10)}
    for model, steps in ((other, 6), (pipe, 10), (other, 10), (pipe, 6)):
        assert torch.equal(generate(model, steps), expected[steps])


@pytest.mark.compatibility("perturbed attention guidance (PAG), the pipelines", methods=[Forecast()])
def test_perturbed_attention_guidance_is_forecast_along() -> None:
    pipe = StableDiffusionXLPAGPipeline(**sdxl_pipeline().components, pag_applied_layers=["mid"])
    pipe.set_progress_bar_config(disable=True)
    with patched(pipe, Forecast()):
        picture = generate(pipe, 10)
        assert computed_calls(pipe, steps=10) == 7
        assert not torch.allclose(picture, generate(pipe, 10, pag_scale=0))
    with written_out(pipe.unet, Forecast().steps(10)):
        torch.testing.assert_close(generate(pipe, 10), picture, rtol=1e-4, atol=1e-4)


@pytest.mark.compatibility(
    "self-attention guidance (SAG)", result="refused: it reads every call", methods=[Forecast()]
)
def test_self_attention_guidance_is_refused_and_works_again_without() -> None:
    pipe = StableDiffusionSAGPipeline(**sd15_pipeline().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    size = {"height": 128, "width": 128}
    expected = generate(pipe, 4, **size)
    with patched(pipe, Forecast()), pytest.raises(RuntimeError, match="self-attention guidance"):
        generate(pipe, 4, **size)
    assert torch.equal(generate(pipe, 4, **size), expected)


SKIPPED = {"indices": [0], "fqn": "down_blocks.1.attentions.0.transformer_blocks"}


@pytest.mark.compatibility("PerturbedAttentionGuidance, the guider", methods=[Forecast()])
@pytest.mark.compatibility("SkipLayerGuidance, the guider", methods=[Forecast()])
@pytest.mark.parametrize("guider", ["perturbed", "skip"])
def test_a_guider_that_changes_blocks_has_forecasts_of_its_branch(pipe, guider) -> None:
    modular = StableDiffusionXLAutoBlocks().init_pipeline()
    if guider == "perturbed":
        config = LayerSkipConfig(**SKIPPED, skip_attention=False, skip_attention_scores=True, skip_ff=False)
        guider = PerturbedAttentionGuidance(perturbed_guidance_stop=1.0, perturbed_guidance_config=config)
    else:
        guider = SkipLayerGuidance(skip_layer_guidance_stop=1.0, skip_layer_config=LayerSkipConfig(**SKIPPED))
    modular.update_components(**{part: pipe.components[part] for part in PARTS}, guider=guider)
    modular.set_progress_bar_config(disable=True)

    def make() -> torch.Tensor:
        return modular(
            prompt="a fox", height=48, width=48, num_inference_steps=10, output="latents",
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip

    calls = []
    handle = pipe.unet.conv_in.register_forward_hook(lambda *_: calls.append(1))
    baseline, of_baseline = make(), len(calls)
    branches = of_baseline // 10
    assert branches >= 2
    with patched(pipe.unet, Forecast()):
        picture = make()
        assert len(calls) - of_baseline == of_baseline - 3 * 3
        assert torch.equal(make(), picture)
    assert not torch.equal(picture, baseline)
    handle.remove()
    assert torch.equal(make(), baseline)


@pytest.mark.compatibility("ControlNet", methods=[Forecast()])
def test_works_beside_a_controlnet() -> None:
    pipe = sd15_pipeline()
    controlnet = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 4, 4, 4))
    pipe = StableDiffusionControlNetPipeline(
        **pipe.components, controlnet=controlnet, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    image = torch.rand(1, 3, 64, 64)
    size = {"height": 64, "width": 64, "image": image}
    with patched(pipe, Forecast()):
        picture = generate(pipe, 10, **size)
        assert computed_calls(pipe, steps=10, **size) == 7
    with written_out(pipe.unet, Forecast().steps(10)):
        torch.testing.assert_close(generate(pipe, 10, **size), picture, rtol=1e-4, atol=1e-4)


def test_removing_leaves_no_trace(pipe) -> None:
    before, pipeline = dict(vars(pipe.unet)), type(pipe)
    apply_patch(pipe, ToDo(), Forecast())
    generate(pipe, 6)
    apply_patch(pipe, Forecast(share=0.2))
    remove_patch(pipe)
    assert traces_of_a_patch(pipe) == []
    assert vars(pipe.unet).keys() == before.keys()
    assert type(pipe) is pipeline


class Counting(ModelHook):
    calls = 0

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return args, kwargs


@pytest.mark.parametrize("theirs_first", [True, False])
@pytest.mark.parametrize("theirs", ["diffusers", "accelerate"])
def test_hooks_of_others_stay_on_whoever_came_first(pipe, theirs, theirs_first) -> None:
    counting = Counting()

    def put_on() -> None:
        if theirs == "diffusers":
            HookRegistry.check_if_exists_or_initialize(pipe.unet).register_hook(counting, "counting")
        else:
            accelerate.hooks.add_hook_to_module(pipe.unet, AccelerateCounting(counting))

    expected = generate(pipe, 10)
    for step in (put_on, lambda: apply_patch(pipe, Forecast()))[:: 1 if theirs_first else -1]:
        step()
    assert computed_calls(pipe, steps=10) == 7
    remove_patch(pipe)
    counting.calls = 0
    assert torch.equal(generate(pipe, 10), expected)
    assert counting.calls == 10
    if theirs == "diffusers":
        pipe.unet._diffusers_hook.remove_hook("counting", recurse=False)
    else:
        accelerate.hooks.remove_hook_from_module(pipe.unet)
    assert torch.equal(generate(pipe, 10), expected)
    assert counting.calls == 10


class AccelerateCounting(accelerate.hooks.ModelHook):
    def __init__(self, counting: Counting) -> None:
        self.counting = counting

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        self.counting.calls += 1
        return args, kwargs


@pytest.mark.compatibility(
    "`copy.deepcopy`", result="refused: its outputs belong to one model", methods=[Forecast()]
)
def test_copying_is_refused(pipe) -> None:
    apply_patch(pipe, Forecast())
    with pytest.raises(RuntimeError, match="cannot be copied"):
        copy.deepcopy(pipe.unet)
    remove_patch(pipe)
    copy.deepcopy(pipe.unet)


def test_more_than_one_of_a_kind_is_refused_and_nothing_is_changed(pipe) -> None:
    apply_patch(pipe, ToDo())
    patched_picture = generate(pipe)
    for methods in ((ToDo(), ToMe()), (Forecast(), Forecast()), ()):
        with pytest.raises(TypeError, match="one of each"):
            apply_patch(pipe, *methods)
    assert torch.equal(generate(pipe), patched_picture)


def test_a_plan_of_a_run_counts_the_calls_that_are_made(unet) -> None:
    one = plan(unet, ToDo(until=0.5), 96, 128)
    half = plan(unet, (ToDo(until=0.5), Forecast()), 96, 128, steps=20)
    assert (half.calls_before, half.calls_after) == (20, 14)
    assert half.total_before == 20 * one.total_before
    assert half.total_after == 9 * one.total_after + 5 * one.total_before  # 8 is forecast among the first 10
    assert one.speedup < half.speedup < half.ceiling
    alone = plan(unet, Forecast(), 96, 128, steps=20)
    assert alone.speedup == alone.ceiling == 20 / 14
    assert "9, 11, 13, 15, 17, 19 of 20" in str(alone)
    assert "14 of 20 calls" in str(alone)
    with pytest.raises(ValueError, match="steps="):
        plan(unet, Forecast(), 96, 128)
    with pytest.raises(ValueError, match="steps=0"):
        plan(unet, ToDo(), 96, 128, steps=0)
