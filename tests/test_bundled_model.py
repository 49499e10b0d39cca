"""The model that comes with the project: `assets/mini-sdxl`."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from compare.models.source import BUNDLED
from todo_patch import ToDo, plan
from training.artwork import BACKGROUNDS
from training.prompts import EXAMPLE_SEED, EXAMPLES


@pytest.fixture(scope="module")
def pipe() -> StableDiffusionXLPipeline:
    pipe = StableDiffusionXLPipeline.from_pretrained(BUNDLED, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_it_is_below_40_megabytes() -> None:
    sizes = [file.stat().st_size for file in BUNDLED.rglob("*") if file.is_file()]
    assert sum(sizes) < 40e6
    assert max(sizes) < 9e6


def test_plain_diffusers_draws_with_it_and_says_nothing() -> None:
    """As the model card shows it: without a precision."""
    script = (
        "import logging; logging.getLogger('xformers').setLevel(logging.ERROR)\n"  # it complains of itself
        "from diffusers import StableDiffusionXLPipeline\n"
        "from diffusers.utils import logging; logging.disable_progress_bar()\n"
        "from transformers.utils import logging; logging.disable_progress_bar()\n"
        f"pipe = StableDiffusionXLPipeline.from_pretrained({str(BUNDLED)!r})\n"
        "pipe.set_progress_bar_config(disable=True)\n"
        "pipe('a fox on navy', height=64, width=64, num_inference_steps=2, guidance_scale=2.5)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if "torchvision" not in line] == []


def test_its_token_grid_at_512_is_that_of_sdxl_at_1024(pipe) -> None:
    work = plan(pipe, ToDo(factor=2), height=512, width=512)
    grids = {block.level: (block.tokens, block.kv_tokens) for block in work.blocks}
    assert grids == {0: (4096, 1024), 1: (1024, 1024)}


def test_its_examples_are_the_prompts_of_the_sheet() -> None:
    assert json.loads((BUNDLED / "vocabulary.json").read_text())["examples"] == list(EXAMPLES)


@pytest.mark.parametrize("number", [0, 1, 4, 6])
def test_a_picture_has_the_background_asked_for(pipe, number: int) -> None:
    prompt = EXAMPLES[number]
    background = next(b for b in BACKGROUNDS if prompt.endswith(f" on {b.name}"))
    picture = pipe(
        prompt,
        height=256,
        width=256,
        num_inference_steps=12,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(EXAMPLE_SEED + number),
        output_type="np",
    ).images[0]
    distance = np.abs(picture * 255 - np.array(background.rgb)).max(axis=-1)
    assert (distance < 16).mean() > 0.2  # stickers cover the rest
