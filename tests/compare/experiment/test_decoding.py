from __future__ import annotations

from unittest.mock import Mock

import pytest
import torch

from compare import request as requests
from compare.experiment.decoding import clean_estimate, preview
from compare.experiment.measure import prepare
from compare.experiment.worker import run
from compare.script import script_for
from tests.helpers.run import finished

SIDE = 96  # larger than the tiles of the tiny VAE, which are its training size, 64


def test_every_picture_of_a_large_request_is_decoded_in_tiles(loaded, request_for, monkeypatch) -> None:
    tiled_decode = Mock(wraps=loaded.pipe.vae.tiled_decode)
    monkeypatch.setattr(loaded.pipe.vae, "tiled_decode", tiled_decode)
    asked = request_for(width=SIDE, height=SIDE, steps=1, methods=("baseline", "todo"))
    whole = finished(run(loaded, asked))
    assert not tiled_decode.called
    monkeypatch.setattr(requests, "TILED_ABOVE", SIDE * SIDE - 1)
    tiled = finished(run(loaded, asked))
    decoded = [call.args[0].shape for call in tiled_decode.call_args_list]
    assert decoded == [(1, 4, SIDE // 8, SIDE // 8)] * 3  # the first is decoded to warm up
    for method in asked.methods:
        assert tiled.result(method).image.size == (SIDE, SIDE)
        assert tiled.result(method).image.tobytes() != whole.result(method).image.tobytes()
    assert any("decoded in overlapping tiles" in note for note in tiled.notes)
    assert not loaded.pipe.vae.use_tiling


def test_the_vae_is_left_as_it_was_when_a_run_fails(loaded, request_for, monkeypatch) -> None:
    monkeypatch.setattr(requests, "TILED_ABOVE", 0)
    monkeypatch.setattr(loaded.pipe.unet, "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(run(loaded, request_for()))
    assert not loaded.pipe.vae.use_tiling


def test_the_size_alone_decides(loaded, request_for) -> None:
    assert not request_for(width=1536, height=1536).is_tiled
    assert not request_for(width=2048, height=1024).is_tiled
    assert request_for(width=2048, height=2048).is_tiled
    small, large = request_for(width=1024, height=1024), request_for(width=2048, height=2048)
    assert "enable_tiling" in script_for(large, "todo", loaded.info)
    assert "enable_tiling" not in script_for(small, "todo", loaded.info)
    assert not any("tiles" in note for note in prepare(loaded, small).notes)


def test_the_estimate_of_an_euler_step_is_the_schedulers_own(loaded) -> None:
    scheduler = loaded.pipe.scheduler
    scheduler.set_timesteps(10)
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(1, 4, 8, 8, generator=generator) * scheduler.init_noise_sigma
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    step = scheduler.step(noise, scheduler.timesteps[0], before)
    estimate = clean_estimate(scheduler, before, step.prev_sample, 0)
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
