from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import compare  # noqa: F401  first: it keeps the libraries quiet
from compare.load import LoadedPipeline, Source, loaded_pipeline
from compare.request import Request
from tests.tiny_models import sdxl_pipeline

SIDE, STEPS = 64, 3


class HandClock:
    """Time that passes only where a test says so: no busy machine can spoil the numbers."""

    def __init__(self) -> None:
        self.now = 0.0

    def slow(self, function: Callable, seconds: float) -> Callable:
        def slowed(*args: object, **kwargs: object) -> object:
            self.now += seconds
            return function(*args, **kwargs)

        return slowed


@pytest.fixture
def hand_clock(monkeypatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


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
