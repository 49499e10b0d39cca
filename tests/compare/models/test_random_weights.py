"""UNets of published configurations, with random weights."""

from __future__ import annotations

import pytest
import torch

from compare.bench.denoising_loop import DenoisingLoop
from compare.errors import ModelNotLoaded
from compare.models.random_weights import architecture, empty_unet, random_pipeline
from tests.helpers.tiny_models import sd15_unet, sdxl_unet


@pytest.mark.parametrize(("id", "billions", "blocks"), [("sdxl", 2.57, 70), ("sd15", 0.86, 16)])
def test_architectures_have_their_published_sizes(id, billions, blocks) -> None:
    unet = empty_unet(architecture(id))
    assert sum(weight.numel() for weight in unet.parameters()) / 1e9 == pytest.approx(billions, abs=5e-3)
    assert sum(name.endswith("attn1") for name, _ in unet.named_modules()) == blocks


@pytest.mark.parametrize("make", [sdxl_unet, sd15_unet])
def test_mini_is_the_bundled_models_configuration(make, tmp_path, monkeypatch, loaded) -> None:
    monkeypatch.setattr("compare.models.source.BUNDLED", tmp_path)
    with pytest.raises(ModelNotLoaded, match="looked in"):
        random_pipeline("mini")
    make().save_config(tmp_path / "unet")
    loaded.pipe.vae.register_to_config(block_out_channels=(4, 4, 4))
    loaded.pipe.vae.save_config(tmp_path / "vae")
    mini = random_pipeline("mini", "cpu", torch.bfloat16)
    assert mini.pipe.vae_scale_factor == 4
    assert mini.dtype == torch.bfloat16
    assert "random weights" in mini.info.name
    loop = DenoisingLoop(mini, 64, 64, 2, steps=1)
    out = []
    with mini.pipe.unet.register_forward_hook(lambda unet, args, output: out.append(output[0])):
        loop.step()
    assert out[0].shape == (2, 4, 16, 16)
    assert 0.05 < out[0].std() < 20


def test_an_architecture_that_is_unknown_gets_a_sentence() -> None:
    with pytest.raises(ModelNotLoaded, match="sdxl, sd15, mini; 'sd3' is not one of them"):
        random_pipeline("sd3")
