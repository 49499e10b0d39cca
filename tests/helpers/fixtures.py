"""Fixtures of tests/page and tests/server: the page in this process, and a client of the running server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client

import compare  # noqa: F401  first: it keeps the libraries quiet
from app import Page
from compare.models.load import LoadedPipeline, Source, loaded_pipeline
from server.limits import Limits
from tests.helpers.server import Server
from tests.helpers.tiny_models import sdxl_pipeline


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
    return Page(loaded, example=None, limits=Limits(per_minute=1000, per_visitor=1000))


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.address, verbose=False)
