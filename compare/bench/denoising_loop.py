"""The denoising loop of a pipeline on random embeddings: a whole run of it, or a single UNet call out of it.

Nothing is encoded or decoded, so that a pipeline needs no more than a UNet and a scheduler.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline

from compare.experiment.clock import LoopClock, timed_loop
from compare.models.load import LoadedPipeline
from todo_patch.counting import PROMPT_TOKENS

TIME_IDS = 6  # numbers on size and crop that SDXL is given
GUIDANCE = 5.0


class _FirstCall(Exception):
    pass


class DenoisingLoop:
    """The pipeline's own loop at one size. Whatever is on the UNet takes part.

    Args:
        loaded: the pipeline.
        width, height: pixels.
        batch: rows of the UNet's batch. An even number is guided, `batch / 2` pictures and as many without
            prompt; an odd one is not, and all are pictures.
        steps: denoising steps of a run.
    """

    def __init__(self, loaded: LoadedPipeline, width: int, height: int, batch: int, steps: int) -> None:
        self._loaded = loaded
        guided = batch % 2 == 0
        self._options = {
            **_embeddings(loaded, batch // 2 if guided else batch, guided),
            "width": width,
            "height": height,
            "num_inference_steps": steps,
            "guidance_scale": GUIDANCE if guided else 1.0,
            "output_type": "latent",
        }
        self._call = self._first_unet_call()

    @torch.no_grad()
    def step(self) -> LoopClock:
        """Time one UNet call, on what the pipeline gives it in the first step of a run."""
        args, kwargs = self._call
        with LoopClock(self._loaded.device) as clock:
            self._loaded.pipe.unet(*args, **kwargs)
        return clock

    def run(self) -> LoopClock:
        """Time a whole run: all UNet calls, guidance and the scheduler's steps, as the pipeline does them."""
        with timed_loop(self._loaded.pipe, self._loaded.device) as clock:
            self._loaded.pipe(**self._options, generator=torch.Generator("cpu").manual_seed(0))
        return clock

    def _first_unet_call(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        call = None

        def keep(unet: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            nonlocal call
            call = args, kwargs
            raise _FirstCall  # before the UNet needs memory

        unet = self._loaded.pipe.unet
        with unet.register_forward_pre_hook(keep, prepend=True, with_kwargs=True), suppress(_FirstCall):
            self.run()
        return call


def _embeddings(loaded: LoadedPipeline, pictures: int, guided: bool) -> dict[str, torch.Tensor]:
    """The pipeline's keyword arguments that take the place of prompts."""
    config = loaded.pipe.unet.config
    shapes = {"prompt_embeds": (PROMPT_TOKENS, config.cross_attention_dim)}
    if isinstance(loaded.pipe, StableDiffusionXLPipeline):
        pooled = config.projection_class_embeddings_input_dim - TIME_IDS * config.addition_time_embed_dim
        shapes["pooled_prompt_embeds"] = (pooled,)
    if guided:
        shapes |= {f"negative_{name}": shape for name, shape in shapes.items()}
    generator = torch.Generator("cpu").manual_seed(0)
    return {
        name: torch.randn(pictures, *shape, generator=generator).to(loaded.device, loaded.dtype)
        for name, shape in shapes.items()
    }
