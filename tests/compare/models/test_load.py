from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from compare.errors import ModelNotLoaded
from compare.models import load
from compare.models.load import attention_backends, load_pipeline, with_scheduler
from tests.helpers.tiny_models import sd15_pipeline


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


def test_weights_saved_in_half_precision_run_in_float32_on_a_cpu(tiny_folder, tmp_path) -> None:
    load_pipeline(tiny_folder, dtype=torch.float16, device="cpu").pipe.save_pretrained(tmp_path / "half")
    assert load_pipeline(tmp_path / "half", device="cpu").pipe.unet.dtype == torch.float32


def test_stable_diffusion_1_5_is_loaded_as_what_it_is(tmp_path) -> None:
    sd15_pipeline().save_pretrained(tmp_path / "sd15")
    loaded = load_pipeline(tmp_path / "sd15", device="cpu")
    assert loaded.info.pipeline == "StableDiffusionPipeline"
    assert loaded.defaults.guidance_scale == 7.5


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
    next((folder / "unet").glob("*.safetensors")).write_bytes(b"broken")


def no_weights(folder) -> None:
    next((folder / "unet").glob("*.safetensors")).unlink()


def pickled_weights(folder) -> None:
    weights = next((folder / "unet").glob("*.safetensors"))
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()


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


def test_a_model_that_is_nowhere_gets_a_sentence(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for model, says in {
        str(tmp_path / "no" / "folder"): "neither a folder",
        str(tmp_path / "no.safetensors"): "There is no file",
        str(tmp_path / "old.ckpt"): "only .safetensors",
        "nobody/no-such-model": "could not be fetched",
    }.items():
        with pytest.raises(ModelNotLoaded, match=says):
            load_pipeline(model, device="cpu")


def test_a_single_file_that_is_no_model_gets_a_sentence(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "odd.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelNotLoaded, match=r"odd\.safetensors is truncated, or is no \.safetensors file"):
        load_pipeline(tmp_path / "odd.safetensors", device="cpu")


def test_a_single_file_of_something_else_gets_a_sentence(tmp_path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "adapter.safetensors")
    with pytest.raises(ModelNotLoaded, match=r"adapter\.safetensors is not a checkpoint of"):
        load_pipeline(tmp_path / "adapter.safetensors", device="cpu")


def test_a_folder_with_weights_in_half_precision_only_is_loaded(tmp_path) -> None:
    sd15_pipeline().to(dtype=torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    loaded = load_pipeline(tmp_path / "half", device="cpu")
    assert (loaded.info.variant, loaded.dtype) == ("fp16", torch.float32)


def test_a_missing_bundled_model_says_where_it_was_looked_for(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(load, "BUNDLED", tmp_path / "assets" / "mini-sdxl")
    with pytest.raises(ModelNotLoaded, match=r"looked in .*mini-sdxl"):
        load_pipeline(device="cpu")


def test_without_the_hub_the_default_falls_back_to_the_bundled_model_and_says_so(
    tiny_folder, tmp_path, monkeypatch
) -> None:
    bundled = shutil.copytree(tiny_folder, tmp_path / "assets" / "mini-sdxl")
    monkeypatch.setattr(load, "BUNDLED", bundled)
    monkeypatch.setattr(load, "_default_source", lambda device: load.SDXL)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(
        "diffusers.pipelines.pipeline_utils.HF_HUB_CACHE", str(tmp_path / "empty"), raising=False
    )
    loaded = load_pipeline(device="cpu")
    assert "running instead of Stable Diffusion XL" in loaded.fallback
    assert "could not be fetched" in loaded.fallback  # and why
    assert loaded.info.source == "assets/mini-sdxl"
    assert (loaded.defaults.width, loaded.defaults.height) == (512, 512)


def test_a_device_that_is_not_there_gets_a_sentence(tiny_folder) -> None:
    with pytest.raises(ModelNotLoaded, match="not a device"):
        load_pipeline(tiny_folder, device="abacus")


def test_xformers_is_not_offered_where_it_does_not_run(tiny_folder) -> None:
    assert attention_backends("cpu") == ("sdpa",)
    with pytest.raises(ModelNotLoaded, match="'xformers' does not run on cpu; there is sdpa"):
        load_pipeline(tiny_folder, device="cpu", attention="xformers")
