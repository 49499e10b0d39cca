"""Methods of other authors, as they ship: put on a pipeline and taken off by their own packages.

Both leave things behind, which would be in the way of the next method: `as_it_was` takes them off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from compare.errors import InvalidRequest

if TYPE_CHECKING:  # `python -m compare --help` need not wait for torch
    import torch
    from diffusers import DiffusionPipeline


@contextmanager
def deepcache(pipe: DiffusionPipeline, interval: int) -> Iterator[None]:
    """DeepCache (arXiv 2312.00858) on the pipeline for the length of a `with` block.

    All but the last layers of the UNet run at every `interval`-th step only; in between, their last output
    is used again. That is `cache_branch_id=0`, which its authors recommend. A run begins with a whole step:
    nothing of the run before it is used.
    """
    from DeepCache import DeepCacheSDHelper

    helper = DeepCacheSDHelper(pipe)
    helper.set_params(cache_interval=interval, cache_branch_id=0)
    with as_it_was(pipe.unet):  # `disable` sets `forward` on every module where it was not set before
        helper.enable()
        try:
            yield
        finally:
            helper.disable()


def require_fit_for_deepcache(pipe: DiffusionPipeline) -> None:
    """DeepCache finds the place of a step by looking for its timestep in the scheduler's list. With two calls
    at one timestep it finds odd places only, and an interval of 2 would use the first step to the end.

    Raises:
        InvalidRequest: the scheduler has such steps; or the UNet has no middle block, which DeepCache wraps.
    """
    from diffusers import PNDMScheduler

    scheduler = pipe.scheduler
    # PNDM begins with Runge-Kutta steps, of several calls each, unless it is told to leave them out. Other
    # schedulers that are made of its configuration have that setting too, and do not use it.
    begins_twice = isinstance(scheduler, PNDMScheduler) and not scheduler.config.skip_prk_steps
    if scheduler.order > 1 or begins_twice:
        raise InvalidRequest(
            f"DeepCache cannot tell the steps of {type(scheduler).__name__} apart, which calls the UNet "
            "twice at a timestep: leave DeepCache out, or take a scheduler with one call a step."
        )
    if pipe.unet.mid_block is None:
        raise InvalidRequest("DeepCache needs a UNet with a middle block; this one has none: leave it out.")


@contextmanager
def pyramid_attention_broadcast(pipe: DiffusionPipeline) -> Iterator[None]:
    """Pyramid attention broadcast (arXiv 2408.12588) on the pipeline for the length of a `with` block.

    With the settings that diffusers falls back to: between timesteps 800 and 100, every other call of a
    self-attention is not made and its last output is used again.
    """
    from diffusers import PyramidAttentionBroadcastConfig, apply_pyramid_attention_broadcast
    from diffusers.hooks import HookRegistry
    from diffusers.hooks.pyramid_attention_broadcast import _PYRAMID_ATTENTION_BROADCAST_HOOK

    from todo_patch.run import Run

    run = Run(pipe)
    timesteps: list[float] = []

    def before_call(unet: torch.nn.Module, args: tuple[Any, ...]) -> None:
        _, timestep, *_ = args
        run.next_call(timestep)
        run.end_call()
        if (run.step, run.call) == (0, 0):  # diffusers' pipelines do this for transformers, not for UNets
            registry.reset_stateful_hooks()
            timesteps[:] = pipe.scheduler.timesteps.tolist()  # one read from the device for a whole run

    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(100, 800),
        current_timestep_callback=lambda: timesteps[run.step],
    )
    with as_it_was(pipe.unet):  # removing the hooks leaves registries, and sets `forward` on every attention
        registry = HookRegistry.check_if_exists_or_initialize(pipe.unet)
        try:
            apply_pyramid_attention_broadcast(pipe.unet, config)
            with pipe.unet.register_forward_pre_hook(before_call):
                yield
        finally:
            registry.remove_hook(_PYRAMID_ATTENTION_BROADCAST_HOOK, recurse=True)


def require_uncompiled(pipe: DiffusionPipeline) -> None:
    """Pyramid attention broadcast counts calls in Python, so code is compiled anew in the middle of a run.

    Raises:
        InvalidRequest: a part of the UNet is compiled.
    """
    if any(vars(module).get("_compiled_call_impl") for module in pipe.unet.modules()):
        raise InvalidRequest(
            "Pyramid attention broadcast cannot be compiled, its time would be that of the compiler: leave "
            "it out, or do not compile."
        )


@contextmanager
def as_it_was(model: torch.nn.Module) -> Iterator[None]:
    """At the end of the `with` block every module of the model has the attributes that it had before, and no
    others."""
    before = {module: vars(module).copy() for module in model.modules()}
    try:
        yield
    finally:
        for module, attributes in before.items():
            vars(module).clear()
            vars(module).update(attributes)
