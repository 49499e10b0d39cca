"""The real server when something goes wrong while it runs."""

from __future__ import annotations

import resource
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.helpers.server import Server, serving
from tests.helpers.visitors import (
    LONG,
    lines,
    long_run,
    metric,
    pixels,
    predict,
    wait_for_a_step,
    wait_for_the_end,
    wait_until,
)


@contextmanager
def limited(server: Server, kind: int, soft: int) -> Iterator[None]:
    """Take a resource away from the server while it runs, and give it back."""
    before = resource.prlimit(server.process.pid, kind)
    resource.prlimit(server.process.pid, kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, kind, before)


@pytest.fixture
def as_before(server: Server, client: Client) -> Iterator[None]:
    """After the test: the next request is right, the queue empty, no half-written file."""
    right = pixels(client)
    yield
    wait_for_the_end(server)
    assert pixels(client) == right
    assert [file for file in server.temporary.glob("*/.*") if file.name != ".lock"] == []


@pytest.mark.usefixtures("as_before")
def test_out_of_memory_names_a_smaller_size(server: Server, client: Client) -> None:
    held = psutil.Process(server.process.pid).memory_info().vms
    before = metric(server, 'todo_failures_total{kind="out_of_memory"}')
    with (
        limited(server, resource.RLIMIT_AS, held + 300 * 2**20),
        pytest.raises(AppError, match=r"1024×1024 does not fit into the memory.*: try 680×680"),
    ):
        predict(client, width=1024, height=1024, steps=1)
    wait_until(lambda: metric(server, 'todo_failures_total{kind="out_of_memory"}') == before + 1)


@pytest.mark.usefixtures("as_before")
def test_a_full_disk_is_said(server: Server, client: Client) -> None:
    with (
        limited(server, resource.RLIMIT_FSIZE, 4096),
        pytest.raises(AppError, match="disk is full"),
    ):
        predict(client, seed=5)


@pytest.mark.usefixtures("as_before")
def test_without_file_descriptors_the_log_stays_short_and_the_server_comes_back(server: Server) -> None:
    before = server.output.stat().st_size
    url = httpx.URL(server.address)
    with (
        limited(server, resource.RLIMIT_NOFILE, psutil.Process(server.process.pid).num_fds() + 5),
        ExitStack() as held,
    ):
        for _ in range(40):
            held.enter_context(socket.create_connection((url.host, url.port), 30))
        time.sleep(4)
    assert server.output.stat().st_size - before < 100_000
    assert httpx.get(f"{server.address}/healthz", timeout=30).status_code == 200


@pytest.mark.usefixtures("as_before")
def test_a_client_that_disappears_frees_the_model(server: Server) -> None:
    with long_run(server):
        pass
    wait_until(lambda: lines(server)[-1].get("outcome") == "gone")


def test_on_sigterm_a_run_goes_on_for_the_grace_and_every_visitor_is_told_why(tmp_path: Path) -> None:
    with serving(tmp_path, "--grace", "20") as server, ThreadPoolExecutor(2) as pool:
        one, other = (Client(server.address, verbose=False) for _ in range(2))
        running = pool.submit(predict, one, **LONG)
        wait_for_a_step(server)
        waiting = pool.submit(predict, other)
        wait_until(lambda: metric(server, "todo_in_line") == 2)
        server.process.send_signal(signal.SIGTERM)
        told = waiting.exception() or waiting.result()
        assert "Stopped: the server is being stopped or restarted" in str(told), (told, lines(server))
        wait_for_a_step(server)
        assert httpx.get(f"{server.address}/healthz").status_code == 503
        with pytest.raises(AppError, match="The server is being stopped or restarted"):
            predict(other)
        told = running.exception() or running.result()
        assert "Stopped: the server is being stopped or restarted" in str(told), (told, lines(server))
        assert server.process.wait(timeout=60) == 0
    assert [line["outcome"] for line in lines(server)] == ["stopped", "refused", "stopped"]
    assert list(server.temporary.glob("todo-page-*")) == []
