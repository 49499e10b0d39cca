"""The page's server as a process of its own, started as a user starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

PROJECT = Path(__file__).resolve().parents[2]
START_UP = 300  # seconds; a busy machine takes minutes
# The bundled model also where there is a GPU, and so would be another by default.
MODEL = ("--model", "assets/mini-sdxl", "--device", "cpu")
PATIENT = ("--max-seconds", "3600")  # or a busy machine would refuse what tests begin only to stop it


@dataclass(frozen=True)
class Server:
    address: str
    said: str
    """All that it had printed when it was ready."""
    process: subprocess.Popen
    output: Path
    """What it prints goes on here."""
    temporary: Path
    """Holds the folder of its temporary files."""


@contextmanager
def starting(folder: Path, *options: str, **variables: str) -> Iterator[Server]:
    """`python app.py` with the bundled model on a free port, with more options and environment variables, as
    soon as it has begun.

    What it prints goes to a file in `folder`, and its temporary files into a folder there.
    """
    if "--port" in options:
        port = options[options.index("--port") + 1]
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    said = folder / "said"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GRADIO_", "TODO_"))
    }
    temporary = folder / "temporary"
    environment |= {"GRADIO_TEMP_DIR": str(temporary), **variables}
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py", *MODEL, *PATIENT, *options, "--port", str(port)],
            cwd=PROJECT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        yield Server(f"http://127.0.0.1:{port}", "", process, said, temporary)
    finally:
        process.kill()  # an orderly end takes seconds; tests/server/test_faults.py has those
        process.wait(timeout=60)


@contextmanager
def serving(folder: Path, *options: str, **variables: str) -> Iterator[Server]:
    """The same once it is ready."""
    with starting(folder, *options, **variables) as server:
        wait_for(server, "Running on")
        health = f"{server.address}/healthz"
        while httpx.get(health, timeout=START_UP).json()["in_line"]:  # it judges its pace
            time.sleep(0.2)
        yield replace(server, said=server.output.read_text())


def wait_for(server: Server, words: str) -> None:
    """Until a server that starts has printed these words."""
    until = time.monotonic() + START_UP
    while words not in (said := server.output.read_text()):
        assert server.process.poll() is None, f"the server ended: {said}"
        assert time.monotonic() < until, f"the server is not ready: {said}"
        time.sleep(0.2)
