"""What the browser is given of the stage."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from compare.methods import method_of
from compare.report import PlanSummary, Result, Times
from page.pictures import Album, Pictures
from page.stage import Picture, Tokens, stage, stage_value, tokens_of

PLAN = PlanSummary(flops_before=1, flops_after=1, flop_speedup=1.0, ceiling=None, levels=())


def picture(id: str, **changes: object) -> Picture:
    known = {"label": id.title(), "path": "", "caption": "", "alt": "", "name": f"{id}.png"}
    return Picture(id=id, **{**known, "width": 64, "height": 32, **changes})


def result(method: str, colour: str) -> Result:
    image = Image.new("RGB", (32, 32), colour)
    return Result(method=method, steps=1, times=Times(denoising=(1.0,), decoding=1.0), plan=PLAN, image=image)


@pytest.fixture
def album() -> Album:
    return Album(Pictures(get_upload_folder()))


def test_each_picture_is_served_from_the_file_that_it_has(album: Album) -> None:
    files = [album.file(name, Image.new("RGB", (64, 32), name)) for name in ("red", "blue")]
    with gr.Blocks(analytics_enabled=False):
        component = stage([picture("todo", path=files[0], flip=files[1])])
    (shown,) = component.value
    assert [shown["file"]["url"], shown["flip"]["url"]] == [f"/gradio_api/file={file}" for file in files]
    assert component.elem_id == "stage"


def test_a_picture_to_come_has_a_place_and_no_file() -> None:
    (shown,) = stage_value([picture("todo", label="ToDo", caption="soon")])
    assert (shown["file"], shown["flip"]) == (None, None)
    assert (shown["label"], shown["caption"], shown["width"], shown["height"]) == ("ToDo", "soon", 64, 32)


def test_colours_are_those_of_the_plots_and_strangers_have_none() -> None:
    ours, theirs = stage_value([picture("todo"), picture("factor-4")])
    assert ours["colour"] == method_of("todo").colour
    assert theirs["colour"] is None


def test_what_a_visitor_typed_is_data_and_never_markup(album: Album) -> None:
    nasty = "<script>1</script> ${1+1} {{value}} `"
    shown = stage_value([picture("todo", alt=nasty, path=album.file("todo", Image.new("RGB", (8, 8))))])
    assert json.loads(json.dumps(shown))[0]["alt"] == nasty
    with gr.Blocks(analytics_enabled=False):
        component = stage([picture("todo", alt=nasty)])
    assert nasty not in component.html_template + component.css_template + component.js_on_load


def test_gradio_finds_nothing_of_its_own_to_fill_in() -> None:
    """It reads markup and style as templates in two languages, of which neither is meant here."""
    with gr.Blocks(analytics_enabled=False):
        component = stage([])
    for template in (component.html_template, component.css_template):
        assert not any(special in template for special in ("{{", "${", "`", "\\", "@children"))


def test_the_map_of_a_picture_is_made_once_and_there_is_none_of_baseline(album: Album, monkeypatch) -> None:
    pytest.importorskip("flip_evaluator")
    baseline, todo = result("baseline", "black"), result("todo", "white")
    assert album.flip_file(baseline, baseline) is None
    assert album.flip_file(todo, None) is None
    file = album.flip_file(todo, baseline)
    with Image.open(file) as drawn:
        assert drawn.size == (32, 32)
        assert sum(drawn.convert("RGB").getpixel((16, 16))) > 300  # white on black: seen by everybody
    monkeypatch.setattr("page.pictures.flip_map", None)  # not called again
    assert album.flip_file(todo, baseline) == file
    assert album.file("todo", todo.image) != file


def test_without_the_optional_package_there_is_no_map(album: Album, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    assert album.flip_file(result("todo", "white"), result("baseline", "black")) is None


def test_the_tokens_of_a_result_are_a_file_that_says_how_it_is_read(album: Album) -> None:
    record = Image.new("RGB", (8, 2 * 3 * 4))
    record.info |= {"blocks": "2", "steps": "3"}
    kept = result("todo", "white").model_copy(update={"token_record": record})
    tokens = tokens_of(kept, album)
    assert tokens == Tokens(tokens.path, blocks=2, steps=3, rows=4, columns=8)
    with gr.Blocks(analytics_enabled=False):
        (shown,) = stage([picture("todo", tokens=tokens)]).value
    assert shown["tokens"]["file"]["url"] == f"/gradio_api/file={tokens.path}"
    assert tokens_of(result("baseline", "black"), album) is None


def test_a_map_whose_file_was_deleted_is_made_again(album: Album) -> None:
    pytest.importorskip("flip_evaluator")
    baseline, todo = result("baseline", "black"), result("todo", "white")
    file = Path(album.flip_file(todo, baseline))
    file.unlink()
    assert Path(album.flip_file(todo, baseline)).exists()
