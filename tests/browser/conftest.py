"""The real page in a real browser: the one server of the tests; fresh windows for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from tests.helpers.server import Server

WAIT = 60_000  # milliseconds, on a slow machine
expect.set_options(timeout=WAIT)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find_chromium() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        reason = "there is no Chromium here: install Debian's chromium, or name one in CHROMIUM"
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def window(server: Server, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens windows on the page. Any request to anywhere else, or error in the console, fails the test."""
    contexts: list[BrowserContext] = []
    fetched: list[str] = []
    errors: list[str] = []

    def open_window(**options: object) -> Page:
        context = chromium.new_context(**options)
        contexts.append(context)
        context.on("request", lambda request: fetched.append(request.url))
        page = context.new_page()
        page.on("websocket", lambda socket: fetched.append(socket.url))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(WAIT)
        page.goto(server.address)
        page.locator("#compare").wait_for()
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert [url for url in fetched if not url.startswith((f"{server.address}/", "data:", "blob:"))] == []
    assert errors == []


@pytest.fixture
def page(window: Callable[..., Page]) -> Page:
    return window(viewport={"width": 1440, "height": 900})


@pytest.fixture
def quiet_page(chromium: Browser, server: Server) -> Iterator[Page]:
    """A page whose errors nobody looks at: gradio reports one when a stream is cut off."""
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(server.address)
    page.locator("#compare").wait_for()
    yield page
    context.close()


def more_settings(page: Page) -> None:
    """Open them, if they are closed."""
    if not page.locator("#width").is_visible():
        page.get_by_role("button", name="More settings").click()
        page.locator("#width").wait_for()
        page.wait_for_timeout(500)  # gradio writes the values into fields that it has just made


def fill(page: Page, **settings: object) -> None:
    """Type into the fields with these ids."""
    more_settings(page)
    inputs = {
        page.locator(f"#{field.replace('_', '-')}").locator("input, textarea"): str(value)
        for field, value in settings.items()
    }
    for _ in range(5):  # on a busy machine what was typed first can be overwritten by what gradio writes
        for input, value in inputs.items():
            if input.input_value() != value:
                input.fill(value)
        page.wait_for_timeout(300)
        if all(input.input_value() == value for input, value in inputs.items()):
            return
    raise AssertionError(f"The page does not keep what is typed: {settings}")


def small(page: Page, **settings: object) -> None:
    """Settings that take a moment."""
    fill(page, **{"width": 128, "height": 128, "steps": 2, **settings})


def message(page: Page, text: str) -> None:
    """Wait until the page says so."""
    expect(page.locator("#message")).to_contain_text(text)


def compare(page: Page) -> None:
    """Press Compare and wait until it is done."""
    about_before = page.locator("#about").inner_text()
    page.click("#compare")
    expect(page.locator("#about")).not_to_have_text(about_before, use_inner_text=True)
    message(page, "Done.")


def first_step(page: Page) -> None:
    """Wait until Baseline, which runs first, has done a step."""
    bar(page, "baseline").locator("progress:not([value='0'])").wait_for()


def bar(page: Page, method: str) -> Locator:
    """The bar of a method's time."""
    return page.locator(f"#bars li[data-method='{method}']")
