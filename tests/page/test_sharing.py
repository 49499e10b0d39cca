"""What other sites show of a link to the page."""

from __future__ import annotations

import re

import pytest
from gradio import routes

from page.sharing import PICTURE, describe_page


@pytest.mark.parametrize("template", ["frontend/index.html", "frontend/share.html"])
def test_a_link_is_described_once_and_its_picture_has_the_address_of_the_page(template: str) -> None:
    for _ in range(2):
        describe_page()
    page = routes.templates.env.get_template(template)
    root = "https://page.example/base"
    html = page.render(config={"root": root, "title": "x", "body_css": {}}, gradio_api_info={})
    tags = dict(re.findall(r'<meta (?:property|name)="((?:og|twitter):[^"]+)" content="([^"]*)">', html))
    assert tags["og:title"] == "ToDo vs ToMe"
    assert tags["og:image"] == f"{root}/page.png"
    assert "og:url" not in tags  # it would take the place of the link, and of the settings in it
    assert len(re.findall(r'"(?:og|twitter):', html)) == len(tags)
    assert html.index("charset") < html.index("og:title") < html.index("og:image") < 4000
    assert PICTURE.is_file()
