"""What diffusers' guiders do to single blocks, on a patched UNet."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import LayerSkipConfig, StableDiffusionSAGPipeline
from diffusers.hooks import HookRegistry
from diffusers.hooks.layer_skip import apply_layer_skip

from tests.helpers.tiny_models import generate, predict, sd15_pipeline
from todo_patch import ToDo, ToMe, patched

BLOCKS = "down_blocks.1.attentions.0.transformer_blocks"  # on the finest level


def skip(unet: torch.nn.Module, **what: bool) -> None:
    config = {"skip_attention": False, "skip_ff": False} | what
    apply_layer_skip(unet, LayerSkipConfig(indices=[0], fqn=BLOCKS, **config))


def undo(unet: torch.nn.Module) -> None:
    HookRegistry.check_if_exists_or_initialize(unet).remove_hook("layer_skip_hook", recurse=True)


@pytest.mark.compatibility("PerturbedAttentionGuidance, the guider")
def test_perturbed_attention_guidance_gives_each_query_its_own_value(unet, method) -> None:
    attn = unet.get_submodule(BLOCKS)[0].attn1
    seen = []
    with patched(unet, method):
        usual = predict(unet)
        skip(unet, skip_attention_scores=True)
        handle = attn.register_forward_hook(lambda _, args, output: seen.append((args[0], output)))
        perturbed = predict(unet)
        handle.remove()
        undo(unet)
        tokens, output = seen[0]
        torch.testing.assert_close(output, attn.to_out[0](attn.to_v(tokens)))
        assert not torch.equal(perturbed, usual)


@pytest.mark.compatibility("SkipLayerGuidance, the guider")
def test_skip_layer_guidance_finds_patched_blocks(unet, method) -> None:
    with patched(unet, method):
        usual = predict(unet)
        skip(unet, skip_attention=True, skip_ff=True)
        assert not torch.equal(predict(unet), usual)
        undo(unet)


@pytest.mark.compatibility("`compile_repeated_blocks()`")
def test_all_repeated_blocks_of_a_patched_unet_are_compiled(unet, method) -> None:
    with patched(unet, method):
        unet.compile_repeated_blocks(backend="eager")
        blocks = [m for m in unet.modules() if hasattr(m, "attn1")]
        assert all(block._compiled_call_impl is not None for block in blocks)


@pytest.mark.compatibility(
    "self-attention guidance (SAG)", methods=[ToDo(merge="all"), ToMe(merge="keys-values")]
)
@pytest.mark.compatibility("self-attention guidance (SAG)")
@pytest.mark.parametrize("merge", ["keys-values", "all"])
@pytest.mark.parametrize(
    "method",
    [
        ToDo(factor=(2, 2, 2, 2)),
        ToDo(factor=(2, 2, 2, 2), grid="rotating"),
        ToDo(factor=(2, 2, 2, 2), pooling="average"),
        ToMe(levels=4),
    ],
    ids=str,
)
def test_self_attention_guidance_reads_its_map_on_a_patched_middle_block(method, merge) -> None:
    method = replace(method, merge=merge)
    pipe = StableDiffusionSAGPipeline(**sd15_pipeline().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)

    def make(method: ToDo | ToMe, **options: float) -> torch.Tensor:
        with patched(pipe, method):
            return generate(pipe, 2, height=128, width=128, **options)

    assert not torch.allclose(make(method), make(ToDo(factor=1)))
    assert not torch.allclose(make(method), make(method, sag_scale=0.0)), "the guidance had no effect"
