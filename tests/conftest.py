from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from tests.helpers.server import Server, serving

# Tests run beside others: two threads that wait for each other on busy cores take ten times as long as one.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the servers and commands that tests start


# All tests that share the server are one visitor of it.
UNLIMITED = ("--max-per-minute", "10000", "--max-per-visitor", "1000", "--max-per-second", "1000")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server of the real page with the real bundled model, for all tests that need one."""
    with serving(tmp_path_factory.mktemp("server"), *UNLIMITED) as running:
        yield running
