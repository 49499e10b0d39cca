"""What a browser is shown until the page is there: what it is for, its example, and that it opens by itself.

It is made before gradio and diffusers are imported, from the words and the example of the first view.
"""

from __future__ import annotations

import sys
from pathlib import Path

from starlette.responses import FileResponse
from starlette.routing import Route

from compare.files import load_comparison
from compare.report import Comparison
from page.example import EXAMPLE, UNREADABLE
from page.html import render
from page.verdict import best_first, columns_of
from server.front_door.door import answer_headers
from server.lobby import Lobby
from server.options import ServerOptions


def open_lobby(options: ServerOptions) -> Lobby:
    """Answer where the page will, and print the address. Ends the process if the port is taken."""
    try:
        example = load_comparison(EXAMPLE)
    except UNREADABLE:  # of which the log speaks as soon as there is one
        example = None
    pictures = [_picture(EXAMPLE / f"{result.method}.png") for result in (example.results if example else ())]
    headers = answer_headers(options.frames)
    try:
        lobby = Lobby(lobby_html(example), pictures, headers, options.host, options.port)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    print(f"Loading the model. The page will be at {lobby.address}", flush=True)
    return lobby


def lobby_html(example: Comparison | None) -> str:
    """The page as HTML."""
    columns = columns_of(example) if example else ()
    return render("lobby", example=example, columns=columns, ranked=best_first(columns))


def _picture(file: Path) -> Route:
    async def answer(request: object) -> FileResponse:
        return FileResponse(file)

    return Route(f"/example/{file.name}", answer)
