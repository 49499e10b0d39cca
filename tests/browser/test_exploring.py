"""A visitor's own exploration in a browser, on the real page and model."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import fill, first_step, message, small
from tests.helpers.server import Server

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}


def explore(page: Page, steps: int = 2) -> None:
    """Two methods at two factors at 256 px, begun."""
    fill(page, steps=steps)
    page.get_by_role("tab", name="Explore").click()
    page.locator("#explore-size").get_by_label("256").check()
    for factor in ("3", "2 on two levels"):
        page.locator("#explore-factors").get_by_label(factor, exact=True).set_checked(False)
    for method in ("ToMe", "ToDo"):
        page.locator("#explore-methods").get_by_label(method, exact=True).check()
    page.locator("#explore-methods").get_by_label("ToDo, rotating grid", exact=True).uncheck()
    expect(page.locator("#standing")).to_contain_text("4 points in 2 comparisons")
    page.click("#measure")


def points(page: Page) -> list[str]:
    return [point.get_attribute("aria-label") for point in page.locator("#exploration .point").all()]


def test_points_come_and_bring_their_pictures_to_the_stage(page: Page) -> None:
    explore(page)
    expect(page.locator("#measure")).to_be_disabled()
    page.locator("#exploration .point").first.wait_for()
    expect(page.locator("#standing")).to_contain_text("Done.")
    expect(page.locator("#measure")).to_be_enabled()
    assert [name.partition(":")[0] for name in points(page)] == [
        "ToMe, factor 2", "ToDo, factor 2", "ToMe, factor 4", "ToDo, factor 4",
    ]  # fmt: skip
    page.get_by_role("button", name="ToDo, factor 4: ").click()
    expect(page.locator("#stage figure")).to_have_count(3)
    expect(page.locator("#about")).to_contain_text("256×256 · factor 4")
    expect(page.locator("#stage figure").first).to_be_in_viewport(ratio=0.5)
    assert page.locator("#strip li").count() == 2


def test_the_keyboard_reaches_a_point_and_its_pictures(page: Page) -> None:
    explore(page)
    expect(page.locator("#standing")).to_contain_text("Done.")
    page.get_by_role("button", name="ToMe, factor 2: ").focus()
    assert "PSNR" in page.locator("#exploration .tip:visible").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("#about")).to_contain_text("256×256 · factor 2")


def test_its_rows_can_be_taken_home(page: Page, tmp_path: Path) -> None:
    explore(page)
    expect(page.locator("#standing")).to_contain_text("Done.")
    with page.expect_download() as download:
        page.get_by_role("button", name="Rows (.zip)").click()
    assert download.value.suggested_filename.startswith("rows-")
    download.value.save_as(tmp_path / "rows.zip")
    with ZipFile(tmp_path / "rows.zip") as archive:
        assert len(archive.read("rows/rows.jsonl").splitlines()) == 4


def test_stop_ends_it_and_a_reload_finds_what_was_measured(page: Page) -> None:
    explore(page, steps=16)
    page.locator("#exploration .point").first.wait_for()
    page.click("#stop-exploring")
    expect(page.locator("#standing")).to_contain_text("Stopped.")
    before = points(page)
    page.reload()
    page.locator("#compare").wait_for()
    page.locator("#strip li").first.wait_for()
    page.get_by_role("tab", name="Explore").click()
    page.locator("#exploration .point").first.wait_for()
    assert points(page) == before


def test_a_reload_in_the_middle_says_what_happened(quiet_page: Page) -> None:
    page = quiet_page
    explore(page, steps=16)
    page.locator("#exploration .point").first.wait_for()
    page.reload()
    message(page, "Your exploration was stopped")
    page.get_by_role("tab", name="Explore").click()
    expect(page.locator("#standing")).to_contain_text("Stopped, as the page was loaded again.")
    assert len(points(page)) >= 1


def test_while_a_comparison_of_the_window_runs_it_waits(page: Page) -> None:
    small(page, width=256, height=256, steps=100)
    page.click("#compare")
    first_step(page)
    page.get_by_role("tab", name="Explore").click()
    expect(page.locator("#standing")).to_contain_text("points in")
    page.click("#measure")
    expect(page.locator("#standing .error")).to_contain_text("A comparison of this window is running.")
    page.get_by_role("tab", name="Compare").click()
    page.click("#stop")
    message(page, "Stopped.")


def test_on_a_phone_nothing_is_wider_than_the_screen(window, server: Server) -> None:
    page = window(viewport=PHONE)
    page.get_by_role("tab", name="Explore").click()
    page.locator("#explore-prompt textarea").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    explore_on_phone = page.locator("#measure").bounding_box()
    assert explore_on_phone["x"] + explore_on_phone["width"] <= PHONE["width"]
