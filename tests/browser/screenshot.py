"""Takes `assets/page.png`, the picture of the page in the README: `python -m tests.browser.screenshot`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import FLAGS, find_chromium
from tests.helpers.server import PROJECT, serving

FILE = PROJECT / "assets" / "page.png"


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
        page.goto(server.address)
        page.locator("#stage img").first.wait_for()
        for image in page.locator("img:visible").all():
            image.scroll_into_view_if_needed()  # they are fetched when somebody looks at them
        page.wait_for_function("[...document.images].every(image => image.complete)")
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=FILE, full_page=True)
        browser.close()
    print(FILE)


if __name__ == "__main__":
    main()
