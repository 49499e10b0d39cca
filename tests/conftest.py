from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server of the real page with the real bundled model, for all tests that need one."""
    with serving(tmp_path_factory.mktemp("server"), "--max-per-minute", "10000") as running:
        yield running
