from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from compare.errors import InvalidRequest
from compare.models.load import LoadedPipeline, Source, loaded_pipeline
from compare.study.row_folder import RowFolder
from tests.helpers.tiny_models import sdxl_pipeline
from training.artwork import THINGS
from training.prompts import Prompt, fixed_prompts
from training.score import Row, Score, Settings, draw_rows, main, summarise
from training.vocabulary import write_vocabulary
from training.whole import RULES, Judge

SIDE = 64
SETTINGS = Settings(
    model="tiny",
    weights="0",
    classifier="0",
    whole="0",
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


@pytest.fixture
def judge(classifier) -> Judge:
    """For every thing a square."""
    return Judge(classifier, dict.fromkeys(classifier.objects, Image.new("RGBA", (192, 192), "red")))


def test_a_killed_run_goes_on_without_doubling_a_row(loaded, classifier, judge, asked, tmp_path) -> None:
    def timeless(rows: list[Row]) -> list[Row]:
        return [row.model_copy(update={"seconds": 0.0}) for row in rows]

    with RowFolder(tmp_path / "whole", SETTINGS, Row) as whole:
        assert len(list(draw_rows(loaded, classifier, judge, SETTINGS, whole, asked))) == 4

    with RowFolder(tmp_path / "killed", SETTINGS, Row) as killed:
        run = draw_rows(loaded, classifier, judge, SETTINGS, killed, asked)
        next(run), next(run)
        run.close()
    with killed.path.open("a") as file:
        file.write('{"size":64,"prompt":"a basket')  # killed while it wrote the third
    with RowFolder(tmp_path / "killed", SETTINGS, Row) as again:
        assert len(again.rows) == 2
        assert len(list(draw_rows(loaded, classifier, judge, SETTINGS, again, asked))) == 2
        assert timeless(again.rows) == timeless(whole.rows)
        assert list(draw_rows(loaded, classifier, judge, SETTINGS, again, asked)) == []


def test_a_prompt_is_followed_when_every_object_is_found() -> None:
    def row(objects: tuple[str, ...], seen: tuple[str, ...], background_seen: str, seconds: float) -> Row:
        asked = {"size": 256, "prompt": "…", "seed": 0, "objects": objects, "background": "mint"}
        read = {"seen": seen, "background_seen": background_seen, "stickers": 4, "whole": len(seen)}
        return Row(**asked, **read, seconds=seconds)

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
    assert (score.whole.hits, score.whole.of) == (6, 20)
    assert score.seconds_per_step == 0.5


def test_pictures_without_stickers_have_no_share_of_whole_ones() -> None:
    asked = {"size": 64, "prompt": "…", "seed": 0, "objects": ("fox",), "background": "mint"}
    row = Row(**asked, seen=(), background_seen="mint", stickers=0, whole=0, seconds=1.0)
    (score,) = summarise([row], steps=1)
    assert score.whole.value is None
    assert str(score.whole) == "–"


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
    assert score["settings"]["whole"] == RULES
    assert 0 <= score["sizes"][0]["whole"]["hits"] <= score["sizes"][0]["whole"]["of"]
    assert score["megabytes"] > 0.1
    assert score["vae_psnr"] > 0

    capsys.readouterr()
    _run(monkeypatch, "--table", *folders)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| 64 px", "Baseline"],
        ["| 64 px", "ToDo, rotating grid, factor 2"],
    ]
    assert all(line.count("|") == 9 for line in lines)


def test_rows_from_before_stickers_were_judged_are_refused(tmp_path) -> None:
    old = SETTINGS.model_dump(exclude={"whole"})
    (tmp_path / "setup.json").write_text(json.dumps(old))
    with (
        pytest.raises(InvalidRequest, match=r"setup\.json is of something else"),
        RowFolder(tmp_path, SETTINGS, Row),
    ):
        pass


def test_rows_that_were_judged_by_other_rules_are_refused(tmp_path) -> None:
    with RowFolder(tmp_path, SETTINGS, Row):
        pass
    other = SETTINGS.model_copy(update={"whole": "1"})
    with pytest.raises(InvalidRequest, match="rows with whole 0"), RowFolder(tmp_path, other, Row):
        pass


def test_the_table_refuses_scores_from_before_stickers_were_judged(tmp_path, monkeypatch, capsys) -> None:
    score = Score(settings=SETTINGS, megabytes=1.0, vae_psnr=30.0, sizes=())
    old = score.model_dump(exclude={"settings": {"whole"}})
    (tmp_path / "score.json").write_text(json.dumps(old))
    with pytest.raises(SystemExit):
        _run(monkeypatch, "--table", tmp_path)
    assert "is not such a score (settings.whole): score the model anew" in capsys.readouterr().err


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str | int | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["score", *map(str, arguments)])
    main()
