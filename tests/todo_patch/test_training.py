"""A patched UNet in training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.helpers.tiny_models import predict, sdxl_unet, unet_inputs
from todo_patch import ToDo, ToMe, apply_patch, begin_run, remove_patch


def gradients(unet: torch.nn.Module, method: ToDo | ToMe, sizes: list[int]) -> list[torch.Tensor]:
    """Of a loss over several forwards before one backward, with a picture in between."""
    unet.zero_grad()
    apply_patch(unet, method)
    begin_run(unet, steps=len(sizes) + 1)
    outputs = [unet(**unet_inputs(unet, side, side, seed=side))[0] for side in sizes]
    predict(unet, 12, 16)
    sum(output.square().mean() for output in outputs).backward()
    remove_patch(unet)
    return [weight.grad.clone() for weight in unet.parameters() if weight.grad is not None]


@pytest.mark.compatibility("training")
@pytest.mark.compatibility("gradient checkpointing")
@pytest.mark.parametrize("sizes", [[8], [8, 8], [8, 12, 8]], ids=str)
def test_gradient_checkpointing_gives_the_gradients_that_there_are_without(method, sizes) -> None:
    unet = sdxl_unet().train()
    expected = gradients(unet, method, sizes)
    unet.enable_gradient_checkpointing()
    for ours, theirs in zip(gradients(unet, method, sizes), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in unet.modules()), "a hook was left behind"


@pytest.mark.parametrize(
    "method", [ToDo(until=0.5), ToMe(until=0.5), ToMe(until=0.5, merge="keys-values")], ids=str
)
def test_so_it_does_where_the_method_is_off_by_the_time_of_the_backward(method) -> None:
    unet = sdxl_unet().train()
    expected = gradients(unet, method, [8, 12, 8])
    unet.enable_gradient_checkpointing()
    for ours, theirs in zip(gradients(unet, method, [8, 12, 8]), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.compatibility("gradient checkpointing, reentrant", result="refused: use_reentrant=False works")
def test_reentrant_checkpointing_is_refused_and_not_wrong(method) -> None:
    unet = sdxl_unet().train()

    def reentrant(function: Callable, *args: object) -> object:
        return torch.utils.checkpoint.checkpoint(function, *args, use_reentrant=True)

    unet.enable_gradient_checkpointing(reentrant)
    apply_patch(unet, method)
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        unet(**unet_inputs(unet, 8, 8))
