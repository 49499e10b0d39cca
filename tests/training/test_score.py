from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from compare.models.load import LoadedPipeline, Source, loaded_pipeline
from compare.study.row_folder import RowFolder
from tests.helpers.tiny_models import sdxl_pipeline
from training.artwork import THINGS
from training.prompts import Prompt, fixed_prompts
from training.score import Row, Settings, draw_rows, main, summarise
from training.vocabulary import write_vocabulary

SIDE = 64
SETTINGS = Settings(
    model="tiny",
    weights="0",
    classifier="0",
    method="todo",
    factor=2,
    steps=1,
    guidance_scale=4.0,
    device="CPU",
)


@pytest.fixture
def loaded() -> LoadedPipeline:
    return loaded_pipeline(sdxl_pipeline(), Source(place="somewhere/tiny-sdxl", name="tiny"))


@pytest.fixture
def asked() -> list[tuple[int, Prompt]]:
    return [(SIDE, prompt) for prompt in fixed_prompts([thing.name for thing in THINGS[:24]], 4)]


def test_a_killed_run_goes_on_without_doubling_a_row(loaded, classifier, asked, tmp_path) -> None:
    def timeless(rows: list[Row]) -> list[Row]:
        return [row.model_copy(update={"seconds": 0.0}) for row in rows]

    with RowFolder(tmp_path / "whole", SETTINGS, Row) as whole:
        assert len(list(draw_rows(loaded, classifier, SETTINGS, whole, asked))) == 4

    with RowFolder(tmp_path / "killed", SETTINGS, Row) as killed:
        run = draw_rows(loaded, classifier, SETTINGS, killed, asked)
        next(run), next(run)
        run.close()
    with killed.path.open("a") as file:
        file.write('{"size":64,"prompt":"a basket')  # killed while it wrote the third
    with RowFolder(tmp_path / "killed", SETTINGS, Row) as again:
        assert len(again.rows) == 2
        assert len(list(draw_rows(loaded, classifier, SETTINGS, again, asked))) == 2
        assert timeless(again.rows) == timeless(whole.rows)
        assert list(draw_rows(loaded, classifier, SETTINGS, again, asked)) == []


def test_a_prompt_is_followed_when_every_object_is_found() -> None:
    def row(objects: tuple[str, ...], seen: tuple[str, ...], background_seen: str, seconds: float) -> Row:
        asked = {"size": 256, "prompt": "…", "seed": 0, "objects": objects, "background": "mint"}
        return Row(**asked, seen=seen, background_seen=background_seen, seconds=seconds)

    rows = [
        row(("fox",), ("fox",), "mint", 1.0),
        row(("fox",), ("fox", "pig"), "white", 2.0),
        row(("fox",), (), "mint", 9.0),
        row(("fox", "pig"), ("fox",), "mint", 2.0),
        row(("fox", "pig"), ("fox", "pig"), "mint", 2.0),
    ]
    (score,) = summarise(rows, steps=4)
    assert (score.one.hits, score.one.of) == (2, 3)
    assert (score.two.hits, score.two.of) == (1, 2)
    assert (score.background.hits, score.background.of) == (4, 5)
    assert (score.strayed.hits, score.strayed.of) == (1, 5)
    assert score.seconds_per_step == 0.5


@pytest.mark.usefixtures("artwork")
def test_the_command_scores_a_model_folder_and_tables_results(tmp_path, monkeypatch, capsys) -> None:
    model = tmp_path / "model"
    sdxl_pipeline().save_pretrained(model)
    write_vocabulary(24, model / "vocabulary.json")
    folders = [tmp_path / "baseline", tmp_path / "rotating"]
    for folder, method in zip(folders, ("baseline", "todo-rotating"), strict=True):
        _run(monkeypatch, "--model", model, "--sizes", SIDE, "--prompts", 2, "--steps", 1,
             "--method", method, "--out", folder)  # fmt: skip
    score = json.loads((folders[1] / "score.json").read_text())
    assert score["sizes"][0]["one"]["of"] == score["sizes"][0]["two"]["of"] == 1
    assert score["megabytes"] > 0.1
    assert score["vae_psnr"] > 0

    capsys.readouterr()
    _run(monkeypatch, "--table", *folders)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| 64 px", "Baseline"],
        ["| 64 px", "ToDo, rotating grid, factor 2"],
    ]


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str | int | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["score", *map(str, arguments)])
    main()
