"""Putting a method on and taking it off: what it leaves behind, and what it refuses."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from diffusers import StableDiffusionXLPAGPipeline
from diffusers.models.attention_processor import AttnProcessor2_0

from tests.helpers.tiny_models import generate, predict, sd15_unet, sdxl_pipeline, sdxl_unet, unet_inputs
from tests.todo_patch.conftest import METHODS
from todo_patch import Forecast, NothingToPatch, ToDo, ToMe, apply_patch, begin_run, patched, remove_patch
from todo_patch.blocks import self_attention


def state(unet) -> list:
    """Class, attributes and hooks of every module, compared by value where they are containers."""
    return [
        (name, type(module), {k: copy.copy(v) if isinstance(v, dict) else v for k, v in vars(module).items()})
        for name, module in unet.named_modules()
    ]


def test_removing_leaves_the_model_exactly_as_it_was(pipe, method) -> None:
    before, output, pipe_before = state(pipe.unet), predict(pipe.unet), dict(vars(pipe))
    apply_patch(pipe, method)
    assert not torch.allclose(predict(pipe.unet), output)
    for _ in range(2):  # of an unpatched model, it does nothing
        remove_patch(pipe)
        assert state(pipe.unet) == before
    assert vars(pipe) == pipe_before
    assert torch.equal(predict(pipe.unet), output)


@pytest.mark.parametrize("second", METHODS, ids=str)
def test_a_second_patch_takes_the_place_of_the_first(unet, method, second) -> None:
    fresh = sdxl_unet()
    before = state(unet)
    apply_patch(unet, method)
    predict(unet)
    apply_patch(unet, second)
    apply_patch(fresh, second)
    assert torch.equal(predict(unet), predict(fresh))
    remove_patch(unet)
    assert state(unet) == before


def test_the_context_manager_unpatches_the_unet_it_patched(pipe) -> None:
    unet = pipe.unet
    before = state(unet)
    with patched(pipe, ToDo()):
        pipe.unet = sdxl_unet(1)
    assert state(unet) == before


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_context_manager_unpatches_after_an_exception(unet, method) -> None:
    unet.conv_out.register_forward_pre_hook(interrupt)
    before = state(unet)
    with pytest.raises(KeyboardInterrupt), patched(unet, method):
        predict(unet)
    assert state(unet) == before


def test_processors_and_weights_are_untouched_while_patched(unet) -> None:
    processors, weights = dict(unet.attn_processors), dict(unet.named_parameters())
    with patched(unet, ToDo(factor=(2, 2))):
        assert unet.attn_processors == processors
        assert list(unet.state_dict()) == list(weights)
        assert all(unet.get_parameter(name) is weight for name, weight in weights.items())


@pytest.mark.compatibility("`copy.deepcopy`")
def test_a_copy_of_a_patched_unet_is_patched_by_itself(unet, method) -> None:
    baseline = predict(unet)
    apply_patch(unet, method)
    twin = copy.deepcopy(unet)
    assert torch.equal(predict(twin), predict(unet))
    remove_patch(twin)
    assert torch.equal(predict(twin), baseline)
    assert not torch.allclose(predict(unet), baseline)


@pytest.mark.parametrize("method", [ToDo(factor=(2, 2, 2)), ToMe(levels=3)], ids=str)
def test_more_levels_than_the_model_has_is_an_error_that_lists_its_grids(unet, method) -> None:
    with pytest.raises(NothingToPatch, match=r"level 0 on latent/2 \(3 blocks\), level 1"):
        apply_patch(unet, method)
    apply_patch(sd15_unet(), method)


def test_a_unet_without_self_attention_has_nothing_to_patch() -> None:
    unet = sd15_unet(only_cross_attention=True, mid_block_type=None)
    with pytest.raises(NothingToPatch, match="no self-attention"):
        apply_patch(unet, ToDo())


def test_a_level_that_the_model_skips_is_an_error() -> None:
    """Self-attention on latent/1 and latent/4, and none between them."""
    unet = sd15_unet(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D",) * 4,
        mid_block_type=None,
    )
    with pytest.raises(NothingToPatch, match=r"level 0 on latent/1 \(1 blocks\), level 2 on latent/4"):
        apply_patch(unet, ToDo(factor=(1, 2)))
    apply_patch(unet, ToDo(factor=(1, 1, 2)))
    apply_patch(unet, ToDo(factor=(1, 1)))


def test_blocks_with_cross_attention_only_are_skipped() -> None:
    unet = sd15_unet(only_cross_attention=(True, False, False, False))
    assert {(block.level, block.depth) for block in self_attention(unet)} == {(0, 1), (1, 2), (2, 3)}
    apply_patch(unet, ToDo())
    predict(unet)


@pytest.mark.parametrize("model", [None, "unet", torch.nn.Linear(1, 1)], ids=str)
def test_a_model_without_a_unet_is_a_type_error(model) -> None:
    with pytest.raises(TypeError, match="Expected a diffusers pipeline with a UNet"):
        apply_patch(model, ToDo())


@pytest.mark.parametrize("method", [None, "todo", 2, ToDo], ids=["none", "name", "number", "class"])
def test_anything_but_a_method_is_a_type_error(method) -> None:
    with pytest.raises(TypeError, match="Expected a ToDo or a ToMe"):
        apply_patch(sdxl_unet(), method)


KEYS_AND_VALUES = [ToDo(), ToDo(grid="rotating"), ToDo(pooling="average"), ToMe(merge="keys-values")]
ALL_TOKENS = [ToDo(merge="all"), ToMe()]


@pytest.mark.compatibility(
    "`fuse_qkv_projections()`", result="refused: keys come from other tokens than queries"
)
@pytest.mark.parametrize("fuse_first", [True, False])
@pytest.mark.parametrize("method", KEYS_AND_VALUES, ids=str)
def test_fused_projections_are_refused_and_the_advice_heals(unet, method, fuse_first) -> None:
    if fuse_first:
        unet.fuse_qkv_projections()
        before = state(unet)
        with pytest.raises(ValueError, match="unfuse_qkv_projections"):
            apply_patch(unet, method)
        assert state(unet) == before
    else:
        apply_patch(unet, method)
        unet.fuse_qkv_projections()
        with pytest.raises(ValueError, match="unfuse_qkv_projections"):
            predict(unet)
    unet.unfuse_qkv_projections()
    apply_patch(unet, method)
    other = sdxl_unet()
    apply_patch(other, method)
    torch.testing.assert_close(predict(unet), predict(other))


@pytest.mark.compatibility("`fuse_qkv_projections()`")
@pytest.mark.parametrize("method", ALL_TOKENS, ids=str)
def test_merging_all_tokens_works_with_fused_projections(unet, method) -> None:
    apply_patch(unet, method)
    separate = predict(unet)
    remove_patch(unet)
    unet.fuse_qkv_projections()
    apply_patch(unet, method)
    torch.testing.assert_close(predict(unet), separate)


class Storing(AttnProcessor2_0):
    """As those of Prompt-to-Prompt."""

    def __call__(self, attn: object, hidden_states: torch.Tensor, encoder_hidden_states=None, **_: object):  # noqa: ANN204
        is_cross = encoder_hidden_states is not None
        self.is_cross = is_cross
        return super().__call__(attn, hidden_states, encoder_hidden_states)


PROMPT_TO_PROMPT = "processors that take any keys for a prompt (Prompt-to-Prompt, Attend-and-Excite)"


@pytest.mark.compatibility(
    PROMPT_TO_PROMPT,
    result="refused: they would take the image for a prompt",
)
@pytest.mark.parametrize("patch_first", [True, False])
@pytest.mark.parametrize("method", KEYS_AND_VALUES, ids=str)
def test_a_processor_that_takes_any_keys_for_a_prompt_is_refused(unet, method, patch_first) -> None:
    if patch_first:
        apply_patch(unet, method)
    self_attention(unet)[0].attn.set_processor(Storing())
    with pytest.raises(ValueError, match="Storing, which takes any keys"):
        predict(unet) if patch_first else apply_patch(unet, method)


@pytest.mark.compatibility(PROMPT_TO_PROMPT)
@pytest.mark.parametrize("method", ALL_TOKENS, ids=str)
def test_such_a_processor_sees_no_prompt_if_all_tokens_are_merged(unet, method) -> None:
    attn = self_attention(unet)[0].attn
    attn.set_processor(Storing())
    apply_patch(unet, method)
    predict(unet)
    assert attn.processor.is_cross is False


@pytest.mark.compatibility(
    "perturbed attention guidance (PAG), the pipelines", methods=[*KEYS_AND_VALUES, *ALL_TOKENS]
)
@pytest.mark.parametrize("layer", ["mid", "down_blocks.1"], ids=["beside", "on"])
def test_perturbed_attention_guidance_works_on_and_beside_patched_blocks(layer) -> None:
    pipe = StableDiffusionXLPAGPipeline(**sdxl_pipeline().components, pag_applied_layers=[layer])
    pipe.set_progress_bar_config(disable=True)

    def make(method, **options) -> torch.Tensor:
        with patched(pipe, method):
            return generate(pipe, 2, **options)

    processors = pipe.unet.attn_processors
    for method in (*KEYS_AND_VALUES, *ALL_TOKENS):
        assert not torch.allclose(make(method), make(ToDo(factor=1)))
        assert not torch.allclose(make(method), make(method, pag_scale=0)), "the guidance had no effect"
    assert pipe.unet.attn_processors == processors


@pytest.mark.parametrize("inner", [ToMe(), ToDo(factor=1)], ids=str)
def test_a_block_inside_a_block_gives_back_the_outer_method(unet, inner) -> None:
    baseline = predict(unet)
    with patched(unet, ToDo(factor=2)) as model:
        assert model is unet
        outer = predict(unet)
        with patched(unet, inner):
            assert not torch.equal(predict(unet), outer)
        assert torch.equal(predict(unet), outer)
    assert torch.equal(predict(unet), baseline)


def test_a_refused_block_inside_a_block_gives_back_the_outer_method(unet) -> None:
    unet.fuse_qkv_projections()
    with patched(unet, ToMe()):
        outer = predict(unet)
        with pytest.raises(ValueError, match="fused"), patched(unet, ToDo()):
            pytest.fail("it was not refused")
        assert torch.equal(predict(unet), outer)


@pytest.mark.compatibility("two threads in one UNet", result="refused: give each a copy")
@pytest.mark.parametrize("method", [*METHODS, Forecast()], ids=str)
def test_two_threads_in_one_patched_unet_are_refused_and_the_first_one_is_right(unet, method) -> None:
    apply_patch(unet, method)
    begin_run(unet, steps=4)
    expected = predict(unet)
    begin_run(unet, steps=4)
    inside, refused = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        inside.set()
        assert refused.wait(20)

    handle = unet.conv_in.register_forward_pre_hook(hold)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(predict, unet)
        assert inside.wait(20)
        with pytest.raises(RuntimeError, match="Two threads"):
            predict(unet)
        refused.set()
        assert torch.equal(first.result(), expected)
    handle.remove()
    predict(unet)


def test_a_call_that_fails_is_no_call_in_progress(unet) -> None:
    apply_patch(unet, ToDo())
    wrong = unet_inputs(unet, 8, 8) | {"encoder_hidden_states": torch.zeros(2, 5, 3)}
    with ThreadPoolExecutor(1) as other, pytest.raises(RuntimeError):
        other.submit(unet, **wrong).result()
    predict(unet)
