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
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
    MotionAdapter,
    StableDiffusionAdapterPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPanoramaPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    T2IAdapter,
)
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection, MultiIPAdapterImageProjection
from peft import LoraConfig
from torch.nn.init import ones_

from tests.helpers.tiny_models import sd15_pipeline, sdxl_pipeline
from todo_patch import Forecast, ToDo, ToMe, patched

SIZE = {"height": 64, "width": 64}
IMAGE = {"image": torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)}
ONE_OF_EACH = [
    ToDo(),
    ToDo(factor=(4, 2), grid="rotating"),
    ToDo(pooling="average"),
    ToDo(merge="all"),
    ToMe(levels=2, ratio=0.5),
    ToMe(merge="keys-values"),
    Forecast(),
]
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
    return StableDiffusionXLImg2ImgPipeline.from_pipe(sdxl_pipeline()), IMAGE | {"strength": 1.0}


def inpainting() -> Made:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48] = 1
    return StableDiffusionXLInpaintPipeline.from_pipe(sdxl_pipeline()), SIZE | IMAGE | {
        "mask_image": mask,
        "strength": 1.0,
    }


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
    pipe = sdxl_pipeline()
    layers = ["to_q", "to_k", "to_v", "to_out.0"]
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=layers, init_lora_weights=False))
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
    """From the second step on there are half as many images in a batch, and Forecast needs two of a kind."""

    def end(pipe: Any, step: int, timestep: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if step == 0:
            pipe._guidance_scale = 1.0
            return {
                name: tensor.chunk(2)[-1] if name != "latents" else tensor for name, tensor in tensors.items()
            }
        return tensors

    names = ["prompt_embeds", "add_text_embeds", "add_time_ids"]
    return sdxl_pipeline(), SIZE | {
        "num_inference_steps": 6,
        "callback_on_step_end": end,
        "callback_on_step_end_tensor_inputs": names,
    }


def odd_size() -> Made:
    """Grids that no factor divides."""
    return sdxl_pipeline(), {"height": 72, "width": 104}


def other_processor() -> Made:
    pipe = sdxl_pipeline()
    pipe.unet.set_attn_processor(AttnProcessor())
    return pipe, SIZE


def ip_adapter() -> Made:
    pipe = sdxl_pipeline()
    width = pipe.unet.config.cross_attention_dim
    image = ImageProjection(8, width, num_image_text_embeds=4)
    pipe.unet.encoder_hid_proj = MultiIPAdapterImageProjection([image])
    pipe.unet.config.encoder_hid_dim_type = "ip_image_proj"
    for module in pipe.unet.modules():
        if isinstance(module, BasicTransformerBlock):
            attn = module.attn2
            attn.set_processor(IPAdapterAttnProcessor2_0(attn.query_dim, width, num_tokens=(4,)))
    return pipe, SIZE | {"ip_adapter_image_embeds": [torch.ones(2, 1, 8)]}


def heun() -> Made:
    pipe = sdxl_pipeline()
    pipe.scheduler = HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    return pipe, SIZE


def euler_ancestral() -> Made:
    pipe = sdxl_pipeline()
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    return pipe, SIZE


def dpm() -> Made:
    pipe = sdxl_pipeline()
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    return pipe, SIZE


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
        feature("IP-Adapter", ip_adapter),
        feature("another attention processor", other_processor),
        feature("samplers that call twice for a step (Heun)", heun),
        feature("samplers that add noise (Euler ancestral)", euler_ancestral),
        feature("samplers of several steps (DPM++ 2M)", dpm),
        feature("FreeU", freeu),
        feature("attention slicing", attention_slicing),
        feature("`torch.bfloat16`", bfloat16),
        feature("several images at once", several_images),
        feature("no guidance", no_guidance),
        feature("guidance that ends during a run", guidance_that_ends),
        feature("sizes that the factor does not divide", odd_size),
    ],
)
@pytest.mark.parametrize("method", ONE_OF_EACH, ids=str)
def test_a_method_works_beside_a_feature_and_comes_off(make, method) -> None:
    pipe, options = make()
    pipe.set_progress_bar_config(disable=True)

    def run() -> torch.Tensor:
        options["generator"] = torch.Generator().manual_seed(0)
        return pipe("a fox", output_type="latent", **{"num_inference_steps": 4} | options)[0]

    plain = run()
    with patched(pipe, method):
        once = run()
        assert not torch.allclose(once, plain)
        assert torch.equal(run(), once)
    assert torch.equal(run(), plain)
