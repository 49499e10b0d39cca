from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import compare  # noqa: F401  first: it keeps the libraries quiet
from compare.load import LoadedPipeline, Source, loaded_pipeline
from compare.request import Request
from tests.tiny_models import sdxl_pipeline

SIDE, STEPS = 64, 3


@pytest.fixture
def loaded() -> LoadedPipeline:
    """A tiny random SDXL, in memory."""
    return loaded_pipeline(sdxl_pipeline(), Source(place="somewhere/tiny-sdxl", name="tiny"))


@pytest.fixture
def request_for() -> Callable[..., Request]:
    """A small valid request, with the fields given changed."""

    def make(**changes: object) -> Request:
        small = {"prompt": "a fox", "width": SIDE, "height": SIDE, "steps": STEPS, "guidance_scale": 4.0}
        return Request(**{**small, **changes})

    return make


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random SDXL, as a pipeline folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny-sdxl"
    sdxl_pipeline().save_pretrained(folder)
    return folder
