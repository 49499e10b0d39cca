"""Every method beside what diffusers offers: both have their effect, and the method comes off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    ControlNetModel,
    DiffusionPipeline,
    MotionAdapter,
    StableDiffusionAdapterPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPanoramaPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    T2IAdapter,
)
from torch.nn.init import ones_

from tests.helpers.tiny_models import sd15_pipeline, sdxl_pipeline
from tests.todo_patch.conftest import METHODS
from todo_patch import Forecast, patched

SIZE = {"height": 64, "width": 64}
IMAGE = {"image": torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)}
Made = tuple[DiffusionPipeline, dict[str, Any]]  # and how to call it


def controlnet() -> Made:
    pipe = sdxl_pipeline()
    control = ControlNetModel.from_unet(pipe.unet)
    for zero in (*control.controlnet_down_blocks, control.controlnet_mid_block):
        ones_(zero.weight)  # as made, it adds nothing
    return StableDiffusionXLControlNetPipeline.from_pipe(pipe, controlnet=control), SIZE | IMAGE


def t2i_adapter() -> Made:
    adapter = T2IAdapter(channels=[8, 8, 16, 16], num_res_blocks=1)
    return StableDiffusionAdapterPipeline.from_pipe(sd15_pipeline(), adapter=adapter), SIZE | IMAGE


def image_to_image() -> Made:
    return StableDiffusionXLImg2ImgPipeline.from_pipe(sdxl_pipeline()), IMAGE | {"strength": 0.6}


def inpainting() -> Made:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48] = 1
    return StableDiffusionXLInpaintPipeline.from_pipe(sdxl_pipeline()), SIZE | IMAGE | {"mask_image": mask}


def instruct_pix2pix() -> Made:
    return StableDiffusionInstructPix2PixPipeline.from_pipe(sd15_pipeline(in_channels=8)), IMAGE


def panorama() -> Made:
    """Several UNet calls for one step, one for each view."""
    coarse = {  # a view has 64x64 latents, which is much for a test
        "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    }
    pipe = StableDiffusionPanoramaPipeline.from_pipe(sd15_pipeline(**coarse))
    return pipe, {"height": 512, "width": 576}


def animatediff() -> Made:
    motion = MotionAdapter(
        block_out_channels=(8, 8, 16, 16),
        motion_layers_per_block=1,
        motion_norm_num_groups=4,
        motion_num_attention_heads=2,
    )
    return AnimateDiffPipeline.from_pipe(sd15_pipeline(), motion_adapter=motion), SIZE | {"num_frames": 2}


def lora() -> Made:
    peft = pytest.importorskip("peft")
    pipe = sdxl_pipeline()
    layers = ["to_q", "to_k", "to_v", "to_out.0"]
    pipe.unet.add_adapter(peft.LoraConfig(r=2, target_modules=layers, init_lora_weights=False))
    return pipe, SIZE


def freeu() -> Made:
    pipe = sdxl_pipeline()
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.3, b2=1.4)
    return pipe, SIZE


def attention_slicing() -> Made:
    pipe = sdxl_pipeline()
    pipe.enable_attention_slicing(1)
    return pipe, SIZE


def bfloat16() -> Made:
    return sdxl_pipeline().to(torch.bfloat16), SIZE


def several_images() -> Made:
    return sdxl_pipeline(), SIZE | {"num_images_per_prompt": 3}


def no_guidance() -> Made:
    return sdxl_pipeline(), SIZE | {"guidance_scale": 1.0}


def guidance_that_ends() -> Made:
    """From the second step on there are half as many images in a batch."""

    def end(pipe: Any, step: int, timestep: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if step == 0:
            pipe._guidance_scale = 1.0
            return {
                name: tensor.chunk(2)[-1] if name != "latents" else tensor for name, tensor in tensors.items()
            }
        return tensors

    names = ["prompt_embeds", "add_text_embeds", "add_time_ids"]
    return sdxl_pipeline(), SIZE | {
        "callback_on_step_end": end,
        "callback_on_step_end_tensor_inputs": names,
    }


def odd_size() -> Made:
    """Grids that no factor divides."""
    return sdxl_pipeline(), {"height": 72, "width": 104}


def feature(name: str, make: Callable[[], Made]) -> Any:
    return pytest.param(make, id=make.__name__, marks=pytest.mark.compatibility(name))


@pytest.mark.parametrize(
    "make",
    [
        feature("ControlNet", controlnet),
        feature("T2I-Adapter", t2i_adapter),
        feature("image to image", image_to_image),
        feature("inpainting", inpainting),
        feature("InstructPix2Pix", instruct_pix2pix),
        feature("Panorama", panorama),
        feature("AnimateDiff", animatediff),
        feature("LoRA", lora),
        feature("FreeU", freeu),
        feature("attention slicing", attention_slicing),
        feature("`torch.bfloat16`", bfloat16),
        feature("several images at once", several_images),
        feature("no guidance", no_guidance),
        feature("guidance that ends during a run", guidance_that_ends),
        feature("sizes that the factor does not divide", odd_size),
    ],
)
@pytest.mark.parametrize("method", [*METHODS, Forecast()], ids=str)
def test_a_method_works_beside_a_feature_and_comes_off(make, method) -> None:
    pipe, options = make()
    pipe.set_progress_bar_config(disable=True)

    steps = 7 if isinstance(method, Forecast) else 3  # a forecast needs two calls before it, and one after

    def run() -> torch.Tensor:
        options["generator"] = torch.Generator().manual_seed(0)
        return pipe("a fox", num_inference_steps=steps, output_type="latent", **options)[0]

    plain = run()
    with patched(pipe, method):
        once = run()
        assert not torch.allclose(once, plain)
        assert torch.equal(run(), once)
    assert torch.equal(run(), plain)
