"""Stops a run inside a step, which takes minutes for a large picture on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diffusers import DiffusionPipeline
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D

PARTS = (Attention, FeedForward, ResnetBlock2D, Downsample2D, Upsample2D)
"""Of the UNet and the VAE: hardly anything is computed outside of them."""
EVERY = 0.2  # seconds


@contextmanager
def stoppable(pipe: DiffusionPipeline, check_stopped: Callable[[], None]) -> Iterator[None]:
    """Call `check_stopped` before parts of the UNet and the VAE, the same ones for every method.

    What it raises ends the call of the pipeline. The parts are left as they were.
    """
    last = time.monotonic()

    def check(*_: object) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= EVERY:
            last = now
            check_stopped()

    parts = [part for model in (pipe.unet, pipe.vae) for part in model.modules() if isinstance(part, PARTS)]
    hooks = [part.register_forward_pre_hook(check) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
