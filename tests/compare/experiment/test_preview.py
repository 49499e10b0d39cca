from __future__ import annotations

import pytest
import torch

from compare.experiment.preview import _clean_estimate, preview


def test_the_estimate_of_an_euler_step_is_the_schedulers_own(loaded) -> None:
    scheduler = loaded.pipe.scheduler
    scheduler.set_timesteps(10)
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(1, 4, 8, 8, generator=generator) * scheduler.init_noise_sigma
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    step = scheduler.step(noise, scheduler.timesteps[0], before)
    estimate = _clean_estimate(scheduler, before, step.prev_sample, 0)
    torch.testing.assert_close(estimate, step.pred_original_sample, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (128, 128), (100, 256)])
def test_a_preview_is_small_and_keeps_the_shape(loaded, size) -> None:
    image = preview(loaded.pipe, None, torch.randn(2, 4, *size), 0)
    width, height = image.size
    assert max(width, height) <= 48 * 8
    assert width / height == pytest.approx(size[1] / size[0], rel=0.05)


def test_latents_that_are_no_numbers_make_no_noise(loaded, recwarn) -> None:
    preview(loaded.pipe, None, torch.full((1, 4, 8, 8), float("nan")), 0)
    assert not recwarn.list
