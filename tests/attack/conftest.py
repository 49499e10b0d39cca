"""The server under attack: one of its own, or with `ATTACK=http://127.0.0.1:7860` any on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.helpers.attacker import Attacker, counting
from tests.helpers.server import serving


@pytest.fixture(scope="session")
def outside() -> Iterator[tuple[str, list[str]]]:
    """A server that the attacked one may not ask for anything: its address, and what it was asked for."""
    with counting() as (address, asked):
        yield address, asked


@pytest.fixture(scope="session")
def attacked(outside: tuple[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server."""
    if sys.platform != "linux":
        pytest.skip("elsewhere a machine has no addresses for many visitors")
    if address := os.environ.get("ATTACK"):
        yield address.rstrip("/")
        return
    # What it asks others for by name comes here; of addresses, gradio itself refuses this machine's.
    proxy = {"http_proxy": outside[0], "no_proxy": "127.0.0.1,localhost"}
    with serving(tmp_path_factory.mktemp("attacked"), **proxy) as server:
        yield server.address


@pytest.fixture
def attacker(attacked: str) -> Attacker:
    return Attacker(attacked)


@pytest.fixture
def honest(attacked: str) -> Attacker:
    """Somebody else, who does nothing bad."""
    return Attacker(attacked)


@pytest.fixture
def quiet(honest: Attacker) -> Iterator[None]:
    """Before and after the test nobody runs anything."""
    honest.wait_for(0)
    yield
    honest.wait_for(0)
