"""torch.jit.trace and torch.export keep what a call did for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.helpers.tiny_models import small_unet, unet_inputs
from todo_patch import Forecast, ToDo, ToMe, patched

pytestmark = [
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # the model's own branches
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
]


class Plain(torch.nn.Module):
    """Positional arguments in, a tensor out."""

    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        return self.unet(sample, timestep, prompt, return_dict=False)[0]


def trace(model: torch.nn.Module, inputs: tuple) -> Callable:
    return torch.jit.trace(model, inputs, check_trace=False)


def export(model: torch.nn.Module, inputs: tuple) -> Callable:
    return torch.export.export(model, inputs).module()


@pytest.fixture
def model_and_inputs() -> tuple[Plain, tuple]:
    unet = small_unet()
    inputs = unet_inputs(unet, 8, 8)
    return Plain(unet), (inputs["sample"], inputs["timestep"], inputs["encoder_hidden_states"])


@pytest.mark.compatibility("`torch.jit.trace`, `torch.export`")
@pytest.mark.parametrize("freeze", [trace, export])
@pytest.mark.parametrize("method", [ToDo(), ToDo(pooling="average"), ToDo(merge="all")], ids=str)
def test_what_is_the_same_in_every_call_can_be_traced(model_and_inputs, freeze, method) -> None:
    model, inputs = model_and_inputs
    with torch.no_grad(), patched(model.unet, method):
        torch.testing.assert_close(freeze(model, inputs)(*inputs), model(*inputs))


@pytest.mark.compatibility(
    "`torch.jit.trace`, `torch.export`", result="refused: it is not the same in every call"
)
@pytest.mark.parametrize("freeze", [trace, export])
@pytest.mark.parametrize(
    "method",
    [ToDo(grid="rotating"), ToDo(until=0.5), ToMe(), ToMe(merge="keys-values"), Forecast()],
    ids=str,
)
def test_what_changes_from_call_to_call_is_refused(model_and_inputs, freeze, method) -> None:
    model, inputs = model_and_inputs
    with (
        torch.no_grad(),
        patched(model.unet, method),
        pytest.raises(RuntimeError, match="traced or exported"),
    ):
        freeze(model, inputs)
