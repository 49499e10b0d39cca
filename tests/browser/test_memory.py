"""What the page remembers, in a real browser."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from zipfile import ZipFile

import pytest
from playwright.sync_api import Browser, Page, expect

from compare import load_comparison
from tests.browser.conftest import WAIT, compare, fill, first_step, message, more_settings, small
from tests.browser.test_browser import download, picture
from tests.helpers.server import PROJECT, Server, serving
from tests.helpers.visitors import refusal

pytestmark = pytest.mark.browser
EXAMPLE = PROJECT / "assets" / "example"


def typed(page: Page, field: str) -> str:
    return page.locator(f"#{field}").locator("input, textarea").first.input_value()


def settings_in_address(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query, keep_blank_values=True)


def address_says(page: Page, part: str) -> None:
    page.wait_for_url(lambda url: part in url)


def drop(page: Page, file: Path) -> None:
    """Drop a file on the page."""
    page.evaluate(
        """([name, data]) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
          transfer.items.add(new File([bytes], name));
          for (const kind of ["dragover", "drop"]) {
            const event = new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.body.dispatchEvent(event);
          }
        }""",
        [file.name, base64.b64encode(file.read_bytes()).decode()],
    )


def test_the_address_of_an_untouched_page_stays_as_it_is(page: Page, server: Server) -> None:
    page.wait_for_timeout(1500)
    assert page.url == f"{server.address}/"


def test_a_link_brings_the_settings_to_somebody_else(window: Callable[..., Page]) -> None:
    one = window()
    fill(one, prompt="a föx & “a hen”", width=128, height=192, seed=5, factor=3)
    one.get_by_label("ToMe", exact=True).uncheck()
    address_says(one, "factor=3")
    address_says(one, "seed=5")
    one.wait_for_timeout(500)
    settings = settings_in_address(one)
    assert settings["prompt"] == ["a föx & “a hen”"]
    assert settings["methods"] == ["baseline", "todo", "todo-rotating"]
    assert {"negative_prompt", "guidance_scale", "steps", "repeats"} <= set(settings)
    other = window()
    other.goto(one.url)
    message(other, "These are the settings of a link")
    assert typed(other, "prompt") == "a föx & “a hen”"
    more_settings(other)
    for field in ("width", "height", "seed", "factor", "steps", "guidance"):
        assert typed(other, field) == typed(one, field)
    expect(other.get_by_label("ToMe", exact=True)).not_to_be_checked()
    expect(other.locator("#factors").get_by_role("radio", name="3")).to_be_checked()
    expect(other.locator("#expectation")).to_contain_text("128×192")


def test_a_prompt_of_any_length_comes_back(page: Page) -> None:
    prompt = "狐" * 900
    page.locator("#prompt textarea").fill(prompt)
    page.wait_for_url(re.compile("#prompt="))
    page.reload()
    expect(page.locator("#prompt textarea")).to_have_value(prompt)


def test_a_link_is_text_and_what_is_wrong_with_it_is_said(page: Page, server: Server) -> None:
    nasty = "<img src=x onerror='window.taken = 1'>"
    page.goto(f"{server.address}/?prompt={nasty}&width=3&{nasty[:4]}=1")
    expect(page.locator("#width #field-error")).to_contain_text(refusal(width=3))
    expect(page.locator("#width #field-error")).to_contain_text("left out: <img")
    assert typed(page, "prompt") == nasty
    assert typed(page, "width") == "3"
    assert page.evaluate("window.taken") is None


def test_the_browser_remembers_the_last_settings(page: Page, server: Server) -> None:
    fill(page, prompt="a badger", steps=7)
    address_says(page, "steps=7")
    again = page.context.new_page()
    again.goto(server.address)
    expect(again.locator("#prompt textarea")).to_have_value("a badger")
    more_settings(again)
    expect(again.locator("#steps input")).to_have_value("7")


def test_what_is_typed_before_the_last_settings_are_there_stays(page: Page, server: Server) -> None:
    held = []
    fill(page, prompt="a badger", steps=7)
    address_says(page, "steps=7")
    again = page.context.new_page()
    again.route("**/gradio_api/run/**", lambda route: held.append(route))
    again.goto(server.address)
    again.locator("#prompt textarea").fill("a hen")
    while not held:
        again.wait_for_timeout(50)
    for route in held:
        route.continue_()
    again.unroute("**/gradio_api/run/**")
    more_settings(again)
    expect(again.locator("#steps input")).to_have_value("7")
    again.wait_for_timeout(1000)
    expect(again.locator("#prompt textarea")).to_have_value("a hen")
    address_says(again, "prompt=a+hen")


def test_a_browser_that_keeps_nothing_has_the_page_all_the_same(chromium: Browser, server: Server) -> None:
    context = chromium.new_context()
    context.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name,"
        " { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(f"{server.address}/?seed=77")
    more_settings(page)
    expect(page.locator("#seed input")).to_have_value("77")
    small(page)
    compare(page)
    context.close()


def test_loaded_again_the_page_has_its_comparison(page: Page) -> None:
    small(page, seed=41)
    compare(page)
    alt = picture(page, "todo").get_attribute("alt")
    page.reload()
    expect(page.locator("#about")).to_contain_text("seed 41")
    expect(picture(page, "todo")).to_have_attribute("alt", alt)
    expect(page.locator("#strip li")).to_have_count(1)
    page.get_by_role("button", name="The same from your own script").click()
    expect(page.locator("#script")).to_contain_text("41")


def test_loaded_again_in_the_middle_of_a_run_the_page_finds_it(quiet_page: Page) -> None:
    page = quiet_page
    small(page, width=256, height=256, steps=16, seed=43)
    page.click("#compare")
    first_step(page)
    page.reload()
    message(page, "Your comparison goes on.")
    expect(page.locator("#stop")).to_be_enabled()
    expect(page.locator("#compare")).to_be_disabled()
    expect(page.locator("#bars li progress")).to_be_visible()
    message(page, "Done.")
    expect(page.locator("#about")).to_contain_text("seed 43")
    expect(page.locator("#strip li")).to_have_count(1)


def test_what_goes_on_after_the_page_was_loaded_again_can_be_stopped(quiet_page: Page) -> None:
    page = quiet_page
    small(page, width=256, height=256, steps=100)
    page.click("#compare")
    first_step(page)
    page.reload()
    message(page, "Your comparison goes on.")
    page.click("#stop")
    message(page, "Stopped.")
    small(page)
    compare(page)


def test_until_the_first_picture_the_one_before_stays_on_the_stage(page: Page) -> None:
    before = picture(page, "todo").get_attribute("src")
    small(page, width=256, height=256, steps=60)
    page.click("#compare")
    first_step(page)
    expect(page.locator("#about")).to_contain_text("running")
    page.locator("#stage img[alt^='Preview']").wait_for()
    page.click("#stop")
    message(page, "what was shown before is back")
    expect(picture(page, "todo")).to_have_attribute("src", before)


def test_stop_says_that_it_heard_before_the_server_does(page: Page) -> None:
    held = []
    small(page, width=256, height=256, steps=100)
    page.click("#compare")
    first_step(page)
    page.route("**/gradio_api/run/**", lambda route: held.append(route))
    page.click("#stop")
    expect(page.locator("#stop")).to_have_text("Stopping")
    expect(page.locator("#stop")).to_be_disabled()
    for route in held:
        route.continue_()
    page.unroute("**/gradio_api/run/**")
    message(page, "Stopped.")
    expect(page.locator("#stop")).to_have_text("Stop")


def test_a_dropped_picture_brings_its_settings_back(page: Page, tmp_path) -> None:
    small(page, prompt="a fox, 狐", seed=6)
    compare(page)
    file = download(page, "#stage figure[data-pane='todo'] a[download]", tmp_path)
    uploads = []
    page.on("request", lambda request: uploads.append(request.post_data_buffer or b""))
    fill(page, prompt="something else", seed=1)
    drop(page, file)
    message(page, "These are the settings of the picture")
    expect(page.locator("#prompt textarea")).to_have_value("a fox, 狐")
    expect(page.locator("#seed input")).to_have_value("6")
    page.locator("#memory input[type=file]").set_input_files(EXAMPLE / "todo.png")
    expect(page.locator("#prompt textarea")).to_have_value("a fox on navy")
    expect(page.locator("#seed input")).to_have_value("101")
    assert max(map(len, uploads)) < 4000  # no picture is sent


@pytest.mark.parametrize("name", ["assets/page.png", "README.md"])
def test_a_file_without_settings_is_said_to_be_one(page: Page, name: str) -> None:
    before = typed(page, "prompt")
    drop(page, PROJECT / name)
    message(page, "There are no settings in this file")
    assert typed(page, "prompt") == before


def test_everything_can_be_taken_home(page: Page, tmp_path) -> None:
    small(page, seed=12)
    compare(page)
    file = download(page, "[data-pack=archive]", tmp_path)
    assert file.name == "comparison-factor2-a-fox-on-navy-seed12.zip"
    with ZipFile(file) as files:
        files.extractall(tmp_path)
    comparison = load_comparison(tmp_path / file.stem)
    assert comparison.request.seed == 12
    sheet = download(page, "[data-pack=sheet]", tmp_path)
    assert sheet.name == "comparison-factor2-a-fox-on-navy-seed12.png"
    assert download(page, "[data-pack=sheet]", tmp_path).read_bytes() == sheet.read_bytes()


def test_the_strip_has_this_visits_comparisons(page: Page) -> None:
    expect(page.locator("#strip")).not_to_be_visible()
    for factor in (2, 4):
        small(page, factor=factor)
        compare(page)
    cards = page.locator("#strip li")
    expect(cards).to_have_count(2)
    expect(cards.first).to_have_attribute("aria-current", "true")
    cards.last.locator("[data-act=show]").click()
    expect(page.locator("#about")).to_contain_text("factor 2")
    assert typed(page, "factor") == "4"
    cards.last.locator("[data-act=take]").click()
    expect(page.locator("#factor input")).to_have_value("2")


def test_factor_2_stands_beside_factor_4(page: Page) -> None:
    small(page, factor=2)
    compare(page)
    page.locator("#strip [data-act=pin]").click()
    expect(page.locator("#strip [data-act=pin]")).to_have_attribute("aria-pressed", "true")
    fill(page, factor=4)
    compare(page)
    shown = page.locator("#stage figure")
    expect(shown).to_have_count(5)
    labels = page.locator("#stage figcaption b").all_inner_texts()
    assert labels == ["Baseline", "ToMe, factor 4", "ToMe, factor 2", "ToDo, factor 4", "ToDo, factor 2"]
    for method in ("todo", "pinned-todo"):
        assert picture(page, method).evaluate("image => image.naturalWidth") == 128
    page.locator("[data-mode-button=difference]").click()
    expect(page.locator("#stage [data-pane=pinned-todo] [data-layer=difference]")).to_have_count(1)
    page.locator("[data-mode-button=wipe]").click()
    options = page.locator("#stage [data-side=right] option").all_inner_texts()
    assert {"ToDo, factor 4", "ToDo, factor 2"} <= set(options)


def test_the_wheel_over_a_number_does_not_change_it(page: Page) -> None:
    more_settings(page)
    steps = page.locator("#steps input")
    before = steps.input_value()
    steps.click()
    for _ in range(3):
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(50)
    page.wait_for_timeout(300)
    assert steps.input_value() == before


def test_what_is_typed_as_soon_as_more_settings_open_stays(page: Page) -> None:
    page.get_by_role("button", name="More settings").click()
    steps = page.locator("#steps input")
    steps.fill("9", timeout=500)
    page.locator("#negative-prompt textarea").fill("rain", timeout=500)
    page.wait_for_timeout(1500)
    assert steps.input_value() == "9"
    assert typed(page, "negative-prompt") == "rain"


def test_more_settings_are_closed_at_first_and_open_for_an_error_in_them(page: Page, server: Server) -> None:
    expect(page.locator("#steps input")).not_to_be_visible()
    page.goto(f"{server.address}/?steps=0")
    expect(page.locator("#steps input")).to_be_visible()
    expect(page.locator("#steps input")).to_have_attribute("aria-invalid", "true")


def test_a_shared_link_has_a_name_a_sentence_and_a_picture(page: Page, server: Server) -> None:
    answer = page.request.get(f"{server.address}/?seed=5").text()
    assert answer.count('property="og:title"') == answer.count('property="og:image"') == 1
    assert 'property="og:title" content="ToDo vs ToMe"' in answer
    image = re.search(r'property="og:image" content="([^"]+)"', answer).group(1)
    assert image == f"{server.address}/page.png"
    served = page.request.get(image)
    assert served.headers["content-type"] == "image/png"
    assert served.body() == (PROJECT / "assets" / "page.png").read_bytes()
    assert "gradio.app" not in re.search(r"<head>.*?<style>", answer, re.S).group()


def test_when_the_server_goes_away_the_page_says_so_and_goes_on_when_it_is_back(
    chromium: Browser, tmp_path
) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(WAIT)
    alert = page.get_by_role("alert").filter(has_text="does not answer")
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    with serving(tmp_path / "one") as server:
        page.goto(server.address)
        page.locator("#compare").wait_for()
        small(page, width=256, height=256, steps=100, seed=45)
        page.click("#compare")
        first_step(page)
    expect(alert).to_be_in_viewport()
    with serving(tmp_path / "two", "--port", server.address.rpartition(":")[2]):
        message(page, "The server was restarted while your comparison was running")
        expect(alert).not_to_be_visible()
        more_settings(page)
        expect(page.locator("#seed input")).to_have_value("45")
        small(page)
        compare(page)
        expect(page.locator("#strip li")).to_have_count(1)
        page.locator("#prompt textarea").fill("half a prom")
    expect(alert).to_be_in_viewport()
    with serving(tmp_path / "three", "--port", server.address.rpartition(":")[2]):
        message(page, "The earlier comparisons of this visit are gone")
        expect(alert).not_to_be_visible()
        assert typed(page, "prompt") == "half a prom"
        expect(page.locator("#strip li")).to_have_count(0)
        compare(page)
    context.close()
