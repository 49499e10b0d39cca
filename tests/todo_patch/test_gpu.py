"""What only a GPU can show."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

from tests.helpers.tiny_models import sdxl_unet, unet_inputs
from tests.todo_patch.conftest import METHODS
from todo_patch import ToDo, ToMe, apply_patch, begin_run, patched

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
every_method = pytest.mark.parametrize("method", [*METHODS, ToDo(until=0.5)], ids=str)


def call(unet: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        return unet(**inputs)[0]


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a.float() - b.float()).norm() / b.float().norm()).item()


@every_method
def test_a_patched_step_never_waits_for_the_gpu(method) -> None:
    unet = sdxl_unet().half().cuda()
    sizes = [unet_inputs(unet, *latent) for latent in ((32, 32), (27, 40))]  # all of it is there by now
    for inputs in sizes:
        call(unet, inputs)  # libraries start, kernels are chosen
    apply_patch(unet, method)
    begin_run(unet, steps=4)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for inputs in (*sizes, *sizes):
            call(unet, inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@every_method
def test_runs_leave_no_memory_behind(method) -> None:
    unet = sdxl_unet().half().cuda()
    inputs = unet_inputs(unet, 32, 32)

    def run() -> int:
        with patched(unet, method):
            begin_run(unet, steps=5)
            for _ in range(5):
                call(unet, inputs)
        gc.collect()
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    run()
    settled = run()
    assert {run() for _ in range(10)} == {settled}


def test_tome_makes_the_same_choice_for_the_same_seed_whatever_ran_before() -> None:
    """Not bit for bit: the mean over merged tokens is an atomic sum on CUDA."""
    unet = sdxl_unet().cuda()
    inputs = unet_inputs(unet, 32, 32)

    def output(seed: int) -> torch.Tensor:
        with patched(unet, ToMe(seed=seed)):
            return call(unet, inputs)

    state = torch.cuda.get_rng_state()
    first, other = output(0), output(1)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    torch.rand(1000, device="cuda")
    again = output(0)
    assert distance(again, first) < 1e-4 < distance(other, first)
