"""ToMe is the tomesd package with the right blocks, sizes and seed."""

from __future__ import annotations

import pytest
import tomesd
import torch

from tests.helpers.tiny_models import generate, predict, sd15_unet, sdxl_unet
from tests.todo_patch.written_out import WrittenOutMerging
from todo_patch import ToDo, ToMe, apply_patch, plan, remove_patch
from todo_patch.blocks import self_attention

SEED = 7


def tomesd_directly(make, method, max_downsample, calls, **options) -> list[torch.Tensor]:
    unet = make()
    tomesd.apply_patch(unet, method.ratio, max_downsample, method.stride, method.stride)
    torch.manual_seed(SEED)
    return [predict(unet, **options) for _ in range(calls)]


@pytest.mark.compatibility("SDXL, Stable Diffusion 1.5")
@pytest.mark.parametrize(
    ("make", "method", "max_downsample"),
    [
        (sdxl_unet, ToMe(seed=SEED), 2),
        (sdxl_unet, ToMe(ratio=0.3, levels=2, seed=SEED), 4),
        (sdxl_unet, ToMe(ratio=0.8, stride=3, seed=SEED), 2),
        (sd15_unet, ToMe(seed=SEED), 1),
        (sd15_unet, ToMe(ratio=0.5, levels=3, seed=SEED), 4),
    ],
    ids=["sdxl", "sdxl-two-levels", "sdxl-stride-3", "sd15", "sd15-three-levels"],
)
@pytest.mark.parametrize("latent", [(12, 16), (13, 18)], ids=str)
def test_tome_is_tomesd_called_directly_after_the_same_seed(make, method, max_downsample, latent) -> None:
    options = {"height": latent[0], "width": latent[1]}
    expected = tomesd_directly(make, method, max_downsample, calls=2, **options)
    unet = make()
    baseline = predict(unet, **options)
    torch.manual_seed(99)
    apply_patch(unet, method)
    for output in expected:
        assert torch.equal(predict(unet, **options), output)
    assert not torch.allclose(expected[0], baseline)


@pytest.mark.compatibility("SDXL, Stable Diffusion 1.5", methods=[ToMe(merge="keys-values")])
@pytest.mark.parametrize("make", [sdxl_unet, sd15_unet])
@pytest.mark.parametrize(
    "todo", [ToDo(factor=2), ToDo(factor=3), ToDo(factor=(2, 2)), ToDo(factor=(3, 3))], ids=str
)
@pytest.mark.parametrize("latent", [(12, 16), (13, 14)], ids=str)
@pytest.mark.parametrize("batch", [2, 1])
def test_tome_on_keys_and_values_is_the_written_out_attention(make, todo, latent, batch) -> None:
    method = ToMe.like(todo, seed=SEED, merge="keys-values")
    unet, reference = make(), make()
    generator = torch.Generator().manual_seed(SEED)
    for block in self_attention(reference):
        if block.level < method.levels:
            merging = WrittenOutMerging(block.block, latent, method.ratio, method.stride, generator)
            block.attn.set_processor(merging)
    apply_patch(unet, method)
    for _ in range(2):
        output = predict(unet, *latent, batch=batch)
        torch.testing.assert_close(output, predict(reference, *latent, batch=batch))
    assert not torch.allclose(output, predict(make(), *latent, batch=batch), rtol=1e-2, atol=1e-2)


@pytest.mark.compatibility("sizes that the factor does not divide")
@pytest.mark.parametrize("latent", [(9, 9), (4, 64), (13, 40), (17, 17)], ids=str)
@pytest.mark.parametrize(
    "method", [ToMe(levels=1), ToMe(levels=2, ratio=0.5), ToMe(levels=2, merge="keys-values")], ids=str
)
def test_merging_uses_the_grid_of_the_block_at_any_size(latent, method) -> None:
    unet = sd15_unet()
    apply_patch(unet, method)
    lengths = {}
    for block in self_attention(unet):
        for projection in (block.attn.to_q, block.attn.to_k):
            projection.register_forward_pre_hook(
                lambda _, args, name=block.name: lengths.setdefault(name, []).append(args[0].shape[1])
            )
    predict(unet, *latent)
    planned = plan(unet, method, 8 * latent[0], 8 * latent[1])
    assert lengths == {block.name: [block.query_tokens, block.kv_tokens] for block in planned.blocks}


def test_a_grid_smaller_than_the_stride_is_a_worded_error(unet) -> None:
    with pytest.raises(ValueError, match="needs grids of at least 4x4 tokens, and level 0 has 3x8"):
        plan(unet, ToMe(stride=4), 48, 128)
    apply_patch(unet, ToMe(stride=4))
    with pytest.raises(ValueError, match="larger image, a smaller stride or fewer levels"):
        predict(unet, 6, 16)
    predict(unet, 12, 16)


def test_the_seed_decides_and_not_the_global_random_state_which_is_left_alone(pipe) -> None:

    def with_seed(seed) -> torch.Tensor:
        apply_patch(pipe, ToMe(seed=seed))
        return generate(pipe, 3)

    first, other = with_seed(0), with_seed(1)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    assert torch.equal(with_seed(0), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(other, first)


def test_odd_batches_ignore_the_seed_and_the_plan_says_so(unet) -> None:
    outputs = []
    for seed in (0, 1):
        apply_patch(unet, ToMe(seed=seed))
        outputs.append(predict(unet, batch=1))
    assert torch.equal(*outputs)
    assert "odd batch" in plan(sdxl_unet(), ToMe(), 96, 128).notes[0]


GATED = (
    ToMe(merge="keys-values"),
    ToDo(),
    ToDo(grid="rotating"),
    ToDo(pooling="average"),
    ToDo(merge="all"),
)


@pytest.mark.compatibility("GLIGEN's gated blocks", methods=GATED)
@pytest.mark.compatibility(
    "GLIGEN's gated blocks", result="refused: tomesd has not these blocks", methods=[ToMe()]
)
def test_blocks_that_tomesd_would_run_wrongly_are_refused() -> None:
    unet = sdxl_unet(attention_type="gated")
    with pytest.raises(ValueError, match=r"cannot run this kind.* use merge='keys-values' or ToDo"):
        apply_patch(unet, ToMe())
    remove_patch(unet)
    baseline = predict(unet)
    for method in GATED:
        apply_patch(unet, method)
        assert not torch.allclose(predict(unet), baseline)
