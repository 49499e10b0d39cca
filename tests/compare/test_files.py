from __future__ import annotations

import json
from datetime import timezone

import pytest
from PIL import Image

from compare.experiment.worker import run
from compare.files import load_comparison, save_comparison
from compare.report import Comparison
from compare.request import Request
from compare.sheet import contact_sheet, scores_of, times_of
from tests.helpers.run import finished

METHODS = ("baseline", "tome", "todo", "todo-rotating", "fewer-steps")


@pytest.fixture
def comparison(loaded, request_for) -> Comparison:
    asked = request_for(prompt="ein Fuchs, “狐”", methods=METHODS, factor=(2,), repeats=2)
    return finished(run(loaded, asked))


def test_a_saved_comparison_is_loaded_back_as_it_was(comparison, tmp_path) -> None:
    folder = save_comparison(comparison, tmp_path / "new" / "result")
    names = {file.name for file in folder.iterdir()}
    tokens = {f"{result.method}-tokens.png" for result in comparison.results if result.token_record}
    assert tokens == {"tome-tokens.png", "todo-tokens.png", "todo-rotating-tokens.png"}
    assert names == {"report.json", "comparison.png", *(f"{method}.png" for method in METHODS), *tokens}
    loaded = load_comparison(folder)
    assert loaded == comparison
    assert [r.image.tobytes() for r in loaded.results] == [r.image.tobytes() for r in comparison.results]
    assert [r.token_record for r in loaded.results] == [r.token_record for r in comparison.results]


def test_the_report_is_strict_json_even_for_identical_pictures(loaded, request_for, tmp_path) -> None:
    same = finished(run(loaded, request_for(factor=1)))

    text = (save_comparison(same, tmp_path) / "report.json").read_text()
    report = json.loads(text, parse_constant=pytest.fail)  # NaN and Infinity are not JSON
    scores = report["results"][1]["scores"]
    assert scores["identical"] is True
    assert scores["psnr"] is None


def test_the_report_says_what_ran_where_and_when(comparison, tmp_path) -> None:
    report = json.loads((save_comparison(comparison, tmp_path) / "report.json").read_text())
    assert report["environment"]["packages"].keys() >= {"torch", "diffusers", "tomesd"}
    assert report["environment"]["threads"] >= 1
    assert report["environment"]["memory"] > 2**28
    assert report["environment"]["cpu"]
    assert report["model"]["name"] == "tiny"
    assert report["model"]["attention"] == "sdpa"
    assert report["request"]["prompt"] == "ein Fuchs, “狐”"
    assert report["results"][0]["times"]["seconds"] > 0
    assert comparison.date.tzinfo is timezone.utc


def test_pictures_carry_their_settings(comparison, tmp_path) -> None:
    folder = save_comparison(comparison, tmp_path)
    with Image.open(folder / "todo.png") as picture:
        assert picture.info["prompt"] == comparison.request.prompt
        settings = json.loads(picture.info["settings"])
        assert settings.pop("method") == "todo"
        assert Request(**{**settings, "factor": tuple(settings["factor"])}) == comparison.request
        assert "somewhere/tiny-sdxl" in picture.info["model"]
    with Image.open(folder / "comparison.png") as sheet:
        assert sheet.info["prompt"] == comparison.request.prompt
        assert json.loads(sheet.info["settings"])["seed"] == comparison.request.seed
        assert sheet.width > len(METHODS) * 300, "the pictures are beside each other"
        assert sheet.height > 352


@pytest.mark.parametrize("text", ["[]", "{}", "not json", '{"results": [{"method": "../secret"}]}'])
def test_a_file_that_is_no_report_is_refused(tmp_path, text) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        load_comparison(tmp_path)


def test_a_missing_report_is_missing(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        load_comparison(tmp_path)


def test_speed_up_never_stands_without_its_ceiling(comparison) -> None:
    for method in ("tome", "todo", "todo-rotating"):
        assert "ceiling" in times_of(comparison.result(method))
    assert "ceiling" not in times_of(comparison.result("baseline"))
    assert "steps" in times_of(comparison.result("fewer-steps"))
    assert "PSNR" in scores_of(comparison.result("todo"))
    assert scores_of(comparison.result("baseline")) == ""


def test_an_endless_prompt_fits_on_the_sheet(loaded, request_for) -> None:
    asked = request_for(prompt="fox " * 500, methods=("baseline",))
    assert contact_sheet(finished(run(loaded, asked))).width < 600
