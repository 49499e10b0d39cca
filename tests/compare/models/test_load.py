"""Loading a pipeline folder of this machine, and what is said of models that are not there."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from compare.errors import ModelNotLoaded
from compare.models import source
from compare.models.load import load_pipeline, with_scheduler
from compare.models.placement import attention_backends
from tests.helpers.load_errors import load_error
from tests.helpers.tiny_models import sd15_pipeline

INDEX = "model_index.json"
UNET = "unet/diffusion_pytorch_model.safetensors"
PICKLED = "unet/diffusion_pytorch_model.bin"


def test_a_folder_is_loaded_in_float32_on_a_cpu_and_quietly(tiny_folder, capfd, recwarn) -> None:
    loaded = load_pipeline(tiny_folder, device="cpu")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
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
    shutil.copy(source.BUNDLED / "vocabulary.json", folder)
    loaded = load_pipeline(folder, device="cpu")
    assert {"a", "fox"} < set(loaded.vocabulary.words)
    assert loaded.vocabulary.asked("two foxes") == ("fox",)
    assert loaded.classifier_file is None
    assert loaded.examples == loaded.vocabulary.examples
    (folder / "vocabulary.json").write_text("{}")
    assert "vocabulary.json is broken" in load_error(folder)


def test_another_scheduler_takes_over_the_settings_that_it_knows(loaded) -> None:
    usual = loaded.pipe.scheduler.config
    other = with_scheduler(loaded, "HeunDiscreteScheduler")
    assert other.info.scheduler == type(other.pipe.scheduler).__name__ == "HeunDiscreteScheduler"
    assert other.pipe.scheduler.config.prediction_type == usual.prediction_type
    for name in ("NoScheduler", "UNet2DConditionModel", "__name__"):
        with pytest.raises(ModelNotLoaded, match="has no scheduler"):
            with_scheduler(loaded, name)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({INDEX: b'{"_class_name": "FluxPipeline"}'}, "is a FluxPipeline; this works with"),
        ({UNET: b"broken"}, "seems broken"),
        ({UNET: None}, "lacks weights as .safetensors"),
        ({UNET: None, PICKLED: b"weights"}, "lacks weights as .safetensors: other formats are not read"),
        ({INDEX: None}, "no model_index.json"),
    ],
    ids=["another class", "broken", "no weights", "pickled", "no index"],
)
def test_a_damaged_folder_gets_a_sentence(tiny_folder, tmp_path, files, says) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "damaged")
    for name, content in files.items():
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    sentence = load_error(folder)
    assert says in sentence
    assert "damaged" in sentence


@pytest.mark.parametrize(
    ("part", "weights"),
    [("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"), ("text_encoder", "model")],
)
def test_an_index_of_shards_cannot_name_another_format(tiny_folder, tmp_path, part, weights) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "sharded")
    whole = folder / part / f"{weights}.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    torch.save(tensors, folder / part / "shard.bin")
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(tensors, "shard.bin")}
    (folder / part / f"{weights}.safetensors.index.json").write_text(json.dumps(index))
    assert "has weights in shard.bin: only .safetensors are read" in load_error(folder)
    assert torch.load.__module__ == "torch.serialization"


@pytest.mark.parametrize(
    "settings",
    [
        {"attn_implementation": "kernels-community/flash-attn"},
        {"_attn_implementation": "someone/kernel@main"},
        {"text_config": {"_attn_implementation_internal": "flash_attention_2"}},
        {"auto_map": {"AutoModel": "code.Model"}},
        {"quantization_config": {"quant_method": "something"}},
    ],
    ids=str,
)
def test_the_configuration_of_a_text_encoder_cannot_name_code(tiny_folder, tmp_path, settings) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "configured")
    file = folder / "text_encoder" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    assert "names code of its own in the configuration of its text_encoder" in load_error(folder)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("no/such/folder", "neither a folder"),
        ("no.safetensors", "There is no file"),
        ("old.ckpt", "only .safetensors"),
        ("a" * 300, "There is no model 'aaa"),
        ("a/" + "a" * 300, "There is no model 'a/aaa"),
    ],
)
def test_a_model_that_does_not_exist_gets_a_sentence(model, says) -> None:
    assert says in load_error(model)


def test_a_missing_bundled_model_says_where_it_was_looked_for(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(source, "BUNDLED", tmp_path / "mini-sdxl")
    assert f"looked in {tmp_path / 'mini-sdxl'}" in load_error(None)


def test_an_unknown_device_gets_a_sentence(tiny_folder) -> None:
    assert "not a device" in load_error(tiny_folder, device="abacus")


def test_xformers_is_offered_only_if_it_runs(tiny_folder) -> None:
    assert attention_backends("cpu") == ("sdpa",)
    assert "'xformers' does not run on cpu; there is sdpa" in load_error(tiny_folder, attention="xformers")
