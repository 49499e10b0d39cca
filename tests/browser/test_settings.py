"""The settings of the methods, as they are typed on the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import bar, compare, fill, more_settings, small
from tests.helpers.visitors import refusal

pytestmark = pytest.mark.browser


def method_settings(page: Page, **settings: object) -> None:
    """Open them, and type."""
    more_settings(page)
    if not page.locator("#tome-ratio").is_visible():
        page.get_by_role("button", name="Settings of the methods").click()
        page.locator("#tome-ratio").wait_for()
        page.wait_for_timeout(500)  # gradio writes the values into fields that it has just made
    fill(page, **settings)


def test_settings_of_the_methods_are_in_the_names_of_their_results(page: Page) -> None:
    small(page, factor="4, 2")
    method_settings(page, until=0.5, tome_stride=3, tome_ratio=0.5, tome_seed=7)
    page.locator("#pooling").get_by_text("average").click()
    page.get_by_label("ToDo, rotating grid", exact=True).uncheck()
    compare(page)
    names = page.locator("#numbers thead th").all_inner_texts()
    assert names == [
        "Baseline",
        "ToMe (until 0.5, ratio 0.5, stride 3, seed 7)",
        "ToDo (until 0.5, pooling average)",
    ]
    captions = page.locator("#stage figcaption b").all_inner_texts()
    assert captions == names
    expect(bar(page, "tome")).to_contain_text("stride 3")
    page.get_by_role("button", name="The same from your own script").click()
    expect(page.locator("#script")).to_contain_text("ToDo(factor=(4, 2), pooling='average', until=0.5)")


def test_a_factor_for_each_level_has_no_shortcut_and_a_shortcut_replaces_it(page: Page) -> None:
    fill(page, factor="4, 2")
    page.locator("#steps input").focus()
    expect(page.locator("#factors input:checked")).to_have_count(0)
    page.locator("#factors").get_by_text("3", exact=True).click()
    expect(page.locator("#factor input")).to_have_value("3")
    page.locator("#size").get_by_text("256", exact=True).click()
    expect(page.locator("#factor input")).to_have_value("3")
    expect(page.locator("#factors").get_by_role("radio", name="3")).to_be_checked()


def test_what_cannot_be_is_said_before_the_click_and_at_it(page: Page) -> None:
    methods = ["baseline", "tome", "todo", "todo-rotating"]
    method_settings(page, tome_ratio=0.8)
    page.locator("#tome-seed input").focus()
    expect(page.locator("#expectation")).to_contain_text("1 - 1/stride²")
    page.click("#compare")
    expect(page.locator("#message .error")).to_have_text(refusal(tome_ratio=0.8, methods=methods))
    method_settings(page, tome_ratio="", tome_levels=5)
    page.click("#compare")
    expect(page.locator("#message .error")).to_contain_text("level")
    assert page.locator("#tome-levels input").input_value() == "5"
    method_settings(page, tome_levels="")
    page.locator("#pooling").get_by_text("average").click()
    expect(page.locator("#expectation")).to_contain_text("leaves the rotating grid no token to choose")
