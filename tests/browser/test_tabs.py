"""The tabs Explore and How it works in a browser, on a page that has nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page

from compare.figures import read_figures
from page.explore import add_explore
from page.how_it_works import add_how_it_works
from page.theme import STYLE_SHEET, THEME
from tests.browser.conftest import WAIT

pytestmark = pytest.mark.browser

SIZES = ((1440, 900), (1024, 768), (390, 844))
TABS = ("Explore", "How it works")
SCREEN = 760
"""Pixels of a screen 900 high that heading and tabs leave."""

# Pairs of texts that can be seen and lie on one another.
OVERLAPS = """
() => {
  const boxes = [];
  const tab = [...document.querySelectorAll('.explore, .how')].find((one) => one.checkVisibility());
  const texts = document.createTreeWalker(tab, NodeFilter.SHOW_TEXT);
  for (let node; (node = texts.nextNode());) {
    const parent = node.parentElement;
    const text = node.data.trim();
    if (!text || parent.closest('style') || !parent.checkVisibility({visibilityProperty: true})) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const seen = parent.closest('.scroll')?.getBoundingClientRect() ?? {left: -Infinity, right: Infinity};
    for (const box of range.getClientRects()) {
      const left = Math.max(box.left, seen.left), right = Math.min(box.right, seen.right);
      const {top, bottom} = box;
      if (left >= right) continue;
      const margin = 0.2 * (bottom - top); // a line is higher than its letters
      boxes.push({node, text, left, right, top: top + margin, bottom: bottom - margin});
    }
  }
  const meet = (a, b) =>
    a.left + 1 < b.right && b.left + 1 < a.right && a.top < b.bottom && b.top < a.bottom;
  return boxes.flatMap((a, at) =>
    boxes.slice(at + 1).filter((b) => a.node !== b.node && meet(a, b)).map((b) => [a.text, b.text]));
}
"""

# Left and right of what each point says while it is focused.
TIPS = """
() => [...document.querySelectorAll('.explore .point')].map((point) => {
  point.focus();
  const tip = point.parentElement.querySelector('.tip');
  const {left, right} = tip.getBoundingClientRect();
  return [left, right, getComputedStyle(tip).visibility];
})
"""


def resize(page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    mini = next(work for work in read_figures().work if work.architecture == "mini")
    loaded = SimpleNamespace(info=SimpleNamespace(unet_parameters=mini.parameters))
    with gr.Blocks(analytics_enabled=False, fill_width=True) as blocks:
        with gr.Tab("Explore"):
            add_explore()
        with gr.Tab("How it works"):
            add_how_it_works(loaded)
    _, local, _ = blocks.launch(
        theme=THEME,
        css_paths=STYLE_SHEET,
        quiet=True,
        prevent_thread_lock=True,
        run_history=False,
        ssr_mode=False,
    )
    yield local
    blocks.close(verbose=False)


@pytest.fixture
def open_tab(address: str, chromium: Browser) -> Iterator[Callable[..., Page]]:
    contexts, fetched, errors = [], [], []

    def opened(tab: str, size: tuple[int, int] = SIZES[0], dark: bool = False, **options: object) -> Page:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        context.on("request", lambda request: fetched.append(request.url))
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(WAIT)
        page.goto(f"{address}?__theme={'dark' if dark else 'light'}")
        page.get_by_role("tab", name=tab).click()
        page.locator(".explore" if tab == "Explore" else ".how").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [url for url in fetched if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []


@pytest.mark.parametrize("tab", TABS)
def test_no_text_lies_on_another_and_nothing_is_wider_than_the_window(
    open_tab: Callable[..., Page], tab: str
) -> None:
    page = open_tab(tab)
    page.evaluate("document.querySelectorAll('details').forEach((details) => details.open = true)")
    for size in SIZES:
        resize(page, size)
        assert page.evaluate(OVERLAPS) == [], size
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_how_it_works_is_one_screen(open_tab: Callable[..., Page]) -> None:
    assert open_tab("How it works").locator(".how").bounding_box()["height"] <= SCREEN


def test_on_a_phone_the_drawings_stand_below_one_another(open_tab: Callable[..., Page]) -> None:
    figures = open_tab("How it works", SIZES[2]).locator(".how figure").all()
    boxes = [figure.bounding_box() for figure in figures]
    assert len(boxes) == 5
    for above, below in pairwise(boxes):
        assert below["y"] >= above["y"] + above["height"]


def test_a_point_says_its_numbers_to_the_mouse_and_to_the_keyboard(open_tab: Callable[..., Page]) -> None:
    page = open_tab("Explore")
    point = page.get_by_role("img", name="ToDo, rotating grid, factor 2: speed-up 1.67×").first
    tip = page.locator(".tip:visible")
    assert tip.count() == 0
    point.hover()
    assert "43.9 dB" in tip.inner_text()
    page.mouse.move(1, 1)
    assert tip.count() == 0
    point.focus()
    assert "20" in tip.inner_text()
    page.keyboard.press("Tab")
    assert tip.count() == 1
    assert "ToDo, rotating grid, factor 4" in tip.inner_text()


def test_the_numbers_of_a_point_are_inside_of_the_window(open_tab: Callable[..., Page]) -> None:
    page = open_tab("Explore")
    for size in SIZES:
        resize(page, size)
        boxes = page.evaluate(TIPS)
        assert len(boxes) > 50
        for left, right, visible in boxes:
            assert 0 <= left < right <= size[0]
            assert visible == "visible"


def test_a_point_stands_where_its_numbers_say(open_tab: Callable[..., Page]) -> None:
    """The nearer to the right and to the top, the faster and the closer."""
    page = open_tab("Explore")
    figures = read_figures()
    frontier, curves = figures.frontiers[0], figures.curves[0]
    wanted = {
        f"#all-{frontier.width}": [
            ((point.speedup - 0.9) / 2.5, (point.psnr - 15) / 40) for point in frontier.points
        ],
        f"#chart-{curves.width}": [
            ((point.speedup.middle - 1.0) / 1.3, (point.psnr.middle - 18) / 30) for point in curves.points
        ],
    }
    for title, points in wanted.items():
        chart = page.locator(".explore .chart", has=page.locator(title))
        plot = chart.locator(".plot").bounding_box()
        boxes = [point.bounding_box() for point in chart.locator(".point").all()]
        for point, box in zip(points, boxes, strict=True):
            x = (box["x"] + box["width"] / 2 - plot["x"]) / plot["width"]
            y = (plot["y"] + plot["height"] - box["y"] - box["height"] / 2) / plot["height"]
            assert (x, y) == pytest.approx(point, abs=0.01)


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_grid_goes_round_unless_the_visitor_wants_no_motion(
    open_tab: Callable[..., Page], motion: str
) -> None:
    page = open_tab("How it works", reduced_motion=motion)
    running = page.evaluate(
        "document.getAnimations().filter(a => a.animationName?.startsWith('goes')).length"
    )
    assert running == (0 if motion == "reduce" else 2)


@pytest.mark.parametrize("tab", TABS)
def test_dark_is_dark(open_tab: Callable[..., Page], tab: str) -> None:
    """The words are lighter than what they stand on."""
    page = open_tab(tab, dark=True)
    words = page.locator(".explore h2, .how h2").locator("visible=true").first
    colour = words.evaluate("element => getComputedStyle(element).color")
    assert min(int(part) for part in colour[4:-1].split(",")) > 150
