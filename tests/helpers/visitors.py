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
from hypothesis import strategies as st
from PIL import Image

from compare import InvalidRequest, Request
from server.front_door.visits import VISIT, Visit
from tests.helpers.server import Server


def from_here() -> gr.Request:
    """The HTTP request of a visitor on this machine."""
    return gr.Request(fastapi.Request({"type": "http", "headers": [], VISIT: Visit("127.0.0.1")}))


def metric(server: Server, name: str) -> float:
    """The value of a metric without labels, or of one series, as `todo_failures_total{kind="error"}`."""
    text = httpx.get(f"{server.address}/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return float(found.group(1)) if found else 0.0


def wait_until(true: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


SETTINGS = {
    "prompt": "a fox", "negative_prompt": "", "width": 128, "height": 128, "steps": 2, "guidance_scale": 4.0,
    "seed": 0, "factor": 2, "methods": ["todo"], "repeats": 1, "until": 1.0, "pooling": "nearest",
    "forecast_share": 0.3, "tome_ratio": None, "tome_stride": None, "tome_levels": None, "tome_seed": 0,
}  # fmt: skip
LONG = {"width": 256, "height": 256, "steps": 100, "methods": ["baseline", "todo"]}


def predict(client: Client, **changes: object) -> tuple:
    return client.predict(**{**SETTINGS, **changes}, api_name="/compare")


def pixels(client: Client) -> bytes:
    (entry,), _ = predict(client)
    with Image.open(entry["image"]) as picture:
        return picture.tobytes()


def wait_for_a_step(server: Server) -> None:
    moment = time.time()
    wait_until(lambda: metric(server, "todo_last_step_timestamp_seconds") > moment)


def wait_for_the_end(server: Server) -> None:
    """Until no run is in progress or waits."""
    wait_until(lambda: metric(server, "todo_in_line") == 0)


def lines(server: Server) -> list[dict]:
    """What the server logged."""
    return [json.loads(line) for line in server.output.read_text().splitlines() if line.startswith("{")]


def settings_of(**changes: object) -> list[object]:
    """In the order of the API."""
    return list({**SETTINGS, **changes}.values())


def refusal(**changes: object) -> str:
    """What `Request` says of settings that are not valid."""
    with pytest.raises(InvalidRequest) as refused:
        Request(**{**SETTINGS, **changes})
    return str(refused.value)


ANY_JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40),
        st.sampled_from([64, 128, 2048, 1, 2, 100, "baseline", "todo", "a fox", 4.5]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)  # fmt: skip


@contextmanager
def long_run(server: Server) -> Iterator[None]:
    """Ask for one as a bare HTTP client does, wait until it makes steps, and hang up at the end."""
    address = f"{server.address}/gradio_api/call/compare"
    started = httpx.post(address, json={"data": settings_of(**LONG)}).json()
    with httpx.stream("GET", f"{address}/{started['event_id']}", timeout=None):
        wait_for_a_step(server)
        yield
