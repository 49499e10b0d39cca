from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Page, expect

from tests.browser.conftest import compare, first_step, message, small
from tests.helpers.server import PROJECT, Server
from tests.helpers.visitors import refusal

pytestmark = pytest.mark.browser
EXAMPLE = PROJECT / "assets" / "example"


def numbers(page: Page, method: str) -> dict[str, str]:
    """What stands under a picture, by its name."""
    card = page.locator(f"#pane-{method} .card")
    shown = dict(zip(card.locator("dt").all_inner_texts(), card.locator("dd").all_inner_texts(), strict=True))
    shown["seconds"] = card.locator(".seconds").inner_text()
    if method != "baseline":
        shown["speedup"] = card.locator(".speedup").inner_text()
    return shown


def picture(page: Page, method: str) -> str:
    """The address of the picture in a pane."""
    return page.locator(f"#pane-{method} .picture img").get_attribute("src")


def shown_methods(page: Page) -> list[str]:
    panes = page.locator(".pane:visible").all()
    return [pane.get_attribute("id").removeprefix("pane-") for pane in panes]


def download(page: Page, selector: str, folder: Path) -> Path:
    with page.expect_download() as started:
        page.locator(selector).click()
    file = folder / started.value.suggested_filename
    started.value.save_as(file)
    return file


def test_starting_says_only_what_is_loaded_and_where(server: Server) -> None:
    what, where = server.said.splitlines()
    assert re.fullmatch(r".+ on .+, float\d+, attention by \w+", what)
    assert where == f"Running on {server.address}/"


def test_the_first_view_is_an_example_with_the_numbers_of_its_report(page: Page) -> None:
    report = json.loads((EXAMPLE / "report.json").read_text(encoding="utf-8"))
    about = page.locator("#about").inner_text()
    assert "example" in about
    assert report["date"][:10] in about
    assert (report["environment"]["accelerator"] or report["environment"]["cpu"]) in about
    assert report["model"]["name"] in about
    assert report["request"]["prompt"] in about
    assert {"baseline", "tome", "todo", "todo-rotating"} <= set(shown_methods(page))
    assert shown_methods(page) == [result["method"] for result in report["results"]]
    running = page.locator(".running").inner_text()
    assert all(name in running for name in ("Model", "Device", "Precision", "Attention"))
    for result in report["results"]:
        shown = numbers(page, result["method"])
        assert shown["seconds"] == f"{result['times']['seconds']:.2f} s"
        if result["method"] != "baseline":
            plan = result["plan"]
            assert shown["speedup"] == f"{result['speedup']:.2f}×"
            assert shown["FLOP speed-up"] == f"{plan['flop_speedup']:.2f}×, ceiling {plan['ceiling']:.2f}×"
            assert shown["PSNR"] == f"{result['scores']['psnr']:.2f} dB"
            assert shown["SSIM"] == f"{result['scores']['ssim']:.4f}"


def test_compare_fills_three_panes_with_pictures_and_numbers(page: Page) -> None:
    small(page)
    compare(page)
    assert shown_methods(page) == ["baseline", "tome", "todo"]
    assert "Your comparison" in page.locator("#about").inner_text()
    assert len({picture(page, method) for method in shown_methods(page)}) == 3
    assert {"seconds", "Tokens kept"} <= set(numbers(page, "baseline"))
    for method in ("tome", "todo"):
        compared = {"seconds", "speedup", "FLOP speed-up", "Tokens kept", "PSNR", "SSIM"}
        assert compared <= set(numbers(page, method))
    expect(page.locator("#left input")).to_have_value("Baseline")
    expect(page.locator("#right input")).to_have_value("ToDo")
    expect(page.locator("#stop")).to_be_disabled()


def test_a_bar_counts_the_steps_previews_show_the_work_and_stop_ends_it(page: Page) -> None:
    small(page, width=256, height=256, steps=100)
    page.click("#compare")
    page.locator("#pane-baseline img[alt^='Preview of Baseline after step']").wait_for()
    bar = page.locator("#pane-baseline progress")
    assert bar.get_attribute("max") == "100"
    assert 1 <= int(bar.get_attribute("value")) <= 100
    expect(page.locator("#pane-todo")).to_contain_text("Waiting to start")
    page.click("#stop")
    message(page, "Stopped.")
    expect(page.locator("#pane-todo")).to_contain_text("Stopped before it was done")
    expect(page.locator("#stop")).to_be_disabled()
    assert page.locator("img[alt^='Preview']").count() == 0
    assert page.locator("#steps input").input_value() == "100"
    small(page)
    compare(page)
    assert numbers(page, "todo")["seconds"]


def test_of_repeats_the_median_is_shown(page: Page) -> None:
    small(page, repeats=3)
    compare(page)
    for method in shown_methods(page):
        card = page.locator(f"#pane-{method} .card").inner_text()
        shown = re.search(r"([\d.]+) s\s+2 denoising steps, median of 3 \(([\d.]+) to ([\d.]+) s\)", card)
        median, fastest, slowest = map(float, shown.groups())
        assert fastest <= median <= slowest


def test_all_methods_fit_beside_each_other(page: Page) -> None:
    small(page)
    for label in ("ToDo, rotating grid", "Fewer steps"):
        page.get_by_label(label, exact=True).check()
    compare(page)
    assert shown_methods(page) == ["baseline", "tome", "todo", "todo-rotating", "fewer-steps"]
    tops = {round(page.locator(f"#pane-{m} img").bounding_box()["y"]) for m in shown_methods(page)}
    assert len(tops) == 1


def test_the_slider_wipes_between_any_two_results(page: Page) -> None:
    small(page)
    compare(page)
    page.locator("#right input").click()
    page.get_by_role("option", name="ToMe").click()
    right = page.locator("#wipe .right-side")
    expect(right.locator("img")).to_have_attribute("src", picture(page, "tome"))
    expect(page.locator("#wipe .left-side img")).to_have_attribute("src", picture(page, "baseline"))

    slider = page.get_by_label("Wipe between the two")
    slider.fill("20")
    assert "20%" in right.evaluate("side => getComputedStyle(side).clipPath")
    slider.press("End")  # the keyboard moves it too
    assert "100%" in right.evaluate("side => getComputedStyle(side).clipPath")
    box = page.locator("#wipe").bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    assert abs(float(slider.input_value()) - 75) < 3


NONSENSE = [
    ("prompt", "", {"prompt": ""}),
    ("width", "3", {"width": 3}),
    ("height", "100000", {"height": 100_000}),
    ("width", "", {"width": None}),
    ("steps", "0", {"steps": 0}),
    ("factor", "1.5", {"factor": 1.5}),
    ("repeats", "0", {"repeats": 0}),
    ("seed", "1.7", {"seed": 1.7}),
    ("guidance", "1000", {"guidance_scale": 1000}),
]


def test_nonsense_gets_a_sentence_and_stays_as_it_was_typed(page: Page) -> None:
    about = page.locator("#about").inner_text()
    for field, typed, settings in NONSENSE:
        box = page.locator(f"#{field}").locator("input, textarea")
        valid = box.input_value()
        box.fill(typed)
        page.click("#compare")
        expect(page.locator("#message .error")).to_have_text(refusal(**settings))
        assert box.input_value() == typed
        assert page.locator("#about").inner_text() == about
        box.fill(valid)
    for label in ("Baseline", "ToMe", "ToDo"):
        page.get_by_label(label, exact=True).uncheck()
    page.click("#compare")
    expect(page.locator("#message .error")).to_have_text(refusal(methods=()))


def test_a_prompt_is_text_everywhere(page: Page) -> None:
    nasty = "<img src=x onerror='window.taken = 1'> ${1+1} {{value}} <b>fox</b>"
    script = "<script>window.taken = 1</script>"
    small(page, prompt=nasty, negative_prompt=script)
    compare(page)
    about = page.locator("#about").inner_text()
    assert nasty in about
    assert script in about
    assert nasty in page.locator("#script").inner_text()
    page.locator("#script-method input").click()
    page.keyboard.press("Escape")
    assert page.locator("#pane-todo .picture img").get_attribute("alt") == f"ToDo: {nasty}"
    assert page.locator("#about img, #about b:has-text('fox'), #message img").count() == 0
    assert page.evaluate("window.taken") is None


def test_the_script_makes_the_same_picture(page: Page, tmp_path, monkeypatch) -> None:
    small(page, seed=5)
    compare(page)
    lines = "\n".join(page.locator("#script .cm-line").all_inner_texts()).replace("\u200b", "")
    assert "patched(pipe, ToDo(factor=2))" in lines
    file = download(page, "#pane-todo a[download]", tmp_path)
    (tmp_path / "assets").symlink_to(PROJECT / "assets")  # the lines name the bundled model by its path
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, "script", "exec"), {})
    with Image.open(file) as ours, Image.open("todo.png") as theirs:
        # The page's server may use another number of threads, which may differ in the last bit.
        difference = ImageChops.difference(ours.convert("RGB"), theirs.convert("RGB"))
        assert max(high for _, high in difference.getextrema()) <= 2


def test_pictures_and_report_can_be_taken_home(page: Page, tmp_path) -> None:
    small(page, seed=7)
    compare(page)
    with Image.open(download(page, "#pane-tome a[download]", tmp_path)) as taken:
        assert taken.format == "PNG"
        assert taken.size == (128, 128)
        assert "tome" in taken.info["settings"]
        assert "seed 7" in taken.info["settings"]
    file = download(page, "#report a", tmp_path)
    assert file.name == "report.json"
    report = json.loads(file.read_text(encoding="utf-8"))
    assert report["request"]["seed"] == 7
    for result in report["results"]:
        assert numbers(page, result["method"])["seconds"] == f"{result['times']['seconds']:.2f} s"


def test_an_example_prompt_and_a_new_seed_are_a_click_away(page: Page) -> None:
    button = page.locator("button.example").last
    button.click()
    expect(page.locator("#prompt textarea")).to_have_value(button.inner_text())
    seed = page.locator("#seed input")
    before = seed.input_value()
    page.click("#new-seed")
    expect(seed).not_to_have_value(before)
    assert 0 <= int(seed.input_value()) < 2**32


def test_two_windows_wait_for_each_other_and_keep_to_themselves(window) -> None:
    one, other = window(), window()
    small(one, width=256, height=256, steps=60, seed=1)
    one.click("#compare")
    first_step(one)
    small(other, seed=2)
    other.click("#compare")
    message(other, "Another comparison is running")
    other.click("#stop")
    message(other, "Stopped.")
    expect(one.locator("#pane-baseline progress")).to_be_visible()  # not stopped by the other
    assert "seed 1" not in other.locator("#about").inner_text()
    other.click("#compare")
    message(other, "Another comparison is running")
    one.click("#stop")
    message(one, "Stopped.")
    message(other, "Done.")
    assert "seed 2" in other.locator("#about").inner_text()
    assert "seed 1" in one.locator("#about").inner_text()


def test_closing_the_window_stops_its_run(window) -> None:
    one, other = window(), window()
    small(one, width=512, height=512, steps=100)
    one.click("#compare")
    first_step(one)
    small(other, width=512, height=512, steps=100)
    other.click("#compare")
    message(other, "Another comparison is running")
    other.click("#stop")
    message(other, "Stopped.")
    one.close()
    small(other)
    compare(other)  # which does not wait for the minutes that 300 such steps take


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(window, scheme) -> None:
    page = window(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    small(page)
    compare(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [page.locator(f"#pane-{method}").bounding_box() for method in shown_methods(page)]
    assert len({round(box["x"]) for box in boxes}) == 1  # one below the other
