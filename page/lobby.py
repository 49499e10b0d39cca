"""What a browser is shown until the page is there: what it is for, its example, and that it opens by itself.

It is made before gradio and diffusers are imported, from the words and the example of the first view.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from starlette.responses import FileResponse
from starlette.routing import Route

from compare.files import load_results
from compare.report import Result
from page.example import EXAMPLE, UNREADABLE
from page.html import render
from page.verdict import best_first, columns_of
from server.front_door.door import answer_headers
from server.lobby import Lobby
from server.options import ServerOptions


def open_lobby(options: ServerOptions) -> Lobby:
    """Answer where the page will, and print the address. Ends the process if the port is taken."""
    try:
        example = load_results(EXAMPLE)
    except UNREADABLE:  # of which the log speaks as soon as there is one
        example = ()
    pictures = [_picture(EXAMPLE / f"{result.method}.png") for result in example]
    headers = answer_headers(options.frames)
    try:
        lobby = Lobby(lobby_html(example), pictures, headers, options.host, options.port)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    print(f"Loading the model. The page will be at {lobby.address}", flush=True)
    return lobby


def lobby_html(example: Sequence[Result]) -> str:
    """The page as HTML."""
    columns = columns_of(example)
    return render("lobby", columns=columns, ranked=best_first(columns))


def _picture(file: Path) -> Route:
    async def answer(request: object) -> FileResponse:
        return FileResponse(file)

    return Route(f"/example/{file.name}", answer)
