"""Loading a pipeline folder of this machine."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from compare.errors import ModelNotLoaded
from compare.models.load import load_pipeline, with_scheduler
from tests.helpers.tiny_models import sd15_pipeline

UNET = "unet/diffusion_pytorch_model.safetensors"


def test_a_folder_is_loaded_in_float32_on_a_cpu(tiny_folder) -> None:
    loaded = load_pipeline(tiny_folder, device="cpu")
    assert loaded.dtype == torch.float32
    assert loaded.pipe.vae.dtype == torch.float32
    assert loaded.info.pipeline == "StableDiffusionXLPipeline"
    assert loaded.info.source == str(tiny_folder)
    assert loaded.info.attention == "sdpa"
    assert loaded.info.unet_parameters > 100_000
    assert loaded.fallback is None
    assert len(loaded.examples) >= 3


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_weights_in_half_precision_run_in_float32_on_a_cpu(tmp_path, variant) -> None:
    sd15_pipeline().to(dtype=torch.float16).save_pretrained(tmp_path / "half", variant=variant)
    loaded = load_pipeline(tmp_path / "half", device="cpu")
    assert (loaded.info.variant, loaded.dtype) == (variant, torch.float32)


def test_the_vocabulary_beside_a_pipeline_is_read(tiny_folder, tmp_path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "words")
    words = {
        "objects": ["fox"],
        "backgrounds": ["mint"],
        "words": ["a", "fox"],
        "names": {"foxes": "fox", "fox": "fox", "mint": "mint"},
        "examples": ["a fox on mint"],
    }
    (folder / "vocabulary.json").write_text(json.dumps(words))
    loaded = load_pipeline(folder, device="cpu")
    assert loaded.vocabulary.words == ("a", "fox")
    assert loaded.vocabulary.asked("two foxes") == ("fox",)
    assert loaded.classifier_file is None
    assert loaded.examples == ("a fox on mint",)
    (folder / "vocabulary.json").write_text("{}")
    with pytest.raises(ModelNotLoaded, match=r"vocabulary\.json is broken"):
        load_pipeline(folder, device="cpu")


def test_another_scheduler_takes_over_the_settings_that_it_knows(loaded) -> None:
    usual = loaded.pipe.scheduler.config
    other = with_scheduler(loaded, "HeunDiscreteScheduler")
    assert other.info.scheduler == type(other.pipe.scheduler).__name__ == "HeunDiscreteScheduler"
    assert other.pipe.scheduler.config.prediction_type == usual.prediction_type
    for name in ("NoScheduler", "UNet2DConditionModel", "__name__"):
        with pytest.raises(ModelNotLoaded, match="has no scheduler"):
            with_scheduler(loaded, name)


def test_loading_and_running_prints_nothing(tiny_folder, capfd, recwarn) -> None:
    load_pipeline(tiny_folder, device="cpu")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def wrong_class(folder) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))


def broken_weights(folder) -> None:
    (folder / UNET).write_bytes(b"broken")


def no_weights(folder) -> None:
    (folder / UNET).unlink()


def pickled_weights(folder) -> None:
    (folder / UNET).rename((folder / UNET).with_suffix(".bin"))


def no_index(folder) -> None:
    (folder / "model_index.json").unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (wrong_class, "is a FluxPipeline; this works with"),
        (broken_weights, "seems broken"),
        (no_weights, r"lacks weights as \.safetensors"),
        (pickled_weights, r"lacks weights as \.safetensors: other formats are not read"),
        (no_index, r"no model_index\.json"),
    ],
)
def test_a_damaged_folder_gets_a_sentence(tiny_folder, tmp_path, damage, says) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(ModelNotLoaded, match=says) as caught:
        load_pipeline(folder, device="cpu")
    assert "damaged" in str(caught.value)
    assert "\n" not in str(caught.value)
