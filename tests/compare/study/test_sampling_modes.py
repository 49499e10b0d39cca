"""The sampling modes of the authors' code, against what ToDo has."""

from __future__ import annotations

import pytest
import torch

from compare.study.sampling_modes import SAMPLING_MODES, interpolate
from compare.study.studied import studied_method
from compare.study.sweep import StudyRequest
from tests.helpers.tiny_models import generate
from tests.helpers.traces import traces_of_a_patch
from tests.todo_patch.written_out import downsample

GRID = (12, 24)
TOKENS = torch.randn(2, 12 * 24, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_nearest_exact_is_the_token_at_the_centre(factor) -> None:
    centre = downsample(TOKENS, GRID, factor, (factor // 2, factor // 2))
    assert torch.equal(interpolate(TOKENS, GRID, factor, "nearest-exact"), centre)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_odd_factors_have_a_token_at_the_centre_and_every_mode_takes_it(mode) -> None:
    centre = downsample(TOKENS, GRID, 3, (1, 1))
    torch.testing.assert_close(interpolate(TOKENS, GRID, 3, mode), centre)


def test_bilinear_with_factor_two_is_the_average() -> None:
    torch.testing.assert_close(interpolate(TOKENS, GRID, 2, "bilinear"), downsample(TOKENS, GRID, 2, None))


@pytest.mark.parametrize("method", [method.id for method in SAMPLING_MODES])
def test_a_mode_changes_the_picture_and_leaves_the_model(loaded, method) -> None:
    request = StudyRequest(
        prompt="a fox", width=72, height=64, steps=2, guidance_scale=4.0, methods=(method,)
    )
    baseline = generate(loaded.pipe, 2, height=64, width=72)
    with studied_method(method).on(loaded.pipe, request):
        assert not torch.allclose(generate(loaded.pipe, 2, height=64, width=72), baseline)
    assert torch.equal(generate(loaded.pipe, 2, height=64, width=72), baseline)
    assert traces_of_a_patch(loaded.pipe) == []
