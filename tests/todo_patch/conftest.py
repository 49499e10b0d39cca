from __future__ import annotations

import pytest
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

from tests.helpers.tiny_models import sdxl_pipeline, sdxl_unet
from todo_patch import ToDo, ToMe

METHODS = [
    ToDo(),
    ToDo(factor=(4, 2), grid="rotating"),
    ToDo(pooling="average"),
    ToMe(),
    ToMe(ratio=0.5, levels=2),
    ToDo(factor=(3, 2), grid="rotating", merge="all"),
    ToDo(pooling="average", merge="all"),
    ToMe(levels=2, merge="keys-values"),
]


@pytest.fixture(params=METHODS, ids=str)
def method(request: pytest.FixtureRequest) -> ToDo | ToMe:
    """Every kind of method."""
    return request.param


@pytest.fixture
def unet() -> UNet2DConditionModel:
    return sdxl_unet()


@pytest.fixture
def pipe() -> StableDiffusionXLPipeline:
    return sdxl_pipeline()
