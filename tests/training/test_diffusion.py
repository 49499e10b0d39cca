from __future__ import annotations

import torch
from torch import Tensor

from training.diffusion import velocity_loss
from training.model import TRAIN_TIMESTEPS, build_scheduler

CROPS = 8


def test_every_crop_of_a_batch_has_a_timestep_of_another_part_of_the_range_whatever_their_order() -> None:
    asked: list[Tensor] = []

    def denoiser(latents: Tensor, timesteps: Tensor, tokens: Tensor, time_ids: Tensor) -> Tensor:
        asked.append(timesteps)
        return latents

    torch.manual_seed(0)
    for _ in range(64):
        velocity_loss(
            denoiser,
            build_scheduler().alphas_cumprod,
            torch.zeros(CROPS, 4, 2, 2),
            torch.zeros(CROPS, 77),
            torch.zeros(CROPS, 6),
        )
    parts = torch.stack(asked) * CROPS // TRAIN_TIMESTEPS
    assert (parts.sort(dim=1).values == torch.arange(CROPS)).all()
    assert {len(set(crop.tolist())) for crop in parts.T} == {CROPS}  # each crop has had every part
