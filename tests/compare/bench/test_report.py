"""The benchmark's files and its command line."""

from __future__ import annotations

import csv

import pytest

from compare.bench.report import BenchReport, report_of
from compare.bench.request import BenchRequest
from compare.bench.timing import bench
from compare.bench.variants import Variant
from compare.cli import main
from compare.models.load import Source, loaded_pipeline
from tests.helpers.tiny_models import sdxl_pipeline

METHODS = ("tome", "todo", "todo-processor")


@pytest.fixture(scope="module")
def report() -> BenchReport:
    loaded = loaded_pipeline(sdxl_pipeline(), Source(place="somewhere/tiny-sdxl", name="tiny"))
    request = BenchRequest(sizes=((64, 64), (128, 128)), factors=(2, 8), methods=METHODS, rounds=6, steps=1)
    rows = tuple(row for rows in bench(loaded, request) for row in rows)
    return report_of(loaded, request, rows, "python -m compare bench --rounds 6")


def test_a_saved_report_is_loaded_back_as_it_was(report, tmp_path) -> None:
    folder = report.save(tmp_path / "new" / "bench")
    assert BenchReport.load(folder) == report
    assert {file.name for file in folder.iterdir()} == {"bench.json", "bench.csv", "bench.md", "bench.png"}
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_csv_and_markdown_say_what_the_json_says(report, tmp_path) -> None:
    report = BenchReport.load(report.save(tmp_path))
    with (tmp_path / "bench.csv").open(newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    lines = [line for line in report.markdown().splitlines() if line.startswith(("| 64×64", "| 128×128"))]
    assert len(records) == len(report.rows) == 18
    failures = 0
    for row, record, line in zip(report.rows, records, lines[: len(report.rows)], strict=True):
        assert (record["width"], record["method"]) == (str(row.width), row.method)
        assert f"| {row.size} | {row.variant} |" in line
        if row.failure:  # the smaller size has no room for ToMe's cells of 8x8
            failures += 1
            assert record["failure"] == row.failure
            assert row.failure in line
            assert record["step_median"] == ""
            continue
        assert float(record["step_median"]) == row.step.median
        assert float(record["run_paired"]) == row.run.paired.median
        assert float(record["step_low"]) == row.step.paired.interval[0]
        shown = float(line.split("|")[3].split("(")[0].replace(",", ""))
        assert shown == pytest.approx(1000 * row.step.median, abs=0.51)
        if row.method != "baseline":
            assert float(record["step_of_limit"]) == row.step.of_limit
            assert f"{row.step.paired.median:.2f}× [" in line
            assert f"| {row.step.of_limit:.0%} |" in line
            assert f"| {row.ceiling:.2f}× |" in line
    assert failures == 1


def test_the_report_says_what_ran_where_and_how(report) -> None:
    text = report.markdown()
    for said in (report.command, "tiny", "float32", "sdpa", "eager", "6 rounds", "torch", report.model.name):
        assert said in text
    assert report.environment.packages.keys() >= {"torch", "diffusers", "tomesd"}


def test_hooks_are_set_against_the_processor_round_by_round(report) -> None:
    duels = list(report.against("todo", "todo-processor"))
    assert [row.variant for row, _ in duels] == [Variant("todo", 2), Variant("todo", 8)] * 2
    todo = {row.variant: row.step.seconds for row in report.rows if row.size == "64×64" and row.step}
    ratios = [
        p / t for p, t in zip(todo[Variant("todo-processor", 2)], todo[Variant("todo", 2)], strict=True)
    ]
    assert duels[0][1].interval == (min(ratios), max(ratios))
    assert "over ToDo as an attention processor" in report.markdown()


@pytest.mark.parametrize("text", ["[]", "{}", "not json"])
def test_a_file_that_is_no_report_is_refused(tmp_path, text) -> None:
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(ValueError, match="is not a report of a benchmark"):
        BenchReport.load(tmp_path)


def test_the_command_measures_saves_and_prints(tiny_folder, tmp_path, capsys) -> None:
    out = tmp_path / "a folder"
    arguments = ["bench", "--model", str(tiny_folder), "--device", "cpu", "--sizes", "64", "96x64"]
    arguments += ["--factors", "2", "--methods", "todo", "--rounds", "1", "--steps", "1", "--out", str(out)]
    assert main(arguments) == 0
    report = BenchReport.load(out)
    assert report.request.sizes == ((64, 64), (96, 64))
    assert report.command.startswith("python -m compare bench --model")
    assert f"--out '{out}'" in report.command
    told = capsys.readouterr()
    assert report.markdown() in told.out
    assert "96×64, round 1: ToDo, factor 2" in told.err


def test_the_profile_command_prints_a_table(tiny_folder, capsys) -> None:
    options = ["--device", "cpu", "--size", "64", "--rounds", "1", "--method", "todo-rotating"]
    assert main(["profile", "--model", str(tiny_folder), *options]) == 0
    assert (
        "| part, ms | Baseline | ToDo, rotating grid, factor 2 | Limit of ToDo |" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--sizes", "big"], "not 'big'"),
        (["--factors", "1"], "from 2 to 8"),
        (["--methods", "magic"], "Methods of the bench are"),
        (["--rounds", "none"], "Rounds must be"),
        (["--architecture", "sdxl"], "exclude each other"),
        (["--random-weights"], "goes with --architecture"),
        (["--attention", "xformers"], "does not run on cpu"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_2(tiny_folder, tmp_path, capsys, options, says) -> None:
    fixed = ["bench", "--model", str(tiny_folder), "--device", "cpu", "--out", str(tmp_path)]
    assert main([*fixed, *options]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("error: ")
    assert says in told
    assert not list(tmp_path.iterdir())
