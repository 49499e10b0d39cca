"""The page on screens of all sizes: what is on the first one, what moves, and what axe says of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect

from tests.browser.conftest import compare, first_step, message, more_settings, small
from tests.helpers.server import Server

pytestmark = pytest.mark.browser

DESKTOP, TABLET, PHONE = (1440, 900), (1024, 768), (390, 844)
WIDE = (2560, 1440)
KILOBYTES = 340  # of a first visit, beside the pictures of the example
STOPS = 12  # presses of Tab from the top of the page to Compare

# What moved without anybody's doing. A window's score is their sum.
SHIFTS = """
() => new Promise((resolve) => {
  const shifts = [];
  const observer = new PerformanceObserver((list) => shifts.push(...list.getEntries()));
  observer.observe({type: 'layout-shift', buffered: true});
  setTimeout(() => {
    observer.disconnect();
    const name = ({node}) => node?.id || node?.className || node?.nodeName;
    const unasked = shifts.filter((shift) => !shift.hadRecentInput);
    resolve(unasked.map((shift) => [shift.value, shift.startTime, shift.sources.map(name)]));
  }, 200);
})
"""


def on(window: Callable[..., Page], size: tuple[int, int], scheme: str = "light", **options: object) -> Page:
    width, height = size
    page = window(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
    page.locator("#stage figure img").first.wait_for()
    return page


def shifted(page: Page, since: float = 0) -> tuple[float, list[object]]:
    """The score since a moment of the page's clock, and what moved."""
    shifts = [shift for shift in page.evaluate(SHIFTS) if shift[1] > since]
    return sum(value for value, *_ in shifts), shifts


def bottom(page: Page, selector: str) -> float:
    box = page.locator(selector).last.bounding_box()
    return box["y"] + box["height"]


def findings(page: Page) -> list[str]:
    """What axe calls serious or critical, each with its first elements."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {[node['target'] for node in one['nodes'][:4]]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(window, size: tuple[int, int], scheme: str) -> None:
    page = on(window, size, scheme)
    assert findings(page) == []
    more_settings(page)
    for name in ("Settings of the methods", "The same from your own script"):
        page.get_by_role("button", name=name).click()
    page.locator("#script").wait_for()
    page.locator("#tome-ratio").wait_for()
    assert findings(page) == []
    for tab in ("Explore", "How it works"):
        page.get_by_role("tab", name=tab).click()
        assert findings(page) == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_during_a_run(window, size: tuple[int, int], scheme: str) -> None:
    page = on(window, size, scheme)
    small(page, width=256, height=256, steps=100)
    page.click("#compare")
    first_step(page)
    assert findings(page) == []
    page.click("#stop")
    message(page, "Stopped.")
    page.locator("#prompt textarea").fill("")
    page.click("#compare")
    page.locator("#message .error").wait_for()
    assert findings(page) == []


@pytest.mark.parametrize("size", [DESKTOP, TABLET, PHONE], ids=["desktop", "tablet", "phone"])
def test_what_is_there_does_not_move_while_the_page_loads(window, size: tuple[int, int]) -> None:
    page = on(window, size)
    page.wait_for_timeout(1000)
    score, shifts = shifted(page)
    assert score < 0.1, shifts


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_what_is_there_does_not_move_while_results_arrive(window, size: tuple[int, int]) -> None:
    page = on(window, size)
    small(page, width=256, height=256, steps=4)
    more_settings(page)
    page.get_by_role("button", name="More settings").click()
    page.locator("#width").wait_for(state="hidden")
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(1000)
    before = page.evaluate("performance.now()")
    compare(page)
    page.wait_for_timeout(500)
    score, shifts = shifted(page, before)
    assert score < 0.05, shifts


def test_compare_is_a_few_tab_stops_from_the_top(page: Page) -> None:
    page.evaluate("document.body.focus()")
    stops = []
    for _ in range(STOPS):
        page.keyboard.press("Tab")
        stops.append(
            page.evaluate("document.activeElement.id || document.activeElement.outerHTML.slice(0, 80)")
        )
        if stops[-1] == "compare":
            return
    raise AssertionError(stops)


@pytest.mark.parametrize("size", [WIDE, DESKTOP, TABLET], ids=["wide", "desktop", "tablet"])
def test_the_first_screen_has_title_presets_verdict_and_bars(window, size: tuple[int, int]) -> None:
    page = on(window, size)
    for part in ("h1", ".examples", "#size", "#factors", "#compare", "#bars .verdict .says", "#bars li"):
        assert bottom(page, part) < size[1], part
    assert page.locator("#stage figure img").first.bounding_box()["y"] < size[1] - 100
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_wide_screen_is_used(window) -> None:
    page = on(window, WIDE)
    assert page.locator("#stage").bounding_box()["width"] > 2200
    pictures = [picture.bounding_box() for picture in page.locator("#stage figure").all()]
    assert len({round(picture["y"]) for picture in pictures}) == 1
    assert min(picture["width"] for picture in pictures) > 480
    assert max(picture["y"] + picture["height"] for picture in pictures) < WIDE[1]


def test_the_first_screen_of_a_phone_has_title_one_picture_verdict_and_bars(window) -> None:
    page = on(window, PHONE)
    page.locator("#stage[data-mode='side-by-side']").wait_for()  # after a moment of the difference
    parts = ("h1", "#stage figure", "#bars .verdict .says", "#bars li")
    assert [bottom(page, part) for part in parts] == sorted(bottom(page, part) for part in parts)
    assert bottom(page, "#bars li") < PHONE[1]
    assert page.locator("#prompt").bounding_box()["y"] > bottom(page, "#bars li")
    (figure,) = page.locator("#stage figure").all()
    assert figure.bounding_box()["width"] > 340
    expect(page.locator("#width")).not_to_be_visible()  # settings are closed


def test_on_a_phone_a_chip_switches_the_picture_in_its_place(window) -> None:
    page = on(window, PHONE, reduced_motion="reduce")
    before = page.locator("#stage figure").bounding_box()
    for label, method in (("ToMe", "tome"), ("ToDo", "todo"), ("Baseline", "baseline")):
        page.locator("#stage .stage-chips").get_by_role("button", name=label, exact=True).click()
        page.locator(f"#stage figure[data-pane='{method}']").wait_for()
        assert page.locator("#stage figure").count() == 1
        assert page.locator("#stage figure").bounding_box() == before


def test_a_phone_has_the_state_of_a_run_in_sight_wherever_it_is_scrolled_to(window) -> None:
    page = on(window, PHONE)
    small(page, width=256, height=256, steps=100)
    page.click("#compare")
    first_step(page)
    for position in (0, 10_000):
        page.evaluate("top => window.scrollTo(0, top)", position)
        expect(page.locator("#bars .verdict .says")).to_be_in_viewport()
        expect(page.locator("#bars .verdict .whole")).to_be_in_viewport()
        expect(page.locator("#stop")).to_be_in_viewport()
    page.locator("#bars .verdict .whole:not([value='0.000'])").wait_for()
    page.click("#stop")
    message(page, "Stopped.")


def test_a_first_visit_fetches_what_is_shown_and_nothing_else(server: Server, chromium: Browser) -> None:
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    finished: list[Request] = []
    page.on("requestfinished", lambda request: finished.append(request))
    page.goto(server.address)
    page.locator("#stage figure img").first.wait_for()
    page.wait_for_timeout(2000)
    sizes = {
        request.url.rpartition("/")[2]: request.sizes()["responseBodySize"]
        for request in finished
        if request.resource_type != "image"
    }
    pictures = [request for request in finished if request.resource_type == "image"]
    context.close()
    heaviest = sorted(sizes.items(), key=lambda size: -size[1])[:12]
    assert len(pictures) == 4
    assert not [name for name in sizes if name.lower().startswith(("video", "hls", "gallery", "audio"))]
    assert sum(sizes.values()) < KILOBYTES * 1000, heaviest
