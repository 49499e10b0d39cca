"""What a visitor of the page does, by hand, by the API and by bare HTTP."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import fastapi
import gradio as gr
import httpx
import pytest
from gradio_client import Client
from PIL import Image

import compare  # noqa: F401  first: it keeps the libraries quiet
from compare import InvalidRequest, Request
from tests.helpers.server import Server


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


MOMENT = {"width": 128, "height": 128, "steps": 2, "methods": ["todo"]}
LONG = {"width": 256, "height": 256, "steps": 100, "methods": ["baseline", "todo"]}


def predict(client: Client, prompt: str = "a red apple on mint", **changes: object) -> tuple:
    return client.predict(prompt, **{**MOMENT, **changes}, api_name="/compare")


def pixels(client: Client) -> bytes:
    (entry,), _ = predict(client)
    with Image.open(entry["image"]) as picture:
        return picture.tobytes()


def is_running(server: Server) -> bool:
    return metric(server, "todo_in_line") > 0


def has_made_a_step_since(server: Server, moment: float) -> bool:
    return metric(server, "todo_last_step_timestamp_seconds") > moment


def lines(server: Server) -> list[dict]:
    """What the server logged."""
    return [json.loads(line) for line in server.output.read_text().splitlines() if line.startswith("{")]


def settings_of(**changes: object) -> list[object]:
    """All but the prompt, in the order of the API."""
    small = {
        "negative_prompt": "", "width": 128, "height": 128, "steps": 2, "guidance_scale": 4.0, "seed": 0,
        "factor": 2, "methods": ["todo"], "repeats": 1,
    }  # fmt: skip
    return list({**small, **changes}.values())


def refusal(**changes: object) -> str:
    """What `Request` says of settings that are not valid."""
    with pytest.raises(InvalidRequest) as refused:
        Request(
            **{"prompt": "a fox", "width": 128, "height": 128, "steps": 2, "guidance_scale": 4.0, **changes}
        )
    return str(refused.value)


@contextmanager
def streaming(server: Server, changes: dict[str, object]) -> Iterator[httpx.Response]:
    """Ask as a bare HTTP client does, and hang up at the end."""
    started = httpx.post(
        f"{server.address}/gradio_api/call/compare", json={"data": ["a fox on navy", *settings_of(**changes)]}
    )
    address = f"{server.address}/gradio_api/call/compare/{started.json()['event_id']}"
    with httpx.Client(timeout=None) as http, http.stream("GET", address) as stream:
        yield stream
