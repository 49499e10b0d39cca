"""A browser that comes while the server starts."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import WAIT
from tests.helpers.server import starting, wait_for

pytestmark = pytest.mark.browser


def test_whoever_comes_early_reads_the_example_and_then_has_the_page_with_their_settings(
    chromium: Browser, tmp_path
) -> None:
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    with starting(tmp_path) as server:
        wait_for(server, "The page will be at")
        assert httpx.get(f"{server.address}/healthz").status_code == 503
        page.goto(f"{server.address}/?prompt=a+cat+on+mint")
        expect(page.get_by_role("status")).to_contain_text("The model is loading")
        expect(page.get_by_role("heading", level=2)).to_contain_text("ToDo, rotating grid")
        assert page.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth)")
        assert "Running on" not in server.output.read_text()  # all this was before the model was there
        expect(page.locator("#prompt textarea")).to_have_value("a cat on mint")
        expect(page.locator("#stage figure")).to_have_count(4)
        # The pace is judged behind the page. Nobody has to touch anything to read it.
        expect(page.locator("#expectation")).to_contain_text("512×512 here: about")
    context.close()
    assert errors == []
