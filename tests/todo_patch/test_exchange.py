"""A pipeline that is given another UNet while it is patched."""

from __future__ import annotations

import inspect

import diffusers
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from packaging.version import Version

from tests.helpers.tiny_models import generate, sdxl_unet
from tests.helpers.traces import traces_of_a_patch
from todo_patch import ToDo, apply_patch, patched, remove_patch


def test_a_pipeline_whose_unet_is_exchanged_says_so_at_its_next_call(pipe) -> None:
    own, pipeline = pipe.unet, type(pipe)
    apply_patch(pipe, ToDo())
    pipe.unet = torch.compile(own, backend="eager")  # still the same
    generate(pipe, 1)
    pipe.unet = sdxl_unet(1)
    with pytest.raises(RuntimeError, match="exchanged"):
        generate(pipe)
    remove_patch(pipe)
    generate(pipe)
    assert type(pipe) is pipeline
    pipe.unet = own
    assert traces_of_a_patch(pipe) == []
    with patched(pipe, ToDo()):
        pipe.unet = sdxl_unet(1)
        apply_patch(pipe, ToDo())
        generate(pipe)
    pipe.unet = own
    assert traces_of_a_patch(pipe) == []


@pytest.mark.skipif(
    Version(diffusers.__version__) < Version("0.37"), reason="its AutoPipeline needs a transformers below 5"
)
def test_a_patched_pipeline_can_be_made_into_another_kind(pipe) -> None:
    with patched(pipe, ToDo()):
        other = diffusers.AutoPipelineForImage2Image.from_pipe(pipe)
        assert type(other).__name__ == "StableDiffusionXLImg2ImgPipeline"


def test_a_patched_pipeline_is_what_it_was_for_others(pipe, tmp_path) -> None:
    before = type(pipe)
    with patched(pipe, ToDo()):
        assert isinstance(pipe, before)
        assert type(pipe).__name__ == before.__name__
        assert inspect.signature(pipe.__call__) == inspect.signature(before.__call__.__get__(pipe))
        assert pipe.components.keys() == before(**pipe.components, add_watermarker=False).components.keys()
        picture = generate(pipe)
        pipe.save_pretrained(tmp_path)
    loaded = StableDiffusionXLPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert not torch.equal(generate(loaded), picture)
    with patched(loaded, ToDo()):
        assert torch.equal(generate(loaded), picture)
