"""What is refused before gradio sees it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from server.request_filter import BODY, RequestFilter

FILES = Path("/somewhere/todo-page-1")
HERE = "http://localhost:7860"


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"served {len(await request.body())}")


@pytest.fixture(scope="module")
def client() -> TestClient:
    own = Middleware(RequestFilter, files=FILES, hosts=["localhost"], origins=["https://friend.example"])
    app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])], middleware=[own])
    return TestClient(app, base_url=HERE)


@pytest.mark.parametrize(
    "path",
    [
        "/", "/config", "/assets/index.js", "/healthz", "/gradio_api/queue/join", "/gradio_api/call/compare",
        "/gradio_api/mcp/", "/gradio_api/heartbeat/abc", f"/gradio_api/file={FILES}/todo-1.png",
    ],
)  # fmt: skip
def test_what_the_page_needs_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).text == "served 0"


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/upload", "/gradio_api/proxy=http://127.0.0.1", "/gradio_api/vibe-edit", "/monitoring",
        "/gradio_api/file=http://example.org/a.png", "/gradio_api/file=/etc/passwd", "/login", "/app.py",
        f"/gradio_api/file={FILES}/.lock", f"/gradio_api/file={FILES}/../other/a.png", "/.git/config",
        f"/gradio_api/file={FILES}/deep/a.png", f"/gradio_api/file={FILES}-2/a.png", "/config/more",
    ],
)  # fmt: skip
def test_what_the_page_never_asks_for_is_not_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@given(
    st.text(alphabet="./%2eEfF\\:~aA0\x00 ", max_size=30), st.sampled_from(["", ".png", "%00.png", "/x.png"])
)
@example("../todo-page-2/a", ".png")
def test_no_path_leads_out_of_the_folder_of_pictures(client: TestClient, trick: str, ending: str) -> None:
    path = f"{FILES}/{trick}{ending}"
    if client.get(f"/gradio_api/file={quote(path)}").status_code == 200:
        assert Path(path).resolve().parent == FILES
        assert path.endswith(".png")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "http://localhost:1", "http://localhost.evil.example:7860", "",
        "http://[", "://", "localhost:7860",
    ],
)  # fmt: skip
def test_other_sites_may_not_ask(client: TestClient, origin: str) -> None:
    for method in ("GET", "POST"):
        refused = client.request(method, "/gradio_api/call/compare", headers={"Origin": origin})
        assert refused.status_code == 403
        assert "--origin" in refused.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": HERE},
        {"Origin": "https://friend.example"},
        {"Origin": "https://page.example", "X-Forwarded-Host": "page.example"},
        {"Origin": "http://localhost", "Host": "localhost:80"},
    ],
)
def test_its_own_pages_and_named_friends_may(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/gradio_api/call/compare", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "", "localhost.evil.example", "[", "a@b"]
)
def test_a_strange_name_that_points_here_gets_nothing(client: TestClient, host: str) -> None:
    refused = client.get("/", headers={"Host": host})
    assert refused.status_code == 403
    assert "--origin" in refused.text


def test_a_body_has_an_upper_limit_whether_or_not_it_says_its_length(client: TestClient) -> None:
    assert client.post("/", content=b"a" * BODY).text == f"served {BODY}"
    assert client.post("/", content=b"a" * (BODY + 1)).status_code == 413
    assert client.post("/", content=(b"a" * 1000 for _ in range(10))).text == "served 10000"
    assert client.post("/", content=(b"a" * 1000 for _ in range(BODY))).status_code == 413


@pytest.mark.parametrize("length", ["-1", "many", "1e3", "99999999999999999999"])
def test_a_length_that_is_no_number_or_too_large_is_refused(client: TestClient, length: str) -> None:
    assert client.post("/", headers={"Content-Length": length}).status_code == 413
