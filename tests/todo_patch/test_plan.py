"""The plan, checked against published model sizes and against what a patched model really does."""

from __future__ import annotations

import functools
from functools import partial

import pytest
import torch
from diffusers import (
    I2VGenXLUNet,
    MotionAdapter,
    UNet2DConditionModel,
    UNet3DConditionModel,
    UNetMotionModel,
)
from diffusers.models.attention_processor import AttnProcessor
from torch.utils.flop_counter import FlopCounterMode

from compare.models.random_weights import architecture, empty_unet
from tests.helpers.tiny_models import sd15_unet, sdxl_unet, unet_inputs
from todo_patch import NothingToPatch, Plan, ToDo, ToMe, apply_patch, plan
from todo_patch.blocks import self_attention


@functools.cache
def full(name) -> UNet2DConditionModel:
    return empty_unet(architecture(name))


@pytest.mark.parametrize(
    ("name", "size", "tera_flops", "speedups", "ceilings"),
    [
        ("sdxl", 1024, 6.76, {2: 1.06, (2, 2): 1.16, 3: 1.07, 4: 1.07, (4, 2): 1.18}, (1.08, 1.22)),
        ("sdxl", 1536, 17.3, {2: 1.11, (2, 2): 1.27, 3: 1.14, 4: 1.14, (4, 2): 1.31}, (1.16, 1.39)),
        ("sdxl", 2048, 35.9, {2: 1.18, (2, 2): 1.41, 3: 1.21, 4: 1.23, (4, 2): 1.49}, (1.25, 1.63)),
        ("sd15", 768, 2.15, {2: 1.24, (2, 2): 1.29, 3: 1.30, 4: 1.33, (4, 2): 1.38}, (1.35, 1.43)),
        ("sd15", 1024, 4.67, {2: 1.39, (2, 2): 1.47, 3: 1.50, 4: 1.54, (4, 2): 1.64}, (1.60, 1.75)),
        ("sd15", 2048, 42.2, {2: 1.96, (2, 2): 2.24, 3: 2.39, 4: 2.59, (4, 2): 3.10}, (2.89, 3.83)),
    ],
)
def test_full_models_have_the_flops_measured_for_them(name, size, tera_flops, speedups, ceilings) -> None:
    for factor, speedup in speedups.items():
        planned = plan(full(name), ToDo(factor=factor), size, size)
        assert planned.total_before / 1e12 == pytest.approx(tera_flops, rel=4e-3)
        assert planned.speedup == pytest.approx(speedup, abs=0.006)
        assert planned.ceiling == pytest.approx(ceilings[isinstance(factor, tuple)], abs=0.006)


def test_sdxl_at_1024_has_ten_blocks_of_4096_tokens_that_keep_1024() -> None:
    planned = plan(full("sdxl"), ToDo(factor=2), 1024, 1024)
    finest = [block for block in planned.blocks if block.level == 0]
    assert len(planned.blocks) == 70
    assert len(finest) == planned.patched == 10
    assert {(b.grid, b.tokens, b.query_tokens, b.kv_tokens) for b in finest} == {((64, 64), 4096, 4096, 1024)}
    assert {(b.level, b.tokens, b.kv_tokens) for b in planned.blocks if not b.patched} == {(1, 1024, 1024)}


def test_sd15_has_four_levels_the_coarsest_in_the_middle() -> None:
    planned = plan(full("sd15"), ToDo(factor=(2, 2, 2, 2)), 512, 512)
    assert [sum(b.level == level for b in planned.blocks) for level in range(4)] == [5, 5, 5, 1]
    assert [b.name for b in planned.blocks if b.level == 3] == [
        "mid_block.attentions.0.transformer_blocks.0.attn1"
    ]


def test_odd_sizes_keep_a_token_of_every_cut_cell() -> None:
    planned = plan(sdxl_unet(), ToDo(factor=(2, 2)), 1080, 1920)
    assert {(b.grid, b.kv_tokens) for b in planned.blocks} == {((68, 120), 34 * 60), ((34, 60), 17 * 30)}
    planned = plan(sdxl_unet(), ToDo(factor=2), 520, 776)
    assert {(b.grid, b.kv_tokens) for b in planned.blocks if b.level == 0} == {((33, 49), 17 * 25)}
    like = plan(sdxl_unet(), ToMe.like(ToDo(factor=2)), 520, 776)
    assert {b.kv_tokens for b in like.blocks if b.level == 0} == {33 * 49 - int(33 * 49 * 0.75)}


def counted(unet) -> int:
    """FLOPs of one call on 24x20, as the FLOP counter sees them."""
    unet.set_attn_processor(AttnProcessor())  # the counter does not know the CPU's fused attention
    inputs = unet_inputs(unet, 24, 20, batch=1)
    inputs["encoder_hidden_states"] = torch.zeros(1, 77, unet.config.cross_attention_dim)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(**inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize("make", [sdxl_unet, sd15_unet])
@pytest.mark.parametrize(
    "method",
    [
        ToDo(),
        ToDo(factor=(3, 2)),
        ToDo(pooling="average"),
        ToDo(merge="all"),
        ToDo(factor=(3, 2), merge="all"),
        ToMe(),
        ToMe(ratio=0.6, stride=3, levels=2),
        ToMe(ratio=0.004),  # of so few tokens that none is merged
        ToMe(merge="keys-values"),
        ToMe(ratio=0.6, stride=3, levels=2, merge="keys-values"),
    ],
    ids=str,
)
def test_the_plan_counts_what_a_patched_model_does(make, method) -> None:
    unet = make()
    planned = plan(unet, method, 8 * 24, 8 * 20)
    assert planned.total_before == counted(unet)
    apply_patch(unet, method)
    assert planned.total_after == counted(unet)


def test_the_ceiling_is_reached_when_all_that_can_be_removed_is(unet) -> None:
    methods = (ToMe(levels=2), ToDo(factor=(2, 2), merge="all"))
    ceilings = [plan(unet, method, 8 * 24, 8 * 20).ceiling for method in methods]
    before = counted(unet)
    for block in self_attention(unet):
        block.attn.forward = lambda tokens, **_: tokens
    assert ceilings == [pytest.approx(before / counted(unet))] * 2


def test_queries_and_output_are_within_reach_only_if_all_tokens_are_merged(unet) -> None:
    def planned(method) -> Plan:
        return plan(unet, method, 8 * 24, 8 * 20)

    least = {merge: planned(ToDo(factor=(24, 24), merge=merge)) for merge in ("keys-values", "all")}
    for merge, work in least.items():
        assert work.speedup < work.ceiling
        assert work.ceiling == planned(ToMe(levels=2, merge=merge)).ceiling
    assert least["keys-values"].ceiling < least["all"].speedup
    for block in least["keys-values"].blocks:
        assert (block.query_tokens, block.kv_tokens) == (block.tokens, 1)
    for block in least["all"].blocks:
        assert (block.query_tokens, block.kv_tokens) == (1, 1)


@pytest.mark.parametrize("method", [ToDo(factor=1), ToDo(until=0), ToMe(ratio=0), ToMe(until=0)], ids=str)
def test_asking_for_nothing_patches_no_block(method) -> None:
    planned = plan(sdxl_unet(), method, 64, 64)
    assert planned.patched == 0
    assert planned.total_after == planned.total_before
    assert planned.ceiling == 1
    assert "baseline" in planned.notes[0]


def test_a_pipeline_and_its_unet_have_the_same_plan(pipe) -> None:
    assert plan(pipe, ToDo(), 96, 64) == plan(pipe.unet, ToDo(), 96, 64)
    assert plan(pipe.unet, ToDo(), 96, 64, vae_scale_factor=4).blocks[0].tokens == 4 * (
        plan(pipe, ToDo(), 96, 64).blocks[0].tokens
    )


def test_a_plan_leaves_the_model_alone_and_is_the_same_on_a_patched_one(unet) -> None:
    unet.register_forward_pre_hook(lambda *_: pytest.fail("the model was run"))
    expected = plan(unet, ToDo(), 96, 64)
    apply_patch(unet, ToMe())
    assert plan(unet, ToDo(), 96, 64) == expected


@pytest.mark.parametrize(
    "mark",
    [{"encoder_hid_dim_type": "ip_image_proj"}, {"quantization_config": object()}],
    ids=["ip-adapter", "quantised"],
)
def test_a_plan_survives_what_others_write_into_a_configuration(unet, mark) -> None:
    expected = plan(unet, ToDo(), 64, 96)
    unet.register_to_config(**mark)
    assert plan(unet, ToDo(), 64, 96) == expected


@pytest.mark.parametrize(("height", "width"), [(0, 64), (60, 64), (64, 64.0), (True, 64), (64, "64")])
def test_a_size_that_the_vae_cannot_make_is_refused(height, width) -> None:
    with pytest.raises(ValueError, match="must be a multiple of 8 pixels"):
        plan(sdxl_unet(), ToDo(), height, width)


def test_a_plan_refuses_what_apply_patch_refuses() -> None:
    with pytest.raises(NothingToPatch, match="level 1 on latent/4"):
        plan(full("sdxl"), ToDo(factor=(2, 2, 2)), 1024, 1024)
    with pytest.raises(TypeError, match="Expected a ToDo or a ToMe"):
        plan(sdxl_unet(), "todo", 64, 64)


@pytest.mark.parametrize("method", [ToDo(until=0.4), ToMe(until=0.4)], ids=str)
def test_the_plan_of_a_part_of_the_run_says_so(method) -> None:
    assert "first 40%" in plan(sdxl_unet(), method, 64, 64).notes[-1]


def animatediff_unet() -> torch.nn.Module:
    motion = MotionAdapter(
        block_out_channels=(8, 8, 16, 16),
        motion_layers_per_block=1,
        motion_norm_num_groups=4,
        motion_num_attention_heads=2,
    )
    return UNetMotionModel.from_unet2d(sd15_unet(), motion)


VIDEO = {"sample_size": 8, "layers_per_block": 1, "cross_attention_dim": 8, "norm_num_groups": 4}
I2VGEN = {
    "block_out_channels": (32, 32),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "attention_head_dim": 8,
}
OTHER_UNETS = {
    "upscaler": partial(sd15_unet, in_channels=7, num_class_embeds=1000),  # is told how noisy its input is
    "animatediff": animatediff_unet,
    "video": partial(UNet3DConditionModel, **VIDEO, block_out_channels=(8, 8, 16, 16), attention_head_dim=4),
    "i2vgen": partial(I2VGenXLUNet, **VIDEO, **I2VGEN),
}


@pytest.mark.parametrize("make", OTHER_UNETS.values(), ids=OTHER_UNETS)
def test_what_can_be_patched_can_be_planned(make) -> None:
    unet = make()
    planned = plan(unet, ToDo(), 64, 64)
    assert planned.patched
    assert 1 < planned.speedup < planned.ceiling
    apply_patch(unet, ToDo())


def test_a_unet_whose_inputs_are_not_known_is_refused_with_a_sentence() -> None:
    unet = sd15_unet(class_embed_type="projection", projection_class_embeddings_input_dim=4)
    with pytest.raises(ValueError, match="It can be patched all the same"):
        plan(unet, ToDo(), 64, 64)
