"""The page before the page."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import httpx
import pytest

from compare.files import load_results
from page import lobby
from page.example import EXAMPLE
from page.lobby import lobby_html, open_lobby
from server.options import ServerOptions
from tests.helpers.server import PROJECT


def test_it_says_what_the_example_shows_and_that_the_page_comes() -> None:
    example = load_results(EXAMPLE)
    html = lobby_html(example)
    assert "The model is loading" in html
    assert re.search(r"<h2>ToDo, rotating grid: \d\.\d\d× faster; the difference is \w+", html)
    for result in example:
        assert f'src="example/{result.method}.png"' in html
        assert f"<b>{result.label}</b>" in html
    assert "://" not in html  # nothing is fetched from elsewhere


def test_without_an_example_it_still_says_that_the_page_comes() -> None:
    html = lobby_html(())
    assert "The model is loading" in html
    assert "<img" not in html


def test_it_waits_for_none_of_what_takes_long_to_import() -> None:
    opens = "import sys; from page.lobby import open_lobby; from server.options import ServerOptions; "
    opens += "open_lobby(ServerOptions()).close(); print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", opens], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert {"gradio", "torch", "diffusers", "todo_patch"}.isdisjoint(said.stdout.split())


def test_it_serves_the_pictures_that_it_shows_and_nothing_else_of_their_folder(capsys) -> None:
    lobby = open_lobby(ServerOptions())
    try:
        assert capsys.readouterr().out == f"Loading the model. The page will be at {lobby.address}\n"
        with httpx.Client(base_url=lobby.address) as http:
            page = http.get("/")
            pictures = re.findall(r'src="([^"]+)"', page.text)
            assert len(pictures) >= 4
            for picture in pictures:
                assert http.get(picture).content == (EXAMPLE.parent / picture).read_bytes()
            assert http.get("/example/report.json").status_code == 503
            assert page.headers["x-frame-options"] == "SAMEORIGIN"
    finally:
        lobby.close()


def test_a_broken_example_does_not_keep_it_from_opening(monkeypatch, tmp_path) -> None:
    (tmp_path / "report.json").write_text("{")
    monkeypatch.setattr(lobby, "EXAMPLE", tmp_path)
    opened = open_lobby(ServerOptions())
    try:
        assert "The model is loading" in httpx.get(opened.address).text
    finally:
        opened.close()


def test_a_port_that_is_taken_ends_the_start_with_a_sentence(capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            open_lobby(ServerOptions(port=port))
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: 127.0.0.1:{port} cannot be listened on")
