"""docs/what-to-use.md against the rows of its sweeps."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from compare.__main__ import main
from compare.models.load import load_pipeline
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
INTERVAL = re.compile(r"[+-]?\d+\.\d+ \([+-]?\d+\.\d+ to [+-]?\d+\.\d+\)")
"""As in 9.22 (7.85 to 10.50)."""
NUMBER = re.compile(r"[+-]?\d+\.\d+")
SWEEPS = sorted(file.parent.name for file in RESULTS.glob("*/rows.jsonl") if file.parent.name != "truth")


def commands() -> dict[str, list[str]]:
    """By the file that each writes: the words of the `compare paired` commands in the paper."""
    text = PAPER.replace("\\\n", " ")
    found = re.findall(r"^python -m compare (paired .*) > (\S+)$", text, re.M)
    return {name: shlex.split(words) for words, name in found}


def unfinished() -> set[str]:
    """The plans that the paper says are not run to their end."""
    said = re.search(r"^\*Not run to their end yet: (.*)\.\*$", PAPER, re.M)
    return set(re.findall(r"`([\w-]+)\.toml`", said[1])) if said else set()


def test_every_plan_was_carried_out_to_its_end_or_the_paper_says_that_it_was_not() -> None:
    loaded = load_pipeline(device="cpu")
    missing = set()
    for plan in PLANS.glob("*.toml"):
        assert f"`{plan.name}`" in PAPER
        if plan.stem == "truth":
            continue
        done = {row.key for row in read_rows(RESULTS / plan.stem, Row)} if plan.stem in SWEEPS else set()
        planned = {key for request in Sweep.load(plan).requests(loaded) for key in keys_of(request)}
        assert done <= planned, plan.name
        missing |= {plan.stem} if done != planned else set()
    wanted, found = truth.Plan.load(PLANS / "truth.toml"), read_rows(RESULTS / "truth", truth.Row)
    of_all = len(wanted.prompts) * len(wanted.schedulers) * len(wanted.calls) * len(wanted.shares)
    missing |= {"truth"} if len(found) != of_all else set()
    assert missing == unfinished()


@pytest.mark.parametrize("sweep", [sweep for sweep in SWEEPS if sweep not in unfinished()])
def test_the_table_of_a_sweep_follows_from_its_rows(sweep: str) -> None:
    table = (RESULTS / sweep / "table.md").read_text(encoding="utf-8")
    assert markdown(points(read_rows(RESULTS / sweep, Row))) == table


@pytest.mark.skipif("truth" in unfinished(), reason="not run to its end yet")
def test_the_table_of_the_truth_follows_from_its_rows_and_is_in_the_paper() -> None:
    table = (RESULTS / "truth" / "table.md").read_text(encoding="utf-8")
    assert truth.markdown(read_rows(RESULTS / "truth", truth.Row)) == table
    assert table in PAPER


@pytest.mark.skipif("python -m compare.study.frontier" not in PAPER, reason="not drawn yet")
def test_the_frontier_follows_from_the_rows(monkeypatch, tmp_path) -> None:
    text = PAPER.replace("\\\n", " ")
    (words,) = re.findall(r"^python -m compare\.study\.frontier (.*)$", text, re.M)
    words = shlex.split(words)
    out = words.index("--out") + 1
    table = (RESULTS / words[out] / "frontier.md").read_text(encoding="utf-8")
    words[out] = str(tmp_path)
    monkeypatch.chdir(RESULTS)
    monkeypatch.setattr(sys, "argv", ["frontier", *words])
    frontier.main()
    assert (tmp_path / "frontier.md").read_text(encoding="utf-8") == table


@pytest.mark.parametrize("name", sorted(commands()))
def test_its_command_prints_the_committed_table(name: str, monkeypatch, capsys) -> None:
    monkeypatch.chdir(RESULTS)
    assert main(commands()[name]) == 0
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
        assert re.search(rf"^\|.*\| {speedup} \| \d+ \| {psnr} \|", table, re.M), (speedup, psnr)


def test_what_readme_says_of_the_costs_is_in_the_table() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    table = (RESULTS / "frontier.md").read_text(encoding="utf-8")
    both = re.findall(
        r"`ToDo\((?:factor=(\d), )?grid=\"rotating\"\)` and `Forecast\(\)` \| .* \| ([a-z ]+): (\d+) dB \|",
        readme,
    )
    assert len(both) >= 4
    cached = re.search(r"\| DeepCache \| .* \| ([a-z ]+): (\d+) dB \|", readme)
    said = [("Rotating grid and Forecast", factor or "2", *cost) for factor, *cost in both]
    for label, setting, word, decibels in [*said, ("DeepCache", "2", *cached.groups())]:
        row = re.search(rf"^\| 512×512 \| {label} \| {setting} \| [\d.]+× \| \d+ \| ([\d.]+) \|", table, re.M)
        assert (in_words(float(row[1])), f"{float(row[1]):.0f}") == (word, decibels)


def test_the_commands_work_as_they_stand_there_from_the_projects_folder() -> None:
    """Those that read rows: the sweeps before them take hours."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAPER, re.M | re.S)
    reading = [block[block.index("export ") :] for block in blocks if "export " in block]
    assert len(reading) == len([block for block in blocks if "cd docs" in block]) >= 4
    (guidance,) = (lines for lines in reading if "guidance.md" in lines)
    guidance = guidance.replace("> guidance.md", "")
    python = f'PATH="{Path(sys.executable).parent}:$PATH"'
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{python}\n{guidance}"],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == (RESULTS / "guidance.md").read_text(encoding="utf-8").count("\n")


def test_every_interval_in_its_tables_is_of_a_table_beside_the_rows() -> None:
    tables = [*RESULTS.glob("*.md"), *RESULTS.glob("*/*.md")]
    known = {i for table in tables for i in INTERVAL.findall(table.read_text(encoding="utf-8"))}
    written = [i for line in PAPER.splitlines() if line.startswith("|") for i in INTERVAL.findall(line)]
    assert [interval for interval in written if interval not in known] == []
