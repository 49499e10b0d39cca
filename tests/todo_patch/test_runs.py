"""When a run begins, and how far into it a method is on."""

from __future__ import annotations

import copy
import gc
import weakref
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from diffusers import (
    ClassifierFreeGuidance,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UniPCMultistepScheduler,
)
from diffusers.modular_pipelines import StableDiffusionXLAutoBlocks

from tests.helpers.tiny_models import generate, predict, sdxl_pipeline, sdxl_unet
from todo_patch import ToDo, ToMe, apply_patch, begin_run
from todo_patch.blocks import self_attention

ROTATING = ToDo(grid="rotating")
STATEFUL = [ROTATING, ToDo(until=0.5), ToMe(), ToMe(until=0.5, merge="keys-values")]
EVERY_KIND = [*STATEFUL, ToDo(), ToDo(pooling="average"), ToDo(merge="all"), ToMe(merge="keys-values")]


def fresh(method, steps=4) -> torch.Tensor:
    """What a pipeline makes that has never run before."""
    pipe = sdxl_pipeline()
    apply_patch(pipe, method)
    return generate(pipe, steps)


def calls_that_are_on(pipe, **options) -> list[bool]:
    """For each UNet call of a run: had the finest self-attention fewer keys than queries?"""
    on = []
    attn = self_attention(pipe.unet)[0].attn
    watch = [
        attn.to_q.register_forward_pre_hook(lambda _, args: on.append(args[0].shape[1])),
        attn.to_k.register_forward_pre_hook(lambda _, args: on.append(on.pop() > args[0].shape[1])),
    ]
    generate(pipe, **options)
    for handle in watch:
        handle.remove()
    return on


def stop(pipe, step, timestep, tensors) -> dict:
    if step == 1:
        raise KeyboardInterrupt
    return tensors


def interrupt(pipe, step, timestep, tensors) -> dict:
    pipe._interrupt = True
    return tensors


@pytest.mark.compatibility("runs that are stopped")
@pytest.mark.parametrize("method", EVERY_KIND, ids=str)
@pytest.mark.parametrize("end", [stop, interrupt])
def test_a_run_that_ends_early_does_not_touch_the_next(pipe, method, end) -> None:
    apply_patch(pipe, method)
    with suppress(KeyboardInterrupt):
        generate(pipe, callback_on_step_end=end)
    assert torch.equal(generate(pipe), fresh(method))


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler,
        HeunDiscreteScheduler,
        DPMSolverMultistepScheduler,
        UniPCMultistepScheduler,
        PNDMScheduler,
        LCMScheduler,
    ],
)
@pytest.mark.parametrize("method", STATEFUL, ids=str)
def test_the_sampler_may_be_exchanged_on_a_patched_pipeline(pipe, scheduler, method) -> None:
    apply_patch(pipe, method)
    generate(pipe)
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    first = generate(pipe)
    assert torch.equal(generate(pipe), first)


def test_until_counts_unet_calls(pipe) -> None:
    apply_patch(pipe, ToDo(until=0.1))
    assert calls_that_are_on(pipe, steps=30) == [True] * 3 + [False] * 27
    apply_patch(pipe, ToDo(until=0.5))
    assert calls_that_are_on(pipe, steps=5) == [True] * 3 + [False] * 2
    assert calls_that_are_on(pipe, steps=10) == [True] * 5 + [False] * 5
    assert calls_that_are_on(pipe, steps=8, denoising_end=0.5) == [True] * 2 + [False] * 2
    pipe.scheduler = HeunDiscreteScheduler.from_config(pipe.scheduler.config)  # two calls for a step
    assert calls_that_are_on(pipe, steps=4) == [True] * 4 + [False] * 3


def test_until_counts_what_image_to_image_does_of_its_steps() -> None:
    pipe = StableDiffusionXLImg2ImgPipeline(**sdxl_pipeline().components, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    apply_patch(pipe, ToDo(until=0.5))
    image = {"image": torch.rand(1, 3, 48, 48), "height": None, "width": None}
    assert calls_that_are_on(pipe, steps=8, strength=0.5, **image) == [True] * 2 + [False] * 2
    assert calls_that_are_on(pipe, steps=8, strength=0.75, **image) == [True] * 3 + [False] * 3


def test_until_on_a_bare_unet_needs_the_length_of_the_run(unet) -> None:
    baseline = predict(unet)
    apply_patch(unet, ToDo(until=0.5))
    with pytest.raises(RuntimeError, match="begin_run"):
        predict(unet)
    for _ in range(2):
        begin_run(unet, steps=3)
        same = [torch.equal(predict(unet), baseline) for _ in range(3)]
        assert same == [False, False, True]
    with pytest.raises(RuntimeError, match="step 4 of a run of 3"):
        predict(unet)


@pytest.mark.compatibility("your own denoising loop, with `begin_run`")
@pytest.mark.parametrize(
    "method", [ToDo(until=0.5, grid="rotating"), ROTATING, *EVERY_KIND[-4:], ToMe()], ids=str
)
@pytest.mark.parametrize("bare", [True, False])
def test_begin_run_works_for_a_custom_loop(pipe, method, bare) -> None:
    model = pipe.unet if bare else pipe
    apply_patch(model, method)
    generate(pipe)
    runs = []
    for _ in range(2):
        begin_run(model, steps=4)
        pipe.scheduler.set_timesteps(4)
        runs.append(torch.stack([predict(pipe.unet) for _ in range(4)]))
    assert torch.equal(*runs)
    if method == ToDo(until=0.5, grid="rotating"):
        assert not torch.equal(runs[0][0], runs[0][1])
        assert torch.equal(runs[0][2], runs[0][3])


@pytest.mark.parametrize("steps", [0, 1.0, True, None, "4"])
def test_begin_run_refuses_anything_but_a_number_of_steps(steps) -> None:
    with pytest.raises(ValueError, match="steps="):
        begin_run(sdxl_unet(), steps=steps)


@pytest.mark.parametrize("method", [ROTATING, ToMe()], ids=str)
def test_a_patched_pipeline_may_be_made_into_another_and_is_not_kept_alive(method) -> None:
    pipe = sdxl_pipeline()
    gone = weakref.ref(pipe)
    apply_patch(pipe, method)
    pipe = StableDiffusionXLPipeline.from_pipe(pipe)
    gc.collect()
    assert gone() is None
    pipe.set_progress_bar_config(disable=True)
    assert torch.equal(generate(pipe), fresh(method))
    assert torch.equal(generate(pipe), fresh(method))


@pytest.mark.parametrize("method", [ROTATING, ToMe(), ToDo(until=0.5)], ids=str)
def test_a_copy_of_a_patched_pipeline_sees_its_own_runs(pipe, method) -> None:
    apply_patch(pipe, method)
    generate(pipe)
    other = copy.deepcopy(pipe)
    for model in (other, pipe, other):
        assert torch.equal(generate(model), fresh(method))


PARTS = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler")


@pytest.mark.compatibility("modular pipelines")
@pytest.mark.parametrize(
    "method",
    [
        ROTATING,
        ToDo(factor=3, grid="rotating", until=0.5),
        ToDo(),
        ToDo(pooling="average"),
        ToDo(merge="all"),
    ],
    ids=str,
)
def test_guidance_branch_by_branch_gives_the_picture_of_both_in_one_batch(pipe, method) -> None:
    together, *apart = together_and_branch_by_branch(pipe, method)
    for picture in apart:
        torch.testing.assert_close(picture, together, rtol=1e-3, atol=1e-3)


@pytest.mark.compatibility("modular pipelines")
@pytest.mark.parametrize("method", [ToMe(), ToMe(merge="keys-values")], ids=str)
def test_tome_branch_by_branch_is_the_same_in_every_run(pipe, method) -> None:
    """A branch alone is an odd batch, for which tomesd draws no destinations at random."""
    (_, first, again), seeded = (
        together_and_branch_by_branch(pipe, method),
        together_and_branch_by_branch(pipe, replace(method, seed=1))[1],
    )
    assert torch.equal(first, again)
    assert torch.equal(first, seeded)
    assert not torch.allclose(first, together_and_branch_by_branch(pipe, ToDo(factor=1))[1])


def together_and_branch_by_branch(pipe, method) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A picture with both branches in one batch, and two by a modular pipeline, which calls the UNet once for
    each branch of its guider."""
    modular = StableDiffusionXLAutoBlocks().init_pipeline()
    guider = ClassifierFreeGuidance(guidance_scale=5.0)
    modular.update_components(**{part: pipe.components[part] for part in PARTS}, guider=guider)
    modular.set_progress_bar_config(disable=True)
    apply_patch(pipe.unet, method)
    apart = [
        modular(
            prompt="a fox", height=48, width=48, num_inference_steps=6, output="latents",
            generator=torch.Generator().manual_seed(0),
        )
        for _ in range(2)
    ]  # fmt: skip
    return generate(pipe, 6, guidance_scale=5.0), *apart


@pytest.mark.compatibility("two pipelines that share a UNet")
@pytest.mark.parametrize("method", EVERY_KIND, ids=str)
@pytest.mark.parametrize("own_scheduler", [True, False])
def test_two_pipelines_may_share_a_patched_unet(pipe, method, own_scheduler) -> None:
    other = StableDiffusionXLPipeline.from_pipe(pipe)
    other.set_progress_bar_config(disable=True)
    if own_scheduler:
        other.scheduler = copy.deepcopy(pipe.scheduler)
    apply_patch(pipe.unet if own_scheduler else pipe, method)
    for model, steps in ((pipe, 5), (other, 5), (other, 1), (pipe, 1), (pipe, 5), (other, 3)):
        assert torch.equal(generate(model, steps), fresh(method, steps))
