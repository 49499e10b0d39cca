"""docs/rotating-grid.md against the rows of its sweeps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from compare.__main__ import main
from compare.models.load import load_pipeline
from compare.study.curve import markdown, points
from compare.study.row_folder import read_rows
from compare.study.rows import Row, keys_of
from compare.study.sweep import Sweep

PROJECT = Path(__file__).resolve().parents[1]
PAPER = (PROJECT / "docs" / "rotating-grid.md").read_text(encoding="utf-8")
RESULTS = PROJECT / "docs" / "results" / "rotating-grid"
NUMBER = re.compile(r"[+-]?\d+\.\d+")
INTERVAL = re.compile(rf"{NUMBER.pattern} \({NUMBER.pattern} to {NUMBER.pattern}\)")
"""As in 9.22 (7.85 to 10.50)."""


def commands() -> dict[str, list[str]]:
    """By the file that each writes: the words of the `compare paired` commands at the paper's end."""
    text = PAPER.replace("\\\n", " ")
    found = re.findall(r"^python -m compare (paired .*) > (\S+)$", text, re.M)
    return {name: shlex.split(words) for words, name in found}


@pytest.mark.parametrize("name", sorted(commands()))
def test_its_command_prints_the_committed_table(name: str, monkeypatch, capsys) -> None:
    words = commands()[name]
    if "--plot" in words:
        del words[words.index("--plot") :][:2]
    monkeypatch.chdir(RESULTS)
    assert main(words) == 0
    printed, committed = capsys.readouterr().out, (RESULTS / name).read_text(encoding="utf-8")
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", committed)
    for ours, theirs in zip(NUMBER.findall(printed), NUMBER.findall(committed), strict=True):
        last_digit = 10.0 ** -len(theirs.partition(".")[2])  # another numpy may round it the other way
        assert float(ours) == pytest.approx(float(theirs), abs=1.1 * last_digit)


@pytest.mark.parametrize("sweep", sorted(file.parent.name for file in RESULTS.glob("*/rows.jsonl")))
def test_the_table_of_a_sweep_follows_from_its_rows(sweep: str) -> None:
    table = (RESULTS / sweep / "table.md").read_text(encoding="utf-8")
    assert markdown(points(read_rows(RESULTS / sweep, Row))) == table


def test_every_interval_in_its_tables_is_of_a_table_beside_the_rows() -> None:
    known = {
        interval
        for table in [*RESULTS.glob("*.md"), *RESULTS.glob("*/table.md")]
        for interval in INTERVAL.findall(table.read_text(encoding="utf-8"))
    }
    written = [
        interval for line in PAPER.splitlines() if line.startswith("|") for interval in INTERVAL.findall(line)
    ]
    assert len(written) > 50
    assert [interval for interval in written if interval not in known] == []


def test_every_plan_was_carried_out_to_its_end() -> None:
    loaded = load_pipeline(device="cpu")
    for plan in (PROJECT / "docs" / "rotating-grid").glob("*.toml"):
        done = {row.key for row in read_rows(RESULTS / plan.stem, Row)}
        planned = {key for request in Sweep.load(plan).requests(loaded) for key in keys_of(request)}
        assert done == planned, plan.name
