from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compare.__main__ import main
from compare.errors import InvalidRequest, OutOfMemory
from compare.methods import method_of
from compare.models.source import BUNDLED, CLASSIFIER
from compare.models.vocabulary import Vocabulary
from compare.study import sweep as sweep_module
from compare.study.curve import markdown, points
from compare.study.row_folder import read_rows
from compare.study.rows import Row
from compare.study.sweep import Sweep
from tests.helpers.sweeps import SETTINGS, sweeping, swept, written

PROJECT = Path(__file__).resolve().parents[3]


def test_every_method_is_scored_for_every_prompt_seed_and_setting(rows) -> None:
    assert len({row.key for row in rows}) == len(rows) == 2 * 2 * 2 * 2
    assert {(row.prompt, row.seed, row.factor, row.method) for row in rows} == {
        (prompt, seed, factor, method)
        for prompt in ("a fox", "a cat")
        for seed in (1, 2)
        for factor in (2, 3)
        for method in ("tome", "todo")
    }
    assert all(row.speedup > 0 and row.seconds > 0 and row.ssim <= 1 for row in rows)


def test_a_prompt_has_all_its_settings_before_the_next_begins(loaded, tmp_path) -> None:
    requests = Sweep.load(written(tmp_path)).requests(loaded)
    assert [request.prompt for request in requests] == ["a fox"] * 4 + ["a cat"] * 4


def test_started_again_it_runs_only_what_is_missing(loaded, rows, finished, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sweep_module, "run", lambda *_: pytest.fail("it was done already"))
        assert swept(loaded, finished) == rows
    longer = swept(loaded, finished, SETTINGS.replace("[2, 3]", "[2, 3, 4]"))
    assert longer[: len(rows)] == rows
    assert {row.factor for row in longer[len(rows) :]} == {4}


@pytest.mark.parametrize("cut", [1, 7, 200])
def test_a_line_cut_by_a_kill_is_written_again_and_no_row_is_double(loaded, rows, finished, cut) -> None:
    file = finished / "out" / "rows.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    again = swept(loaded, finished)
    assert [row.key for row in again] == [row.key for row in rows]
    assert again[:-1] == rows[:-1]  # the one before was written whole, and stays


def test_stop_leaves_only_whole_comparisons(loaded, tmp_path) -> None:
    stop = threading.Event()
    for number, _ in enumerate(sweeping(loaded, tmp_path, stop=stop)):
        if number == 1:
            stop.set()
    assert len(read_rows(tmp_path / "out", Row)) == 4


def test_the_command_prints_the_table_and_goes_on(tiny_folder, tmp_path, capsys) -> None:
    file = written(tmp_path, SETTINGS.replace('"a fox", "a cat"', '"a fox"'))
    arguments = f"sweep {file} --out {tmp_path / 'out'} --model {tiny_folder} --device cpu".split()
    assert main(arguments) == 0
    rows = read_rows(tmp_path / "out", Row)
    assert len(rows) == 8
    written(tmp_path)
    assert main(arguments) == 0
    more = read_rows(tmp_path / "out", Row)
    assert more[:8] == rows
    assert len({row.key for row in more}) == len(more) == 16
    printed = capsys.readouterr()
    assert printed.out == markdown(points(rows)) + markdown(points(more))
    assert (tmp_path / "out" / "table.md").read_text() == markdown(points(more))
    assert (tmp_path / "out" / "curve.png").stat().st_size > 10_000
    assert "note: How much of the prompt is left is not scored" in printed.err


def test_without_times_rows_have_scores_only(tiny_folder, tmp_path, capsys) -> None:
    file = written(tmp_path, SETTINGS.replace('"a fox", "a cat"', '"a fox"'))
    assert (
        main(f"sweep {file} --out {tmp_path / 'out'} --model {tiny_folder} --device cpu --no-times".split())
        == 0
    )
    rows = read_rows(tmp_path / "out", Row)
    assert len(rows) == 8
    assert {(row.seconds, row.speedup) for row in rows} == {(None, None)}
    assert all(row.ssim > 0 and row.flop_speedup for row in rows)
    assert not (tmp_path / "out" / "curve.png").exists()  # it would be empty
    assert "there is no curve.png" in capsys.readouterr().err


def test_rows_without_times_are_named_when_times_are_asked_for(tiny_folder, tmp_path, capsys) -> None:
    file = written(tmp_path, SETTINGS.replace('"a fox", "a cat"', '"a fox"').replace("[2, 3]", "[2]"))
    command = f"sweep {file} --out {tmp_path / 'out'} --model {tiny_folder} --device cpu".split()
    assert main([*command, "--no-times"]) == 0
    assert "have no times" not in capsys.readouterr().err
    assert main(command) == 0
    assert "note: 4 rows from before have no times" in capsys.readouterr().err


def test_fewer_steps_are_not_taken_from_times_that_say_nothing(tiny_folder, tmp_path, capsys) -> None:
    file = written(tmp_path, SETTINGS.replace('"tome"', '"fewer-steps"'))
    command = f"sweep {file} --out {tmp_path / 'out'} --model {tiny_folder} --device cpu --no-times"
    assert main(command.split()) == 2
    assert "fewer-steps takes its number of steps from times" in capsys.readouterr().err


def test_a_method_that_is_not_installed_is_a_column_less_and_named(
    tiny_folder, tmp_path, monkeypatch, capsys
) -> None:
    absent = replace(method_of("deepcache"), package="no-such-package==1.0")
    monkeypatch.setattr(sweep_module, "METHODS", (absent,))
    file = written(tmp_path, SETTINGS.replace('"tome"', '"deepcache"').replace("[2, 3]", "[2]"))
    assert main(f"sweep {file} --out {tmp_path / 'out'} --model {tiny_folder} --device cpu".split()) == 0
    assert "note: Without a column: deepcache needs: pip install no-such-" in capsys.readouterr().err
    assert {row.method for row in read_rows(tmp_path / "out", Row)} == {"todo"}


def test_what_is_written_twice_is_run_once(loaded, tmp_path) -> None:
    text = SETTINGS.replace('"a fox", "a cat"', '"a fox", "a fox"').replace("[1, 2]", "[1, 1]")
    text = text.replace("[2, 3]", "[2, [2], [2, 1], [2, 2]]")
    requests = Sweep.load(written(tmp_path, text)).requests(loaded)
    assert [request.factor for request in requests] == [2, (2, 2)]


def test_rows_of_another_setting_of_the_scheduler_are_not_added_to(loaded, rows, finished) -> None:
    scheduler = loaded.pipe.scheduler
    loaded.pipe.scheduler = type(scheduler).from_config(scheduler.config, timestep_spacing="trailing")
    with pytest.raises(InvalidRequest, match="rows with scheduler_settings"):
        swept(loaded, finished)
    setup = json.loads((finished / "out" / "setup.json").read_text())
    del setup["scheduler_settings"], setup["flip"]  # as in folders from before they were noted
    (finished / "out" / "setup.json").write_text(json.dumps(setup))
    assert swept(loaded, finished) == rows


def test_a_network_that_reads_pictures_says_what_is_left_of_the_prompt(loaded, finished, tmp_path) -> None:
    vocabulary = Vocabulary.load(BUNDLED / "vocabulary.json")
    reads = replace(loaded, vocabulary=vocabulary, classifier_file=BUNDLED / CLASSIFIER)
    text = SETTINGS.replace('"a fox", "a cat"', '"a fox on mint", "a dragon"').replace("[2, 3]", "[2]")
    with pytest.raises(InvalidRequest, match="rows with classifier"):
        swept(reads, finished, text)
    rows = swept(reads, tmp_path, text)
    assert [row.asked for row in rows] == [2] * 4 + [0] * 4
    assert all(row.shown <= row.asked and row.baseline_shown <= row.asked for row in rows)
    assert [point.shown.of for point in points(rows)] == [4] * 2
    assert markdown(points(rows)).count(", n = 4) |") == 2 * 2


def test_fewer_steps_and_levels_can_be_swept(loaded, tmp_path) -> None:
    text = SETTINGS.replace('["tome", "todo"]', '["todo", "fewer-steps"]').replace("[2, 3]", "[[2, 2]]")
    rows = swept(loaded, tmp_path, text)
    assert {row.factor for row in rows} == {(2, 2)}
    assert {row.method_steps for row in rows if row.method == "todo"} == {2}
    assert {point.factor for point in points(rows)} == {"2, 2"}


def test_methods_can_be_on_for_a_part_of_the_steps_only(loaded, tmp_path) -> None:
    text = SETTINGS.replace('"a fox", "a cat"', '"a fox"').replace("[2, 3]", "[2, [2, 2]]")
    text = text.replace("[1, 2]", "[1]").replace('"todo"', '"todo", "todo-raster", "todo-average"')
    rows = swept(loaded, tmp_path, text + "until = [1.0, 0.5]\n")
    assert len({row.key for row in rows}) == len(rows) == 4 * 2 * 2
    for whole in (row for row in rows if row.until == 1):
        same = (row for row in rows if (row.method, row.factor) == (whole.method, whole.factor))
        (half,) = (row for row in same if row.until == 0.5)
        assert half.psnr != whole.psnr
        assert 1 < half.flop_speedup < whole.flop_speedup
    assert {point.setting.partition("guidance 5")[2] for point in points(rows)} == {
        "", ", methods on until 0.5 of the steps",
    }  # fmt: skip


def test_rows_from_before_a_setting_or_a_score_was_added_are_the_same_rows(loaded, rows, finished) -> None:
    file = finished / "out" / "rows.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        for name in ("until", "flip", "ms_ssim"):
            del line[name]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = swept(loaded, finished)
    assert [row.key for row in again] == [row.key for row in rows]
    assert {row.flip for row in again} == {None}


@pytest.mark.usefixtures("outsider")
def test_a_method_of_somebody_else_can_be_swept(loaded, tmp_path) -> None:
    rows = swept(loaded, tmp_path, SETTINGS.replace('"tome"', '"theirs"'))
    of_theirs = [row for row in rows if row.method == "theirs"]
    assert {(row.flop_speedup, row.ceiling, row.identical) for row in of_theirs} == {(None, None, False)}
    assert "| Theirs | 2 | 4 |" in markdown(points(rows))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prompts = ", "is not a TOML file"),
        ('prompts = ["a fox"]', "methods"),
        (SETTINGS + "speed = 3\n", "speed"),
        (SETTINGS.replace("seeds = [1, 2]", 'seeds = ["one"]'), "seeds"),
        (SETTINGS.replace("seeds = [1, 2]", "seeds = []"), "seeds: List should have at least 1 item"),
        (SETTINGS.replace("[64]", "[]"), "sizes: List should have at least 1 item"),
        (SETTINGS.replace('"tome", "todo"', '"baseline"'), "no method but Baseline"),
        (SETTINGS.replace("tome", "forecast-50").replace("[2]", "[20, 4]"), "would forecast 2 of 4 steps"),
        (SETTINGS.replace("[2, 3]", "[1.5]"), "factors"),
        (SETTINGS.replace("[2, 3]", "[0]"), "Factor must be"),
        (SETTINGS.replace("[64]", "[[64, 64, 64]]"), r"\[width, height\]"),
        (SETTINGS.replace("[64]", "[63]"), "multiple of 8"),
        (SETTINGS.replace('"todo"', '"magic"'), "'magic' is not one of them"),
        (SETTINGS.replace("[2, 3]", "[2, 40]"), "Factor must be"),
        (SETTINGS.replace("[2, 3]", "[2, 8]"), "stride=8"),
        (SETTINGS.replace("[2, 3]", "[[2, 2, 2]]"), "level"),
        (SETTINGS + "until = [0]\n", "Until must be"),
        (SETTINGS + "until = [60]\n", "Until must be"),
        (SETTINGS.replace('"todo"', '"todo-bicubic"') + "until = [0.5]\n", "Until must be 1"),
        (SETTINGS.replace('"todo"', '"todo-fine-early"') + "until = [0.5]\n", "Until must be 1"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_runs(loaded, tmp_path, text, says) -> None:
    with pytest.raises(InvalidRequest, match=says):
        Sweep.load(written(tmp_path, text)).requests(loaded)


def test_the_command_prints_one_sentence_and_makes_no_folder(tiny_folder, tmp_path, capsys) -> None:
    file = written(tmp_path, SETTINGS.replace('"todo"', '"magic"'))
    options = ["--out", str(tmp_path / "out"), "--model", str(tiny_folder), "--device", "cpu"]
    assert main(["sweep", str(file), *options]) == 2
    printed = capsys.readouterr().err
    assert printed.count("error: ") == 1
    assert "'magic'" in printed
    assert not (tmp_path / "out").exists()


def test_rows_of_other_weights_are_not_added_to(loaded, rows, finished) -> None:
    with torch.no_grad():
        loaded.pipe.unet.conv_in.weight[0, 0, 0, 0] += 0.5
    with pytest.raises(InvalidRequest, match=r"rows with weights \w+, and now it is \w+"):
        swept(loaded, finished)
    assert read_rows(finished / "out", Row) == rows


def test_what_does_not_fit_yields_the_error_and_the_rest_goes_on(loaded, tmp_path) -> None:
    def too_large(unet: object, args: tuple) -> None:
        if args[0].shape[-1] > 8:
            raise torch.OutOfMemoryError

    text = SETTINGS.replace("[64]", "[128, 64]").replace("[2, 3]", "[2]")
    with loaded.pipe.unet.register_forward_pre_hook(too_large):
        done = list(sweeping(loaded, tmp_path, text))
    assert [isinstance(item, OutOfMemory) for item in done].count(True) == len(done) // 2 == 4
    assert [row.width for row in read_rows(tmp_path / "out", Row)] == [64] * 8


SWEEPS = sorted(file for file in (PROJECT / "docs").rglob("*.toml") if "truth" not in file.name)  # no sweeps


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: str(file.relative_to(PROJECT)))
def test_the_sweeps_of_the_documentation_are_valid(loaded, file) -> None:
    assert Sweep.load(file).requests(loaded)
