"""The stage in a real browser, in a small app of its own: drawn pictures, no model."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Locator, Page, expect

from page.pictures import Album, Pictures
from page.stage import Picture, Tokens, stage, stage_value
from page.theme import STYLE_SHEET, THEME
from tests.browser.conftest import WAIT

pytestmark = pytest.mark.browser

SIZE = WIDTH, HEIGHT = 256, 192
NASTY = "<b>ToDo</b> ${1+1} {{value}}"
# Where ToMe's picture differs most from Baseline's, as parts of width and height, and by how much.
SPOTS = {(0.25, 0.25): 200, (0.75, 0.25): 120, (0.75, 0.75): 60}
FAINT = (0.25, 0.75)  # where ToDo's does


def drawn(spots: dict[tuple[float, float], int], size: tuple[int, int] = SIZE) -> Image.Image:
    """A dark gradient with squares that are brighter by so much."""
    image = Image.merge("RGB", [Image.linear_gradient("L").resize(size).point(lambda v: v // 32 + 20)] * 3)
    for (x, y), more in spots.items():
        centre_x, centre_y = x * size[0], y * size[1]
        box = (centre_x - 10, centre_y - 10, centre_x + 10, centre_y + 10)
        ImageDraw.Draw(image).rectangle(box, fill=(20 + more,) * 3)
    return image


def tokens(album: Album, offsets: list[tuple[int, int]]) -> Tokens:
    """A grid of 8×6 tokens, of which one of every 2×2 cell is kept: with another offset in each step."""
    rows, columns = 6, 8
    record = Image.new("RGB", (columns, rows * len(offsets)))
    for step, (down, right) in enumerate(offsets):
        for row, column in itertools.product(range(rows), range(columns)):
            kept = (row // 2 * 2 + down) * columns + column // 2 * 2 + right
            record.putpixel((column, step * rows + row), (0, kept, 0))
    name = f"tokens-{len(offsets)}"
    return Tokens(album.file(name, record), blocks=1, steps=len(offsets), rows=rows, columns=columns)


def pictures() -> list[Picture]:
    album = Album(Pictures(get_upload_folder()))
    images = {
        ("baseline", "Baseline"): drawn({}),
        ("tome", "ToMe"): drawn(SPOTS),
        ("todo", "ToDo"): drawn({FAINT: 30}),
        ("todo-rotating", "ToDo, rotating grid"): drawn({}),
    }
    return [
        Picture(
            id=id,
            label=label,
            path=album.file(id, image),
            caption="" if id == "baseline" else "1.68× · 41.2 dB",
            alt=f"{label}: a drawing",
            name=f"{id}-factor2-a-drawing-seed7.png",
            width=WIDTH,
            height=HEIGHT,
            flip=album.file(f"{id}-flip", Image.new("RGB", SIZE, "orange")) if id == "tome" else None,
            tokens=tokens(album, [(0, 0), (1, 1), (0, 1)]) if id == "todo-rotating" else None,
        )
        for (id, label), image in images.items()
    ]


def app() -> gr.Blocks:
    """The stage, and buttons that do to it what a run does."""
    four = pictures()
    tall = Album(Pictures(get_upload_folder())).file("tall", drawn({}, (64, 192)))
    changes = {
        "Preview": [*four[:2], replace(four[2], path=four[1].path, preview=True, caption="step 3 of 20")],
        "Placeholders": [four[0], *(replace(picture, path="", flip=None) for picture in four[1:])],
        "Only one": four[:1],
        "Nothing": [],
        "All": four,
        "Seven": [*four, *(replace(four[1], id=f"more-{n}", label=f"More {n}") for n in range(3))],
        "Tall": [replace(picture, path=tall, width=64, height=192) for picture in four[:2]],
        "No Baseline": four[1:],
        "Nasty": [four[0], replace(four[2], label=NASTY, caption=NASTY, alt=NASTY)],
    }
    with gr.Blocks(analytics_enabled=False, fill_width=True) as blocks:
        shown = stage(four)
        for name, value in changes.items():
            gr.Button(name).click(lambda value=value: stage_value(value), None, shown, show_progress="hidden")
        gr.HTML("<div style='height: 1500px'>Below.</div>")
    return blocks


@contextmanager
def launched(blocks: gr.Blocks) -> Iterator[str]:
    """The app at its address."""
    _, address, _ = blocks.launch(
        theme=THEME,
        css_paths=STYLE_SHEET,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        quiet=True,
        prevent_thread_lock=True,
    )
    yield address
    blocks.close(verbose=False)


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where gradio keeps its files for the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield


@pytest.fixture(scope="module")
def address(temporary: None) -> Iterator[str]:
    with launched(app()) as address:
        yield address


@pytest.fixture
def window(address: str, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens windows on the app. A request to anywhere else, or an error in the console, fails the test."""
    contexts, fetched, errors = [], [], []

    def open_window(width: int = 1440, height: int = 900, **options: object) -> Page:
        viewport = {"width": width, "height": height}
        context = chromium.new_context(viewport=viewport, **{"reduced_motion": "reduce", **options})
        contexts.append(context)
        context.on("request", lambda request: fetched.append(request.url))
        page = context.new_page()
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(WAIT)
        page.goto(address)
        page.locator("#stage .stage-frame").first.wait_for()
        loaded(page)
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert [url for url in fetched if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []


@pytest.fixture
def page(window: Callable[..., Page]) -> Page:
    return window()


def loaded(page: Page) -> None:
    """Wait until every picture is there."""
    page.wait_for_function(
        "[...document.querySelectorAll('#stage img')].every(image => image.complete && image.naturalWidth)"
    )


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def press(page: Page, name: str) -> None:
    button(page, name).click()


def mode(page: Page, name: str) -> None:
    press(page, name)
    expect(page.locator("#stage")).to_have_attribute("data-mode", name.lower().replace(" ", "-"))
    loaded(page)


def panes(page: Page) -> list[str]:
    return page.locator("#stage .stage-pane").evaluate_all("panes => panes.map(pane => pane.dataset.pane)")


def frames(page: Page) -> list[dict[str, float]]:
    return [frame.bounding_box() for frame in page.locator("#stage .stage-frame").all()]


def views(page: Page) -> list[tuple[float, float, float]]:
    """Of each picture that is seen: the zoom, and the point of it that is in the middle of its frame."""
    return page.locator("#stage .stage-frame").evaluate_all(
        """frames => frames.map(frame => {
            const box = frame.getBoundingClientRect();
            const image = frame.querySelector('.stage-layer:not([data-away]) img').getBoundingClientRect();
            const zoom = image.width / box.width;
            const x = (box.left + box.width / 2 - image.left) / image.width;
            const y = (box.top + box.height / 2 - image.top) / image.height;
            return [zoom, x, y].map(number => Math.round(number * 100) / 100);
        })"""
    )


def the_view(page: Page) -> tuple[float, float, float]:
    """The view that all pictures share."""
    first, *others = views(page)
    assert all(other == first for other in others)
    return first


def zoomed(page: Page, zoom: float) -> None:
    shown = page.get_by_role("button", name="Reset zoom")
    expect(shown).to_have_text(f"{100 * zoom:.0f}%")


def middle(page: Page, number: int = 0, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
    box = frames(page)[number]
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def colour_at(page: Page, pane: str, spot: tuple[float, float]) -> tuple[int, int, int]:
    """Of what is really on the screen there."""
    shot = Image.open(io.BytesIO(page.locator(f"[data-pane='{pane}'] .stage-frame").screenshot())).convert(
        "RGB"
    )
    return shot.getpixel((int(spot[0] * shot.width), int(spot[1] * shot.height)))


def tag(page: Page) -> str:
    return page.locator("#stage .stage-tags").inner_text()


def test_pictures_stand_side_by_side_equal_in_size_with_name_and_caption(page: Page) -> None:
    expect(page.locator("#stage")).to_have_attribute("data-mode", "side-by-side")
    assert panes(page) == ["baseline", "tome", "todo", "todo-rotating"]
    boxes = frames(page)
    assert len({(round(box["width"]), round(box["height"]), round(box["y"])) for box in boxes}) == 1
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(WIDTH / HEIGHT, rel=0.01)
    tome = page.locator("[data-pane=tome]")
    expect(tome.locator("figcaption")).to_contain_text("ToMe")
    expect(tome.locator("figcaption")).to_contain_text("1.68× · 41.2 dB")
    expect(tome.get_by_role("img", name="ToMe: a drawing")).to_be_visible()


def test_wheel_drag_double_click_and_keys_move_all_pictures_alike(page: Page) -> None:
    assert the_view(page) == [1, 0.5, 0.5]
    page.mouse.move(*middle(page, 1, 0.25, 0.25))
    page.mouse.wheel(0, -347)  # twice as large
    zoomed(page, 2)
    assert the_view(page) == pytest.approx([2, 0.375, 0.375], abs=0.02)  # the point below the mouse stays
    page.mouse.down()
    page.mouse.move(*middle(page, 1, 0.05, 0.45), steps=3)
    page.mouse.up()
    assert the_view(page) == pytest.approx([2, 0.475, 0.275], abs=0.02)
    page.mouse.dblclick(*middle(page, 2))
    zoomed(page, 1)
    assert the_view(page) == [1, 0.5, 0.5]
    page.keyboard.press("+")
    zoomed(page, 1.5)
    page.keyboard.press("ArrowRight")
    assert the_view(page) == [1.5, 0.58, 0.5]
    page.keyboard.press("+")
    page.keyboard.press("-")
    zoomed(page, 1.5)
    page.keyboard.press("0")
    assert the_view(page) == [1, 0.5, 0.5]
    press(page, "Zoom in")
    zoomed(page, 1.5)


def test_no_drag_shows_what_is_beside_a_picture(page: Page) -> None:
    press(page, "Zoom in")
    page.mouse.move(*middle(page))
    page.mouse.down()
    page.mouse.move(1400, 890, steps=4)
    page.mouse.up()
    assert the_view(page) == [1.5, 0.33, 0.33]


def test_the_page_still_scrolls_over_the_pictures(page: Page) -> None:
    page.mouse.move(*middle(page))
    page.mouse.wheel(0, 100)  # a whole picture cannot get smaller
    page.wait_for_function("window.scrollY === 100")
    page.mouse.wheel(0, -60)  # the mouse lies still: this is still about the page
    page.wait_for_function("window.scrollY === 40")
    zoomed(page, 1)
    page.mouse.move(*middle(page, 0, 0.4, 0.5))
    page.mouse.wheel(0, -200)
    zoomed(page, 1.4918)
    assert page.evaluate("window.scrollY") == 40
    taken = page.locator("#stage .stage-frame").first.evaluate(
        """frame => [400, 400].map(deltaY => {
            const wheel = new WheelEvent('wheel', { deltaY, bubbles: true, cancelable: true });
            return !frame.dispatchEvent(wheel);
        })"""
    )
    assert taken == [True, True]  # the first is more than enough, and its rest is not the page's
    zoomed(page, 1)


def test_two_fingers_zoom_and_one_scrolls_a_whole_picture(window) -> None:
    page = window(390, 844, has_touch=True)
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        named = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": named})

    x, y = middle(page)
    fingers("touchStart", (x - 20, y))
    fingers("touchStart", (x - 20, y), (x + 20, y))
    for apart in (25, 30, 35, 40):
        fingers("touchMove", (x - apart, y), (x + apart, y))
    fingers("touchEnd")
    zoomed(page, 2)
    assert page.evaluate("window.visualViewport.scale") == 1
    fingers("touchStart", (x, y))
    fingers("touchMove", (x + 30, y))
    fingers("touchMove", (x + 60, y))
    fingers("touchEnd")
    zoom, left, _ = the_view(page)
    assert zoom == 2
    assert left < 0.45
    assert page.locator(".stage-frame").evaluate("frame => getComputedStyle(frame).touchAction") == "none"
    press(page, "Reset zoom, now 200%")
    assert page.locator(".stage-frame").evaluate("frame => getComputedStyle(frame).touchAction") == "pan-y"


def test_far_in_one_sees_the_pixels(page: Page) -> None:
    def rendering() -> str:
        return page.locator("#stage img").first.evaluate("image => getComputedStyle(image).imageRendering")

    for _ in range(2):
        page.locator(".stage-viewport").press("+")
    assert rendering() == "auto"
    page.locator(".stage-viewport").press("+")
    zoomed(page, 3.375)
    assert rendering() == "pixelated"


def test_difference_shows_where_pictures_differ_and_the_slider_how_strongly(page: Page) -> None:
    mode(page, "Difference")
    first = next(iter(SPOTS))
    assert panes(page) == ["baseline", "tome", "todo", "todo-rotating"]
    assert max(colour_at(page, "todo-rotating", first)) == 0
    assert max(colour_at(page, "tome", FAINT)) == 0
    assert min(colour_at(page, "tome", first)) == 255
    strength = page.get_by_role("slider", name="Strength")
    strength.fill("1")
    weak = colour_at(page, "todo", FAINT)
    assert 0 < max(weak) < 40
    strength.fill("3")
    assert max(colour_at(page, "todo", FAINT)) == pytest.approx(3 * max(weak), abs=4)
    assert 20 < max(colour_at(page, "baseline", FAINT)) < 80  # itself, for orientation


def test_the_perceptual_map_is_the_second_kind_of_difference(page: Page) -> None:
    mode(page, "Difference")
    page.get_by_label("Kind").select_option("flip")
    loaded(page)
    assert colour_at(page, "tome", (0.5, 0.5)) == (255, 165, 0)
    expect(page.locator("[data-pane=todo]")).to_contain_text("No map yet")
    expect(page.get_by_role("slider", name="Strength")).to_be_hidden()
    press(page, "No Baseline")
    expect(button(page, "Difference")).to_be_disabled()


def test_the_wipe_is_between_any_two(page: Page) -> None:
    mode(page, "Wipe")
    assert tag(page).split("\n") == ["Baseline", "ToDo, rotating grid"]
    page.get_by_label("Right").select_option(label="ToMe")
    page.get_by_label("Left").select_option(label="ToDo")
    assert tag(page).split("\n") == ["ToDo", "ToMe"]
    loaded(page)
    slider = page.get_by_label("Wipe between the two")
    slider.fill("90")
    left, right = (0.25, 0.25), (0.75, 0.75)  # two spots that only ToMe's picture has
    assert max(colour_at(page, "wipe", left)) < 60
    assert max(colour_at(page, "wipe", right)) < 60
    slider.fill("50")
    assert max(colour_at(page, "wipe", left)) < 60
    assert min(colour_at(page, "wipe", right)) == 80
    slider.press("Home")
    assert min(colour_at(page, "wipe", left)) > 200


def test_the_wipe_goes_by_keyboard_by_click_and_by_drag(page: Page) -> None:
    mode(page, "Wipe")
    slider = page.get_by_label("Wipe between the two")
    page.mouse.click(*middle(page, 0, 0.75))
    assert float(slider.input_value()) == pytest.approx(75, abs=1)
    for key, step in (("ArrowRight", 5), ("ArrowLeft", -5), ("Shift+ArrowRight", 1), ("Shift+ArrowLeft", -1)):
        before = float(slider.input_value())
        page.keyboard.press(key)  # the click has brought the focus
        assert float(slider.input_value()) == pytest.approx(before + step)
    slider.press("End")
    assert float(slider.input_value()) == 100
    page.mouse.move(*middle(page, 0, 0.6))
    page.mouse.down()
    page.mouse.move(*middle(page, 0, 0.1), steps=3)
    page.mouse.up()
    assert float(slider.input_value()) == pytest.approx(10, abs=1)


def test_in_an_enlarged_wipe_the_divider_wipes_and_all_else_moves_the_picture(page: Page) -> None:
    mode(page, "Wipe")
    press(page, "Zoom in")
    slider = page.get_by_label("Wipe between the two")
    page.mouse.move(*middle(page, 0, 0.8))
    page.mouse.down()
    page.mouse.move(*middle(page, 0, 0.7), steps=2)
    page.mouse.up()
    assert float(slider.input_value()) == 50
    assert the_view(page) == [1.5, 0.57, 0.5]
    page.mouse.move(*middle(page, 0, 0.5))
    page.mouse.down()
    page.mouse.move(*middle(page, 0, 0.3), steps=2)
    page.mouse.up()
    assert float(slider.input_value()) == pytest.approx(30, abs=1)
    assert the_view(page) == [1.5, 0.57, 0.5]


def test_the_wipe_covers_the_whole_width_of_a_tall_picture(page: Page) -> None:
    press(page, "Tall")
    mode(page, "Wipe")
    expect(page.locator(".stage-frame")).to_have_css("aspect-ratio", "0.333333 / 1")
    frame, image = (page.locator(f"#stage {part}").first.bounding_box() for part in (".stage-frame", "img"))
    assert frame == image
    page.mouse.click(frame["x"] + 2, frame["y"] + 20)
    assert float(page.get_by_label("Wipe between the two").input_value()) < 2
    page.mouse.click(frame["x"] + frame["width"] - 2, frame["y"] + 20)
    assert float(page.get_by_label("Wipe between the two").input_value()) > 98


def test_blink_switches_in_place_and_holds_baseline(page: Page) -> None:
    mode(page, "Blink")
    first = next(iter(SPOTS))
    before = frames(page)
    assert tag(page) == "1 Baseline"
    page.keyboard.press("2")
    assert tag(page) == "2 ToMe"
    assert min(colour_at(page, "blink", first)) > 200
    page.keyboard.press("4")
    assert tag(page) == "4 ToDo, rotating grid"
    page.keyboard.press("5")  # there is none
    press(page, "ToMe")
    assert tag(page) == "2 ToMe"
    assert frames(page) == before

    page.keyboard.down("b")
    assert max(colour_at(page, "blink", first)) < 60
    page.keyboard.up("b")
    assert min(colour_at(page, "blink", first)) > 200
    button(page, "Hold to see Baseline").hover()
    page.mouse.down()
    assert max(colour_at(page, "blink", first)) < 60
    page.mouse.up()
    assert min(colour_at(page, "blink", first)) > 200


@pytest.mark.parametrize("name", ["Side by side", "Wipe", "Difference", "Blink"])
def test_the_largest_differences_are_found_in_every_mode(page: Page, name: str) -> None:
    mode(page, name)
    if name == "Wipe":
        page.get_by_label("Right").select_option(label="ToMe")
    for number, spot in enumerate(SPOTS, start=1):
        press(page, f"Largest difference {number}")
        zoomed(page, 6)
        assert the_view(page)[1:] == pytest.approx(spot, abs=0.05)
    expect(page.locator("#stage")).to_have_attribute("data-mode", name.lower().replace(" ", "-"))


def test_the_largest_difference_is_that_of_the_picture_that_is_seen(page: Page) -> None:
    mode(page, "Blink")
    page.keyboard.press("3")
    press(page, "Largest difference 1")
    zoomed(page, 6)
    assert the_view(page)[1:] == pytest.approx(FAINT, abs=0.05)
    press(page, "Largest difference 2")
    expect(page.get_by_role("status").filter(has_text="Only 1 place")).to_be_visible()
    page.keyboard.press("4")
    press(page, "Largest difference 1")
    expect(page.get_by_role("status").filter(has_text="No pixel differs")).to_be_visible()


def test_the_grid_of_tokens_moves_with_the_step(page: Page) -> None:
    mode(page, "Tokens")
    place = page.locator("[data-pane=todo-rotating]")
    expect(place.locator(".stage-tags")).to_have_text("12 of 48 tokens")
    expect(page.locator("[data-pane=baseline] .stage-tags")).to_have_text("all tokens")
    steps = page.get_by_role("slider", name="Step")
    assert steps.get_attribute("max") == "3"
    for step, kept in ((1, (0, 0)), (2, (1, 1)), (3, (0, 1))):
        steps.fill(str(step))
        for cell in itertools.product((0, 1), (0, 1)):
            centre = ((4 + cell[1] + 0.5) / 8, (2 + cell[0] + 0.5) / 6)  # of a token of some cell
            colour = colour_at(page, "todo-rotating", centre)
            assert (max(colour) < 40) == (cell == kept)  # as dark as the picture, or tinted
    steps.press("ArrowLeft")
    expect(page.get_by_text("2 of 3")).to_be_visible()
    press(page, "Zoom in")
    image, grid = (place.locator(part).bounding_box() for part in ("[data-layer=picture] img", "canvas"))
    assert image == grid


def test_small_tokens_are_bright_or_dark_and_large_ones_have_colours(window) -> None:
    page = window(1440, 150)  # so low that pictures are small
    mode(page, "Tokens")
    hint = page.locator("#stage .stage-hint")
    expect(hint).to_contain_text("Bright")
    page.locator(".stage-viewport").press("+")
    expect(hint).to_contain_text("border")
    page.locator(".stage-viewport").press("0")
    expect(hint).to_contain_text("Bright")


def test_without_a_record_of_tokens_their_button_is_off(page: Page) -> None:
    press(page, "Only one")
    expect(button(page, "Tokens")).to_be_disabled()


def test_full_screen_keeps_names_zoom_and_modes(page: Page) -> None:
    press(page, "Zoom in")
    press(page, "Full screen")
    page.wait_for_function("document.fullscreenElement?.id === 'stage'")
    zoomed(page, 1.5)
    for name in ("Wipe", "Difference", "Blink"):
        mode(page, name)
        zoomed(page, 1.5)
    mode(page, "Side by side")
    assert panes(page) == ["baseline", "tome", "todo", "todo-rotating"]
    expect(page.locator("[data-pane=tome] figcaption")).to_contain_text("ToMe")
    screen = page.evaluate("[window.innerWidth, window.innerHeight]")
    last = page.locator("[data-pane=tome]").bounding_box()
    assert last["y"] + last["height"] <= screen[1]
    page.mouse.move(*middle(page))
    page.mouse.wheel(0, -200)
    zoomed(page, 2.2377)
    press(page, "Full screen")
    page.wait_for_function("!document.fullscreenElement")
    zoomed(page, 2.2377)


def test_each_picture_can_be_taken_home_under_its_name(page: Page, tmp_path) -> None:
    with page.expect_download() as started:
        page.get_by_role("link", name="Download tome-factor2-a-drawing-seed7.png").click()
    assert started.value.suggested_filename == "tome-factor2-a-drawing-seed7.png"
    started.value.save_as(tmp_path / "tome.png")
    with Image.open(tmp_path / "tome.png") as taken:
        assert (taken.format, taken.size) == ("PNG", SIZE)
    press(page, "Preview")
    expect(page.locator("[data-pane=todo]")).to_contain_text("step 3 of 20")
    expect(page.locator("[data-pane=todo] .stage-download")).to_be_hidden()


def test_a_new_value_keeps_zoom_mode_and_choice(page: Page) -> None:
    press(page, "ToMe")  # not to be seen
    press(page, "Zoom in")
    for change in ("Preview", "Only one", "All"):
        press(page, change)
    expect(page.locator("[data-pane=todo-rotating]")).to_be_visible()
    assert panes(page) == ["baseline", "todo", "todo-rotating"]
    loaded(page)
    assert the_view(page) == [1.5, 0.5, 0.5]

    mode(page, "Wipe")
    page.get_by_label("Right").select_option(label="ToMe")
    page.get_by_label("Wipe between the two").fill("20")
    for change in ("Only one", "Nothing", "All"):
        press(page, change)
        expect(page.locator("#stage")).to_have_attribute("data-mode", "wipe")
    page.locator("#stage .stage-frame").wait_for()
    assert tag(page).split("\n") == ["Baseline", "ToMe"]
    assert page.get_by_label("Wipe between the two").input_value() == "20"
    zoomed(page, 1.5)

    mode(page, "Blink")
    page.keyboard.press("3")
    press(page, "Preview")
    expect(page.locator("[data-pane=blink] figcaption")).to_contain_text("step 3 of 20")
    assert tag(page) == "3 ToDo"


def test_nothing_moves_while_pictures_arrive(page: Page) -> None:
    press(page, "Placeholders")
    expect(page.locator("[data-pane=tome] [data-layer=picture] img")).to_have_count(0)
    before = frames(page)
    page.evaluate(
        """() => {
            window.shifts = 0;
            const add = list => list.getEntries().forEach(shift => { window.shifts += shift.value; });
            new PerformanceObserver(add).observe({ type: 'layout-shift' });
        }"""
    )
    page.wait_for_timeout(600)  # half a second after a click by hand shifts are forgiven
    button(page, "All").evaluate("button => button.click()")
    expect(page.locator("[data-pane=tome] figcaption")).to_contain_text("1.68×")
    expect(page.locator("[data-pane=tome] [data-layer=picture] img")).to_have_count(1)
    loaded(page)
    assert frames(page) == before
    assert page.evaluate("window.shifts") < 0.01


def test_a_picture_to_come_has_no_difference(page: Page) -> None:
    press(page, "Placeholders")
    expect(page.locator("[data-pane=tome] [data-layer=picture] img")).to_have_count(0)
    empty = colour_at(page, "tome", (0.5, 0.5))
    mode(page, "Difference")
    assert colour_at(page, "tome", (0.5, 0.5)) == empty
    press(page, "Largest difference 1")
    expect(page.get_by_role("status").filter(has_text="nothing to compare")).to_be_visible()


def test_five_of_seven_are_seen_and_chips_choose(page: Page) -> None:
    press(page, "Seven")
    expect(page.locator(".stage-pane")).to_have_count(5)
    press(page, "More 2")
    expect(page.get_by_role("status").filter(has_text="Up to 5")).to_be_visible()
    press(page, "Baseline")
    press(page, "More 2")
    assert panes(page) == ["tome", "todo", "todo-rotating", "more-0", "more-2"]
    assert len({round(box["y"]) for box in frames(page)}) == 1
    expect(button(page, "Baseline")).to_have_attribute("aria-pressed", "false")
    expect(button(page, "More 2")).to_have_attribute("aria-pressed", "true")


def test_without_pictures_there_is_a_sentence(page: Page) -> None:
    press(page, "Nothing")
    expect(page.get_by_text("No pictures yet")).to_be_visible()
    expect(button(page, "Wipe")).to_be_hidden()
    press(page, "Only one")
    expect(page.locator(".stage-frame")).to_have_count(1)
    expect(page.get_by_text("No pictures yet")).to_be_hidden()


def test_names_are_text(page: Page) -> None:
    press(page, "Nasty")
    expect(page.locator("[data-pane=todo] figcaption b")).to_have_text(NASTY)
    expect(page.locator("[data-pane=todo] figcaption span")).to_have_text(NASTY)
    expect(page.get_by_role("img", name=NASTY)).to_be_visible()


def test_the_difference_introduces_itself_unless_motion_is_unwanted(chromium: Browser) -> None:
    with gr.Blocks(analytics_enabled=False) as blocks:
        stage(pictures(), introduce=True)
    with launched(blocks) as address:
        for motion, modes in (
            ("no-preference", ("difference", "side-by-side")),
            ("reduce", ("side-by-side",)),
        ):
            page = chromium.new_page(reduced_motion=motion)
            page.goto(address)
            for mode in modes:
                page.locator(f"#stage[data-mode={mode}]").wait_for(timeout=WAIT)
            page.close()
        page = chromium.new_page(reduced_motion="no-preference")
        page.goto(address)
        page.locator("#stage[data-mode=difference]").wait_for(timeout=WAIT)
        press(page, "Difference")  # who wants to see it keeps it
        page.wait_for_timeout(2500)
        expect(page.locator("#stage")).to_have_attribute("data-mode", "difference")
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_one_picture_and_switches_it_in_place(window, scheme: str) -> None:
    page = window(390, 844, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert panes(page) == ["baseline"]
    (before,) = frames(page)
    assert before["width"] == page.locator("#stage").bounding_box()["width"]
    press(page, "ToMe")
    assert panes(page) == ["tome"]
    loaded(page)
    assert frames(page) == [before]
    assert min(colour_at(page, "tome", next(iter(SPOTS)))) > 200
    press(page, "Baseline")
    mode(page, "Difference")  # of which Baseline has none
    assert panes(page) == ["tome"]
    assert max(colour_at(page, "tome", FAINT)) == 0
    mode(page, "Wipe")
    mode(page, "Blink")
    assert tag(page) == "2 ToMe"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
