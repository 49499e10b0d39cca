from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fastapi
import gradio as gr
import httpx
import pytest

import compare  # noqa: F401  first: it keeps the libraries quiet
from app import Page
from compare.load import LoadedPipeline, Source, loaded_pipeline
from page.limits import Limits
from tests.server import Server
from tests.tiny_models import sdxl_pipeline


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where gradio keeps its files for the time of the tests."""
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def loaded() -> LoadedPipeline:
    return loaded_pipeline(sdxl_pipeline(), Source(place="somewhere/tiny-sdxl", name="tiny"))


@pytest.fixture(scope="module")
def page(loaded: LoadedPipeline) -> Page:
    return Page(loaded, example=None, limits=Limits(per_minute=1000))


def from_here() -> gr.Request:
    """The HTTP request of a visitor on this machine."""
    return gr.Request(fastapi.Request({"type": "http", "client": ("127.0.0.1", 1), "headers": []}))


def metric(server: Server, name: str) -> float:
    """The value of a metric without labels, or of one series, as `todo_failures_total{kind="error"}`."""
    text = httpx.get(f"{server.address}/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return float(found.group(1)) if found else 0.0


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)
