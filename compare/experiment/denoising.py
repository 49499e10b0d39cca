"""Calls of the pipeline: encode the prompts, warm up, denoise under the clock, decode."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image

from compare.experiment.clock import timed_loop
from compare.experiment.decoding import has_preview, preview
from compare.models.load import LoadedPipeline
from compare.request import Request

SPIN_UP = 1.0  # seconds of work after which an accelerator has its full clock rate


@dataclass(frozen=True)
class Sample:
    """One timed call of the pipeline."""

    image: Image.Image
    denoising: float
    """Seconds of the denoising loop alone, the device synchronised at both ends, previews not counted."""
    step_seconds: tuple[float, ...]
    decoding: float
    peak_memory: int | None


class Denoiser:
    """The pipeline with the prompts, noise and settings of one request: all methods get the same.

    Args:
        check_stopped: called after every step; what it raises ends the call.
    """

    def __init__(self, loaded: LoadedPipeline, request: Request, check_stopped: Callable[[], None]) -> None:
        self._loaded, self._request, self._check_stopped = loaded, request, check_stopped
        self._embeddings = _encode(loaded.pipe, request, loaded.device)

    def spin_up(self) -> None:
        """Pay for what only the first method would: the first decoding, and clock rates that rise."""
        began = time.monotonic()
        self.warm_up(self._request.steps, output_type="pil")
        while self._loaded.device.type != "cpu" and time.monotonic() - began < SPIN_UP:
            self.warm_up(self._request.steps)

    def warm_up(self, steps: int, output_type: str = "latent") -> None:
        """Run the first step of the call that is timed next: kernels chosen, memory allocated, threads up."""

        def interrupt(pipe: DiffusionPipeline, index: int, _: object, tensors: dict) -> dict:
            self._check_stopped()
            pipe._interrupt = True  # diffusers' own way to skip the remaining steps
            return tensors

        with timed_loop(self._loaded.pipe, self._loaded.device):
            self._call(steps, output_type=output_type, callback_on_step_end=interrupt)
        self._check_stopped()

    def denoise(self, steps: int, on_step: Callable[..., None], previews: bool = True) -> Sample:
        """Make a picture. The clock runs in the denoising loop, and pauses for previews.

        Args:
            on_step: called with step (from 1), steps, seconds and preview (or None) after each; if there is a
                preview, while the clock stands.
        """
        before: torch.Tensor | None = None
        laps = [0.0]

        def step_done(pipe: DiffusionPipeline, index: int, _: object, tensors: dict) -> dict:
            nonlocal before
            self._check_stopped()
            laps.append(clock.seconds)
            done = (index + 1, pipe.num_timesteps, laps[-1])
            if previews and has_preview(index + 1, pipe.num_timesteps):
                with clock.paused():
                    on_step(*done, preview(pipe, before, tensors["latents"], index))
                    laps[-1] = clock.seconds
            else:
                on_step(*done, None)
            before = tensors["latents"]
            return tensors

        with timed_loop(self._loaded.pipe, self._loaded.device) as clock:
            image = self._call(steps, output_type="pil", callback_on_step_end=step_done)[0]
            decoding = time.perf_counter() - clock.ended
        step_seconds = tuple(later - earlier for earlier, later in pairwise(laps))
        return Sample(image, clock.seconds, step_seconds, decoding, clock.peak_memory)

    def _call(self, steps: int, **options: object) -> list[Image.Image] | torch.Tensor:
        request = self._request
        # The pipeline draws the starting noise, and any noise of its sampler, from this generator: on the CPU
        # and from the seed, so it is the same for every method and on every device.
        return self._loaded.pipe(
            **self._embeddings,
            height=request.height,
            width=request.width,
            num_inference_steps=steps,
            guidance_scale=float(request.guidance_scale),
            generator=torch.Generator("cpu").manual_seed(request.seed),
            **options,
        ).images


def _encode(
    pipe: DiffusionPipeline, request: Request, device: torch.device
) -> dict[str, torch.Tensor | None]:
    """The prompts as the pipeline's own keyword arguments."""
    encoded = pipe.encode_prompt(
        prompt=request.prompt,
        # None is "no negative prompt", which SDXL encodes as zeros; "" would be encoded as a text.
        negative_prompt=request.negative_prompt or None,
        device=device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=request.guidance_scale > 1,
    )
    names = ["prompt_embeds", "negative_prompt_embeds"]
    if isinstance(pipe, StableDiffusionXLPipeline):
        names += ["pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    return dict(zip(names, encoded, strict=True))
