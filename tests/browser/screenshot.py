"""Takes `assets/page.png`, the picture of the page in the README: `python -m tests.browser.screenshot`.

With `--phone` it shows a phone's width; `--out` names another file.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import FLAGS, find_chromium
from tests.helpers.server import PROJECT, serving

DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phone", action="store_true")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--out", type=Path, default=PROJECT / "assets" / "page.png")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        page = browser.new_page(
            viewport=PHONE if args.phone else DESKTOP, color_scheme="dark" if args.dark else "light"
        )
        page.goto(server.address)
        page.locator("#pane-todo .picture img").wait_for()
        for image in page.locator("img:visible").all():
            image.scroll_into_view_if_needed()  # they are fetched when somebody looks at them
        page.wait_for_function("[...document.images].every(image => image.complete)")
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=args.out, full_page=True)
        browser.close()
    print(args.out)


if __name__ == "__main__":
    main()
