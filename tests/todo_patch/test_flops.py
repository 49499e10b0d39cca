"""The formula for FLOPs, checked against torch's count of the same model."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel
from diffusers.models.attention_processor import Attention, IPAdapterAttnProcessor2_0
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.models.random_weights import architecture, empty_unet
from tests.helpers.tiny_models import TEXT_WIDTH, dit, latte, pixart, sd3, sd15_unet, sdxl_unet
from todo_patch import ToDo, ToMe, apply_patch
from todo_patch.counting import counted_flops
from todo_patch.flops import NoFormula, denoiser_flops, formula_flops

CLASSES = {"num_class_embeds": 10}
TIME_AND_TEXT = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 6 * 4 + TEXT_WIDTH,
}
KINDS_OF_BLOCKS = {
    "only cross-attention": {"only_cross_attention": (True, True, True, False)},
    "depth per block": {"transformer_layers_per_block": (3, 1, 2, 1)},
    "depth per layer": {
        "transformer_layers_per_block": ((1, 2), (2, 1), (1, 1), (1, 1)),
        "reverse_transformer_layers_per_block": ((1, 1, 1), (2, 1, 1), (1, 3, 1), (1, 1, 2)),
        "layers_per_block": 2,
        "mid_block_type": "UNetMidBlock2D",
    },
    "layers per block": {"layers_per_block": (1, 2, 1, 3)},
    "linear projections": {"use_linear_projection": True},
    "no middle": {"mid_block_type": None},
    "middle without attention": {"mid_block_type": "UNetMidBlock2D"},
    "no attention on one level": {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"),
    },
    "time scales and shifts": {"resnet_time_scale_shift": "scale_shift"},
    "gated attention without its inputs": {"attention_type": "gated"},
    "convolutions at the ends": {"conv_in_kernel": 1, "conv_out_kernel": 5},
}
EMBEDDINGS = {
    "classes": CLASSES,
    "time and text": TIME_AND_TEXT,
    "prompt of another width": {"encoder_hid_dim": 12},
    "width of the time embedding": {"time_embedding_dim": 24},
    "random frequencies": {"time_embedding_type": "fourier"},
    "guidance of a distilled model": {"time_cond_proj_dim": 8},
}
UNETS = {
    "sd15": sd15_unet,
    "sd21": partial(sd15_unet, attention_head_dim=(1, 1, 2, 4), use_linear_projection=True),
    "sdxl": sdxl_unet,
    "refiner": partial(
        sdxl_unet,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * 2, "DownBlock2D"),
        up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * 2, "UpBlock2D"),
        block_out_channels=(8, 16, 32, 32),
        transformer_layers_per_block=4,
        attention_head_dim=(1, 2, 4, 4),
    ),
    "x4 upscaler": partial(
        sd15_unet,
        in_channels=7,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * 3),
        up_block_types=(*["CrossAttnUpBlock2D"] * 3, "UpBlock2D"),
        only_cross_attention=(True, True, True, False),
        use_linear_projection=True,
        **CLASSES,
    ),
} | {name: partial(sd15_unet, **config) for name, config in (KINDS_OF_BLOCKS | EMBEDDINGS).items()}


@pytest.mark.parametrize("make", UNETS.values(), ids=UNETS)
def test_the_formula_is_the_count(make) -> None:
    unet = make()
    assert formula_flops(unet, 13, 10) == counted_flops(unet, 13, 10)


@pytest.mark.parametrize("size", [(16, 16), (8, 24), (9, 16), (1, 3)], ids=str)
@pytest.mark.parametrize("make", [sdxl_unet, sd15_unet])
def test_the_formula_is_the_count_at_any_size(make, size) -> None:
    unet = make()
    assert formula_flops(unet, *size) == counted_flops(unet, *size)


@pytest.mark.parametrize("name", ["sdxl", "sd15"])
def test_the_formula_is_the_count_for_full_models(name) -> None:
    unet = empty_unet(architecture(name))
    assert formula_flops(unet, 128, 128) == counted_flops(unet, 128, 128)


TRANSFORMERS = {
    "sigma": pixart,
    "alpha": partial(pixart, sample_size=128),
    "class of a picture": dit,
    "latte": latte,
    "sd3": partial(sd3, dual_attention_layers=(), qk_norm=None),
    "sd3.5": sd3,
}


@pytest.mark.parametrize("size", [(16, 16), (9, 9)], ids=str)
@pytest.mark.parametrize("make", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_the_formula_is_the_count_for_transformers(make, size) -> None:
    transformer = make()
    assert formula_flops(transformer, *size) == counted_flops(transformer, *size)


@pytest.mark.parametrize("make", [pixart, latte, sd3])
def test_the_formula_is_the_count_for_pictures_that_are_not_square(make) -> None:
    transformer = make()
    assert formula_flops(transformer, 7, 12) == counted_flops(transformer, 7, 12)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Of small UNets: attention or none on each level, and the settings above in any combination."""
    levels = draw(st.integers(1, 3))

    def per_level(values: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(draw(st.lists(values, min_size=levels, max_size=levels)))

    attends = per_level(st.booleans())
    embeddings = draw(st.lists(st.sampled_from(list(EMBEDDINGS.values())), max_size=2))
    config = {
        "down_block_types": tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in attends),
        "up_block_types": tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in attends[::-1]),
        "mid_block_type": draw(st.sampled_from(["UNetMidBlock2DCrossAttn", "UNetMidBlock2D", None])),
        "block_out_channels": per_level(st.sampled_from([8, 12, 16])),
        "layers_per_block": per_level(st.integers(1, 3)),
        "transformer_layers_per_block": per_level(st.integers(1, 2)),
        "attention_head_dim": per_level(st.sampled_from([1, 2, 4])),
        "only_cross_attention": per_level(st.booleans()),
        "cross_attention_dim": draw(st.sampled_from([4, 8])),
        "use_linear_projection": draw(st.booleans()),
        "resnet_time_scale_shift": draw(st.sampled_from(["default", "scale_shift"])),
    }
    for embedding in embeddings:
        config |= embedding
    return config


@settings(max_examples=10, deadline=None, derandomize=True)
@given(config=configurations(), height=st.integers(1, 17), width=st.integers(1, 17))
def test_the_formula_is_the_count_for_any_small_unet(config, height, width) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(norm_num_groups=4, **config)
    assert formula_flops(unet, height, width) == counted_flops(unet, height, width)


class LoRA(torch.nn.Module):
    """A layer with LoRA, with the names that peft gives to its parts."""

    def __init__(self, base_layer: torch.nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = torch.nn.ModuleDict({"default": torch.nn.Linear(8, 2)})


def with_lora(unet: torch.nn.Module) -> None:
    layers = [m for m in unet.named_modules() if isinstance(m[1], torch.nn.Linear | torch.nn.Conv2d)]
    for name, layer in layers:
        parent, _, own_name = name.rpartition(".")
        setattr(unet.get_submodule(parent), own_name, LoRA(layer))


def with_ip_adapter(unet: UNet2DConditionModel) -> None:
    for module in unet.modules():
        if isinstance(module, Attention) and module.is_cross_attention:
            module.set_processor(IPAdapterAttnProcessor2_0(module.inner_dim, module.cross_attention_dim))
    unet.encoder_hid_proj = torch.nn.ModuleList([torch.nn.Linear(8, 8)])
    unet.register_to_config(encoder_hid_dim_type="ip_image_proj")


CHANGES = {
    "todo": lambda unet: apply_patch(unet, ToDo(grid="rotating")),
    "tome": lambda unet: apply_patch(unet, ToMe()),
    "lora": with_lora,
    "ip-adapter": with_ip_adapter,
    "fused projections": UNet2DConditionModel.fuse_qkv_projections,
    "compiled": torch.nn.Module.compile,
    "meta": partial(torch.nn.Module.to, device="meta"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_others_have_added_is_left_out(change) -> None:
    unet = sdxl_unet()
    change(unet)
    assert formula_flops(unet, 12, 10) == counted_flops(sdxl_unet(), 12, 10)


class Packed(torch.nn.Module):
    """A layer that is not torch's and does not say its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("packed", torch.zeros(1))


class FourBit(torch.nn.Linear):
    """A quantised layer: its weights are stored in another shape."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features)
        self.weight = torch.nn.Parameter(torch.zeros(layer.weight.numel() // 2, 1))


def test_the_shape_of_a_quantised_layer_is_not_that_of_its_weights() -> None:
    unet = sdxl_unet()
    for block in unet.modules():
        if type(block).__name__ == "FeedForward":
            block.net[2] = FourBit(block.net[2])
    assert formula_flops(unet, 8, 8) == counted_flops(unet, 8, 8)


def with_packed_layer() -> UNet2DConditionModel:
    unet = sd15_unet()
    unet.mid_block.attentions[0].transformer_blocks[0].ff.net[2] = Packed()
    return unet


UNKNOWN = {
    "video": partial(
        UNet3DConditionModel,
        sample_size=8,
        layers_per_block=1,
        cross_attention_dim=8,
        norm_num_groups=4,
        block_out_channels=(8, 8, 16, 16),
        attention_head_dim=4,
    ),
    "downsampling that rounds down": partial(sd15_unet, downsample_padding=0),
    "resnets in place of convolutions": partial(
        sd15_unet,
        down_block_types=(*["CrossAttnDownBlock2D"] * 3, "ResnetDownsampleBlock2D"),
        up_block_types=("ResnetUpsampleBlock2D", *["CrossAttnUpBlock2D"] * 3),
    ),
    "self-attention of another kind": partial(
        sd15_unet,
        down_block_types=(*["CrossAttnDownBlock2D"] * 3, "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    ),
    "classes beside the time": partial(sd15_unet, **CLASSES, class_embeddings_concat=True),
    "packed layer": with_packed_layer,
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_a_model_without_a_formula_is_counted(make) -> None:
    denoiser = make()
    with pytest.raises(NoFormula, match="no formula"):
        formula_flops(denoiser, 16, 24)
    assert denoiser_flops(denoiser, 16, 24) == counted_flops(denoiser, 16, 24)


ATTENTION = "mid_block.attentions.0"
PARTS = {
    "down_blocks.0": sd15_unet,
    "down_blocks.0.resnets.0": sd15_unet,
    "down_blocks.0.downsamplers.0": sd15_unet,
    "up_blocks.0.upsamplers.0": sd15_unet,
    ATTENTION: sd15_unet,
    f"{ATTENTION}.transformer_blocks.0": sd15_unet,
    f"{ATTENTION}.transformer_blocks.0.attn1": sd15_unet,
    f"{ATTENTION}.transformer_blocks.0.attn2": sd15_unet,
    "transformer_blocks.0": sd3,
    "transformer_blocks.0.attn": sd3,
}


@pytest.mark.parametrize(("name", "make"), PARTS.items(), ids=PARTS)
def test_a_part_of_an_unknown_kind_has_no_formula(name, make) -> None:
    denoiser = make()
    denoiser.set_submodule(name, torch.compile(denoiser.get_submodule(name)))  # a wrapper with all attributes
    with pytest.raises(NoFormula, match="OptimizedModule"):
        formula_flops(denoiser, 16, 16)


FAILING = {
    "class embedding": (
        partial(sd15_unet, class_embed_type="projection", projection_class_embeddings_input_dim=4),
        (8, 8),
    ),
    "added embedding": (partial(sd15_unet, addition_embed_type="text_image"), (8, 8)),
    "prompts of several widths": (partial(sd15_unet, cross_attention_dim=(8, 8, 8, 8)), (8, 8)),
    "classes beside time and text": (
        partial(sdxl_unet, **CLASSES, class_embeddings_concat=True),
        (8, 8),
    ),
    "image as prompt": (partial(sd15_unet, encoder_hid_dim=8, encoder_hid_dim_type="image_proj"), (8, 8)),
    "norm that is told the time": (partial(latte, norm_type="ada_norm", num_embeds_ada_norm=10), (8, 8)),
    "kernel of even size": (partial(sd15_unet, conv_in_kernel=4), (8, 8)),
    "two prompts": (partial(sd15_unet, dual_cross_attention=True), (8, 8)),
    "not square": (dit, (8, 12)),
    "larger than its positions": (sd3, (8, 34)),
}


@pytest.mark.parametrize(("make", "size"), FAILING.values(), ids=FAILING)
def test_a_call_that_fails_has_no_flops(make, size) -> None:
    with pytest.raises(ValueError, match="cannot be counted"):
        denoiser_flops(make(), *size)
