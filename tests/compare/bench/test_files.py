"""The benchmark's files."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from compare.bench.files import load_bench, save_bench
from compare.bench.report import BenchReport
from compare.bench.request import BenchRequest
from compare.bench.table import hooks_over_processor, markdown
from compare.bench.timing import bench
from compare.bench.variants import TODO_PROCESSOR, Variant
from compare.methods import BASELINE, TODO
from compare.models.load import Source, loaded_pipeline
from tests.helpers.tiny_models import sdxl_pipeline

RESULTS = Path(__file__).resolve().parents[3] / "docs" / "results"
METHODS = ("tome", "todo", "todo-processor")
NAMES = {"SDXL": "SDXL base 1.0", "SD 1.5": "Stable Diffusion 1.5"}


@pytest.fixture(scope="module")
def report() -> BenchReport:
    loaded = loaded_pipeline(sdxl_pipeline(), Source(place="somewhere/tiny-sdxl", name="tiny"))
    request = BenchRequest(sizes=((64, 64),), factors=(2, 8), methods=METHODS, rounds=6, steps=1)
    *_, report = bench(loaded, request, "python -m compare bench --rounds 6")
    return report


def test_a_saved_report_is_loaded_back_as_it_was(report, tmp_path) -> None:
    folder = save_bench(report, tmp_path / "new" / "bench")
    assert load_bench(folder) == report
    assert {file.name for file in folder.iterdir()} == {"bench.json", "bench.csv", "bench.md", "bench.png"}
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_csv_and_markdown_say_what_the_json_says(report, tmp_path) -> None:
    save_bench(report, tmp_path)
    with (tmp_path / "bench.csv").open(newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    lines = [line for line in markdown(report).splitlines() if line.startswith("| 64×64")]
    for row, record, line in zip(report.rows, records, lines[: len(report.rows)], strict=True):
        assert (record["width"], record["method"]) == (str(row.width), row.method)
        assert line.startswith(f"| {row.size} | {row.variant} | {row.failure or ''}")
        assert record["failure"] == (row.failure or "")
        if row.failure:
            assert record["step_median"] == ""
            continue
        assert float(record["step_median"]) == row.step.median
        assert float(record["run_paired"]) == row.run.paired.median
        assert float(record["step_low"]) == row.step.paired.interval[0]
        shown = float(line.split("|")[3].split("(")[0].replace(",", ""))
        assert shown == pytest.approx(1000 * row.step.median, abs=0.51)
        if row.variant.method is not BASELINE:
            assert float(record["step_of_limit"]) == row.step.of_limit
            assert f"{row.step.paired.median:.2f}× [" in line
            assert f"| {row.step.of_limit:.0%} |" in line
            assert f"| {row.ceiling:.2f}× |" in line
    failed = [str(row.variant) for row in report.rows if row.failure]
    assert failed == ["ToMe, factor 8"], "there is no room for cells of 8x8 tokens"


def test_the_table_names_what_ran_where_and_how(report) -> None:
    text = markdown(report)
    for part in (report.command, "tiny", "float32", "sdpa", "eager", "6 rounds", "torch", report.model.name):
        assert part in text
    assert report.environment.packages.keys() >= {"torch", "diffusers", "tomesd"}


def test_hooks_are_compared_with_the_processor_round_by_round(report) -> None:
    pairs = list(hooks_over_processor(report))
    assert [row.variant for row, _ in pairs] == [Variant(TODO, 2), Variant(TODO, 8)]
    steps = {row.variant: row.step.seconds for row in report.rows if row.step}
    both = zip(steps[Variant(TODO_PROCESSOR, 2)], steps[Variant(TODO, 2)], strict=True)
    ratios = [processor / hooks for processor, hooks in both]
    assert pairs[0][1].interval == (min(ratios), max(ratios))
    assert "over ToDo as an attention processor" in markdown(report)


@pytest.mark.parametrize("text", ["[]", "{}", "not json"])
def test_a_file_that_is_no_report_is_refused(tmp_path, text) -> None:
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(ValueError, match="is not a report of a benchmark"):
        load_bench(tmp_path)


@pytest.mark.parametrize("name", sorted(file.parent.name for file in RESULTS.glob("*/bench.json")))
def test_the_committed_files_are_those_of_their_json(name, tmp_path) -> None:
    report = load_bench(RESULTS / name)
    save_bench(report, tmp_path)
    for file in ("bench.md", "bench.csv"):
        assert (tmp_path / file).read_bytes() == (RESULTS / name / file).read_bytes()
    assert BenchReport.model_validate_json((tmp_path / "bench.json").read_text()) == report


def test_every_time_in_the_results_is_in_the_report_of_a_bench() -> None:
    """Each line of a table with a step in ms is a line of a `bench.md` below."""
    measured = {line for file in RESULTS.glob("**/bench.md") for line in file.read_text("utf-8").splitlines()}
    shown = [
        line
        for line in (RESULTS / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and "×" in line.split("|")[1] and "(" in line.split("|")[3]
    ]
    assert len(shown) > 20
    assert set(shown) <= measured


def test_the_speed_ups_in_the_readme_are_those_of_the_reports() -> None:
    readme = (RESULTS.parents[1] / "README.md").read_text(encoding="utf-8")
    lines = [line for line in readme.splitlines() if line.startswith(("| SDXL, ", "| SD 1.5, "))]
    assert len(lines) == 5
    for line in lines:
        setting, todo, tome, bound = (cell.strip() for cell in line.strip("|").split("|"))
        model, size, factor = setting.split(", ")
        expected = {f"ToDo, {factor}": todo, f"ToMe, {factor}": tome, "Upper bound of ToDo": bound}
        found: dict[str, set[str]] = {method: set() for method in expected}
        for file in RESULTS.glob("h200/*/bench.md"):
            text = file.read_text(encoding="utf-8")
            if f"\n\n{NAMES[model]}," not in text or "run of 20" in text:
                continue
            for row in text.splitlines():
                cells = [cell.strip() for cell in row.strip("|").split("|")]
                if cells[0] == size and cells[1] in expected and len(cells) > 3:
                    found[cells[1]].add(cells[3])
        for method, speedup in expected.items():
            assert any(cell.startswith(speedup) for cell in found[method]), (line, method, found)


def test_every_interval_in_the_readme_is_one_of_a_report() -> None:
    interval = re.compile(r"\d\.\d\d× \[\d\.\d\d, \d\.\d\d\]")
    reports = "".join(file.read_text(encoding="utf-8") for file in RESULTS.glob("h200/*/bench.md"))
    shown = interval.findall((RESULTS.parents[1] / "README.md").read_text(encoding="utf-8"))
    assert len(set(shown)) > 10
    assert set(shown) <= set(interval.findall(reports))
