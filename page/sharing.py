"""What other sites show of a link to the page: its name, a sentence and a picture, instead of gradio's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from gradio import routes
from jinja2 import BaseLoader, Environment
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

from page.html import render

PICTURE = Path(__file__).resolve().parents[1] / "assets" / "page.png"
CHARSET = '<meta charset="utf-8" />'
"""What ours stand behind: near the top, as some sites read no further."""
GRADIOS_OWN = re.compile(r'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')


async def _picture(request: Request) -> FileResponse:
    return FileResponse(PICTURE, headers={"Cache-Control": "public, max-age=86400"})


ROUTE = Route("/page.png", _picture)


def describe_page() -> None:
    """Let gradio's page describe ours. Gradio has no setting for it, and what it lets us put into the head
    comes there by script, which other sites do not run: its template is changed as it is read.
    """
    environment = routes.templates.env
    if not isinstance(environment.loader, _Described):
        environment.loader = _Described(environment.loader)


class _Described(BaseLoader):
    def __init__(self, gradios: BaseLoader) -> None:
        self._gradios = gradios

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, file, is_fresh = self._gradios.get_source(environment, template)
        described = GRADIOS_OWN.sub("", source).replace(CHARSET, f"{CHARSET}\n{render('sharing')}", 1)
        return described, file, is_fresh
