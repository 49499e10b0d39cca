from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import bar, compare, fill, first_step, message, more_settings, small
from tests.helpers.server import PROJECT, Server
from tests.helpers.visitors import refusal

pytestmark = pytest.mark.browser
EXAMPLE = PROJECT / "assets" / "example"


def numbers(page: Page, method: str) -> dict[str, str]:
    """What the table says of a method, by figure."""
    cells = page.locator(f"#numbers td[data-method='{method}']").all()
    return {cell.evaluate("cell => cell.parentElement.dataset.figure"): cell.inner_text() for cell in cells}


def picture(page: Page, method: str) -> Locator:
    """A picture on the stage. Over it lies Baseline's, which is shown while a key is held."""
    return page.locator(f"#stage figure[data-pane='{method}'] img").first


def shown_methods(page: Page) -> list[str]:
    """Those that the table, the bars and the stage show, which have to be the same."""
    first_row = page.locator("#numbers tbody tr").first
    shown = first_row.locator("td").evaluate_all("cells => cells.map(cell => cell.dataset.method)")
    bars = page.locator("#bars li").evaluate_all("bars => bars.map(bar => bar.dataset.method)")
    panes = page.locator("#stage figure").evaluate_all("panes => panes.map(pane => pane.dataset.pane)")
    assert shown == bars == panes
    return shown


def open_script(page: Page) -> None:
    page.get_by_role("button", name="The same from your own script").click()
    page.locator("#script").wait_for()


def download(page: Page, selector: str, folder: Path) -> Path:
    with page.expect_download() as started:
        page.locator(selector).click()
    file = folder / started.value.suggested_filename
    started.value.save_as(file)
    return file


def test_starting_says_only_what_is_loaded_and_where(server: Server) -> None:
    loading, what, where = server.said.splitlines()
    assert loading == f"Loading the model. The page will be at {server.address}/"
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
    chip = page.locator(".heading .chip")
    chip.locator("summary").click()
    assert all(name in chip.inner_text() for name in ("Model", "Device", "Precision", "Attention"))
    for result in report["results"]:
        shown, plan = numbers(page, result["method"]), result["plan"]
        assert shown["time"].startswith(f"{result['times']['seconds']:.2f} s")
        assert f"{result['times']['seconds']:.2f} s" in bar(page, result["method"]).inner_text()
        if result["method"] != "baseline":
            assert shown["speed-up"] == f"{result['speedup']:.2f}×"
            assert f"{result['speedup']:.2f}×" in bar(page, result["method"]).inner_text()
            assert shown["flop-speed-up"] == f"{plan['flop_speedup']:.2f}×"
            assert shown["ceiling"] == f"{plan['ceiling']:.2f}×"
            assert f"{result['scores']['psnr']:.2f} dB" in shown["difference"]
            assert shown["ssim"] == f"{result['scores']['ssim']:.4f}"


def test_the_first_view_says_in_words_what_the_example_proves(page: Page) -> None:
    verdict = page.locator("#bars .verdict")
    assert verdict.locator(".says").inner_text() == (
        "ToDo, rotating grid: 1.49× faster; the difference is invisible."
    )
    assert verdict.locator(".others").all_inner_texts() == [
        "ToDo: 1.65× faster; the difference is hard to see.",
        "ToMe: 1.58× faster; the difference is visible.",
    ]


def test_the_form_says_what_the_example_was_asked(page: Page) -> None:
    request = json.loads((EXAMPLE / "report.json").read_text(encoding="utf-8"))["request"]
    more_settings(page)
    typed = {
        "prompt": "prompt",
        "width": "width",
        "seed": "seed",
        "steps": "steps",
        "guidance": "guidance_scale",
    }
    for field, name in typed.items():
        assert page.locator(f"#{field}").locator("input, textarea").input_value() == str(request[name])
    expect(page.get_by_role("radio", name="512")).to_be_checked()
    chosen = page.locator("#methods label:has(:checked)").all_inner_texts()
    assert chosen == ["Baseline", "ToMe", "ToDo", "ToDo, rotating grid"]


def test_all_that_most_visitors_set_is_on_one_screen(page: Page) -> None:
    assert page.locator(".controls").bounding_box()["height"] < 260
    stage = page.locator("#stage").bounding_box()
    assert stage["y"] < 700
    for button in ("#compare", "#stop"):
        assert page.locator(button).bounding_box()["y"] < 250


def test_a_size_and_a_factor_are_a_click_away_and_by_hand_in_more_settings(page: Page) -> None:
    page.locator("#size").get_by_text("256", exact=True).click()
    page.locator("#factors").get_by_text("4", exact=True).click()
    expect(page.locator("#expectation")).to_contain_text("256×256")
    more_settings(page)
    for field, value in {"width": "256", "height": "256", "factor": "4"}.items():
        expect(page.locator(f"#{field} input")).to_have_value(value)
    fill(page, height=320, factor=3)
    page.locator("#steps input").focus()
    expect(page.locator("#size input:checked")).to_have_count(0)
    expect(page.locator("#factors").get_by_role("radio", name="3")).to_be_checked()
    expect(page.locator("#expectation")).to_contain_text("256×320")
    fill(page, height=256)
    expect(page.locator("#size").get_by_role("radio", name="256")).to_be_checked()


def test_every_method_can_be_chosen(page: Page) -> None:
    pab = page.get_by_label("PAB", exact=True)
    expect(pab).not_to_be_visible()
    page.locator(".more-methods summary").click()
    pab.check()
    page.locator(".more-methods summary").click()
    expect(pab).to_be_visible()  # what is chosen is never hidden


def test_every_figure_says_what_it_is(page: Page) -> None:
    for row in page.locator("#numbers tbody tr").all():
        summary = row.locator("summary")
        assert "what is this" in summary.inner_text()
        summary.focus()
        page.keyboard.press("Enter")
        expect(row.locator("details p")).to_be_visible()


def test_compare_shows_pictures_and_numbers_of_each_method(page: Page) -> None:
    small(page)
    compare(page)
    assert shown_methods(page) == ["baseline", "tome", "todo", "todo-rotating"]
    assert "Your comparison" in page.locator("#about").inner_text()
    files = {picture(page, method).get_attribute("src") for method in shown_methods(page)}
    assert len(files) == 4
    figures = {"time", "speed-up", "flop-speed-up", "ceiling", "difference", "ssim", "tokens", "decoding"}
    for method in shown_methods(page):
        assert figures <= set(numbers(page, method))
    assert numbers(page, "baseline")["tokens"] == "all"
    assert "64 of 256 keys and values" in numbers(page, "todo")["tokens"].replace("\n", " ")
    expect(page.locator("#stop")).to_be_disabled()
    expect(page.locator("#expectation")).to_contain_text("128×128")
    page.locator("#steps input").focus()
    page.locator("#seed input").focus()
    expect(page.locator("#expectation")).to_contain_text("about")  # this process has timed it now


def test_a_bar_counts_the_steps_previews_show_the_work_and_stop_ends_it(page: Page) -> None:
    small(page, width=256, height=256, steps=100)
    page.click("#compare")
    page.locator("#stage img[alt^='Preview of Baseline after step']").wait_for()
    progress = bar(page, "baseline").locator("progress")
    assert progress.get_attribute("max") == "100"
    assert 1 <= int(progress.get_attribute("value")) <= 100
    expect(bar(page, "baseline")).to_contain_text(re.compile(r"Step \d+ of 100 · .+ gone, .+ left"))
    expect(bar(page, "todo")).to_contain_text("Waiting")
    message(page, "Baseline is running")
    page.click("#stop")
    message(page, "Stopped. There was no picture yet")
    expect(page.locator("#about")).to_contain_text("An example")
    expect(picture(page, "todo")).to_have_attribute("alt", "ToDo: a fox on navy")
    expect(page.locator("#stop")).to_be_disabled()
    assert page.locator("img[alt^='Preview']").count() == 0
    assert page.locator("#steps input").input_value() == "100"
    small(page)
    compare(page)
    assert numbers(page, "todo")["time"]


def test_of_repeats_the_median_is_shown(page: Page) -> None:
    small(page, repeats=3)
    compare(page)
    for method in shown_methods(page):
        time = numbers(page, method)["time"]
        shown = re.search(r"([\d.]+) s\s+2 steps, median of 3 \(([\d.]+) to ([\d.]+) s\)", time)
        median, fastest, slowest = map(float, shown.groups())
        assert fastest <= median <= slowest


def test_all_methods_fit_beside_each_other(page: Page) -> None:
    small(page)
    page.locator(".more-methods summary").click()
    page.get_by_label("Fewer steps", exact=True).check()
    compare(page)
    assert shown_methods(page) == ["baseline", "tome", "todo", "todo-rotating", "fewer-steps"]
    tops = {round(picture(page, method).bounding_box()["y"]) for method in shown_methods(page)}
    assert len(tops) == 1


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
    more_settings(page)
    for field, typed, settings in NONSENSE:
        box = page.locator(f"#{field}").locator("input, textarea")
        valid = box.input_value()
        box.fill(typed)
        page.click("#compare")
        expect(page.locator("#message .error")).to_have_text(refusal(**settings))
        expect(box).to_have_attribute("aria-invalid", "true")
        expect(page.locator(f"#{field} #field-error")).to_have_text(refusal(**settings))
        expect(page.locator("[aria-invalid]")).to_have_count(1)
        assert box.input_value() == typed
        assert page.locator("#about").inner_text() == about
        box.fill(valid)
        expect(page.locator("[aria-invalid], #field-error")).to_have_count(0)
    for label in ("Baseline", "ToMe", "ToDo", "ToDo, rotating grid"):
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
    open_script(page)
    assert nasty in page.locator("#script").inner_text()
    page.locator("#script-method input").click()
    page.keyboard.press("Escape")
    assert picture(page, "todo").get_attribute("alt") == f"ToDo: {nasty}"
    assert page.locator("#about img, #about b:has-text('fox'), #message img").count() == 0
    assert page.evaluate("window.taken") is None


def test_the_script_makes_the_same_picture(page: Page, tmp_path, monkeypatch) -> None:
    small(page, seed=5)
    compare(page)
    open_script(page)
    lines = "\n".join(page.locator("#script .cm-line").all_inner_texts()).replace("\u200b", "")
    assert "patched(pipe, ToDo(factor=2))" in lines
    file = download(page, "#stage figure[data-pane='todo'] a[download]", tmp_path)
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
    with Image.open(download(page, "#stage figure[data-pane='tome'] a[download]", tmp_path)) as taken:
        assert taken.format == "PNG"
        assert taken.size == (128, 128)
        settings = json.loads(taken.info["settings"])
        assert (settings["method"], settings["seed"]) == ("tome", 7)
    file = download(page, "#report a", tmp_path)
    assert file.name == "report.json"
    report = json.loads(file.read_text(encoding="utf-8"))
    assert report["request"]["seed"] == 7
    for result in report["results"]:
        assert numbers(page, result["method"])["time"].startswith(f"{result['times']['seconds']:.2f} s")


def test_an_example_prompt_and_a_new_seed_are_a_click_away(page: Page) -> None:
    button = page.locator("button.example").last
    button.click()
    expect(page.locator("#prompt textarea")).to_have_value(button.inner_text())
    more_settings(page)
    seed = page.locator("#seed input")
    before = seed.input_value()
    page.click("#new-seed")
    expect(seed).not_to_have_value(before)
    assert 0 <= int(seed.input_value()) < 2**32


def test_two_windows_wait_for_each_other_and_keep_to_themselves(window) -> None:
    one, other = window(), window()
    small(one, width=256, height=256, steps=60, seed=7)
    one.click("#compare")
    first_step(one)
    small(other, seed=8)
    other.click("#compare")
    message(other, "Another comparison is running")
    expect(other.locator("#bars")).to_contain_text("In the queue, 1 comparison before this one")
    other.set_viewport_size({"width": 390, "height": 844})
    says, left = (other.locator(f".outcome .verdict .{name}") for name in ("says", "others"))
    left.wait_for()
    assert says.bounding_box()["y"] + says.bounding_box()["height"] <= left.bounding_box()["y"]
    other.click("#stop")
    message(other, "Stopped.")
    expect(bar(one, "baseline").locator("progress")).to_be_visible()  # not stopped by the other
    assert "seed 7" not in other.locator("#about").inner_text()
    other.click("#compare")
    message(other, "Another comparison is running")
    one.click("#stop")
    message(one, "Stopped.")
    message(other, "Done.")
    assert "seed 8" in other.locator("#about").inner_text()
    assert "An example" in one.locator("#about").inner_text()


def test_closing_the_window_stops_its_run(window) -> None:
    one, other = window(), window()
    small(one, width=512, height=512, steps=50)
    one.click("#compare")
    first_step(one)
    small(other, width=512, height=512, steps=50)
    other.click("#compare")
    message(other, "Another comparison is running")
    other.click("#stop")
    message(other, "Stopped.")
    one.close()
    small(other)
    compare(other)  # which does not wait for the minutes that 200 such steps take


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(window, scheme) -> None:
    page = window(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    small(page)
    compare(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    order = [page.locator(part).bounding_box()["y"] for part in ("#stage", "#bars", "#prompt", "#numbers")]
    assert order == sorted(order)
    on_stage = page.locator("#stage figure img").first.bounding_box()
    assert on_stage["y"] + on_stage["height"] < 844
    verdict = page.locator("#bars .verdict .says").bounding_box()
    assert verdict["y"] + verdict["height"] < 844


def test_the_first_screen_of_a_phone_says_that_it_is_an_example_and_of_what(window) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    page = window(**phone, reduced_motion="reduce")
    expect(page.locator("#about")).to_contain_text("An example, made earlier: “a fox on navy”")
    (about, bars) = (page.locator(part).bounding_box() for part in ("#about p", "#bars .bars"))
    assert about["height"] < 25
    assert about["y"] < bars["y"] + bars["height"] < 844
    chips, chip = (
        page.locator(part).bounding_box() for part in (".stage-chips", ".stage-chips [aria-pressed=true]")
    )
    assert chips["x"] <= chip["x"] < chip["x"] + chip["width"] <= chips["x"] + chips["width"]
    page.locator("#about p").tap()
    assert page.locator("#about p").bounding_box()["height"] > 30


def test_a_phone_has_stop_in_reach_while_something_runs(window) -> None:
    page = window(viewport={"width": 390, "height": 844})
    small(page, width=256, height=256, steps=100)
    page.locator("#compare").click()
    first_step(page)
    for position in (0, 10_000):
        page.evaluate("top => window.scrollTo(0, top)", position)
        expect(page.locator("#stop")).to_be_in_viewport()
    page.click("#stop")
    message(page, "Stopped.")
    below_the_form = (
        page.locator("#message").bounding_box()["y"] - page.locator("#prompt").bounding_box()["y"]
    )
    assert below_the_form > 0
    sizes = page.locator("input:visible, textarea:visible").evaluate_all(
        "fields => fields.map(field => parseFloat(getComputedStyle(field).fontSize))"
    )
    assert min(sizes) >= 16  # smaller ones make a phone zoom in
