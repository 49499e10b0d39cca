"""Loading from the Hub, which a local server plays: what is fetched, and what is said if that fails."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from diffusers import DiffusionPipeline
from huggingface_hub import constants

from compare.models import load, source
from compare.models.load import load_pipeline
from compare.models.source import SDXL
from tests.compare.conftest import connect
from tests.helpers.hub import COMMIT, Hub
from tests.helpers.load_errors import load_error
from tests.helpers.tiny_models import sd15_pipeline, sdxl_pipeline, vae

NAME = "somebody/tiny"
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_folder, tmp_path) -> Path:
    """A repository that a test may damage."""
    return shutil.copytree(tiny_folder, tmp_path / "repository")


@pytest.fixture
def bundled(tiny_folder, tmp_path, monkeypatch) -> Path:
    """A tiny model in the place of the bundled one, on a machine whose default is SDXL."""
    monkeypatch.setattr(source, "BUNDLED", shutil.copytree(tiny_folder, tmp_path / "assets" / "mini-sdxl"))
    monkeypatch.setattr(load, "default_source", lambda device: SDXL)
    return source.BUNDLED


@pytest.fixture
def sdxl_on_the_hub(hub, tmp_path) -> None:
    """A tiny model in the place of SDXL, with another VAE, both in half precision."""
    repository = tmp_path / "sdxl"
    sdxl_pipeline().to(dtype=torch.float16).save_pretrained(repository, variant="fp16")
    torch.save({}, repository / "unet" / "diffusion_pytorch_model.bin")
    vae(seed=7).save_pretrained(tmp_path / "vae")
    hub.add(SDXL.place, repository, SDXL.revision)
    hub.add(SDXL.vae, tmp_path / "vae", SDXL.vae_revision)


def test_a_repository_is_loaded_at_the_commit_that_the_report_names(hub, folder) -> None:
    hub.add(NAME, folder)
    loaded = load_pipeline(NAME, device="cpu")
    assert (loaded.info.source, loaded.info.revision, loaded.info.variant) == (NAME, COMMIT, None)
    assert loaded.info.name == "tiny"


def test_what_is_in_the_cache_is_not_fetched_again_and_needs_no_network(hub, folder) -> None:
    hub.add(NAME, folder)
    load_pipeline(NAME, device="cpu")
    fetched = len(hub.fetched)
    assert fetched > 5
    load_pipeline(NAME, device="cpu")
    hub.down = True
    assert load_pipeline(NAME, device="cpu").info.revision == COMMIT
    assert len(hub.fetched) == fetched


def test_a_revision_can_be_named(hub, folder) -> None:
    pinned = "ab" * 20
    hub.add(NAME, folder, pinned, "v2")
    assert load_pipeline(f"{NAME}@{pinned}", device="cpu").info.revision == pinned
    assert load_pipeline(f"{NAME}@v2", device="cpu").info.revision == COMMIT
    assert load_error(f"{NAME}@v3").startswith("somebody/tiny has no revision v3")


def test_only_one_precision_is_fetched_and_either_alone_is_enough(hub, tmp_path) -> None:
    half = tmp_path / "half"
    sdxl_pipeline().to(dtype=torch.float16).save_pretrained(half, variant="fp16")
    hub.add("somebody/half", half)
    loaded = load_pipeline("somebody/half", device="cpu")
    assert (loaded.info.variant, loaded.info.dtype) == ("fp16", "float32")

    both = tmp_path / "both"
    sdxl_pipeline().save_pretrained(both)
    shutil.copytree(half, both, dirs_exist_ok=True)
    hub.add("somebody/both", both)
    hub.fetched.clear()
    assert load_pipeline("somebody/both", device="cpu", dtype=torch.float16).info.variant == "fp16"
    weights = {name for _, name in hub.fetched if name.endswith(".safetensors")}
    assert len(weights) == 4
    assert all(".fp16." in name for name in weights)


@pytest.mark.usefixtures("bundled", "sdxl_on_the_hub")
def test_the_default_on_a_gpu_is_sdxl_in_half_precision_with_a_vae_for_it(hub) -> None:
    loaded = load_pipeline(device="cpu", dtype=torch.float16)  # as on a GPU, but for the device
    assert loaded.fallback is None
    assert (loaded.info.source, loaded.info.revision, loaded.info.variant) == (
        SDXL.place, SDXL.revision, "fp16"
    )  # fmt: skip
    assert (loaded.info.vae, loaded.info.vae_revision) == (SDXL.vae, SDXL.vae_revision)
    assert loaded.pipe.vae.dtype == loaded.pipe.unet.dtype == torch.float16
    assert torch.equal(loaded.pipe.vae.decoder.conv_in.weight, vae(seed=7).decoder.conv_in.weight.half())
    of_sdxl = {name for repository, name in hub.fetched if repository == SDXL.place}
    assert not any(name.startswith("vae/") or name.endswith(".bin") for name in of_sdxl)


def broken_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in hub.repositories.values():
        for weights in (folder / "unet").glob("*.safetensors"):
            weights.write_bytes(weights.read_bytes()[:5000])


def cannot_write(number: int) -> Callable[[Hub, pytest.MonkeyPatch], None]:
    fetch = "huggingface_hub.file_download.http_get"
    return lambda hub, monkeypatch: monkeypatch.setattr(fetch, Mock(side_effect=OSError(number, "")))


TROUBLES = {
    "no network": (
        lambda hub, monkeypatch: connect(monkeypatch, "http://127.0.0.1:1"),
        "the Hub cannot be reached. Connect to the network",
    ),
    "offline": (
        lambda hub, monkeypatch: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True),
        "the Hub cannot be reached. Connect to the network",
    ),
    "down": (lambda hub, _: setattr(hub, "down", True), "the Hub cannot be reached"),
    "wrong name": (
        lambda hub, _: hub.repositories.clear(),
        "check the spelling; for a private one, set HF_TOKEN",
    ),
    "gated": (
        lambda hub, _: hub.gated.update(hub.repositories),
        "is gated: accept its terms at https://huggingface.co/",
    ),
    "truncated": (
        lambda hub, _: hub.cut_off.update((UNET, UNET.replace(".s", ".fp16.s"))),
        "was cut off: start again",
    ),
    "broken there": (broken_there, "remove it with `hf cache rm model/"),
    "disk full": (cannot_write(errno.ENOSPC), "no disk space left to load .* HF_HOME"),
    "cache not writable": (cannot_write(errno.EACCES), "may not be written here. Set HF_HOME"),
}
with_every_trouble = pytest.mark.parametrize(("trouble", "reason"), TROUBLES.values(), ids=TROUBLES.keys())


@with_every_trouble
def test_a_named_model_that_is_unavailable_is_an_error(hub, folder, monkeypatch, trouble, reason) -> None:
    hub.add(NAME, folder)
    trouble(hub, monkeypatch)
    sentence = load_error(NAME)
    assert NAME in sentence
    assert re.search(reason, sentence), sentence


@pytest.mark.usefixtures("bundled", "sdxl_on_the_hub")
@with_every_trouble
def test_a_default_that_is_unavailable_is_replaced_and_the_reason_is_said(
    hub, tmp_path, monkeypatch, trouble, reason
) -> None:
    trouble(hub, monkeypatch)
    assert_falls_back(tmp_path, reason)


def assert_falls_back(tmp_path: Path, reason: str) -> None:
    loaded = load_pipeline(device="cpu", dtype=torch.float16)
    assert loaded.info.source == "assets/mini-sdxl"
    assert (loaded.defaults.width, loaded.defaults.height) == (512, 512)
    assert loaded.fallback.startswith("The small bundled model is running instead of Stable Diffusion XL 1.0")
    assert re.search(reason, loaded.fallback), loaded.fallback
    assert str(tmp_path) not in loaded.fallback  # the page shows it to everybody


@pytest.mark.usefixtures("bundled", "sdxl_on_the_hub")
def test_the_vae_is_named_if_it_is_what_is_unavailable(hub, tmp_path) -> None:
    del hub.repositories[SDXL.vae]
    assert_falls_back(tmp_path, f"no repository {SDXL.vae}")


@pytest.mark.usefixtures("bundled", "sdxl_on_the_hub")
def test_a_default_that_does_not_fit_on_the_gpu_is_replaced_too(tmp_path, monkeypatch) -> None:
    to, moved = DiffusionPipeline.to, []

    def first_does_not_fit(pipe: object, *args: object) -> object:
        moved.append(pipe)
        if len(moved) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return to(pipe, *args)

    monkeypatch.setattr(DiffusionPipeline, "to", first_does_not_fit)
    assert_falls_back(tmp_path, "does not fit into the memory of cpu")


def test_a_repository_of_another_layout_says_what_to_do(hub, folder) -> None:
    (folder / "model_index.json").unlink()
    hub.add(NAME, folder)
    assert "has no model_index.json. If it has the whole model in one .safetensors file" in load_error(NAME)


def test_pickled_weights_are_refused_before_they_are_fetched(hub, folder) -> None:
    (folder / UNET).unlink()
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")
    hub.add(NAME, folder)
    assert "lacks weights as .safetensors: other formats are not read" in load_error(NAME)
    assert not any(name.endswith(".bin") for _, name in hub.fetched)


def test_code_from_a_repository_is_neither_run_nor_fetched(hub, folder, tmp_path) -> None:
    (folder / "unet" / "surprise.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Surprise: ...")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "unet": ["surprise", "Surprise"]}))
    hub.add(NAME, folder)
    for model in (NAME, str(folder)):
        sentence = load_error(model)
        assert "brings code of its own for its unet (surprise), and such code is never run" in sentence
    assert not (tmp_path / "ran").exists()
    assert not any(name.endswith(".py") for _, name in hub.fetched)


def test_stable_diffusion_1_5_and_2_1_are_loaded_as_what_they_are(hub, tmp_path) -> None:
    pipe = sd15_pipeline(use_linear_projection=True, sample_size=96)
    sd15_pipeline().save_pretrained(tmp_path / "sd15")
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    pipe.save_pretrained(tmp_path / "sd21")
    for name in ("sd15", "sd21"):
        hub.add(f"somebody/{name}", tmp_path / name)
    loaded = load_pipeline("somebody/sd15", device="cpu")
    assert (loaded.info.pipeline, loaded.defaults.guidance_scale) == ("StableDiffusionPipeline", 7.5)
    loaded = load_pipeline("somebody/sd21", device="cpu")
    assert loaded.pipe.scheduler.config.prediction_type == "v_prediction"
    assert (loaded.defaults.width, loaded.defaults.height) == (768, 768)
