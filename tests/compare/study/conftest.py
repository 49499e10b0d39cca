from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compare.models.load import Source, loaded_pipeline
from compare.study.row_folder import read_rows
from compare.study.rows import Row
from tests.helpers.sweeps import swept
from tests.helpers.tiny_models import sdxl_pipeline


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a sweep of `loaded` wrote into `out`. Not to be changed."""
    folder = tmp_path_factory.mktemp("sweep")
    swept(loaded_pipeline(sdxl_pipeline(), Source(place="somewhere/tiny-sdxl", name="tiny")), folder)
    return folder


@pytest.fixture
def rows(sweep_folder: Path) -> list[Row]:
    return read_rows(sweep_folder / "out", Row)


@pytest.fixture
def finished(sweep_folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder."""
    return shutil.copytree(sweep_folder, tmp_path / "finished")
