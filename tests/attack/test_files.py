"""Files that a visitor names: the server neither fetches nor reads nor uploads any."""

from __future__ import annotations

import json

import pytest

from tests.helpers.attacker import TOOL_HEADERS, Attacker, tool_call

FAR = "http://huggingface.co"  # gradio asks it without a look at its address


def file(path: str, **more: object) -> dict[str, object]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def as_it_is(file: dict) -> bytes:
    return json.dumps(file).encode()


def escaped(file: dict) -> bytes:
    return as_it_is(file).replace(b'"path"', rb'"p\u0061th"')


def twice(file: dict) -> bytes:
    return as_it_is(file).replace(b'{"path"', b'{"path": 1, "path"', 1)


def in_a_list(file: dict) -> bytes:
    return as_it_is([[{"image": [file]}]])


def in_a_file(file: dict) -> bytes:
    return as_it_is({"meta": {"_type": "something"}, "value": [{"deep": {"deeper": file}}]})


def in_text(file: dict) -> bytes:
    return as_it_is(json.dumps(file))


SHAPES = [as_it_is, escaped, twice, in_a_list, in_a_file, in_text]


def bodies(attacker: Attacker, value: bytes) -> dict[str, bytes]:
    """By path, a call of each door with this value as the width, so that nothing is run."""
    config = attacker.http.get("/config").json()
    settings = [json.dumps(setting).encode() for setting in attacker.data()]
    settings[2] = value
    data = b'{"data": [' + b", ".join(settings) + b"]}"
    requests = {
        "/gradio_api/call/compare": data,
        "/gradio_api/run/compare": data,
        "/gradio_api/api/compare": data,
        "/gradio_api/call/v2/compare": b'{"prompt": "a fox", "width": ' + value + b"}",
    }
    for function in config["dependencies"]:
        if not function["inputs"]:
            continue
        inputs = b", ".join([value] * len(function["inputs"]))
        number = b'"session_hash": "attack", "fn_index": %d' % function["id"]
        for path in ("queue/join", "run/predict", "api/predict"):
            requests[f"/gradio_api/{path}?{function['id']}"] = b'{"data": [%s], %s}' % (inputs, number)
    return requests


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_fetched(attacked: str, outside: tuple[str, list[str]], shape) -> None:
    address, asked = outside
    for far, url in ((FAR, ""), (FAR, FAR), (address, ""), ("file:///etc/passwd", FAR)):
        attacker = Attacker(attacked)
        named = file(f"{far}/{shape.__name__}", **({"url": f"{url}/{shape.__name__}"} if url else {}))
        for path, body in bodies(attacker, shape(named)).items():
            answer = attacker.http.post(path, content=body, headers={"Content-Type": "application/json"})
            if answer.status_code == 200 and "/call/" in path:
                attacker.listen(answer.json()["event_id"])
            elif answer.status_code == 200 and "/queue/" in path:
                attacker.http.get("/gradio_api/queue/data", params={"session_hash": "attack"})
            if shape is not in_text:
                assert 400 <= answer.status_code < 500, (path, answer.text)
        call = tool_call({"width": "HERE"}).replace(b'"HERE"', shape(named))
        attacker.http.post("/gradio_api/mcp/", content=call, headers=TOOL_HEADERS)
    assert asked == []


def test_other_encodings_of_json_hide_nothing(attacker: Attacker, outside: tuple[str, list[str]]) -> None:
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        body = json.dumps({"data": attacker.data(prompt=file(FAR))}).encode(encoding)
        headers = {"Content-Type": "application/json"}
        answer = attacker.http.post("/gradio_api/call/compare", content=body, headers=headers)
        assert answer.status_code == 400
    assert outside[1] == []


def test_a_tool_cannot_make_the_server_read_its_own_files(attacker: Attacker) -> None:
    answer = attacker.use_tool({"prompt": file("/etc/hostname")})
    assert answer.status_code == 400
    assert "names a file" in answer.text or "cannot name a file" in answer.text
