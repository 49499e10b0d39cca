"""ToDo computes what the paper says, on any UNet."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, IPAdapterAttnProcessor2_0, SlicedAttnProcessor
from diffusers.models.embeddings import ImageProjection, MultiIPAdapterImageProjection
from torch.utils._pytree import tree_map_only

from tests.helpers.tiny_models import generate, predict, sd15_unet, sdxl_pipeline, sdxl_unet, unet_inputs
from tests.todo_patch.written_out import WrittenOutAttention
from todo_patch import ToDo, ToMe, apply_patch, begin_run, patched
from todo_patch.blocks import self_attention
from todo_patch.grid import offset_order

MODELS = {"sdxl": sdxl_unet, "sd15": sd15_unet}


def write_out(unet, method, latent) -> None:
    """Put the written-out attention on every block that the method patches."""
    blocks = [b for b in self_attention(unet) if b.level < method.levels and method.factors[b.level] > 1]
    for number, block in enumerate(blocks):
        factor = method.factors[block.level]
        offsets = [None] if method.pooling == "average" else [(0, 0)]
        if method.grid == "rotating":
            order = offset_order(factor)
            offsets = [order[(step + number) % factor**2] for step in range(factor**2)]
        block.attn.set_processor(WrittenOutAttention(latent, factor, offsets, method.merge))


@pytest.mark.compatibility("SDXL, Stable Diffusion 1.5")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "method",
    [
        *[ToDo(factor=f, pooling=p) for f in (2, 3, 4) for p in ("nearest", "average")],
        ToDo(factor=(4, 2)),
        ToDo(factor=(1, 2)),
        ToDo(factor=(3, 2), pooling="average"),
        *[ToDo(factor=f, pooling=p, merge="all") for f in (2, 3, (4, 2)) for p in ("nearest", "average")],
    ],
    ids=str,
)
@pytest.mark.parametrize("latent", [(12, 16), (5, 22)], ids=str)
def test_todo_is_the_written_out_attention(model, method, latent) -> None:
    unet, reference = MODELS[model](), MODELS[model]()
    baseline = predict(unet, *latent)
    apply_patch(unet, method)
    write_out(reference, method, latent)
    output = predict(unet, *latent)
    torch.testing.assert_close(output, predict(reference, *latent))
    assert not torch.allclose(output, baseline, rtol=1e-2, atol=1e-2)


@pytest.mark.compatibility("SDXL, Stable Diffusion 1.5", methods=[ToDo(grid="rotating")])
@pytest.mark.parametrize("factor", [2, 3, (4, 2)])
@pytest.mark.parametrize("merge", ["keys-values", "all"])
@pytest.mark.parametrize("latent", [(12, 16), (13, 9)], ids=str)
def test_every_offset_of_the_rotating_grid_is_the_written_out_attention(factor, merge, latent) -> None:
    method = ToDo(factor=factor, grid="rotating", merge=merge)
    unet, reference = sdxl_unet(), sdxl_unet()
    apply_patch(unet, method)
    write_out(reference, method, latent)
    for _ in range(method.factors[0] ** 2 + 1):
        torch.testing.assert_close(predict(unet, *latent), predict(reference, *latent))


@pytest.mark.parametrize(
    "method",
    [
        ToDo(factor=2),
        ToDo(factor=(3, 2)),
        ToDo(pooling="average"),
        ToDo(factor=(2, 2), grid="rotating"),
        ToDo(factor=(2, 2), grid="rotating", merge="all"),
    ],
    ids=str,
)
def test_todo_is_the_written_out_attention_through_a_whole_pipeline(method) -> None:
    pipe, reference = sdxl_pipeline(), sdxl_pipeline()
    write_out(reference.unet, method, (9, 12))
    expected = generate(reference, 5, height=72, width=96)
    with patched(pipe, method):
        output = generate(pipe, 5, height=72, width=96)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "method", [ToDo(factor=1), ToDo(factor=(1, 1)), ToDo(until=0), ToMe(ratio=0)], ids=str
)
def test_asking_for_nothing_is_the_baseline_bit_for_bit(model, method) -> None:
    unet = MODELS[model]()
    baseline = predict(unet)
    apply_patch(unet, method)
    assert torch.equal(predict(unet), baseline)
    assert not unet._forward_pre_hooks


def test_each_image_of_a_batch_is_as_if_alone(unet) -> None:
    apply_patch(unet, ToDo())
    inputs = unet_inputs(unet, 8, 8, batch=3)
    with torch.no_grad():
        together = unet(**inputs)[0]
        for image in (slice(0, 1), slice(1, 2), slice(2, 3)):
            alone = tree_map_only(torch.Tensor, lambda t, at=image: t[at] if t.ndim else t, inputs)
            torch.testing.assert_close(together[image], unet(**alone)[0])


@pytest.mark.compatibility("another attention processor")
@pytest.mark.parametrize("processor", [AttnProcessor(), SlicedAttnProcessor(1)], ids=["plain", "sliced"])
@pytest.mark.parametrize("method", [ToDo(factor=(2, 2)), ToDo(factor=(2, 2), merge="all")], ids=str)
def test_an_installed_attention_processor_stays_and_does_the_attention(processor, method) -> None:
    unet, other = sdxl_unet(), sdxl_unet()
    other.set_attn_processor(processor)
    apply_patch(unet, method)
    apply_patch(other, method)
    assert all(block.attn.processor is processor for block in self_attention(other))
    torch.testing.assert_close(predict(other), predict(unet))


def add_ip_adapter(unet) -> None:
    torch.manual_seed(0)
    width = unet.config.cross_attention_dim
    unet.encoder_hid_proj = MultiIPAdapterImageProjection(
        [ImageProjection(8, width, num_image_text_embeds=4)]
    )
    unet.config.encoder_hid_dim_type = "ip_image_proj"
    for block in self_attention(unet):
        attn = block.block.attn2
        attn.set_processor(IPAdapterAttnProcessor2_0(attn.query_dim, width, num_tokens=(4,)))


@pytest.mark.compatibility("IP-Adapter", methods=[ToDo()])
def test_todo_works_beside_an_ip_adapter() -> None:
    unet, reference = sdxl_unet(), sdxl_unet()
    inputs = unet_inputs(unet, 12, 16)
    inputs["added_cond_kwargs"]["image_embeds"] = [torch.randn(2, 1, 8)]
    for model in (unet, reference):
        add_ip_adapter(model)
    apply_patch(unet, ToDo())
    write_out(reference, ToDo(), (12, 16))
    with torch.no_grad():
        torch.testing.assert_close(unet(**inputs)[0], reference(**inputs)[0])


def one_level_unet() -> torch.nn.Module:
    return sd15_unet(
        down_block_types=("CrossAttnDownBlock2D",) + ("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3 + ("CrossAttnUpBlock2D",),
        mid_block_type=None,
    )


@pytest.mark.compatibility("`attention_mask` over the image", methods=[ToDo(), ToDo(merge="all")])
@pytest.mark.parametrize("merge", ["keys-values", "all"])
def test_an_attention_mask_is_sampled_along(merge) -> None:
    unet = one_level_unet()
    keep = torch.ones(2, 64)
    keep[:, 9::2] = 0  # of every cell below the first row, the token that ToDo keeps stays
    keep[:, 1::2] = 0
    apply_patch(unet, ToDo(merge=merge))
    inputs = unet_inputs(unet, 8, 8)
    with torch.no_grad():
        unmasked = unet(**inputs)[0]
        torch.testing.assert_close(unet(**inputs, attention_mask=keep)[0], unmasked)
        keep[:, 16] = 0
        assert not torch.allclose(unet(**inputs, attention_mask=keep)[0], unmasked)


@pytest.mark.compatibility("`attention_mask` over the image", methods=[ToDo(grid="rotating")])
def test_an_attention_mask_goes_round_with_the_grid(monkeypatch) -> None:
    unet = one_level_unet()
    attn = self_attention(unet)[0].attn
    keep = (torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.7).float()
    seen = []
    usual = torch.nn.functional.scaled_dot_product_attention

    def attend(*args, attn_mask=None, **options) -> torch.Tensor:
        seen.append(attn_mask)
        return usual(*args, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    apply_patch(unet, ToDo(grid="rotating"))
    first = []
    handle = attn.register_forward_pre_hook(lambda *_: first.append(len(seen)))
    begin_run(unet, steps=4)
    for _ in range(4):
        with torch.no_grad():
            unet(**unet_inputs(unet, 8, 8), attention_mask=keep.flatten(1))
    handle.remove()
    for (row, column), call in zip(offset_order(2), first, strict=True):
        kept = keep[:, row::2, column::2].flatten(1)
        assert torch.equal(seen[call][:, 0, 0] == 0, kept == 1)


@pytest.mark.compatibility(
    "`attention_mask` over the image", result="refused: it can be neither averaged nor merged"
)
@pytest.mark.parametrize("method", [ToDo(pooling="average"), ToMe(), ToMe(merge="keys-values")], ids=str)
def test_an_attention_mask_is_neither_averaged_nor_merged_but_refused(method) -> None:
    unet = sd15_unet()
    apply_patch(unet, method)
    with pytest.raises(ValueError, match="attention_mask"):
        unet(**unet_inputs(unet, 8, 8), attention_mask=torch.ones(2, 64))


def test_a_patched_unet_can_be_trained_after_inference(unet) -> None:
    apply_patch(unet, ToDo(grid="rotating"))
    with torch.inference_mode():
        unet(**unet_inputs(unet, 8, 8))
    for _ in range(2):
        unet(**unet_inputs(unet, 8, 8))[0].sum().backward()
    assert all(block.attn.to_k.weight.grad.abs().sum() > 0 for block in self_attention(unet))


@pytest.mark.compatibility("another image size in each call")
def test_image_sizes_may_change_from_call_to_call(unet, method) -> None:
    apply_patch(unet, method)
    outputs = []
    for size in ((12, 16), (7, 5), (12, 16)):
        begin_run(unet, steps=1)
        outputs.append(predict(unet, *size))
    assert torch.equal(outputs[0], outputs[2])


def test_calling_around_the_unet_is_an_error_not_a_surprise(unet) -> None:
    apply_patch(unet, ToDo())
    predict(unet, 8, 8)
    with pytest.raises(RuntimeError, match="Call the model itself"):
        unet.forward(**unet_inputs(unet, 12, 16))
