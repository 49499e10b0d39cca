from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_api

import compare  # noqa: F401  first: it keeps the libraries quiet
from compare import methods
from compare.methods import METHODS, Method, Reduction
from compare.models.load import LoadedPipeline, Source, loaded_pipeline
from compare.request import Request
from tests.helpers.hub import Hub, hub_on_this_machine
from tests.helpers.tiny_models import sdxl_pipeline


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
        small = {"prompt": "a fox", "width": 64, "height": 64, "steps": 3, "guidance_scale": 4.0}
        return Request(**{**small, **changes})

    return make


@pytest.fixture
def outsider(monkeypatch) -> Method:
    """A method of somebody else: it divides what the UNet predicts by the factor. It is in the registry."""

    @contextmanager
    def enabled(pipe: object, request: Reduction) -> Iterator[None]:
        pipe.unet.their_factor = request.factor
        with pipe.unet.register_forward_hook(lambda unet, args, output: (output[0] / unet.their_factor,)):
            yield
        del pipe.unet.their_factor

    method = Method(
        id="theirs", label="Theirs", description="somebody else's", colour="#123456", enable=enabled
    )
    monkeypatch.setattr(methods, "METHODS", (*METHODS, method))
    return method


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random SDXL, as a pipeline folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny-sdxl"
    sdxl_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Hub]:
    """The Hub, empty, and an empty cache."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # its client waits longer before each retry
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with hub_on_this_machine() as hub:
        connect(monkeypatch, hub.address)
        yield hub


def connect(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(hf_api.api, "endpoint", address)
