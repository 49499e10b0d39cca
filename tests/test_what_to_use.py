"""docs/what-to-use.md against the rows of its sweeps."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compare.__main__ import main
from compare.methods import method_of
from compare.models.load import load_pipeline
from compare.report import HARD_TO_SEE, INVISIBLE
from compare.study import frontier, truth
from compare.study.curve import markdown, points
from compare.study.row_folder import read_rows
from compare.study.rows import Row, keys_of
from compare.study.sweep import Sweep
from page.verdict import in_words

PROJECT = Path(__file__).resolve().parents[1]
PLANS = PROJECT / "docs" / "what-to-use"
RESULTS = PROJECT / "docs" / "results" / "what-to-use"
PAPER = (PROJECT / "docs" / "what-to-use.md").read_text(encoding="utf-8")
README = (PROJECT / "README.md").read_text(encoding="utf-8")
INTERVAL = re.compile(r"[+-]?\d+\.\d+ \([+-]?\d+\.\d+ to [+-]?\d+\.\d+\)")
"""As in 9.22 (7.85 to 10.50)."""
NUMBER = re.compile(r"[+-]?\d+\.\d+")
ANCESTRAL = PROJECT / "docs" / "results" / "forecast" / "EulerAncestralDiscreteScheduler"
TRUTHS = sorted(file.stem for file in PLANS.glob("truth*.toml"))
SWEEPS = sorted({file.parent.name for file in RESULTS.glob("*/rows.jsonl")} - set(TRUTHS))


def blocks() -> list[str]:
    """What the paper has one copy into a shell."""
    return re.findall(r"^```bash\n(.*?)^```$", PAPER, re.M | re.S)


def words_of(block: str) -> list[list[str]]:
    """The words behind `python` of each command in a block, as bash hands them over; nothing is run."""
    shown = """python() { printf '%s\\n' "$@"; echo; }"""
    block = re.sub(r"> \$at/\S+\.md$", "", block, flags=re.M)
    done = subprocess.run(
        ["bash", "-euc", f"{shown}\n{block}"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return [command.splitlines() for command in done.stdout.rstrip().split("\n\n")]


def tables() -> dict[str, str]:
    """By the table that each writes: the blocks with `compare paired` in the paper."""
    found = {}
    for block in blocks():
        written = re.search(r"> \$at/(\S+\.md)$", block, re.M)
        if written and "compare paired" in block:
            found[written[1]] = block
    return found


def unfinished() -> set[str]:
    """The plans that the paper says are not run to their end."""
    said = re.search(r"^\*Not run to their end yet: (.*)\.\*$", PAPER, re.M)
    return set(re.findall(r"`([\w-]+)\.toml`", said[1])) if said else set()


def test_every_plan_was_carried_out_to_its_end_or_the_paper_says_that_it_was_not() -> None:
    loaded = load_pipeline(device="cpu")
    missing = set()
    for plan in PLANS.glob("*.toml"):
        assert f"`{plan.name}`" in PAPER
        if plan.stem in TRUTHS:
            wanted, found = truth.Plan.load(plan), read_rows(RESULTS / plan.stem, truth.Row)
            of_all = len(wanted.prompts) * len(wanted.schedulers) * len(wanted.calls) * len(wanted.shares)
            missing |= {plan.stem} if len(found) != of_all else set()
            continue
        done = {row.key for row in read_rows(RESULTS / plan.stem, Row)} if plan.stem in SWEEPS else set()
        planned = {key for request in Sweep.load(plan).requests(loaded) for key in keys_of(request)}
        assert done <= planned, plan.name
        missing |= {plan.stem} if done != planned else set()
    assert missing == unfinished()


@pytest.mark.parametrize("sweep", [sweep for sweep in SWEEPS if sweep not in unfinished()])
def test_the_table_of_a_sweep_follows_from_its_rows(sweep: str) -> None:
    table = (RESULTS / sweep / "table.md").read_text(encoding="utf-8")
    assert markdown(points(read_rows(RESULTS / sweep, Row))) == table


@pytest.mark.parametrize("plan", TRUTHS)
def test_the_table_of_a_truth_follows_from_its_rows_and_is_in_the_paper(plan: str) -> None:
    table = (RESULTS / plan / "table.md").read_text(encoding="utf-8")
    assert truth.markdown(read_rows(RESULTS / plan, truth.Row)) == table
    assert table in PAPER


def test_the_frontier_follows_from_the_rows(monkeypatch, tmp_path) -> None:
    (block,) = (block for block in blocks() if "compare.study.frontier" in block)
    (words,) = (words[2:] for words in words_of(block) if words[:2] == ["-m", "compare.study.frontier"])
    out = words.index("--out") + 1
    table = (PROJECT / words[out] / "frontier.md").read_text(encoding="utf-8")
    words[out] = str(tmp_path)
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(sys, "argv", ["frontier", *words])
    frontier.main()
    assert (tmp_path / "frontier.md").read_text(encoding="utf-8") == table


@pytest.mark.parametrize("name", sorted(tables()))
def test_its_commands_print_the_committed_table(name: str, monkeypatch, capsys) -> None:
    monkeypatch.chdir(PROJECT)
    for words in words_of(tables()[name]):
        assert words[:3] == ["-m", "compare", "paired"]
        assert main(words[2:]) == 0
    printed, committed = capsys.readouterr().out, (RESULTS / name).read_text(encoding="utf-8")
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", committed)
    for ours, theirs in zip(NUMBER.findall(printed), NUMBER.findall(committed), strict=True):
        last_digit = 10.0 ** -len(theirs.partition(".")[2])  # another numpy may round it the other way
        assert float(ours) == pytest.approx(float(theirs), abs=1.1 * last_digit)


def test_the_numbers_beside_the_figure_are_in_its_table() -> None:
    section = PAPER[PAPER.index("## All methods in one figure") :].partition("\n## ")[0]
    table = (RESULTS / "frontier.md").read_text(encoding="utf-8")
    points = re.findall(r"(\d\.\d\d×)\s+at\s+(\d\d\.\d) dB", section)
    assert len(points) > 5
    for speedup, psnr in points:
        assert re.search(rf"^\|.*\| {speedup} \| \d+ \| [^|]+ \| {psnr} \|", table, re.M), (speedup, psnr)


def times_of_the_figure() -> dict[tuple[str, str], float]:
    """By size and column: the speed-ups of frontier.md, factor or interval 2 where there are several."""
    table = (RESULTS / "frontier.md").read_text(encoding="utf-8")
    found = {}
    for line in table.splitlines()[2:]:
        size, label, setting, speedup = (cell.strip() for cell in line.strip("|").split("|")[:4])
        if label == "Fewer steps":
            found[size, f"fewer-{setting.removesuffix(' %')}"] = float(speedup.rstrip("×"))
        elif setting in ("2", "30 %"):
            found[size, label] = float(speedup.rstrip("×"))
    return found


@pytest.mark.parametrize(
    "name", ["512.md", "256.md", "samplers.md", "guidance.md", "guidance-512.md", "steps.md"]
)
def test_an_opponent_is_the_one_of_the_nearest_time(name: str) -> None:
    times = times_of_the_figure()
    for words in words_of(tables()[name]):
        place = words.index("--against")
        folders, (_, against, _, *methods) = words[3:place], words[place:]
        if not against.startswith("fewer-"):
            continue
        rows = [row for folder in folders for row in read_rows(PROJECT / folder, Row)]
        drawn = {row.method for row in rows if row.method.startswith("fewer-")}
        sizes = {f"{row.width}×{row.height}" for row in rows}
        for size, method in itertools.product(sizes, methods):
            own = times[size, method_of(method).label]
            off = {other: abs(times[size, other] - own) for other in drawn}
            assert off[against] <= min(off.values()) + 0.005, (size, method, off)  # the table has two digits


def in_readme() -> Iterator[list[str]]:
    """The cells of each line of README's table of what to switch on."""
    section = README[README.index("## Is it worth it?") :].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:])


def test_what_readme_says_of_the_costs_follows_from_the_rows() -> None:
    table = (RESULTS / "frontier.md").read_text(encoding="utf-8")
    of_more = {point.method: point.psnr.middle for point in points(read_rows(RESULTS / "guidance-512", Row))}
    seen = set()
    for model, methods, _, cost, at_7 in in_readme():
        both = re.fullmatch(r"`ToDo\(factor=(\d), grid=\"rotating\"\)` and `Forecast\(\)`", methods)
        if "ancestral" in model:
            noisy = {p.method: p.psnr.middle for p in points(read_rows(ANCESTRAL, Row))}
            assert cost == f"{noisy['forecast']:.0f} dB at 256 px, visible"
            assert f"fewer steps, at {noisy['fewer-30']:.0f} dB" in README
            assert noisy["forecast"] < HARD_TO_SEE
            seen.add("ancestral")
            continue
        alone = re.fullmatch(r"`Forecast\((?:share=(0\.\d))?\)`", methods)
        label = "Rotating grid and Forecast" if both else "Forecast"
        setting = both[1] if both else f"{float(alone[1] or 0.3):.0%}".replace("%", " %") if alone else ""
        drawn = re.search(
            rf"^\| 512×512 \| {label} \| {setting} \| [\d.]+× \| \d+ \| [^|]+ \| ([\d.]+) \|", table, re.M
        )
        if drawn:
            psnr = float(drawn[1])
            edge = "the edge of visible"
            assert cost == f"{psnr:.0f} dB, {edge if psnr == HARD_TO_SEE else in_words(psnr)}"
            seen.add((label, setting))
        if "dB" in at_7:
            psnr = of_more["todo-rotating+forecast" if both else "forecast"]
            assert at_7 == f"{psnr:.0f} dB, {in_words(psnr)}"
            assert setting in ("2", "30 %")
            seen.add((methods, "guidance 7"))
    assert len(seen) == 7
    many = {(row.method, row.psnr) for row in read_rows(RESULTS / "512", Row)}
    both = sorted(psnr for method, psnr in many if method == "todo-rotating+forecast")
    assert (len(both), sum(psnr < INVISIBLE for psnr in both), f"{both[0]:.0f}") == (20, 4, "31")
    assert all(psnr > INVISIBLE for method, psnr in many if method == "forecast")


def test_what_readme_says_of_a_run_is_its_calls_times_its_steps() -> None:
    products = [
        re.match(r"([\d.]+)×: (\d+) of 20 calls(?:, each ([\d.]+)×)?", cells[2]) for cells in in_readme()
    ]
    products = [found for found in products if found]
    assert len(products) == 7
    for found in products:
        assert found[1] == f"{20 / float(found[2]) * float(found[3] or 1):.1f}"


def test_a_block_works_as_it_stands_there_from_the_projects_folder() -> None:
    block = tables()["forecasts.md"].replace("> $at/forecasts.md", "")
    python = f'PATH="{Path(sys.executable).parent}:$PATH"'
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{python}\n{block}"],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == (RESULTS / "forecasts.md").read_text(encoding="utf-8")


def test_every_interval_in_its_tables_is_of_a_table_beside_the_rows() -> None:
    tables = [*RESULTS.glob("*.md"), *RESULTS.glob("*/*.md"), *ANCESTRAL.parent.glob("*/*.md")]
    known = {i for table in tables for i in INTERVAL.findall(table.read_text(encoding="utf-8"))}
    written = [i for line in PAPER.splitlines() if line.startswith("|") for i in INTERVAL.findall(line)]
    assert [interval for interval in written if interval not in known] == []
