"""What the front door lets in, on an app that says what it was served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Scope, Send

from server.front_door.bodies import BYTES, DEPTH
from server.front_door.door import FrontDoor
from server.front_door.kept import Kept

FILES = Path("/somewhere/todo-page-1")
HERE = "http://localhost:7860"


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"served {len(await request.body())}")


@contextmanager
def behind(**options: Any) -> Iterator[TestClient]:
    """A client of the app behind a door with these options."""
    door = FrontDoor(files=FILES, names=["compare"], functions=range(3), **options)
    app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])], lifespan=door.lifespan)
    with TestClient(app, base_url=HERE) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with behind(hosts=["localhost"], origins=["https://friend.example"], per_second=10_000) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    [
        "/", "/config", "/assets/index.js", "/healthz", "/gradio_api/heartbeat/abc", "/gradio_api/mcp/",
        "/gradio_api/info",
        f"/gradio_api/file={FILES}/todo-1.png", f"/gradio_api/file={FILES}/comparison-1.zip", "/page.png",
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
        f"/gradio_api/file={FILES}/deep/a.zip", f"/gradio_api/file={FILES}/a.json", "/assets.png",
    ],
)  # fmt: skip
def test_what_the_page_never_asks_for_is_not_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@given(
    st.text(alphabet="./%2eEfF\\:~aA0\x00 ", max_size=30),
    st.sampled_from(["", ".png", ".zip", "%00.png", "/x.png"]),
)
@example("../todo-page-2/a", ".png")
def test_no_path_leads_out_of_the_folder_of_pictures(client: TestClient, trick: str, ending: str) -> None:
    path = f"{FILES}/{trick}{ending}"
    if client.get(f"/gradio_api/file={quote(path)}").status_code == 200:
        assert Path(path).resolve().parent == FILES
        assert path.endswith((".png", ".zip"))


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "http://localhost:1", "http://localhost.evil.example:7860", "",
        "http://[", "://", "localhost:7860", "http://localhost:99999",
    ],
)  # fmt: skip
def test_other_sites_may_not_ask(client: TestClient, origin: str) -> None:
    for method in ("GET", "POST"):
        refused = client.request(method, "/gradio_api/queue/join", headers={"Origin": origin})
        assert refused.status_code == 403
        assert "--origin" in refused.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": HERE},
        {"Origin": "https://friend.example"},
        {"Origin": "http://localhost", "Host": "localhost:80"},
    ],
)
def test_its_own_pages_and_named_friends_may(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/gradio_api/reset", json={}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "", "localhost.evil.example", "[", "a@b"]
)
def test_a_strange_name_that_points_here_gets_nothing(client: TestClient, host: str) -> None:
    refused = client.get("/", headers={"Host": host})
    assert refused.status_code == 403
    assert "--origin" in refused.text


@pytest.mark.parametrize("host", ["localhost:99999", "localhost:", "localhost:x", "a b", "localhost/x"])
def test_a_host_that_is_none_is_refused_also_where_all_names_are_allowed(host: str) -> None:
    with behind() as client:
        assert client.get("/", headers={"Host": host}).status_code == 400


def test_what_only_a_proxy_may_say_counts_behind_one_only() -> None:
    said = {"Origin": "https://page.example", "X-Forwarded-Host": "page.example"}
    for proxies, status in ((0, 403), (1, 200)):
        with behind(proxies=proxies) as client:
            assert client.post("/gradio_api/reset", json={}, headers=said).status_code == status


RESET = "/gradio_api/reset"


def test_a_body_has_an_upper_limit_whether_or_not_it_says_its_length(client: TestClient) -> None:
    most = b'{"a": "' + b"a" * (BYTES - 9) + b'"}'
    assert client.post(RESET, content=most).text == f"served {BYTES}"
    assert client.post(RESET, content=most + b" ").status_code == 413
    assert client.post(RESET, content=iter([most])).text == f"served {BYTES}"
    assert client.post(RESET, content=(b"a" * 1000 for _ in range(BYTES))).status_code == 413


@pytest.mark.parametrize("length", ["-1", "many", "1e3", "99999999999999999999", "²"])
def test_a_length_that_is_no_number_or_too_large_is_refused(client: TestClient, length: str) -> None:
    answer = client.post(RESET, headers={"Content-Length": length.encode()})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"a=b", b"\xff", b"[" * 10_000, b'{"a":' * 10_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1' + b"0" * 400 + b"}", b'{"a":' * DEPTH + b"1" + b"}" * DEPTH,
        b'{"session_hash": 1}', b'{"session_hash": ""}', b'{"session_hash": "../a"}',
        b'{"session_hash": "' + b"a" * 65 + b'"}', b'{"event_id": "\\u202e"}',
    ],
)  # fmt: skip
def test_what_is_no_body_of_the_page_is_refused_with_a_sentence(client: TestClient, body: bytes) -> None:
    refused = client.post(RESET, content=body)
    assert refused.status_code == 400
    assert refused.text.endswith(".")


@pytest.mark.parametrize("number", [3, -1, 10**9, "1", 1.0, True, [1]])
def test_only_functions_of_the_page_can_be_called(client: TestClient, number: object) -> None:
    assert client.post("/gradio_api/run/predict", json={"fn_index": number}).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/heartbeat/" + "a" * 65, "/gradio_api/queue/data", "/gradio_api/call/compare/a.b",
        "/gradio_api/queue/data?session_hash=" + "a" * 65,
    ],
)  # fmt: skip
def test_the_id_of_a_stream_is_one_that_gradio_makes(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 400


@pytest.mark.parametrize("ranges", ["bytes=0-1,2-3", "bytes=-", "bytes=a-b", "bytes=0-1-2", "lines=1-2", ""])
def test_more_than_one_range_is_refused(client: TestClient, ranges: str) -> None:
    assert client.get("/assets/index.js", headers={"Range": ranges}).status_code == 416
    assert client.get("/assets/index.js", headers={"Range": "bytes=0-99"}).status_code == 200


def test_no_other_site_may_show_the_page_unless_it_is_named(client: TestClient) -> None:
    refused, served = client.get("/no"), client.get("/")
    for answer in (refused, served):
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert "frame-ancestors 'self';" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    with behind(frames=["https://friend.example"]) as framed:
        headers = framed.get("/").headers
        assert "frame-ancestors 'self' https://friend.example;" in headers["content-security-policy"]
        assert "x-frame-options" not in headers


def test_a_visitor_who_calls_too_often_is_told_when_to_come_back() -> None:
    with behind(per_second=1) as client:
        answers = [client.post(RESET, json={}) for _ in range(30)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 10
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 2


def test_a_page_is_compressed_for_those_who_take_it_so_and_a_picture_is_not() -> None:
    async def long(request: Request) -> PlainTextResponse:
        return PlainTextResponse("a page " * 1000)

    door = FrontDoor(files=FILES, names=[], functions=())
    app = Starlette(routes=[Route("/{path:path}", long)], lifespan=door.lifespan)
    with TestClient(app, base_url=HERE) as client:
        for path in ("/", "/config", "/gradio_api/info"):
            answer = client.get(path, headers={"Accept-Encoding": "gzip"})
            assert answer.headers["content-encoding"] == "gzip"
            assert int(answer.headers["content-length"]) < 200
            assert answer.text == "a page " * 1000
        plain = client.get("/", headers={"Accept-Encoding": "identity"})
        picture = client.get(f"/gradio_api/file={FILES}/todo-1.png", headers={"Accept-Encoding": "gzip"})
        for answer in (plain, picture):
            assert "content-encoding" not in answer.headers


def test_an_asset_is_made_once_for_all_and_each_encoding() -> None:
    made = []

    async def asset(request: Request) -> PlainTextResponse:
        made.append(request.headers.get("accept-encoding"))
        return PlainTextResponse("a" * 1000, headers={"ETag": "1"})

    door = FrontDoor(files=FILES, names=["compare"], functions=range(3))
    app = Starlette(routes=[Route("/{path:path}", asset)], lifespan=door.lifespan)
    with TestClient(app, base_url=HERE) as client:
        client.get("/")  # before which the door itself asks for the description of the API
        made.clear()
        for encodings in ("br, gzip", "gzip, deflate, br", "gzip", "identity") * 2:
            answer = client.get("/assets/a.js", headers={"Accept-Encoding": encodings})
            assert (answer.text, answer.headers["etag"]) == ("a" * 1000, "1")
            assert len(answer.headers.get_list("x-frame-options")) == 1
        assert made == ["br", "gzip", "identity"]
        for headers in ({"Range": "bytes=0-1"}, {"If-None-Match": "1"}):
            client.get("/assets/a.js", headers=headers)
        assert len(made) == 5


def test_the_page_is_made_once_for_each_name_of_the_server() -> None:
    made = []

    async def page(request: Request) -> PlainTextResponse:
        made.append(str(request.url))
        said = [request.headers.get(name) for name in ("x-forwarded-host", "x-forwarded-proto", "cookie")]
        return PlainTextResponse(f"{request.url} {said} " + "a page " * 1000)

    door = FrontDoor(files=FILES, names=[], functions=(), proxies=1)
    app = Starlette(routes=[Route("/{path:path}", page)], lifespan=door.lifespan)
    with TestClient(app, base_url=HERE) as client:
        asked: list[tuple[str, dict[str, str]]] = [
            ("/", {}),
            ("/config", {}),
            ("/", {"Host": "page.example"}),
            ("/", {"X-Forwarded-Host": "seen.example"}),
            ("/", {"X-Forwarded-Host": "seen.example", "X-Forwarded-Proto": "https"}),
        ]
        first = [client.get(path, headers=headers) for path, headers in asked]
        number = len(made)
        of_others = {"Cookie": "a=1", "User-Agent": "another", "X-Forwarded-For": "1.2.3.4"}
        again = [client.get(path, headers={**headers, **of_others}) for path, headers in asked]
        assert len(made) == number
        assert [answer.text for answer in again] == [answer.text for answer in first]
        assert len({answer.text for answer in first}) == len(asked)
        assert "['seen.example', 'https', None]" in first[-1].text
        for answer in (*first, *again):
            assert len(answer.headers.get_list("x-frame-options")) == 1
        # Settings in the address are the browser's matter, and gradio's own ways to read it are not used.
        assert client.get("/?prompt=a+fox&deep_link=x").text == first[0].text
        client.head("/")
        assert len(made) == number + 1


def test_names_that_are_made_up_push_out_the_oldest_only() -> None:
    kept, made = Kept(most=3000, encodings=("gzip",), headers=("host",)), []

    async def ask(scope: Scope, send: Send) -> None:
        made.append(dict(scope["headers"])[b"host"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a" * 1000})

    async def drop(message: Message) -> None:
        pass

    async def visit(name: bytes) -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", name)]}
        await kept.send(scope, drop, ask)

    async def visits() -> None:
        for number in range(100):
            await visit(b"%d" % number)
            await visit(b"own")

    asyncio.run(visits())
    assert made.count(b"own") == 1
    assert len(made) == 101
    assert kept._bytes <= kept.most


def test_what_is_no_page_is_not_kept() -> None:
    statuses = iter((500, 404, 200, 500))

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("", next(statuses) if request.url.path == "/" else 200)

    door = FrontDoor(files=FILES, names=[], functions=())
    app = Starlette(routes=[Route("/{path:path}", page)], lifespan=door.lifespan)
    with TestClient(app, base_url=HERE) as client:
        assert [client.get("/").status_code for _ in range(5)] == [500, 404, 200, 200, 200]
