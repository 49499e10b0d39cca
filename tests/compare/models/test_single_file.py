"""Whole models in one file, in their authors' layout. Their configuration comes from a local Hub."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModelWithProjection

from compare.experiment.measure import prepare
from compare.experiment.worker import run
from compare.models.load import load_pipeline
from compare.models.single_file import FIRST_CONVOLUTION, V1, V2_512, V2_768, XL, Family
from compare.script import script_for
from tests.helpers.hub import Hub
from tests.helpers.load_errors import load_error
from tests.helpers.original_layout import save_single_file
from tests.helpers.run import finished
from tests.helpers.tiny_models import TEXT_WIDTH, sd15_pipeline, sdxl_pipeline, text_encoder

WIDER = TEXT_WIDTH + 4  # of SDXL's second text encoder: diffusers tells the two apart by their widths


def sdxl() -> DiffusionPipeline:
    pipe = sdxl_pipeline(
        cross_attention_dim=TEXT_WIDTH + WIDER, projection_class_embeddings_input_dim=6 * 4 + WIDER
    )
    pipe.text_encoder_2 = text_encoder(CLIPTextModelWithProjection, seed=1, width=WIDER)
    return pipe


def sd21(prediction: str, side: int) -> DiffusionPipeline:
    pipe = sd15_pipeline(use_linear_projection=True, sample_size=side)
    pipe.scheduler.register_to_config(prediction_type=prediction)
    return pipe


@pytest.fixture
def place(hub: Hub, tmp_path) -> Callable[..., Path]:
    """Put the configuration of a family on the Hub, and a model of it into a single file."""

    def make(family: Family, pipe: DiffusionPipeline, **options: object) -> Path:
        repository = tmp_path / family.config.split("/")[1]
        pipe.save_pretrained(repository)
        hub.add(family.config, repository, family.revision)
        path = tmp_path / "model.safetensors"
        save_single_file(pipe, path, **options)
        return path

    return make


@pytest.mark.parametrize(
    ("family", "make", "written"),
    [
        (XL, sdxl, None),
        (V1, sd15_pipeline, None),
        (V2_768, partial(sd21, "v_prediction", 96), "v"),
        (V2_512, partial(sd21, "epsilon", 64), "epsilon"),
    ],
    ids=["sdxl", "sd15", "sd21", "sd21-base"],
)
def test_weights_and_settings_arrive_where_they_belong(place, hub, family, make, written) -> None:
    pipe = make()
    path = place(family, pipe, metadata=written and {"modelspec.prediction_type": written})
    loaded = load_pipeline(path, device="cpu")
    assert type(loaded.pipe) is family.pipeline
    for part in {"unet", "vae", "text_encoder", "text_encoder_2"} & pipe.components.keys():
        ours, theirs = (getattr(p, part).state_dict() for p in (loaded.pipe, pipe))
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert torch.equal(value, theirs[name]), f"{part}.{name}"
    assert (loaded.info.config, loaded.info.revision) == (family.config, family.revision)
    assert loaded.info.source == str(path)
    assert loaded.remark is None
    assert loaded.pipe.scheduler.config.prediction_type == pipe.scheduler.config.prediction_type
    assert loaded.defaults.width == pipe.unet.config.sample_size * 8
    assert hub.fetched
    assert not any(name.endswith(".safetensors") for _, name in hub.fetched), "weights of the configuration"


def test_an_assumed_prediction_is_said(place) -> None:
    loaded = load_pipeline(place(V2_768, sd21("v_prediction", 96)), device="cpu")
    assert loaded.pipe.scheduler.config.prediction_type == "v_prediction"
    assert "does not say what its UNet predicts" in loaded.remark
    assert loaded.remark in prepare(loaded, loaded.request("a fox")).notes


def test_markers_of_the_schedule_are_followed_and_repeated_by_the_script(place) -> None:
    path = place(XL, sdxl())
    tensors = load_file(path) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    save_file(tensors, path)
    loaded = load_pipeline(path, device="cpu")
    scheduler = loaded.pipe.scheduler.config
    assert (scheduler.prediction_type, scheduler.rescale_betas_zero_snr) == ("v_prediction", True)
    request = loaded.request("a fox", steps=2, width=64, height=64, methods=("baseline",))
    script = script_for(request, "baseline", loaded.info)
    namespace: dict = {}
    exec(re.sub(r"^image\.save.*$", "", script, flags=re.M), namespace)
    assert namespace["pipe"].scheduler.config == scheduler
    assert namespace["image"].tobytes() == finished(run(loaded, request)).results[0].image.tobytes()


@pytest.mark.parametrize(
    ("pattern", "replacement", "says"),
    [
        (".*diffusion_model.*", "", "is not a checkpoint of"),
        (".*embedders.*", "", "has no text encoder"),
        ("embedders.1", "embedders.0", "is the refiner of Stable Diffusion XL"),
        (".*first_stage.*", "", "could not be loaded"),
    ],
)
def test_anything_but_a_whole_text_to_image_model_gets_a_sentence(place, pattern, replacement, says) -> None:
    path = place(XL, sdxl())
    renamed = {re.sub(pattern, replacement, name): value for name, value in load_file(path).items()}
    save_file(renamed, path)
    sentence = load_error(path)
    assert says in sentence
    assert str(path) in sentence


def test_an_inpainting_model_gets_a_sentence(place) -> None:
    path = place(XL, sdxl())
    save_file(load_file(path) | {FIRST_CONVOLUTION: torch.zeros(8, 9, 3, 3)}, path)
    assert "takes 9 channels" in load_error(path)


@pytest.mark.parametrize("kept", [0, 5, 2000, -1])
def test_a_truncated_file_gets_a_sentence(place, kept) -> None:
    path = place(V1, sd15_pipeline())
    path.write_bytes(path.read_bytes()[:kept])
    assert "is truncated, or is no" in load_error(path)


def test_without_the_hub_the_file_is_not_called_broken(place, monkeypatch) -> None:
    path = place(V1, sd15_pipeline())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    sentence = load_error(path)
    assert f"needs the configuration of {V1.name}" in sentence
    assert f"{V1.config} could not be fetched" in sentence


def test_once_the_configuration_is_in_the_cache_no_network_is_needed(place, hub, monkeypatch) -> None:
    path = place(V1, sd15_pipeline())
    load_pipeline(path, device="cpu")
    hub.down = True
    assert load_pipeline(path, device="cpu").info.config == V1.config
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_pipeline(path, device="cpu").info.config == V1.config
