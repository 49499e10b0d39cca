from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from compare.cli import main
from compare.errors import InvalidRequest, OutOfMemory
from compare.models.source import BUNDLED, CLASSIFIER
from compare.models.vocabulary import Vocabulary
from compare.study import sweep as sweep_module
from compare.study.curve import markdown, plot, points
from compare.study.row_folder import RowFolder
from compare.study.rows import Row, Setup
from compare.study.scorers import Referee
from compare.study.sweep import Sweep, sweep

PROJECT = Path(__file__).resolve().parents[3]
SETTINGS = """
prompts = ["a fox", "a cat"]
methods = ["tome", "todo"]
seeds = [1, 2]
factors = [2, 3]
sizes = [64]
steps = [2]
"""


def written(folder: Path, text: str = SETTINGS) -> Path:
    file = folder / "sweep.toml"
    file.write_text(text)
    return file


def finished(loaded, folder: Path, text: str = SETTINGS) -> list:
    requests = Sweep.load(written(folder, text)).requests(loaded)
    referee = Referee.of(loaded)
    with RowFolder(folder / "out", Setup.of(loaded, referee), Row) as out:
        for _ in sweep(loaded, requests, out, referee):
            pass
        return out.rows


def rows_in(folder: Path) -> list[Row]:
    lines = (folder / "out" / "rows.jsonl").read_text().splitlines()
    return [Row.model_validate_json(line) for line in lines]


def test_every_method_is_scored_for_every_prompt_seed_and_setting(loaded, tmp_path) -> None:
    rows = finished(loaded, tmp_path)
    assert len({row.key for row in rows}) == len(rows) == 2 * 2 * 2 * 2
    assert {(row.prompt, row.seed, row.factor, row.method) for row in rows} == {
        (prompt, seed, factor, method)
        for prompt in ("a fox", "a cat")
        for seed in (1, 2)
        for factor in (2, 3)
        for method in ("tome", "todo")
    }
    assert all(row.speedup > 0 and row.seconds > 0 and row.ssim <= 1 for row in rows)
    assert rows_in(tmp_path) == rows


def test_a_prompt_has_all_its_settings_before_the_next_begins(loaded, tmp_path) -> None:
    asked = Sweep.load(written(tmp_path)).requests(loaded)
    assert [request.prompt for request in asked] == ["a fox"] * 4 + ["a cat"] * 4


def test_started_again_it_runs_only_what_is_missing(loaded, tmp_path, monkeypatch) -> None:
    before = finished(loaded, tmp_path)
    monkeypatch.setattr(sweep_module, "run", lambda *_: pytest.fail("it was done already"))
    assert finished(loaded, tmp_path) == before
    monkeypatch.undo()
    longer = finished(loaded, tmp_path, SETTINGS.replace("[2, 3]", "[2, 3, 4]"))
    assert longer[: len(before)] == before
    assert {row.factor for row in longer[len(before) :]} == {4}


@pytest.mark.parametrize("cut", [1, 7, 200])
def test_a_line_cut_by_a_kill_is_written_again_and_no_row_is_double(loaded, tmp_path, cut) -> None:
    rows = finished(loaded, tmp_path)
    file = tmp_path / "out" / "rows.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    again = finished(loaded, tmp_path)
    assert sorted(map(str, (row.key for row in again))) == sorted(map(str, (row.key for row in rows)))
    assert again[:-1] == rows[:-1]  # the one before was written whole, and stays


def test_stop_leaves_only_whole_comparisons(loaded, tmp_path) -> None:
    requests = Sweep.load(written(tmp_path)).requests(loaded)
    stop = threading.Event()
    referee = Referee.of(loaded)
    with RowFolder(tmp_path / "out", Setup.of(loaded, referee), Row) as out:
        for number, _ in enumerate(sweep(loaded, requests, out, referee, stop)):
            if number == 1:
                stop.set()
    assert len(rows_in(tmp_path)) == 4
    assert len(finished(loaded, tmp_path)) == 16


def test_killed_at_any_moment_it_goes_on(tiny_folder, tmp_path) -> None:
    command = [
        sys.executable, "-m", "compare", "sweep", str(written(tmp_path)), "--out", str(tmp_path / "out"),
        "--model", str(tiny_folder), "--device", "cpu",
    ]  # fmt: skip
    file = tmp_path / "out" / "rows.jsonl"
    killed = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (file.exists() and file.read_bytes().count(b"\n") >= 2):
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    there = file.read_bytes()
    done = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    whole = there[: there.rfind(b"\n") + 1]
    assert file.read_bytes().startswith(whole)
    assert len({row.key for row in rows_in(tmp_path)}) == len(rows_in(tmp_path)) == 16
    assert done.stdout == (tmp_path / "out" / "table.md").read_text()
    assert "note: How much of the prompt is left is not scored" in done.stderr


def test_the_table_has_medians_and_quartiles_that_follow_from_the_rows(loaded, tmp_path) -> None:
    rows = finished(loaded, tmp_path)
    found = points(rows)
    assert [(p.method, p.factor, p.runs) for p in found] == [
        ("tome", "2", 4), ("todo", "2", 4), ("tome", "3", 4), ("todo", "3", 4),
    ]  # fmt: skip
    todo = [row.ssim for row in rows if row.method == "todo" and row.factor == 2]
    assert (found[1].ssim.low, found[1].ssim.middle, found[1].ssim.high) == tuple(sorted(todo)[:3])
    assert markdown(found).count("\n") == len(found) + 2
    plot(found, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_where_a_network_can_read_the_pictures_it_says_what_is_left_of_the_prompt(loaded, tmp_path) -> None:
    reads = replace(
        loaded,
        vocabulary=Vocabulary.load(BUNDLED / "vocabulary.json"),
        classifier_file=BUNDLED / CLASSIFIER,
    )
    text = SETTINGS.replace('"a fox", "a cat"', '"a fox on mint", "a dragon"')
    rows = finished(reads, tmp_path, text)
    assert [row.asked for row in rows] == [2] * 8 + [0] * 8
    assert all(row.shown <= row.asked and row.baseline_shown <= row.asked for row in rows)
    assert [point.shown.of for point in points(rows)] == [4] * 4
    assert markdown(points(rows)).count(", n = 4) |") == 2 * 4
    one = points(rows)
    two = [*one, *(replace(point, setting="another") for point in one)]
    plot(one, tmp_path / "one.png")
    plot(two, tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as beside, Image.open(tmp_path / "two.png") as below:
        assert beside.width > 2 * beside.height  # the share of the prompt beside the PSNR
        assert below.width == beside.width  # and below it, where the next setting is beside it
        assert below.height > 1.8 * beside.height
    with pytest.raises(InvalidRequest, match="rows with classifier"):
        finished(loaded, tmp_path, text)


def test_fewer_steps_and_levels_can_be_swept(loaded, tmp_path) -> None:
    text = SETTINGS.replace('["tome", "todo"]', '["todo", "fewer-steps"]').replace("[2, 3]", "[[2, 2]]")
    rows = finished(loaded, tmp_path, text)
    assert {row.factor for row in rows} == {(2, 2)}
    assert {row.method_steps for row in rows if row.method == "todo"} == {2}
    assert {point.factor for point in points(rows)} == {"2, 2"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prompts = ", "is not a TOML file"),
        ('prompts = ["a fox"]', "methods"),
        (SETTINGS + "speed = 3\n", "speed"),
        (SETTINGS.replace("seeds = [1, 2]", 'seeds = ["one"]'), "seeds"),
        (SETTINGS.replace("seeds = [1, 2]", "seeds = []"), "The sweep is empty"),
        (SETTINGS.replace('"tome", "todo"', ""), "no method but Baseline"),
        (SETTINGS.replace("[2, 3]", "[1.5]"), "factors"),
        (SETTINGS.replace("[2, 3]", "[0]"), "Factor must be"),
        (SETTINGS.replace("[64]", "[[64, 64, 64]]"), "[width, height]"),
        (SETTINGS.replace("[64]", "[63]"), "multiple of 8"),
        (SETTINGS.replace('"todo"', '"magic"'), "'magic' is not one of them"),
        (SETTINGS.replace("[2, 3]", "[2, 40]"), "Factor must be"),
        (SETTINGS.replace("[2, 3]", "[2, 8]"), "stride=8"),
        (SETTINGS.replace("[2, 3]", "[[2, 2, 2]]"), "level"),
    ],
)
def test_a_wrong_sweep_is_told_in_a_sentence_before_anything_runs(
    tiny_folder, tmp_path, capsys, text, says
) -> None:
    out = tmp_path / "out"
    options = ["--out", str(out), "--model", str(tiny_folder), "--device", "cpu"]
    assert main(["sweep", str(written(tmp_path, text)), *options]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("error:") == 1
    assert not out.exists()


def test_rows_of_other_weights_are_not_added_to(loaded, tmp_path) -> None:
    finished(loaded, tmp_path)
    with torch.no_grad():
        loaded.pipe.unet.conv_in.weight[0, 0, 0, 0] += 0.5
    with pytest.raises(InvalidRequest, match="rows with weights"):
        finished(loaded, tmp_path)


def test_what_does_not_fit_is_said_and_the_rest_goes_on(loaded, tmp_path) -> None:
    def too_large(unet: object, args: tuple, kwargs: dict) -> None:
        if args[0].shape[-1] > 8:
            raise torch.OutOfMemoryError

    requests = Sweep.load(written(tmp_path, SETTINGS.replace("[64]", "[128, 64]"))).requests(loaded)
    loaded.pipe.unet.register_forward_pre_hook(too_large, with_kwargs=True)
    referee = Referee.of(loaded)
    with RowFolder(tmp_path / "out", Setup.of(loaded, referee), Row) as out:
        done = list(sweep(loaded, requests, out, referee))
    assert sum(isinstance(item, OutOfMemory) for item in done) == len(requests) // 2
    assert {row.width for row in rows_in(tmp_path)} == {64}
    assert len(rows_in(tmp_path)) == 16


def test_identical_pictures_are_infinitely_close_and_hide_no_others(loaded, tmp_path) -> None:
    rows = [row for row in finished(loaded, tmp_path) if (row.method, row.factor) == ("todo", 2)]
    rows[0] = rows[0].model_copy(update={"psnr": None, "identical": True})
    (point,) = points(rows)
    assert math.isfinite(point.psnr.low)
    assert math.isfinite(point.psnr.middle)
    (same,) = points([row.model_copy(update={"psnr": None}) for row in rows])
    assert "∞ (∞ to ∞)" in markdown([same])
    plot([point, same], tmp_path / "curve.png")


@pytest.mark.parametrize(
    "file", sorted((PROJECT / "docs").rglob("*.toml")), ids=lambda file: str(file.relative_to(PROJECT))
)
def test_the_sweeps_of_the_documentation_are_valid(loaded, file) -> None:
    assert Sweep.load(file).requests(loaded)
